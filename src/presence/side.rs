//! The side of the thread that is shared with other instances: jobs for the registry, and its news.

use super::listen::{ListenerParts, RosterFeed, RosterListener, RosterNews};
use super::parts::SharingParts;
use super::topic::TopicNames;
use crate::clock::Moment;
use crate::cluster::instance::InstanceState;
use crate::id::Incarnation;
use crate::job::bus::{Bell, SharedKey};
use crate::job::segments::{
    SEGMENT_READS_MAX, SegmentAudit, SegmentBatch, SegmentJob, SegmentNews, SegmentOutcome, SegmentOwner,
    SegmentQueue, SegmentWrite,
};
use crate::limits::{ROSTER_NEWS, ROSTER_TOPICS};
use crate::metrics::presence::PresenceCounters;
use crate::roster::{
    DeltaFate, InstanceStanding, RosterInstance, RosterReading, RosterWrite, Rosters, SegmentChange,
    SegmentContent, ServiceState, SharingBounds, TopicWish, WayState, WriteOutcome,
};
use crate::wire::envelope::{self, Origin};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::Builder;

/// News taken before other work is done.
const NEWS_MAX: usize = 1_024;

/// The thread's ends of what it shares with the registry and with the listener.
pub(super) struct SharedSide {
    segments: SegmentQueue,
    names: TopicNames,
    origin: Origin,
    key: SharedKey,
    wishes: Sender<TopicWish>,
    /// Wishes that the listener had no room for; at most two for each view.
    waiting: VecDeque<TopicWish>,
    bell: Arc<Bell>,
    news: Receiver<RosterNews>,
    feed: Arc<RosterFeed>,
    /// The number of losses that it has acted upon.
    losses: u64,
}

impl SharedSide {
    /// Starts the listener.
    pub(super) fn start(parts: SharingParts) -> io::Result<SharedSide> {
        let SharingParts { target, prefix, origin, key, segments } = parts;
        let names = TopicNames::new(prefix);
        let (wishes, wishes_out) = bounded(ROSTER_TOPICS);
        let (news_in, news) = bounded(ROSTER_NEWS);
        let (bell, feed) = (Arc::new(Bell::new()?), Arc::new(RosterFeed::default()));
        let listener = ListenerParts {
            target,
            names: names.clone(),
            origin,
            key: Arc::clone(&key),
            wishes: wishes_out,
            bell: Arc::clone(&bell),
            news: news_in,
            feed: Arc::clone(&feed),
        };
        Builder::new().name("presence-listen".into()).spawn(move || RosterListener::new(listener).run())?;
        let waiting = VecDeque::new();
        Ok(SharedSide { segments, names, origin, key, wishes, waiting, bell, news, feed, losses: 0 })
    }

    /// Shares these rosters from now on.
    pub(super) fn join(&self, rosters: &mut Rosters, bounds: SharingBounds) {
        rosters.share(self.segments.view().incarnation, bounds);
    }

    /// The ends whose news wake the thread.
    pub(super) fn wakers(&self) -> (&Receiver<SegmentNews>, &Receiver<RosterNews>) {
        (&self.segments.news, &self.news)
    }

    /// Takes everything that is new.
    pub(super) fn take(
        &mut self,
        first: (Option<SegmentNews>, Option<RosterNews>),
        rosters: &mut Rosters,
        counters: &PresenceCounters,
        now: Moment,
    ) {
        rosters.observe(self.state(), now);
        // Before the messages: the readings that it calls for begin after them.
        let losses = self.feed.losses();
        if std::mem::replace(&mut self.losses, losses) != losses {
            rosters.doubt_views(now);
        }
        let (segment, roster) = first;
        for news in segment.into_iter().chain(self.segments.news.try_iter().take(NEWS_MAX)) {
            self.take_segment(news, rosters, counters, now);
        }
        for news in roster.into_iter().chain(self.news.try_iter().take(NEWS_MAX)) {
            match news {
                RosterNews::Followed(channel) => rosters.followed(&channel, now),
                RosterNews::Delta { channel, origin, delta } => {
                    match rosters.hear(&channel, origin, delta, now) {
                        DeltaFate::Applied => counters.deltas_applied.add(1),
                        DeltaFate::Old => counters.deltas_old.add(1),
                        DeltaFate::Gap => counters.deltas_gap.add(1),
                    }
                }
            }
        }
    }

    fn take_segment(
        &self,
        news: SegmentNews,
        rosters: &mut Rosters,
        counters: &PresenceCounters,
        now: Moment,
    ) {
        match news {
            SegmentNews::Flushed { begun, outcome: SegmentOutcome::Written } => {
                rosters.written(begun, WriteOutcome::Written, now);
            }
            SegmentNews::Flushed {
                begun,
                outcome: SegmentOutcome::Refused | SegmentOutcome::Failed | SegmentOutcome::FailedIn(_),
            } => {
                counters.writes_failed.add(1);
                rosters.written(begun, WriteOutcome::Failed, now);
            }
            SegmentNews::Read { key, asked, fields } => {
                if let Some(channel) = self.names.channel(key.as_bytes()) {
                    counters.reads.add(1);
                    rosters.read(&RosterReading { channel, asked }, fields.as_deref(), now);
                }
            }
            SegmentNews::Audited { key, found } => {
                if let Some(channel) = self.names.channel(key.as_bytes())
                    && rosters.audited(&channel, found.as_deref(), now)
                {
                    counters.repairs.add(1);
                    tracing::info!(%channel, "roster written again because Redis had lost or changed it");
                }
            }
            // The view is read in each turn.
            SegmentNews::Changed => {}
        }
    }

    /// Sends what is to be written, read and followed.
    pub(super) fn send(&mut self, rosters: &mut Rosters, counters: &PresenceCounters, now: Moment) {
        if let Some(RosterWrite { incarnation, begun, changes }) = rosters.take_writes(now) {
            counters.writes.add(changes.len() as u64);
            let writes = changes.into_iter().map(|change| self.write_of(change)).collect();
            let job = SegmentJob::Write(SegmentBatch { incarnation, begun, writes });
            if self.segments.send(job).is_err() {
                rosters.written(begun, WriteOutcome::Failed, now);
            }
        }
        if let Some(incarnation) = rosters.take_complete() {
            self.say_complete(incarnation);
        }
        let readings = rosters.take_reads(now);
        for readings in readings.chunks(SEGMENT_READS_MAX) {
            let keys = readings.iter().map(|reading| self.names.key(&reading.channel)).collect();
            if self.segments.send(SegmentJob::Read { keys, asked: now }).is_err() {
                readings.iter().for_each(|reading| rosters.read(reading, None, now));
            }
        }
        self.waiting.extend(rosters.take_topics());
        let mut is_new = false;
        while let Some(wish) = self.waiting.pop_front() {
            if let Err(error) = self.wishes.try_send(wish) {
                self.waiting.push_front(error.into_inner());
                break;
            }
            is_new = true;
        }
        if is_new {
            self.bell.ring();
        }
    }

    fn say_complete(&self, incarnation: Incarnation) {
        // Without room the lease says so with the next incarnation; the queue holds hundreds of jobs.
        if self.segments.send(SegmentJob::Complete(incarnation)).is_err() {
            tracing::warn!("registry does not take that the rosters are written");
        }
    }

    fn write_of(&self, change: SegmentChange) -> SegmentWrite {
        let SegmentChange { channel, set, remove, delta, content } = change;
        let key = self.names.key(&channel);
        let publish = self.key.load_full().map(|seal| {
            let mut message = Vec::new();
            envelope::roster(&mut message, &seal, self.origin, &key.key, &delta);
            message
        });
        let audit = match content {
            SegmentContent::Begins => SegmentAudit::Begin,
            SegmentContent::Stays => SegmentAudit::Keep,
            SegmentContent::Ends => SegmentAudit::End,
        };
        SegmentWrite { key, set, remove, publish, audit }
    }

    fn state(&self) -> ServiceState {
        let view = self.segments.view();
        let storage = if view.is_writable && view.is_readable { WayState::Reached } else { WayState::Lost };
        let mut others: Vec<RosterInstance> = view.owners.iter().map(other).collect();
        others.sort_by_key(|other| other.incarnation);
        ServiceState { incarnation: view.incarnation, storage, messages: self.feed.reach(), others }
    }
}

fn other(owner: &SegmentOwner) -> RosterInstance {
    let standing = match owner.state {
        InstanceState::Alive | InstanceState::Draining if owner.parts.rosters => InstanceStanding::Sure,
        InstanceState::Alive | InstanceState::Draining | InstanceState::Isolated => InstanceStanding::Unsure,
        InstanceState::Gone | InstanceState::Left => InstanceStanding::Ended(owner.since),
    };
    RosterInstance { incarnation: owner.incarnation, name: Arc::clone(&owner.name), standing }
}
