//! The side of the thread that is shared with other instances: jobs for the registry, and its news.

use super::links::{ListenerShares, RosterLinks};
use super::listen::{ListenerClock, RosterNews};
use super::parts::SharingParts;
use super::topic::TopicNames;
use crate::clock::Moment;
use crate::cluster::instance::InstanceState;
use crate::job::bus::SharedKey;
use crate::job::segments::{
    SEGMENT_READS_MAX, SegmentAudit, SegmentBatch, SegmentJob, SegmentNews, SegmentOutcome, SegmentOwner,
    SegmentQueue, SegmentWrite,
};
use crate::limits::ROSTER_NEWS;
use crate::metrics::presence::PresenceCounters;
use crate::roster::{
    DeltaFate, InstanceStanding, RosterInstance, RosterReading, RosterWrite, Rosters, SegmentChange,
    SegmentContent, ServiceState, SharingBounds, Ways, WriteOutcome,
};
use crate::wire::envelope::{self, Origin};
use crate::wire::partitions::PartitionSet;
use crossbeam_channel::{Receiver, bounded};
use std::io;
use std::sync::Arc;

/// News taken before other work is done.
const NEWS_MAX: usize = 1_024;

/// The thread's ends of what it shares with the registry and with the listener.
pub(super) struct SharedSide {
    segments: SegmentQueue,
    names: TopicNames,
    origin: Origin,
    key: SharedKey,
    links: RosterLinks,
    news: Receiver<RosterNews>,
    /// The registry is to begin the next incarnation before anything is written.
    restart: Restart,
}

/// Says if the registry has yet to hear that what was known of the own segments is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    Due,
    None,
}

impl SharedSide {
    /// Starts the listener, or makes ready for those of a cluster.
    pub(super) fn start(parts: SharingParts, clock: ListenerClock) -> io::Result<SharedSide> {
        let SharingParts { target, prefix, origin, key, slots, segments } = parts;
        let names = TopicNames::new(prefix);
        let (news_in, news) = bounded(ROSTER_NEWS);
        let (names_of_links, key_of_links) = (names.clone(), Arc::clone(&key));
        let links = ListenerShares {
            target,
            names: names_of_links,
            origin,
            key: key_of_links,
            slots,
            news: news_in,
            clock,
        };
        let links = RosterLinks::start(links)?;
        Ok(SharedSide { segments, names, origin, key, links, news, restart: Restart::None })
    }

    /// Begins again after a panic: with the next incarnation, because others know the last number of this one, and with nothing
    /// followed.
    pub(super) fn restart(&mut self) {
        self.restart = Restart::Due;
        if let Err(error) = self.links.restart() {
            tracing::error!(%error, "roster listener not started: rosters stay incomplete until a restart");
        }
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
        for channel in self.links.follow_slots() {
            rosters.unfollowed(&channel, now);
        }
        rosters.observe(self.state(), now);
        // Before the messages: the readings that it calls for begin after them.
        let lost = self.links.take_losses();
        if !lost.is_empty() {
            rosters.doubt_views(lost, now);
        }
        let (segment, roster) = first;
        for news in segment.into_iter().chain(self.segments.news.try_iter().take(NEWS_MAX)) {
            self.take_segment(news, rosters, counters, now);
        }
        for news in roster.into_iter().chain(self.news.try_iter().take(NEWS_MAX)) {
            match news {
                // A former master may say so late.
                RosterNews::Followed { channel, listener } if self.links.serves(listener, &channel) => {
                    rosters.followed(&channel, now);
                }
                RosterNews::Unfollowed { channel, listener } if self.links.serves(listener, &channel) => {
                    rosters.unfollowed(&channel, now);
                }
                RosterNews::Followed { .. } | RosterNews::Unfollowed { .. } => {}
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
            SegmentNews::Flushed { begun, outcome } => {
                let outcome = match outcome {
                    SegmentOutcome::Written => WriteOutcome::Written,
                    SegmentOutcome::Refused | SegmentOutcome::Failed => WriteOutcome::Failed,
                    SegmentOutcome::FailedIn(partitions) => WriteOutcome::FailedIn(partitions),
                };
                counters.writes_failed.add(u64::from(outcome != WriteOutcome::Written));
                rosters.written(begun, outcome, now);
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
        if self.restart == Restart::Due {
            if self.segments.send(SegmentJob::BeginAgain).is_err() {
                return;
            }
            self.restart = Restart::None;
        }
        if let Some(RosterWrite { incarnation, begun, changes }) = rosters.take_writes(now) {
            counters.writes.add(changes.len() as u64);
            let writes = changes.into_iter().map(|change| self.write_of(change)).collect();
            let job = SegmentJob::Write(SegmentBatch { incarnation, begun, writes });
            if self.segments.send(job).is_err() {
                rosters.written(begun, WriteOutcome::Failed, now);
            }
        }
        // Without room in the queue, it is said in a later turn.
        if let Some(incarnation) = rosters.behind(now)
            && self.segments.send(SegmentJob::Behind(incarnation)).is_ok()
        {
            rosters.said_behind();
        }
        if let Some(incarnation) = rosters.complete(now)
            && self.segments.send(SegmentJob::Complete(incarnation)).is_ok()
        {
            rosters.said_complete(incarnation);
        }
        let readings = rosters.take_reads(now);
        for readings in readings.chunks(SEGMENT_READS_MAX) {
            let keys = readings.iter().map(|reading| self.names.key(&reading.channel)).collect();
            if self.segments.send(SegmentJob::Read { keys, asked: now }).is_err() {
                readings.iter().for_each(|reading| rosters.read(reading, None, now));
            }
        }
        self.links.wish(rosters.take_topics());
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
        let storage = match view.is_writable && view.is_readable {
            true => Ways { lost: view.failing },
            false => Ways::LOST,
        };
        let mut others: Vec<RosterInstance> = view.owners.iter().map(other).collect();
        others.sort_by_key(|other| other.incarnation);
        ServiceState { incarnation: view.incarnation, storage, messages: self.links.messages(), others }
    }
}

fn other(owner: &SegmentOwner) -> RosterInstance {
    let standing = match owner.state {
        InstanceState::Alive | InstanceState::Draining if owner.parts.rosters => InstanceStanding::Sure,
        InstanceState::Alive | InstanceState::Draining | InstanceState::Isolated => InstanceStanding::Unsure,
        InstanceState::Gone | InstanceState::Left => InstanceStanding::Ended(owner.since),
    };
    let incarnation = owner.incarnation;
    let unwritten = if owner.parts.rosters { owner.parts.unwritten } else { PartitionSet::ALL };
    RosterInstance { incarnation, name: Arc::clone(&owner.name), standing, unwritten }
}
