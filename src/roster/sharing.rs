//! The rosters that are shared with other instances: the views of their segments, and the writes of the own ones.

mod memory;

use super::reading::{ReadingOutcome, RosterReading};
use super::service::{ServiceState, SharingBounds, TopicWish, WayState, Ways};
use super::share::Rise;
use super::view::{Judgement, Losses, View};
use super::writes::SegmentWrites;
use crate::clock::Moment;
use crate::id::{ChannelName, Incarnation, UserName};
use crate::wire::partitions::PartitionSet;
use crate::wire::presence::RosterKnowledge;
use crate::wire::slot::Partition;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a view stays open after its last watcher or page.
const CLOSE_AFTER: Duration = Duration::from_secs(30);
/// The longest wait of a first snapshot for the first reading that lacks nothing.
const OPENING: Duration = Duration::from_secs(1);
/// The time between two readings of a view; with many instances, so that Redis is not read all the time; while messages do not arrive.
const READ_PERIOD: Duration = Duration::from_secs(10);
const READ_PERIOD_MANY: Duration = Duration::from_secs(30);
const READ_PERIOD_DEAF: Duration = Duration::from_secs(1);
/// Other instances from which on it is [`READ_PERIOD_MANY`].
const MANY: usize = 63;
/// A reading that failed, or was not answered, is repeated after this time.
const READ_AGAIN: Duration = Duration::from_secs(1);
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Readings under way.
const READS_MAX: usize = 256;
/// Views without watchers, above which a page opens no further one. Watchers are bounded by the rosters of each connection.
pub(super) const VIEWS_FOR_PAGES_MAX: usize = 16_384;

/// The views, and what is to be written.
#[derive(Debug)]
pub(super) struct SharedRosters {
    pub(super) state: ServiceState,
    pub(super) bounds: SharingBounds,
    views: BTreeMap<ChannelName, ChannelView>,
    /// When each view has something to do.
    due: BTreeSet<(Moment, ChannelName)>,
    /// Views without watchers.
    unwatched: usize,
    readings: usize,
    wishes: Vec<TopicWish>,
    pub(super) writes: SegmentWrites,
}

/// The view of one channel.
#[derive(Debug)]
pub(super) struct ChannelView {
    pub(super) view: View,
    partition: Partition,
    pub(super) knowledge: RosterKnowledge,
    opened: Moment,
    /// The last time at which it was needed, and whether it still is.
    used: Moment,
    is_watched: bool,
    is_followed: bool,
    /// When its shown numbers rise.
    rise: Rise,
    /// When the newest reading that succeeded was asked for.
    read: Option<Moment>,
    /// Earlier readings may lack something.
    read_after: Moment,
    read_at: Moment,
    reading: Option<Moment>,
    settling: BTreeSet<(Moment, UserName)>,
    /// Departures whose end is held.
    held: Vec<HeldEnd>,
    due: Option<Moment>,
}

/// The end of a departure, which waits until the roster is complete, or until a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeldEnd {
    pub(super) user: UserName,
    pub(super) name: u64,
    pub(super) departure: u16,
    pub(super) until: Moment,
}

impl ChannelView {
    fn losses(&self) -> Losses {
        match self.knowledge {
            RosterKnowledge::Complete => Losses::AreTrue,
            RosterKnowledge::Incomplete => Losses::AreHeld,
        }
    }

    /// True if the newest reading lacks nothing that was written before it.
    fn is_read(&self) -> bool {
        self.is_followed && self.read.is_some_and(|read| read >= self.read_after)
    }

    /// True until the first reading that may be complete.
    fn is_opening(&self, now: Moment) -> bool {
        self.rise == Rise::AtOnce && !self.is_read() && now < self.opened + OPENING
    }
}

impl SharedRosters {
    pub(super) fn new(incarnation: Incarnation, bounds: SharingBounds) -> SharedRosters {
        SharedRosters {
            state: ServiceState::unknown(incarnation),
            bounds,
            views: BTreeMap::new(),
            due: BTreeSet::new(),
            unwatched: 0,
            readings: 0,
            wishes: Vec::new(),
            writes: SegmentWrites::default(),
        }
    }

    /// The next moment at which there is something to do.
    pub(super) fn due(&self) -> Option<Moment> {
        let writes = self.writes.due().filter(|_| self.state.storage != Ways::LOST);
        // With all readings under way, the next answer comes first.
        let views = self.due.first().filter(|_| self.readings < READS_MAX).map(|(at, _)| *at);
        views.into_iter().chain(writes).min()
    }

    pub(super) fn view(&self, channel: &ChannelName) -> Option<&ChannelView> {
        self.views.get(channel)
    }

    pub(super) fn channels(&self) -> Vec<ChannelName> {
        self.views.keys().cloned().collect()
    }

    pub(super) fn take_wishes(&mut self) -> Vec<TopicWish> {
        std::mem::take(&mut self.wishes)
    }

    /// Opens a view for a page, or keeps it open. Without room for one more, the page is answered with what is known.
    pub(super) fn open_for_page(&mut self, channel: &ChannelName, now: Moment) {
        if let Some(view) = self.views.get_mut(channel) {
            view.used = now;
            self.plan(channel);
        } else if self.unwatched < VIEWS_FOR_PAGES_MAX {
            self.open(channel, now);
        }
    }

    fn open(&mut self, channel: &ChannelName, now: Moment) {
        let view = ChannelView {
            view: View::default(),
            partition: Partition::of(channel.as_str()),
            knowledge: RosterKnowledge::Incomplete,
            opened: now,
            used: now,
            is_watched: false,
            is_followed: false,
            rise: Rise::AtOnce,
            read: None,
            read_after: now,
            read_at: now,
            reading: None,
            settling: BTreeSet::new(),
            held: Vec::new(),
            due: None,
        };
        self.views.insert(channel.clone(), view);
        self.unwatched += 1;
        self.wishes.push(TopicWish::Follow(channel.clone()));
        self.plan(channel);
    }

    /// Notes whether a roster has watchers, and which members have to be decided again.
    pub(super) fn note_roster(
        &mut self,
        channel: &ChannelName,
        watchers: Watchers,
        settling: Vec<(Moment, UserName)>,
        now: Moment,
    ) {
        let is_watched = watchers == Watchers::Some;
        if is_watched && !self.views.contains_key(channel) {
            self.open(channel, now);
        }
        let Some(view) = self.views.get_mut(channel) else { return };
        let is_same = view.is_watched == is_watched && settling.is_empty();
        match (view.is_watched, is_watched) {
            (true, false) => {
                view.used = now;
                self.unwatched += 1;
            }
            (false, true) => self.unwatched = self.unwatched.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
        view.is_watched = is_watched;
        view.settling.extend(settling);
        if !is_same {
            self.plan(channel);
        }
    }

    /// The end of the wait for the first reading; `None` if there is nothing to wait for.
    pub(super) fn opening(&self, channel: &ChannelName, now: Moment) -> Option<Moment> {
        let view = self.views.get(channel).filter(|view| self.state.reaches(view.partition))?;
        view.is_opening(now).then_some(view.opened + OPENING)
    }

    /// Holds the end of a departure. It is returned if the roster is complete, or is not followed.
    pub(super) fn hold(&mut self, channel: &ChannelName, end: HeldEnd) -> Option<HeldEnd> {
        let is_incomplete = |view: &&mut ChannelView| view.knowledge == RosterKnowledge::Incomplete;
        let Some(view) = self.views.get_mut(channel).filter(is_incomplete) else { return Some(end) };
        view.held.push(end);
        self.plan(channel);
        None
    }

    /// True if a roster is followed, and not complete.
    pub(super) fn is_incomplete(&self, channel: &ChannelName) -> bool {
        self.views.get(channel).is_some_and(|view| view.knowledge == RosterKnowledge::Incomplete)
    }

    pub(super) fn knowledge(&self, channel: &ChannelName) -> RosterKnowledge {
        self.views.get(channel).map_or(RosterKnowledge::Incomplete, |view| view.knowledge)
    }

    /// When the shown numbers of a roster rise.
    pub(super) fn rise(&self, channel: &ChannelName) -> Rise {
        self.views.get(channel).map_or(Rise::AtOnce, |view| view.rise)
    }

    /// Notes that everything that is known of a view is shown. Once that is complete, shown numbers are kept.
    pub(super) fn shown(&mut self, channel: &ChannelName) {
        if let Some(view) = self.views.get_mut(channel)
            && view.knowledge == RosterKnowledge::Complete
        {
            view.rise = Rise::OnceSure;
        }
    }

    fn period(&self, partition: Partition) -> Duration {
        match self.state.messages.at(partition) {
            WayState::Lost => READ_PERIOD_DEAF,
            WayState::Reached if self.state.others.len() >= MANY => READ_PERIOD_MANY,
            WayState::Reached => READ_PERIOD,
        }
    }

    /// Decides whether the roster holds every member of the service.
    fn knowledge_now(&self, view: &ChannelView, now: Moment) -> RosterKnowledge {
        let stale_after = self.period(view.partition) * 2 + READ_TIMEOUT;
        let is_read = view.is_read() && view.read.is_some_and(|read| now.since(read) <= stale_after);
        match self.state.is_sure(view.partition) && is_read && view.view.is_sure(&self.state) {
            true => RosterKnowledge::Complete,
            false => RosterKnowledge::Incomplete,
        }
    }

    /// Calls for a reading of every view in these partitions, because something may have been missed.
    pub(super) fn read_all(&mut self, partitions: PartitionSet, now: Moment) {
        let views = self.views.iter().filter(|(_, view)| partitions.contains(view.partition));
        for channel in views.map(|(channel, _)| channel.clone()).collect::<Vec<_>>() {
            self.read_again(&channel, now);
        }
    }

    /// Calls for a reading of a view. Until it has succeeded, the view is not complete.
    pub(super) fn read_again(&mut self, channel: &ChannelName, now: Moment) {
        let Some(view) = self.views.get_mut(channel) else { return };
        (view.read_after, view.read_at) = (now, now);
        self.plan(channel);
    }

    /// Notes that messages about a channel arrive from now on.
    pub(super) fn followed(&mut self, channel: &ChannelName, now: Moment) {
        let Some(view) = self.views.get_mut(channel) else { return };
        view.is_followed = true;
        // Whatever was published before is not heard of.
        self.read_again(channel, now);
    }

    /// Notes that messages about a channel no longer arrive, until they do again.
    pub(super) fn unfollowed(&mut self, channel: &ChannelName) {
        if let Some(view) = self.views.get_mut(channel) {
            view.is_followed = false;
        }
    }

    /// The channels to be read now.
    pub(super) fn take_reads(&mut self, now: Moment) -> Vec<RosterReading> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, channel)| channel);
        let is_due = |channel: &&ChannelName| {
            self.views.get(*channel).is_some_and(|view| {
                let is_reached = self.state.storage.at(view.partition) == WayState::Reached;
                is_reached && view.reading.is_none() && view.read_at <= now
            })
        };
        let room = READS_MAX.saturating_sub(self.readings);
        let channels: Vec<ChannelName> = due.filter(is_due).take(room).cloned().collect();
        for channel in &channels {
            if let Some(view) = self.views.get_mut(channel) {
                view.reading = Some(now);
                self.readings += 1;
            }
            self.plan(channel);
        }
        channels.into_iter().map(|channel| RosterReading { channel, asked: now }).collect()
    }

    /// Ends a reading. Returns when it was asked for; `None` if it was given up before.
    pub(super) fn end_reading(
        &mut self,
        reading: &RosterReading,
        outcome: ReadingOutcome,
        now: Moment,
    ) -> Option<Moment> {
        let period = self.period(self.views.get(&reading.channel)?.partition);
        let view = self.views.get_mut(&reading.channel)?;
        let asked = view.reading.take_if(|asked| *asked == reading.asked)?;
        self.readings = self.readings.saturating_sub(1);
        // A gap that was found meanwhile needs another one.
        let is_enough = view.read_after <= asked;
        view.read_at = match (outcome, is_enough) {
            (ReadingOutcome::Done, true) => asked + period,
            (ReadingOutcome::Done, false) => now,
            (ReadingOutcome::Failed, _) => now + READ_AGAIN,
        };
        if outcome == ReadingOutcome::Done {
            view.read = Some(asked);
        }
        Some(asked)
    }

    /// Gives up readings that were not answered, and returns the members of a view whose shown number has to be decided again.
    fn take_due(view: &mut ChannelView, readings: &mut usize, now: Moment) -> Vec<UserName> {
        if view.reading.is_some_and(|asked| asked + READ_TIMEOUT <= now) {
            (view.reading, view.read_at) = (None, now);
            *readings = readings.saturating_sub(1);
        }
        let mut users = Vec::new();
        while view.settling.first().is_some_and(|(at, _)| *at <= now) {
            users.extend(view.settling.pop_first().map(|(_, user)| user));
        }
        users
    }

    /// Looks at a view: judges its segments, and decides whether it is complete. Returns what changed.
    pub(super) fn look(&mut self, channel: &ChannelName, grace: Duration, now: Moment) -> LookOutcome {
        let Some(mut view) = self.views.remove(channel) else { return LookOutcome::default() };
        let (before, counted) = (view.knowledge, view.view.counted());
        let settles = SharedRosters::take_due(&mut view, &mut self.readings, now);
        view.knowledge = self.knowledge_now(&view, now);
        let (service, partition, losses) = (&self.state, view.partition, view.losses());
        let judgement = Judgement { service, partition, losses, grace, now };
        let mut changed = view.view.judge(judgement);
        // That may have been all that was missing.
        if view.knowledge == RosterKnowledge::Incomplete {
            view.knowledge = self.knowledge_now(&view, now);
            if view.knowledge == RosterKnowledge::Complete {
                changed.extend(view.view.judge(Judgement { losses: Losses::AreTrue, ..judgement }));
            }
        }
        let is_over = |end: &mut HeldEnd| end.until <= now || view.knowledge == RosterKnowledge::Complete;
        let ends = view.held.extract_if(.., is_over).collect();
        let is_news = before != view.knowledge || counted != view.view.counted();
        self.views.insert(channel.clone(), view);
        self.plan(channel);
        LookOutcome { changed, settles, ends, is_news }
    }

    /// Acts on a view and its segments.
    pub(super) fn with<R>(
        &mut self,
        channel: &ChannelName,
        act: impl FnOnce(&mut View, Losses) -> R,
    ) -> Option<R> {
        let view = self.views.get_mut(channel)?;
        let losses = view.losses();
        Some(act(&mut view.view, losses))
    }

    /// The views that have something to do.
    pub(super) fn due_views(&self, now: Moment) -> Vec<ChannelName> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, channel)| channel.clone()).collect()
    }

    /// Closes a view that was not needed for a while. Returns the users that it knew, and the departures that it held.
    pub(super) fn close_unused(&mut self, channel: &ChannelName, now: Moment) -> Option<LookOutcome> {
        let view = self.views.get(channel)?;
        if view.is_watched || view.used + CLOSE_AFTER > now {
            return None;
        }
        let view = self.views.remove(channel)?;
        self.unwatched = self.unwatched.saturating_sub(1);
        self.readings = self.readings.saturating_sub(usize::from(view.reading.is_some()));
        if let Some(due) = view.due {
            self.due.remove(&(due, channel.clone()));
        }
        self.wishes.push(TopicWish::Leave(channel.clone()));
        Some(LookOutcome { changed: view.view.users(), ends: view.held, ..LookOutcome::default() })
    }

    /// Plans when a view has something to do.
    fn plan(&mut self, channel: &ChannelName) {
        let Some(partition) = self.views.get(channel).map(|view| view.partition) else { return };
        let stale_after = self.period(partition) * 2 + READ_TIMEOUT;
        let Some(view) = self.views.get_mut(channel) else { return };
        let closes = (!view.is_watched).then_some(view.used + CLOSE_AFTER);
        let reads = match view.reading {
            Some(asked) => Some(asked + READ_TIMEOUT),
            None => Some(view.read_at).filter(|_| self.state.storage.at(partition) == WayState::Reached),
        };
        let settles = view.settling.first().map(|(at, _)| *at);
        let is_complete = view.knowledge == RosterKnowledge::Complete;
        let stales =
            view.read.filter(|_| is_complete).map(|read| read + stale_after + Duration::from_millis(1));
        let judges = view.view.due(view.losses(), &self.state);
        let held = view.held.iter().map(|end| end.until).min();
        let due = [closes, reads, settles, stales, judges, held].into_iter().flatten().min();
        if due == view.due {
            return;
        }
        if let Some(before) = std::mem::replace(&mut view.due, due) {
            self.due.remove(&(before, channel.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, channel.clone()));
        }
    }
}

/// The watchers of a roster at this instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watchers {
    None,
    Some,
}

/// The changes of a view.
#[derive(Debug, Default)]
pub(super) struct LookOutcome {
    /// Users that may have changed.
    pub(super) changed: BTreeSet<UserName>,
    /// Users whose shown number has to be decided again.
    pub(super) settles: Vec<UserName>,
    /// Departures that end now.
    pub(super) ends: Vec<HeldEnd>,
    /// It became complete, or incomplete, or its numbers changed.
    pub(super) is_news: bool,
}
