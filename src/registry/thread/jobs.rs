//! Jobs for the thread that owns the content of segments.

use super::super::redis_side::RedisSide;
use super::super::segment_side::FlushEnd;
use super::RegistryWorker;
use crate::clock::{Moment, Now};
use crate::id::Incarnation;
use crate::job::segments::{SegmentBatch, SegmentJob, SegmentNews, SegmentOutcome};
use crate::wire::partitions::PartitionSet;
use crate::wire::slot::Partition;

impl<C: Fn() -> Now> RegistryWorker<C> {
    /// Carries out a job for the thread that owns the content of segments.
    pub(super) fn carry_out(&mut self, job: SegmentJob) {
        let Some(inbox) = self.inbox.clone() else { return };
        match job {
            SegmentJob::Write(batch) => {
                let (begun, outcome) = (batch.begun, self.write(batch));
                if let (SegmentOutcome::FailedIn(_), Some(redis)) = (outcome, &self.redis) {
                    // Before the answer, so that nothing is sent again to a master that is out of reach.
                    inbox.publish(redis.view(&self.lease, &self.liveness, (self.clock)().at));
                }
                inbox.tell(SegmentNews::Flushed { begun, outcome });
            }
            SegmentJob::Read { keys, asked } => {
                if let Some(redis) = &mut self.redis {
                    redis.segments.read(&mut redis.link, &self.lease, &inbox, (keys, asked));
                }
            }
            SegmentJob::Complete(incarnation) => {
                self.written.rosters |= incarnation == self.lease.incarnation();
            }
            SegmentJob::Behind(incarnation) => {
                if self.written.rosters && incarnation == self.lease.incarnation() {
                    self.written.rosters = false;
                    // So that the others know it at once.
                    self.renew_at = Moment::ZERO;
                }
            }
            SegmentJob::BeginAgain => self.begin_again(),
        }
    }

    /// Gives the incarnation up, because its segments are no longer known here.
    fn begin_again(&mut self) {
        let Some(mut redis) = self.redis.take() else { return };
        let old = self.lease.incarnation();
        let doubt = self.lease.restart();
        self.doubt(doubt, &mut redis, old);
        self.renew_at = Moment::ZERO;
        self.redis = Some(redis);
    }

    fn write(&mut self, batch: SegmentBatch) -> SegmentOutcome {
        let SegmentBatch { incarnation, begun: _, writes } = batch;
        let Some(mut redis) = self.redis.take() else { return SegmentOutcome::Failed };
        self.check_age(&mut redis);
        let outcome = if incarnation != self.lease.incarnation() {
            SegmentOutcome::Refused
        } else if !redis.can_write(&self.lease) {
            SegmentOutcome::Failed
        } else {
            let end = redis.segments.flush(&mut redis.link, &mut self.lease, writes, PartitionSet::EMPTY);
            self.conclude(&mut redis, incarnation, end)
        };
        self.redis = Some(redis);
        outcome
    }

    /// Notes the end of a flush.
    pub(super) fn conclude(
        &mut self,
        redis: &mut RedisSide,
        incarnation: Incarnation,
        end: FlushEnd,
    ) -> SegmentOutcome {
        match end {
            FlushEnd::Written => SegmentOutcome::Written,
            FlushEnd::Doubted(doubt) => {
                self.doubt(doubt, redis, incarnation);
                self.renew_at = Moment::ZERO;
                SegmentOutcome::Refused
            }
            FlushEnd::Failed { cause, partitions } if partitions.contains(Partition::FIRST) => {
                redis.fail(&self.counters, &cause);
                SegmentOutcome::Failed
            }
            // The leases are at another master.
            FlushEnd::Failed { partitions, .. } => SegmentOutcome::FailedIn(partitions),
        }
    }
}
