//! Metrics of the process, and of the messages that reactors receive, deliver and keep.

use super::sheet::Sheet;
use super::values::Scrape;
use crate::metrics::Cell;
use crate::wire::push::ErrorCode;
use prometheus_client::metrics::MetricType;
use std::fmt;

impl Scrape {
    pub(super) fn process(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("instance_name", &self.instance)];
        sheet.labelled(
            "build_info",
            "Always 1; the labels identify the version and the instance",
            MetricType::Gauge,
            [(&labels[..], 1)],
        )?;
        sheet.gauge(
            "memory_bytes",
            "Resident memory at the last measurement, in bytes",
            self.vitals.memory_bytes(),
        )?;
        sheet.gauge(
            "memory_bytes_max",
            "Bound on resident memory in bytes (limits.memory_bytes)",
            self.vitals.memory_bytes_max(),
        )?;
        sheet.gauge("descriptors", "File descriptors in use", self.vitals.descriptors())?;
        sheet.gauge(
            "descriptors_max",
            "File descriptors the process may open",
            self.vitals.descriptors_max,
        )?;
        sheet.counter("turns", "Turns of all reactor loops", self.sum(|r| &r.turns))?;
        sheet.counter("slow_turns", "Reactor turns longer than 10 ms", self.sum(|r| &r.slow_turns))?;
        sheet.counter(
            "log_lines_dropped",
            "Log lines dropped because the queue was full or the line too long",
            self.log_dropped,
        )
    }

    pub(super) fn traffic(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter(
            "messages_received",
            "WebSocket messages and control frames received",
            self.sum(|r| &r.messages_received),
        )?;
        sheet.counter("commands", "Commands received from clients", self.sum(|r| &r.commands))?;
        sheet.counter("received_bytes", "Bytes received from clients", self.sum(|r| &r.bytes_received))?;
        sheet.counter("sent_bytes", "Bytes sent to clients", self.sum(|r| &r.bytes_sent))?;
        sheet.counter("publishes", "Publications queued for the store", self.sum(|r| &r.publishes))?;
        sheet.counter("published", "Publications acknowledged with published", self.sum(|r| &r.published))?;
        sheet.counter(
            "deliveries",
            "Publications delivered, counted once for each subscriber",
            self.sum(|r| &r.deliveries),
        )?;
        sheet.counter(
            "runs",
            "Batches of frames delivered, at most one for each subscriber, channel and turn",
            self.sum(|r| &r.runs),
        )?;
        sheet.counter("lagged", "Times a subscriber fell behind", self.sum(|r| &r.lagged))?;
        sheet.counter(
            "replay_pages",
            "Pages read from the store for replays",
            self.sum(|r| &r.replay_pages),
        )?;
        sheet.counter(
            "recovery_reads",
            "Store reads made for recovering clients",
            self.sum(|r| &r.recovery_reads),
        )?;
        sheet.counter(
            "recoveries_refused",
            "Store reads for recovering clients that were refused because too many were waiting",
            self.sum(|r| &r.recoveries_refused),
        )?;
        sheet.counter("signals", "Signals accepted", self.sum(|r| &r.signals))?;
        sheet.counter("pings", "WebSocket pings sent", self.sum(|r| &r.pings))?;
        sheet.counter("beats", "Beats (heartbeat messages) sent", self.sum(|r| &r.beats))?;
        sheet.counter(
            "statuses",
            "Status messages sent to connections after a change",
            self.sum(|r| &r.statuses),
        )?;
        sheet.counter(
            "presence_frames",
            "Frames about rosters sent to watchers",
            self.sum(|r| &r.presence_frames),
        )?;
        sheet.counter(
            "presence_frames_missed",
            "Frames about rosters that a watcher missed because its outbox was full",
            self.sum(|r| &r.presence_missed),
        )?;
        sheet.counter(
            "live_missed",
            "Times a reactor had to catch up from the store because its live lane had been full",
            self.sum(|r| &r.live_missed),
        )?;
        sheet.counter(
            "late_answers",
            "Requests answered at their deadline because no worker had answered",
            self.sum(|r| &r.late),
        )?;
        let labels = ErrorCode::ALL.map(|code| [("code", code.as_str())]);
        let errors = labels.iter().enumerate().map(|(index, label)| {
            let total = self.reactors.iter().filter_map(|r| r.errors.get(index)).map(Cell::read).sum();
            (&label[..], total)
        });
        sheet.labelled("errors", "Error replies sent, by error code", MetricType::Counter, errors)
    }

    pub(super) fn bounds(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.gauge("pending", "Requests waiting for a worker", self.sum(|r| &r.pending))?;
        sheet.gauge(
            "recoveries_waiting",
            "Store reads for recovering clients that are waiting",
            self.sum(|r| &r.recoveries_waiting),
        )?;
        sheet.gauge(
            "turns_waiting",
            "Publications and history pages that wait for the turn of their user",
            self.sum(|r| &r.turns_waiting),
        )?;
        sheet.gauge(
            "outbox_bytes",
            "Bytes waiting to be written to sockets",
            self.sum(|r| &r.outbox_bytes),
        )?;
        sheet.gauge(
            "inbound_bytes",
            "Bytes of requests and messages that have begun and not ended",
            self.sum(|r| &r.inbound_bytes),
        )?;
        sheet.counter(
            "inbound_displaced",
            "Connections ended because limits.inbound_bytes_total was reached",
            self.sum(|r| &r.inbound_displaced),
        )?;
        sheet.gauge(
            "tail_bytes",
            "Bytes of recent publications kept in memory",
            self.sum(|r| &r.tail_bytes),
        )?;
        sheet.gauge(
            "channels",
            "Channels with subscribers, counted once for each reactor",
            self.sum(|r| &r.channels),
        )?;
        sheet.gauge("subscriptions", "Active subscriptions", self.sum(|r| &r.subscriptions))
    }
}
