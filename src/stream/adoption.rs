//! The bound on streams that an instance takes over from others. Each counts for its user, like one that begins here.

use super::fate::LoadedStream;
use super::ledger::Ledger;
use super::order::StoredStream;
use super::output::StreamOutput;
use super::settings::{RETRY_MS, STREAM_BYTES};
use super::waiting::GivenUp;
use crate::id::UserName;
use crate::wire::stream::{StreamFault, StreamId, StreamState};

/// The purpose for which a stream is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// To go on here. As with a begin, a quarter of the memory stays free, so that open streams can grow.
    Continue,
    /// To end here soon. It may take that quarter.
    End,
}

impl<T: Copy> Ledger<T> {
    /// True if a loaded stream is open here, or if there is memory to open it.
    pub fn has_room_for(&self, loaded: &LoadedStream, adoption: Adoption) -> bool {
        let (payer, bytes) = (loaded.stream.payer(), loaded.bytes());
        self.has(&loaded.stream.id)
            || match adoption {
                Adoption::Continue => self.shares.admits_begin(payer, bytes, &self.settings),
                Adoption::End => self.shares.has_memory(payer, bytes, &self.settings),
            }
    }

    /// Lets go of a stream that grows at another instance, if there is no memory for it: that instance watches over it. The producers here
    /// are to send again what waits.
    pub(super) fn let_go_if_full(&mut self, id: &StreamId, out: &mut StreamOutput<T>) {
        let Ledger { streams, shares, settings, .. } = self;
        let Some(stream) = streams.get_mut(id) else { return };
        let may_go = matches!(stream.state, StreamState::Streaming | StreamState::Paused)
            && stream.ending.is_none()
            && stream.flight.is_none();
        if !may_go || shares.has_memory(stream.payer(), 0, settings) {
            return;
        }
        let full = StreamFault::Overloaded { retry_ms: RETRY_MS };
        stream.waiting.give_up(id, full, GivenUp::WithRestarts, out);
        if stream.waiting.is_empty() {
            self.close(id, out);
        }
    }
}

impl LoadedStream {
    /// About the bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        let text: usize = self.parts.iter().map(|part| part.body.len()).sum();
        STREAM_BYTES + self.stream.begun.len() + text
    }
}

impl StoredStream {
    /// The user whose share of memory the stream takes, as for one that is open.
    fn payer(&self) -> &UserName {
        self.options.asker.as_ref().filter(|_| self.options.answer.is_some()).unwrap_or(&self.author)
    }
}
