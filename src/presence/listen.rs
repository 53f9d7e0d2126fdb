//! The thread that hears of changes of other instances' segments: it subscribes to the topics of open views. Of a cluster, each master
//! has one of its own ([`links`](super::links)).
//!
//! Its connection is not the one of `bus-receive`, so that a storm of joins delays no publication. The canaries of the bus come back on
//! it as well: without one for a while, messages are lost, whatever the reason, and views are read every second.

use super::topic::{TopicNames, TopicPlace};
use crate::clock::Moment;
use crate::follow::routing::partition_of;
use crate::follow::subscriptions::{EndedSubscription, Follows};
use crate::health::advice::look_at;
use crate::health::definition::DependencyKind;
use crate::health::finding::Fault;
use crate::id::ChannelName;
use crate::job::bus::{Bell, SharedKey};
use crate::net::deadline;
use crate::net::dial::Dialer;
use crate::net::redis::cluster::redirect;
use crate::net::redis::{RedisConnection, is_text, trouble_of};
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crate::roster::TopicWish;
use crate::wire::envelope::{self, Origin};
use crate::wire::segment::SegmentDelta;
use ::redis::{ServerError, Value};
use crossbeam_channel::{Receiver, Sender, TryRecvError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Canaries of this process come every two seconds.
const CANARY_SILENCE: Duration = Duration::from_millis(3_500);
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause after a connection that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Subscriptions that the server refused, because their slots moved, are asked for again after this time.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The longest wait, so that silence is noticed.
const GLANCE: Duration = Duration::from_millis(500);
/// Values taken from the socket before other work is checked.
const VALUES_MAX: usize = 1_024;

/// News for the owner of the rosters.
#[derive(Debug)]
pub(super) enum RosterNews {
    /// Messages about the channel arrive from now on.
    Followed { channel: ChannelName, listener: u32 },
    /// They no longer do, until they are followed again.
    Unfollowed { channel: ChannelName, listener: u32 },
    /// Another process has changed its segment.
    Delta { channel: ChannelName, origin: u64, delta: SegmentDelta },
}

/// The state of the way of messages, shared by both threads.
#[derive(Debug, Default)]
pub(super) struct RosterFeed {
    /// Messages arrive.
    is_reached: AtomicBool,
    /// Times at which messages may have been lost.
    losses: AtomicU64,
}

/// The parts of the thread.
pub(super) struct ListenerParts {
    pub(super) target: Target,
    pub(super) names: TopicNames,
    pub(super) place: TopicPlace,
    /// Tells the listeners of one process apart.
    pub(super) number: u32,
    /// This process.
    pub(super) origin: Origin,
    pub(super) key: SharedKey,
    pub(super) wishes: Receiver<TopicWish>,
    pub(super) bell: Arc<Bell>,
    pub(super) news: Sender<RosterNews>,
    pub(super) feed: Arc<RosterFeed>,
    pub(super) clock: ListenerClock,
}

/// The time of the listeners.
pub(super) type ListenerClock = Arc<dyn Fn() -> Moment + Send + Sync>;

pub(super) struct RosterListener {
    parts: ListenerParts,
    dialer: Dialer,
    /// No follower waits for its subscription, so one that is asked for without a connection is confirmed as well.
    follows: Follows<Infallible>,
    /// Subscriptions that were confirmed or ended, and not passed on for want of room; a few for each view.
    untold: VecDeque<RosterNews>,
    /// The topic of the bus's canaries.
    canary: String,
    /// When refused subscriptions are asked for again.
    retry_at: Option<Moment>,
    connection: Option<Box<RedisConnection>>,
    rests_until: Moment,
    connected_at: Moment,
    /// The last canary of this process on this connection.
    heard: Option<Moment>,
}

impl RosterFeed {
    /// True while messages arrive.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached.load(Ordering::Acquire)
    }

    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    fn lose(&self) {
        self.losses.fetch_add(1, Ordering::AcqRel);
    }
}

impl RosterListener {
    pub(super) fn new(parts: ListenerParts) -> RosterListener {
        let now = (parts.clock)();
        RosterListener {
            dialer: parts.target.dialer(),
            canary: parts.names.canary(parts.place),
            parts,
            follows: Follows::default(),
            untold: VecDeque::new(),
            retry_at: None,
            connection: None,
            rests_until: now,
            connected_at: now,
            heard: None,
        }
    }

    /// Runs until nothing is wished for any more: its master has no slots, or the process ends.
    pub(super) fn run(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.work())) {
                Ok(ControlFlow::Break(())) => return,
                Ok(ControlFlow::Continue(())) => {}
                Err(_) => {
                    tracing::error!(
                        hint = "this is a fault of seawall: report it",
                        "roster listener restarted"
                    );
                    self.lose(Trouble::new(Fault::Internal, "the listener panicked"));
                    self.judge();
                }
            }
        }
    }

    fn now(&self) -> Moment {
        (self.parts.clock)()
    }

    fn work(&mut self) -> ControlFlow<()> {
        self.wait();
        self.parts.bell.answer();
        loop {
            match self.parts.wishes.try_recv() {
                Ok(TopicWish::Follow(channel)) => self.follows.want(channel),
                Ok(TopicWish::Leave(channel)) => self.follows.leave(channel),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
        }
        let worked = self.connect().and_then(|()| self.listen()).and_then(|()| self.subscribe());
        if let Err(trouble) = worked {
            self.lose(trouble);
        }
        self.judge();
        self.tell_waiting();
        ControlFlow::Continue(())
    }

    fn wait(&self) {
        let mut ready = vec![PollFd::new(&*self.parts.bell, PollFlags::IN)];
        let rest = match &self.connection {
            Some(connection) => {
                ready.push(PollFd::new(&**connection, PollFlags::IN));
                let retries = self.retry_at.map(|at| at.since(self.now()));
                retries.unwrap_or(GLANCE).min(GLANCE)
            }
            None => self.rests_until.since(self.now()).min(GLANCE),
        };
        let rest = Timespec::try_from(rest.max(Duration::from_millis(1))).unwrap_or_default();
        // An interrupting signal is as good as an event.
        let _ = poll(&mut ready, Some(&rest));
    }

    fn connect(&mut self) -> Result<(), Trouble> {
        if self.connection.is_some() || self.rests_until > self.now() {
            return Ok(());
        }
        self.rests_until = self.now() + PAUSE;
        let target = self.parts.target.redis().ok_or_else(|| Trouble::new(Fault::Internal, "no Redis"))?;
        let deadline = deadline::now() + DIAL_TIMEOUT + target.search_max();
        let mut connection = RedisConnection::open(&mut self.dialer, target, deadline)?;
        connection.say(&self.parts.names.first_command(self.parts.place), deadline)?;
        self.follows.connected();
        self.retry_at = None;
        (self.connected_at, self.heard) = (self.now(), None);
        self.connection = Some(Box::new(connection));
        Ok(())
    }

    fn listen(&mut self) -> Result<(), Trouble> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        let deadline = deadline::now() + CALL_TIMEOUT;
        for number in 0..=VALUES_MAX {
            if number == VALUES_MAX {
                // The parser may hold more, which no poll reports.
                self.parts.bell.ring();
                break;
            }
            match connection.take(deadline)? {
                Some(value) => self.take(&value, connection.peer())?,
                None => break,
            }
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn take(&mut self, value: &Value, peer: &str) -> Result<(), Trouble> {
        let parts = match value {
            Value::ServerError(error) => return self.refused(error, peer),
            Value::Array(parts) => parts.as_slice(),
            _ => return Ok(()),
        };
        match parts {
            [kind, Value::BulkString(name), Value::BulkString(message)]
                if is_text(kind, "message") || is_text(kind, "smessage") =>
            {
                self.message(name, message);
            }
            [kind, Value::BulkString(name), _]
                if is_text(kind, "subscribe") || is_text(kind, "ssubscribe") =>
            {
                if let Some(channel) = self.parts.names.channel(name)
                    && self.follows.subscribed(&channel).unwaited
                {
                    let listener = self.parts.number;
                    self.untold.push_back(RosterNews::Followed { channel, listener });
                }
            }
            [kind, Value::BulkString(name), _] if is_text(kind, "sunsubscribe") => self.unsubscribed(name),
            _ => {}
        }
        Ok(())
    }

    /// The server does not have the slots of a partition; any other error ends the connection.
    fn refused(&mut self, error: &ServerError, peer: &str) -> Result<(), Trouble> {
        let Some(moved) = redirect(error, peer) else { return Err(trouble_of(error)) };
        let is_moved = |channel: &ChannelName| partition_of(channel) == moved.partition;
        let channels: Vec<ChannelName> =
            self.follows.names().filter(|channel| is_moved(channel)).cloned().collect();
        channels.into_iter().for_each(|channel| self.unfollow(channel));
        drop(self.follows.refuse(is_moved));
        self.retry_later();
        Ok(())
    }

    /// The server ended a subscription: on request, or because the slot moved.
    fn unsubscribed(&mut self, name: &[u8]) {
        if let Some(channel) = self.parts.names.channel(name)
            && self.follows.unsubscribed(&channel) == EndedSubscription::Unasked
        {
            self.unfollow(channel);
            self.retry_later();
        }
    }

    fn unfollow(&mut self, channel: ChannelName) {
        self.untold.push_back(RosterNews::Unfollowed { channel, listener: self.parts.number });
    }

    fn retry_later(&mut self) {
        let at = self.now() + RETRY_AFTER;
        self.retry_at.get_or_insert(at);
    }

    fn message(&mut self, name: &[u8], message: &[u8]) {
        let Some(origin) = envelope::origin(message) else { return };
        if name == self.canary.as_bytes() {
            if origin == self.parts.origin
                && let Some(key) = self.parts.key.load_full()
                && envelope::read_canary(message, &key, &self.canary).is_ok()
            {
                self.heard = Some(self.now());
            }
            return;
        }
        if origin == self.parts.origin {
            return;
        }
        let channel = self.parts.names.channel(name);
        let (Some(channel), Some(key)) = (channel, self.parts.key.load_full()) else {
            return self.parts.feed.lose();
        };
        let delta = envelope::read_roster(message, &key, &self.parts.names.topic(&channel));
        match delta {
            Ok(delta) => self.tell(RosterNews::Delta { channel, origin: origin.0, delta }),
            // The next reading finds what it was about, if it was anything.
            Err(fault) => tracing::debug!(%channel, ?fault, "roster message ignored"),
        }
    }

    /// Passes a change on. Without room for it, all views are read.
    fn tell(&self, news: RosterNews) {
        if self.parts.news.try_send(news).is_err() {
            self.parts.feed.lose();
        }
    }

    /// Passes on which subscriptions were confirmed or ended, as far as there is room. A view is not complete without.
    fn tell_waiting(&mut self) {
        while let Some(news) = self.untold.pop_front() {
            if let Err(error) = self.parts.news.try_send(news) {
                self.untold.push_front(error.into_inner());
                break;
            }
        }
    }

    fn subscribe(&mut self) -> Result<(), Trouble> {
        let now = self.now();
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if self.retry_at.take_if(|at| *at <= now).is_some() {
            self.follows.retry();
        }
        let mut bytes = Vec::new();
        while let Some(command) = self.follows.next_command() {
            self.parts.names.write(command, self.parts.place, &mut bytes);
        }
        if bytes.is_empty() { Ok(()) } else { connection.say(&bytes, deadline::now() + CALL_TIMEOUT) }
    }

    fn lose(&mut self, trouble: Trouble) {
        let look_at = look_at(DependencyKind::Redis, trouble.fault);
        let cause = trouble.into_cause(look_at, self.parts.target.secrets());
        tracing::debug!(cause = %cause.text, "roster messages lost");
        self.connection = None;
        self.heard = None;
        self.rests_until = self.rests_until.max(self.now() + PAUSE);
        // The next connection follows all of them again.
        drop(self.follows.lost());
    }

    /// Decides whether messages arrive: a connection alone does not say so, a canary that comes back on it does.
    fn judge(&mut self) {
        let is_silent = self.now().since(self.heard.unwrap_or(self.connected_at)) >= CANARY_SILENCE;
        if self.connection.is_some() && is_silent {
            self.lose(Trouble::new(Fault::Delivery, "no canary comes back"));
        }
        let is_reached = self.connection.is_some() && self.heard.is_some() && self.follows.is_complete();
        if self.parts.feed.is_reached.swap(is_reached, Ordering::AcqRel) != is_reached {
            self.parts.feed.lose();
        }
    }
}
