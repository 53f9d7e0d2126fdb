//! The times of users that sign in, subscribe, publish and read.

use crate::support::token::token_of;
use crate::support::{Client, Gateway};
use serde_json::json;
use std::fmt;
use std::time::{Duration, Instant};

/// The most that the slowest of 100 may take, as a multiple of the same with a hog at another gateway.
const FACTOR: u32 = 3;

/// The times of each kind of work.
#[derive(Default)]
struct Times {
    upgrade: Vec<Duration>,
    sign_in: Vec<Duration>,
    subscribe: Vec<Duration>,
    publish: Vec<Duration>,
    page: Vec<Duration>,
}

/// The slowest of 100 of each kind of work.
#[derive(Clone, Copy)]
pub struct P99 {
    upgrade: Duration,
    sign_in: Duration,
    subscribe: Duration,
    publish: Duration,
    page: Duration,
}

impl fmt::Display for P99 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let P99 { upgrade, sign_in, subscribe, publish, page } = self;
        write!(
            f,
            "upgrade {upgrade:.1?}, sign-in {sign_in:.1?}, subscribe {subscribe:.1?}, publish {publish:.1?}, page {page:.1?}"
        )
    }
}

impl Times {
    fn p99(self) -> P99 {
        let of = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[(times.len() * 99).div_ceil(100) - 1]
        };
        let Times { upgrade, sign_in, subscribe, publish, page } = self;
        P99 {
            upgrade: of(upgrade),
            sign_in: of(sign_in),
            subscribe: of(subscribe),
            publish: of(publish),
            page: of(page),
        }
    }
}

impl P99 {
    /// The longer one of each kind of work.
    pub fn max(&self, other: &P99) -> P99 {
        P99 {
            upgrade: self.upgrade.max(other.upgrade),
            sign_in: self.sign_in.max(other.sign_in),
            subscribe: self.subscribe.max(other.subscribe),
            publish: self.publish.max(other.publish),
            page: self.page.max(other.page),
        }
    }

    /// True if nothing takes longer than `short`, or than [`FACTOR`] times as long as in `other`.
    pub fn is_within(&self, other: &P99, short: Duration) -> bool {
        let pairs = [
            (self.upgrade, other.upgrade),
            (self.sign_in, other.sign_in),
            (self.subscribe, other.subscribe),
            (self.publish, other.publish),
            (self.page, other.page),
        ];
        pairs.into_iter().all(|(own, other)| own <= short.max(FACTOR * other))
    }
}

/// Takes the time of each step of other users.
pub fn measure(gateway: &Gateway, rounds: usize) -> P99 {
    fn timed<T>(times: &mut Vec<Duration>, step: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = step();
        times.push(began.elapsed());
        result
    }
    let mut times = Times::default();
    for n in 0..rounds {
        let token = token_of(&format!("user{n}"));
        let client = timed(&mut times.upgrade, || Client::open(gateway));
        let mut client = timed(&mut times.sign_in, || client.with_connect(json!({"token": token})));
        timed(&mut times.subscribe, || client.subscribe("lobby"));
        timed(&mut times.publish, || {
            let offset = client.publish("lobby", json!(n));
            while client.next_push("publication")["offset"] != offset {}
        });
        timed(&mut times.page, || {
            client.ask(json!({"history": {"channel": "lobby", "limit": 10}}), "history")
        });
    }
    times.p99()
}
