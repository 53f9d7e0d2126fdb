//! Users: visitors that come and go, users whose sessions are ended for good, and the users that are present.

use super::client::Kind;
use super::link::{Command, Stage};
use super::message::{Presence, channel_name, channel_number};
use super::roster::{Applied, View};
use super::{Crowd, Timer};
use crate::clock::{Micros, SECOND};
use std::collections::BTreeMap;

/// The shortest stay or absence of a visitor, and how much longer it may be.
const STAY: (Micros, Micros) = (4 * SECOND, 16 * SECOND);
/// Close codes of a user that was blocked, or whose token was revoked.
const FORBIDDEN: u16 = 4_503;
const UNAUTHORIZED: u16 = 4_501;
/// A user with a connection as old as this is known to every instance, whatever failed meanwhile.
const KNOWN_AFTER: Micros = 10 * SECOND;

/// The users that are present, as their own clients know it.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// By channel and user: the connections.
    pub present: BTreeMap<u16, BTreeMap<u32, u64>>,
    /// The views of the watchers: channel, place of the gateway, view.
    pub views: Vec<(u16, u8, View)>,
}

impl Crowd {
    /// Makes the visitors come and go, each at a random time.
    pub(super) fn begin_visits(&mut self) {
        self.visiting = true;
        for client in 0..self.clients.len() as u32 {
            if self.clients.get(client as usize).is_some_and(|it| it.role.kind == Kind::Visitor) {
                self.later(fastrand::u64(..STAY.0 + STAY.1), Timer::Visit(client));
            }
        }
    }

    /// A visitor leaves or comes back. It finishes what it has begun first.
    pub(super) fn visit(&mut self, client: u32) {
        if !self.visiting || self.finishing.is_some() {
            return;
        }
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        let is_live =
            it.current.and_then(|index| self.links.get(index)).is_some_and(|link| link.stage == Stage::Live);
        match it.current {
            Some(index) if it.is_wanted && is_live && it.outgoing.is_none() && it.next.is_none() => {
                it.is_wanted = false;
                if fastrand::bool() { self.leave(index) } else { self.drop_link(index) }
            }
            None if !it.is_wanted => {
                (it.is_wanted, it.attempts) = (true, 0);
                self.later(0, Timer::Dial(client));
            }
            Some(_) | None => {}
        }
        self.later(STAY.0 + fastrand::u64(..STAY.1), Timer::Visit(client));
    }

    /// True if this close is how the session of a user ends that was shut out; the client then stays away.
    pub(super) fn is_shut_out(&mut self, client: u32, code: u16) -> bool {
        let Some(it) = self.clients.get_mut(client as usize) else { return false };
        let is_meant = it.role.kind == Kind::ShutOut && matches!(code, FORBIDDEN | UNAUTHORIZED);
        if is_meant {
            it.is_wanted = false;
            if it.outgoing.take().is_some() {
                self.unresolved -= 1;
            }
        }
        is_meant
    }

    /// Handles a push to a watcher.
    pub(super) fn roster(&mut self, index: usize, client: u32, frame: &Presence<'_>) {
        let Some(link) = self.links.get_mut(index) else { return };
        let number = link.number;
        if channel_number(frame.channel) != self.clients.get(client as usize).map(|it| it.channel) {
            return self.ledger.odd(format!("connection {number}: the roster of {:?}", frame.channel));
        }
        if frame.counted || frame.ended.is_some() {
            return self.ledger.odd(format!("connection {number}: {frame:?}"));
        }
        let applied = link.roster.get_or_insert_default().push(frame);
        let is_complete = frame.complete;
        match applied {
            Applied::Current(left) if is_complete => {
                left.into_iter().for_each(|user| self.left(index, client, user));
            }
            Applied::Current(_) => {}
            Applied::Read(within_ms) => {
                self.later(fastrand::u64(..=within_ms * 1_000), Timer::Roster(index, number));
            }
        }
    }

    /// Records a leave of a user that was connected all the time.
    fn left(&mut self, index: usize, watcher: u32, user: u32) {
        let channel = self.clients.get(watcher as usize).map(|it| it.channel);
        let since = self.now.saturating_sub(KNOWN_AFTER);
        let stays = self.users.get(&user).into_iter().flatten().any(|client| {
            let Some(it) = self.clients.get(*client as usize) else { return false };
            let link = it.current.and_then(|index| self.links.get(index));
            let is_old =
                |link: &super::Link| (1..since).contains(&link.connected) && link.stage == Stage::Live;
            Some(it.channel) == channel && it.is_wanted && link.is_some_and(is_old)
        });
        if stays {
            let slot = self.links.get(index).map_or(0, |link| link.slot);
            self.ledger.false_leave(format!(
                "user {user} left channel {channel:?} at gateway {slot}, at {:.3} s",
                crate::clock::seconds(self.now)
            ));
        }
    }

    /// Reads the roster of a watcher's channel.
    pub(super) fn read_roster(&mut self, index: usize, number: u32) {
        let Some(link) = self.links.get(index).filter(|link| link.number == number) else { return };
        let is_waiting = link.pending.iter().any(|pending| pending.what == Command::Presence);
        match link.stage {
            Stage::Live if !is_waiting => {}
            Stage::Live | Stage::Leaving => return,
            Stage::Upgrading | Stage::Connecting | Stage::Joining => {
                return self.later(SECOND / 10, Timer::Roster(index, number));
            }
        }
        let Some(channel) = self.clients.get(link.client as usize).map(|it| it.channel) else { return };
        let name = channel_name(channel);
        self.command(index, Command::Presence, |id| {
            format!("{{\"id\":{id},\"presence\":{{\"channel\":\"{name}\",\"limit\":100}}}}")
        });
    }

    /// Handles the reply to `presence`.
    pub(super) fn roster_read(&mut self, index: usize, page: &Presence<'_>) {
        let Some(link) = self.links.get_mut(index) else { return };
        link.roster.get_or_insert_default().replace(page);
        if page.more {
            self.ledger.odd(format!("the roster of {:?} has more than one page", page.channel));
        }
    }

    /// Counts the users that are present now.
    pub(super) fn census(&self) -> Census {
        let mut census = Census::default();
        // A client that moves has two connections for a moment, and both count.
        for (_, link) in &self.links {
            let Some(it) = self.clients.get(link.client as usize) else { continue };
            let (Some(user), Stage::Joining | Stage::Live) = (it.role.user, &link.stage) else { continue };
            *census.present.entry(it.channel).or_default().entry(user).or_default() += 1;
            if let Some(view) = &link.roster {
                census.views.push((it.channel, link.slot, view.clone()));
            }
        }
        census
    }

    /// Records which clients stay away at the end.
    pub(super) fn note_absent(&mut self) {
        for (client, it) in (0..).zip(&self.clients) {
            if !it.is_wanted {
                self.ledger.away.insert(self.base + client);
            }
        }
    }
}
