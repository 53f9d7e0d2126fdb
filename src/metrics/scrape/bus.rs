//! Metrics of the bus; absent when no bus is configured.

use super::sheet::Sheet;
use super::values::{Scrape, read};
use std::fmt;
use std::time::Duration;

impl Scrape {
    pub(super) fn bus(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Some(bus) = &self.bus else { return Ok(()) };
        let delivering = read(&bus.gauges.delivering);
        sheet.gauge("bus_delivering", "1 while canaries show that the bus delivers, else 0", delivering)?;
        sheet.gauge("bus_channels", "Channels subscribed to on the bus", read(&bus.gauges.channels))?;
        let masters = read(&bus.masters);
        sheet.gauge(
            "bus_masters",
            "Masters of the Redis Cluster of the bus; 0 on a single Redis",
            masters,
        )?;
        sheet.gauge(
            "bus_masters_delivering",
            "Masters of the Redis Cluster over which the bus delivers",
            read(&bus.masters_delivering),
        )?;
        sheet.counter("bus_messages_sent", "Messages sent over the bus", read(&bus.sent))?;
        sheet.counter("bus_messages_dropped", "Messages that could not be sent", read(&bus.dropped))?;
        sheet.counter(
            "bus_publications",
            "Publications received from other instances",
            read(&bus.publications),
        )?;
        sheet.counter("bus_signals", "Signals received from other instances", read(&bus.signals))?;
        sheet.counter(
            "bus_stream_changes",
            "Changes of open streams received from other instances",
            read(&bus.streamed),
        )?;
        sheet.counter(
            "bus_messages_garbled",
            "Bus messages discarded because they were malformed, forged or of another version",
            read(&bus.garbled),
        )?;
        sheet.counter(
            "bus_messages_unknown",
            "Bus messages ignored because their kind is of a newer version",
            read(&bus.unknown),
        )?;
        sheet.counter("bus_connections_lost", "Lost connections to the bus", read(&bus.lost))?;
        sheet.counter(
            "bus_surveys",
            "Reads of channel heads made because the bus did not deliver",
            read(&bus.surveys),
        )?;
        sheet.counter(
            "bus_canaries",
            "This instance's canaries that were received back",
            read(&bus.canaries),
        )?;
        let took = Duration::from_micros(read(&bus.canary_us));
        sheet.seconds(
            "bus_canary_seconds",
            "Time of the last canary from Redis to the last reactor, in seconds",
            took,
        )
    }
}
