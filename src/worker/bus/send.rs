//! The thread that publishes: what the store committed here, signals and canaries, many at once in one round trip.
//!
//! Nobody waits for it. Without a connection everything is dropped and counted; canaries tell the other instances how much, and
//! they read the log then.

use super::{
    BusConfig, CALL_TIMEOUT, PAUSE_MAX, PAUSE_MIN, canary_channel, channel_prefix, jittered, monotonic,
};
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
use crossbeam_channel::{Receiver, select};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Batches of publications taken for one round trip, and signals.
const BATCHES_MAX: usize = 32;
const SIGNALS_MAX: usize = 256;
/// Publications of one channel in one message, in bytes of frames: a reader takes 256 KiB at once at most.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

enum Link {
    Up(Box<Connection>),
    /// Not to be dialled before this.
    Resting(Instant),
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
    link: Link,
    pause: Duration,
    told: bool,
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
            pause: PAUSE_MIN,
            told: false,
        }
    }

    /// Until all who publish are gone.
    pub(super) fn run(mut self) {
        loop {
            self.connect();
            let mut commands = Vec::new();
            // All three have the same senders, so they end together.
            select! {
                recv(self.publications) -> first => match first {
                    Ok(first) => self.speak_publications(first, &mut commands),
                    Err(_) => return,
                },
                recv(self.signals) -> first => match first {
                    Ok(first) => self.speak_signals(first, &mut commands),
                    Err(_) => return,
                },
                recv(self.canaries) -> canary => match canary {
                    Ok(canary) => self.speak_canary(&canary, &mut commands),
                    Err(_) => return,
                },
                default(self.patience()) => {}
            }
            if !commands.is_empty() {
                self.send(&commands);
            }
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
        let opened = Connection::open(&mut self.dialer, target, begun + CALL_TIMEOUT)
            .and_then(|mut connection| connection.call(&[cmd("PING")]).map(|_| connection));
        match opened {
            Ok(connection) => {
                if std::mem::take(&mut self.told) {
                    tracing::info!("connected to the bus");
                }
                self.pause = PAUSE_MIN;
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
        for published in batches.iter().flat_map(|batch| batch.iter()) {
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

    fn speak_signals(&self, first: SignalFrame, commands: &mut Vec<Cmd>) {
        for (channel, frame) in std::iter::once(first).chain(self.signals.try_iter().take(SIGNALS_MAX - 1)) {
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
    fn send(&mut self, commands: &[Cmd]) {
        if self.attempt(commands) == Some(Fault::Reset) {
            self.connect();
            self.attempt(commands);
        }
        if !matches!(self.link, Link::Up(_)) {
            add(&self.dropped, commands.len() as u64);
        }
    }

    /// What ended the connection, if that was the end of it.
    fn attempt(&mut self, commands: &[Cmd]) -> Option<Fault> {
        let begun = monotonic();
        let Link::Up(connection) = &mut self.link else { return None };
        connection.begin(begun + CALL_TIMEOUT);
        let answers = connection.ask(commands);
        let (result, lost) = match answers {
            Ok(answers) => {
                let refused: Vec<Trouble> =
                    answers.iter().filter_map(|answer| answer.as_ref().err().map(told)).collect();
                add(&self.config.counters.sent, (commands.len() - refused.len()) as u64);
                add(&self.dropped, refused.len() as u64);
                (refused.into_iter().next().map_or(Ok(()), Err), None)
            }
            Err(trouble) => (Err(trouble.clone()), Some(trouble)),
        };
        if let Some(witness) = &self.config.witness {
            let result = result.map_err(|trouble| self.cause(trouble));
            witness.tell(Evidence::Call(Use::Command, result, begun.elapsed()));
        }
        let trouble = lost?;
        let fault = trouble.fault;
        bump(&self.config.counters.lost);
        // The next try is made at once: a connection that was reset is no outage.
        self.pause = Duration::ZERO;
        self.lose(trouble, begun.elapsed());
        Some(fault)
    }

    fn lose(&mut self, trouble: Trouble, took: Duration) {
        let cause = self.cause(trouble);
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(cause = %cause.text, look_at = cause.look_at, "cannot send over the bus; trying again");
        }
        self.testify(Err(cause), took);
        self.link = Link::Resting(monotonic() + jittered(self.pause));
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
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
