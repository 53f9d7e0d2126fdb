//! One client as an SDK is: where it is in its channel, what it wants to say, how patient it is.

use crate::clock::{Micros, SECOND};

/// First step of the backoff, its cap, and the least it waits.
const BACKOFF: (Micros, Micros, Micros) = (SECOND / 2, 15 * SECOND, SECOND / 10);

/// What kind of program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does what clients owe.
    Good,
    /// It does not know `drain`, and waits until it is closed.
    Naive,
    /// It reads nothing for seconds, again and again.
    Slow,
}

/// A publication it wants to see acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Sent, and not answered.
    Sent,
    /// To be sent at this moment, or when there is a connection.
    Due(Micros),
}

/// One client.
#[derive(Clone, Debug)]
pub struct Client {
    /// What kind of program it is.
    pub kind: Kind,
    /// Its channel.
    pub channel: u16,
    /// It is to be connected.
    pub is_wanted: bool,
    /// The last publication it applied; `None`: it was never subscribed.
    pub last: Option<u64>,
    /// The newest it heard of.
    pub known: u64,
    /// A page of history is on its way, asked for on this connection.
    pub pulling: Option<usize>,
    /// The connection it lives on.
    pub current: Option<usize>,
    /// The connection it moves to.
    pub next: Option<usize>,
    /// Attempts since it was last stable.
    pub attempts: u32,
    /// Attempts to move.
    pub move_attempts: u32,
    /// Its one publication on the way.
    pub outgoing: Option<(u32, Outgoing)>,
    /// It was connected before.
    pub was_there: bool,
    /// It is settled, as the crowd counts it.
    pub is_settled: bool,
    /// The place it was last at.
    pub slot: u8,
}

impl Client {
    /// One that did not come yet.
    pub fn new(kind: Kind, channel: u16) -> Client {
        Client {
            kind,
            channel,
            is_wanted: false,
            last: None,
            known: 0,
            pulling: None,
            current: None,
            next: None,
            attempts: 0,
            move_attempts: 0,
            outgoing: None,
            was_there: false,
            is_settled: false,
            slot: 0,
        }
    }

    /// Takes a publication strictly: true exactly when it was the next one. A later one is remembered as missing.
    pub fn apply(&mut self, offset: u64) -> bool {
        let last = self.last.unwrap_or(0);
        self.known = self.known.max(offset);
        if offset != last + 1 {
            return false;
        }
        self.last = Some(offset);
        true
    }

    /// Whether it knows of something it does not have.
    pub fn lacks(&self) -> bool {
        self.last.is_some_and(|last| last < self.known)
    }
}

/// How long to wait before attempt `attempts`, with `random` in 0 … 1.
pub fn backoff(attempts: u32, random: f64) -> Micros {
    let (first, most, least) = BACKOFF;
    let cap = first.saturating_mul(1 << attempts.min(16)).min(most);
    ((cap as f64 * random) as Micros).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_one_is_applied_and_a_hole_is_remembered() {
        let mut client = Client::new(Kind::Good, 0);
        client.last = Some(4);
        assert!(client.apply(5) && !client.apply(5) && !client.apply(8));
        assert_eq!((client.last, client.known, client.lacks()), (Some(5), 8, true));
        assert!(client.apply(6) && client.apply(7) && client.apply(8) && !client.lacks());
    }

    #[test]
    fn the_backoff_is_that_of_the_protocol() {
        assert_eq!(backoff(0, 1.0), SECOND / 2);
        assert_eq!(backoff(3, 1.0), 4 * SECOND);
        assert_eq!(backoff(60, 1.0), 15 * SECOND);
        assert_eq!(backoff(60, 0.0), SECOND / 10);
    }
}
