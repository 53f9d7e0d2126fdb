//! What the machine lets this process hold, settled once at the start.

use crate::limits::{Limits, REFUSALS_AT_ONCE, RESERVED_DESCRIPTORS};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::read_to_string;

/// Larger tables grow as they are used: this one takes 8 MiB.
const TABLE_MAX: u64 = 1 << 20;

/// Bounds of the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// Descriptors, after the limit was raised.
    pub(super) descriptors: u64,
    /// Connections: `limits.connections`, or what the descriptors leave.
    pub(super) connections: u64,
    /// Resident memory past which handshakes are refused.
    pub(super) memory_bytes: u64,
}

impl Capacity {
    /// Raises the descriptor limit to the hard limit and works the bounds out.
    pub(super) fn settle(limits: &Limits, reactors: usize) -> Result<Capacity, String> {
        let descriptors = raise_descriptors();
        let set_aside = RESERVED_DESCRIPTORS + REFUSALS_AT_ONCE as u64 + 8 * reactors as u64;
        let possible = descriptors.saturating_sub(set_aside);
        if possible == 0 {
            return Err(format!(
                "the process may have {descriptors} descriptors and needs more than {set_aside} before the first \
                 connection; raise the limit (ulimit -n, or LimitNOFILE= of the unit)"
            ));
        }
        let connections = match u64::from(limits.connections) {
            0 => possible,
            wanted if wanted > possible => {
                tracing::warn!(
                    wanted,
                    possible,
                    "limits.connections is more than the descriptor limit allows; raise LimitNOFILE or ulimit -n"
                );
                possible
            }
            wanted => wanted,
        };
        let memory_bytes = match limits.memory_bytes {
            0 => machine_bytes() / 10 * 9,
            bytes => bytes,
        };
        Ok(Capacity { descriptors, connections, memory_bytes })
    }
}

/// Has the kernel make the table of descriptors as large as it will ever have to be.
///
/// It grows by doubling, and in a process of several threads each time waits until no thread can be reading the old one
/// (`synchronize_rcu` in the kernel's `expand_fdtable`): some tens of milliseconds in which an accept stands still, and
/// with it everybody on that reactor, in the middle of a storm. The table costs eight bytes a descriptor.
pub(super) fn make_room(descriptors: u64) {
    let last = descriptors.min(TABLE_MAX).saturating_sub(1);
    let (Ok(last), Ok(any)) = (i32::try_from(last), std::fs::File::open("/dev/null")) else { return };
    // It is closed at once; the table stays.
    if let Err(error) = rustix::io::fcntl_dupfd_cloexec(&any, last) {
        tracing::debug!(%error, "the table of descriptors grows as it is used");
    }
}

fn raise_descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the descriptor limit");
            before.unwrap_or(u64::MAX)
        }
    }
}

/// What the control group allows, else what the machine has; no bound where neither can be read.
fn machine_bytes() -> u64 {
    let group = own_group_bytes();
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim();
        line.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    });
    group.into_iter().chain(machine).min().unwrap_or(u64::MAX)
}

/// The least `memory.max` of the control groups this process is in, from its own up to the root (version 2).
fn own_group_bytes() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut folder = std::path::PathBuf::from("/sys/fs/cgroup").join(own.trim_start_matches('/'));
    let mut least: Option<u64> = None;
    while folder.starts_with("/sys/fs/cgroup") {
        let bytes = read_to_string(folder.join("memory.max")).ok().and_then(|text| text.trim().parse().ok());
        least = least.into_iter().chain(bytes).min();
        folder.pop();
    }
    least
}

/// Descriptors open now; 0 where they cannot be counted.
pub(super) fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// Resident memory now; 0 where it cannot be read.
pub(super) fn resident_bytes() -> u64 {
    let kib = read_to_string("/proc/self/status").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    kib.unwrap_or(0) * 1024
}
