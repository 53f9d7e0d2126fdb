//! Publications received on one connection, stored as unbroken runs: a few numbers for many deliveries.

use crate::clock::Micros;
use serde_json::{Value, json};

/// The reason a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A subscription, which promised everything after this offset.
    Subscribed,
    /// The server sent `lag`; it continues after this offset.
    Lag {
        /// The first missing offset.
        from: u64,
    },
    /// Another offset arrived than the next one.
    Broken,
    /// A page of history.
    Pulled,
}

/// The offsets `first..=last` in order; empty if `last` is below `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    pub client: u32,
    pub link: u32,
    pub channel: u16,
    pub begin: Begin,
    pub first: u64,
    pub last: u64,
    pub from: Micros,
    /// When the last publication arrived.
    pub to: Micros,
}

impl Arrivals {
    /// Creates an empty run after this offset.
    pub fn after(
        place: u64,
        begin: Begin,
        (client, link, channel): (u32, u32, u16),
        now: Micros,
    ) -> Arrivals {
        Arrivals { client, link, channel, begin, first: place + 1, last: place, from: now, to: now }
    }

    /// Adds the next publication. If it is not the next offset, starts a new run and returns the finished one.
    pub fn take(&mut self, offset: u64, now: Micros) -> Option<Arrivals> {
        if offset == self.last + 1 {
            self.last = offset;
            self.to = now;
            return None;
        }
        let broken =
            Arrivals { begin: Begin::Broken, first: offset, last: offset, from: now, to: now, ..*self };
        Some(std::mem::replace(self, broken))
    }

    /// Formats the run for the journal.
    pub fn json(&self) -> Value {
        json!({
            "deliveries": [self.first, self.last], "channel": self.channel, "client": self.client, "link": self.link,
            "begin": format!("{:?}", self.begin), "from_ms": self.from / 1_000,
        })
    }
}
