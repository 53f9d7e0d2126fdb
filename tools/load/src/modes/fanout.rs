//! One channel and its subscribers, closed loop: the cost of a delivery.
//!
//! A publication is in flight until its `published` and its delivery to every subscriber have arrived; then the next is
//! sent.

use super::{FIRST_ID, data, drive, key, run_number};
use crate::arguments::{Common, Fanout};
use crate::crowd::{Crowd, Mode, Turn, channel_name, is_channel};
use crate::faults::excerpt;
use crate::frame;
use crate::member::Role;
use crate::message::{self, Message};
use crate::process::Process;
use crate::report::{Report, Times};
use crate::window::{Edge, Measured, Window};
use serde_json::json;
use std::collections::VecDeque;
use std::time::Instant;

/// The kind of message to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Publications: stored, numbered and acknowledged.
    Publications,
    /// Signals: not stored, numbered or acknowledged. The sender is subscribed and receives its own.
    Signals,
}

/// One publication or signal in flight.
struct Flight {
    sent: Instant,
    key: String,
    data: String,
    /// The message as the first subscriber got it, checked; the others must get the same bytes.
    checked: Vec<u8>,
    missing: usize,
    acknowledged: bool,
}

struct Deliveries {
    what: What,
    run: u64,
    window: Window,
    bytes: usize,
    at_once: usize,
    count: Option<u64>,
    publisher: usize,
    ready: usize,
    /// The number of the message that each subscriber must get next.
    expected: Vec<u64>,
    /// The number of the first message in `flights`.
    first: u64,
    flights: VecDeque<Flight>,
    /// The channel's head before the first message.
    base: u64,
    all: u64,
    counted: u64,
    published: Times,
    delivered: Times,
    measured: Measured,
}

/// Measures publications.
pub(crate) fn run(common: &Common, arguments: &Fanout, process: Option<Process>) -> Result<Report, String> {
    deliver(What::Publications, common, arguments, process)
}

/// Measures either kind.
pub(crate) fn deliver(
    what: What,
    common: &Common,
    arguments: &Fanout,
    process: Option<Process>,
) -> Result<Report, String> {
    let subscribers = arguments.subscribers as usize;
    let (name, publisher) = match what {
        What::Publications => ("fanout", Some(Role::Publisher)),
        What::Signals => ("signal", None),
    };
    let roles = (0..subscribers).map(|_| Role::Subscriber(0)).chain(publisher);
    let mut crowd = Crowd::new(common, roles)?;
    let mut mode = Deliveries {
        what,
        run: run_number(),
        window: Window::new(process, common.warmup, common.duration),
        bytes: arguments.payload as usize,
        at_once: arguments.flight as usize,
        count: arguments.count,
        publisher: crowd.members.len() - 1,
        ready: 0,
        expected: vec![0; subscribers],
        first: 0,
        flights: VecDeque::new(),
        base: 0,
        all: 0,
        counted: 0,
        published: Times::new(),
        delivered: Times::new(),
        measured: Measured::default(),
    };
    crowd.dialer.enqueue(0..crowd.members.len());
    drive(&mut crowd, &mut mode)?;
    let parameters = json!({
        "subscribers": subscribers, "flight": arguments.flight, "payload": arguments.payload, "count": arguments.count,
    });
    Ok(Report::new(name, common, parameters, &crowd)
        .operations("delivery", mode.counted, mode.measured)
        .latency("published", &mode.published)
        .latency("delivered", &mode.delivered)
        .value("all", mode.all))
}

impl Deliveries {
    fn begin(&mut self, crowd: &mut Crowd) {
        let mut heads = crowd.members.iter().take(self.expected.len()).map(|member| member.head);
        self.base = heads.next().unwrap_or(0);
        if heads.any(|head| head != self.base) {
            crowd.faults.add("mismatch", || "subscribers got different heads".to_owned());
        }
        self.window.start(crowd.now);
        (0..self.at_once).for_each(|_| self.next(crowd));
    }

    fn next(&mut self, crowd: &mut Crowd) {
        let n = self.first + self.flights.len() as u64;
        let (key, data, channel) = (key(self.run, n), data(n, self.bytes), channel_name(0));
        let command = match self.what {
            What::Publications => format!(
                "{{\"id\":{},\"publish\":{{\"channel\":\"{channel}\",\"key\":\"{key}\",\"data\":{data}}}}}",
                FIRST_ID + n
            ),
            What::Signals => format!("{{\"signal\":{{\"channel\":\"{channel}\",\"data\":{data}}}}}"),
        };
        self.flights.push_back(Flight {
            sent: crowd.now,
            key,
            data,
            checked: Vec::new(),
            missing: self.expected.len(),
            acknowledged: self.what == What::Signals,
        });
        crowd.send(self.publisher, frame::TEXT, command.as_bytes());
    }

    /// Records a delivery to a subscriber; `None` if it is not the message expected.
    fn delivery(&mut self, now: Instant, member: usize, payload: &[u8]) -> Option<()> {
        let expected = self.expected.get_mut(member)?;
        let n = *expected;
        let flight = self.flights.get_mut(usize::try_from(n.checked_sub(self.first)?).ok()?)?;
        if flight.checked != payload {
            let good = match message::read(payload)? {
                Message::Publication { channel, offset, key, data } => {
                    self.what == What::Publications
                        && is_channel(channel, 0)
                        && offset == self.base + 1 + n
                        && key == Some(&flight.key)
                        && data == flight.data
                }
                Message::Signal { channel, data } => {
                    self.what == What::Signals && is_channel(channel, 0) && data == flight.data
                }
                _ => false,
            };
            if !good {
                return None;
            }
            flight.checked = payload.to_vec();
        }
        *expected += 1;
        flight.missing -= 1;
        self.all += 1;
        if self.window.is_open() {
            self.counted += 1;
            self.delivered.add(now.saturating_duration_since(flight.sent));
        }
        Some(())
    }

    /// Records the reply to a publish; `None` if it is not the reply expected.
    fn reply(&mut self, now: Instant, payload: &[u8]) -> Option<()> {
        let Message::Published { id, channel, key, offset, duplicate } = message::read(payload)? else {
            return None;
        };
        let n = id.checked_sub(FIRST_ID)?;
        let flight = self.flights.get_mut(usize::try_from(n.checked_sub(self.first)?).ok()?)?;
        let good = is_channel(channel, 0)
            && key == Some(&flight.key)
            && offset == self.base + 1 + n
            && !duplicate
            && !flight.acknowledged;
        if !good {
            return None;
        }
        flight.acknowledged = true;
        if self.window.is_open() {
            self.published.add(now.saturating_duration_since(flight.sent));
        }
        Some(())
    }

    fn goes_on(&self) -> bool {
        self.count.is_none_or(|count| self.first + (self.flights.len() as u64) < count)
    }
}

impl Mode for Deliveries {
    fn ready(&mut self, crowd: &mut Crowd, _member: usize) {
        self.ready += 1;
        if self.ready == crowd.members.len() {
            self.begin(crowd);
        }
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        let good = if self.what == What::Publications && member == self.publisher {
            self.reply(crowd.now, payload)
        } else {
            self.delivery(crowd.now, member, payload)
        };
        if good.is_none() {
            return match message::read(payload) {
                Some(message @ (Message::Publication { .. } | Message::Signal { .. })) => {
                    crowd.faults.add("mismatch", || format!("{message:?}"));
                }
                Some(message) => crowd.other(member, &message, payload),
                None => crowd.faults.add("unreadable", || excerpt(payload)),
            };
        }
        crowd.move_on();
        while self.flights.front().is_some_and(|flight| flight.missing == 0 && flight.acknowledged) {
            self.flights.pop_front();
            self.first += 1;
            if self.goes_on() {
                self.next(crowd);
            }
        }
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        if !crowd.faults.none() {
            return Turn::Over;
        }
        if let Some(count) = self.count {
            return if self.first >= count { Turn::Over } else { Turn::On };
        }
        match self.window.turn(crowd.now) {
            Edge::None | Edge::Opened => Turn::On,
            Edge::Shut(measured) => {
                self.measured = measured;
                Turn::Over
            }
        }
    }

    fn progress(&self) -> String {
        format!("{} ready, {} sent to all, {} deliveries", self.ready, self.first, self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// Two subscribers, with publication 0 in flight after offset 10.
    fn one_under_way() -> Deliveries {
        let flight = Flight {
            sent: clock::now(),
            key: key(7, 0),
            data: data(0, 32),
            checked: Vec::new(),
            missing: 2,
            acknowledged: false,
        };
        Deliveries {
            what: What::Publications,
            run: 7,
            window: Window::new(None, Default::default(), Default::default()),
            bytes: 32,
            at_once: 1,
            count: None,
            publisher: 2,
            ready: 3,
            expected: vec![0; 2],
            first: 0,
            flights: VecDeque::from([flight]),
            base: 10,
            all: 0,
            counted: 0,
            published: Times::new(),
            delivered: Times::new(),
            measured: Measured::default(),
        }
    }

    fn push(channel: &str, offset: u64, n: u64) -> Vec<u8> {
        let (key, data) = (key(7, n), data(n, 32));
        format!(
            "{{\"publication\":{{\"channel\":\"{channel}\",\"offset\":{offset},\"key\":\"{key}\",\"data\":{data}}}}}"
        )
        .into_bytes()
    }

    #[test]
    fn each_subscriber_must_get_the_right_publication_once() {
        let mut mode = one_under_way();
        let (now, right) = (clock::now(), push("load-0", 11, 0));
        for wrong in [push("load-1", 11, 0), push("load-0", 12, 0), push("load-0", 11, 1), b"{".to_vec()] {
            assert_eq!(mode.delivery(now, 0, &wrong), None);
        }
        assert_eq!(mode.delivery(now, 0, &right), Some(()));
        assert_eq!(mode.delivery(now, 0, &right), None, "again");
        assert_eq!(mode.delivery(now, 1, &right), Some(()));
        assert_eq!(mode.flights.front().map(|flight| flight.missing), Some(0));
    }

    #[test]
    fn only_the_first_matching_reply_is_accepted() {
        let mut mode = one_under_way();
        let now = clock::now();
        let reply = |id: u64, offset: u64, duplicate: bool| {
            let key = key(7, 0);
            format!(
                "{{\"id\":{id},\"published\":{{\"channel\":\"load-0\",\"key\":\"{key}\",\"offset\":{offset},\
                 \"duplicate\":{duplicate}}}}}"
            )
        };
        for wrong in [reply(FIRST_ID + 1, 11, false), reply(FIRST_ID, 12, false), reply(FIRST_ID, 11, true)] {
            assert_eq!(mode.reply(now, wrong.as_bytes()), None);
        }
        let right = reply(FIRST_ID, 11, false);
        assert_eq!(mode.reply(now, right.as_bytes()), Some(()));
        assert_eq!(mode.reply(now, right.as_bytes()), None, "again");
    }
}
