//! Looks at what other instances do to the streams that are open here, and the sweep of streams that no instance has open.

use super::super::connection::StoreConnection;
use super::super::streams::{self, SweptStream};
use super::SharedStreamWriter;
use super::commands::{LoadOutcome, call};
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

    /// Finds the streams whose deadline is over by the clock of the database, because no instance has them open, and ends them. Not
    /// before commits have worked for a while: their producers may come back after an outage.
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
        let found: Vec<SweptStream> = found.into_iter().filter(|swept| !self.ledger.has(&swept.id)).collect();
        let ids: Vec<StreamId> = found.iter().map(|swept| swept.id.clone()).collect();
        for ((id, outcome), SweptStream { end, cause, .. }) in
            self.load(&ids, connection).into_iter().zip(found)
        {
            if outcome == LoadOutcome::Open {
                self.ledger.interrupt(&id, end, cause);
            }
        }
    }
}
