//! The receiving thread: follows the channels that reactors want, passes on what arrives, and surveys the logs while nothing
//! does.
//!
//! It waits for the socket and for the reactors' waker at once. The follower of a new channel is answered when Redis has
//! confirmed the subscription, so that nothing published after its log was read can be missed. Without a connection the
//! follower is answered at once, and the logs are surveyed every second.

mod foreign;
mod heard;
mod judge;
mod note;
mod slots;

use self::foreign::ForeignCanaries;
use self::heard::Heard;
use super::config::LinkSettings;
use super::ends::{Ends, RoutedInterest};
use super::redial::{LinkState, Redial};
use super::reply::BusReply;
use super::timing::{CALL_TIMEOUT, dial_timeout, monotonic};
use super::topics::Topics;
use crate::follow::subscriptions::{FollowState, Follows};
use crate::follow::survey::{Delivering, Survey};
use crate::health::delivery::Subscribed;
use crate::health::finding::Fault;
use crate::job::bus::{Canary, Interest, Slice};
use crate::job::wake::wake;
use crate::job::{Broadcast, Completion, Read, Ticket};
use crate::limits::INSTANCES_MAX;
use crate::metrics::store::{add, bump};
use crate::net::dial::Dialer;
use crate::net::redis::RedisConnection;
use crate::net::trouble::Trouble;
use crate::wire::envelope::{self, BusKey, EnvelopeFault, Message, Origin};
use ::redis::{Value, cmd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Values taken from the socket before other work is checked.
const VALUES_MAX: usize = 1_024;
/// Interests taken before other work is checked.
const INTERESTS_MAX: usize = 4_096;
/// The silence after which the receiver sends a ping.
const PING_AFTER: Duration = Duration::from_secs(2);
/// The silence after which the connection is dead. Redis confirms a subscription within this time as well.
const SILENCE_MAX: Duration = Duration::from_millis(3_500);
/// Own canaries that may be outstanding.
const CANARIES_MAX: usize = 8;
/// The longest wait while a canary is on its way to the reactors.
const GLANCE: Duration = Duration::from_millis(10);
/// The longest wait while a client waits for a subscription: silence must be noticed before the client is refused.
const ANSWER_GLANCE: Duration = Duration::from_millis(250);

/// An open connection that subscribes.
struct SubscriberConnection {
    connection: RedisConnection,
    heard: Instant,
    pinged: bool,
    /// Since when a confirmation has been outstanding.
    asked: Instant,
    /// The canary channel is subscribed to.
    canaries: bool,
    /// Everything followed when it was opened is subscribed to.
    complete: bool,
    /// When channels that the server refused are asked for again.
    retry_at: Option<Instant>,
}

pub(super) struct BusReceiver {
    config: LinkSettings,
    ends: Ends,
    dialer: Option<Dialer>,
    topics: Topics,
    follows: Follows<Ticket>,
    survey: Survey,
    /// The slice that the store has. The store drops it when it is done with it.
    slice: Option<Arc<Slice>>,
    link: LinkState<SubscriberConnection>,
    /// Until then the logs are surveyed although the bus delivers, because other instances may still publish at a former master.
    unsettled: Option<Instant>,
    redial: Redial,
    delivering: Delivering,
    /// The last verdict was good.
    was_well: bool,
    under_way: Vec<(Arc<Canary>, Instant)>,
    /// The number of publications that each other instance said it could not send.
    dropped: HashMap<Origin, u64>,
    foreign: ForeignCanaries,
}

impl BusReceiver {
    pub(super) fn new(config: LinkSettings, ends: Ends) -> BusReceiver {
        let first = config.first_dial(monotonic());
        BusReceiver {
            dialer: config.dialer(),
            topics: Topics::new(&config.prefix, config.naming),
            config,
            ends,
            follows: Follows::default(),
            survey: Survey::default(),
            slice: None,
            link: LinkState::Resting(first),
            unsettled: None,
            redial: Redial::new("listen to"),
            delivering: Delivering::No,
            was_well: true,
            under_way: Vec::new(),
            dropped: HashMap::new(),
            foreign: ForeignCanaries::default(),
        }
    }

    /// Runs until the process stops.
    pub(super) fn run(mut self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Acquire) {
            self.wait();
            self.ends.waker.answer();
            self.take_interests();
            self.connect();
            let listened = self.listen();
            if let Err(trouble) = listened.and_then(|()| self.send()) {
                self.lose(trouble);
            }
            self.judge();
            self.look_at_logs();
        }
    }

    fn wait(&mut self) {
        let mut rest = self.survey.patience(self.delivering, self.config.monitor.now());
        if !self.under_way.is_empty() {
            rest = rest.min(GLANCE);
        }
        let mut ready = vec![PollFd::new(&*self.ends.waker, PollFlags::IN)];
        match &self.link {
            LinkState::Up(subscriber) => {
                ready.push(PollFd::new(&subscriber.connection, PollFlags::IN));
                if let Some(at) = subscriber.retry_at {
                    rest = rest.min(at.saturating_duration_since(monotonic()));
                }
                if self.follows.outstanding() > 0 {
                    rest = rest.min(ANSWER_GLANCE);
                }
            }
            LinkState::Resting(until) => rest = rest.min(until.saturating_duration_since(monotonic())),
        }
        let rest = Timespec::try_from(rest.max(Duration::from_millis(1))).unwrap_or_default();
        // An interrupting signal is as good as an event.
        let _ = poll(&mut ready, Some(&rest));
    }

    fn take_interests(&mut self) {
        let mut answered = Vec::new();
        for interest in self.ends.interests.take(INTERESTS_MAX) {
            match interest {
                RoutedInterest::Of(interest) => self.take_interest(interest, &mut answered),
                RoutedInterest::Forget(partitions) => answered.extend(self.forget(&partitions)),
                RoutedInterest::Adopt(channels) => self.adopt(channels),
            }
        }
        if !self.ends.interests.is_empty() {
            self.ends.waker.ring();
        }
        self.answer(answered);
        self.config.gauges.channels.store(self.follows.count() as u64, Ordering::Relaxed);
    }

    fn take_interest(&mut self, interest: Interest, answered: &mut Vec<Ticket>) {
        match interest {
            Interest::Follow { ticket, channel } if self.delivering == Delivering::No => {
                // It does not wait for a confirmation that may not come: the next survey finds the channel.
                self.follows.want(channel);
                answered.push(ticket);
            }
            Interest::Follow { ticket, channel } => match self.follows.follow(channel, ticket) {
                FollowState::Subscribed => answered.push(ticket),
                FollowState::Asked => {}
            },
            Interest::Leave { channel } => self.follows.leave(channel),
        }
    }

    fn answer(&self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            if let Some(mailbox) = self.ends.mailboxes.get(usize::from(ticket.reactor.0)) {
                mailbox.answer(Completion::Followed { ticket });
                wake(mailbox);
            }
        }
    }

    fn connect(&mut self) {
        let LinkState::Resting(until) = self.link else { return };
        if until > monotonic() {
            return;
        }
        match self.open() {
            Ok(connection) => {
                self.follows.connected();
                let now = monotonic();
                let subscriber = SubscriberConnection {
                    connection,
                    heard: now,
                    pinged: false,
                    asked: now,
                    canaries: false,
                    complete: false,
                    retry_at: None,
                };
                self.link = LinkState::Up(Box::new(subscriber));
            }
            Err(trouble) => self.lose(trouble),
        }
    }

    fn open(&mut self) -> Result<RedisConnection, Trouble> {
        let target = self.config.server()?;
        let deadline = monotonic() + dial_timeout(target);
        let none = || Trouble::new(Fault::Internal, "no dialer");
        let mut connection = RedisConnection::open(self.dialer.as_mut().ok_or_else(none)?, target, deadline)?;
        connection.say(&self.topics.first_commands(), deadline)?;
        Ok(connection)
    }

    /// Takes the values that arrived, including those before the end of the connection.
    fn listen(&mut self) -> Result<(), Trouble> {
        let LinkState::Up(subscriber) = &mut self.link else { return Ok(()) };
        let now = monotonic();
        let mut values = Vec::new();
        let end = loop {
            match subscriber.connection.take(now + CALL_TIMEOUT) {
                Ok(Some(value)) if values.len() < VALUES_MAX => values.push(value),
                Ok(Some(value)) => {
                    values.push(value);
                    // The parser may hold more, which no poll reports.
                    self.ends.waker.ring();
                    break Ok(());
                }
                Ok(None) => break Ok(()),
                Err(trouble) => break Err(trouble),
            }
        };
        if !values.is_empty() {
            (subscriber.heard, subscriber.pinged) = (now, false);
        }
        let mut heard = Heard::default();
        let taken: Result<(), Trouble> =
            values.iter().try_for_each(|value| self.take_value(value, &mut heard));
        self.offer(heard.take());
        taken.and(end)
    }

    fn take_value(&mut self, value: &Value, heard: &mut Heard) -> Result<(), Trouble> {
        match self.read(value)? {
            BusReply::Message { name, message } => self.message(name, message, heard),
            BusReply::Subscribed(name) => self.subscribed(name),
            BusReply::Unsubscribed(name) => self.unsubscribed(name),
            BusReply::Moved(partition, to) => self.moved(partition, to),
            BusReply::Confirmed => {}
            BusReply::Garbled => self.garbled(),
        }
        Ok(())
    }

    fn garbled(&mut self) {
        bump(&self.config.counters.garbled);
        self.survey.want();
    }

    fn message(&mut self, name: &[u8], message: &[u8], heard: &mut Heard) {
        let Some(origin) = envelope::origin(message) else { return self.garbled() };
        // Until the store has given the key, nothing can be believed, and the log is read.
        let Some(key) = self.ends.key.load_full() else { return self.survey.want() };
        if name == self.topics.canary().as_bytes() {
            return self.canary(origin, &key, message);
        }
        // The reactors already have what this process sent.
        if origin == self.config.origin {
            return;
        }
        if name == self.topics.orders().as_bytes() {
            return self.note(origin, &key, message);
        }
        match self.topics.parse(name).map(|channel| (envelope::read(message, &key, &channel), channel)) {
            Some((Ok(Message::Publications(more)), _)) => {
                add(&self.config.counters.publications, more.len() as u64);
                self.offer(heard.publish(more));
            }
            Some((Ok(Message::Signal(frame)), channel)) => {
                // It must not overtake what was published before it.
                self.offer(heard.take());
                bump(&self.config.counters.signals);
                self.offer([Broadcast::Signal { channel, frame }]);
            }
            Some((Ok(Message::Streamed(more)), _)) => {
                add(&self.config.counters.streamed, more.len() as u64);
                heard.stream(more);
            }
            Some((Err(EnvelopeFault::Unknown), _)) => bump(&self.config.counters.unknown),
            Some((Err(_), _)) | None => self.garbled(),
        }
    }

    fn canary(&mut self, origin: Origin, key: &BusKey, message: &[u8]) {
        let Ok(note) = envelope::read_canary(message, key, self.topics.canary()) else {
            self.foreign.note(origin, self.config.origin);
            return bump(&self.config.counters.garbled);
        };
        if origin == self.config.origin {
            if self.foreign.own_came_back() {
                tracing::warn!(
                    prefix = &*self.config.prefix,
                    "another system sends to the channels of this prefix; give each its own bus.prefix"
                );
            }
            let canary = Arc::new(Canary::new(note.number, self.ends.mailboxes.len()));
            self.offer([Broadcast::Canary(Arc::clone(&canary))]);
            self.under_way.truncate(CANARIES_MAX - 1);
            self.under_way.push((canary, monotonic()));
            return;
        }
        self.config.monitor.heard(origin.0, note.number);
        if self.dropped.len() >= INSTANCES_MAX {
            self.dropped.clear();
        }
        // An instance heard for the first time may have sent before.
        if self.dropped.insert(origin, note.dropped) != Some(note.dropped) {
            self.survey.want();
        }
    }

    fn subscribed(&mut self, name: &[u8]) {
        if let LinkState::Up(subscriber) = &mut self.link {
            subscriber.asked = monotonic();
            subscriber.canaries |= name == self.topics.canary().as_bytes();
        }
        if let Some(channel) = self.topics.parse(name) {
            let confirmed = self.follows.subscribed(&channel);
            if confirmed.unwaited {
                self.survey.want();
            }
            self.answer(confirmed.waiting);
        }
        self.check_complete();
    }

    fn offer(&self, all: impl IntoIterator<Item = Broadcast>) {
        for live in all {
            for mailbox in self.ends.mailboxes.iter() {
                mailbox.offer(live.clone());
                wake(mailbox);
            }
        }
    }

    /// Sends outstanding commands, and a ping after a long silence.
    fn send(&mut self) -> Result<(), Trouble> {
        let LinkState::Up(subscriber) = &mut self.link else { return Ok(()) };
        let now = monotonic();
        let silence = now.saturating_duration_since(subscriber.heard);
        let unanswered = self.follows.outstanding() > 0 || !subscriber.canaries;
        if silence > SILENCE_MAX
            || (unanswered && now.saturating_duration_since(subscriber.asked) > SILENCE_MAX)
        {
            let text = format!("{} says nothing to our subscriptions", subscriber.connection.peer());
            return Err(Trouble::new(Fault::Timeout, text));
        }
        if subscriber.retry_at.take_if(|at| *at <= now).is_some() && self.follows.retry() > 0 {
            self.survey.want();
        }
        let mut bytes = Vec::new();
        if silence > PING_AFTER && !std::mem::replace(&mut subscriber.pinged, true) {
            cmd("PING").write_packed_command(&mut bytes);
        }
        if !unanswered {
            subscriber.asked = now;
        }
        while let Some(command) = self.follows.next_command() {
            self.topics.write(command, &mut bytes);
        }
        if bytes.is_empty() { Ok(()) } else { subscriber.connection.say(&bytes, now + CALL_TIMEOUT) }
    }

    fn lose(&mut self, trouble: Trouble) {
        let cause = self.config.cause(trouble);
        self.ends.ask_for_slots();
        if let LinkState::Up(subscriber) = &self.link {
            bump(&self.config.counters.lost);
            // A connection that was never fully subscribed would be redialled without a pause.
            if subscriber.complete && !self.config.monitor.is_lost() {
                self.redial.lost();
            }
        }
        let next = self.redial.failed(&cause);
        let waiting = self.follows.lost();
        self.config.monitor.set_subscribed(Subscribed::No);
        self.report(Err(cause));
        self.link = LinkState::Resting(next);
        // Before any follower relies on it: now the logs are surveyed.
        self.delivering = Delivering::No;
        self.answer(waiting);
    }

    fn look_at_logs(&mut self) {
        if self.unsettled.is_some_and(|until| monotonic() < until) {
            self.survey.want();
        }
        let now = self.config.monitor.now();
        if let Some(slice) = self.slice.take_if(|slice| Arc::strong_count(slice) == 1) {
            self.survey.ended(if slice.is_answered() { &[] } else { slice.channels() });
        }
        if let Some(channels) = self.survey.slice(self.delivering, self.follows.names(), now) {
            let slice = Arc::new(Slice::new(channels));
            self.slice = Some(Arc::clone(&slice));
            bump(&self.config.counters.surveys);
            // Full: the slice is dropped unanswered, and asked for again.
            let _ = self.ends.reads.try_send(Read::Survey(slice));
        }
    }
}
