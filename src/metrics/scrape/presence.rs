//! Metrics of the rosters.

use super::sheet::Sheet;
use crate::metrics::presence::PresenceCounters;
use prometheus_client::metrics::MetricType;
use std::fmt;

pub(super) fn encode(presence: &PresenceCounters, sheet: &mut Sheet<'_>) -> fmt::Result {
    sheet.gauge("presence_rosters", "Channels with a roster", presence.rosters.read())?;
    sheet.gauge(
        "presence_members",
        "Users, once for each roster that they are on",
        presence.members.read(),
    )?;
    sheet.gauge(
        "presence_memberships",
        "Connections, once for each roster that they are on",
        presence.connections.read(),
    )?;
    sheet.gauge("presence_watched", "Rosters with watchers", presence.watched.read())?;
    sheet.counter("presence_events", "Events of connections on rosters", presence.events.read())?;
    sheet.counter(
        "presence_pushes",
        "Frames made for watchers of rosters, once for all of them",
        presence.pushes.read(),
    )?;
    sheet.counter("presence_pages", "Pages of rosters read", presence.pages.read())?;
    sheet.counter(
        "presence_recounts",
        "Times that a reactor repeated its rosters because the queue had been full or they were lost",
        presence.recounts.read(),
    )?;
    sheet.counter(
        "presence_missed",
        "Times that a reactor had no room for frames about rosters",
        presence.missed.read(),
    )?;
    shared(presence, sheet)
}

/// The metrics of rosters that are shared with other instances.
fn shared(presence: &PresenceCounters, sheet: &mut Sheet<'_>) -> fmt::Result {
    sheet.gauge(
        "presence_views",
        "Rosters that are kept up to date with other instances",
        presence.views.read(),
    )?;
    sheet.gauge(
        "presence_views_bytes",
        "Memory of members at other instances",
        presence.views_bytes.read(),
    )?;
    sheet.gauge(
        "presence_unwritten",
        "Rosters with changes that are not written for other instances yet",
        presence.unwritten.read(),
    )?;
    sheet.counter(
        "presence_writes",
        "Changes of rosters written for other instances",
        presence.writes.read(),
    )?;
    sheet.counter(
        "presence_writes_failed",
        "Batches of such changes that were not taken",
        presence.writes_failed.read(),
    )?;
    sheet.counter(
        "presence_reads",
        "Rosters read with the members of all instances",
        presence.reads.read(),
    )?;
    sheet.counter(
        "presence_repairs",
        "Rosters written again because an audit found them changed in Redis",
        presence.repairs.read(),
    )?;
    let outcomes = [
        ([("outcome", "applied")], presence.deltas_applied.read()),
        ([("outcome", "old")], presence.deltas_old.read()),
        ([("outcome", "gap")], presence.deltas_gap.read()),
    ];
    let values = outcomes.iter().map(|(label, count)| (&label[..], *count));
    sheet.labelled(
        "presence_deltas",
        "Messages about rosters of other instances",
        MetricType::Counter,
        values,
    )
}
