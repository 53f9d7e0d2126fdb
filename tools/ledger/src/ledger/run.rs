//! What arrived on one connection from one channel, as runs without a break: a few numbers for many deliveries.

use crate::clock::Micros;
use serde_json::{Value, json};

/// Why a run begins where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A subscription, which promised everything after this place.
    Subscribed,
    /// The server said `lag`: the first that is missing, and it goes on after this place.
    Lag {
        /// The first that is missing.
        from: u64,
    },
    /// Something else than the next one came.
    Broken,
    /// A page of history.
    Pulled,
}

/// Offsets `first` … `last` in order; nothing came when `last` is below `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whose.
    pub client: u32,
    /// On which connection.
    pub link: u32,
    /// From which channel.
    pub channel: u16,
    /// Why it begins.
    pub begin: Begin,
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// When it began.
    pub from: Micros,
    /// When the last one came.
    pub to: Micros,
}

impl Run {
    /// One in which nothing came so far, after this place.
    pub fn after(place: u64, begin: Begin, (client, link, channel): (u32, u32, u16), now: Micros) -> Run {
        Run { client, link, channel, begin, first: place + 1, last: place, from: now, to: now }
    }

    /// Takes the next arrival. If it is not the next one, this run is over, and is returned.
    pub fn take(&mut self, offset: u64, now: Micros) -> Option<Run> {
        if offset == self.last + 1 {
            self.last = offset;
            self.to = now;
            return None;
        }
        let broken = Run { begin: Begin::Broken, first: offset, last: offset, from: now, to: now, ..*self };
        Some(std::mem::replace(self, broken))
    }

    /// As the journal has it.
    pub fn json(&self) -> Value {
        json!({
            "deliveries": [self.first, self.last], "channel": self.channel, "client": self.client, "link": self.link,
            "begin": format!("{:?}", self.begin), "from_ms": self.from / 1_000,
        })
    }
}
