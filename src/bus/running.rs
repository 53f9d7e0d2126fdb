//! The threads of a running bus, and the order in which they end.

use crate::job::bus::Bell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A bus whose threads run.
#[derive(Debug)]
pub struct RunningBus {
    pub(super) waker: Arc<Bell>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) receive: JoinHandle<()>,
    pub(super) send: JoinHandle<()>,
}

/// A bus that no longer receives, and sends what is still being committed.
#[derive(Debug)]
pub struct EndingBus(JoinHandle<()>);

impl RunningBus {
    /// Stops receiving, and drops the sender to the store's readers.
    pub fn stop_listening(self) -> EndingBus {
        self.stopping.store(true, Ordering::Release);
        self.waker.ring();
        if self.receive.join().is_err() {
            tracing::error!("bus-receive panicked");
        }
        EndingBus(self.send)
    }
}

impl EndingBus {
    /// Waits until everything committed is sent. Call it after the store has ended.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("bus-send panicked");
        }
    }
}
