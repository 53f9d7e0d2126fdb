//! Bounds that the machine sets for this process: descriptors, connections and memory.

use crate::limits::{Limits, REFUSALS_AT_ONCE, RESERVED_DESCRIPTORS};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::read_to_string;
use std::time::Duration;

/// A table of this many descriptors takes 8 MiB; larger tables grow as they are used.
const TABLE_MAX: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessBounds {
    /// After the limit was raised.
    pub(super) descriptors: u64,
    /// `limits.connections`, or as many as the descriptors allow.
    pub(super) connections: u64,
    /// Resident memory above which handshakes are refused.
    pub(super) memory_bytes: u64,
}

impl ProcessBounds {
    /// Raises the descriptor limit to the hard limit and computes the bounds.
    pub(super) fn settle(limits: &Limits, reactors: usize) -> Result<ProcessBounds, String> {
        let descriptors = raise_descriptors();
        let set_aside = RESERVED_DESCRIPTORS + REFUSALS_AT_ONCE as u64 + 8 * reactors as u64;
        let possible = descriptors.saturating_sub(set_aside);
        if possible == 0 {
            return Err(format!(
                "the descriptor limit is {descriptors}, but more than {set_aside} are needed before the first connection: \
                 raise it (ulimit -n, or LimitNOFILE= of the unit)"
            ));
        }
        let connections = match u64::from(limits.connections) {
            0 => possible,
            wanted if wanted > possible => {
                tracing::warn!(
                    wanted,
                    possible,
                    hint = "raise LimitNOFILE or ulimit -n",
                    "limits.connections exceeds the descriptor limit"
                );
                possible
            }
            wanted => wanted,
        };
        let memory_bytes = match limits.memory_bytes {
            0 => machine_bytes() / 10 * 9,
            bytes => bytes,
        };
        Ok(ProcessBounds { descriptors, connections, memory_bytes })
    }
}

/// Makes the kernel grow the table of descriptors to its final size now.
///
/// The table grows by doubling. In a process of several threads, each time the kernel waits until no thread can be reading the
/// old table (`synchronize_rcu` in `expand_fdtable`). For tens of milliseconds, in the middle of a storm, that blocks an
/// accept and every connection of its reactor. The table costs eight bytes per descriptor.
pub(super) fn make_room(descriptors: u64) {
    let last = descriptors.min(TABLE_MAX).saturating_sub(1);
    let (Ok(last), Ok(any)) = (i32::try_from(last), std::fs::File::open("/dev/null")) else { return };
    // The descriptor is closed at once; the table keeps its size.
    if let Err(error) = rustix::io::fcntl_dupfd_cloexec(&any, last) {
        tracing::debug!(%error, "descriptor table not preallocated");
    }
}

/// The limit that a gateway started from here would raise its own to.
pub(super) fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

fn raise_descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "descriptor limit not raised");
            before.unwrap_or(u64::MAX)
        }
    }
}

/// The memory of the control group or of the machine, whichever is less; unbounded if neither can be read.
fn machine_bytes() -> u64 {
    let group = own_group_bytes();
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim();
        line.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    });
    group.into_iter().chain(machine).min().unwrap_or(u64::MAX)
}

/// The least `memory.max` of the control groups of this process, from its own up to the root (version 2).
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

/// The number of open descriptors; 0 if they cannot be counted.
pub(super) fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// The processor time of all threads since the start.
pub(super) fn cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.try_into().unwrap_or(0), used.tv_nsec.try_into().unwrap_or(0))
}

/// Resident memory; 0 if it cannot be read.
pub(super) fn resident_bytes() -> u64 {
    let kib = read_to_string("/proc/self/status").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    kib.unwrap_or(0) * 1024
}
