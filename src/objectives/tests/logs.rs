//! The lines that the code under test logs.

use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

/// Keeps what is logged on one thread.
#[derive(Clone, Default)]
pub(super) struct Logs(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logs {
    pub(super) fn keep<T>(&self, act: impl FnOnce() -> T) -> T {
        let writer = self.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, act)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).expect("text")
    }

    /// The lines that have this text.
    pub(super) fn count(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }
}
