//! Whether a handshake is let in: the bounds of the process against what it holds.

pub mod handshakes;

use crate::close::CloseReason;

/// What the process holds, and what it may hold.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Connections at once.
    pub connections: u64,
    /// The bound on them.
    pub connections_max: u64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// The bound on it.
    pub memory_bytes_max: u64,
}

/// What follows for a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let in.
    Admit,
    /// Complete the upgrade, say why, and close: a browser can read nothing of a refused one.
    Refuse(CloseReason),
}

/// Least and greatest wait told to who is refused for want of room, in milliseconds. Room appears when
/// others leave; all coming back at once would find none.
const RETRY_MS: std::ops::RangeInclusive<u32> = 2_000..=10_000;

impl Capacity {
    /// Judges a connection that is already counted in `connections`; `random` is in `0.0 .. 1.0`.
    pub fn verdict(&self, random: f32) -> Verdict {
        let bound = if self.connections > self.connections_max {
            "limits.connections"
        } else if self.memory_bytes > self.memory_bytes_max {
            "limits.memory_bytes"
        } else {
            return Verdict::Admit;
        };
        let span = (RETRY_MS.end() - RETRY_MS.start()) as f32;
        let retry_ms = RETRY_MS.start() + (random.clamp(0.0, 1.0) * span) as u32;
        Verdict::Refuse(CloseReason::OverCapacity { bound, retry_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_that_is_hit_is_named() {
        let capacity =
            Capacity { connections: 50, connections_max: 50, memory_bytes: 10, memory_bytes_max: 10 };
        assert_eq!(capacity.verdict(0.5), Verdict::Admit);
        let refused = |capacity: Capacity, random| match capacity.verdict(random) {
            Verdict::Refuse(CloseReason::OverCapacity { bound, retry_ms }) => (bound, retry_ms),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(Capacity { connections: 51, ..capacity }, 0.0), ("limits.connections", 2_000));
        assert_eq!(refused(Capacity { memory_bytes: 11, ..capacity }, 1.0), ("limits.memory_bytes", 10_000));
    }
}
