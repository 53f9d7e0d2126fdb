//! The part of a scrape about the bus; nothing without one.

use super::{Scrape, Sheet, read};
use std::fmt;
use std::time::Duration;

impl Scrape {
    pub(super) fn bus(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Some(bus) = &self.bus else { return Ok(()) };
        let delivering = read(&bus.delivering);
        sheet.gauge("bus_delivering", "1 while canaries show that the bus delivers", delivering)?;
        sheet.gauge("bus_channels", "Channels followed on the bus", read(&bus.channels))?;
        sheet.counter("bus_messages_sent", "Messages sent over the bus", read(&bus.sent))?;
        sheet.counter("bus_messages_dropped", "Messages that could not be sent", read(&bus.dropped))?;
        sheet.counter("bus_publications", "Publications other instances sent", read(&bus.publications))?;
        sheet.counter("bus_signals", "Signals other instances sent", read(&bus.signals))?;
        sheet.counter("bus_messages_garbled", "Messages that were thrown away", read(&bus.garbled))?;
        sheet.counter("bus_connections_lost", "Connections to the bus that were lost", read(&bus.lost))?;
        sheet.counter("bus_surveys", "Looks at the logs in place of the bus", read(&bus.surveys))?;
        sheet.counter("bus_canaries", "Own canaries that came back", read(&bus.canaries))?;
        let under_way = Duration::from_micros(read(&bus.canary_us));
        sheet.seconds("bus_canary_seconds", "From Redis to the last reactor, the last canary", under_way)
    }
}
