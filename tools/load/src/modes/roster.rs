//! Many users who enter one roster at once: the frames that its watchers get, and publishes meanwhile.
//!
//! All members are subscribed before. After a calm period they send `present`, spread evenly over some time; publishes on other channels
//! go on, open loop, and are compared with those of the calm period. The run ends when every watcher knows of all users.

use super::{FIRST_ID, data, drive, key, run_number};
use crate::arguments::{Common, Roster};
use crate::crowd::{Crowd, Mode, Turn, channel_name};
use crate::faults::excerpt;
use crate::frame;
use crate::member::Role;
use crate::message::{self, Message};
use crate::process::Process;
use crate::report::{Report, Times, rounded};
use crate::window::{Measured, Window};
use serde_json::json;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

/// The roster's channel. Publishers have the next ones.
const CHANNEL: u32 = 0;
/// Ids of `present` and `presence`; publishes have higher ones.
const PRESENT: u64 = FIRST_ID;
const PRESENCE: u64 = FIRST_ID + 1;
const FIRST_PUBLISH: u64 = FIRST_ID + 2;
const PAYLOAD: usize = 64;
/// Publishes go on for this time after the last `present`.
const TAIL: Duration = Duration::from_secs(1);

/// The part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Gather,
    /// Publishes alone, until then. The first ones are not counted.
    Calm {
        counts_from: Instant,
        until: Instant,
    },
    /// The users enter, since then.
    Storm(Instant),
}

/// A publication in flight.
struct Flight {
    /// When it was to be sent.
    intended: Instant,
    counts: Counts,
}

/// The figure that a publication counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Nowhere,
    Calm,
    Storm,
}

/// A watcher, in the storm.
#[derive(Clone, Debug, Default)]
struct Watcher {
    users: u32,
    frames: u64,
    second: u64,
    in_second: u64,
    /// The most frames in one second.
    busiest: u64,
}

struct Joins {
    window: Window,
    run: u64,
    members: usize,
    over: Duration,
    warmup: Duration,
    calm: Duration,
    rate: f64,
    step: Step,
    ready: usize,
    entered: usize,
    confirmed: usize,
    watchers: Vec<Watcher>,
    /// Watchers that read a page then.
    pages_at: BinaryHeap<Reverse<(Instant, usize)>>,
    pages: u64,
    published: u64,
    publish_at: Instant,
    flights: BTreeMap<u64, Flight>,
    calm_times: Times,
    storm_times: Times,
    measured: Measured,
}

/// Lets the users enter, and counts.
pub(crate) fn run(common: &Common, arguments: &Roster, process: Option<Process>) -> Result<Report, String> {
    let (members, watchers) = (arguments.members as usize, arguments.watchers as usize);
    let roles = (0..members).map(|_| Role::Subscriber(CHANNEL));
    let roles = roles.chain((0..watchers).map(|_| Role::Watcher(CHANNEL)));
    let roles = roles.chain((0..arguments.publishers).map(|_| Role::Publisher));
    let mut crowd = Crowd::new(common, roles)?.sign_in(&arguments.secret);
    let mut mode = Joins {
        window: Window::new(process, Duration::ZERO, Duration::MAX),
        run: run_number(),
        members,
        over: Duration::from_millis(arguments.over_ms.into()),
        warmup: common.warmup,
        calm: common.duration,
        rate: arguments.rate,
        step: Step::Gather,
        ready: 0,
        entered: 0,
        confirmed: 0,
        watchers: vec![Watcher::default(); watchers],
        pages_at: BinaryHeap::new(),
        pages: 0,
        published: 0,
        publish_at: crowd.now,
        flights: BTreeMap::new(),
        calm_times: Times::new(),
        storm_times: Times::new(),
        measured: Measured::default(),
    };
    crowd.dialer.enqueue(0..crowd.members.len());
    drive(&mut crowd, &mut mode)?;
    let parameters = json!({
        "members": members, "over_ms": arguments.over_ms, "watchers": watchers, "publishers": arguments.publishers,
        "rate": arguments.rate,
    });
    Ok(mode.report(Report::new("roster", common, parameters, &crowd)))
}

impl Joins {
    fn report(&self, report: Report) -> Report {
        let busiest = self.watchers.iter().map(|watcher| watcher.busiest).max();
        let frames: u64 = self.watchers.iter().map(|watcher| watcher.frames).sum();
        let seconds = self.measured.elapsed.as_secs_f64();
        let mean = (seconds > 0.0).then(|| frames as f64 / self.watchers.len() as f64 / seconds);
        let (calm, storm) = (self.calm_times.quantile(0.99), self.storm_times.quantile(0.99));
        let ratio = calm.zip(storm).map(|(calm, storm)| storm as f64 / calm as f64);
        report
            .operations("enter", self.confirmed as u64, self.measured)
            .value("frames", frames)
            .value("frames_per_watcher_and_s", rounded(mean))
            .value("most_frames_of_a_watcher_in_one_s", busiest)
            .value("pages", self.pages)
            .latency("published_in_calm", &self.calm_times)
            .latency("published_in_storm", &self.storm_times)
            .value("p99_over_calm", rounded(ratio))
    }

    /// The index of a publisher among all members.
    fn publisher(&self, crowd: &Crowd, n: u64) -> usize {
        let first = self.members + self.watchers.len();
        let count = crowd.members.len() - first;
        first + n as usize % count.max(1)
    }

    /// Sends the publishes that are due.
    fn publish(&mut self, crowd: &mut Crowd) {
        let counts = match self.step {
            Step::Gather => return,
            Step::Calm { counts_from, .. } if crowd.now < counts_from => Counts::Nowhere,
            Step::Calm { .. } => Counts::Calm,
            Step::Storm(since) if crowd.now < since + self.over + TAIL => Counts::Storm,
            Step::Storm(_) => return,
        };
        while self.publish_at <= crowd.now {
            let n = self.published;
            let member = self.publisher(crowd, n);
            let (id, channel) = (FIRST_PUBLISH + n, channel_name(CHANNEL + 1 + member as u32));
            let (key, data) = (key(self.run, n), data(n, PAYLOAD));
            let command = format!(
                "{{\"id\":{id},\"publish\":{{\"channel\":\"{channel}\",\"key\":\"{key}\",\"data\":{data}}}}}"
            );
            self.flights.insert(id, Flight { intended: self.publish_at, counts });
            crowd.send(member, frame::TEXT, command.as_bytes());
            self.published += 1;
            self.publish_at += Duration::from_secs_f64(1.0 / self.rate);
        }
    }

    /// Lets the users enter that are due.
    fn enter(&mut self, crowd: &mut Crowd, since: Instant) {
        let passed = crowd.now.saturating_duration_since(since).as_secs_f64();
        let part = if self.over.is_zero() { 1.0 } else { passed / self.over.as_secs_f64() };
        let due = ((self.members as f64 * part) as usize).min(self.members);
        let channel = channel_name(CHANNEL);
        let command = format!("{{\"id\":{PRESENT},\"present\":{{\"channel\":\"{channel}\"}}}}");
        for member in self.entered..due {
            crowd.send(member, frame::TEXT, command.as_bytes());
        }
        self.entered = due;
    }

    /// Sends the questions of watchers that are due.
    fn ask(&mut self, crowd: &mut Crowd) {
        let channel = channel_name(CHANNEL);
        let command = format!("{{\"id\":{PRESENCE},\"presence\":{{\"channel\":\"{channel}\"}}}}");
        while let Some(Reverse((at, member))) = self.pages_at.peek().copied()
            && at <= crowd.now
        {
            self.pages_at.pop();
            crowd.send(member, frame::TEXT, command.as_bytes());
        }
    }

    /// Takes a message; `None` if it is not one that the member waits for.
    fn take(&mut self, now: Instant, member: usize, message: &Message<'_>) -> Option<()> {
        match *message {
            Message::Present { id: PRESENT } if member < self.entered => self.confirmed += 1,
            Message::Presence { id: Some(PRESENCE), .. } => self.pages += 1,
            Message::Presence { id: None, users, refresh_ms } => {
                let watcher = self.watchers.get_mut(member.checked_sub(self.members)?)?;
                watcher.users = users;
                if let Step::Storm(since) = self.step {
                    watcher.count(now.saturating_duration_since(since).as_secs());
                }
                if let Some(within) = refresh_ms {
                    let wait = Duration::from_millis(within).mul_f64(fastrand::f64());
                    self.pages_at.push(Reverse((now + wait, member)));
                }
            }
            Message::Published { id, duplicate: false, .. } => {
                let Flight { intended, counts } = self.flights.remove(&id)?;
                let time = now.saturating_duration_since(intended);
                match counts {
                    Counts::Nowhere => {}
                    Counts::Calm => self.calm_times.add(time),
                    Counts::Storm => self.storm_times.add(time),
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// True if all users entered, every watcher knows of all of them, and no answer is missing.
    fn is_over(&self) -> bool {
        let knows_all = |watcher: &Watcher| watcher.users as usize == self.members;
        self.confirmed == self.members && self.flights.is_empty() && self.watchers.iter().all(knows_all)
    }
}

impl Watcher {
    /// Counts a frame in this second.
    fn count(&mut self, second: u64) {
        if self.second != second {
            (self.second, self.in_second) = (second, 0);
        }
        self.frames += 1;
        self.in_second += 1;
        self.busiest = self.busiest.max(self.in_second);
    }
}

impl Mode for Joins {
    fn ready(&mut self, _crowd: &mut Crowd, _member: usize) {
        self.ready += 1;
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        let Some(message) = message::read(payload) else {
            return crowd.faults.add("unreadable", || excerpt(payload));
        };
        match self.take(crowd.now, member, &message) {
            Some(()) => crowd.move_on(),
            None => crowd.other(member, &message, payload),
        }
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        if !crowd.faults.none() {
            return Turn::Over;
        }
        self.publish(crowd);
        self.ask(crowd);
        match self.step {
            Step::Gather if self.ready == crowd.members.len() => {
                let counts_from = crowd.now + self.warmup;
                self.step = Step::Calm { counts_from, until: counts_from + self.calm };
                self.publish_at = crowd.now;
            }
            Step::Calm { until, .. } if until <= crowd.now => {
                self.window.open(crowd.now);
                self.step = Step::Storm(crowd.now);
            }
            Step::Storm(since) => {
                self.enter(crowd, since);
                if self.is_over() && crowd.now >= since + self.over + TAIL {
                    self.measured = self.window.shut(crowd.now);
                    return Turn::Over;
                }
            }
            Step::Gather => return Turn::On,
            // A wait longer than until the next publish would count as latency.
            Step::Calm { .. } => return Turn::Until(self.publish_at),
        }
        // A member is due every fraction of a millisecond.
        Turn::Until(self.publish_at.min(crowd.now + Duration::from_millis(2)))
    }

    fn progress(&self) -> String {
        format!(
            "{} ready, {} of {} entered, {} published",
            self.ready, self.confirmed, self.members, self.published
        )
    }
}
