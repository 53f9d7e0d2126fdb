//! Looks at what other instances do to the streams that are open here, and the sweep of streams that no instance has open.

use super::super::connection::StoreConnection;
use super::super::streams;
use super::SharedStreamWriter;
use super::commands::{LoadOutcome, call};
use crate::stream::Adoption;
use crate::wire::stream::StreamId;

/// Streams that one statement looks at.
const LOOKS_AT_ONCE: usize = 4_096;

impl SharedStreamWriter {
    /// Compares the open streams with the store once a second, and loads the ones that others have changed.
    pub(super) fn look(&mut self, connection: &mut StoreConnection) {
        if !self.times.until_look().is_zero() {
            return;
        }
        self.times.looked();
        let ids = self.ledger.to_look_at();
        for some in ids.chunks(LOOKS_AT_ONCE) {
            let Ok(looks) = call(connection, |connection| streams::look(connection, some)) else { return };
            let now = self.now();
            for (id, look) in some.iter().zip(looks) {
                self.ledger.looked(id, look, now, &mut self.out);
            }
        }
        self.catch_up(connection);
    }

    /// Finds the streams whose deadline is over by the clock of the database, because no instance has them open, and opens them: the
    /// ledger ends them if no look shows a sign of life. Not soon after an outage: their producers may come back.
    pub(super) fn sweep(&mut self, connection: &mut StoreConnection) {
        if !self.times.until_sweep().is_zero() {
            return;
        }
        self.times.swept();
        if !self.times.have_worked_for(self.settings.orphan) {
            return;
        }
        let Ok(found) = call(connection, |connection| streams::sweep(connection, &self.settings)) else {
            return;
        };
        let ids: Vec<StreamId> = found.into_iter().filter(|id| !self.ledger.has(id)).collect();
        for (id, outcome) in self.load(&ids, |_| Adoption::End, connection) {
            if outcome == LoadOutcome::Open {
                self.ledger.swept(&id, self.now());
            }
        }
        self.end_lost(connection);
    }

    /// Ends the answers that wait for a backend, and whose question is deleted or not retained. Only what two sweeps in a row found: an
    /// instance that has stored a delete withdraws the answer itself a moment later, and that is a cancel.
    fn end_lost(&mut self, connection: &mut StoreConnection) {
        let Ok(found) = call(connection, streams::lost_questions) else { return };
        let (lost, new): (Vec<_>, Vec<_>) = found.into_iter().partition(|id| self.lost.contains(id));
        self.lost = new.into_iter().collect();
        if lost.is_empty() {
            return;
        }
        let absent: Vec<StreamId> = lost.iter().filter(|id| !self.ledger.has(id)).cloned().collect();
        // Also the ones that are open here: another instance may have taken one since the last look.
        for (id, outcome) in self.refresh(&lost, Adoption::End, connection) {
            if outcome == LoadOutcome::Open {
                self.ledger.lose_question(&id);
            }
        }
        for id in &absent {
            self.ledger.release(id, &mut self.out);
        }
    }
}
