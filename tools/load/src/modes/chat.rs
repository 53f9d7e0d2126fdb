//! Chat, open loop: publications leave at their intended moments, whatever came of those before.
//!
//! Latencies count from the intended moment, so that a server that stalls cannot hide it by slowing its
//! clients down. Every subscriber's offsets are followed; all of them must have everything at the end.

use super::{FIRST_ID, data, drive, key, run_number};
use crate::arguments::{Chat, Common};
use crate::crowd::{Crowd, Mode, Turn, channel_name, is_channel};
use crate::cursor::{Arrival, Cursor};
use crate::faults::excerpt;
use crate::frame;
use crate::member::Role;
use crate::message::{self, Message};
use crate::process::Process;
use crate::report::{Report, Times, rounded};
use crate::window::{Edge, Measured, Window};
use serde_json::json;
use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Where a channel stands.
#[derive(Default)]
struct Channel {
    /// Its head before the first publication.
    base: Option<u64>,
    /// Publications that were acknowledged.
    acknowledged: u64,
    /// Which publication has which offset.
    numbers: HashMap<u64, u64>,
}

struct Talk {
    window: Window,
    run: u64,
    arguments: Chat,
    subscribers: usize,
    ready: usize,
    begun: Option<Instant>,
    /// The next to leave.
    next: u64,
    /// Those that count: intended inside the window.
    counted: Range<u64>,
    stopping: bool,
    answered: Vec<bool>,
    unanswered: u64,
    /// Deliveries that acknowledged publications still lack.
    owed: i64,
    channels: Vec<Channel>,
    cursors: Vec<Cursor>,
    deliveries: u64,
    /// How much later than intended they left: above a millisecond or two the generator has no core to itself.
    left_late: Times,
    published: Times,
    delivered: Times,
    measured: Measured,
}

/// Publishes on schedule, then waits until everybody has everything.
pub(crate) fn run(common: &Common, arguments: &Chat, process: Option<Process>) -> Result<Report, String> {
    let subscribers = (arguments.channels * arguments.subscribers) as usize;
    let roles = (0..subscribers).map(|at| Role::Subscriber(at as u32 % arguments.channels));
    let speakers = (0..arguments.publishers).map(|_| Role::Speaker);
    let mut crowd = Crowd::new(common, roles.chain(speakers))?;
    let mut mode = Talk {
        window: Window::new(process, common.warmup, common.duration),
        run: run_number(),
        arguments: arguments.clone(),
        subscribers,
        ready: 0,
        begun: None,
        next: 0,
        counted: 0..u64::MAX,
        stopping: false,
        answered: Vec::new(),
        unanswered: 0,
        owed: 0,
        channels: (0..arguments.channels).map(|_| Channel::default()).collect(),
        cursors: Vec::new(),
        deliveries: 0,
        left_late: Times::new(),
        published: Times::new(),
        delivered: Times::new(),
        measured: Measured::default(),
    };
    crowd.dialer.enqueue(0..crowd.members.len());
    drive(&mut crowd, &mut mode)?;
    mode.count_missing(&mut crowd);
    let parameters = json!({
        "publishers": arguments.publishers, "rate": arguments.rate, "channels": arguments.channels,
        "subscribers": arguments.subscribers, "payload": arguments.payload,
    });
    let count = if mode.begun.is_some() { mode.counted.end.min(mode.next) - mode.counted.start } else { 0 };
    let per_delivery = mode.measured.cpu_us.filter(|_| mode.deliveries > 0);
    Ok(Report::new("chat", common, parameters, &crowd)
        .operations("publish", count, mode.measured)
        .value("deliveries", mode.deliveries)
        .value("cpu_us_per_delivery", rounded(per_delivery.map(|cpu_us| cpu_us / mode.deliveries as f64)))
        .latency("left_late", &mode.left_late)
        .latency("published", &mode.published)
        .latency("delivered", &mode.delivered))
}

impl Talk {
    fn begin(&mut self, crowd: &mut Crowd) {
        for (at, member) in crowd.members.iter().enumerate().take(self.subscribers) {
            self.cursors.push(Cursor::after(member.head));
            let Some(channel) = self.channels.get_mut(at % self.arguments.channels as usize) else {
                continue;
            };
            if *channel.base.get_or_insert(member.head) != member.head {
                crowd.faults.add("mismatch", || "subscribers were told different heads".to_owned());
            }
        }
        self.begun = Some(crowd.now);
        self.window.start(crowd.now);
    }

    fn intended(&self, n: u64) -> Option<Instant> {
        Some(self.begun? + Duration::from_secs_f64(n as f64 / self.arguments.rate))
    }

    fn channel_of(&self, n: u64) -> u32 {
        (n % u64::from(self.arguments.publishers)) as u32 % self.arguments.channels
    }

    fn publish(&mut self, crowd: &mut Crowd) {
        let n = self.next;
        if let Some(intended) = self.intended(n).filter(|_| self.window.is_open()) {
            self.left_late.add(crowd.now.saturating_duration_since(intended));
        }
        self.next += 1;
        self.answered.push(false);
        self.unanswered += 1;
        let speaker = self.subscribers + (n % u64::from(self.arguments.publishers)) as usize;
        let (id, channel) = (FIRST_ID + n, channel_name(self.channel_of(n)));
        let (key, data) = (key(self.run, n), data(n, self.arguments.payload as usize));
        let command = format!(
            "{{\"id\":{id},\"publish\":{{\"channel\":\"{channel}\",\"key\":\"{key}\",\"data\":{data}}}}}"
        );
        crowd.send(speaker, frame::TEXT, command.as_bytes());
    }

    /// Marks a publication as answered; `None` when it was, or never left.
    fn answer(&mut self, id: u64) -> Option<u64> {
        let n = id.checked_sub(FIRST_ID)?;
        let answered = self.answered.get_mut(usize::try_from(n).ok()?).filter(|answered| !**answered)?;
        *answered = true;
        self.unanswered -= 1;
        Some(n)
    }

    fn published(&mut self, crowd: &Crowd, message: &Message<'_>) -> Option<()> {
        let Message::Published { id, channel, key: answered, offset, duplicate: false } = *message else {
            return None;
        };
        let n = self.answer(id)?;
        let at = self.channel_of(n);
        if !is_channel(channel, at) || answered != Some(&key(self.run, n)) || !self.placed(at, offset, n) {
            return None;
        }
        self.channels.get_mut(at as usize)?.acknowledged += 1;
        self.owed += i64::from(self.arguments.subscribers);
        if self.counted.contains(&n) && self.window_began() {
            self.published.add(crowd.now.saturating_duration_since(self.intended(n)?));
        }
        Some(())
    }

    fn delivery(&mut self, crowd: &mut Crowd, member: usize, message: &Message<'_>) -> Option<()> {
        let Message::Publication { channel, offset, key: told, data: body } = *message else { return None };
        let n: u64 = body.strip_prefix("{\"n\":")?.split_once(',')?.0.parse().ok()?;
        let at = member as u32 % self.arguments.channels;
        let good = n < self.next
            && at == self.channel_of(n)
            && is_channel(channel, at)
            && told == Some(&key(self.run, n))
            && body == data(n, self.arguments.payload as usize)
            && self.placed(at, offset, n);
        if !good {
            return None;
        }
        let arrival = self.cursors.get_mut(member)?.take(offset);
        let place = || format!("member {member}, channel {at}, offset {offset}");
        match arrival {
            Arrival::Next => {}
            Arrival::Gap(missing) => crowd.faults.add_many("gap", missing, place),
            Arrival::Late => crowd.faults.add("reordered", place),
            Arrival::Again => {
                crowd.faults.add("duplicate", place);
                return Some(());
            }
        }
        self.owed -= 1;
        if self.counted.contains(&n) && self.window_began() {
            self.deliveries += 1;
            self.delivered.add(crowd.now.saturating_duration_since(self.intended(n)?));
        }
        Some(())
    }

    /// Whether `n` may have this offset: everybody must be told the same.
    fn placed(&mut self, at: u32, offset: u64, n: u64) -> bool {
        self.channels
            .get_mut(at as usize)
            .is_some_and(|channel| *channel.numbers.entry(offset).or_insert(n) == n)
    }

    fn window_began(&self) -> bool {
        self.window.is_open() || self.stopping
    }

    fn count_missing(&self, crowd: &mut Crowd) {
        for (at, cursor) in self.cursors.iter().enumerate() {
            let channel = self.channels.get(at % self.arguments.channels as usize);
            let head = channel.map_or(0, |channel| channel.base.unwrap_or(0) + channel.acknowledged);
            let lacks = cursor.lacks(head);
            crowd.faults.add_many("missing", lacks, || format!("member {at} lacks {lacks} up to {head}"));
        }
        crowd.faults.add_many("unanswered", self.unanswered, || "publishes without an answer".to_owned());
    }
}

impl Mode for Talk {
    fn ready(&mut self, crowd: &mut Crowd, _member: usize) {
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
            if let Message::Error { id: Some(id), .. } = message {
                self.answer(id);
            }
            crowd.other(member, &message, payload);
        }
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        if self.begun.is_none() {
            return if crowd.faults.none() { Turn::On } else { Turn::Over };
        }
        match self.window.turn(crowd.now) {
            Edge::None => {}
            Edge::Opened => self.counted.start = self.next,
            Edge::Shut(measured) => {
                self.measured = measured;
                self.counted.end = self.next;
                self.stopping = true;
            }
        }
        if self.stopping {
            return if self.unanswered == 0 && self.owed == 0 { Turn::Over } else { Turn::On };
        }
        while let Some(moment) = self.intended(self.next) {
            if moment > crowd.now {
                return Turn::Until(moment);
            }
            self.publish(crowd);
        }
        Turn::On
    }

    fn progress(&self) -> String {
        format!("{} ready, {} published, {} deliveries owed", self.ready, self.next, self.owed)
    }
}
