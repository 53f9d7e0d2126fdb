//! The ledger as a file: JSON lines, each with its time, for a person who looks into a finding.

use crate::clock::Micros;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// A file of events, or none.
#[derive(Debug, Default)]
pub struct Journal {
    file: Option<BufWriter<File>>,
    failed: Option<io::Error>,
}

impl Journal {
    /// Writes to this file, which is made anew.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn to(path: &Path) -> io::Result<Journal> {
        Ok(Journal { file: Some(BufWriter::new(File::create(path)?)), failed: None })
    }

    /// One event; what it is, is asked only if somebody wants to read it.
    pub fn line(&mut self, at: Micros, event: impl FnOnce() -> Value) {
        let Some(file) = &mut self.file else { return };
        let line = json!({ "ms": at / 1_000, "event": event() });
        if let Err(error) = writeln!(file, "{line}") {
            self.file = None;
            self.failed = Some(error);
        }
    }

    /// Writes out what it holds.
    ///
    /// # Errors
    ///
    /// The first one of the file.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.flush())
    }
}
