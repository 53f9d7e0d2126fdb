//! Metrics of the rosters.

use super::sheet::Sheet;
use crate::metrics::presence::PresenceCounters;
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
    )
}
