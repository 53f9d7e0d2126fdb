//! The server process seen from outside, through `/proc`.

use std::fs;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

/// A process's resources at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) resident: u64,
    /// Resident bytes not backed by a file.
    pub(crate) anonymous: u64,
    pub(crate) descriptors: u64,
}

impl Process {
    /// Opens the process with this PID, if its `/proc` entry is readable.
    pub(crate) fn new(pid: u32) -> Result<Process, String> {
        let process = Process { folder: PathBuf::from(format!("/proc/{pid}")) };
        match process.read() {
            Some(_) => Ok(process),
            None => Err(format!("--pid {pid}: no such process, or no permission to read it")),
        }
    }

    /// Reads the process now; `None` if it has ended.
    pub(crate) fn read(&self) -> Option<Reading> {
        let memory = fs::read_to_string(self.folder.join("smaps_rollup")).ok()?;
        Some(Reading {
            resident: kib(&memory, "Rss:")? * 1024,
            anonymous: kib(&memory, "Anonymous:")? * 1024,
            descriptors: fs::read_dir(self.folder.join("fd")).ok()?.count() as u64,
        })
    }

    /// User and system time of all threads, in microseconds, from the scheduler's accounting, which is finer than the ticks
    /// of `/proc/PID/stat`.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        let mut ns = 0u64;
        for task in fs::read_dir(self.folder.join("task")).ok()? {
            // A thread that ended since the folder was listed is not counted.
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
    fn own_process_is_read_and_a_missing_one_is_not() {
        let reading = Process::new(std::process::id()).expect("ourselves").read().expect("alive");
        assert!(reading.resident >= reading.anonymous && reading.anonymous > 0 && reading.descriptors >= 3);
        assert!(Process::new(u32::MAX).is_err());
    }
}
