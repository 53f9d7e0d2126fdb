//! The server seen from outside: what `/proc` tells of it.

use std::fs;
use std::path::PathBuf;

/// A process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

/// What it holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Resident bytes.
    pub(crate) resident: u64,
    /// Of these, bytes that are no file's.
    pub(crate) anonymous: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
}

impl Process {
    /// The process with this number, if it may be looked at.
    pub(crate) fn new(pid: u32) -> Result<Process, String> {
        let process = Process { folder: PathBuf::from(format!("/proc/{pid}")) };
        match process.read() {
            Some(_) => Ok(process),
            None => Err(format!("--pid {pid}: there is no such process, or it may not be looked at")),
        }
    }

    /// Reads it now; `None` when it is gone.
    pub(crate) fn read(&self) -> Option<Reading> {
        let memory = fs::read_to_string(self.folder.join("smaps_rollup")).ok()?;
        Some(Reading {
            resident: kib(&memory, "Rss:")? * 1024,
            anonymous: kib(&memory, "Anonymous:")? * 1024,
            descriptors: fs::read_dir(self.folder.join("fd")).ok()?.count() as u64,
        })
    }

    /// User and system time of all its threads, in microseconds: the scheduler's own account, which is finer than
    /// the ticks of `/proc/PID/stat`.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        let mut ns = 0u64;
        for task in fs::read_dir(self.folder.join("task")).ok()? {
            // A thread that ended in between is not counted.
            let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else { continue };
            ns += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
        }
        Some(ns as f64 / 1e3)
    }
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read_and_a_missing_one_cannot() {
        let reading = Process::new(std::process::id()).expect("ourselves").read().expect("alive");
        assert!(reading.resident >= reading.anonymous && reading.anonymous > 0 && reading.descriptors >= 3);
        assert!(Process::new(u32::MAX).is_err());
    }
}
