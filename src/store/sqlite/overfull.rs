//! Channels that may hold more publications than `retention.publications`.

use super::rows::ChannelRow;
use crate::id::ChannelName;
use crate::store::Retention;
use crate::store::columns::integer;
use ahash::AHashSet;
use rusqlite::Connection;
use std::collections::VecDeque;

/// A queue of channels noted as holding too much, in the order noted. A note is a hint: the row decides.
#[derive(Debug, Default)]
pub(crate) struct Overfull {
    queue: VecDeque<ChannelName>,
    noted: AHashSet<ChannelName>,
}

impl Overfull {
    /// Notes all channels of a file that hold more than `publications`; 0 is no bound.
    pub(crate) fn scan(connection: &Connection, publications: u64) -> rusqlite::Result<Overfull> {
        let mut overfull = Overfull::default();
        if publications == 0 {
            return Ok(overfull);
        }
        let mut statement = connection.prepare("SELECT name FROM channels WHERE head - floor + 1 > ?1")?;
        let mut rows = statement.query([integer(publications)])?;
        while let Some(row) = rows.next()? {
            if let Ok(name) = ChannelName::parse_any(row.get_ref(0)?.as_str()?) {
                overfull.push(name);
            }
        }
        Ok(overfull)
    }

    /// Notes a channel if its row exceeds its bound.
    pub(crate) fn note(&mut self, name: &ChannelName, row: &ChannelRow, retention: Retention) {
        let publications = retention.publications_of(name);
        if publications > 0 && row.retained() > publications && !self.noted.contains(name) {
            self.push(name.clone());
        }
    }

    pub(super) fn push(&mut self, name: ChannelName) {
        if self.noted.insert(name.clone()) {
            self.queue.push_back(name);
        }
    }

    pub(super) fn pop(&mut self) -> Option<ChannelName> {
        let name = self.queue.pop_front()?;
        self.noted.remove(&name);
        Some(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
