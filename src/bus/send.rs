//! The sending thread: publishes what the store committed here, signals and canaries, many in one round trip.
//!
//! No thread waits for it. Without a connection everything is dropped and counted. Canaries report the count to the other
//! instances, which then read the log.

use super::config::LinkSettings;
use super::forward::{Forwarded, Forwards};
use super::outgoing::{FRAME_BYTES_MAX, Outgoing, messages};
use super::redial::{LinkState, Redial};
use super::timing::{CALL_TIMEOUT, dial_timeout, monotonic};
use super::topics::Topics;
use crate::health::definition::Use;
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::job::bus::{BusBatch, Committed, InstanceNote, SharedKey, SignalFrame};
use crate::metrics::store::{add, bump};
use crate::net::dial::Dialer;
use crate::net::redis::{RedisConnection, trouble_of};
use crate::net::trouble::Trouble;
use crate::wire::envelope::{self, CanaryNote, OrderText};
use ::redis::{Cmd, ServerError, Value, cmd};
use crossbeam_channel::{Receiver, never, select};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Batches taken for one round trip, and signals.
const BATCHES_MAX: usize = 32;
const SIGNALS_MAX: usize = 256;

/// The consequence of losing commands. Signals and canaries may be lost: the store is not read for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loses {
    Batches,
    Nothing,
}

/// The fate of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendOutcome {
    /// All were sent; this many were rejected.
    But(usize),
    /// The connection ended during them, with this error.
    Lost(Fault),
    /// There is no connection.
    NotAtAll,
}

/// The sender's ends of the queues into the bus.
pub(super) struct SenderQueues {
    pub(super) batches: Receiver<BusBatch>,
    pub(super) signals: Receiver<SignalFrame>,
    pub(super) canaries: Receiver<Committed>,
    pub(super) notes: Receiver<InstanceNote>,
    pub(super) dropped: Arc<AtomicU64>,
    /// Until the store has given it, nothing can be sent.
    pub(super) key: SharedKey,
    /// Commands that go to another master, and commands that come from one.
    pub(super) forwards: Forwards,
}

pub(super) struct BusSender {
    config: LinkSettings,
    batches: Receiver<BusBatch>,
    signals: Receiver<SignalFrame>,
    canaries: Receiver<Committed>,
    notes: Receiver<InstanceNote>,
    dropped: Arc<AtomicU64>,
    key: SharedKey,
    forwards: Forwards,
    dialer: Option<Dialer>,
    topics: Topics,
    link: LinkState<RedisConnection>,
    redial: Redial,
    /// The number of doubts about the connection that were acted on.
    doubts: u64,
}

impl BusSender {
    pub(super) fn new(config: LinkSettings, queues: SenderQueues) -> BusSender {
        let SenderQueues { batches, signals, canaries, notes, dropped, key, forwards } = queues;
        let first = config.first_dial(monotonic());
        BusSender {
            dialer: config.dialer(),
            topics: Topics::new(&config.prefix, config.naming),
            config,
            batches,
            signals,
            canaries,
            notes,
            dropped,
            key,
            forwards,
            link: LinkState::Resting(first),
            redial: Redial::new("send over"),
            doubts: 0,
        }
    }

    /// Runs until all publishers are gone and all they published is sent.
    pub(super) fn run(mut self) {
        let (mut signals, mut canaries) = (self.signals.clone(), self.canaries.clone());
        let (mut notes, mut forwarded) = (self.notes.clone(), self.forwards.incoming.clone());
        loop {
            self.reconnect_if_doubted();
            self.connect();
            let mut commands = Vec::new();
            let loses = select! {
                recv(self.batches) -> first => match first {
                    Ok(first) => {
                        self.add_batches(first, &mut commands);
                        Loses::Batches
                    }
                    // Disconnected and empty: nothing waits here. The other queues may disconnect earlier, and must not end the
                    // thread.
                    Err(_) => return,
                },
                recv(signals) -> first => {
                    match first {
                        Ok(first) => self.add_signals(first, &mut commands),
                        Err(_) => signals = never(),
                    }
                    Loses::Nothing
                },
                recv(canaries) -> canary => {
                    match canary {
                        Ok(canary) => self.add_canary(&canary, &mut commands),
                        Err(_) => canaries = never(),
                    }
                    Loses::Nothing
                },
                recv(notes) -> note => {
                    match note {
                        Ok(note) => self.add_note(&note, &mut commands),
                        Err(_) => notes = never(),
                    }
                    Loses::Nothing
                },
                recv(forwarded) -> first => {
                    match first {
                        Ok(first) => self.add_forwarded(first, &mut commands),
                        Err(_) => forwarded = never(),
                    }
                    Loses::Batches
                },
                default(self.patience()) => Loses::Nothing,
            };
            if !commands.is_empty() {
                self.send(&commands, loses);
            }
        }
    }

    /// Reconnects when canaries do not come back: the connection may lead to another server than the receivers'.
    fn reconnect_if_doubted(&mut self) {
        let doubts = self.config.monitor.doubts();
        if std::mem::replace(&mut self.doubts, doubts) != doubts {
            self.link = LinkState::Resting(monotonic());
        }
    }

    fn patience(&self) -> Duration {
        match self.link {
            LinkState::Up(_) => Duration::from_secs(1),
            LinkState::Resting(until) => until.saturating_duration_since(monotonic()),
        }
    }

    fn connect(&mut self) {
        let LinkState::Resting(until) = self.link else { return };
        let begun = monotonic();
        if until > begun {
            return;
        }
        match self.open() {
            Ok(connection) => {
                if self.redial.works() {
                    tracing::info!("bus connected");
                }
                self.link = LinkState::Up(Box::new(connection));
                self.report(Ok(None), begun.elapsed());
            }
            Err(trouble) => self.lose(trouble, begun.elapsed()),
        }
    }

    fn open(&mut self) -> Result<RedisConnection, Trouble> {
        let target = self.config.server()?;
        let deadline = monotonic() + dial_timeout(target);
        let none = || Trouble::new(Fault::Internal, "no dialer");
        let mut connection = RedisConnection::open(self.dialer.as_mut().ok_or_else(none)?, target, deadline)?;
        // A stopped server's kernel still accepts: only an answer shows that the server is up.
        connection.call(&[cmd("PING")])?;
        Ok(connection)
    }

    /// Sends what another master did not take, because its slots moved here.
    fn add_forwarded(&self, first: Forwarded, commands: &mut Vec<Cmd>) {
        let rest = self.forwards.incoming.try_iter().take(SIGNALS_MAX - 1);
        commands.extend(std::iter::once(first).chain(rest).map(|forwarded| forwarded.command));
    }

    /// Puts changes of one channel together.
    fn add_batches(&self, first: BusBatch, commands: &mut Vec<Cmd>) {
        let batches: Vec<_> =
            std::iter::once(first).chain(self.batches.try_iter().take(BATCHES_MAX - 1)).collect();
        let Some(key) = self.key.load_full() else { return add(&self.dropped, batches.len() as u64) };
        let outgoing = messages(&batches);
        add(&self.dropped, outgoing.too_long);
        for (channel, contents) in outgoing.messages {
            let (mut message, origin, name) = (Vec::new(), self.config.origin, channel.as_str());
            match contents {
                Outgoing::Publications(all) => envelope::publications(&mut message, &key, origin, name, all),
                Outgoing::Streamed(all) => envelope::streamed(&mut message, &key, origin, name, all),
            }
            commands.push(self.topics.publish(&self.topics.channel(channel), &message));
        }
    }

    fn add_signals(&self, first: SignalFrame, commands: &mut Vec<Cmd>) {
        let Some(key) = self.key.load_full() else { return };
        for (channel, frame) in std::iter::once(first).chain(self.signals.try_iter().take(SIGNALS_MAX - 1)) {
            if frame.len() > FRAME_BYTES_MAX {
                continue;
            }
            let mut message = Vec::new();
            envelope::signal(&mut message, &key, self.config.origin, channel.as_str(), &frame);
            commands.push(self.topics.publish(&self.topics.channel(&channel), &message));
        }
    }

    fn add_canary(&self, canary: &Committed, commands: &mut Vec<Cmd>) {
        self.config.monitor.committed(canary.number, &canary.seen);
        let Some(key) = self.key.load_full() else { return };
        let note = CanaryNote { number: canary.number, dropped: self.dropped.load(Ordering::Relaxed) };
        let name = self.topics.canary();
        let mut message = Vec::new();
        envelope::canary(&mut message, &key, self.config.origin, name, note);
        commands.push(self.topics.publish(name, &message));
    }

    fn add_note(&self, note: &InstanceNote, commands: &mut Vec<Cmd>) {
        let Some(key) = self.key.load_full() else { return };
        let (name, origin) = (self.topics.orders(), self.config.origin);
        let mut message = Vec::new();
        match note {
            InstanceNote::Made { order, previous } => {
                let text = OrderText {
                    number: order.id.0,
                    previous: previous.0,
                    made: order.made_unix_ms,
                    kind: order.order.kind().word(),
                    by: &order.by,
                    args: &order.order.args(),
                };
                envelope::order(&mut message, &key, origin, name, &text);
            }
            InstanceNote::Done { id, closed } => {
                envelope::order_done(&mut message, &key, origin, name, (id.0, *closed));
            }
            InstanceNote::StreamHint(id) => envelope::stream_hint(&mut message, &key, origin, name, id),
        }
        commands.push(self.topics.publish(name, &message));
    }

    /// Sends, and once more if the connection proves to have ended while idle, or to lead to a replica. Receivers drop duplicates.
    fn send(&mut self, commands: &[Cmd], loses: Loses) {
        let mut sent = self.attempt(commands);
        if matches!(sent, SendOutcome::Lost(Fault::Reset | Fault::Standby)) {
            self.connect();
            sent = self.attempt(commands);
        }
        let lost = match (sent, loses) {
            (SendOutcome::But(refused), Loses::Batches) => refused,
            (SendOutcome::Lost(_) | SendOutcome::NotAtAll, Loses::Batches) => commands.len(),
            (_, Loses::Nothing) => 0,
        };
        add(&self.dropped, lost as u64);
    }

    fn attempt(&mut self, commands: &[Cmd]) -> SendOutcome {
        let begun = monotonic();
        let LinkState::Up(connection) = &mut self.link else { return SendOutcome::NotAtAll };
        connection.begin(begun + CALL_TIMEOUT);
        let answers = connection.ask(commands).and_then(takes_writes);
        let (result, sent) = match &answers {
            Ok(answers) => {
                let forwarded = self.forwards.forward(commands, answers);
                let refused: Vec<Trouble> =
                    answers.iter().filter_map(|answer| answer.as_ref().err().map(trouble_of)).collect();
                let count = refused.len().saturating_sub(forwarded);
                add(&self.config.counters.sent, (commands.len() - refused.len()) as u64);
                (refused.into_iter().next().map_or(Ok(()), Err), SendOutcome::But(count))
            }
            Err(trouble) => (Err(trouble.clone()), SendOutcome::Lost(trouble.fault)),
        };
        if let Some(evidence) = &self.config.evidence {
            let result = result.map_err(|trouble| self.config.cause(trouble));
            evidence.tell(Evidence::Call(Use::Command, result, begun.elapsed()));
        }
        if let Err(trouble) = answers {
            bump(&self.config.counters.lost);
            self.redial.lost();
            self.lose(trouble, begun.elapsed());
        }
        sent
    }

    fn lose(&mut self, trouble: Trouble, took: Duration) {
        let cause = self.config.cause(trouble);
        self.link = LinkState::Resting(self.redial.failed(&cause));
        self.report(Err(cause), took);
    }

    fn report(&self, result: Result<Option<String>, Cause>, latency: Duration) {
        if let Some(evidence) = &self.config.evidence {
            evidence.tell(Evidence::Connection(Finding { latency, result }));
        }
    }
}

/// The answers of a server that takes writes; the trouble of one that has become a replica.
fn takes_writes(
    answers: Vec<Result<Value, ServerError>>,
) -> Result<Vec<Result<Value, ServerError>>, Trouble> {
    let mut troubles = answers.iter().filter_map(|answer| answer.as_ref().err().map(trouble_of));
    match troubles.find(|trouble| trouble.fault == Fault::Standby) {
        Some(trouble) => Err(trouble),
        None => Ok(answers),
    }
}

#[cfg(test)]
mod tests {
    use super::super::topics::Naming;
    use super::*;
    use crate::health::definition::DependencyKind;
    use crate::id::ChannelName;
    use crate::job::bus::{BusInbox, bus};
    use crate::job::delivery::Monitor;
    use crate::net::target::Target;
    use crate::wire::envelope::{BusKey, Origin};
    use crate::wire::publication::{Change, Published};
    use crate::wire::stream::StreamMark;

    fn config() -> LinkSettings {
        LinkSettings {
            // No server listens there.
            target: Some(Target::parse(DependencyKind::Redis, "redis://127.0.0.1:1").expect("an address")),
            prefix: Arc::from("test"),
            naming: Naming::Plain,
            origin: Origin(1),
            evidence: None,
            monitor: Arc::new(Monitor::new()),
            counters: Arc::default(),
            gauges: Arc::default(),
        }
    }

    fn published(channel: usize, frame: &[u8]) -> Arc<[Published]> {
        let channel = ChannelName::parse(&format!("c{channel}")).expect("valid");
        let (offset, change, frame) = (crate::id::Offset(1), Change::None, Arc::from(frame));
        Arc::from([Published { channel, offset, change, stream: StreamMark::None, time_ms: 1, frame }])
    }

    /// Runs a sender on queued messages without a server; returns the number of lost messages.
    fn lost(fill: impl Fn(&crate::job::bus::Bus)) -> u64 {
        let (way, inbox) = bus().expect("a descriptor");
        way.set_key(BusKey::new(&[7; BusKey::BYTES]));
        fill(&way);
        drop(way);
        let dropped = Arc::clone(&inbox.dropped);
        let BusInbox { batches, signals, canaries, notes, dropped: count, key, .. } = inbox;
        let forwards = Forwards::none();
        let queues = SenderQueues { batches, signals, canaries, notes, dropped: count, key, forwards };
        BusSender::new(config(), queues).run();
        dropped.load(Ordering::Relaxed)
    }

    #[test]
    fn queued_messages_are_handled_after_all_publishers_are_gone() {
        for _ in 0..20 {
            let waiting =
                |way: &crate::job::bus::Bus| (0..200).for_each(|at| way.publish(&published(at, b"x")));
            assert_eq!(lost(waiting), 200);
        }
    }

    #[test]
    fn lost_signal_does_not_make_instances_read_the_log() {
        let channel = ChannelName::parse("c").expect("valid");
        assert_eq!(lost(|way| way.signal(&channel, &Arc::from(&b"x"[..]))), 0);
    }

    #[test]
    fn frame_too_long_for_receivers_is_left_to_the_log() {
        let long = vec![0; FRAME_BYTES_MAX + 1];
        assert_eq!(lost(|way| way.publish(&published(1, &long))), 1);
    }
}
