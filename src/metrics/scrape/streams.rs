//! Metrics of streams.

use super::sheet::Sheet;
use super::values::read;
use crate::metrics::streams::StreamCounters;
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::time::Duration;

pub(super) fn encode(streams: &StreamCounters, sheet: &mut Sheet<'_>) -> fmt::Result {
    sheet.gauge("streams_open", "Open streams", read(&streams.open))?;
    let ends: Vec<_> = streams.ends().map(|(word, total)| ([("state", word)], total)).collect();
    sheet.labelled(
        "stream_ends",
        "Streams that ended, by the state of the end",
        MetricType::Counter,
        ends.iter().map(|(label, total)| (&label[..], *total)),
    )?;
    sheet.counter("stream_pieces", "Pieces that producers sent", read(&streams.pieces))?;
    sheet.counter(
        "stream_bytes",
        "Bytes of text committed in pieces, with one for each event",
        read(&streams.bytes),
    )?;
    sheet.histogram(
        "stream_flush_seconds",
        "Time of a commit with pieces or ends of streams",
        &streams.flushes,
    )?;
    let window = Duration::from_millis(read(&streams.window_ms));
    sheet.seconds(
        "stream_window_seconds",
        "Time between two commits of pieces; above streams.rollup_ms while commits are slow",
        window,
    )?;
    sheet.histogram(
        "stream_latency_seconds",
        "From taking a piece to its commit, of some pieces of each commit",
        &streams.latency,
    )?;
    sheet.counter(
        "stream_whole_frames",
        "Open streams sent from their beginning",
        read(&streams.whole_frames),
    )?;
    sheet.counter(
        "stream_holes",
        "Open streams read from a position, because a client had missed something",
        read(&streams.holes),
    )?;
    let refused: Vec<_> = streams.refusals().map(|(code, total)| ([("code", code)], total)).collect();
    sheet.labelled(
        "stream_refused",
        "Commands about streams that were refused, by code",
        MetricType::Counter,
        refused.iter().map(|(label, total)| (&label[..], *total)),
    )?;
    sheet.counter(
        "stream_notices_dropped",
        "Notices to requests and responses that produce streams, dropped because too many waited",
        read(&streams.notices_dropped),
    )?;
    sheet.gauge("stream_memory_bytes", "Memory of the text of open streams", read(&streams.memory_bytes))?;
    sheet.gauge("stream_memory_bytes_max", "streams.memory_bytes", read(&streams.memory_bytes_max))?;
    sheet.counter(
        "stream_parts_deleted",
        "Rows with pieces that were deleted after their streams had ended",
        read(&streams.parts_deleted),
    )
}
