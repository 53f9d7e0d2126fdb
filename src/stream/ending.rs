//! The end of an open stream, as it is to be committed.

use super::fence::StreamFence;
use super::flush::EndRow;
use super::open::{OpenStream, PendingEnd, StreamEnder};
use super::size::end_data;
use crate::wire::stream::{EndCause, StreamEnd, StreamId};

impl<T: Copy> OpenStream<T> {
    /// The end as it is to be committed, with the text of everything that was taken; `None` if the stream does not end.
    pub(super) fn end_row(&self, id: &StreamId) -> Option<EndRow> {
        let PendingEnd { by, .. } = self.ending.as_ref()?;
        let (end, cause) = self.end_cause()?;
        let data = match by {
            StreamEnder::Producer(Some(data)) => data.clone(),
            StreamEnder::Producer(None) | StreamEnder::Gateway(_) | StreamEnder::Lasting(_) => {
                self.end_data(cause)
            }
        };
        // Silence and the lack of a producer are known of this instance only, and the age of a stream of others by the store's clock.
        let touched = match (cause, by) {
            (Some(EndCause::Idle | EndCause::ProducerLost), _) => Some(self.touched),
            // Another instance may have had the question taken.
            (Some(EndCause::NotDelivered), StreamEnder::Gateway(_)) => Some(self.touched),
            (Some(EndCause::Life), _) if self.clocks.swept.is_some() => Some(self.touched),
            (Some(_) | None, _) => None,
        };
        Some(EndRow {
            id: id.clone(),
            author: self.author.clone(),
            generation: self.head,
            fence: StreamFence {
                generation: self.generation,
                next: self.damaged.unwrap_or(self.text.next()),
                touched,
            },
            end,
            cause,
            data,
        })
    }

    /// The end that is to be committed, with the reason of the gateway if it has one.
    pub(super) fn end_cause(&self) -> Option<(StreamEnd, Option<EndCause>)> {
        let PendingEnd { end, by, .. } = self.ending.as_ref()?;
        let cause = match by {
            StreamEnder::Producer(_) => None,
            StreamEnder::Gateway(cause) => *cause,
            StreamEnder::Lasting(cause) => Some(*cause),
        };
        Some((*end, cause))
    }

    fn end_data(&self, cause: Option<EndCause>) -> Box<str> {
        let mut text = self.text_of_head().cloned().unwrap_or_default();
        self.waiting_pieces().for_each(|pieces| text.extend(pieces));
        end_data(&text, &self.begun, self.options.keep, cause)
    }
}
