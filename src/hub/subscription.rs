//! A subscription and how far it has caught up.

use super::id::{ChannelId, Slot, SubscriptionId};
use crate::id::Offset;
use crate::wire::command::StartAt;
use slab::Slab;

/// The number of shared reads that one subscriber waits for before it gets pages of its own: enough to fill a tail,
/// plus a few for reads that a delete made unusable.
const SHARED_READS_MAX: u8 = 8;

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) serial: u32,
    pub(super) channel: ChannelId,
    pub(super) slot: Slot,
    /// The newest head that this subscriber was sent, for `beat`.
    pub(super) sent_head: Offset,
    pub(super) stage: SubscriptionStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubscriptionStage {
    /// Waits for the log's position.
    Opening { from: StartAt },
    /// Has its own cursor and catches up.
    Behind(Behind),
    /// Has everything up to the channel's head; `at` is its index in the channel's live subscribers.
    Live { at: u32 },
}

/// A subscriber that is catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    /// The last publication that it was sent, or must not be sent.
    pub(super) cursor: Offset,
    /// It does not count as caught up before this offset: the head that the reply gave it.
    pub(super) until: Offset,
    pub(super) catching: Catching,
    pub(super) waits_for: WaitsFor,
    /// Shared reads that it may still wait for; after that it gets pages of its own.
    pub(super) shared_reads: u8,
}

impl Behind {
    pub(super) fn at(cursor: Offset, catching: Catching) -> Behind {
        Behind { cursor, until: cursor, catching, waits_for: WaitsFor::Room, shared_reads: SHARED_READS_MAX }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Catching {
    /// The replay that a subscription begins with; it ends with `synced`.
    Opening,
    /// The subscriber fell behind; this ends without a frame.
    Lagging,
}

/// The event that a subscriber that is behind waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Room in its outbox.
    Room,
    /// A page from the store.
    Page,
    /// Older publications in the tail, shared with others; it is in `older.waiting`.
    Older,
    /// The open streams, in the waiting list of their round.
    Streams,
    /// A newer head, or delivery of the pending run; it is in `ahead`.
    Head,
}

pub(super) fn subscription_mut(
    subscriptions: &mut Slab<Subscription>,
    id: SubscriptionId,
) -> Option<&mut Subscription> {
    subscriptions.get_mut(id.index as usize).filter(|subscription| subscription.serial == id.serial)
}
