//! Chat, open loop: publications are sent at their intended times, whether or not earlier ones have been answered.
//!
//! Latencies count from the intended time, so that a server that stalls cannot hide it by slowing its clients down. Every
//! subscriber's offsets are checked, and each must have received everything at the end. With churn, connections leave
//! during the run and return; at the end all leave, so that the server's counters are final.

mod churn;
mod intervals;
mod ledger;

use super::{FIRST_ID, data, drive, key, run_number};
use crate::arguments::{Chat, Common};
use crate::crowd::{Crowd, Mode, Turn, channel_name, is_channel};
use crate::cursor::{Arrival, Cursor};
use crate::faults::excerpt;
use crate::frame;
use crate::leave::{Leave, Leaving};
use crate::member::{Role, Stage};
use crate::message::{self, Message};
use crate::process::Process;
use crate::report::{Report, rounded};
use crate::window::{Edge, Measured, Window};
use churn::{AWAY_MAX, Churn};
use intervals::{Figures, Intervals, Totals};
use ledger::{Channel, UnderWay};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting until every member is ready.
    Connecting,
    /// Publishing since this time.
    Publishing(Instant),
    /// Publishing, which began at this time, has ended; answers and deliveries are awaited.
    Settling(Instant),
    /// All members are leaving.
    Leaving(Instant),
}

struct ChatRun {
    window: Window,
    run: u64,
    arguments: Chat,
    subscribers: usize,
    ready: usize,
    phase: Phase,
    /// The publications that count: those intended inside the window.
    counted: Range<u64>,
    under_way: UnderWay,
    channels: Vec<Channel>,
    /// The publications each subscriber has received since it subscribed.
    cursors: Vec<Option<Cursor>>,
    /// Deliveries of the publications that count.
    deliveries: u64,
    totals: Totals,
    /// Refused publishes, by code.
    refused: BTreeMap<String, u64>,
    churn: Churn,
    figures: Figures,
    intervals: Option<Intervals>,
    measured: Measured,
}

/// Publishes on schedule, then waits until every subscriber has everything.
pub(crate) fn run(common: &Common, arguments: &Chat, process: Option<Process>) -> Result<Report, String> {
    let subscribers = (arguments.channels * arguments.subscribers) as usize;
    let roles = (0..subscribers).map(|at| Role::Subscriber(at as u32 % arguments.channels));
    let senders = (0..arguments.publishers).map(|_| Role::Publisher);
    let mut crowd = Crowd::new(common, roles.chain(senders))?;
    let mut mode = ChatRun {
        intervals: arguments.interval.map(|period| Intervals::new(period, process.clone())),
        window: Window::new(process, common.warmup, common.duration),
        run: run_number(),
        arguments: arguments.clone(),
        subscribers,
        ready: 0,
        phase: Phase::Connecting,
        counted: 0..u64::MAX,
        under_way: UnderWay::new(arguments.publishers as usize),
        channels: (0..arguments.channels).map(|_| Channel::new()).collect(),
        cursors: vec![None; subscribers],
        deliveries: 0,
        totals: Totals::default(),
        refused: BTreeMap::new(),
        churn: Churn::new(arguments.churn),
        figures: Figures::new(),
        measured: Measured::default(),
    };
    crowd.dialer.enqueue(0..crowd.members.len());
    drive(&mut crowd, &mut mode)?;
    mode.count_missing(&mut crowd);
    let parameters = json!({
        "publishers": arguments.publishers, "rate": arguments.rate, "channels": arguments.channels,
        "subscribers": arguments.subscribers, "payload": arguments.payload, "churn": arguments.churn,
    });
    let count = match mode.begun() {
        Some(_) => mode.counted.end.min(mode.under_way.next()).saturating_sub(mode.counted.start),
        None => 0,
    };
    let per_delivery = mode.measured.cpu_us.filter(|_| mode.deliveries > 0);
    Ok(Report::new("chat", common, parameters, &crowd)
        .operations("publish", count, mode.measured)
        .value("deliveries", mode.deliveries)
        .value("cpu_us_per_delivery", rounded(per_delivery.map(|cpu_us| cpu_us / mode.deliveries as f64)))
        .latency("left_late", &mode.figures.left_late)
        .latency("published", &mode.figures.published)
        .latency("delivered", &mode.figures.delivered)
        .value("counts", mode.counts(&crowd)))
}

impl ChatRun {
    fn begin(&mut self, crowd: &mut Crowd) {
        for (at, member) in crowd.members.iter().enumerate().take(self.subscribers) {
            let Some(channel) = self.channels.get_mut(at % self.arguments.channels as usize) else {
                continue;
            };
            if *channel.base.get_or_insert(member.head) != member.head {
                crowd.faults.add("mismatch", || "subscribers got different heads".to_owned());
            }
        }
        self.phase = Phase::Publishing(crowd.now);
        self.window.start(crowd.now);
    }

    fn begun(&self) -> Option<Instant> {
        match self.phase {
            Phase::Connecting => None,
            Phase::Publishing(begun) | Phase::Settling(begun) | Phase::Leaving(begun) => Some(begun),
        }
    }

    fn intended(&self, n: u64) -> Option<Instant> {
        Some(self.begun()? + Duration::from_secs_f64(n as f64 / self.arguments.rate))
    }

    fn channel_of(&self, n: u64) -> u32 {
        (n % u64::from(self.arguments.publishers)) as u32 % self.arguments.channels
    }

    /// The publisher whose turn it is, or the next one that is ready.
    fn publisher_of(&self, crowd: &Crowd, n: u64) -> Option<usize> {
        let publishers = u64::from(self.arguments.publishers);
        (n..n + publishers).map(|n| (n % publishers) as usize).find(|publisher| {
            crowd.members.get(self.subscribers + publisher).is_some_and(|it| it.stage == Stage::Ready)
        })
    }

    /// Sends the next publication; `None` while no publisher is ready.
    fn publish(&mut self, crowd: &mut Crowd) -> Option<()> {
        let n = self.under_way.next();
        let publisher = self.publisher_of(crowd, n)?;
        if let Some(intended) = self.intended(n).filter(|_| self.window.is_open()) {
            let late = crowd.now.saturating_duration_since(intended);
            self.record(|figures| figures.left_late.add(late));
        }
        self.under_way.send(publisher);
        self.totals.publishes += 1;
        let (id, channel) = (FIRST_ID + n, channel_name(self.channel_of(n)));
        let (key, data) = (key(self.run, n), data(n, self.arguments.payload as usize));
        let command = format!(
            "{{\"id\":{id},\"publish\":{{\"channel\":\"{channel}\",\"key\":\"{key}\",\"data\":{data}}}}}"
        );
        crowd.send(self.subscribers + publisher, frame::TEXT, command.as_bytes());
        Some(())
    }

    /// Records in the figures of the window and of the current interval.
    fn record(&mut self, record: impl Fn(&mut Figures)) {
        record(&mut self.figures);
        if let Some(figures) = self.intervals.as_mut().and_then(Intervals::figures) {
            record(figures);
        }
    }

    fn published(&mut self, crowd: &Crowd, message: &Message<'_>) -> Option<()> {
        let Message::Published { id, channel, key: answered, offset, duplicate: false } = *message else {
            return None;
        };
        let n = id.checked_sub(FIRST_ID)?;
        self.under_way.answer(n)?;
        let at = self.channel_of(n);
        if !is_channel(channel, at) || answered != Some(&key(self.run, n)) || !self.placed(at, offset, n) {
            return None;
        }
        self.channels.get_mut(at as usize)?.acknowledged += 1;
        self.totals.published += 1;
        if self.counts_now(n) {
            let took = crowd.now.saturating_duration_since(self.intended(n)?);
            self.record(|figures| figures.published.add(took));
        }
        Some(())
    }

    fn delivery(&mut self, crowd: &mut Crowd, member: usize, message: &Message<'_>) -> Option<()> {
        let Message::Publication { channel, offset, key: received, data: body } = *message else {
            return None;
        };
        let n: u64 = body.strip_prefix("{\"n\":")?.split_once(',')?.0.parse().ok()?;
        let at = member as u32 % self.arguments.channels;
        let good = n < self.under_way.next()
            && at == self.channel_of(n)
            && is_channel(channel, at)
            && received == Some(&key(self.run, n))
            && body == data(n, self.arguments.payload as usize)
            && self.placed(at, offset, n);
        if !good {
            return None;
        }
        let arrival = self.cursors.get_mut(member)?.as_mut()?.take(offset);
        let place = || format!("member {member}, channel {at}, offset {offset}");
        match arrival {
            Arrival::Next => {}
            Arrival::Gap(missing) => crowd.faults.add_many("gap", missing, place),
            Arrival::Late => crowd.faults.add("reordered", place),
            Arrival::Again => crowd.faults.add("duplicate", place),
        }
        // Published while the subscriber was away: the server is not to blame for the delay.
        if crowd.members.get(member)?.stage == Stage::Syncing {
            self.totals.replayed += 1;
            return Some(());
        }
        self.totals.deliveries += 1;
        if self.counts_now(n) && arrival != Arrival::Again {
            self.deliveries += 1;
            let took = crowd.now.saturating_duration_since(self.intended(n)?);
            self.record(|figures| figures.delivered.add(took));
        }
        Some(())
    }

    /// True if publication `n` may have this offset.
    fn placed(&mut self, at: u32, offset: u64, n: u64) -> bool {
        self.channels.get_mut(at as usize).is_some_and(|channel| channel.placed(offset, n))
    }

    /// True if publication `n` was intended inside the window.
    fn counts_now(&self, n: u64) -> bool {
        let began = self.window.is_open() || !matches!(self.phase, Phase::Connecting | Phase::Publishing(_));
        began && self.counted.contains(&n)
    }

    /// The number of acknowledged publications that a subscriber lacks.
    fn lacks(&self, at: usize) -> u64 {
        let channel = self.channels.get(at % self.arguments.channels as usize);
        let cursor = self.cursors.get(at).and_then(Option::as_ref);
        channel.zip(cursor).map_or(0, |(channel, cursor)| cursor.lacks(channel.head()))
    }

    fn is_settled(&self, crowd: &Crowd) -> bool {
        self.under_way.unanswered() == 0
            && crowd.ready() == crowd.members.len()
            && (0..self.subscribers).all(|at| self.lacks(at) == 0)
    }

    /// Makes the members leave that are due.
    fn churn(&mut self, crowd: &mut Crowd) {
        for _ in 0..self.churn.due(crowd.now) {
            let all = crowd.members.len();
            let start = fastrand::usize(..all);
            let Some(member) = (start..start + all).map(|at| at % all).find(|at| self.may_leave(crowd, *at))
            else {
                return;
            };
            let how = self.churn.next(member >= self.subscribers);
            match crowd.leave(member, how) {
                Leaving::Not | Leaving::UnderWay => {}
                Leaving::Done => self.left(crowd, member),
            }
        }
    }

    /// True if a member may leave now; a publisher only when all its publishes are answered.
    fn may_leave(&self, crowd: &Crowd, member: usize) -> bool {
        crowd.members.get(member).is_some_and(|it| it.stage == Stage::Ready)
            && member.checked_sub(self.subscribers).is_none_or(|publisher| self.under_way.is_quiet(publisher))
    }

    /// Makes all members leave, a few at a time, so that the server does not meet all departures at once.
    fn leave_gradually(&self, crowd: &mut Crowd) -> Turn {
        const AT_ONCE: usize = 64;
        let ready =
            |crowd: &Crowd, at: &usize| crowd.members.get(*at).is_some_and(|it| it.stage == Stage::Ready);
        let next: Vec<usize> = (0..crowd.members.len()).filter(|at| ready(crowd, at)).take(AT_ONCE).collect();
        for member in &next {
            crowd.leave(*member, Leave::Close);
        }
        let all_away = crowd.members.iter().all(|it| it.stage == Stage::Away);
        if all_away { Turn::Over } else { Turn::On }
    }

    fn count_missing(&self, crowd: &mut Crowd) {
        for at in 0..self.subscribers {
            let lacks = self.lacks(at);
            crowd.faults.add_many("missing", lacks, || format!("member {at} lacks {lacks}"));
        }
        let unanswered = self.under_way.unanswered();
        crowd.faults.add_many("unanswered", unanswered, || "publishes without an answer".to_owned());
    }

    /// Counters since the first connection, inside the window or not.
    fn counts(&self, crowd: &Crowd) -> Value {
        let mut counts = crowd.counts.json();
        counts["publishes"] = self.totals.publishes.into();
        counts["published"] = self.totals.published.into();
        counts["refused"] = json!(self.refused);
        counts["deliveries"] = self.totals.deliveries.into();
        counts["replayed"] = self.totals.replayed.into();
        counts
    }

    fn edges(&mut self, crowd: &Crowd, begun: Instant) {
        let line = match self.window.turn(crowd.now) {
            Edge::None => {
                let (now, totals) = (crowd.now, self.totals);
                self.intervals.as_mut().and_then(|intervals| intervals.turn(now, totals, &crowd.counts))
            }
            Edge::Opened => {
                self.counted.start = self.under_way.next();
                if let Some(intervals) = &mut self.intervals {
                    intervals.begin(crowd.now, self.totals, &crowd.counts);
                }
                None
            }
            Edge::Shut(measured) => {
                self.measured = measured;
                self.counted.end = self.under_way.next();
                self.phase = Phase::Settling(begun);
                let (now, totals) = (crowd.now, self.totals);
                self.intervals.as_mut().and_then(|intervals| intervals.end(now, totals, &crowd.counts))
            }
        };
        if let Some(line) = line {
            println!("{line}");
        }
    }

    fn publish_due(&mut self, crowd: &mut Crowd) -> Turn {
        self.churn(crowd);
        while let Some(moment) = self.intended(self.under_way.next()) {
            if moment > crowd.now {
                return Turn::Until(moment);
            }
            if self.publish(crowd).is_none() {
                break;
            }
        }
        Turn::On
    }
}

impl Mode for ChatRun {
    fn subscribed(&mut self, _crowd: &mut Crowd, member: usize, head: u64) {
        if let Some(cursor) = self.cursors.get_mut(member) {
            *cursor = Some(Cursor::after(head));
        }
    }

    fn ready(&mut self, crowd: &mut Crowd, _member: usize) {
        if self.phase != Phase::Connecting {
            return;
        }
        self.ready += 1;
        if self.ready == crowd.members.len() {
            self.begin(crowd);
        }
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        crowd.move_on();
        let Some(message) = message::read(payload) else {
            return crowd.faults.add("unreadable", || excerpt(payload));
        };
        let good = if member < self.subscribers {
            self.delivery(crowd, member, &message)
        } else {
            self.published(crowd, &message)
        };
        if good.is_none() {
            if let Message::Error { id: Some(id), code } = message {
                id.checked_sub(FIRST_ID).and_then(|n| self.under_way.answer(n));
                *self.refused.entry(code.to_owned()).or_default() += 1;
            }
            crowd.other(member, &message, payload);
        }
    }

    fn left(&mut self, crowd: &mut Crowd, member: usize) {
        if let Some(cursor) = self.cursors.get_mut(member) {
            *cursor = None;
        }
        if !matches!(self.phase, Phase::Leaving(_)) {
            crowd.dialer.enqueue_at(member, crowd.now + AWAY_MAX.mul_f64(fastrand::f64()));
        }
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        if let Some(begun) = self.begun() {
            self.edges(crowd, begun);
        }
        match self.phase {
            Phase::Connecting if crowd.faults.none() => Turn::On,
            Phase::Connecting => Turn::Over,
            Phase::Publishing(_) => self.publish_due(crowd),
            Phase::Settling(begun) if self.is_settled(crowd) => {
                self.phase = Phase::Leaving(begun);
                if self.churn.is_on() { self.leave_gradually(crowd) } else { Turn::Over }
            }
            Phase::Settling(_) => Turn::On,
            Phase::Leaving(_) => self.leave_gradually(crowd),
        }
    }

    fn progress(&self) -> String {
        let totals = &self.totals;
        format!("{} ready, {} published, {} delivered", self.ready, totals.published, totals.deliveries)
    }
}
