//! The last sessions that ended, so that an operator can say why a client was disconnected.
//!
//! A ring of fixed size: storing an end allocates nothing and costs the open sessions nothing.

use super::Engine;
use crate::clock::Now;
use crate::close::CloseReason;
use crate::session::{ClientText, Life};
use crate::slo::ending::{self, EndingRule};
use crate::wire::short_text::ShortText;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The ends that are kept.
pub const ENDED_MAX: usize = 4_096;
/// The memory of all of them.
const ENDED_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(ENDED_MAX * size_of::<EndedSession>() <= ENDED_BYTES_MAX);

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionEnding<'a> {
    /// The close code; 1006 if there was no close frame.
    pub(super) code: u16,
    pub(super) reason: &'static str,
    /// The reference of an outage in the log, or nothing.
    pub(super) reference: &'a str,
    /// The reason that the end owes its client.
    pub(super) rule: EndingRule,
}

impl Engine {
    /// The last sessions that ended.
    pub fn ended(&self) -> &Ended {
        &self.ended
    }
}

impl SessionEnding<'_> {
    /// The connection broke, or its client left without a close frame.
    pub(super) const LOST: SessionEnding<'static> =
        SessionEnding { code: 1006, reason: "lost", reference: "", rule: EndingRule::Unreachable };

    pub(super) fn of(reason: &CloseReason) -> SessionEnding<'_> {
        let reference = match reason {
            CloseReason::Unavailable { reference, .. } => reference,
            _ => "",
        };
        SessionEnding { code: reason.code(), reason: reason.word(), reference, rule: ending::rule(reason) }
    }
}

/// A session that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// The name that `connected` gave the connection.
    pub connection: u64,
    pub ended_unix_ms: u64,
    /// From `connect` to the end, at most 49 days.
    pub duration_ms: u32,
    /// The close code; 1006 if there was no close frame.
    pub code: u16,
    /// The word of `bye`, `closed` if the client closed, or `lost`.
    pub reason: &'static str,
    address: [u8; 16],
    reference: ShortText<6>,
    client: ClientText,
    user: ShortText<128>,
}

impl EndedSession {
    fn new(
        connection: u64,
        life: &Life,
        address: IpAddr,
        ending: SessionEnding<'_>,
        now: Now,
    ) -> EndedSession {
        let lasted = now.at.since(life.opened);
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        EndedSession {
            connection,
            ended_unix_ms: now.unix_ms,
            duration_ms: u32::try_from(lasted.as_millis()).unwrap_or(u32::MAX),
            code: ending.code,
            reason: ending.reason,
            address: address.octets(),
            reference: ShortText::of(ending.reference),
            client: life.client,
            user: ShortText::of(life.user.as_str()),
        }
    }

    pub fn opened_unix_ms(&self) -> u64 {
        self.ended_unix_ms.saturating_sub(self.duration_ms.into())
    }

    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms.into())
    }

    pub fn address(&self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(self.address)).to_canonical()
    }

    pub fn user(&self) -> &str {
        self.user.as_str()
    }

    /// `client` of `connect`; empty if there was none.
    pub fn client(&self) -> &str {
        self.client.as_str()
    }

    /// The reference of the outage that ended it; empty if none did.
    pub fn reference(&self) -> &str {
        self.reference.as_str()
    }
}

/// The last [`ENDED_MAX`] ends of a reactor.
#[derive(Debug)]
pub struct Ended {
    /// In a circle: the end with number `n` is at `n % ENDED_MAX`.
    ring: Vec<EndedSession>,
    count: u64,
}

impl Ended {
    pub(super) fn new() -> Ended {
        Ended { ring: Vec::with_capacity(ENDED_MAX), count: 0 }
    }

    pub(super) fn push(
        &mut self,
        connection: u64,
        life: &Life,
        address: IpAddr,
        ending: SessionEnding<'_>,
        now: Now,
    ) {
        let session = EndedSession::new(connection, life, address, ending, now);
        match self.ring.get_mut(place(self.count)) {
            Some(oldest) => *oldest = session,
            None => self.ring.push(session),
        }
        self.count += 1;
    }

    /// The number of ends so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The ends after the first `seen`, oldest first, as far as they are kept.
    pub fn since(&self, seen: u64) -> impl Iterator<Item = &EndedSession> {
        let oldest = self.count.saturating_sub(ENDED_MAX as u64).max(seen);
        (oldest..self.count).filter_map(|number| self.ring.get(place(number)))
    }

    /// The ends that are kept, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &EndedSession> {
        let oldest = self.count.saturating_sub(ENDED_MAX as u64);
        (oldest..self.count).rev().filter_map(|number| self.ring.get(place(number)))
    }
}

fn place(number: u64) -> usize {
    (number % ENDED_MAX as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::flag::FlagSet;
    use crate::id::UserName;

    fn life(client: &str) -> Life {
        Life {
            user: UserName::parse("ann").expect("valid"),
            client: ClientText::of(client),
            opened: Moment::from_micros(1_000_000),
            flags: FlagSet::default(),
        }
    }

    fn now(ms: u64) -> Now {
        Now { at: Moment::from_micros(ms * 1_000), unix_ms: 1_700_000_000_000 + ms }
    }

    fn push(ended: &mut Ended, connection: u64) {
        let reason = CloseReason::Unavailable {
            dependency: "store".into(),
            retry_ms: 1,
            reference: "a1b2c3".into(),
            message: "".into(),
        };
        let address = IpAddr::from([192, 0, 2, 7]);
        ended.push(connection, &life("demo/1"), address, SessionEnding::of(&reason), now(3_500));
    }

    #[test]
    fn end_has_everything_that_explains_it() {
        let mut ended = Ended::new();
        push(&mut ended, 7);
        let session = ended.newest().next().expect("one");
        assert_eq!((session.connection, session.code, session.reason), (7, 1011, "unavailable"));
        assert_eq!((session.user(), session.client(), session.reference()), ("ann", "demo/1", "a1b2c3"));
        assert_eq!((session.ended_unix_ms, session.duration_ms), (1_700_000_003_500, 2_500));
        assert_eq!(session.opened_unix_ms(), 1_700_000_001_000);
        assert_eq!(session.address(), IpAddr::from([192, 0, 2, 7]));
    }

    #[test]
    fn ring_keeps_the_newest_ends_and_never_grows() {
        let mut ended = Ended::new();
        let room = ended.ring.capacity();
        for connection in 0..2 * ENDED_MAX as u64 + 3 {
            push(&mut ended, connection);
        }
        let newest: Vec<u64> = ended.newest().map(|session| session.connection).collect();
        let last = 2 * ENDED_MAX as u64 + 2;
        assert_eq!((newest.len(), newest[0], newest[ENDED_MAX - 1]), (ENDED_MAX, last, ENDED_MAX as u64 + 3));
        let since: Vec<u64> = ended.since(last - 1).map(|session| session.connection).collect();
        assert_eq!(since, [last - 1, last]);
        assert_eq!(ended.since(0).count(), ENDED_MAX, "older ones are gone");
        assert_eq!(ended.ring.capacity(), room);
    }
}
