//! Durable publishes, one in flight per publisher: rate, latency and cost.

use super::{FIRST_ID, data, drive, key, run_number};
use crate::arguments::{Common, Publish};
use crate::crowd::{Crowd, Mode, Turn, channel_name, is_channel};
use crate::faults::excerpt;
use crate::frame;
use crate::member::Role;
use crate::message::{self, Message};
use crate::process::Process;
use crate::report::{Report, Times};
use crate::window::{Edge, Measured, Window};
use serde_json::json;
use std::time::Instant;

/// A publisher and its publication in flight.
#[derive(Clone, Copy)]
struct Publisher {
    sent: Option<Instant>,
    n: u64,
    last: u64,
}

struct Publishes {
    window: Window,
    run: u64,
    bytes: usize,
    channels: u32,
    publishers: Vec<Publisher>,
    ready: usize,
    next: u64,
    under_way: usize,
    stopping: bool,
    /// Acknowledged offsets per channel.
    offsets: Vec<Vec<u64>>,
    all: u64,
    counted: u64,
    times: Times,
    measured: Measured,
}

/// Publishes until the window closes, waits for the last answers, and checks the offsets.
pub(crate) fn run(common: &Common, arguments: &Publish, process: Option<Process>) -> Result<Report, String> {
    let publishers = arguments.publishers as usize;
    let mut crowd = Crowd::new(common, (0..publishers).map(|_| Role::Publisher))?;
    let mut mode = Publishes {
        window: Window::new(process, common.warmup, common.duration),
        run: run_number(),
        bytes: arguments.payload as usize,
        channels: arguments.channels,
        publishers: vec![Publisher { sent: None, n: 0, last: 0 }; publishers],
        ready: 0,
        next: 0,
        under_way: 0,
        stopping: false,
        offsets: vec![Vec::new(); arguments.channels as usize],
        all: 0,
        counted: 0,
        times: Times::new(),
        measured: Measured::default(),
    };
    crowd.dialer.enqueue(0..publishers);
    drive(&mut crowd, &mut mode)?;
    for (channel, offsets) in mode.offsets.iter_mut().enumerate() {
        offsets.sort_unstable();
        if let Some(pair) = offsets.windows(2).find(|pair| matches!(pair, [a, b] if a + 1 != *b)) {
            let pair = format!("channel {channel}: {pair:?} are neighbours");
            crowd.faults.add("offsets", || pair);
        }
    }
    let parameters = json!({
        "publishers": publishers, "channels": arguments.channels, "payload": arguments.payload,
    });
    Ok(Report::new("publish", common, parameters, &crowd)
        .operations("publish", mode.counted, mode.measured)
        .latency("published", &mode.times)
        .value("all", mode.all))
}

impl Publishes {
    fn publish(&mut self, crowd: &mut Crowd, member: usize) {
        let Some(publisher) = self.publishers.get_mut(member) else { return };
        let n = self.next;
        self.next += 1;
        self.under_way += 1;
        *publisher = Publisher { sent: Some(crowd.now), n, last: publisher.last };
        let (key, data) = (key(self.run, n), data(n, self.bytes));
        let channel = channel_name(member as u32 % self.channels);
        let id = FIRST_ID + n;
        let command = format!(
            "{{\"id\":{id},\"publish\":{{\"channel\":\"{channel}\",\"key\":\"{key}\",\"data\":{data}}}}}"
        );
        crowd.send(member, frame::TEXT, command.as_bytes());
    }

    /// Records the answer to a publish; `None` if it is not the answer expected.
    fn reply(&mut self, now: Instant, member: usize, payload: &[u8]) -> Option<()> {
        let Message::Published { id, channel, key: answered, offset, duplicate } = message::read(payload)?
        else {
            return None;
        };
        let publisher = self.publishers.get_mut(member)?;
        let sent = publisher.sent?;
        let good = id == FIRST_ID + publisher.n
            && is_channel(channel, member as u32 % self.channels)
            && answered == Some(&key(self.run, publisher.n))
            && offset > publisher.last
            && !duplicate;
        if !good {
            return None;
        }
        publisher.sent = None;
        publisher.last = offset;
        self.under_way -= 1;
        self.offsets.get_mut(member % self.channels as usize)?.push(offset);
        self.all += 1;
        if self.window.is_open() {
            self.counted += 1;
            self.times.add(now.saturating_duration_since(sent));
        }
        Some(())
    }
}

impl Mode for Publishes {
    fn ready(&mut self, crowd: &mut Crowd, _member: usize) {
        self.ready += 1;
        if self.ready == self.publishers.len() {
            self.window.start(crowd.now);
            (0..self.ready).for_each(|member| self.publish(crowd, member));
        }
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        match self.reply(crowd.now, member, payload) {
            Some(()) => {
                crowd.move_on();
                if !self.stopping {
                    self.publish(crowd, member);
                }
            }
            None => match message::read(payload) {
                Some(message) => crowd.other(member, &message, payload),
                None => crowd.faults.add("unreadable", || excerpt(payload)),
            },
        }
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        if !crowd.faults.none() || (self.stopping && self.under_way == 0) {
            return Turn::Over;
        }
        if let Edge::Shut(measured) = self.window.turn(crowd.now) {
            self.measured = measured;
            self.stopping = true;
        }
        Turn::On
    }

    fn progress(&self) -> String {
        format!("{} publishers, {} published", self.ready, self.all)
    }
}
