//! Orders that this process missed because the store no longer has them.

use crate::clock::Moment;
use crate::close::CloseReason;
use crate::cluster::block_end::end_by_block;
use crate::cluster::order::{OrderedSession, REVOKED};
use crate::cluster::restrictions::{Restriction, Restrictions};
use crate::id::OrderId;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Orders of which some are missing, and the restrictions after them, with which every reactor compares its sessions.
#[derive(Debug)]
pub struct OrderGap {
    /// The last order before it.
    pub before: OrderId,
    /// Its last order.
    pub last: OrderId,
    restrictions: Restrictions,
    /// Reactors that have not compared their sessions.
    left: AtomicUsize,
}

impl OrderGap {
    pub fn new(before: OrderId, last: OrderId, restrictions: Restrictions, reactors: usize) -> OrderGap {
        OrderGap { before, last, restrictions, left: AtomicUsize::new(reactors) }
    }

    /// The restriction of this session's user or token at `now`.
    pub fn restriction(&self, session: &OrderedSession<'_>, now: Moment) -> Option<Restriction> {
        self.restrictions.refuse(session.user, session.stamp, now)
    }

    /// Notes that one more reactor has compared its sessions.
    pub fn arrive(&self) {
        let one_less = |left: usize| left.checked_sub(1);
        let _ = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
    }

    /// True exactly when all reactors have.
    pub fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

/// The end of a session by a restriction.
pub fn end_by(restriction: Restriction) -> CloseReason {
    match restriction {
        Restriction::Blocked { retry_ms } => end_by_block(retry_ms),
        Restriction::Revoked => CloseReason::Unauthenticated(REVOKED),
    }
}
