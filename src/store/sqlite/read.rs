//! The threads that read pages and heads, one job at a time.

use super::page::LogReader;
use crate::job::{Broadcast, Completion, Read, ReadError, StreamRequest};
use crate::metrics::store::{StoreCounters, bump};
use crate::metrics::streams::StreamCounters;
use crate::store::answers::Answers;
use crate::store::open_streams::OpenStreams;
use crate::store::outcome::RETRY_MS;
use crate::stream::EndFate;
use crate::wire::stream::StreamId;
use crossbeam_channel::Receiver;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(super) struct SqliteReader {
    reader: LogReader,
    jobs: Receiver<Read>,
    answers: Answers,
    counters: Arc<StoreCounters>,
    open: Arc<OpenStreams>,
    of_streams: Arc<StreamCounters>,
}

impl SqliteReader {
    pub(super) fn new(
        reader: LogReader,
        jobs: Receiver<Read>,
        answers: Answers,
        counters: Arc<StoreCounters>,
        (open, of_streams): (Arc<OpenStreams>, Arc<StreamCounters>),
    ) -> SqliteReader {
        SqliteReader { reader, jobs, answers, counters, open, of_streams }
    }

    /// Runs until all senders are gone.
    pub(super) fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            match job {
                Read::Page(request) => {
                    let ticket = request.ticket;
                    let mut outcome = self.attempt(|reader| reader.page(&request));
                    if let Ok(page) = &mut outcome {
                        page.has_streams = self.open.has(&request.channel);
                    }
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
                    let completion = self.read_stream(&request);
                    self.answers.one(ticket.reactor, completion);
                }
                // The file belongs to this process alone, which knows what it committed.
                Read::Contradicted(contradiction) => {
                    tracing::error!(?contradiction, "store gave an offset twice");
                }
            }
        }
    }

    fn read_stream(&mut self, request: &StreamRequest) -> Completion {
        let ticket = request.ticket;
        let open = self.open.read(request, &self.of_streams);
        let ended = match request.offset {
            Some(offset) if open.is_empty() => {
                let id = StreamId { channel: request.channel.clone(), offset };
                self.attempt(|reader| reader.stream_end(&id))
            }
            Some(_) | None => Ok(None),
        };
        match ended {
            Ok(Some(EndFate { end, edit })) => Completion::StreamEnded { ticket, end, edit },
            Ok(None) => Completion::StreamRead { ticket, outcome: Ok(open) },
            Err(error) => Completion::StreamRead { ticket, outcome: Err(error) },
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
