//! The queues and flags that the bus's receiving thread shares with other threads.

use crate::job::bus::{Bell, Interest, SharedKey};
use crate::job::orders::OrderBoard;
use crate::job::{Mailbox, Read};
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The receiving thread's ends of what it shares.
pub(super) struct Ends {
    /// The channels that reactors follow or leave.
    pub(super) interests: Receiver<Interest>,
    /// Wakes the thread when there is an interest.
    pub(super) waker: Arc<Bell>,
    /// Set while a canary should come sooner than usual.
    pub(super) hurried: Arc<AtomicBool>,
    /// To the reactors.
    pub(super) mailboxes: Arc<[Mailbox]>,
    /// To the store's readers.
    pub(super) reads: Sender<Read>,
    /// Until the store has given it, nothing is believed.
    pub(super) key: SharedKey,
    /// Takes the orders of other instances.
    pub(super) board: Arc<OrderBoard>,
}
