//! The deadlines of open streams: each has one that runs, whatever its state.

use super::settings::{PAUSED_AFTER, StreamSettings};
use crate::clock::Moment;
use crate::wire::stream::{EndCause, StreamEnd, StreamId, StreamState};
use std::collections::BTreeSet;
use std::time::Duration;

/// The moments that a stream's deadlines depend on.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    /// The end of its life; of an answer that is accepted, the time until which a backend may take its question.
    pub(super) life_end: Moment,
    /// The last append or sign of life.
    pub(super) sign: Moment,
    /// The loss of the last producer, if there is none.
    pub(super) orphaned: Option<Moment>,
    /// The last sign that another instance has a producer, with the time until the next one may show.
    pub(super) elsewhere: Option<Moment>,
    /// A sweep found the stream silent. The time is that of `elsewhere`, or of the silence, with the time until a sign of life may show.
    pub(super) swept: Option<Moment>,
    /// The time by which the store is to have the sign of life that is not written.
    pub(super) touch: Option<Moment>,
    /// The end after a cancel.
    pub(super) cancel_end: Option<Moment>,
    pub(super) idle: Duration,
    /// The silence that ends an answer in [`StreamState::Processing`].
    pub(super) answer: Duration,
}

/// The effect of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Touch,
    Pause,
    End(StreamEnd, Option<EndCause>),
}

/// A sign of life goes to the store at most this often in the idle time of its stream.
const TOUCHES_IN_IDLE_TIME: u32 = 3;

impl Clocks {
    /// The shortest time between two signs of life that go to the store.
    pub(super) fn touch_period(&self) -> Duration {
        self.idle / TOUCHES_IN_IDLE_TIME
    }

    /// The next deadline. The deadlines of silence and of a missing producer are not before `spared`.
    pub(super) fn next(
        &self,
        state: StreamState,
        settings: &StreamSettings,
        spared: Moment,
    ) -> (Moment, Due) {
        if let Some(end) = self.cancel_end {
            return (end.min(self.life_end), Due::End(StreamEnd::Cancelled, None));
        }
        let interrupted = |cause| Due::End(StreamEnd::Interrupted, Some(cause));
        let swept = self.swept.map_or(Moment::ZERO, |at| at + self.idle);
        if state == StreamState::Accepted {
            let not_delivered = Due::End(StreamEnd::Failed, Some(EndCause::NotDelivered));
            return (self.life_end.max(swept).max(spared), not_delivered);
        }
        let mut next = (self.life_end.max(swept), interrupted(EndCause::Life));
        let mut earlier = |at: Moment, due: Due| {
            if at < next.0 {
                next = (at, due);
            }
        };
        let silence = if state == StreamState::Processing { self.answer } else { self.idle };
        earlier((self.sign + silence).max(spared), interrupted(EndCause::Idle));
        if let Some(touch) = self.touch {
            earlier(touch, Due::Touch);
        }
        if let Some(orphaned) = self.orphaned {
            // A producer at another instance may be silent for as long as one here.
            let spared_elsewhere = self.elsewhere.map_or(Moment::ZERO, |at| at + self.idle);
            let lost = (orphaned + settings.orphan).max(spared).max(spared_elsewhere);
            earlier(lost, interrupted(EndCause::ProducerLost));
            if matches!(state, StreamState::Streaming | StreamState::Processing) {
                earlier((orphaned + PAUSED_AFTER).max(spared_elsewhere), Due::Pause);
            }
        }
        next
    }
}

/// The streams by their deadlines. A deadline that moves later keeps its place until it comes up, because appends move it.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Moment, StreamId)>);

impl Deadlines {
    pub(super) fn first(&self) -> Option<Moment> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Moves a stream's place to `at`, unless it is earlier.
    pub(super) fn bring_forward(&mut self, id: &StreamId, place: &mut Option<Moment>, at: Moment) {
        if place.is_none_or(|place| at < place) {
            self.remove(id, place);
            self.0.insert((at, id.clone()));
            *place = Some(at);
        }
    }

    pub(super) fn remove(&mut self, id: &StreamId, place: &mut Option<Moment>) {
        if let Some(at) = place.take() {
            self.0.remove(&(at, id.clone()));
        }
    }

    /// The next stream whose place has come. It has none any more.
    pub(super) fn pop(&mut self, now: Moment) -> Option<StreamId> {
        if self.first()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, id)| id)
    }
}
