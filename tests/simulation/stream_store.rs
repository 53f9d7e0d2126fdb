//! The store of the world of streams: the log of one channel, the rows of its streams, and the real ledger in its writer.

use super::stream_rig::{Rig, StoreJob};
use fastrand::Rng;
use seawall::clock::Now;
use seawall::id::{ChannelName, Epoch, Key, Offset, ProducerId, ReactorId, UserName};
use seawall::job::stream::{BeginStream, BegunStream, ProducerNotice, StreamJob, StreamOrder, StreamWork};
use seawall::job::{
    Append, AppendChange, AppendError, Appended, Attempt, Broadcast, CancelAuthority, Completion, Creation,
    Form, Page, PageRequest, Read, ReadError, Span, StreamRequest, Ticket,
};
use seawall::stream::{
    CancelRight, EndFate, EndRow, Flush, Known, Ledger, PartRow, PieceEntry, StoredStream, StreamAppend,
    StreamBegin, StreamFinish, StreamOutput, StreamSender, StreamSettings, decode,
};
use seawall::wire::json;
use seawall::wire::publication::{Change, Published, Stored};
use seawall::wire::push::{self, LogPosition};
use seawall::wire::server_frame::{self, Opcode};
use seawall::wire::stream::{
    Generation, Position, StreamFault, StreamId, StreamMark, StreamOptions, StreamOutcome, StreamState,
    WholeStream,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One publication.
#[derive(Clone, Debug)]
pub struct Entry {
    key: Option<String>,
    user: String,
    change: Change,
    pub mark: StreamMark,
    pub data: String,
}

/// The part that outlives a crash.
#[derive(Default)]
struct Durable {
    log: Vec<Entry>,
    keys: BTreeMap<String, Offset>,
    open: BTreeMap<StreamId, StoredStream>,
    rows: Vec<PartRow>,
    ended: BTreeMap<StreamId, EndFate>,
}

pub struct StreamStore {
    durable: Durable,
    settings: StreamSettings,
    ledger: Ledger<Ticket>,
    out: StreamOutput<Ticket>,
    broadcasts: Vec<Broadcast>,
    answers: Vec<(ReactorId, Completion)>,
    /// Of a hundred commits, how many fail.
    pub failing: u8,
    /// Of a hundred broadcasts, how many are lost.
    pub losing: u8,
    pub commits: u64,
    heard: Vec<(u64, u64, Heard)>,
    /// The texts of the rows.
    texts: BTreeMap<(u64, u64), String>,
}

/// A message to a producer.
#[derive(Debug)]
pub enum Heard {
    Begun(BegunStream),
    NotBegun,
    Outcome(StreamOutcome),
    Notice(ProducerNotice),
}

/// Says if a command has an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticketed {
    Yes,
    No,
}

/// The reactor of producers without a socket, which no reader has.
const SOCKETLESS: ReactorId = ReactorId(9);

fn producer(connection: u64) -> ProducerId {
    ProducerId { reactor: SOCKETLESS, connection }
}

fn ticket(connection: u64, offset: u64) -> Ticket {
    Ticket { reactor: SOCKETLESS, request: connection << 32 | offset }
}

pub fn channel() -> ChannelName {
    ChannelName::parse("c0").expect("valid")
}

pub fn settings() -> StreamSettings {
    StreamSettings {
        idle: Duration::from_secs(8),
        orphan: Duration::from_secs(4),
        life: Duration::from_secs(40),
        window_bytes: 400,
        open_per_channel: 6,
        message_bytes: 4_000,
        ..StreamSettings::default()
    }
}

impl StreamStore {
    pub fn new(settings: StreamSettings, now: Now) -> StreamStore {
        StreamStore {
            durable: Durable::default(),
            ledger: Ledger::new(settings.clone(), now.at),
            settings,
            out: StreamOutput::default(),
            broadcasts: Vec::new(),
            answers: Vec::new(),
            failing: 0,
            losing: 0,
            commits: 0,
            heard: Vec::new(),
            texts: BTreeMap::new(),
        }
    }

    /// The process is killed: what is not stored is gone.
    pub fn crash(&mut self, now: Now) {
        self.out = StreamOutput::default();
        self.heard.clear();
        self.ledger = Ledger::new(self.settings.clone(), now.at);
        for stream in self.durable.open.values() {
            self.ledger.restore(stream.clone(), now.at);
        }
        for row in &self.durable.rows {
            self.ledger.restore_part(row).expect("rows without a hole");
        }
    }

    pub fn head(&self) -> u64 {
        self.durable.log.len() as u64
    }

    pub fn open_streams(&self) -> usize {
        assert_eq!(self.durable.open.len(), self.ledger.open_streams());
        self.durable.open.len()
    }

    /// The open streams: the offset and the generation of each.
    pub fn open(&self) -> impl Iterator<Item = (u64, u64)> {
        self.durable.open.iter().map(|(id, stored)| (id.offset.0, stored.generation.0.into()))
    }

    /// The ends by their begins, each with the text and whether the gateway made it.
    pub fn ends(&self) -> impl Iterator<Item = (&StreamId, &Entry)> {
        let entry = |fate: &EndFate| &self.durable.log[fate.edit.0 as usize - 1];
        self.durable.ended.iter().map(move |(id, fate)| (id, entry(fate)))
    }

    /// The committed text of a generation.
    pub fn text(&self, offset: u64, generation: u64) -> &str {
        self.texts.get(&(offset, generation)).map_or("", String::as_str)
    }

    /// Adds the text of a row. A row may repeat what was stored before it.
    fn add_text(&mut self, row: &PartRow) {
        let text = self.texts.entry((row.id.offset.0, row.generation.0.into())).or_default();
        for entry in decode(row.at, row.next, &row.body).expect("a body").entries() {
            let PieceEntry::Text { at, text: part } = entry else { panic!("no events here") };
            let known = text.len().checked_sub(at.0 as usize).expect("no hole between rows");
            text.push_str(part.get(known.min(part.len())..).expect("between characters"));
        }
    }

    /// Takes the jobs of a reactor.
    pub fn take(&mut self, jobs: Vec<StoreJob>, now: Now) {
        for job in jobs {
            match job {
                StoreJob::Append(append) => {
                    let outcome = self.append(&append, now);
                    let ticket = append.ticket;
                    self.answers.push((ticket.reactor, Completion::Appended { ticket, outcome }));
                }
                StoreJob::Read(read) => self.read(read),
                StoreJob::Stream(StreamWork::Job(job)) => self.order(job, now),
                StoreJob::Stream(StreamWork::Detach { producer }) => self.ledger.detach(producer, now.at),
                StoreJob::Stream(StreamWork::Leave { producer }) => self.ledger.leave(producer),
                // There is no other instance that could have changed a stream.
                StoreJob::Stream(StreamWork::Hint { .. }) => {}
            }
        }
    }

    /// A producer begins a stream, or repeats its begin.
    pub fn begin(&mut self, connection: u64, key: &str, now: Now) {
        let append = Append {
            ticket: ticket(connection, 0),
            channel: channel(),
            user: UserName::anonymous(),
            key: Key::parse(key).ok(),
            change: AppendChange::Original,
            creation: Creation::Free,
            data: "{}".into(),
            claims: None,
            stream: Some(Box::new(BeginStream {
                options: StreamOptions::default(),
                producer: producer(connection),
            })),
        };
        let heard = match self.append(&append, now) {
            Ok(Appended { offset, stream: Some(begun), .. }) => (connection, offset.0, Heard::Begun(begun)),
            Ok(_) | Err(_) => (connection, 0, Heard::NotBegun),
        };
        self.heard.push(heard);
    }

    /// A producer sends a command.
    pub fn say(&mut self, connection: u64, offset: u64, ticketed: Ticketed, order: StreamOrder, now: Now) {
        let ticket = (ticketed == Ticketed::Yes).then(|| ticket(connection, offset));
        let id = StreamId { channel: channel(), offset: Offset(offset) };
        let job =
            StreamJob { producer: producer(connection), ticket, id, user: UserName::anonymous(), order };
        self.order(job, now);
    }

    /// The connection of a producer ends.
    pub fn detach(&mut self, connection: u64, now: Now) {
        self.ledger.detach(producer(connection), now.at);
    }

    /// The messages to producers, each with the connection and the offset of its stream.
    pub fn heard(&mut self) -> Vec<(u64, u64, Heard)> {
        std::mem::take(&mut self.heard)
    }

    fn append(&mut self, append: &Append, now: Now) -> Result<Appended, AppendError> {
        let done = |offset, attempt, stream| {
            Ok(Appended { epoch: Epoch(7), offset, time_ms: now.unix_ms, attempt, stream, answer: None })
        };
        let key = append.key.as_ref().map(|key| key.as_str().to_owned());
        if let Some(offset) = key.as_ref().and_then(|key| self.durable.keys.get(key)).copied() {
            let id = StreamId { channel: channel(), offset };
            let begun = append.stream.as_ref().and_then(|begin| self.again(&id, begin.producer, now));
            return done(offset, Attempt::Repeat, begun);
        }
        let offset = Offset(self.head() + 1);
        let id = StreamId { channel: channel(), offset };
        let mut begun = None;
        if let Some(begin) = &append.stream {
            let begin = StreamBegin {
                id: id.clone(),
                author: append.user.clone(),
                options: begin.options.clone(),
                begun: append.data.clone(),
                producer: Some(begin.producer),
            };
            let stored = StoredStream {
                id: id.clone(),
                author: begin.author.clone(),
                options: begin.options.clone(),
                begun: begin.begun.clone(),
                generation: Generation::FIRST,
                state: StreamState::Streaming,
                age: Duration::ZERO,
                asked: None,
            };
            match self.ledger.begin(begin, now.at) {
                Ok(opened) => begun = Some(opened),
                Err(_) => return Err(AppendError::Unavailable { retry_ms: 200 }),
            }
            self.durable.open.insert(id, stored);
        }
        let change = match append.change {
            AppendChange::Original => Change::None,
            AppendChange::Edit(target, _) => Change::Edits(target),
            AppendChange::Delete(target, _) => Change::Deletes(target),
        };
        let mark = if begun.is_some() { StreamMark::Begun } else { StreamMark::None };
        let entry = Entry {
            key: key.clone(),
            user: append.user.as_str().into(),
            change,
            mark,
            data: append.data.to_string(),
        };
        self.publish(entry, now);
        self.durable.keys.extend(key.map(|key| (key, offset)));
        done(offset, Attempt::First, begun)
    }

    /// A begin that is repeated.
    fn again(&mut self, id: &StreamId, producer: ProducerId, now: Now) -> Option<BegunStream> {
        let ended = self.durable.ended.get(id);
        let ended = ended.map(|fate| BegunStream {
            generation: Generation::FIRST,
            next: Position::ZERO,
            ended: Some((fate.end, fate.edit)),
        });
        ended.or_else(|| self.ledger.attach(id, producer, now.at, &mut self.out))
    }

    fn publish(&mut self, entry: Entry, now: Now) -> Offset {
        self.durable.log.push(entry);
        let offset = Offset(self.head());
        let entry = &self.durable.log[offset.0 as usize - 1];
        let mut frame = Vec::new();
        push::publication(&mut frame, &channel(), &stored(entry, offset, now.unix_ms));
        self.broadcasts.push(Broadcast::Published(Arc::from([Published {
            channel: channel(),
            offset,
            change: entry.change,
            stream: entry.mark,
            time_ms: now.unix_ms,
            frame: frame.into(),
        }])));
        offset
    }

    fn order(&mut self, job: StreamJob, now: Now) {
        let StreamJob { producer, ticket, id, user, order } = job;
        let (ledger, out) = (&mut self.ledger, &mut self.out);
        let sender = StreamSender { producer, user: &user, ticket };
        let known = match order {
            StreamOrder::Append { generation, at, piece } => {
                ledger.take(&id, sender, StreamAppend { generation, at, piece }, now.at, out)
            }
            StreamOrder::Restart => ledger.restart(&id, sender, now.at, out),
            StreamOrder::End { generation, at, end, data } => {
                ledger.end(&id, sender, StreamFinish { generation, at, end, data }, now.at, out)
            }
            StreamOrder::Cancel { authority } => {
                let right = match authority {
                    CancelAuthority::Reader | CancelAuthority::Outsider => CancelRight::Own,
                    CancelAuthority::Moderator => CancelRight::All,
                };
                ledger.cancel(&id, sender, right, now.at, out)
            }
            StreamOrder::Take => ledger.process(&id, sender, now.at, out),
            StreamOrder::Fail { cause } => ledger.fail(&id, sender, cause, out),
            StreamOrder::Attach => match ledger.attach(&id, producer, now.at, out) {
                Some(_) => Known::Open,
                None => Known::No,
            },
        };
        if known == Known::No {
            let fault = match self.durable.ended.get(&id) {
                Some(fate) => StreamFault::AlreadyEnded { end: fate.end, edit: fate.edit },
                None => StreamFault::NotFound,
            };
            match ticket {
                Some(ticket) => self.out.replies.push((ticket, StreamOutcome::Refused(fault))),
                None => {
                    let notice = ProducerNotice::Refused { id, fault };
                    self.out.notices.push((producer, notice));
                }
            }
        }
    }

    fn read(&mut self, read: Read) {
        let (ticket, completion) = match read {
            Read::Page(request) => {
                let ticket = request.ticket;
                (ticket, Completion::Page { ticket, outcome: Ok(self.page(&request)) })
            }
            Read::Heads { ticket, channels } => {
                let position = self.position();
                let heads = channels.into_iter().map(|(name, _)| (name, position)).collect();
                (ticket, Completion::Heads { ticket, outcome: Ok(heads) })
            }
            Read::Stream(request) => {
                let ticket = request.ticket;
                (ticket, Completion::StreamRead { ticket, outcome: self.whole(&request) })
            }
            Read::Survey(_) | Read::Contradicted(_) => return,
        };
        self.answers.push((ticket.reactor, completion));
    }

    fn position(&self) -> LogPosition {
        LogPosition { epoch: Epoch(7), head: Offset(self.head()), floor: Offset(1) }
    }

    fn page(&self, request: &PageRequest) -> Page {
        let head = self.head();
        let mut offsets: Vec<u64> = match request.span {
            Span::After(after) => (after.0.saturating_add(1)..=head).collect(),
            Span::Before(before) => (1..before.0.min(head + 1)).rev().collect(),
        };
        offsets.truncate(request.limit as usize);
        offsets.sort_unstable();
        let pieces: Vec<Vec<u8>> = offsets
            .iter()
            .map(|offset| {
                let stored = stored(&self.durable.log[*offset as usize - 1], Offset(*offset), 0);
                let mut piece = Vec::new();
                match request.form {
                    Form::Json => push::publication_body(&mut piece, &request.channel, &stored),
                    Form::Frames => push::publication(&mut piece, &request.channel, &stored),
                }
                piece
            })
            .collect();
        let body = match request.form {
            Form::Json => pieces.join(&b","[..]),
            Form::Frames => pieces.concat(),
        };
        let end = |offset: Option<&u64>| Offset(offset.copied().unwrap_or_default());
        Page {
            position: self.position(),
            count: pieces.len() as u32,
            first: end(offsets.first()),
            last: end(offsets.last()),
            body,
            has_streams: self.ledger.open_streams() > 0,
        }
    }

    fn whole(&self, request: &StreamRequest) -> Result<Vec<WholeStream>, ReadError> {
        let is_asked = |id: &&StreamId| request.offset.is_none_or(|offset| offset == id.offset);
        let whole = self.durable.open.keys().filter(is_asked).filter_map(|id| {
            let shared = self.ledger.shared(id)?;
            let known = request.known.filter(|(generation, _)| *generation == shared.generation);
            let at = known.map_or(Position::ZERO, |(_, at)| at);
            let (at, text) = match shared.text.text_from(at) {
                Some(text) => (at, text),
                None => (Position::ZERO, shared.text.text_from(Position::ZERO)?),
            };
            let next = shared.text.next();
            let mut frame = Vec::new();
            server_frame::write_with(&mut frame, Opcode::Text, |out| {
                json::object(out, |out| {
                    json::key(out, "stream");
                    json::object(out, |out| {
                        json::text(out, "channel", id.channel.as_str());
                        json::integer(out, "offset", id.offset.0);
                        json::integer(out, "gen", shared.generation.0.into());
                        json::integer(out, "at", at.0.into());
                        json::text(out, "text", &text);
                        json::integer(out, "next", next.0.into());
                        json::text(out, "state", shared.state.word());
                    });
                });
            });
            let (generation, state) = (shared.generation, shared.state);
            Some(WholeStream { id: id.clone(), generation, next, state, frame: frame.into() })
        });
        Ok(whole.collect())
    }

    /// One turn of the writer, and of the lanes to the reactors.
    pub fn turn(&mut self, now: Now, rigs: &mut [Rig], rng: &mut Rng) {
        let flush = self.ledger.cut(now.at);
        if !flush.writes_nothing() && rng.u8(..100) < self.failing {
            self.ledger.failed(flush, now.at, &mut self.out);
        } else {
            self.commit(flush, now);
        }
        let StreamOutput { replies, notices, news, heard: _, cancelled: _, answers: _ } =
            std::mem::take(&mut self.out);
        for (ticket, outcome) in replies {
            if ticket.reactor != SOCKETLESS {
                self.answers.push((ticket.reactor, Completion::Stream { ticket, outcome }));
                continue;
            }
            let offset = ticket.request & u64::from(u32::MAX);
            self.heard.push((ticket.request >> 32, offset, Heard::Outcome(outcome)));
        }
        for (producer, notice) in notices {
            if producer.reactor != SOCKETLESS {
                let notices = Completion::Producers([(producer.connection, notice)].into());
                self.answers.push((producer.reactor, notices));
                continue;
            }
            let offset = match &notice {
                ProducerNotice::Appended { id, .. }
                | ProducerNotice::Refused { id, .. }
                | ProducerNotice::Cancel { id, .. } => id.offset.0,
                ProducerNotice::Pause | ProducerNotice::Resume => 0,
            };
            self.heard.push((producer.connection, offset, Heard::Notice(notice)));
        }
        if !news.is_empty() {
            // Before the publications of the same commit: an end is the last news of a stream.
            self.broadcasts.insert(0, Broadcast::Streamed(news.into()));
        }
        for rig in rigs.iter_mut() {
            for broadcast in &self.broadcasts {
                let is_lost = rng.u8(..100) < self.losing;
                match broadcast {
                    Broadcast::Streamed(news) if !is_lost => {
                        rig.live.push_back(Broadcast::Streamed(Arc::clone(news)));
                    }
                    Broadcast::Published(run) if !is_lost => {
                        rig.live.push_back(Broadcast::Published(Arc::clone(run)));
                    }
                    Broadcast::Streamed(_) => rig.missed_streams = true,
                    _ => rig.missed = true,
                }
            }
        }
        self.broadcasts.clear();
        for (reactor, completion) in std::mem::take(&mut self.answers) {
            rigs[usize::from(reactor.0)].answers.push_back(completion);
        }
    }

    fn commit(&mut self, flush: Flush, now: Now) {
        self.commits += u64::from(!flush.writes_nothing());
        for row in &flush.restarts {
            self.durable.open.get_mut(&row.id).expect("open").generation = row.generation;
        }
        flush.rows.iter().for_each(|row| self.add_text(row));
        self.durable.rows.extend(flush.rows.iter().cloned());
        for row in &flush.states {
            self.durable.open.get_mut(&row.id).expect("open").state = row.state;
        }
        let fates: Vec<EndFate> = flush.ends.iter().map(|row| self.end(row, now)).collect();
        self.ledger.settled(flush, &fates, now.at, &mut self.out);
    }

    fn end(&mut self, row: &EndRow, now: Now) -> EndFate {
        self.durable.open.remove(&row.id).expect("a stream ends once");
        let entry = Entry {
            key: None,
            user: row.author.as_str().into(),
            change: Change::Edits(row.id.offset),
            mark: StreamMark::Ended(row.end),
            data: row.data.to_string(),
        };
        let fate = EndFate { end: row.end, edit: self.publish(entry, now) };
        self.durable.ended.insert(row.id.clone(), fate);
        fate
    }
}

fn stored(entry: &Entry, offset: Offset, time_ms: u64) -> Stored<'_> {
    Stored {
        offset,
        key: entry.key.as_deref(),
        user: &entry.user,
        time_ms,
        change: entry.change,
        stream: entry.mark,
        deleted_by: None,
        data: &entry.data,
    }
}
