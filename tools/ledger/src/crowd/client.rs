//! One client, modelled on an SDK: its position in its channel, its publication, its backoff.

use super::role::Role;
use crate::clock::{Micros, SECOND};

/// First step, cap and minimum of the reconnect backoff.
const BACKOFF: (Micros, Micros, Micros) = (SECOND / 2, 15 * SECOND, SECOND / 10);

/// The behaviour of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Follows all rules for clients.
    Good,
    /// Ignores `drain` and waits until it is closed.
    Naive,
    /// Repeatedly stops reading for seconds.
    Slow,
    /// Leaves for seconds and comes back.
    Visitor,
    /// Belongs to a user that will be blocked, or whose tokens will be revoked; then it stays away.
    ShutOut,
}

/// The state of a publication that the client wants acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Sent, not answered.
    Sent,
    /// To be sent at this time, or as soon as there is a connection.
    Due(Micros),
}

/// One client.
#[derive(Clone, Debug)]
pub struct Client {
    pub role: Role,
    pub channel: u16,
    /// True if the scenario wants it connected.
    pub is_wanted: bool,
    /// The last publication it applied; `None` if it was never subscribed.
    pub last: Option<u64>,
    /// The newest offset it has heard of.
    pub known: u64,
    /// The connection on which it has requested a page of history.
    pub pulling: Option<usize>,
    /// The connection it uses.
    pub current: Option<usize>,
    /// The connection it is moving to.
    pub next: Option<usize>,
    /// Attempts since it was last stable.
    pub attempts: u32,
    /// Attempts to move.
    pub move_attempts: u32,
    /// Its one publication in flight, and the state of that.
    pub outgoing: Option<(u32, Outgoing)>,
    /// The place that the server named for its move.
    pub hint: Option<u8>,
    /// True if it was connected before.
    pub was_there: bool,
    /// True if the crowd counts it as settled.
    pub is_settled: bool,
    /// The place of its last gateway.
    pub slot: u8,
}

impl Client {
    /// Creates a client that has not connected yet.
    pub fn new(role: Role, channel: u16) -> Client {
        Client {
            role,
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
            hint: None,
            was_there: false,
            is_settled: false,
            slot: 0,
        }
    }

    /// Applies a publication if it is the next one, and returns true; otherwise remembers a hole.
    pub fn apply(&mut self, offset: u64) -> bool {
        let last = self.last.unwrap_or(0);
        self.known = self.known.max(offset);
        if offset != last + 1 {
            return false;
        }
        self.last = Some(offset);
        true
    }

    /// True if it knows of publications that it does not have.
    pub fn lacks(&self) -> bool {
        self.last.is_some_and(|last| last < self.known)
    }
}

/// The wait before attempt `attempts`, with `random` in 0..1.
pub fn backoff(attempts: u32, random: f64) -> Micros {
    let (first, most, least) = BACKOFF;
    let cap = first.saturating_mul(1 << attempts.min(16)).min(most);
    ((cap as f64 * random) as Micros).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_publication_is_applied_and_a_hole_is_remembered() {
        let mut client = Client::new(Kind::Good.into(), 0);
        client.last = Some(4);
        assert!(client.apply(5) && !client.apply(5) && !client.apply(8));
        assert_eq!((client.last, client.known, client.lacks()), (Some(5), 8, true));
        assert!(client.apply(6) && client.apply(7) && client.apply(8) && !client.lacks());
    }

    #[test]
    fn backoff_is_that_of_the_protocol() {
        assert_eq!(backoff(0, 1.0), SECOND / 2);
        assert_eq!(backoff(3, 1.0), 4 * SECOND);
        assert_eq!(backoff(60, 1.0), 15 * SECOND);
        assert_eq!(backoff(60, 0.0), SECOND / 10);
    }
}
