//! The faults of a schedule.

/// A fault, which ends before everything is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    RedisDown,
    RedisEmptied,
    /// A replica without the newest writes is promoted.
    RedisOlder,
    /// Instance 1 does not reach Redis.
    CutOff,
    /// Instance 1 gets no messages.
    Deaf,
    /// Instance 2 is killed, and starts again; some of its clients return elsewhere.
    Killed,
    /// Instance 2 stops, and goes on.
    Stopped,
    /// Instance 1 writes slowly, and has so much to write that much waits.
    Storm,
}

impl Fault {
    /// One to three faults.
    pub(super) fn random(seed: u64) -> Vec<Fault> {
        let all = [
            Fault::RedisDown,
            Fault::RedisEmptied,
            Fault::RedisOlder,
            Fault::CutOff,
            Fault::Deaf,
            Fault::Killed,
            Fault::Stopped,
        ];
        let mut random = fastrand::Rng::with_seed(seed ^ 0xFA);
        let mut faults: Vec<Fault> =
            (0..random.usize(1..=3)).map(|_| all[random.usize(0..all.len())]).collect();
        faults.dedup();
        faults
    }
}
