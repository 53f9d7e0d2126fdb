//! Looks at the channels that wait.

use super::relay_rows::{self, WaitingPlace, WaitingRow};
use super::relay_turn::Running;
use crate::id::ChannelName;
use crate::job::relay::{DueChannel, RelayDue, RelayStatus, RouteStatus, StuckChannel};
use crate::store::relay::{DueLook, RelayRow, STATUS_ROWS, STUCK, UNROUTED};
use crate::store::retention::Rest;
use std::time::Duration;

/// Channels that wait, looked at by one statement. Appends wait meanwhile.
const DUE_ROWS: u32 = 256;

impl Running<'_> {
    pub(super) fn due(&mut self, limit: u32) -> rusqlite::Result<RelayDue> {
        let table = &self.turn.table;
        let mut look = DueLook::new(self.turn.due_after.clone(), limit, table);
        let mut due = RelayDue::default();
        while let Some(after) = look.page() {
            let page = relay_rows::waiting(self.connection, after, self.now_ms, DUE_ROWS)?;
            let rest = if page.len() < DUE_ROWS as usize { Rest::None } else { Rest::Some };
            for WaitingRow { channel: name, row, oldest_ms } in page {
                let channel = ChannelName::parse_any(&name).ok();
                let route = channel.as_ref().and_then(|channel| table.of(channel));
                let next_ms = i64::try_from(row.next_ms).unwrap_or(i64::MAX);
                let place = WaitingPlace { next_ms, channel: name };
                let is_held = channel.as_ref().is_some_and(|channel| self.is_held(channel));
                let is_listed = look.take(place, route.filter(|_| !is_held));
                let Some(channel) = channel else { continue };
                if route.is_none() {
                    let next_ms = self.now_ms + UNROUTED.as_millis() as u64;
                    relay_rows::write(self.connection, &channel, &RelayRow { next_ms, ..row })?;
                } else if is_listed {
                    due.channels.push(DueChannel { channel, attempts: row.attempts, oldest_ms });
                }
            }
            look.read(rest);
        }
        self.done.due_after = Some(look.end());
        let next_ms = relay_rows::next_after(self.connection, self.now_ms)?;
        due.next = next_ms.map(|next_ms| Duration::from_millis(next_ms.saturating_sub(self.now_ms)));
        Ok(due)
    }

    pub(super) fn status(&self) -> rusqlite::Result<RelayStatus> {
        let (table, dead) = (&self.turn.table, relay_rows::count_dead(self.connection)?);
        let dead_of =
            |name: &str| dead.iter().find(|(route, _)| route == name).map_or(0, |(_, count)| *count);
        let mut status = RelayStatus::default();
        for route in table.iter() {
            let (name, dead) = (route.name.clone(), dead_of(&route.name));
            let new = RouteStatus { route: name, waiting: 0, oldest_ms: None, attempts: 0, claims: 0, dead };
            status.routes.push(new);
        }
        let waiting =
            relay_rows::waiting(self.connection, &WaitingPlace::default(), i64::MAX as u64, STATUS_ROWS)?;
        status.is_complete = waiting.len() < STATUS_ROWS as usize;
        for WaitingRow { channel, row, oldest_ms } in waiting {
            let Ok(channel) = ChannelName::parse_any(&channel) else { continue };
            let route = table.of(&channel).map(|route| &route.name);
            let of_route = status.routes.iter_mut().find(|known| Some(&known.route) == route);
            let Some(of_route) = of_route else {
                status.unrouted += 1;
                continue;
            };
            of_route.waiting += 1;
            of_route.oldest_ms = of_route.oldest_ms.into_iter().chain(oldest_ms).min();
            of_route.attempts = of_route.attempts.max(row.attempts);
            of_route.claims += u64::from(self.is_held(&channel));
            let RelayRow { head, cursor, attempts, .. } = row;
            status.stuck.push(StuckChannel { channel, cursor, head, attempts, oldest_ms });
        }
        status.stuck.sort_by_key(|stuck| (std::cmp::Reverse(stuck.attempts), stuck.oldest_ms));
        status.stuck.truncate(STUCK);
        Ok(status)
    }
}
