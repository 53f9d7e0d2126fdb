//! Fan-out of signals: the cost of a delivery without storing.

use super::fanout::{What, deliver};
use crate::arguments::{Common, Fanout};
use crate::process::Process;
use crate::report::Report;

/// Runs a closed loop like `fanout`. The protocol allows signals to be lost, but here none should be, because each waits
/// for the one before it.
pub(crate) fn run(common: &Common, arguments: &Fanout, process: Option<Process>) -> Result<Report, String> {
    deliver(What::Signals, common, arguments, process)
}
