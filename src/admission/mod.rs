//! Admission of new connections: the bounds of the process, the rate of handshakes, and the shares of addresses in them.

pub mod address_shares;
pub mod handshakes;
pub mod places;

use crate::close::CloseReason;

/// The use and the bounds of the resources of the process.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Open connections, including the one being judged.
    pub connections: u64,
    pub connections_max: u64,
    pub memory_bytes: u64,
    pub memory_bytes_max: u64,
}

/// The decision on one handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionDecision {
    Admit,
    /// Complete the upgrade, send the reason and close, because a browser cannot read the response to a refused
    /// upgrade.
    Refuse(CloseReason),
}

/// The shortest and longest retry time sent to a client that is refused for lack of room, in milliseconds. Room
/// appears when other clients leave; if all retried at once, most would find none.
const RETRY_MS: std::ops::RangeInclusive<u32> = 2_000..=10_000;

impl Capacity {
    /// Judges a connection that `connections` already includes. `random` is in `0.0 .. 1.0`.
    pub fn verdict(&self, random: f32) -> AdmissionDecision {
        let bound = if self.connections > self.connections_max {
            "limits.connections"
        } else if self.memory_bytes > self.memory_bytes_max {
            "limits.memory_bytes"
        } else {
            return AdmissionDecision::Admit;
        };
        let span = (RETRY_MS.end() - RETRY_MS.start()) as f32;
        let retry_ms = RETRY_MS.start() + (random.clamp(0.0, 1.0) * span) as u32;
        AdmissionDecision::Refuse(CloseReason::OverCapacity { bound, retry_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_the_exceeded_bound() {
        let capacity =
            Capacity { connections: 50, connections_max: 50, memory_bytes: 10, memory_bytes_max: 10 };
        assert_eq!(capacity.verdict(0.5), AdmissionDecision::Admit);
        let refused = |capacity: Capacity, random| match capacity.verdict(random) {
            AdmissionDecision::Refuse(CloseReason::OverCapacity { bound, retry_ms }) => (bound, retry_ms),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(Capacity { connections: 51, ..capacity }, 0.0), ("limits.connections", 2_000));
        assert_eq!(refused(Capacity { memory_bytes: 11, ..capacity }, 1.0), ("limits.memory_bytes", 10_000));
    }
}
