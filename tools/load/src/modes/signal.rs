//! Fan-out of signals: what a delivery costs when nothing is stored.

use super::fanout::{What, deliver};
use crate::arguments::{Common, Fanout};
use crate::process::Process;
use crate::report::Report;

/// Closed loop, like `fanout`. A signal may be lost by the protocol's rules; here, where the next one waits for
/// the last, none should be.
pub(crate) fn run(common: &Common, arguments: &Fanout, process: Option<Process>) -> Result<Report, String> {
    deliver(What::Signals, common, arguments, process)
}
