//! The ledger: its contents, its orders, and the producers of its streams.

use super::channel_share::ChannelShares;
use super::deadline::{Clocks, Deadlines};
use super::facts::OpenQuestion;
use super::grid::{FlushUrgency, Grid};
use super::open::{FirstNews, FlushList, OpenStream, StreamOrigin};
use super::order::{OpenOptions, StreamBegin};
use super::output::StreamOutput;
use super::producers::Producers;
use super::settings::{GIVE_UP_MARGIN, PRODUCERS_MAX, RETRY_MS, StreamSettings};
use super::share::StreamShares;
use super::text::StreamText;
use crate::clock::Moment;
use crate::id::ProducerId;
use crate::wire::stream::{
    BegunStream, Generation, Position, ProducerNotice, StreamFault, StreamId, StreamOptions, StreamState,
};
use ahash::AHashMap;
use std::collections::BTreeSet;
use std::time::Duration;

/// An open stream as readers may see it: everything in it is committed.
#[derive(Clone, Debug)]
pub struct SharedStream {
    pub generation: Generation,
    pub state: StreamState,
    pub text: StreamText,
}

/// The processes that write the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreWriters {
    /// This one.
    One,
    /// Other instances too, which may have the same streams open.
    Several,
}

/// Says if commits work.
#[derive(Clone, Copy, Debug)]
pub(super) enum Commits {
    WorkSince(Moment),
    /// The last one failed, at this time. Without anything to commit there is no other.
    Fail(Moment),
}

/// All open streams of a store. `T` identifies a command that waits for its reply.
#[derive(Debug)]
pub struct Ledger<T> {
    pub(super) settings: StreamSettings,
    pub(super) writers: StoreWriters,
    pub(super) streams: AHashMap<StreamId, OpenStream<T>>,
    per_channel: ChannelShares,
    pub(super) producers: Producers,
    pub(super) shares: StreamShares,
    pub(super) deadlines: Deadlines,
    pub(super) grid: Grid,
    pub(super) commits: Commits,
    /// The streams that the next flush looks at.
    pub(super) list: Vec<StreamId>,
    /// The ones that a flush is not to look at before these times.
    pub(super) later: BTreeSet<(Moment, StreamId)>,
    pub(super) urgency: FlushUrgency,
    /// True while a flush is neither settled nor failed.
    pub(super) in_flight: bool,
    /// The streams that the store may have otherwise.
    pub(super) behind: BTreeSet<StreamId>,
    /// The streams to be touched in the store by the next flush.
    pub(super) touches: Vec<StreamId>,
    /// A buffer in which frames are written.
    pub(super) buffer: Vec<u8>,
}

impl<T: Copy> Ledger<T> {
    /// The ledger of a store that this process alone writes.
    pub fn new(settings: StreamSettings, now: Moment) -> Ledger<T> {
        Ledger::with(settings, StoreWriters::One, now)
    }

    /// The ledger of a store that other instances write too.
    pub fn of_several(settings: StreamSettings, now: Moment) -> Ledger<T> {
        Ledger::with(settings, StoreWriters::Several, now)
    }

    fn with(settings: StreamSettings, writers: StoreWriters, now: Moment) -> Ledger<T> {
        Ledger {
            grid: Grid::new(settings.rollup),
            settings,
            writers,
            streams: AHashMap::new(),
            per_channel: ChannelShares::default(),
            producers: Producers::default(),
            shares: StreamShares::default(),
            deadlines: Deadlines::default(),
            commits: Commits::WorkSince(now),
            list: Vec::new(),
            later: BTreeSet::new(),
            urgency: FlushUrgency::Nothing,
            in_flight: false,
            behind: BTreeSet::new(),
            touches: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Opens a stream whose begin is being committed. If it is refused, the begin must not be committed; if the commit fails, call
    /// [`forget`](Ledger::forget).
    pub fn begin(&mut self, begin: StreamBegin, now: Moment) -> Result<BegunStream, StreamFault> {
        let asker = begin.options.asker.as_ref().filter(|_| begin.options.answer.is_some());
        if !self.per_channel.admits(&begin.id.channel, asker, self.settings.open_per_channel) {
            return Err(StreamFault::ChannelFull { retry_ms: RETRY_MS });
        }
        if self.streams.contains_key(&begin.id) {
            return Err(StreamFault::Overloaded { retry_ms: RETRY_MS });
        }
        let (id, producer) = (begin.id.clone(), begin.producer);
        let stream = self.beginning(begin, now);
        self.check_begin(&stream, 0)?;
        self.open_first(&id, stream, producer);
        Ok(BegunStream { generation: Generation::FIRST, next: Position::ZERO, ended: None })
    }

    pub(super) fn beginning(&self, begin: StreamBegin, now: Moment) -> OpenStream<T> {
        let StreamBegin { author, options, begun, .. } = begin;
        let state = options.first_state();
        let clocks = self.clocks(&options, state, now, Duration::ZERO);
        let question = options.answer.map(|_| OpenQuestion::new(now, Duration::ZERO));
        let (options, generation) = (self.open_options(options), Generation::FIRST);
        let origin = StreamOrigin { author, options, begun, generation, state, clocks };
        OpenStream { question, ..OpenStream::new(origin) }
    }

    /// Opens a stream that has just begun. An answer has no producer, and its state follows its begin.
    pub(super) fn open_first(
        &mut self,
        id: &StreamId,
        mut stream: OpenStream<T>,
        producer: Option<ProducerId>,
    ) {
        let is_answer = stream.options.answer.is_some();
        if is_answer {
            stream.first_news = FirstNews::Due;
        }
        self.open(id, stream);
        if let Some(producer) = producer {
            self.add_producer(id, producer);
        }
        if is_answer {
            self.list(id, FlushUrgency::Early);
        }
    }

    /// Refuses a stream that does not fit into a message or into memory, where `beginning` bytes are promised to others.
    pub(super) fn check_begin(&self, stream: &OpenStream<T>, beginning: usize) -> Result<(), StreamFault> {
        if !stream.can_begin(&self.settings) {
            return Err(StreamFault::TooLarge);
        }
        match self.shares.admits_begin(stream.payer(), stream.bytes().kept + beginning, &self.settings) {
            true => Ok(()),
            false => Err(StreamFault::Overloaded { retry_ms: RETRY_MS }),
        }
    }

    /// Drops a stream whose begin was not committed.
    pub fn forget(&mut self, id: &StreamId, out: &mut StreamOutput<T>) {
        self.close(id, out);
    }

    pub(super) fn open_options(&self, options: StreamOptions) -> OpenOptions {
        OpenOptions { asker: options.asker, keep: options.events, answer: options.answer }
    }

    /// The clocks of a stream that has been in this state, or in a later one than the first, for `age`.
    pub(super) fn clocks(
        &self,
        options: &StreamOptions,
        state: StreamState,
        now: Moment,
        age: Duration,
    ) -> Clocks {
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let idle = options.idle_ms.map_or(self.settings.idle, ms);
        let answer = options.answer.map_or(idle, |answer| ms(answer.answer_ms));
        let whole = match options.answer {
            Some(answer) if state == StreamState::Accepted => ms(answer.give_up_ms) + GIVE_UP_MARGIN,
            Some(_) | None => self.settings.life,
        };
        // The age may be that of an earlier process, and so begin before this one's clock.
        let life = whole.saturating_sub(age);
        Clocks {
            life_end: now + life,
            sign: now,
            orphaned: None,
            elsewhere: None,
            swept: None,
            touch: None,
            cancel_end: None,
            idle,
            answer,
        }
    }

    pub(super) fn open(&mut self, id: &StreamId, stream: OpenStream<T>) {
        self.per_channel.open(&id.channel, stream.options.answers());
        self.shares.open(stream.payer(), stream.counted);
        self.streams.insert(id.clone(), stream);
        self.recount(id);
        self.schedule(id);
    }

    /// Removes a stream, and returns it.
    pub(super) fn close(&mut self, id: &StreamId, out: &mut StreamOutput<T>) -> Option<OpenStream<T>> {
        let mut stream = self.streams.remove(id)?;
        if !self.behind.is_empty() {
            self.behind.remove(id);
        }
        self.deadlines.remove(id, &mut stream.place);
        self.shares.close(stream.payer(), stream.counted);
        for producer in &stream.producers {
            if self.producers.remove(*producer, id) {
                out.notices.push((*producer, ProducerNotice::Resume));
            }
        }
        self.per_channel.close(&id.channel, stream.options.answers());
        Some(stream)
    }

    /// Tells the shares of the bytes that a stream has now.
    pub(super) fn recount(&mut self, id: &StreamId) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.recount(&mut self.shares);
        }
    }

    /// The time before which streams are not ended for silence or the lack of a producer: commits may have failed meanwhile.
    pub(super) fn spared(&self) -> Moment {
        match self.commits {
            Commits::WorkSince(since) => since + self.settings.orphan,
            Commits::Fail(last) => last + self.settings.orphan,
        }
    }

    pub(super) fn schedule(&mut self, id: &StreamId) {
        let spared = self.spared();
        if let Some(stream) = self.streams.get_mut(id) {
            let (at, _) = stream.clocks.next(stream.state, &self.settings, spared);
            self.deadlines.bring_forward(id, &mut stream.place, at);
        }
    }

    /// Has the next flush look at a stream.
    pub(super) fn list(&mut self, id: &StreamId, urgency: FlushUrgency) {
        if let Some(stream) = self.streams.get_mut(id)
            && stream.listed != FlushList::Later
        {
            self.urgency = self.urgency.max(urgency);
            stream.join_list(id, &mut self.list);
        }
    }

    /// Answers a begin that was a repeat, and makes its connection a producer. `None` if the stream is not open.
    pub fn attach(
        &mut self,
        id: &StreamId,
        producer: ProducerId,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) -> Option<BegunStream> {
        self.streams.get(id)?;
        self.greet(id, producer, now, out);
        self.touch_in_time(id, now);
        let stream = self.streams.get(id)?;
        Some(BegunStream { generation: stream.head, next: stream.committed_next(), ended: None })
    }

    pub(super) fn add_producer(&mut self, id: &StreamId, producer: ProducerId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.producers.push(producer);
        stream.clocks.orphaned = None;
        self.producers.add(producer, id);
    }

    /// A producer gave a sign of life, perhaps the first one on this connection.
    pub(super) fn greet(
        &mut self,
        id: &StreamId,
        producer: ProducerId,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.clocks.sign = now;
        if stream.producers.contains(&producer) {
            return;
        }
        let oldest = (stream.producers.len() >= PRODUCERS_MAX).then(|| stream.producers.remove(0));
        out.notices.extend(stream.cancel_notice(id, now).map(|notice| (producer, notice)));
        if let Some(oldest) = oldest {
            stream.waiting.forget_pieces(oldest);
        }
        let was_paused = stream.state == StreamState::Paused;
        if was_paused {
            stream.state = stream.resumed();
        }
        if let Some(oldest) = oldest
            && self.producers.remove(oldest, id)
        {
            out.notices.push((oldest, ProducerNotice::Resume));
        }
        self.add_producer(id, producer);
        self.touch(id, now);
        if was_paused {
            self.list(id, FlushUrgency::Early);
        }
    }

    /// A connection ended: each of its streams loses this producer.
    pub fn detach(&mut self, producer: ProducerId, now: Moment) {
        for id in self.producers.forget(producer) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.producers.retain(|known| *known != producer);
            stream.waiting.forget(producer);
            if stream.producers.is_empty() {
                stream.clocks.orphaned = Some(now);
                stream.clocks.touch = None;
                self.schedule(&id);
            }
        }
    }

    /// A producer is done, and another one will go on with its streams: none of them has lost its producer.
    pub fn leave(&mut self, producer: ProducerId) {
        for id in self.producers.forget(producer) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.producers.retain(|known| *known != producer);
            stream.waiting.forget(producer);
        }
    }

    /// A stream as readers may see it; `None` if it is not open.
    pub fn shared(&self, id: &StreamId) -> Option<SharedStream> {
        let stream = self.streams.get(id)?;
        let (generation, state, text) = (stream.generation, stream.committed_state, stream.text.clone());
        Some(SharedStream { generation, state, text })
    }

    /// True if something waits for the next flush.
    pub fn has_waiting(&self) -> bool {
        self.urgency != FlushUrgency::Nothing
    }

    /// The number of open streams.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// The bytes of all open streams.
    pub fn bytes(&self) -> usize {
        let total = self.shares.total();
        total.kept + total.waiting
    }

    /// The time between two flushes, which slow commits stretch.
    pub fn window(&self) -> Duration {
        self.grid.window()
    }
}
