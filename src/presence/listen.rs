//! The thread that hears of changes of other instances' segments: it subscribes to the topics of open views.
//!
//! Its connection is not the one of `bus-receive`, so that a storm of joins delays no publication. The canaries of the bus come back on
//! it as well: without one for a while, messages are lost, whatever the reason, and views are read every second.

use super::topic::TopicNames;
use crate::follow::subscriptions::{BusCommand, Follows};
use crate::health::advice::look_at;
use crate::health::definition::DependencyKind;
use crate::health::finding::Fault;
use crate::id::ChannelName;
use crate::job::bus::{Bell, SharedKey};
use crate::net::deadline;
use crate::net::dial::Dialer;
use crate::net::redis::{RedisConnection, is_text, trouble_of};
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crate::roster::{TopicWish, WayState};
use crate::wire::envelope::{self, Origin};
use crate::wire::segment::SegmentDelta;
use ::redis::{Value, cmd};
use crossbeam_channel::{Receiver, Sender};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Canaries of this process come every two seconds.
const CANARY_SILENCE: Duration = Duration::from_millis(3_500);
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause after a connection that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest wait, so that silence is noticed.
const GLANCE: Duration = Duration::from_millis(500);
/// Values taken from the socket before other work is checked.
const VALUES_MAX: usize = 1_024;

/// News for the owner of the rosters.
#[derive(Debug)]
pub(super) enum RosterNews {
    /// Messages about the channel arrive from now on.
    Followed(ChannelName),
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
    /// This process.
    pub(super) origin: Origin,
    pub(super) key: SharedKey,
    pub(super) wishes: Receiver<TopicWish>,
    pub(super) bell: Arc<Bell>,
    pub(super) news: Sender<RosterNews>,
    pub(super) feed: Arc<RosterFeed>,
}

pub(super) struct RosterListener {
    parts: ListenerParts,
    dialer: Dialer,
    /// No follower waits for its subscription, so one that is asked for without a connection is confirmed as well.
    follows: Follows<Infallible>,
    /// Subscriptions that were confirmed, and not passed on for want of room; at most one for each view.
    followed: VecDeque<ChannelName>,
    connection: Option<Box<RedisConnection>>,
    rests_until: Instant,
    /// The last canary of this process.
    heard: Option<Instant>,
}

impl RosterFeed {
    pub(super) fn reach(&self) -> WayState {
        if self.is_reached.load(Ordering::Acquire) { WayState::Reached } else { WayState::Lost }
    }

    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    fn lose(&self) {
        self.losses.fetch_add(1, Ordering::AcqRel);
    }
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
fn monotonic() -> Instant {
    Instant::now()
}

impl RosterListener {
    pub(super) fn new(parts: ListenerParts) -> RosterListener {
        RosterListener {
            dialer: parts.target.dialer(),
            parts,
            follows: Follows::default(),
            followed: VecDeque::new(),
            connection: None,
            rests_until: monotonic(),
            heard: None,
        }
    }

    /// Runs until the owner of the rosters is gone, which ends with the process.
    pub(super) fn run(mut self) {
        loop {
            self.wait();
            self.parts.bell.answer();
            while let Ok(wish) = self.parts.wishes.try_recv() {
                match wish {
                    TopicWish::Follow(channel) => self.follows.want(channel),
                    TopicWish::Leave(channel) => self.follows.leave(channel),
                }
            }
            let worked = self.connect().and_then(|()| self.listen()).and_then(|()| self.subscribe());
            if let Err(trouble) = worked {
                self.lose(trouble);
            }
            self.judge();
            self.tell_followed();
        }
    }

    fn wait(&self) {
        let mut ready = vec![PollFd::new(&*self.parts.bell, PollFlags::IN)];
        let rest = match &self.connection {
            Some(connection) => {
                ready.push(PollFd::new(&**connection, PollFlags::IN));
                GLANCE
            }
            None => self.rests_until.saturating_duration_since(monotonic()).min(GLANCE),
        };
        let rest = Timespec::try_from(rest.max(Duration::from_millis(1))).unwrap_or_default();
        // An interrupting signal is as good as an event.
        let _ = poll(&mut ready, Some(&rest));
    }

    fn connect(&mut self) -> Result<(), Trouble> {
        if self.connection.is_some() || self.rests_until > monotonic() {
            return Ok(());
        }
        self.rests_until = monotonic() + PAUSE;
        let target = self.parts.target.redis().ok_or_else(|| Trouble::new(Fault::Internal, "no Redis"))?;
        let deadline = deadline::now() + DIAL_TIMEOUT + target.search_max();
        let mut connection = RedisConnection::open(&mut self.dialer, target, deadline)?;
        let subscribe = cmd("SUBSCRIBE").arg(self.parts.names.canary()).get_packed_command();
        connection.say(&subscribe, deadline)?;
        self.follows.connected();
        self.heard = Some(monotonic());
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
                Some(value) => self.take(&value)?,
                None => break,
            }
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn take(&mut self, value: &Value) -> Result<(), Trouble> {
        let parts = match value {
            Value::ServerError(error) => return Err(trouble_of(error)),
            Value::Array(parts) => parts.as_slice(),
            _ => return Ok(()),
        };
        match parts {
            [kind, Value::BulkString(name), Value::BulkString(message)] if is_text(kind, "message") => {
                self.message(name, message);
            }
            [kind, Value::BulkString(name), _] if is_text(kind, "subscribe") => {
                if let Some(channel) = self.parts.names.channel(name)
                    && self.follows.subscribed(&channel).unwaited
                {
                    self.followed.push_back(channel);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, name: &[u8], message: &[u8]) {
        let Some(origin) = envelope::origin(message) else { return };
        if name == self.parts.names.canary().as_bytes() {
            if origin == self.parts.origin {
                self.heard = Some(monotonic());
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

    /// Passes confirmed subscriptions on, as many as there is room for. A view is not complete without.
    fn tell_followed(&mut self) {
        while let Some(channel) = self.followed.pop_front() {
            if let Err(error) = self.parts.news.try_send(RosterNews::Followed(channel)) {
                if let RosterNews::Followed(channel) = error.into_inner() {
                    self.followed.push_front(channel);
                }
                break;
            }
        }
    }

    fn subscribe(&mut self) -> Result<(), Trouble> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let mut bytes = Vec::new();
        while let Some(command) = self.follows.next_command() {
            let (mut said, names) = match command {
                BusCommand::Subscribe(names) => (cmd("SUBSCRIBE"), names),
                BusCommand::Unsubscribe(names) => (cmd("UNSUBSCRIBE"), names),
            };
            for name in names {
                said.arg(self.parts.names.topic(&name));
            }
            said.write_packed_command(&mut bytes);
        }
        if bytes.is_empty() { Ok(()) } else { connection.say(&bytes, deadline::now() + CALL_TIMEOUT) }
    }

    fn lose(&mut self, trouble: Trouble) {
        let look_at = look_at(DependencyKind::Redis, trouble.fault);
        let cause = trouble.into_cause(look_at, self.parts.target.secrets());
        tracing::debug!(cause = %cause.text, "roster messages lost");
        self.connection = None;
        self.heard = None;
        // The next connection follows all of them again.
        drop(self.follows.lost());
    }

    /// Decides whether messages arrive.
    fn judge(&mut self) {
        let is_heard = self.heard.is_some_and(|heard| heard.elapsed() < CANARY_SILENCE);
        if self.connection.is_some() && !is_heard {
            self.lose(Trouble::new(Fault::Delivery, "no canary comes back"));
        }
        let is_reached = self.connection.is_some() && self.follows.is_complete();
        if self.parts.feed.is_reached.swap(is_reached, Ordering::AcqRel) != is_reached {
            self.parts.feed.lose();
        }
    }
}
