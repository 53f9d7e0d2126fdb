//! `backoff.json` and `cursor.json`: the duties of a client. The client itself is written in TypeScript; this file checks
//! the examples against the rules of `docs/protocol.md`.

use super::{names_differ, read};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backoff {
    about: String,
    cases: Vec<Wait>,
    counters: Vec<Counter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    name: String,
    attempt: u32,
    random: f64,
    advised_ms: Option<u64>,
    cap_ms: u64,
    wait_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counter {
    name: String,
    events: Vec<Online>,
    attempt: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Online {
    Failed,
    Connected,
    Stable,
    Lost,
    Patient,
    Stop,
}

#[test]
fn wait_is_computed_as_in_the_examples() {
    let file: Backoff = read("backoff.json");
    assert!(!file.about.is_empty());
    names_differ(file.cases.iter().map(|case| case.name.as_str()));
    for case in &file.cases {
        let cap = 500u64.saturating_mul(1 << case.attempt.min(20)).min(15_000);
        assert_eq!(cap, case.cap_ms, "{}", case.name);
        let drawn = (case.random * cap as f64) as u64;
        assert_eq!(case.advised_ms.unwrap_or(drawn).max(100), case.wait_ms, "{}", case.name);
    }
}

#[test]
fn attempt_counter_is_reset_only_by_time_online() {
    let file: Backoff = read("backoff.json");
    names_differ(file.counters.iter().map(|case| case.name.as_str()));
    for case in &file.counters {
        let next = case.events.iter().try_fold(0u32, |attempt, event| match event {
            Online::Failed | Online::Lost => Some(attempt + 1),
            Online::Patient => Some(attempt + 2),
            Online::Connected => Some(attempt),
            Online::Stable => Some(0),
            Online::Stop => None,
        });
        assert_eq!(next, case.attempt, "{}", case.name);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursors {
    about: String,
    cases: Vec<Course>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Course {
    name: String,
    last: u64,
    events: Vec<Event>,
    actions: Vec<Action>,
    ends_at: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Event {
    Publication(u64),
    Synced(u64),
    Beat(u64),
    Lag { from: u64, head: u64 },
    Page { floor: u64, offsets: Vec<u64> },
    Subscribed { epoch: Log, head: u64, floor: u64 },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Log {
    Same,
    Other,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    Apply(u64),
    Drop(u64),
    Ahead(u64),
    HistoryAfter(u64),
    Gap(u64, u64),
    Reset(u64),
}

/// A client's state in one channel.
struct Follower {
    last: u64,
    seen: u64,
    asked: bool,
    replaying: bool,
    actions: Vec<Action>,
}

impl Follower {
    fn handle(&mut self, event: &Event) {
        match *event {
            Event::Publication(offset) => self.publication(offset),
            Event::Synced(offset) => {
                self.replaying = false;
                self.see(offset);
            }
            Event::Beat(head) => self.see(head),
            Event::Lag { from, head } => {
                assert!(from <= head);
                self.see(head);
            }
            Event::Page { floor, ref offsets } => {
                self.asked = false;
                if floor > self.last + 1 {
                    self.actions.push(Action::Gap(self.last + 1, floor - 1));
                    self.last = floor - 1;
                }
                for offset in offsets {
                    self.publication(*offset);
                }
            }
            Event::Subscribed { epoch, head, floor } => {
                assert!(floor <= head + 1);
                self.replaying = true;
                if let Log::Other = epoch {
                    (self.last, self.seen) = (floor - 1, floor - 1);
                    self.actions.push(Action::Reset(self.last));
                }
            }
        }
        if self.seen > self.last && !self.asked && !self.replaying {
            self.asked = true;
            self.actions.push(Action::HistoryAfter(self.last));
        }
    }

    fn publication(&mut self, offset: u64) {
        self.see(offset);
        if offset <= self.last {
            self.actions.push(Action::Drop(offset));
        } else if offset == self.last + 1 {
            self.last = offset;
            self.actions.push(Action::Apply(offset));
        } else {
            self.actions.push(Action::Ahead(offset));
        }
    }

    fn see(&mut self, offset: u64) {
        self.seen = self.seen.max(offset);
    }
}

#[test]
fn channel_is_followed_as_in_the_examples() {
    let file: Cursors = read("cursor.json");
    assert!(!file.about.is_empty());
    names_differ(file.cases.iter().map(|case| case.name.as_str()));
    for case in file.cases {
        let mut follower =
            Follower { last: case.last, seen: case.last, asked: false, replaying: false, actions: vec![] };
        for event in &case.events {
            follower.handle(event);
        }
        assert_eq!(follower.actions, case.actions, "{}", case.name);
        assert_eq!(follower.last, case.ends_at, "{}", case.name);
        assert!(follower.seen <= follower.last, "{}: something is still missing", case.name);
    }
}
