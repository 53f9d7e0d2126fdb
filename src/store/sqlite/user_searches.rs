//! The turns of the searches for what erased users wrote, on the thread that writes.

use super::log::{BatchFault, Log};
use super::user_erasures::{UnfinishedErasures, UserProgress};
use super::user_search::UserSlice;
use crate::metrics::store::StoreCounters;
use crate::store::erasure_turns::ErasureTurns;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// Searches that have a turn in one round.
const SEARCHES_MAX: u32 = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct UserSearches {
    turns: ErasureTurns,
    /// Those with work to do in this round, in the order of their turns.
    waiting: VecDeque<String>,
}

impl UserSearches {
    /// Begins a round, about once a second, and counts the erasures.
    pub(super) fn begin_round(
        &mut self,
        log: &mut Log,
        now_ms: u64,
        counters: &StoreCounters,
    ) -> Result<(), BatchFault> {
        let UnfinishedErasures { searches, count, oldest_ms } = log.unfinished_erasures(SEARCHES_MAX)?;
        self.waiting = self.turns.begin_round(searches);
        counters.erasures_unfinished.store(count, Ordering::Relaxed);
        let age_ms = oldest_ms.map_or(0, |asked| now_ms.saturating_sub(asked));
        counters.erasure_age_ms.store(age_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Reads the next slice; `None` if there is nothing to do in the rest of the round.
    pub(super) fn next(&mut self, log: &mut Log, now_ms: u64) -> Result<Option<UserSlice>, BatchFault> {
        while let Some(search) = self.waiting.pop_front() {
            let Some(change) = self.turns.take(&search) else {
                self.waiting.clear();
                break;
            };
            let slice = log.next_user_slice(&search, change, now_ms);
            let slice = slice.inspect_err(|fault| self.turns.failed(&search, fault.cause()))?;
            if slice.is_some() {
                return Ok(slice);
            }
        }
        Ok(None)
    }

    /// Finishes a slice whose deletes are committed. Its search has another turn after the others.
    pub(super) fn finish(
        &mut self,
        log: &mut Log,
        slice: UserSlice,
        now_ms: u64,
    ) -> Result<UserProgress, BatchFault> {
        let finished = log.finish_user_slice(&slice, now_ms);
        let progress = finished.inspect_err(|fault| self.turns.failed(&slice.by, fault.cause()))?;
        self.turns.succeeded(&slice.by, slice.deletes.len() as u64);
        self.waiting.push_back(slice.by);
        Ok(progress)
    }
}
