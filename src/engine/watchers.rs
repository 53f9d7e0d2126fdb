//! The watchers of rosters on this reactor, and the frames that wait for them.

use super::slots::SlotId;
use crate::clock::Moment;
use crate::id::{ChannelName, ReactorId};
use crate::limits::ROSTER_WAITING_BYTES;
use crate::roster::{PushAudience, RosterPush, WatchNumber};
use crate::wire::command::WatchDetail;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The delay after which watchers that missed a frame are looked at again.
const LATE_PERIOD: Duration = Duration::from_secs(1);

/// The watchers of all rosters, and the frames that they are being sent.
#[derive(Debug, Default)]
pub(super) struct RosterWatchers {
    channels: BTreeMap<ChannelName, ChannelWatchers>,
    /// Frames that were not offered to any watcher yet.
    waiting: VecDeque<WaitingFrames>,
    /// The memory of those frames.
    waiting_bytes: usize,
    /// The frame that watchers are being offered.
    round: Option<Round>,
    /// Channels with watchers that missed a frame: they are looked at again from `again` on.
    late: BTreeSet<ChannelName>,
    again: Moment,
    /// The late channels that are being looked at.
    asking: Vec<ChannelName>,
    last_watch: WatchNumber,
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
    /// The snapshot that was asked for. Any other one is older than some watcher.
    asked: Option<WatchNumber>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Watcher {
    id: SlotId,
    pub(super) stage: WatcherStage,
}

/// The progress of a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatcherStage {
    /// Everything up to the last frame of its channel.
    Current,
    /// Not the last frame: it waits for a snapshot, and no other frame is of use to it.
    Waiting,
}

/// Frames of one broadcast.
#[derive(Debug)]
struct WaitingFrames {
    pushes: Arc<[RosterPush]>,
    next: usize,
    end: usize,
}

/// A frame, and the watchers that it has not been offered to.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) channel: ChannelName,
    pub(super) audience: PushAudience,
    pub(super) frame: Rc<[u8]>,
    pub(super) left: Vec<SlotId>,
}

pub(super) const fn detail_of(audience: PushAudience) -> WatchDetail {
    match audience {
        PushAudience::Current | PushAudience::Waiting => WatchDetail::Members,
        PushAudience::Count | PushAudience::WaitingCount => WatchDetail::Count,
    }
}

fn held_bytes(push: &RosterPush) -> usize {
    push.frame.len() + size_of::<RosterPush>()
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

impl WatcherList {
    /// Has all watchers wait for a snapshot that was not asked for yet.
    fn outdate(&mut self) {
        self.asked = None;
        for watcher in self.watchers.values_mut() {
            watcher.stage = WatcherStage::Waiting;
        }
    }
}

impl Watcher {
    /// True exactly if a frame for this audience is for the watcher.
    pub(super) fn is_of(self, audience: PushAudience) -> bool {
        match audience {
            PushAudience::Current | PushAudience::Count => self.stage == WatcherStage::Current,
            PushAudience::Waiting | PushAudience::WaitingCount => self.stage == WatcherStage::Waiting,
        }
    }
}

impl RosterWatchers {
    /// True exactly when no frame waits.
    pub(super) fn is_idle(&self) -> bool {
        self.round.is_none() && self.waiting.is_empty()
    }

    /// The time to ask for snapshots for watchers that missed a frame.
    pub(super) fn due(&self) -> Option<Moment> {
        match self.asking.is_empty() {
            true => (!self.late.is_empty()).then_some(self.again),
            false => Some(Moment::ZERO),
        }
    }

    pub(super) fn watcher(
        &mut self,
        channel: &ChannelName,
        detail: WatchDetail,
        id: SlotId,
    ) -> Option<&mut Watcher> {
        let watcher = self.channels.get_mut(channel)?.list(detail).watchers.get_mut(&id.index)?;
        (watcher.id == id).then_some(watcher)
    }

    /// Adds a watcher. Returns the number of the watch that must be announced for it, if any.
    pub(super) fn add(
        &mut self,
        channel: ChannelName,
        detail: WatchDetail,
        id: SlotId,
    ) -> Option<WatchNumber> {
        let list = self.channels.entry(channel).or_default().list(detail);
        list.watchers.insert(id.index, Watcher { id, stage: WatcherStage::Waiting });
        match list.asked {
            Some(_) => None,
            None => {
                self.last_watch = self.last_watch.next();
                list.asked = Some(self.last_watch);
                list.asked
            }
        }
    }

    /// Removes a watcher. True exactly if it was the last of its kind.
    pub(super) fn remove(&mut self, channel: &ChannelName, detail: WatchDetail, id: SlotId) -> bool {
        let Some(watchers) = self.channels.get_mut(channel) else { return false };
        let list = watchers.list(detail);
        if list.watchers.get(&id.index).is_none_or(|watcher| watcher.id != id) {
            return false;
        }
        list.watchers.remove(&id.index);
        let is_last = list.watchers.is_empty();
        if is_last {
            list.asked = None;
            // A watcher that comes now needs a newer frame.
            self.round.take_if(|round| round.channel == *channel && detail_of(round.audience) == detail);
        }
        if watchers.is_empty() {
            self.channels.remove(channel);
            self.late.remove(channel);
        }
        is_last
    }

    /// Has all watchers wait for snapshots.
    pub(super) fn outdate_all(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.round = None;
        for watchers in self.channels.values_mut() {
            watchers.members.outdate();
            watchers.count.outdate();
        }
        self.late.clear();
        self.asking = self.channels.keys().cloned().collect();
    }

    /// Takes the frames of a broadcast. Watchers of frames without room get snapshots later.
    pub(super) fn take(&mut self, pushes: &Arc<[RosterPush]>, now: Moment) {
        let mut end = 0;
        for push in pushes.iter() {
            if self.waiting_bytes + held_bytes(push) > ROSTER_WAITING_BYTES {
                break;
            }
            self.waiting_bytes += held_bytes(push);
            end += 1;
        }
        if end > 0 {
            self.waiting.push_back(WaitingFrames { pushes: Arc::clone(pushes), next: 0, end });
        }
        for push in pushes.iter().skip(end) {
            self.outdate(&push.channel, detail_of(push.audience), now);
        }
    }

    /// Has the watchers of a channel wait for a snapshot that is asked for later.
    pub(super) fn outdate(&mut self, channel: &ChannelName, detail: WatchDetail, now: Moment) {
        if let Some(watchers) = self.channels.get_mut(channel) {
            watchers.list(detail).outdate();
            self.note_late(channel, now);
        }
    }

    /// Notes that a channel has watchers that missed a frame.
    pub(super) fn note_late(&mut self, channel: &ChannelName, now: Moment) {
        if self.late.is_empty() {
            self.again = now + LATE_PERIOD;
        }
        self.late.insert(channel.clone());
    }

    /// The next frame to offer, and its watchers; perhaps none.
    pub(super) fn next_round(&mut self, reactor: ReactorId) -> Option<Round> {
        if let Some(round) = self.round.take() {
            return Some(round);
        }
        let frames = self.waiting.front_mut()?;
        let push = frames.pushes.get(frames.next).cloned();
        frames.next += 1;
        if frames.next >= frames.end {
            self.waiting.pop_front();
        }
        let push = push?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(held_bytes(&push));
        let left = self.audience(&push, reactor);
        let RosterPush { channel, audience, frame, .. } = push;
        Some(Round { channel, audience, frame: Rc::from(&*frame), left })
    }

    /// Keeps a frame that was not offered to all its watchers.
    pub(super) fn keep(&mut self, round: Round) {
        self.round = Some(round);
    }

    /// The watchers that a frame is for.
    fn audience(&mut self, push: &RosterPush, reactor: ReactorId) -> Vec<SlotId> {
        let Some(watchers) = self.channels.get_mut(&push.channel) else { return Vec::new() };
        let list = watchers.list(detail_of(push.audience));
        match push.audience {
            PushAudience::Waiting | PushAudience::WaitingCount => {
                // A snapshot from before the last watch may be older than a change that no frame brings any more.
                if list.asked.is_none() || list.asked != push.answered(reactor) {
                    return Vec::new();
                }
                list.asked = None;
            }
            PushAudience::Current | PushAudience::Count => {}
        }
        let of = list.watchers.values().filter(|watcher| watcher.is_of(push.audience));
        of.map(|watcher| watcher.id).collect()
    }

    /// The next channel with watchers that missed a frame, once it is time.
    pub(super) fn next_late(&mut self, now: Moment) -> Option<ChannelName> {
        if self.asking.is_empty() && self.again <= now && !self.late.is_empty() {
            self.asking = std::mem::take(&mut self.late).into_iter().collect();
        }
        self.asking.pop()
    }

    /// Has a watch begin for the watchers that wait, if none has begun and any of them has room. Returns its number.
    pub(super) fn ask_again(
        &mut self,
        channel: &ChannelName,
        detail: WatchDetail,
        now: Moment,
        has_room: impl Fn(SlotId) -> bool,
    ) -> Option<WatchNumber> {
        let list = self.channels.get_mut(channel)?.list(detail);
        if list.asked.is_some() {
            return None;
        }
        let (mut ready, mut stuck) = (false, false);
        for watcher in list.watchers.values().filter(|watcher| watcher.stage == WatcherStage::Waiting) {
            let has_room = has_room(watcher.id);
            ready |= has_room;
            stuck |= !has_room;
        }
        if ready {
            self.last_watch = self.last_watch.next();
            list.asked = Some(self.last_watch);
        }
        if stuck {
            self.note_late(channel, now);
        }
        ready.then_some(self.last_watch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::{ReactorSet, WatchOf};

    const REACTOR: ReactorId = ReactorId(7);
    const NOW: Moment = Moment::ZERO;

    fn channel(number: usize) -> ChannelName {
        ChannelName::parse(&format!("c.{number:05}")).expect("a name")
    }

    fn slot(index: u32) -> SlotId {
        SlotId { index, generation: 0 }
    }

    fn snapshot(number: usize, watch: WatchNumber, bytes: usize) -> RosterPush {
        let (reactors, frame) = (ReactorSet::default(), vec![b'x'; bytes].into());
        let answers = Arc::from([WatchOf { reactor: REACTOR, number: watch }]);
        RosterPush { channel: channel(number), audience: PushAudience::Waiting, reactors, answers, frame }
    }

    /// Offers all frames. Returns the number of watchers that got one.
    fn offer(watchers: &mut RosterWatchers) -> usize {
        let mut offered = 0;
        while !watchers.is_idle() {
            let Some(round) = watchers.next_round(REACTOR) else { continue };
            for id in round.left {
                let watcher = watchers.watcher(&round.channel, WatchDetail::Members, id).expect("a watcher");
                watcher.stage = WatcherStage::Current;
                offered += 1;
            }
        }
        offered
    }

    /// A watcher for each of this many channels, and their watches.
    fn watch(watchers: &mut RosterWatchers, channels: usize) -> Vec<WatchNumber> {
        let add = |number| watchers.add(channel(number), WatchDetail::Members, slot(1)).expect("the first");
        (0..channels).map(add).collect()
    }

    #[test]
    fn broadcast_for_thousands_of_channels_reaches_every_watcher() {
        let mut watchers = RosterWatchers::default();
        let numbers = watch(&mut watchers, 20_000);
        let pushes = numbers.iter().enumerate().map(|(number, watch)| snapshot(number, *watch, 100));
        watchers.take(&pushes.collect(), NOW);
        assert_eq!(offer(&mut watchers), 20_000);
        assert_eq!((watchers.due(), watchers.waiting_bytes), (None, 0));
    }

    #[test]
    fn watchers_of_frames_without_room_are_asked_for_later_and_get_no_older_snapshot() {
        let mut watchers = RosterWatchers::default();
        let numbers = watch(&mut watchers, 10);
        let bytes = ROSTER_WAITING_BYTES / 8;
        let pushes = numbers.iter().enumerate().map(|(number, watch)| snapshot(number, *watch, bytes));
        // The snapshots for the first watches follow a second time, and do not fit.
        let pushes: Arc<[RosterPush]> = pushes.collect();
        watchers.take(&pushes, NOW);
        watchers.take(&Arc::from([pushes[0].clone()]), NOW);
        assert_eq!(offer(&mut watchers), 6, "seven fit, and one of them is outdated");
        assert_eq!(watchers.due(), Some(NOW + LATE_PERIOD));
        assert_eq!(watchers.next_late(NOW), None, "not yet");
        let later = NOW + LATE_PERIOD;
        let mut pushes = Vec::new();
        while let Some(late) = watchers.next_late(later) {
            let number = (0..10).find(|number| channel(*number) == late).expect("one of them");
            let watch = watchers.ask_again(&late, WatchDetail::Members, later, |_| true).expect("it waits");
            assert_eq!(
                watchers.ask_again(&late, WatchDetail::Members, later, |_| true),
                None,
                "it is asked for"
            );
            pushes.push(snapshot(number, watch, bytes));
        }
        assert_eq!((pushes.len(), watchers.due()), (4, None));
        watchers.take(&Arc::from(pushes), later);
        assert_eq!(offer(&mut watchers), 4);
    }

    #[test]
    fn snapshot_for_a_watch_that_ended_is_not_taken_for_the_next_one() {
        let mut watchers = RosterWatchers::default();
        let add = |watchers: &mut RosterWatchers| watchers.add(channel(0), WatchDetail::Members, slot(1));
        let first = add(&mut watchers).expect("the first");
        watchers.take(&Arc::from([snapshot(0, first, 1)]), NOW);
        assert!(watchers.remove(&channel(0), WatchDetail::Members, slot(1)), "the last");
        let second = add(&mut watchers).expect("the first again");
        assert_eq!(offer(&mut watchers), 0, "it is older");
        watchers.take(&Arc::from([snapshot(0, second, 1)]), NOW);
        let round = watchers.next_round(REACTOR).expect("a frame");
        assert_eq!(round.left, [slot(1)]);
        watchers.keep(round);
        watchers.remove(&channel(0), WatchDetail::Members, slot(1));
        add(&mut watchers).expect("the first again");
        assert_eq!(offer(&mut watchers), 0, "the rest of a round is older as well");
    }
}
