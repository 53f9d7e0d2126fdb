//! Opens the streams of the store after a start.

use super::deadline::Clocks;
use super::facts::OpenQuestion;
use super::ledger::Ledger;
use super::open::{OpenStream, StreamOrigin};
use super::order::StoredStream;
use super::part::{PartFault, PartRow, decode};
use crate::clock::Moment;
use crate::wire::stream::{StreamOptions, StreamState};
use std::time::Duration;

impl<T: Copy> Ledger<T> {
    /// Opens a stream that the store has. Its producer has [`StreamSettings::orphan`](super::StreamSettings::orphan) to come back.
    pub fn restore(&mut self, stored: StoredStream, now: Moment) {
        let StoredStream { id, author, options, begun, generation, state, age, asked } = stored;
        let mut clocks = self.clocks_of_stored(&options, state, now, age);
        // The question of an answer without text may be with a backend that has not begun, so it has no producer to lose.
        if !matches!(state, StreamState::Accepted | StreamState::Processing) {
            clocks.orphaned = Some(now);
        }
        if state == StreamState::Cancelling {
            clocks.cancel_end = Some(now + self.settings.cancel);
        }
        let options = self.open_options(options);
        let question = asked.map(|age| OpenQuestion::new(now, age));
        let origin = StreamOrigin { author, options, begun, generation, state, clocks };
        self.open(&id, OpenStream { question, ..OpenStream::new(origin) });
    }

    /// The clocks of a stream that the store has. A clock has its age that may be wrong, and its producer needs the time to come back.
    pub(super) fn clocks_of_stored(
        &self,
        options: &StreamOptions,
        state: StreamState,
        now: Moment,
        age: Duration,
    ) -> Clocks {
        let mut clocks = self.clocks(options, state, now, age);
        clocks.life_end = clocks.life_end.max(now + self.settings.orphan.min(self.settings.life));
        clocks
    }

    /// Adds a row of the store to a stream that was restored, in the order of the rows. Rows of earlier generations and of streams
    /// that have ended are ignored, and so is what an earlier row has.
    pub fn restore_part(&mut self, row: &PartRow) -> Result<(), PartFault> {
        let Some(stream) = self.streams.get_mut(&row.id) else { return Ok(()) };
        if row.generation < stream.generation {
            stream.restarted = stream.restarted.saturating_add(row.body.len());
            stream.question = None;
        }
        if stream.generation != row.generation {
            return Ok(());
        }
        stream.restore(&decode(row.at, row.next, &row.body)?).ok_or(PartFault::Gap)?;
        self.recount(&row.id);
        Ok(())
    }
}
