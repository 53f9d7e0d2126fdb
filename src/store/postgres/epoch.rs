//! The epoch by which this process knows the store's logs.
//!
//! An operator who replaces it (`seawall store new-epoch`) declares that the logs may have lost what clients have seen. A
//! process that continued would take new publications for known ones by their offsets. So from the first answer with another
//! epoch, the store only refuses, and the process has to be restarted.
//!
//! Four answers prove such a loss without the operator: a new publication gets an offset that this process acknowledged, or one
//! under which subscribers were sent another publication, or a head is below an offset that was known before it was read, and still is
//! over a [new connection](super::suspicion), or the text of an open stream is likewise shorter than what was committed. From then on the store refuses writes until the epoch is replaced.

use super::fault::{CallFault, Fate};
use super::suspicion::{HeadsVerdict, LossSuspicion};
use crate::health::finding::{Cause, Fault};
use crate::hub::Contradiction;
use crate::id::{ChannelName, Epoch, Offset};
use crate::metrics::store::{StoreCounters, bump};
use crate::wire::push::LogPosition;
use crate::wire::stream::{Generation, Position, StreamId};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// The value for "none yet": an epoch has 32 bits.
const NONE: u64 = u64::MAX;

/// The way out after a loss.
const NEW_EPOCH: &str = "which failover or restore lost commits; then run `seawall store new-epoch`, and clients read the logs again";

/// The known epoch, shared by all threads of a store.
#[derive(Debug)]
pub(super) struct KnownEpoch {
    known: AtomicU64,
    found: AtomicU64,
    /// Set once a log was seen to have lost publications.
    went_back: AtomicBool,
    suspicion: Mutex<LossSuspicion>,
}

impl Default for KnownEpoch {
    fn default() -> KnownEpoch {
        let [known, found] = [NONE; 2].map(AtomicU64::new);
        KnownEpoch { known, found, went_back: AtomicBool::new(false), suspicion: Mutex::default() }
    }
}

impl KnownEpoch {
    /// Compares an answer's epoch. The first one becomes the known one; any other is an error, then and ever after.
    pub(super) fn meet(&self, epoch: Epoch) -> Result<(), CallFault> {
        let met = u64::from(epoch.0);
        let known = match self.known.compare_exchange(NONE, met, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => met,
            Err(known) => known,
        };
        if known != met && self.found.swap(met, Ordering::AcqRel) == NONE {
            tracing::error!(known, found = met, "the store's epoch was replaced; restart this process");
        }
        if self.is_replaced() { Err(fault()) } else { Ok(()) }
    }

    /// True if an answer came with another epoch than the first one.
    pub(super) fn is_replaced(&self) -> bool {
        self.replaced().is_some()
    }

    /// Notes that a log lost committed publications: from then on the store refuses writes.
    pub(super) fn note_lost(&self, contradiction: &Contradiction, counters: &StoreCounters) {
        bump(&counters.contradictions);
        if !self.went_back.swap(true, Ordering::AcqRel) {
            let Contradiction { channel, known, found } = contradiction;
            let (known, found) = (known.0, found.0);
            tracing::error!(%channel, known, found, look_at = NEW_EPOCH, "store lost acknowledged publications");
        }
    }

    /// Notes that a log lost committed pieces of a stream.
    pub(super) fn note_lost_text(
        &self,
        id: &StreamId,
        known: (Generation, Position),
        counters: &StoreCounters,
    ) {
        bump(&counters.contradictions);
        if !self.went_back.swap(true, Ordering::AcqRel) {
            let (channel, begin) = (&id.channel, id.offset.0);
            let (Generation(generation), Position(next)) = known;
            tracing::error!(%channel, begin, generation, next, look_at = NEW_EPOCH, "store lost committed pieces");
        }
    }

    /// Compares heads that a primary answered, over a connection `dialled` then, with the ones `known` before.
    pub(super) fn judge(
        &self,
        heads: &[(ChannelName, LogPosition)],
        known: &[Offset],
        dialled: Instant,
        now: Instant,
    ) -> HeadsVerdict {
        if self.went_back.load(Ordering::Acquire) {
            return HeadsVerdict::Unproven;
        }
        self.suspicion.lock().judge(heads, known, dialled, now)
    }

    /// The reason why the store refuses writes, if publications were lost.
    pub(super) fn loss(&self) -> Option<Cause> {
        let text = "the database has lost publications that were acknowledged, so writes are refused";
        let is_lost = self.went_back.load(Ordering::Acquire);
        is_lost.then(|| Cause::new(Fault::WentBack, text, NEW_EPOCH))
    }

    /// The known epoch, and the other one.
    pub(super) fn replaced(&self) -> Option<(Epoch, Epoch)> {
        self.known().zip(read(&self.found))
    }

    /// The epoch of the first answer; `None` before it.
    pub(super) fn known(&self) -> Option<Epoch> {
        read(&self.known)
    }
}

fn read(cell: &AtomicU64) -> Option<Epoch> {
    u32::try_from(cell.load(Ordering::Acquire)).ok().map(Epoch)
}

/// The fate of work that met another epoch.
fn fault() -> CallFault {
    let text = "the store's epoch was replaced while this process ran";
    let cause =
        Cause::new(Fault::Schema, text, "who ran `seawall store new-epoch`; start this process again");
    CallFault { fate: Fate::NotDone, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_epoch_is_known_and_any_other_is_final() {
        let epoch = KnownEpoch::default();
        assert_eq!(epoch.known(), None);
        assert!(epoch.meet(Epoch(7)).is_ok() && epoch.meet(Epoch(7)).is_ok());
        assert_eq!(epoch.known(), Some(Epoch(7)));
        assert_eq!(epoch.replaced(), None);
        assert!(epoch.meet(Epoch(8)).is_err());
        assert_eq!(epoch.replaced(), Some((Epoch(7), Epoch(8))));
        assert!(
            epoch.meet(Epoch(7)).is_err(),
            "an answer of an older connection does not bring the old logs back"
        );
    }
}
