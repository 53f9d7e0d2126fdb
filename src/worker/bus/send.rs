//! The thread that publishes: what the store committed here, signals and canaries, many at once in one round trip.
//!
//! Nobody waits for it. Without a connection everything is dropped and counted; canaries tell the other instances how much, and
//! they read the log then.

use super::redial::{Link, Redial};
use super::{BusConfig, CALL_TIMEOUT, DIAL_TIMEOUT, canary_channel, channel_prefix, monotonic};
use crate::health::definition::{Kind, Use};
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::id::ChannelName;
use crate::job::bus::{Committed, SignalFrame};
use crate::metrics::store::{add, bump};
use crate::wire::envelope::{self, CanaryNote};
use crate::wire::publication::Published;
use crate::worker::line::Dialer;
use crate::worker::line::trouble::Trouble;
use crate::worker::probe::advice::look_at;
use crate::worker::redis::{Connection, told};
use ::redis::{Cmd, cmd};
use crossbeam_channel::{Receiver, never, select};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Batches of publications taken for one round trip, and signals.
const BATCHES_MAX: usize = 32;
const SIGNALS_MAX: usize = 256;
/// Publications of one channel in one message, in bytes of frames: a reader takes 256 KiB at once at most.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// A frame over this does not travel: the other instances read the publication from the log. Only a raised `limits.frame_bytes` or
/// `limits.message_bytes` lets one be so long.
const FRAME_BYTES_MAX: usize = 192 << 10;

/// What is lost with commands that are not sent. Signals and canaries may be: nobody has to read the log for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loses {
    Publications,
    Nothing,
}

/// What became of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// All were, but so many were refused.
    But(usize),
    /// The connection ended over them, by this.
    Lost(Fault),
    /// There is no connection.
    NotAtAll,
}

/// The sending thread.
pub(super) struct Speaker {
    config: BusConfig,
    publications: Receiver<Arc<[Published]>>,
    signals: Receiver<SignalFrame>,
    canaries: Receiver<Committed>,
    dropped: Arc<AtomicU64>,
    dialer: Dialer,
    channels: String,
    link: Link<Connection>,
    redial: Redial,
    /// Doubts of the connection that were heeded.
    doubts: u64,
}

impl Speaker {
    pub(super) fn new(
        config: BusConfig,
        publications: Receiver<Arc<[Published]>>,
        signals: Receiver<SignalFrame>,
        canaries: Receiver<Committed>,
        dropped: Arc<AtomicU64>,
    ) -> Speaker {
        Speaker {
            dialer: config.target.dialer(),
            channels: channel_prefix(&config.prefix),
            config,
            publications,
            signals,
            canaries,
            dropped,
            link: Link::Resting(monotonic()),
            redial: Redial::new("send over"),
            doubts: 0,
        }
    }

    /// Until all who publish are gone, and all they published is sent.
    pub(super) fn run(mut self) {
        let (mut signals, mut canaries) = (self.signals.clone(), self.canaries.clone());
        loop {
            self.heed();
            self.connect();
            let mut commands = Vec::new();
            let loses = select! {
                recv(self.publications) -> first => match first {
                    Ok(first) => {
                        self.speak_publications(first, &mut commands);
                        Loses::Publications
                    }
                    // Disconnected and empty: nothing waits here. The others may end before, and must not end it.
                    Err(_) => return,
                },
                recv(signals) -> first => {
                    match first {
                        Ok(first) => self.speak_signals(first, &mut commands),
                        Err(_) => signals = never(),
                    }
                    Loses::Nothing
                },
                recv(canaries) -> canary => {
                    match canary {
                        Ok(canary) => self.speak_canary(&canary, &mut commands),
                        Err(_) => canaries = never(),
                    }
                    Loses::Nothing
                },
                default(self.patience()) => Loses::Nothing,
            };
            if !commands.is_empty() {
                self.send(&commands, loses);
            }
        }
    }

    /// Dials anew where canaries do not come back: the connection may lead to another server than the listeners'.
    fn heed(&mut self) {
        let doubts = self.config.monitor.doubts();
        if std::mem::replace(&mut self.doubts, doubts) != doubts {
            self.link = Link::Resting(monotonic());
        }
    }

    fn patience(&self) -> Duration {
        match self.link {
            Link::Up(_) => Duration::from_secs(1),
            Link::Resting(until) => until.saturating_duration_since(monotonic()),
        }
    }

    fn connect(&mut self) {
        let Link::Resting(until) = self.link else { return };
        let Some(target) = self.config.target.redis().filter(|_| until <= monotonic()) else { return };
        let begun = monotonic();
        // A stopped server's kernel still accepts: only an answer shows that it lives.
        let opened = Connection::open(&mut self.dialer, target, begun + DIAL_TIMEOUT)
            .and_then(|mut connection| connection.call(&[cmd("PING")]).map(|_| connection));
        match opened {
            Ok(connection) => {
                if self.redial.works() {
                    tracing::info!("connected to the bus");
                }
                self.link = Link::Up(Box::new(connection));
                self.testify(Ok(None), begun.elapsed());
            }
            Err(trouble) => self.lose(trouble, begun.elapsed()),
        }
    }

    /// Publications of one channel travel together. A batch is from one commit, so what a channel has in it is in order.
    fn speak_publications(&self, first: Arc<[Published]>, commands: &mut Vec<Cmd>) {
        let batches: Vec<_> =
            std::iter::once(first).chain(self.publications.try_iter().take(BATCHES_MAX - 1)).collect();
        let mut order: Vec<&ChannelName> = Vec::new();
        let mut channels: HashMap<&ChannelName, Vec<&Published>, ahash::RandomState> = HashMap::default();
        let whole = batches.iter().flat_map(|batch| batch.iter());
        for published in whole.filter(|published| self.travels(published)) {
            channels
                .entry(&published.channel)
                .or_insert_with(|| {
                    order.push(&published.channel);
                    Vec::new()
                })
                .push(published);
        }
        for channel in order {
            let mut rest = channels.remove(channel).unwrap_or_default();
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = rest.iter().take_while(|one| {
                    bytes += one.frame.len();
                    bytes <= MESSAGE_BYTES_MAX
                });
                let later = rest.split_off(fits.count().max(1));
                let mut message = Vec::new();
                envelope::publications(&mut message, self.config.origin, channel.as_str(), rest);
                commands.push(publish(&format!("{}{}", self.channels, channel.as_str()), &message));
                rest = later;
            }
        }
    }

    fn travels(&self, published: &Published) -> bool {
        let travels = published.frame.len() <= FRAME_BYTES_MAX;
        if !travels {
            bump(&self.dropped);
        }
        travels
    }

    fn speak_signals(&self, first: SignalFrame, commands: &mut Vec<Cmd>) {
        for (channel, frame) in std::iter::once(first).chain(self.signals.try_iter().take(SIGNALS_MAX - 1)) {
            if frame.len() > FRAME_BYTES_MAX {
                continue;
            }
            let mut message = Vec::new();
            envelope::signal(&mut message, self.config.origin, channel.as_str(), &frame);
            commands.push(publish(&format!("{}{}", self.channels, channel.as_str()), &message));
        }
    }

    fn speak_canary(&self, canary: &Committed, commands: &mut Vec<Cmd>) {
        self.config.monitor.committed(canary.number, &canary.seen);
        let note = CanaryNote { number: canary.number, dropped: self.dropped.load(Ordering::Relaxed) };
        let name = canary_channel(&self.config.prefix);
        let mut message = Vec::new();
        envelope::canary(&mut message, self.config.origin, &name, note);
        commands.push(publish(&name, &message));
    }

    /// Sends, a second time where the connection turns out to have ended while it rested: what comes twice is dropped by whoever
    /// gets it.
    fn send(&mut self, commands: &[Cmd], loses: Loses) {
        let mut sent = self.attempt(commands);
        if sent == Sent::Lost(Fault::Reset) {
            self.connect();
            sent = self.attempt(commands);
        }
        let lost = match (sent, loses) {
            (Sent::But(refused), Loses::Publications) => refused,
            (Sent::Lost(_) | Sent::NotAtAll, Loses::Publications) => commands.len(),
            (_, Loses::Nothing) => 0,
        };
        add(&self.dropped, lost as u64);
    }

    fn attempt(&mut self, commands: &[Cmd]) -> Sent {
        let begun = monotonic();
        let Link::Up(connection) = &mut self.link else { return Sent::NotAtAll };
        connection.begin(begun + CALL_TIMEOUT);
        let answers = connection.ask(commands);
        let (result, sent) = match &answers {
            Ok(answers) => {
                let refused: Vec<Trouble> =
                    answers.iter().filter_map(|answer| answer.as_ref().err().map(told)).collect();
                let count = refused.len();
                add(&self.config.counters.sent, (commands.len() - count) as u64);
                (refused.into_iter().next().map_or(Ok(()), Err), Sent::But(count))
            }
            Err(trouble) => (Err(trouble.clone()), Sent::Lost(trouble.fault)),
        };
        if let Some(witness) = &self.config.witness {
            let result = result.map_err(|trouble| self.cause(trouble));
            witness.tell(Evidence::Call(Use::Command, result, begun.elapsed()));
        }
        if let Err(trouble) = answers {
            bump(&self.config.counters.lost);
            self.redial.lost();
            self.lose(trouble, begun.elapsed());
        }
        sent
    }

    fn lose(&mut self, trouble: Trouble, took: Duration) {
        let cause = self.cause(trouble);
        self.link = Link::Resting(self.redial.failed(&cause));
        self.testify(Err(cause), took);
    }

    fn testify(&self, result: Result<Option<String>, Cause>, latency: Duration) {
        if let Some(witness) = &self.config.witness {
            witness.tell(Evidence::Connection(Finding { latency, result }));
        }
    }

    fn cause(&self, trouble: Trouble) -> Cause {
        let look_at = look_at(Kind::Redis, trouble.fault);
        trouble.into_cause(look_at, self.config.target.secrets())
    }
}

fn publish(channel: &str, message: &[u8]) -> Cmd {
    cmd("PUBLISH").arg(channel).arg(message).take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::bus::bus;
    use crate::wire::envelope::Origin;
    use crate::wire::publication::Change;
    use crate::worker::bus::Monitor;
    use crate::worker::probe::target::Target;

    fn config() -> BusConfig {
        BusConfig {
            // Nobody listens there.
            target: Target::parse(Kind::Redis, "redis://127.0.0.1:1").expect("an address"),
            prefix: Arc::from("test"),
            origin: Origin(1),
            witness: None,
            monitor: Arc::new(Monitor::new()),
            counters: Arc::default(),
        }
    }

    fn published(channel: usize, frame: &[u8]) -> Arc<[Published]> {
        let channel = ChannelName::parse(&format!("c{channel}")).expect("valid");
        let (offset, change, frame) = (crate::id::Offset(1), Change::None, Arc::from(frame));
        Arc::from([Published { channel, offset, change, frame }])
    }

    /// Runs a speaker over what waits, without a server; how many messages were lost.
    fn lost(fill: impl Fn(&crate::job::bus::Bus)) -> u64 {
        let (way, inbox) = bus().expect("a descriptor");
        fill(&way);
        drop(way);
        let dropped = Arc::clone(&inbox.dropped);
        Speaker::new(config(), inbox.publications, inbox.signals, inbox.canaries, inbox.dropped).run();
        dropped.load(Ordering::Relaxed)
    }

    #[test]
    fn what_waits_is_seen_to_though_all_who_published_are_gone() {
        for _ in 0..20 {
            let waiting =
                |way: &crate::job::bus::Bus| (0..200).for_each(|at| way.publish(&published(at, b"x")));
            assert_eq!(lost(waiting), 200);
        }
    }

    #[test]
    fn a_signal_that_is_lost_makes_nobody_read_the_log() {
        let channel = ChannelName::parse("c").expect("valid");
        assert_eq!(lost(|way| way.signal(&channel, &Arc::from(&b"x"[..]))), 0);
    }

    #[test]
    fn a_frame_that_no_reader_takes_is_left_to_the_log() {
        let long = vec![0; FRAME_BYTES_MAX + 1];
        assert_eq!(lost(|way| way.publish(&published(1, &long))), 1);
    }
}
