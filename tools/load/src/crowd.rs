//! Many connections on one thread. The crowd dials, upgrades, connects and subscribes them, then hands them to a mode.

use crate::arguments::Common;
use crate::clock;
use crate::counts::Counts;
use crate::dial::Dialer;
use crate::faults::{Faults, excerpt};
use crate::frame::{self, Next};
use crate::member::{Got, Member, Role, Stage};
use crate::message::{self, Message};
use crate::progress::Progress;
use crate::token::token;
use crate::upgrade::{self, Answer};
use mio::{Events, Poll, Token, Waker};
use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// Size of the read buffer that all connections share.
const READ_BYTES: usize = 256 << 10;
/// The longest wait of one turn of the loop.
const TICK: Duration = Duration::from_millis(20);
/// The id of the `connect` command.
const CONNECT: u64 = 1;
/// The id of the `subscribe` command. Modes use higher ids.
const SUBSCRIBE: u64 = 2;
/// The token of the waker, which no member has.
const WAKE: Token = Token(usize::MAX);

/// A mode's reactions to events of the crowd.
pub(crate) trait Mode {
    /// Handles `connected`.
    fn connected(&mut self, _crowd: &mut Crowd, _member: usize) {}
    /// Handles `subscribed`; publications after `head` will follow.
    fn subscribed(&mut self, _crowd: &mut Crowd, _member: usize, _head: u64) {}
    /// Handles the end of a connection that was left with [`Crowd::leave`].
    fn left(&mut self, _crowd: &mut Crowd, _member: usize) {}
    /// Handles a member that has become ready.
    fn ready(&mut self, crowd: &mut Crowd, member: usize);
    /// Handles a message for a member that is ready or leaving, or a publication for one that awaits `synced`.
    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]);
    /// Does what is due by now. Called once per turn.
    fn turn(&mut self, crowd: &mut Crowd) -> Turn;
    /// A few words for the progress line.
    fn progress(&self) -> String;
}

/// How a run continues after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Continue; call again on the next event.
    On,
    /// Continue; call again at this time at the latest.
    Until(Instant),
    /// End the run.
    Over,
}

/// All connections of a run.
pub(crate) struct Crowd {
    /// Everything that was not as expected.
    pub(crate) faults: Faults,
    pub(crate) counts: Counts,
    /// The current time, read once per batch of bytes.
    pub(crate) now: Instant,
    pub(crate) members: Vec<Member>,
    /// Schedules the dials.
    pub(crate) dialer: Dialer,
    /// When the last progress was made.
    pub(crate) moved: Instant,
    /// Messages received, including pushes that no mode uses.
    pub(crate) messages: u64,
    poll: Poll,
    dirty: Vec<usize>,
    patience: Duration,
    /// The secret of tokens; `None`: auth is off.
    secret: Option<String>,
}

impl Crowd {
    /// Creates members with these roles; none is dialled yet.
    pub(crate) fn new(common: &Common, roles: impl IntoIterator<Item = Role>) -> Result<Crowd, String> {
        let now = clock::now();
        let members: Vec<Member> = roles.into_iter().map(|role| Member::new(role, now)).collect();
        let dialer = Dialer::new(common, members.len())?;
        let poll = Poll::new().map_err(|error| format!("no epoll: {error}"))?;
        Ok(Crowd {
            faults: Faults::default(),
            counts: Counts::default(),
            now,
            members,
            dialer,
            moved: now,
            messages: 0,
            poll,
            dirty: Vec::new(),
            patience: common.patience,
            secret: None,
        })
    }

    /// Makes each member a user of its own, with a token.
    pub(crate) fn sign_in(mut self, secret: &str) -> Crowd {
        self.secret = Some(secret.to_owned());
        self
    }

    /// A waker of [`Crowd::run`], for other threads. There may be one.
    pub(crate) fn waker(&self) -> Result<Waker, String> {
        Waker::new(self.poll.registry(), WAKE).map_err(|error| format!("no waker: {error}"))
    }

    /// Runs until the mode ends the run or nothing progresses for longer than `--patience`.
    pub(crate) fn run(&mut self, mode: &mut impl Mode) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        let mut buffer = vec![0; READ_BYTES];
        let mut progress = Progress::start();
        self.moved = clock::now();
        loop {
            self.now = clock::now();
            self.dial();
            let wait = match mode.turn(self) {
                Turn::Over => return Ok(()),
                Turn::On => TICK,
                Turn::Until(moment) => poll_wait(moment.saturating_duration_since(self.now)),
            };
            self.flush();
            progress.show(self.now, || mode.progress());
            if self.now.saturating_duration_since(self.moved) > self.patience {
                self.faults
                    .add("no_progress", || format!("nothing for {:?}: {}", self.patience, mode.progress()));
                return Ok(());
            }
            let wait = if self.dialer.has_room() { Duration::ZERO } else { wait };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                let member = event.token().0;
                if event.is_writable() {
                    self.flush_one(member);
                }
                if event.is_readable() {
                    self.readable(mode, member, &mut buffer, event.is_read_closed());
                }
            }
        }
    }

    /// Queues a message. It is written at the end of the turn, together with all others of this member.
    pub(crate) fn send(&mut self, member: usize, opcode: u8, payload: &[u8]) {
        let Some(it) = self.members.get_mut(member) else { return };
        it.queue(opcode, payload);
        self.counts.texts_sent += u64::from(opcode == frame::TEXT);
        if !it.dirty {
            it.dirty = true;
            self.dirty.push(member);
        }
    }

    /// Records progress.
    pub(crate) fn move_on(&mut self) {
        self.moved = self.now;
    }

    /// The number of members that are ready.
    pub(crate) fn ready(&self) -> usize {
        self.members.iter().filter(|member| member.stage == Stage::Ready).count()
    }

    /// Handles a message the mode does not expect: beats and status are fine, everything else is a fault.
    pub(crate) fn other(&mut self, member: usize, message: &Message<'_>, payload: &[u8]) {
        let kind: Cow<'static, str> = match message {
            Message::Beat => {
                self.counts.beats += 1;
                return;
            }
            Message::News => return,
            Message::Bye { code, retry_ms } => {
                if let Some(it) = self.members.get_mut(member) {
                    it.retry_ms = *retry_ms;
                }
                format!("bye_{code}").into()
            }
            Message::Error { code, .. } => format!("error_{code}").into(),
            Message::Lag => "lag".into(),
            Message::Drain => "drain".into(),
            Message::Connected { .. }
            | Message::Subscribed { .. }
            | Message::Published { .. }
            | Message::Publication { .. }
            | Message::StreamEnd { .. }
            | Message::Stream { .. }
            | Message::StreamState { .. }
            | Message::Appended { .. }
            | Message::Ended { .. }
            | Message::Signal { .. }
            | Message::Present { .. }
            | Message::Presence { .. }
            | Message::Synced { .. }
            | Message::Unknown => "unexpected".into(),
        };
        self.faults.add(kind, || excerpt(payload));
    }

    fn dial(&mut self) {
        while let Some(member) = self.dialer.next(self.now) {
            let Some(it) = self.members.get_mut(member) else { continue };
            let path = if it.role == Role::Echo { "/echo" } else { "/ws" };
            let (request, accept) = upgrade::request(path, self.dialer.target());
            let now = clock::now();
            let opened =
                self.dialer.open(self.poll.registry(), Token(member)).map_err(|error| error.to_string());
            match opened.and_then(|stream| Ok((stream, self.dialer.tls()?))) {
                Ok((stream, tls)) => {
                    self.counts.opened += 1;
                    it.start((stream, tls), accept, &request, now);
                    self.flush_one(member);
                }
                Err(error) => self.lose(member, &format!("connect: {error}")),
            }
        }
    }

    fn flush(&mut self) {
        while let Some(member) = self.dirty.pop() {
            if let Some(it) = self.members.get_mut(member) {
                it.dirty = false;
                self.flush_one(member);
            }
        }
    }

    /// Once a connection is open, write errors are left to the next read, which may first return bytes that say why.
    pub(crate) fn flush_one(&mut self, member: usize) {
        let Some(it) = self.members.get_mut(member) else { return };
        match it.flush() {
            Ok(bytes) => self.counts.bytes_sent += bytes as u64,
            Err(error) if matches!(it.stage, Stage::Upgrading(_)) => {
                self.lose(member, &format!("connect: {error}"));
            }
            Err(_) => {}
        }
    }

    fn readable(&mut self, mode: &mut impl Mode, member: usize, buffer: &mut [u8], closing: bool) {
        self.now = clock::now();
        while let Some(it) = self.members.get_mut(member) {
            let serial = it.serial;
            let (bytes, more) = match it.read(buffer) {
                Got::Closed(why) if matches!(it.stage, Stage::Leaving { .. }) => {
                    return self.stream_ended(mode, member, why);
                }
                Got::Closed(why) => {
                    let why = why.map_or("the end of the stream".to_owned(), |kind| kind.to_string());
                    return self.lose(member, &why);
                }
                Got::Drained(0) => return,
                Got::Drained(bytes) => (bytes, closing),
                Got::Full => (buffer.len(), true),
            };
            let Some(read) = buffer.get(..bytes) else { return };
            self.counts.bytes_received += bytes as u64;
            if it.partial.is_empty() {
                self.bytes(mode, member, read);
            } else {
                let mut all = std::mem::take(&mut it.partial);
                all.extend_from_slice(read);
                self.bytes(mode, member, &all);
            }
            if !more || self.members.get(member).is_none_or(|it| it.serial != serial) {
                return;
            }
        }
    }

    fn bytes(&mut self, mode: &mut impl Mode, member: usize, mut bytes: &[u8]) {
        let Some(it) = self.members.get_mut(member) else { return };
        let serial = it.serial;
        if let Stage::Upgrading(accept) = &it.stage {
            match upgrade::answer(bytes, accept) {
                Answer::Partial => {}
                Answer::Open(length) => {
                    bytes = bytes.get(length..).unwrap_or_default();
                    self.upgraded(mode, member);
                }
                Answer::Refused(why) => return self.lose(member, &why),
            }
        }
        while let Some(it) = self.members.get_mut(member)
            && it.serial == serial
        {
            if matches!(it.stage, Stage::Upgrading(_)) {
                it.partial = bytes.to_vec();
                return;
            }
            match frame::next(bytes) {
                Next::Partial => {
                    it.partial = bytes.to_vec();
                    return;
                }
                Next::Broken(why) => {
                    self.faults.add("frame", || why.to_owned());
                    return self.lose(member, why);
                }
                Next::Frame(frame) => {
                    bytes = bytes.get(frame.length..).unwrap_or_default();
                    self.frame(mode, member, frame.opcode, frame.payload);
                }
            }
        }
    }

    fn upgraded(&mut self, mode: &mut impl Mode, member: usize) {
        self.counts.upgraded += 1;
        self.move_on();
        let Some(it) = self.members.get_mut(member) else { return };
        match it.resumed() {
            Some(true) => self.counts.tls_resumed += 1,
            Some(false) => self.counts.tls_full += 1,
            None => {}
        }
        if it.role == Role::Echo {
            return self.become_ready(mode, member);
        }
        it.stage = Stage::Connecting;
        let token = self.secret.as_ref().map(|secret| format!(",\"token\":\"{}\"", token(secret, member)));
        let token = token.unwrap_or_default();
        let command = format!("{{\"id\":{CONNECT},\"connect\":{{\"client\":\"seawall-load\"{token}}}}}");
        self.send(member, frame::TEXT, command.as_bytes());
    }

    fn frame(&mut self, mode: &mut impl Mode, member: usize, opcode: u8, payload: &[u8]) {
        match opcode {
            frame::TEXT | frame::BINARY => {
                self.messages += 1;
                let stage = self.members.get(member).map(|it| &it.stage);
                if matches!(stage, Some(Stage::Ready | Stage::Leaving { .. })) {
                    mode.message(self, member, payload);
                } else {
                    self.greeting(mode, member, payload);
                }
            }
            frame::PING => self.ping(member, payload),
            frame::CLOSE => {
                let code = payload.get(..2).map_or(1005, |code| u16::from(code[0]) << 8 | u16::from(code[1]));
                let reason = excerpt(payload.get(2..).unwrap_or_default());
                if !self.close_received(member, code) {
                    self.lose(member, &format!("close {code} {reason}"));
                }
            }
            _ => self.faults.add("frame", || format!("opcode {opcode}")),
        }
    }

    /// Answers a ping, unless the connection is leaving: nothing may follow its close frame.
    fn ping(&mut self, member: usize, payload: &[u8]) {
        self.counts.pings += 1;
        if self.members.get(member).is_some_and(|it| !matches!(it.stage, Stage::Leaving { .. })) {
            self.counts.pongs_sent += 1;
            self.send(member, frame::PONG, payload);
        }
    }

    /// Handles messages before a member is ready, which may come only in one order.
    fn greeting(&mut self, mode: &mut impl Mode, member: usize, payload: &[u8]) {
        let Some(message) = message::read(payload) else {
            return self.faults.add("unreadable", || excerpt(payload));
        };
        let Some(it) = self.members.get_mut(member) else { return };
        match (&it.stage, it.role, message) {
            (Stage::Connecting, role, Message::Connected { id: CONNECT }) => {
                self.counts.connected += 1;
                mode.connected(self, member);
                match role {
                    Role::Subscriber(channel) => self.subscribe(member, channel, ""),
                    Role::Watcher(channel) => self.subscribe(member, channel, ",\"watch\":\"members\""),
                    Role::Echo | Role::Publisher => self.become_ready(mode, member),
                }
            }
            (
                Stage::Subscribing,
                Role::Subscriber(at) | Role::Watcher(at),
                Message::Subscribed { id: SUBSCRIBE, channel, head },
            ) if is_channel(channel, at) => {
                it.head = head;
                it.stage = Stage::Syncing;
                self.counts.subscribed += 1;
                mode.subscribed(self, member, head);
            }
            // Published since the subscription: it moves the end of the replay.
            (Stage::Syncing, _, Message::Publication { offset, .. }) => {
                it.head = offset;
                mode.message(self, member, payload);
            }
            (Stage::Subscribing | Stage::Syncing, Role::Watcher(_), Message::Presence { .. }) => {
                mode.message(self, member, payload);
            }
            (
                Stage::Syncing,
                Role::Subscriber(at) | Role::Watcher(at),
                Message::Synced { channel, offset },
            ) if is_channel(channel, at) && offset == it.head => {
                self.become_ready(mode, member);
            }
            // `bye` says when to come back; with redials enabled it is no fault.
            (_, _, Message::Bye { retry_ms, .. }) if self.dialer.redials() => it.retry_ms = retry_ms,
            (_, _, message) => self.other(member, &message, payload),
        }
    }

    /// Subscribes a member, with these additional keys.
    fn subscribe(&mut self, member: usize, channel: u32, keys: &str) {
        let Some(it) = self.members.get_mut(member) else { return };
        it.stage = Stage::Subscribing;
        let name = channel_name(channel);
        let command = format!("{{\"id\":{SUBSCRIBE},\"subscribe\":{{\"channel\":\"{name}\"{keys}}}}}");
        self.send(member, frame::TEXT, command.as_bytes());
    }

    fn become_ready(&mut self, mode: &mut impl Mode, member: usize) {
        let Some(it) = self.members.get_mut(member) else { return };
        it.stage = Stage::Ready;
        it.attempts = 0;
        self.dialer.arrived();
        self.move_on();
        mode.ready(self, member);
    }

    /// Handles a connection that ended although we did not end it.
    fn lose(&mut self, member: usize, why: &str) {
        let Some(it) = self.members.get_mut(member) else { return };
        let was_ready = matches!(it.stage, Stage::Ready | Stage::Leaving { .. });
        it.drop_socket();
        if !was_ready {
            self.dialer.arrived();
        }
        if self.dialer.redials() {
            self.dialer.again(member, it, self.now);
        } else {
            let kind = if was_ready { "closed" } else { "handshake" };
            self.faults.add(kind, || why.to_owned());
        }
    }
}

/// The poll timeout for a wait of `until`. The kernel waits whole milliseconds and often longer, so the last one or two
/// are not slept.
fn poll_wait(until: Duration) -> Duration {
    let whole_ms = until.min(TICK).as_millis() as u64;
    Duration::from_millis(whole_ms.saturating_sub(1))
}

pub(crate) fn channel_name(at: u32) -> String {
    format!("load-{at}")
}

/// True if `name` is the name of channel `at`.
pub(crate) fn is_channel(name: &str, at: u32) -> bool {
    name.strip_prefix("load-").and_then(|number| number.parse().ok()) == Some(at)
}
