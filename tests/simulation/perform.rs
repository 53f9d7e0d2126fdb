//! Does what sessions ask for, gives runs to the live ones, and lets the others catch up.

use super::connection::{Connection, Replays};
use super::frame::{Frame, Push};
use super::pending::{Job, Request};
use super::reactor::{Reactor, Retry};
use super::socket::parse;
use super::store::number;
use seawall::clock::Moment;
use seawall::hub::{Live, Paging, Step, SubscriptionId};
use seawall::id::{ChannelName, CommandId, Offset};
use seawall::job::{Admit, Append, Form, Occasion, PageRequest, Read, Span, Ticket};
use seawall::limits::{HISTORY_PAGE_BYTES_MAX, REPLAY_PAGE_BYTES_MAX};
use seawall::session::{AppendEffect, AppendOutcome, Effect, HistoryOutcome};
use seawall::wire::command::Range;
use seawall::wire::outbox::Offer;

impl Reactor {
    pub fn perform(&mut self, serial: u64, effect: Effect) {
        match effect {
            Effect::Append(append) => self.append(serial, *append),
            Effect::History { id, channel, range, limit, asked } => {
                self.history((serial, id), channel, range, limit, asked);
            }
            Effect::CheckToken { token, occasion, id, asked } => {
                let ticket = self.ticket(Request::Token { connection: serial, id }, asked);
                if occasion == Occasion::Connect {
                    self.counting.insert(ticket.request);
                }
                self.jobs.push(Job::Admit(Admit::Token { ticket, token, occasion }));
            }
            Effect::Signal { channel, frame } => {
                self.hub.signal(&channel, &frame);
                self.signals.push((channel, frame));
            }
            Effect::Replay(subscription) => self.step(subscription),
            Effect::Leave(user) => self.jobs.push(Job::Admit(Admit::Leave { user })),
            Effect::Close(reason) => self.close(serial, reason),
        }
    }

    fn ticket(&mut self, request: Request, asked: Moment) -> Ticket {
        Ticket { reactor: self.id, request: self.pending.insert(request, asked) }
    }

    fn append(&mut self, serial: u64, effect: AppendEffect) {
        let AppendEffect { id, channel, user, key, change, data, asked } = effect;
        if self.append_room == 0 {
            self.with_session(serial, |session, cx| {
                session.appended(id, &channel, None, AppendOutcome::QueueFull, cx);
            });
            return;
        }
        self.append_room -= 1;
        let request = Request::Append { connection: serial, id, channel: channel.clone(), key: key.clone() };
        let ticket = self.ticket(request, asked);
        let job = Append { ticket, channel, user, key, change, data };
        self.jobs.push(Job::Append(job, (serial, id.0)));
    }

    fn history(
        &mut self,
        (serial, id): (u64, CommandId),
        channel: ChannelName,
        range: Range,
        limit: u32,
        asked: Moment,
    ) {
        let span = span(range);
        let request = Request::History { connection: serial, id, channel: channel.clone() };
        let name = channel.clone();
        let (bytes_max, form) = (HISTORY_PAGE_BYTES_MAX, Form::Json);
        let sent = self.ask_store(request, asked, |ticket| {
            Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form })
        });
        if !sent {
            self.with_session(serial, |session, cx| {
                session.history_read(id, &name, &HistoryOutcome::QueueFull, cx);
            });
        }
    }

    /// Queues the read of a page; false when there is no room, and nothing will come of it.
    pub fn ask_page(
        &mut self,
        request: Request,
        channel: ChannelName,
        span: Span,
        limit: u32,
        (bytes_max, form): (usize, Form),
    ) -> bool {
        self.ask_store(request, self.now.at, |ticket| {
            Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form })
        })
    }

    pub fn ask_store(&mut self, request: Request, asked: Moment, job: impl FnOnce(Ticket) -> Read) -> bool {
        if self.read_room == 0 {
            return false;
        }
        self.read_room -= 1;
        let ticket = self.ticket(request, asked);
        self.jobs.push(Job::Read(job(ticket)));
        true
    }

    /// Gives each channel's run to its live subscribers.
    pub fn deliver(&mut self) {
        let bytes_max = self.policy.limits.outbox_bytes as usize;
        let mut fallen: Vec<Live> = Vec::new();
        while let Some(run) = self.hub.take_run() {
            let frames = parse(&run.bytes);
            for (_, frame) in &frames {
                if let Frame::Push(Push::Publication(publication)) = &**frame {
                    self.given.insert(publication.channel, publication.offset);
                }
            }
            for live in run.live {
                let Some(Some(connection)) = self.connections.get_mut(live.slot.0 as usize) else { continue };
                match connection.outbox.offer(&run.bytes, bytes_max) {
                    Offer::Taken => {
                        assert!(connection.outbox.bytes() <= bytes_max, "a run past the soft bound");
                        let said = connection.socket.borrow_mut().tap_frames(&run.bytes, &frames);
                        connection.said(said);
                    }
                    Offer::Full => fallen.push(*live),
                }
            }
            for live in fallen.drain(..) {
                self.hub.fall_behind(live);
                if let Some(Some(connection)) = self.connections.get_mut(live.slot.0 as usize) {
                    note_behind(connection);
                    if connection.outbox.is_empty() {
                        self.rooms.push(connection.serial);
                    }
                }
            }
        }
        for subscription in self.hub.take_caught_up() {
            self.step(subscription);
        }
    }

    pub fn catch_up(&mut self, serial: u64) {
        let Some((_, connection)) = self.open(serial) else { return };
        let subscriptions = connection.session.subscriptions().to_vec();
        let behind: Vec<SubscriptionId> =
            subscriptions.into_iter().filter(|subscription| !self.hub.is_live(*subscription)).collect();
        if let Some((_, connection)) = self.open(serial)
            && behind.is_empty()
            && connection.replays == Replays::Stepping
        {
            connection.replays = Replays::None;
        }
        for subscription in behind {
            self.step(subscription);
        }
    }

    /// Lets one subscription catch up as far as its outbox has room.
    pub fn step(&mut self, subscription: SubscriptionId) {
        let serial = self.hub.slot(subscription).and_then(|slot| self.at(slot));
        let Some(serial) = serial else { return };
        loop {
            let Some((index, connection)) = self.open(serial) else { return };
            if !connection.session.is_open() {
                return;
            }
            if connection.outbox.bytes() >= REPLAY_PAGE_BYTES_MAX {
                return note_behind(connection);
            }
            let paging = match connection.replays {
                Replays::None | Replays::Stepping => Paging::Allowed,
                Replays::PageAsked => Paging::Busy,
            };
            let mut out = Vec::new();
            let step = self.hub.step(subscription, paging, &mut out);
            self.write_replay(index, &out);
            match step {
                Step::Done => return,
                Step::Wrote => {}
                Step::Shares(frame) => self.write_replay(index, &frame),
                Step::Waits => return self.note_behind_at(serial),
                Step::Page { channel, after, limit } => {
                    self.note_behind_at(serial);
                    return self.ask_replay(serial, subscription, channel, after, limit);
                }
            }
        }
    }

    fn write_replay(&mut self, index: usize, out: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        let before = connection.events.len();
        connection.write(&mut self.arena, out);
        for event in &connection.events[before..] {
            if let super::connection::Event::Said(frame) = event
                && let Frame::Push(Push::Publication(publication)) = &**frame
                && let Some(given) = self.given.get(&publication.channel)
            {
                self.from_memory.push((publication.channel, std::rc::Rc::clone(frame), *given));
            }
        }
    }

    fn ask_replay(
        &mut self,
        serial: u64,
        subscription: SubscriptionId,
        channel: ChannelName,
        after: Offset,
        limit: u32,
    ) {
        let request = Request::Replay { connection: serial, subscription };
        let asked =
            self.ask_page(request, channel, Span::After(after), limit, (REPLAY_PAGE_BYTES_MAX, Form::Frames));
        if asked {
            if let Some((_, connection)) = self.open(serial) {
                assert_ne!(connection.replays, Replays::PageAsked, "one page at a time");
                connection.replays = Replays::PageAsked;
            }
        } else {
            self.page_failed(serial, subscription);
        }
    }

    pub fn page_failed(&mut self, serial: u64, subscription: SubscriptionId) {
        let _ = self.hub.page_read(subscription, None);
        self.retry_soon(Retry::CatchUp(serial));
    }

    fn note_behind_at(&mut self, serial: u64) {
        if let Some((_, connection)) = self.open(serial) {
            note_behind(connection);
        }
    }

    /// A channel that nobody follows any more is forgotten, and so is what was given out of it.
    pub fn forget_unfollowed(&mut self) {
        let (names, _) = self.hub.names_from(0, usize::MAX);
        self.given.retain(|channel, _| names.iter().any(|name| number(name) == *channel));
    }
}

pub fn span(range: Range) -> Span {
    match range {
        Range::Before(offset) => Span::Before(offset),
        Range::After(offset) => Span::After(offset),
    }
}

fn note_behind(connection: &mut Connection) {
    if connection.replays == Replays::None {
        connection.replays = Replays::Stepping;
    }
}
