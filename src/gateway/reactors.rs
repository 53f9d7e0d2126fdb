//! The threads of the reactors.

use super::config::Config;
use super::drain::DrainNotice;
use crate::id::ReactorId;
use crate::job::Queues;
use crate::job::orders::OrderBoard;
use crate::reactor::{Prepared, Reactor, Setups};
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Starts a thread for each prepared reactor.
pub(super) fn start(
    config: &Config,
    setups: &Setups,
    queues: &Queues,
    board: &Arc<OrderBoard>,
    prepared: Vec<Prepared>,
    notices: &Sender<DrainNotice>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let cores = match config.server.pin_reactors {
        true => core_affinity::get_core_ids().unwrap_or_default(),
        false => Vec::new(),
    };
    let start = |(index, prepared): (usize, Prepared)| {
        let id = ReactorId(index as u16);
        let (setups, queues, board) = (setups.clone(), queues.clone(), Arc::clone(board));
        let notices = notices.clone();
        let core = cores.get(index % cores.len().max(1)).copied();
        std::thread::Builder::new().name(format!("reactor-{index}")).spawn(move || {
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(reactor = index, "reactor not pinned to its core");
            }
            let guard = EndGuard { id, notices };
            let reactor = Reactor::new(id, prepared, &setups, queues, board);
            if let Err(error) = reactor.run() {
                tracing::error!(reactor = index, %error, "reactor poll failed");
            }
            drop(guard);
        })
    };
    prepared.into_iter().enumerate().map(start).collect()
}

/// Notifies the main thread when a reactor ends, even by a panic.
struct EndGuard {
    id: ReactorId,
    notices: Sender<DrainNotice>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        // The receiver is gone when the process exits.
        let _ = self.notices.try_send(DrainNotice::ReactorEnded(self.id));
    }
}
