//! The channels that retention by age is about to cut, so that large cuts can be logged: the function that cuts them returns only
//! a total.

use super::connection::StoreConnection;
use super::fault::CallFault;
use crate::id::ChannelName;
use crate::store::columns::natural;
use crate::store::large_cuts::LargeCuts;
use postgres_types::Type;
use std::collections::HashMap;

/// Channels that hold publications from before a time.
pub(super) struct DueChannels {
    /// The name of each, its floor, and the number of publications that it holds.
    channels: Vec<(String, i64, i64)>,
}

impl DueChannels {
    /// Reads the `most` channels with the oldest publications from before a time, in the order in which they are cut. A slice cuts at
    /// least one publication of each.
    pub(super) fn read(
        connection: &mut StoreConnection,
        before: i64,
        most: i64,
    ) -> Result<DueChannels, CallFault> {
        let rows = connection.query(
            "SELECT name, floor, head - floor + 1 FROM seawall.channels WHERE oldest < $1 ORDER BY oldest LIMIT $2",
            &[(&before, Type::INT8), (&most, Type::INT8)],
        )?;
        let channel = |row: &crate::net::postgres::Row| {
            Some((row.try_get(0).ok()?, row.try_get(1).ok()?, row.try_get(2).ok()?))
        };
        Ok(DueChannels { channels: rows.iter().filter_map(channel).collect() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Notes by how much their floors have risen since they were read.
    pub(super) fn note_cuts(
        self,
        connection: &mut StoreConnection,
        cuts: &mut LargeCuts,
    ) -> Result<(), CallFault> {
        let names: Vec<&str> = self.channels.iter().map(|(name, ..)| name.as_str()).collect();
        let rows = connection.query(
            "SELECT name, floor FROM seawall.channels WHERE name = ANY ($1)",
            &[(&names, Type::TEXT_ARRAY)],
        )?;
        let floors: HashMap<String, i64> =
            rows.iter().filter_map(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?))).collect();
        for (name, floor, held) in &self.channels {
            let risen = floors.get(name).map_or(0, |now| now - floor);
            // Names in the store were checked when they were stored.
            if let Ok(name) = ChannelName::parse(name) {
                cuts.note(&name, natural(*held), natural(risen.min(*held)));
            }
        }
        Ok(())
    }
}
