//! Segments on their way to Redis: what this instance adds to hashes that all instances share.
//!
//! A segment is written by one incarnation, into fields whose names begin with that incarnation, and counts while its lease is
//! renewed. The registry thread is the only writer. It owns the connection, the incarnation and the flush numbers, and knows nothing
//! about the content; the thread that owns the content decides what to write, and waits for the answer before it sends more.

use crate::clock::Moment;
use crate::cluster::instance::InstanceState;
use crate::id::Incarnation;
use crate::wire::lease::LeaseParts;
use crate::wire::partitions::PartitionSet;
use crate::wire::slot::Partition;
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::sync::Arc;

/// Writes in one batch.
pub const SEGMENT_WRITES_MAX: usize = 2_048;
/// Reads and batches that wait for the registry.
const JOBS: usize = 256;
/// While that many wait, no read is taken: they must not keep a batch out.
const READ_JOBS: usize = JOBS / 2;
/// Reads in one job.
pub const SEGMENT_READS_MAX: usize = 64;
/// Answers and news that wait for the owner of the content.
const NEWS: usize = JOBS + AUDITS;
/// Of these, findings of the audit.
const AUDITS: usize = 1_024;

/// A name and a value of a Redis hash.
pub type HashField = (Vec<u8>, Vec<u8>);

/// Work for the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentJob {
    /// One at a time: the next one after [`SegmentNews::Flushed`].
    Write(SegmentBatch),
    /// At most [`SEGMENT_READS_MAX`]; each is answered with [`SegmentNews::Read`].
    Read { keys: Vec<SegmentKey>, asked: Moment },
    /// All that this incarnation has to say is written, so its lease says so from now on.
    Complete(Incarnation),
    /// Changes have waited for too long, so its lease does not say so any more until the next [`SegmentJob::Complete`].
    Behind(Incarnation),
    /// The owner of the segments has lost what it knew of them, so the next incarnation begins.
    BeginAgain,
}

/// A key, and the partition that its name has the tag of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentKey {
    /// The whole key, with the prefix of the bus.
    pub key: Arc<str>,
    pub partition: Partition,
}

/// Changes of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentBatch {
    /// The incarnation whose fields these are.
    pub incarnation: Incarnation,
    /// Names the batch in its answer.
    pub begun: Moment,
    /// At most [`SEGMENT_WRITES_MAX`], of different keys.
    pub writes: Vec<SegmentWrite>,
}

/// The changes of one key, carried out in this order: remove, set, publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentWrite {
    pub key: SegmentKey,
    /// The fields that are set, at once.
    pub set: Vec<HashField>,
    /// The names of fields that are removed; another client may see that before the fields are set.
    pub remove: Vec<Vec<u8>>,
    /// A message on the topic with the name of the key.
    pub publish: Option<Vec<u8>>,
    pub audit: SegmentAudit,
}

/// The part of a key in the audit, which looks at each key once in 300 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentAudit {
    /// The key keeps the part that it has.
    Keep,
    /// The key is kept alive, and the value of the field with the name of the incarnation is reported
    /// ([`SegmentNews::Audited`]), until the next incarnation begins.
    Begin,
    /// This instance has nothing in the key any more.
    End,
}

/// The outcome of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentOutcome {
    Written,
    /// Nothing counts: another incarnation is current, and everything has to be written again for it.
    Refused,
    /// Redis did not take it, or did not say so: some of it may be written. Send it again.
    Failed,
    /// Failed at the masters of these partitions of a cluster, and written at the others.
    FailedIn(PartitionSet),
}

/// Answers and news for the owner of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentNews {
    /// The batch that was `begun` then was carried out.
    Flushed { begun: Moment, outcome: SegmentOutcome },
    /// All fields of a key that was `asked` for then; `None` if Redis did not answer.
    Read { key: Arc<str>, asked: Moment, fields: Option<Vec<HashField>> },
    /// The value of the field with the name of this incarnation, found by the audit; `None` if there is none.
    Audited { key: Arc<str>, found: Option<Vec<u8>> },
    /// The [`SegmentView`] changed.
    Changed,
}

/// The state of all incarnations that write segments, and of the connection to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentView {
    /// The current one of this process. When it changes, everything must be written again.
    pub incarnation: Incarnation,
    /// True while the last renewal of the lease was written, so that segments can be.
    pub is_writable: bool,
    /// True while leases can be read.
    pub is_readable: bool,
    /// Partitions of a cluster whose masters cannot be reached now.
    pub failing: PartitionSet,
    /// The other instances. What other incarnations wrote does not count.
    pub owners: Vec<SegmentOwner>,
}

/// Another instance, with its newest incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentOwner {
    pub incarnation: Incarnation,
    /// For people.
    pub name: Arc<str>,
    pub state: InstanceState,
    /// The beginning of the state.
    pub since: Moment,
    /// The content that it has written completely, according to its lease.
    pub parts: LeaseParts,
}

/// The end of the thread that owns the content.
#[derive(Clone, Debug)]
pub struct SegmentQueue {
    jobs: Sender<SegmentJob>,
    pub news: Receiver<SegmentNews>,
    board: Arc<ArcSwap<SegmentView>>,
}

/// The registry's end.
#[derive(Debug)]
pub struct SegmentInbox {
    pub jobs: Receiver<SegmentJob>,
    news: Sender<SegmentNews>,
    board: Arc<ArcSwap<SegmentView>>,
}

/// Makes the two ends for the process `origin`.
pub fn segments(origin: u64) -> (SegmentQueue, SegmentInbox) {
    let (jobs, jobs_in) = bounded(JOBS);
    let (news, news_out) = bounded(NEWS);
    let board = Arc::new(ArcSwap::from_pointee(SegmentView {
        incarnation: Incarnation { origin, count: 1 },
        is_writable: false,
        is_readable: false,
        failing: PartitionSet::EMPTY,
        owners: Vec::new(),
    }));
    (
        SegmentQueue { jobs, news: news_out, board: Arc::clone(&board) },
        SegmentInbox { jobs: jobs_in, news, board },
    )
}

impl SegmentQueue {
    /// Sends a job; it is returned if there is no room, or the registry has ended. Reads leave room for batches.
    pub fn send(&self, job: SegmentJob) -> Result<(), SegmentJob> {
        if matches!(job, SegmentJob::Read { .. }) && self.jobs.len() >= READ_JOBS {
            return Err(job);
        }
        self.jobs.try_send(job).map_err(TrySendError::into_inner)
    }

    /// The newest view.
    pub fn view(&self) -> Arc<SegmentView> {
        self.board.load_full()
    }
}

impl SegmentInbox {
    /// Answers, or reports. Without room the news is dropped: its receiver does not take any, and asks again when it does.
    pub fn tell(&self, news: SegmentNews) {
        let _ = self.news.try_send(news);
    }

    /// True while findings of the audit have room besides answers.
    pub fn has_room_for_audits(&self) -> bool {
        self.news.len() < AUDITS
    }

    /// Replaces the view, if it changed.
    pub fn publish(&self, view: SegmentView) {
        if **self.board.load() != view {
            self.board.store(Arc::new(view));
            self.tell(SegmentNews::Changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_leave_room_for_what_is_written() {
        let (queue, _inbox) = segments(1);
        let taken = |job: fn() -> SegmentJob| (0..JOBS * 2).take_while(|_| queue.send(job()).is_ok()).count();
        assert_eq!(taken(|| SegmentJob::Read { keys: Vec::new(), asked: Moment::ZERO }), READ_JOBS);
        let incarnation = Incarnation { origin: 1, count: 1 };
        assert_eq!(queue.send(SegmentJob::Complete(incarnation)), Ok(()));
        assert_eq!(taken(|| SegmentJob::BeginAgain), JOBS - READ_JOBS - 1);
    }
}
