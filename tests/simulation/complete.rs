//! Takes what arrived from the workers and the other reactors, and asks for what the hub lacks.

use super::connection::Replays;
use super::pending::{Job, Request};
use super::perform::span;
use super::reactor::{Reactor, Retry};
use seawall::hub::{ChannelId, LogPage, Need, ReplayPage, SubscriptionId, Wanted};
use seawall::job::{Admit, Completion, Form, Live, Page, Read, ReadError, Ticket};
use seawall::limits::{HEADS_CHANNELS_MAX, HEADS_PERIOD, REPLAY_PAGE_BYTES_MAX, REPLAY_PUBLICATIONS_MAX};
use seawall::session::{AppendOutcome, HistoryOutcome};
use seawall::wire::command::Range;

impl Reactor {
    pub fn complete(&mut self) {
        let now = self.now.at;
        for (_, live) in self.live.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            match live {
                Live::Published(batch) => batch.iter().for_each(|published| self.hub.publish(published)),
                Live::Signal { channel, frame } => self.hub.signal(&channel, &frame),
                // What only a bus brings: here the lanes between instances are the world's.
                Live::Heads(_) | Live::Canary(_) => {}
            }
        }
        if std::mem::take(&mut self.missed) {
            self.heads_at = now;
        }
        self.deliver();
        for (_, answer) in self.answers.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            self.take_answer(answer);
        }
        if self.heads_at <= now {
            self.heads_at = now + HEADS_PERIOD;
            let (channels, _) = self.hub.names_from(0, HEADS_CHANNELS_MAX);
            self.ask_store(Request::Heads, self.now.at, |ticket| Read::Heads { ticket, channels });
        }
        self.ask_needs();
        self.deliver();
        self.forget_unfollowed();
    }

    fn take_answer(&mut self, completion: Completion) {
        match completion {
            Completion::Followed { .. } => {}
            Completion::Appended { ticket, outcome } => {
                let request = self.pending.take(ticket.request);
                if let Some(Request::Append { connection, id, channel, key }) = request {
                    let outcome = AppendOutcome::Answered(outcome);
                    self.with_session(connection, |session, cx| {
                        session.appended(id, &channel, key.as_ref(), outcome, cx);
                    });
                }
            }
            Completion::Page { ticket, outcome } => self.page(ticket, outcome),
            Completion::Heads { ticket, outcome } => {
                if let (Some(_), Ok(heads)) = (self.pending.take(ticket.request), outcome) {
                    for (channel, position) in heads {
                        self.hub.heads_read(&channel, position);
                    }
                }
            }
            Completion::TokenChecked { ticket, outcome } => {
                let request = self.pending.take(ticket.request);
                let counted = self.counting.remove(&ticket.request);
                let waiting = match request {
                    Some(Request::Token { connection, id }) => {
                        self.open(connection).is_some().then_some((connection, id))
                    }
                    Some(_) | None => None,
                };
                match (waiting, outcome) {
                    (Some((serial, id)), outcome) => {
                        self.with_session(serial, |session, cx| session.token_checked(id, Some(outcome), cx));
                    }
                    (None, Ok(identity)) if counted => {
                        self.jobs.push(Job::Admit(Admit::Leave { user: identity.user }));
                    }
                    (None, Ok(_) | Err(_)) => {}
                }
            }
            Completion::AddressChecked { .. } => {}
        }
    }

    fn page(&mut self, ticket: Ticket, outcome: Result<Page, ReadError>) {
        match self.pending.take(ticket.request) {
            Some(Request::History { connection, id, channel }) => {
                self.with_session(connection, |session, cx| {
                    let outcome = match &outcome {
                        Ok(page) => HistoryOutcome::Page(page.position, &page.body),
                        Err(error) => HistoryOutcome::Unavailable { retry_ms: error.retry_ms },
                    };
                    session.history_read(id, &channel, &outcome, cx);
                });
            }
            Some(Request::Replay { connection, subscription }) => {
                self.replay_page(connection, subscription, outcome.ok());
            }
            Some(Request::Position(channel)) => self.position(channel, outcome.ok()),
            Some(Request::Older(channel)) => self.older(channel, outcome.ok()),
            Some(Request::Fill(channel)) => self.fill(channel, outcome.ok()),
            Some(Request::Append { .. } | Request::Token { .. } | Request::Heads) | None => {}
        }
    }

    fn replay_page(&mut self, serial: u64, subscription: SubscriptionId, page: Option<Page>) {
        let Some((index, connection)) = self.open(serial) else { return };
        connection.replays = Replays::Stepping;
        let Some(page) = page else { return self.page_failed(serial, subscription) };
        let piece = ReplayPage { floor: page.position.floor, first: page.first, last: page.last };
        if self.hub.page_read(subscription, Some(piece))
            && let Some(connection) = &mut self.connections[index]
        {
            connection.write(&mut self.arena, &page.body);
        }
        self.catch_up(serial);
    }

    fn position(&mut self, channel: ChannelId, page: Option<Page>) {
        for (subscription, decision) in self.hub.position_read(channel, page.as_ref().map(log_page)) {
            let serial = self.hub.slot(subscription).and_then(|slot| self.at(slot));
            if let Some(serial) = serial {
                self.with_session(serial, |session, cx| session.opened(subscription, decision, cx));
            }
        }
    }

    fn fill(&mut self, channel: ChannelId, page: Option<Page>) {
        match &page {
            Some(page) => self.hub.filled(channel, Some(log_page(page))),
            None => self.retry_soon(Retry::Fill(channel)),
        }
    }

    fn older(&mut self, channel: ChannelId, page: Option<Page>) {
        match &page {
            Some(page) => self.hub.older_read(channel, Some(log_page(page))),
            None => self.retry_soon(Retry::Older(channel)),
        }
    }

    pub fn ask_needs(&mut self) {
        while self.hub.has_needs() {
            for need in self.hub.take_needs() {
                self.ask_need(need);
            }
        }
    }

    fn ask_need(&mut self, need: Need) {
        let (id, request, wanted) = match need {
            Need::Position(id) => (id, Request::Position(id), Some(self.hub.wanted(id))),
            Need::Older(id) => (id, Request::Older(id), self.hub.older(id)),
            Need::Fill(id, after) => {
                let limit = REPLAY_PUBLICATIONS_MAX as u32;
                (id, Request::Fill(id), Some(Wanted { range: Range::After(after), limit }))
            }
        };
        let Some(name) = self.hub.channel_name(id).cloned() else { return };
        let Wanted { range, limit } = wanted.expect("it is followed");
        let bytes_max = match need {
            Need::Fill(..) => REPLAY_PAGE_BYTES_MAX,
            Need::Position(_) | Need::Older(_) => self.recovery_bytes,
        };
        if !self.ask_page(request, name, span(range), limit, (bytes_max, Form::Frames)) {
            match need {
                Need::Position(id) => self.position(id, None),
                Need::Older(id) => self.older(id, None),
                Need::Fill(id, _) => self.fill(id, None),
            }
        }
    }

    pub fn answer_late(&mut self, request: Request) {
        match request {
            Request::Append { connection, id, channel, key } => {
                self.with_session(connection, |session, cx| {
                    session.appended(id, &channel, key.as_ref(), AppendOutcome::Late, cx);
                });
            }
            Request::History { connection, id, channel } => self.with_session(connection, |session, cx| {
                session.history_read(id, &channel, &HistoryOutcome::Late, cx);
            }),
            Request::Token { connection, id } => {
                self.with_session(connection, |session, cx| session.token_checked(id, None, cx));
            }
            Request::Replay { connection, subscription } => self.replay_page(connection, subscription, None),
            Request::Position(channel) => self.position(channel, None),
            Request::Older(channel) => self.older(channel, None),
            Request::Fill(channel) => self.fill(channel, None),
            Request::Heads => {}
        }
    }
}

fn log_page(page: &Page) -> LogPage<'_> {
    let Page { position, count, first, last, body } = page;
    LogPage { position: *position, first: *first, last: *last, count: *count, frames: body }
}
