//! The threads that probe: one per dependency.

use super::news::WatchNews;
use crate::health::board::DueProbe;
use crate::health::judge::ProbeReason;
use crate::job::probing::{Probing, broken};
use crossbeam_channel::{Sender, bounded};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::Builder;

/// Starts a thread that makes each look it is sent.
pub(super) fn looker(
    mut probe: Box<dyn Probing>,
    name: &str,
    news: Sender<WatchNews>,
) -> io::Result<Sender<DueProbe>> {
    let (dues, inbox) = bounded::<DueProbe>(1);
    let look = move || {
        for due in inbox {
            if due.look == ProbeReason::Reconnect {
                probe.forget();
            }
            let looked = catch_unwind(AssertUnwindSafe(|| probe.look(due.definition.timeout)));
            let finding = looked.unwrap_or_else(|_| {
                probe.forget();
                broken()
            });
            if news.send(WatchNews::Found(due, finding)).is_err() {
                return;
            }
        }
    };
    Builder::new().name(format!("probe-{name}")).spawn(look)?;
    Ok(dues)
}
