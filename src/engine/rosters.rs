//! Events of this reactor's connections on rosters, and frames to its watchers.
//!
//! A frame is for all watchers of a channel and is served in slices of a turn, like a `status`. A difference goes only to watchers that
//! have the frame before it. A watcher whose outbox is full misses it, and waits for a snapshot, which is asked for when its outbox has
//! room. So a slow reader holds no frame in memory, and costs the others nothing.
//!
//! If an event did not fit into the queue, the reactor repeats everything that it has on rosters (a *recount*). It sends no more of it in
//! a turn than the queue has room for, so that recounts alone never overflow it.

use super::Engine;
use super::order::Job;
use super::peer::Queued;
use super::pending::{Request, Unanswered};
use super::slots::SlotId;
use super::watchers::{RosterWatchers, Round, WatcherStage, detail_of};
use crate::clock::Moment;
use crate::id::CommandId;
use crate::job::presence::{PageReply, PresenceJob};
use crate::limits::TELLS_PER_TURN;
use crate::rate::address_meters::AddressMeters;
use crate::roster::{ConnectionId, RosterEvent, RosterPush};
use crate::session::{AddressShare, PresenceOutcome, RosterEffect};
use crate::wire::command::WatchDetail;
use crate::wire::outbox::Offer;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The delay after which a full queue of events is looked at again.
const ROOM_PERIOD: Duration = Duration::from_millis(20);

/// A reactor's side of the rosters.
#[derive(Debug, Default)]
pub(super) struct RosterSide {
    watchers: RosterWatchers,
    /// The use of rosters by clients without a user's name.
    pub(super) addresses: AddressMeters,
    recount: Recount,
    /// Events that may be sent in this turn in addition to those of clients.
    room: usize,
    /// When the room is looked at again.
    room_at: Moment,
}

/// The repetition of everything that this reactor has on rosters.
#[derive(Debug, Default)]
struct Recount {
    /// Events lost since the last one began: if there are any, another one is needed.
    lost: u64,
    /// Peers that are still to be repeated; `None` while none is under way.
    left: Option<Vec<SlotId>>,
}

impl RosterSide {
    /// The share of a client's address. `times`: the share of an address as a multiple of that of a connection.
    pub(super) fn share_of(&mut self, address: Option<IpAddr>, times: u32) -> AddressShare<'_> {
        AddressShare { address, rosters: &mut self.addresses, times }
    }

    /// True exactly when no frame waits.
    pub(super) fn is_idle(&self) -> bool {
        self.watchers.is_idle()
    }

    /// The next time to send events that no client causes.
    pub(super) fn due(&self) -> Option<Moment> {
        let recount = (self.recount.lost > 0 || self.recount.left.is_some()).then_some(Moment::ZERO);
        let due = [recount, self.watchers.due()].into_iter().flatten().min()?;
        Some(due.max(self.room_at))
    }
}

impl Engine {
    pub(super) fn perform_roster(&mut self, id: SlotId, effect: RosterEffect) {
        let reactor = self.basis.id;
        let event = match effect {
            RosterEffect::Present { channel, connection, shown, state } => {
                let connection = ConnectionId { name: connection, reactor };
                RosterEvent::Present { channel, connection, shown, state }
            }
            RosterEffect::Absent { channel, connection, user, departure } => {
                let connection = ConnectionId { name: connection, reactor };
                RosterEvent::Absent { channel, connection, user, departure }
            }
            RosterEffect::Watch { channel, detail } => {
                let Some(number) = self.rounds.rosters.watchers.add(channel.clone(), detail, id) else {
                    return;
                };
                RosterEvent::Watch { channel, reactor, detail, number }
            }
            RosterEffect::Unwatch { channel, detail } => {
                if !self.rounds.rosters.watchers.remove(&channel, detail, id) {
                    return;
                }
                RosterEvent::Unwatch { channel, reactor, detail }
            }
            RosterEffect::Page { id: command, wish, asked } => {
                return self.ask(Request::Presence { slot: id, id: command, asked }, asked, |ticket| {
                    Job::Presence(PresenceJob::Page { wish, reply: PageReply::Reactor(ticket) })
                });
            }
        };
        self.say(event);
    }

    fn say(&mut self, event: RosterEvent) {
        self.out.jobs.push(Job::Presence(PresenceJob::Event(event)));
    }

    /// Takes frames for the watchers of rosters.
    pub(super) fn take_roster_pushes(&mut self, pushes: &Arc<[RosterPush]>) {
        self.rounds.rosters.watchers.take(pushes, self.now.at);
    }

    /// Takes the news that frames about rosters did not arrive: all watchers get snapshots.
    pub fn handle_missed_rosters(&mut self) {
        self.rounds.rosters.watchers.outdate_all();
    }

    /// Takes back an event that did not fit into the queue.
    pub(super) fn roster_event_lost(&mut self, event: &RosterEvent) {
        match event {
            RosterEvent::Watch { channel, detail, .. } => {
                self.rounds.rosters.watchers.outdate(channel, *detail, self.now.at);
            }
            RosterEvent::Present { .. }
            | RosterEvent::Absent { .. }
            | RosterEvent::Unwatch { .. }
            | RosterEvent::Recounting { .. }
            | RosterEvent::Recounted { .. } => self.want_recount(),
        }
    }

    /// Has everything that this reactor has on rosters repeated.
    pub(super) fn want_recount(&mut self) {
        self.rounds.rosters.recount.lost += 1;
    }

    /// True exactly if the engine has events to send that no client causes. Then call
    /// [`set_roster_room`](Engine::set_roster_room) before [`push_status`](Engine::push_status).
    pub fn wants_roster_room(&self) -> bool {
        self.rounds.rosters.due().is_some_and(|due| due <= self.now.at)
    }

    /// Sets the number of events on rosters that may be sent in this turn in addition to those of clients.
    pub fn set_roster_room(&mut self, room: usize) {
        self.rounds.rosters.room = room;
    }

    /// Offers the next frames to the next watchers, and goes on with a recount.
    pub(super) fn push_rosters(&mut self) {
        if self.wants_roster_room() {
            let mut room = std::mem::take(&mut self.rounds.rosters.room);
            if room == 0 {
                self.rounds.rosters.room_at = self.now.at + ROOM_PERIOD;
            }
            self.recount_rosters(&mut room);
            self.ask_for_late(&mut room);
        }
        if self.rounds.rosters.is_idle() {
            return;
        }
        let mut quota = TELLS_PER_TURN;
        while quota > 0
            && let Some(mut round) = self.rounds.rosters.watchers.next_round(self.basis.id)
        {
            // A frame without watchers costs something as well.
            quota -= 1;
            let from = round.left.len().saturating_sub(quota.max(1));
            let ids = round.left.split_off(from);
            quota -= ids.len().min(quota);
            for id in ids {
                self.offer_roster(&round, id);
            }
            if !round.left.is_empty() {
                self.rounds.rosters.watchers.keep(round);
            }
        }
    }

    fn offer_roster(&mut self, round: &Round, id: SlotId) {
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize;
        let Round { channel, audience, frame, .. } = round;
        let watchers = &mut self.rounds.rosters.watchers;
        let Some(watcher) = watchers.watcher(channel, detail_of(*audience), id) else { return };
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.is_open()) else { return };
        if !watcher.is_of(*audience) {
            return;
        }
        match peer.outbox.offer(frame, bytes_max) {
            Offer::Taken => {
                watcher.stage = WatcherStage::Current;
                self.tally.presence_frames.add(1);
                if peer.queued == Queued::No {
                    peer.queued = Queued::Dirty;
                    self.due.dirty.push(id);
                }
            }
            Offer::Full => {
                watcher.stage = WatcherStage::Waiting;
                self.tally.presence_missed.add(1);
                watchers.note_late(channel, self.now.at);
            }
        }
    }

    /// Asks for snapshots for watchers that missed a frame and have room again.
    fn ask_for_late(&mut self, room: &mut usize) {
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize / 2;
        let reactor = self.basis.id;
        let mut quota = TELLS_PER_TURN;
        while *room > 0
            && quota > 0
            && let Some(channel) = self.rounds.rosters.watchers.next_late(self.now.at)
        {
            quota -= 1;
            for detail in [WatchDetail::Members, WatchDetail::Count] {
                let peers = &self.peers;
                let has_room = |id| peers.get(id).is_some_and(|peer| peer.outbox.bytes() < bytes_max);
                let watchers = &mut self.rounds.rosters.watchers;
                if let Some(number) = watchers.ask_again(&channel, detail, self.now.at, has_room) {
                    *room = room.saturating_sub(1);
                    self.say(RosterEvent::Watch { channel: channel.clone(), reactor, detail, number });
                }
            }
        }
    }

    /// Begins a recount if one is needed, repeats the next peers, and ends it.
    fn recount_rosters(&mut self, room: &mut usize) {
        if *room == 0 {
            return;
        }
        let recount = &mut self.rounds.rosters.recount;
        let mut left = match recount.left.take() {
            // By now it is known which of its events were lost.
            Some(left) if left.is_empty() => return self.end_recount(room),
            Some(left) => left,
            None if recount.lost == 0 => return,
            None => {
                recount.lost = 0;
                *room -= 1;
                self.say(RosterEvent::Recounting { reactor: self.basis.id });
                self.peers.ids()
            }
        };
        let mut quota = TELLS_PER_TURN;
        while *room > 0
            && quota > 0
            && let Some(id) = left.pop()
        {
            quota -= 1;
            let before = self.out.jobs.len();
            self.with_session(id, |session, cx| session.repeat_rosters(cx));
            *room = room.saturating_sub(self.out.jobs.len() - before);
        }
        self.rounds.rosters.recount.left = Some(left);
    }

    /// Ends a recount. If an event was lost in it, it is void, and another one follows.
    fn end_recount(&mut self, room: &mut usize) {
        if self.rounds.rosters.recount.lost == 0 {
            *room -= 1;
            self.say(RosterEvent::Recounted { reactor: self.basis.id });
            self.handle_missed_rosters();
        }
    }

    pub(super) fn presence_read(&mut self, slot: SlotId, id: CommandId, outcome: PresenceOutcome<'_>) {
        self.with_session(slot, |session, cx| session.presence_read(id, &outcome, cx));
    }
}

impl From<Unanswered> for PresenceOutcome<'_> {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Late => PresenceOutcome::Late,
            Unanswered::Refused => PresenceOutcome::QueueFull,
        }
    }
}
