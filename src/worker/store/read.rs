//! A thread that reads pages and heads, one job at a time.

use super::sqlite::log::RETRY_MS;
use super::sqlite::page::LogReader;
use super::tell::Voice;
use crate::id::Epoch;
use crate::job::{Completion, Live, Read, ReadError};
use crate::metrics::store::{StoreCounters, bump};
use crossbeam_channel::Receiver;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

/// A read thread.
pub(super) struct ReadWorker {
    reader: LogReader,
    jobs: Receiver<Read>,
    voice: Voice,
    counters: Arc<StoreCounters>,
}

impl ReadWorker {
    /// It opens its connection with the first job.
    pub(super) fn new(
        path: PathBuf,
        epoch: Epoch,
        jobs: Receiver<Read>,
        voice: Voice,
        counters: Arc<StoreCounters>,
    ) -> ReadWorker {
        ReadWorker { reader: LogReader::new(path, epoch), jobs, voice, counters }
    }

    /// Until all senders are gone.
    pub(super) fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            match job {
                Read::Page(request) => {
                    let ticket = request.ticket;
                    let outcome = self.attempt(|reader| reader.page(&request));
                    self.voice.one(ticket.reactor, Completion::Page { ticket, outcome });
                }
                Read::Heads { ticket, channels } => {
                    let outcome = self.attempt(|reader| reader.heads(&channels));
                    self.voice.one(ticket.reactor, Completion::Heads { ticket, outcome });
                }
                Read::Survey(slice) => {
                    if let Ok(heads) = self.attempt(|reader| reader.heads(slice.channels())) {
                        self.voice.all(&Live::Heads(Arc::from(heads)));
                        slice.answer();
                    }
                }
            }
        }
    }

    /// Every job is answered, also one that panics: its connection is then thrown away.
    fn attempt<T>(
        &mut self,
        read: impl FnOnce(&mut LogReader) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        bump(&self.counters.reads);
        let reader = &mut self.reader;
        match catch_unwind(AssertUnwindSafe(|| read(reader))) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => tracing::debug!(%error, "a read failed"),
            Err(_) => {
                tracing::error!("a read panicked");
                self.reader.close();
            }
        }
        bump(&self.counters.read_failures);
        Err(ReadError { retry_ms: RETRY_MS })
    }
}
