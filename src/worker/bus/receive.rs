//! The thread that listens: it follows what reactors want, gives them what comes, and looks at the logs while nothing does.
//!
//! It waits for the socket and for the reactors' bell at once. A new channel's follower is answered when Redis has confirmed
//! the subscription, so that nothing published after the log was read can pass by unseen; without a connection it is answered at
//! once, and the logs are looked at each second.

use super::follow::{Command, Follows, Standing};
use super::redial::{Link, Redial};
use super::survey::{Delivering, Survey};
use super::{BusConfig, CALL_TIMEOUT, DIAL_TIMEOUT, canary_channel, channel_prefix, monotonic};
use crate::health::definition::{Kind, Use};
use crate::health::delivery::{INSTANCES_MAX, Subscribed};
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::id::ChannelName;
use crate::job::bus::{Bell, Canary, Interest};
use crate::job::{Completion, Live, Mailbox, Read, Ticket};
use crate::metrics::store::{add, bump};
use crate::wire::envelope::{self, Message, Origin};
use crate::wire::publication::Published;
use crate::worker::line::Dialer;
use crate::worker::line::trouble::Trouble;
use crate::worker::probe::advice::look_at;
use crate::worker::redis::{Connection, is_text, told};
use crate::worker::ring;
use ::redis::{Value, cmd};
use crossbeam_channel::Sender;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Values taken from the socket before anything else is looked at.
const VALUES_MAX: usize = 1_024;
/// Interests taken before anything else is looked at.
const INTERESTS_MAX: usize = 4_096;
/// Nothing heard for so long: it asks for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(2);
/// Nothing heard for so long: the connection is dead. Redis confirms a subscription within this as well.
const SILENCE_MAX: Duration = Duration::from_millis(3_500);
/// Own canaries that are waited for.
const CANARIES_MAX: usize = 8;
/// While a canary is on its way to the reactors.
const GLANCE: Duration = Duration::from_millis(10);
/// While somebody waits for a subscription: its silence must be seen before he is refused.
const ANSWER_GLANCE: Duration = Duration::from_millis(250);

/// A subscription that is open.
struct Ear {
    connection: Connection,
    heard: Instant,
    pinged: bool,
    /// Since when an answer to a subscription is waited for.
    asked: Instant,
    /// Whether the canaries' channel is subscribed to.
    canaries: bool,
    /// Whether all that was followed when it was opened is subscribed to.
    complete: bool,
}

/// Its ends of what it has in common with other threads.
pub(super) struct Ends {
    /// What reactors want to hear.
    pub(super) interests: crossbeam_channel::Receiver<Interest>,
    /// Rings when there is an interest.
    pub(super) bell: Arc<Bell>,
    /// Set while a canary should come sooner than usual.
    pub(super) hurried: Arc<AtomicBool>,
    /// To the reactors.
    pub(super) mailboxes: Arc<[Mailbox]>,
    /// To the store's readers.
    pub(super) reads: Sender<Read>,
}

/// The receiving thread.
pub(super) struct Receiver {
    config: BusConfig,
    ends: Ends,
    dialer: Dialer,
    channels: String,
    canary: String,
    follows: Follows,
    survey: Survey,
    link: Link<Ear>,
    redial: Redial,
    delivering: Delivering,
    /// Whether the last verdict was good.
    was_well: bool,
    under_way: Vec<(Arc<Canary>, Instant)>,
    /// What each other instance said it could not send.
    dropped: HashMap<Origin, u64>,
}

impl Receiver {
    pub(super) fn new(config: BusConfig, ends: Ends) -> Receiver {
        Receiver {
            dialer: config.target.dialer(),
            channels: channel_prefix(&config.prefix),
            canary: canary_channel(&config.prefix),
            config,
            ends,
            follows: Follows::default(),
            survey: Survey::default(),
            link: Link::Resting(monotonic()),
            redial: Redial::new("listen to"),
            delivering: Delivering::No,
            was_well: true,
            under_way: Vec::new(),
            dropped: HashMap::new(),
        }
    }

    /// Until the process stops.
    pub(super) fn run(mut self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Acquire) {
            self.wait();
            self.ends.bell.answer();
            self.take_interests();
            self.connect();
            let listened = self.listen();
            if let Err(trouble) = listened.and_then(|()| self.speak()) {
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
        let mut ready = vec![PollFd::new(&*self.ends.bell, PollFlags::IN)];
        match &self.link {
            Link::Up(ear) => {
                ready.push(PollFd::new(&ear.connection, PollFlags::IN));
                if self.follows.outstanding() > 0 {
                    rest = rest.min(ANSWER_GLANCE);
                }
            }
            Link::Resting(until) => rest = rest.min(until.saturating_duration_since(monotonic())),
        }
        let rest = Timespec::try_from(rest.max(Duration::from_millis(1))).unwrap_or_default();
        // A signal that interrupts it is as good as an event.
        let _ = poll(&mut ready, Some(&rest));
    }

    fn take_interests(&mut self) {
        let mut answered = Vec::new();
        for interest in self.ends.interests.try_iter().take(INTERESTS_MAX) {
            match interest {
                Interest::Follow { ticket, channel } if self.delivering == Delivering::No => {
                    // It does not wait for what may not come: the next survey finds the channel.
                    self.follows.want(channel);
                    answered.push(ticket);
                }
                Interest::Follow { ticket, channel } => match self.follows.follow(channel, ticket) {
                    Standing::Subscribed => answered.push(ticket),
                    Standing::Asked => {}
                },
                Interest::Leave { channel } => self.follows.leave(channel),
            }
        }
        if !self.ends.interests.is_empty() {
            self.ends.bell.ring();
        }
        self.answer(answered);
        self.config.counters.channels.store(self.follows.len() as u64, Ordering::Relaxed);
    }

    fn answer(&self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            if let Some(mailbox) = self.ends.mailboxes.get(usize::from(ticket.reactor.0)) {
                mailbox.answer(Completion::Followed { ticket });
                ring(mailbox);
            }
        }
    }

    fn connect(&mut self) {
        let Link::Resting(until) = self.link else { return };
        let Some(target) = self.config.target.redis().filter(|_| until <= monotonic()) else { return };
        let deadline = monotonic() + DIAL_TIMEOUT;
        let opened = Connection::open(&mut self.dialer, target, deadline).and_then(|mut connection| {
            let subscribe = cmd("SUBSCRIBE").arg(&self.canary).get_packed_command();
            connection.say(&subscribe, deadline).map(|()| connection)
        });
        match opened {
            Ok(connection) => {
                self.follows.connected();
                let now = monotonic();
                let (heard, asked) = (now, now);
                let ear = Ear { connection, heard, pinged: false, asked, canaries: false, complete: false };
                self.link = Link::Up(Box::new(ear));
            }
            Err(trouble) => self.lose(trouble),
        }
    }

    /// Takes what came, also what came before the end.
    fn listen(&mut self) -> Result<(), Trouble> {
        let Link::Up(ear) = &mut self.link else { return Ok(()) };
        let now = monotonic();
        let mut values = Vec::new();
        let end = loop {
            match ear.connection.take(now + CALL_TIMEOUT) {
                Ok(Some(value)) if values.len() < VALUES_MAX => values.push(value),
                Ok(Some(value)) => {
                    values.push(value);
                    // More may be in the parser, where no poll sees it.
                    self.ends.bell.ring();
                    break Ok(());
                }
                Ok(None) => break Ok(()),
                Err(trouble) => break Err(trouble),
            }
        };
        if !values.is_empty() {
            (ear.heard, ear.pinged) = (now, false);
        }
        let mut publications = Vec::new();
        let heard: Result<(), Trouble> =
            values.iter().try_for_each(|value| self.hear(value, &mut publications));
        self.publish(publications);
        heard.and(end)
    }

    fn hear(&mut self, value: &Value, publications: &mut Vec<Published>) -> Result<(), Trouble> {
        match value {
            Value::ServerError(error) => return Err(told(error)),
            Value::Array(parts) => match parts.as_slice() {
                [kind, Value::BulkString(name), Value::BulkString(message)] if is_text(kind, "message") => {
                    self.message(name, message, publications);
                }
                [kind, Value::BulkString(name), _] if is_text(kind, "subscribe") => self.subscribed(name),
                [kind, ..] if is_text(kind, "unsubscribe") || is_text(kind, "pong") => {}
                _ => self.garbled(),
            },
            _ => self.garbled(),
        }
        Ok(())
    }

    fn garbled(&mut self) {
        bump(&self.config.counters.garbled);
        self.survey.want();
    }

    fn message(&mut self, name: &[u8], message: &[u8], publications: &mut Vec<Published>) {
        let Some(origin) = envelope::origin(message) else { return self.garbled() };
        if name == self.canary.as_bytes() {
            return self.canary(origin, message);
        }
        // What was sent from here the reactors have already.
        if origin == self.config.origin {
            return;
        }
        match self.channel(name).map(|channel| (envelope::read(message, &channel), channel)) {
            Some((Ok(Message::Publications(more)), _)) => {
                add(&self.config.counters.publications, more.len() as u64);
                publications.extend(more);
            }
            Some((Ok(Message::Signal(frame)), channel)) => {
                // It must not overtake what was published before it.
                self.publish(std::mem::take(publications));
                bump(&self.config.counters.signals);
                self.offer(&Live::Signal { channel, frame });
            }
            Some((Err(_), _)) | None => self.garbled(),
        }
    }

    fn channel(&self, name: &[u8]) -> Option<ChannelName> {
        let name = name.strip_prefix(self.channels.as_bytes())?;
        ChannelName::parse(std::str::from_utf8(name).ok()?).ok()
    }

    fn canary(&mut self, origin: Origin, message: &[u8]) {
        let Ok(note) = envelope::read_canary(message, &self.canary) else {
            return bump(&self.config.counters.garbled);
        };
        if origin == self.config.origin {
            let canary = Arc::new(Canary::new(note.number, self.ends.mailboxes.len()));
            self.offer(&Live::Canary(Arc::clone(&canary)));
            self.under_way.truncate(CANARIES_MAX - 1);
            self.under_way.push((canary, monotonic()));
            return;
        }
        self.config.monitor.heard(origin.0, note.number);
        if self.dropped.len() >= INSTANCES_MAX {
            self.dropped.clear();
        }
        // Whoever is heard for the first time may have sent before.
        if self.dropped.insert(origin, note.dropped) != Some(note.dropped) {
            self.survey.want();
        }
    }

    fn subscribed(&mut self, name: &[u8]) {
        if let Link::Up(ear) = &mut self.link {
            ear.asked = monotonic();
            ear.canaries |= name == self.canary.as_bytes();
        }
        if let Some(channel) = self.channel(name) {
            let confirmed = self.follows.subscribed(&channel);
            if confirmed.unwaited {
                self.survey.want();
            }
            self.answer(confirmed.waiting);
        }
        let Link::Up(ear) = &mut self.link else { return };
        if !ear.complete && ear.canaries && self.follows.is_complete() {
            ear.complete = true;
            if self.redial.works() {
                tracing::info!(channels = self.follows.len(), "subscribed to the bus again");
            }
            // What passed by meanwhile is read from the store.
            self.survey.want();
            self.config.monitor.set_subscribed(Subscribed::Yes);
        }
    }

    fn publish(&self, publications: Vec<Published>) {
        if !publications.is_empty() {
            self.offer(&Live::Published(Arc::from(publications)));
        }
    }

    fn offer(&self, live: &Live) {
        for mailbox in self.ends.mailboxes.iter() {
            mailbox.offer(live.clone());
            ring(mailbox);
        }
    }

    /// Says what is to be said: subscriptions, and a ping where nothing was heard for long.
    fn speak(&mut self) -> Result<(), Trouble> {
        let Link::Up(ear) = &mut self.link else { return Ok(()) };
        let now = monotonic();
        let silence = now.saturating_duration_since(ear.heard);
        let unanswered = self.follows.outstanding() > 0 || !ear.canaries;
        if silence > SILENCE_MAX || (unanswered && now.saturating_duration_since(ear.asked) > SILENCE_MAX) {
            let text = format!("{} says nothing to our subscriptions", ear.connection.peer());
            return Err(Trouble::new(Fault::Timeout, text));
        }
        let mut bytes = Vec::new();
        if silence > PING_AFTER && !std::mem::replace(&mut ear.pinged, true) {
            cmd("PING").write_packed_command(&mut bytes);
        }
        if !unanswered {
            ear.asked = now;
        }
        while let Some(command) = self.follows.next_command() {
            let (mut said, names) = match command {
                Command::Subscribe(names) => (cmd("SUBSCRIBE"), names),
                Command::Unsubscribe(names) => (cmd("UNSUBSCRIBE"), names),
            };
            for name in names {
                said.arg(format!("{}{}", self.channels, name.as_str()));
            }
            said.write_packed_command(&mut bytes);
        }
        if bytes.is_empty() { Ok(()) } else { ear.connection.say(&bytes, now + CALL_TIMEOUT) }
    }

    fn lose(&mut self, trouble: Trouble) {
        let look_at = look_at(Kind::Redis, trouble.fault);
        let cause = trouble.into_cause(look_at, self.config.target.secrets());
        if let Link::Up(ear) = &self.link {
            bump(&self.config.counters.lost);
            // One that never came so far as to be subscribed would be dialled without a pause.
            if ear.complete && !self.config.monitor.is_lost() {
                self.redial.lost();
            }
        }
        let next = self.redial.failed(&cause);
        let waiting = self.follows.lost();
        self.config.monitor.set_subscribed(Subscribed::No);
        self.tell(Err(cause));
        self.link = Link::Resting(next);
        // Before anybody relies on it: from here on the logs are looked at.
        self.delivering = Delivering::No;
        self.answer(waiting);
    }

    /// Sees whether delivery works, and tells whoever watches of a change.
    fn judge(&mut self) {
        let BusConfig { monitor, counters, witness, .. } = &self.config;
        self.under_way.retain(|(canary, sent)| {
            let (back, took) = (canary.is_everywhere(), sent.elapsed());
            if back {
                monitor.came_back(canary.number());
                counters.canary_us.store(took.as_micros() as u64, Ordering::Relaxed);
                bump(&counters.canaries);
                if let Some(witness) = witness {
                    witness.tell(Evidence::Call(Use::Subscription, Ok(()), took));
                }
            }
            !back && took < SILENCE_MAX
        });
        let complete = matches!(&self.link, Link::Up(ear) if ear.complete);
        let (verdict, lost) = (monitor.verdict(), complete && monitor.is_lost());
        let before = self.delivering;
        self.delivering = if complete && verdict.is_ok() { Delivering::Yes } else { Delivering::No };
        counters.delivering.store(u64::from(self.delivering == Delivering::Yes), Ordering::Relaxed);
        let hurried = self.delivering == Delivering::No || !monitor.is_proven();
        self.ends.hurried.store(hurried, Ordering::Relaxed);
        if before == Delivering::Yes && self.delivering == Delivering::No {
            let waiting = self.follows.release();
            self.answer(waiting);
        }
        if std::mem::replace(&mut self.was_well, verdict.is_ok()) != verdict.is_ok() {
            if verdict.is_ok() {
                self.survey.want();
            }
            self.tell(verdict);
        }
        if lost {
            // A proxy may have dialled anew without our subscriptions, or lead to another server than before.
            self.config.monitor.doubt();
            self.lose(Trouble::new(Fault::Delivery, "a canary was sent over the bus and did not come back"));
        }
    }

    fn tell(&self, result: Result<(), Cause>) {
        if let Some(witness) = &self.config.witness {
            let result = result.map(|()| None);
            witness.tell(Evidence::Connection(Finding { latency: Duration::ZERO, result }));
        }
    }

    fn look_at_logs(&mut self) {
        let now = self.config.monitor.now();
        if let Some(slice) = self.survey.slice(self.delivering, self.follows.names(), now) {
            bump(&self.config.counters.surveys);
            // Full: the slice comes back unanswered, and is asked for again.
            let _ = self.ends.reads.try_send(Read::Survey(slice));
        }
    }
}
