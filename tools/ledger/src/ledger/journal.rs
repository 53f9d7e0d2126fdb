//! The ledger as a file of JSON lines with times, for a person who investigates a finding.

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
    /// Writes to this file, replacing it.
    ///
    /// # Errors
    ///
    /// Returns the error of creating the file.
    pub fn to(path: &Path) -> io::Result<Journal> {
        Ok(Journal { file: Some(BufWriter::new(File::create(path)?)), failed: None })
    }

    /// Writes an event, which is built only if there is a file.
    pub fn line(&mut self, at: Micros, event: impl FnOnce() -> Value) {
        let Some(file) = &mut self.file else { return };
        let line = json!({ "ms": at / 1_000, "event": event() });
        if let Err(error) = writeln!(file, "{line}") {
            self.file = None;
            self.failed = Some(error);
        }
    }

    /// Flushes the file.
    ///
    /// # Errors
    ///
    /// Returns the first error of the file.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.flush())
    }
}
