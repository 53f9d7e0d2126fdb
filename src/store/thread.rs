//! Starting a store's threads, and reporting that one panicked.

use std::io;
use std::thread::{self, JoinHandle};

pub(super) fn spawn<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name).spawn(work)
}

pub(super) fn warn_of_panic(ended: thread::Result<()>) {
    if ended.is_err() {
        tracing::error!("store thread panicked");
    }
}
