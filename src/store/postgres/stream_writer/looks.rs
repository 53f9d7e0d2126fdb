//! Looks at what other instances do to the streams that are open here, and the sweep of streams that no instance has open.

use super::super::connection::StoreConnection;
use super::super::streams::{self, FoundSilent, LOST_PAGE};
use super::SharedStreamWriter;
use super::commands::{LoadOutcome, call};
use crate::store::retention::Rest;
use crate::stream::{Adoption, OverdueStream};
use crate::wire::stream::StreamId;
use std::time::Duration;

/// Streams that one statement looks at.
const LOOKS_AT_ONCE: usize = 4_096;
/// The least silence of a stream that is watched. Most producers write more often.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// Streams whose deadline is over that are opened in one turn: their texts may be 12 MiB.
const OVERDUE_AT_ONCE: usize = 100;

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

    /// Watches the streams in which nothing changes, because their instance may have died, and ends the ones whose deadline is over.
    pub(super) fn sweep(&mut self, connection: &mut StoreConnection) {
        if self.times.until_sweep().is_zero() {
            self.times.swept();
            self.watch(connection);
        }
        let overdue = self.silence.take_due(self.now(), OVERDUE_AT_ONCE);
        if !overdue.is_empty() {
            self.end_overdue(overdue, connection);
        }
        if self.times.until_slice().is_zero() {
            let rest = self.search_lost(connection);
            self.times.searched(rest);
        }
    }

    /// Finds the streams that are silent. Soon after an outage none is, because their producers may come back.
    fn watch(&mut self, connection: &mut StoreConnection) {
        if !self.times.have_worked_for(self.settings.orphan) {
            return self.silence.clear();
        }
        self.lost.begin();
        self.times.search();
        let silent =
            call(connection, |connection| streams::find_silent(connection, &self.settings, SILENT_AFTER));
        let Ok(FoundSilent { mut streams, part, without_channel }) = silent else { return };
        streams.retain(|stream| !self.ledger.has(&stream.id));
        self.silence.found(streams, part, self.now());
        if !without_channel.is_empty() {
            // The next sweep finds them again if it fails.
            let _ = call(connection, |connection| streams::close(connection, &without_channel));
        }
    }

    /// Opens the streams whose deadline is over, unless they changed since the last sweep. The ledger ends them.
    fn end_overdue(&mut self, overdue: Vec<OverdueStream>, connection: &mut StoreConnection) {
        if !self.times.have_worked_for(self.settings.orphan) {
            return self.silence.clear();
        }
        let ids: Vec<StreamId> = overdue.iter().map(|stream| stream.id.clone()).collect();
        let Ok(looks) = call(connection, |connection| streams::look(connection, &ids)) else {
            let now = self.now();
            return overdue.into_iter().for_each(|stream| self.silence.put_off(stream, now));
        };
        let is_as_before = |(stream, look): (OverdueStream, _)| (look == Some(stream.seen)).then_some(stream);
        let overdue: Vec<OverdueStream> = overdue.into_iter().zip(looks).filter_map(is_as_before).collect();
        let ids: Vec<StreamId> = overdue.iter().map(|stream| stream.id.clone()).collect();
        let outcomes = self.load(&ids, |_| Adoption::End, connection);
        let now = self.now();
        for (stream, (_, outcome)) in overdue.into_iter().zip(outcomes) {
            match outcome {
                LoadOutcome::Open => self.ledger.swept(&stream, now),
                LoadOutcome::Full(_) | LoadOutcome::NotTried | LoadOutcome::Failed => {
                    self.silence.put_off(stream, now);
                }
                LoadOutcome::Ended(_) => {}
            }
        }
    }

    /// Does a slice of the search for answers whose question is gone.
    fn search_lost(&mut self, connection: &mut StoreConnection) -> Rest {
        let now = self.now();
        let again = self.lost.take(now);
        if !again.is_empty() {
            self.end_lost(&again, connection);
        }
        if let Some(after) = self.lost.page() {
            match call(connection, |connection| streams::lost_questions(connection, after, LOST_PAGE)) {
                Ok(page) => self.lost.found(page, now),
                // The next sweep goes on there.
                Err(_) => return Rest::None,
            }
        }
        self.lost.rest()
    }

    fn end_lost(&mut self, ids: &[StreamId], connection: &mut StoreConnection) {
        // One that is not looked at again because of a failure is found by the next search.
        let Ok(lost) = call(connection, |connection| streams::still_lost(connection, ids)) else { return };
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
