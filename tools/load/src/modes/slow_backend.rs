//! Ordinary publications while a backend keeps its requests for seconds, and without: a slow backend must delay its own questions only.
//!
//! Slices of both kinds alternate against one gateway, so that whatever else the machine does meets both alike.

use super::{FIRST_ID, data, drive, run_number};
use crate::arguments::{Common, SlowBackend};
use crate::backend::{Backend, Gate, Reply};
use crate::crowd::{Crowd, Mode, Turn, channel_name, is_channel};
use crate::faults::excerpt;
use crate::frame;
use crate::member::Role;
use crate::message::{self, Message};
use crate::pacer;
use crate::questions::{Answering, Questions};
use crate::report::{Report, Times, rounded};
use mio::Waker;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Data bytes of each publication.
const PAYLOAD: usize = 64;
/// Connections that ask, which share the channels: one may have few publications that wait for a reply.
const ASKERS: usize = 4;
/// The wait for the first slice with questions: the gateway may take the backend for down until its next probe.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SliceKind {
    /// The backend keeps its requests.
    Asked,
    /// The same publications go to channels without a route.
    Plain,
}

/// The kinds of the slices: pairs, of which every other one is reversed.
fn slices(pairs: u32) -> Vec<SliceKind> {
    use SliceKind::{Asked, Plain};
    (0..pairs).flat_map(|pair| if pair % 2 == 0 { [Asked, Plain] } else { [Plain, Asked] }).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Until all members are ready and each question channel was asked once, since then.
    First(Option<Instant>),
    /// The slice with this number, since then.
    Slice(usize, Instant),
    /// The gate is open until all of the slice with this number is done.
    Settling(usize),
    Over,
}

/// The times of one slice.
#[derive(Debug)]
struct SliceTimes {
    kind: SliceKind,
    commit: Times,
    echo: Times,
}

/// An ordinary publication in flight.
#[derive(Debug)]
struct Flight {
    channel: usize,
    intended: Instant,
    /// The slice whose window it is in.
    slice: Option<usize>,
    is_committed: bool,
    is_shown: bool,
}

/// A publication of an asker.
#[derive(Clone, Copy, Debug)]
enum Other {
    Question { channel: usize, n: u64 },
    Plain { channel: usize },
}

/// Sends at a rate.
#[derive(Debug)]
struct Beat {
    period: Duration,
    next: Instant,
}

impl Beat {
    fn new(rate: f64, now: Instant) -> Beat {
        Beat { period: Duration::from_secs_f64(1.0 / rate), next: now }
    }

    /// The intended time of the next one, if it is due.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next;
        if due > now {
            return None;
        }
        self.next += self.period;
        Some(due)
    }
}

struct Slices {
    common: Common,
    backend: Backend,
    gate: Arc<Gate>,
    waker: Arc<Waker>,
    channels: usize,
    ready: usize,
    step: Step,
    slices: Vec<SliceTimes>,
    ordinary: Beat,
    asks: Beat,
    /// The number of the next publication. It is also that of its command.
    next: u64,
    flights: HashMap<u64, Flight>,
    others: HashMap<u64, Other>,
    questions: Questions,
    /// The channel of the next further question.
    turn: usize,
}

/// Runs all slices.
pub(crate) fn run(common: &Common, arguments: &SlowBackend) -> Result<Report, String> {
    let channels = arguments.channels;
    let publishers = std::iter::repeat_n(Role::Publisher, channels as usize + ASKERS);
    let roles = (0..channels).map(Role::Subscriber).chain(publishers);
    let mut crowd = Crowd::new(common, roles)?;
    let (waker, gate) = (Arc::new(crowd.waker()?), Arc::new(Gate::default()));
    gate.set(true);
    let reply = Reply::Held(arguments.hold, Arc::clone(&gate));
    let times = |kind| SliceTimes { kind, commit: Times::new(), echo: Times::new() };
    let mut mode = Slices {
        common: common.clone(),
        backend: Backend::start(arguments.backend, reply, Arc::clone(&waker))?,
        gate,
        waker,
        channels: channels as usize,
        ready: 0,
        step: Step::First(None),
        slices: slices(arguments.pairs).into_iter().map(times).collect(),
        ordinary: Beat::new(arguments.rate, crowd.now),
        asks: Beat::new(arguments.asks, crowd.now),
        next: FIRST_ID,
        flights: HashMap::new(),
        others: HashMap::new(),
        questions: Questions::new("ask-", arguments.asked, run_number(), Answering::Nothing),
        turn: 0,
    };
    crowd.dialer.enqueue(0..crowd.members.len());
    drive(&mut crowd, &mut mode)?;
    let parameters = json!({
        "hold_s": arguments.hold.as_secs_f64(), "pairs": arguments.pairs, "channels": channels, "rate": arguments.rate,
        "asked": arguments.asked, "asks": arguments.asks, "slice_s": common.duration.as_secs_f64(),
    });
    let (asked, plain) = (mode.sum(SliceKind::Asked), mode.sum(SliceKind::Plain));
    Ok(Report::new("slow-backend", common, parameters, &crowd)
        .latency("commit_with_questions", &asked.commit)
        .latency("commit_without", &plain.commit)
        .latency("echo_with_questions", &asked.echo)
        .latency("echo_without", &plain.echo)
        .value("commit_ratios", ratios(&mode.slices, |slice| &slice.commit))
        .value("echo_ratios", ratios(&mode.slices, |slice| &slice.echo))
        .value("questions", mode.questions.sent))
}

/// The p50 and p99 of each pair's slice with questions, over those of its slice without.
fn ratios(slices: &[SliceTimes], of: impl Fn(&SliceTimes) -> &Times) -> Value {
    let at = |part: f64| -> Value {
        let pairs = slices.chunks_exact(2).map(|pair| {
            let of_kind = |kind| {
                pair.iter().find(|slice| slice.kind == kind).and_then(|slice| of(slice).quantile(part))
            };
            let both = of_kind(SliceKind::Asked).zip(of_kind(SliceKind::Plain));
            rounded(both.map(|(asked, plain)| asked as f64 / plain as f64))
        });
        pairs.collect()
    };
    json!({ "p50": at(0.5), "p99": at(0.99) })
}

impl Slices {
    fn sum(&self, kind: SliceKind) -> SliceTimes {
        let mut sum = SliceTimes { kind, commit: Times::new(), echo: Times::new() };
        for slice in self.slices.iter().filter(|slice| slice.kind == kind) {
            sum.commit.merge(&slice.commit);
            sum.echo.merge(&slice.echo);
        }
        sum
    }

    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// An ordinary publication, in the channels in turn.
    fn publish(&mut self, crowd: &mut Crowd, intended: Instant, slice: Option<usize>) {
        let id = self.id();
        let channel = (id % self.channels as u64) as usize;
        let (name, data) = (channel_name(channel as u32), data(id, PAYLOAD));
        let command = format!("{{\"id\":{id},\"publish\":{{\"channel\":\"{name}\",\"data\":{data}}}}}");
        crowd.send(self.channels + channel, frame::TEXT, command.as_bytes());
        self.flights.insert(id, Flight { channel, intended, slice, is_committed: false, is_shown: false });
    }

    /// A question, or the same to a channel without a route.
    fn ask(&mut self, crowd: &mut Crowd, channel: usize, kind: SliceKind) {
        let id = self.id();
        let (name, data, other) = match kind {
            SliceKind::Asked => {
                let (n, data) = self.questions.add(channel, crowd.now, PAYLOAD);
                ("ask", data, Other::Question { channel, n })
            }
            SliceKind::Plain => ("plain", data(id, PAYLOAD), Other::Plain { channel }),
        };
        let command =
            format!("{{\"id\":{id},\"publish\":{{\"channel\":\"{name}-{channel}\",\"data\":{data}}}}}");
        crowd.send(2 * self.channels + channel % ASKERS, frame::TEXT, command.as_bytes());
        self.others.insert(id, other);
    }

    /// Takes the requests that have arrived.
    fn take(&mut self, crowd: &mut Crowd) {
        while let Some(arrival) = self.backend.next() {
            let asked = arrival.request.map_err(|reason| ("request", reason));
            match asked.and_then(|asked| self.questions.asked(&asked, arrival.at)) {
                Ok(channel) => self.moved(crowd, channel),
                Err((kind, text)) => crowd.faults.add(kind, || text),
            }
        }
    }

    fn moved(&mut self, crowd: &mut Crowd, channel: usize) {
        crowd.move_on();
        while self.questions.take_done(channel).is_some() {}
    }

    /// The reply to a publication of an asker; `None` if it is not one expected.
    fn reply(&mut self, crowd: &mut Crowd, message: &Message<'_>) -> Option<()> {
        let Message::Published { id, channel: name, offset, duplicate: false, .. } = message else {
            return None;
        };
        let (prefix, channel) = match self.others.remove(id)? {
            Other::Question { channel, n } => {
                match self.questions.committed(channel, n, *offset, crowd.now) {
                    Ok(()) => self.moved(crowd, channel),
                    Err((kind, text)) => crowd.faults.add(kind, || text),
                }
                ("ask", channel)
            }
            Other::Plain { channel } => ("plain", channel),
        };
        (name.strip_prefix(prefix)?.strip_prefix('-')?.parse() == Ok(channel)).then_some(())
    }

    /// A message about an ordinary publication; `None` if it is not one expected.
    fn ordinary(&mut self, now: Instant, member: usize, message: &Message<'_>) -> Option<()> {
        // Subscribers come first, then the publishers of their channels.
        let channel = member % self.channels;
        let is_reply = member >= self.channels;
        let (id, name) = match message {
            Message::Published { id, channel, duplicate: false, .. } if is_reply => (*id, channel),
            Message::Publication { channel, data, .. } if !is_reply => (number(data)?, channel),
            _ => return None,
        };
        let flight = self.flights.get_mut(&id).filter(|flight| flight.channel == channel)?;
        let done = if is_reply { &mut flight.is_committed } else { &mut flight.is_shown };
        if std::mem::replace(done, true) || !is_channel(name, channel as u32) {
            return None;
        }
        let took = now.saturating_duration_since(flight.intended);
        if let Some(slice) = flight.slice.and_then(|slice| self.slices.get_mut(slice)) {
            if is_reply { slice.commit.add(took) } else { slice.echo.add(took) }
        }
        if flight.is_committed && flight.is_shown {
            self.flights.remove(&id);
        }
        Some(())
    }

    fn is_settled(&self) -> bool {
        self.flights.is_empty() && self.others.is_empty() && self.questions.open() == 0
    }

    /// Begins the slice with this number, or ends the run.
    fn begin(&mut self, crowd: &mut Crowd, number: usize) {
        let Some(SliceTimes { kind, .. }) = self.slices.get(number) else {
            self.step = Step::Over;
            return;
        };
        let kind = *kind;
        self.gate.set(kind == SliceKind::Plain);
        self.step = Step::Slice(number, crowd.now);
        (self.ordinary.next, self.asks.next) = (crowd.now, crowd.now);
        (0..self.questions.channels()).for_each(|channel| self.ask(crowd, channel, kind));
    }

    /// Sends what is due in a slice, or ends it.
    fn go_on(&mut self, crowd: &mut Crowd, number: usize, since: Instant) {
        let from = since + self.common.warmup;
        let until = from + self.common.duration;
        if crowd.now >= until {
            self.gate.set(true);
            self.step = Step::Settling(number);
            return;
        }
        let Some(kind) = self.slices.get(number).map(|slice| slice.kind) else { return };
        while let Some(due) = self.ordinary.due(crowd.now) {
            self.publish(crowd, due, (due >= from).then_some(number));
        }
        while self.asks.due(crowd.now).is_some() {
            self.ask(crowd, self.turn, kind);
            self.turn = (self.turn + 1) % self.questions.channels();
        }
    }
}

/// The number in the data of an ordinary publication.
fn number(data: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Data {
        n: u64,
    }
    serde_json::from_str::<Data>(data).ok().map(|data| data.n)
}

impl Mode for Slices {
    fn ready(&mut self, crowd: &mut Crowd, _member: usize) {
        self.ready += 1;
        if self.ready == crowd.members.len() {
            self.step = Step::First(Some(crowd.now));
            (0..self.questions.channels()).for_each(|channel| self.ask(crowd, channel, SliceKind::Asked));
        }
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        let Some(message) = message::read(payload) else {
            return crowd.faults.add("unreadable", || excerpt(payload));
        };
        let known = match member < 2 * self.channels {
            true => self.ordinary(crowd.now, member, &message),
            false => self.reply(crowd, &message),
        };
        match known {
            Some(()) => crowd.move_on(),
            None => crowd.other(member, &message, payload),
        }
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        self.take(crowd);
        if !crowd.faults.none() {
            return Turn::Over;
        }
        match self.step {
            Step::First(Some(_)) if self.is_settled() => {
                let period = self.ordinary.period.min(self.asks.period);
                if let Err(reason) = pacer::start(Arc::clone(&self.waker), crowd.now, period) {
                    crowd.faults.add("pacer", || reason);
                }
                self.begin(crowd, 0);
            }
            Step::First(Some(since)) if crowd.now.saturating_duration_since(since) < FIRST_PATIENCE => {
                crowd.move_on();
            }
            Step::First(_) => {}
            Step::Slice(number, since) => self.go_on(crowd, number, since),
            Step::Settling(number) if self.is_settled() => self.begin(crowd, number + 1),
            Step::Settling(_) => {}
            Step::Over => return Turn::Over,
        }
        Turn::On
    }

    fn progress(&self) -> String {
        let (slice, of) = match self.step {
            Step::First(_) => (0, self.slices.len()),
            Step::Slice(number, _) | Step::Settling(number) => (number + 1, self.slices.len()),
            Step::Over => (self.slices.len(), self.slices.len()),
        };
        let open = self.flights.len() + self.others.len();
        format!("slice {slice} of {of}, {open} publications open, {}", self.questions.progress())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_pair_has_its_slices_in_reverse() {
        use SliceKind::{Asked, Plain};
        assert_eq!(slices(3), [Asked, Plain, Plain, Asked, Asked, Plain]);
    }

    #[test]
    fn ratio_is_that_of_a_pair_in_either_order() {
        let slice = |kind, us| {
            let mut slice = SliceTimes { kind, commit: Times::new(), echo: Times::new() };
            slice.commit.add(Duration::from_micros(us));
            slice
        };
        let slices = [
            slice(SliceKind::Asked, 300),
            slice(SliceKind::Plain, 200),
            slice(SliceKind::Plain, 400),
            slice(SliceKind::Asked, 100),
        ];
        assert_eq!(ratios(&slices, |slice| &slice.commit), json!({ "p50": [1.5, 0.25], "p99": [1.5, 0.25] }));
        assert_eq!(ratios(&slices, |slice| &slice.echo)["p99"], json!([null, null]));
    }
}
