//! The watchers of rosters on this reactor, and the frames on their way to them.
//!
//! A frame is for all watchers of a channel and is served in slices of a turn, like a `status`. A difference goes only to watchers that
//! have the frame before it. A watcher whose outbox is full misses it, and waits for a snapshot, which is asked for when its outbox has
//! room. So a slow reader holds no frame in memory, and costs the others nothing.

use super::Engine;
use super::order::Job;
use super::peer::Queued;
use super::pending::{Request, Unanswered};
use super::slots::SlotId;
use crate::clock::Moment;
use crate::id::{ChannelName, CommandId};
use crate::job::presence::{PageReply, PresenceJob};
use crate::limits::{ROSTER_ROUNDS_MAX, TELLS_PER_TURN};
use crate::roster::{ConnectionId, PushAudience, RosterEvent, RosterPush};
use crate::session::{PresenceOutcome, RosterEffect};
use crate::wire::command::WatchDetail;
use crate::wire::outbox::Offer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// The delay after which watchers that missed a frame are looked at again.
const LATE_PERIOD: Duration = Duration::from_secs(1);

/// The watchers of all rosters, and the frames that they are being sent.
#[derive(Debug, Default)]
pub(super) struct RosterWatchers {
    channels: BTreeMap<ChannelName, ChannelWatchers>,
    rounds: VecDeque<Round>,
    /// Channels with watchers that missed a frame.
    late: BTreeSet<ChannelName>,
    again: Moment,
    /// Peers whose rosters are still to be repeated.
    recount: Option<Vec<SlotId>>,
}

#[derive(Debug, Default)]
struct ChannelWatchers {
    members: WatcherList,
    count: WatcherList,
}

/// Watchers of one detail, by the index of their slots.
#[derive(Debug, Default)]
struct WatcherList {
    watchers: BTreeMap<u32, Watcher>,
    snapshot: SnapshotWait,
}

#[derive(Clone, Copy, Debug)]
struct Watcher {
    id: SlotId,
    stage: WatcherStage,
}

/// The progress of a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WatcherStage {
    /// Everything up to the last frame of its channel.
    Current,
    /// Not the last frame: it waits for a snapshot.
    Waiting,
}

/// A snapshot for the watchers that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SnapshotWait {
    #[default]
    NotAsked,
    Asked,
}

/// A frame, and the watchers that it has not been offered to.
#[derive(Debug)]
struct Round {
    channel: ChannelName,
    audience: PushAudience,
    frame: Rc<[u8]>,
    left: Vec<SlotId>,
}

const fn detail_of(audience: PushAudience) -> WatchDetail {
    match audience {
        PushAudience::Current | PushAudience::Waiting | PushAudience::Members => WatchDetail::Members,
        PushAudience::Count | PushAudience::WaitingCount => WatchDetail::Count,
    }
}

impl ChannelWatchers {
    fn list(&mut self, detail: WatchDetail) -> &mut WatcherList {
        match detail {
            WatchDetail::Members => &mut self.members,
            WatchDetail::Count => &mut self.count,
        }
    }

    fn is_empty(&self) -> bool {
        self.members.watchers.is_empty() && self.count.watchers.is_empty()
    }
}

impl Watcher {
    /// True exactly if the watcher takes a frame for this audience now.
    fn is_of(self, audience: PushAudience) -> bool {
        match audience {
            PushAudience::Current => self.stage == WatcherStage::Current,
            PushAudience::Waiting | PushAudience::WaitingCount => self.stage == WatcherStage::Waiting,
            PushAudience::Members | PushAudience::Count => true,
        }
    }
}

impl RosterWatchers {
    /// True exactly when nothing is to be done now.
    pub(super) fn is_idle(&self) -> bool {
        self.rounds.is_empty() && self.recount.is_none()
    }

    /// The time to look again at watchers that missed a frame.
    pub(super) fn due(&self) -> Option<Moment> {
        (!self.late.is_empty()).then_some(self.again)
    }

    fn watcher(&mut self, channel: &ChannelName, detail: WatchDetail, id: SlotId) -> Option<&mut Watcher> {
        let watcher = self.channels.get_mut(channel)?.list(detail).watchers.get_mut(&id.index)?;
        (watcher.id == id).then_some(watcher)
    }

    /// Adds a watcher. True exactly if a snapshot must be asked for.
    fn add(&mut self, channel: ChannelName, detail: WatchDetail, id: SlotId) -> bool {
        let list = self.channels.entry(channel).or_default().list(detail);
        list.watchers.insert(id.index, Watcher { id, stage: WatcherStage::Waiting });
        std::mem::replace(&mut list.snapshot, SnapshotWait::Asked) == SnapshotWait::NotAsked
    }

    /// Removes a watcher. True exactly if it was the last of its kind.
    fn remove(&mut self, channel: &ChannelName, detail: WatchDetail, id: SlotId) -> bool {
        let Some(watchers) = self.channels.get_mut(channel) else { return false };
        let list = watchers.list(detail);
        if list.watchers.get(&id.index).is_none_or(|watcher| watcher.id != id) {
            return false;
        }
        list.watchers.remove(&id.index);
        let is_last = list.watchers.is_empty();
        if is_last {
            list.snapshot = SnapshotWait::NotAsked;
        }
        if watchers.is_empty() {
            self.channels.remove(channel);
            self.late.remove(channel);
        }
        is_last
    }

    /// Has all watchers wait for a snapshot. Returns the rosters to ask for.
    fn outdate_all(&mut self) -> Vec<(ChannelName, WatchDetail)> {
        self.rounds.clear();
        let mut asks = Vec::new();
        for (channel, watchers) in &mut self.channels {
            for detail in [WatchDetail::Members, WatchDetail::Count] {
                let list = watchers.list(detail);
                for watcher in list.watchers.values_mut() {
                    watcher.stage = WatcherStage::Waiting;
                }
                if !list.watchers.is_empty() {
                    list.snapshot = SnapshotWait::Asked;
                    asks.push((channel.clone(), detail));
                }
            }
        }
        asks
    }

    /// Takes a frame for the watchers of a channel.
    fn take(&mut self, push: &RosterPush) {
        let detail = detail_of(push.audience);
        let Some(watchers) = self.channels.get_mut(&push.channel) else { return };
        let list = watchers.list(detail);
        match push.audience {
            PushAudience::Waiting | PushAudience::WaitingCount => list.snapshot = SnapshotWait::NotAsked,
            PushAudience::Current | PushAudience::Members | PushAudience::Count => {}
        }
        if self.rounds.len() >= ROSTER_ROUNDS_MAX {
            // This reactor is behind: these watchers get a snapshot when it is not any more.
            for watcher in list.watchers.values_mut() {
                watcher.stage = WatcherStage::Waiting;
            }
            self.late.insert(push.channel.clone());
            return;
        }
        let left: Vec<SlotId> = list.watchers.values().map(|watcher| watcher.id).collect();
        if !left.is_empty() {
            let (channel, frame) = (push.channel.clone(), Rc::from(&*push.frame));
            self.rounds.push_back(Round { channel, audience: push.audience, frame, left });
        }
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
                if !self.rounds.rosters.add(channel.clone(), detail, id) {
                    return;
                }
                RosterEvent::Watch { channel, reactor, detail }
            }
            RosterEffect::Unwatch { channel, detail } => {
                if !self.rounds.rosters.remove(&channel, detail, id) {
                    return;
                }
                RosterEvent::Unwatch { channel, reactor, detail }
            }
            RosterEffect::Page { id: command, wish, asked } => {
                return self.ask(Request::Presence { slot: id, id: command }, asked, |ticket| {
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
    pub(super) fn take_roster_pushes(&mut self, pushes: &[RosterPush]) {
        for push in pushes {
            self.rounds.rosters.take(push);
        }
    }

    /// Takes the news that frames about rosters did not arrive: all watchers get snapshots.
    pub fn handle_missed_rosters(&mut self) {
        let reactor = self.basis.id;
        for (channel, detail) in self.rounds.rosters.outdate_all() {
            self.say(RosterEvent::Watch { channel, reactor, detail });
        }
    }

    /// Begins to repeat everything that this reactor has on rosters.
    pub(super) fn begin_recount(&mut self) {
        self.rounds.rosters.recount = Some(self.peers.ids());
    }

    /// Offers the next frames to the next watchers, and goes on with a recount.
    pub(super) fn push_rosters(&mut self) {
        if self.rounds.rosters.channels.is_empty() && self.rounds.rosters.is_idle() {
            return;
        }
        self.recount_rosters();
        if !self.rounds.rosters.late.is_empty() && self.rounds.rosters.again <= self.now.at {
            self.ask_for_late();
        }
        let mut quota = TELLS_PER_TURN;
        while quota > 0
            && let Some(mut round) = self.rounds.rosters.rounds.pop_front()
        {
            let from = round.left.len().saturating_sub(quota);
            let ids = round.left.split_off(from);
            quota -= ids.len().min(quota);
            for id in ids {
                self.offer_roster(&round, id);
            }
            if !round.left.is_empty() {
                self.rounds.rosters.rounds.push_front(round);
            }
        }
    }

    fn offer_roster(&mut self, round: &Round, id: SlotId) {
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize;
        let Round { channel, audience, frame, .. } = round;
        let Some(watcher) = self.rounds.rosters.watcher(channel, detail_of(*audience), id) else { return };
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
                if self.rounds.rosters.late.is_empty() {
                    self.rounds.rosters.again = self.now.at + LATE_PERIOD;
                }
                self.rounds.rosters.late.insert(channel.clone());
            }
        }
    }

    /// Asks for snapshots for watchers that missed a frame and have room again.
    fn ask_for_late(&mut self) {
        let room = self.setup.policy.limits.outbox_bytes as usize / 2;
        let reactor = self.basis.id;
        self.rounds.rosters.again = self.now.at + LATE_PERIOD;
        for channel in std::mem::take(&mut self.rounds.rosters.late) {
            for detail in [WatchDetail::Members, WatchDetail::Count] {
                let Some(watchers) = self.rounds.rosters.channels.get_mut(&channel) else { continue };
                let list = watchers.list(detail);
                let waiting = list.watchers.values().filter(|watcher| watcher.stage == WatcherStage::Waiting);
                let (mut ready, mut stuck) = (false, false);
                for watcher in waiting {
                    let has_room = self.peers.get(watcher.id).is_some_and(|peer| peer.outbox.bytes() < room);
                    ready |= has_room;
                    stuck |= !has_room;
                }
                if stuck {
                    self.rounds.rosters.late.insert(channel.clone());
                }
                if ready {
                    list.snapshot = SnapshotWait::Asked;
                    self.say(RosterEvent::Watch { channel: channel.clone(), reactor, detail });
                }
            }
        }
    }

    /// Repeats the rosters of the next peers, and at the end what is watched.
    fn recount_rosters(&mut self) {
        let Some(mut left) = self.rounds.rosters.recount.take() else { return };
        let from = left.len().saturating_sub(TELLS_PER_TURN);
        for id in left.split_off(from) {
            self.with_session(id, |session, cx| session.repeat_rosters(cx));
        }
        if !left.is_empty() {
            self.rounds.rosters.recount = Some(left);
            return;
        }
        self.handle_missed_rosters();
        let reactor = self.basis.id;
        self.say(RosterEvent::Recounted { reactor });
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
