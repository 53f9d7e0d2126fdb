//! Metrics of errors that clients reported.

use super::sheet::Sheet;
use crate::metrics::client_errors::ErrorBoard;
use crate::wire::command::ErrorLevel;
use prometheus_client::metrics::MetricType;
use std::fmt;

pub(super) fn encode(board: &ErrorBoard, sheet: &mut Sheet<'_>) -> fmt::Result {
    let (by_level, dropped, groups) = {
        let errors = board.lock();
        (errors.by_level(), errors.dropped(), errors.groups().len())
    };
    let levels = ErrorLevel::ALL.map(|level| [("level", level.as_str())]);
    sheet.labelled(
        "client_errors",
        "Errors that clients reported, by how much of the application they took",
        MetricType::Counter,
        levels.iter().map(|label| &label[..]).zip(by_level),
    )?;
    let dropped = [([("why", "client")], dropped.by_clients), ([("why", "new_groups")], dropped.new_groups)];
    sheet.labelled(
        "client_errors_dropped",
        "Errors that were not counted: client: groups that clients left out because their queues were full; new_groups: errors of too many new groups",
        MetricType::Counter,
        dropped.iter().map(|(label, count)| (&label[..], *count)),
    )?;
    sheet.gauge("client_error_groups", "Different errors of clients that are kept", groups as u64)
}
