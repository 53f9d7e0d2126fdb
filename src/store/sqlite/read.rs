//! The threads that read pages and heads, one job at a time.

use super::page::LogReader;
use crate::id::Epoch;
use crate::job::{Broadcast, Completion, Read, ReadError};
use crate::metrics::store::{StoreCounters, bump};
use crate::store::answers::Answers;
use crate::store::outcome::RETRY_MS;
use crossbeam_channel::Receiver;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) struct SqliteReader {
    reader: LogReader,
    jobs: Receiver<Read>,
    answers: Answers,
    counters: Arc<StoreCounters>,
}

impl SqliteReader {
    /// Opens its connection at the first job.
    pub(super) fn new(
        path: PathBuf,
        epoch: Epoch,
        jobs: Receiver<Read>,
        answers: Answers,
        counters: Arc<StoreCounters>,
    ) -> SqliteReader {
        SqliteReader { reader: LogReader::new(path, epoch), jobs, answers, counters }
    }

    /// Runs until all senders are gone.
    pub(super) fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            match job {
                Read::Page(request) => {
                    let ticket = request.ticket;
                    let outcome = self.attempt(|reader| reader.page(&request));
                    self.answers.one(ticket.reactor, Completion::Page { ticket, outcome });
                }
                Read::Heads { ticket, channels } => {
                    let names: Vec<_> = channels.into_iter().map(|(name, _)| name).collect();
                    let outcome = self.attempt(|reader| reader.heads(&names));
                    self.answers.one(ticket.reactor, Completion::Heads { ticket, outcome });
                }
                Read::Survey(slice) => {
                    if let Ok(heads) = self.attempt(|reader| reader.heads(slice.channels())) {
                        self.answers.all(&Broadcast::Heads(Arc::from(heads)));
                        slice.answer();
                    }
                }
                Read::Stream(request) => {
                    let ticket = request.ticket;
                    self.answers
                        .one(ticket.reactor, Completion::StreamRead { ticket, outcome: Ok(Vec::new()) });
                }
                // The file belongs to this process alone, which knows what it committed.
                Read::Contradicted(contradiction) => {
                    tracing::error!(?contradiction, "store gave an offset twice");
                }
            }
        }
    }

    /// Answers every job, even one that panics; its connection is then closed.
    fn attempt<T>(
        &mut self,
        read: impl FnOnce(&mut LogReader) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        bump(&self.counters.reads);
        let reader = &mut self.reader;
        match catch_unwind(AssertUnwindSafe(|| read(reader))) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => tracing::debug!(%error, "read failed"),
            Err(_) => {
                tracing::error!("read panicked");
                self.reader.close();
            }
        }
        bump(&self.counters.read_failures);
        Err(ReadError { retry_ms: RETRY_MS })
    }
}
