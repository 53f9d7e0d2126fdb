//! Attempts to connect: each is counted when its head is complete, and has one outcome, whichever way it ends
//! ([`slo::attempt`](crate::slo::attempt) decides which).

use super::Engine;
use super::attempt_clock::AttemptClock;
use super::peer::{Peer, Role, Stage, WebSocket};
use super::slots::SlotId;
use crate::close::CloseReason;
use crate::drain::DrainCause;
use crate::slo::attempt::{self, StopCause};
use crate::slo::{SloOutcome, SloPart};
use crate::wire::request::Route;

impl Peer {
    /// The attempt that has no outcome yet.
    pub(super) fn attempt_mut(&mut self) -> Option<&mut Option<AttemptClock>> {
        match &mut self.stage {
            Stage::Address(admission) => Some(&mut admission.upgrade.attempt),
            Stage::WebSocket(WebSocket { role: Role::Chat(chat), .. }) => Some(&mut chat.attempt),
            Stage::WebSocket(WebSocket { role: Role::Echo, .. })
            | Stage::Head(_)
            | Stage::Closing(_)
            | Stage::Lingering { .. } => None,
        }
    }
}

impl Engine {
    /// Counts a well-formed upgrade. An echo is no attempt to reach the chat.
    pub(super) fn begin_attempt(&self, route: Route) -> Option<AttemptClock> {
        (route == Route::Ws).then(|| {
            self.tally.slo.begin_attempt();
            AttemptClock::begin(self.now.at)
        })
    }

    /// Decides an attempt. `retry_ms` is the time that the client was given to wait.
    pub(super) fn decide_attempt(
        &self,
        attempt: Option<AttemptClock>,
        outcome: SloOutcome,
        retry_ms: Option<u32>,
    ) {
        if attempt.is_none() {
            return;
        }
        self.tally.slo.count(SloPart::Attempt, outcome, 1);
        if let Some(retry_ms) = retry_ms
            && let Some(outcome) = attempt::wait(outcome)
        {
            self.tally.slo.count(SloPart::Session, outcome, retry_ms.min(attempt::WAIT_MS_MAX).into());
        }
    }

    /// Leaves the wait for `connect` out of the time of an attempt.
    pub(super) fn hold_attempt(&mut self, id: SlotId) {
        let now = self.now.at;
        if let Some(Some(clock)) = self.peers.get_mut(id).and_then(Peer::attempt_mut) {
            clock.hold(now);
        }
    }

    /// Decides the attempt of a peer, if it has one, as `outcome`.
    pub(super) fn end_attempt(&mut self, id: SlotId, outcome: SloOutcome, retry_ms: Option<u32>) {
        let attempt = self.peers.get_mut(id).and_then(Peer::attempt_mut).and_then(Option::take);
        self.decide_attempt(attempt, outcome, retry_ms);
    }

    /// Decides the attempt of a peer that the gateway closes for a reason.
    pub(super) fn close_attempt(&mut self, id: SlotId, reason: &CloseReason) {
        let Some(clock) = self.peers.get_mut(id).and_then(Peer::attempt_mut).and_then(Option::take) else {
            return;
        };
        let stop = match self.setup.vitals.drain.began() {
            Some((DrainCause::Fault, _)) => StopCause::Failed,
            Some((DrainCause::Terminate | DrainCause::Interrupt | DrainCause::Operator, _)) | None => {
                StopCause::Requested
            }
        };
        let outcome = attempt::closed(reason, clock.awaited(), clock.took(self.now.at), stop);
        self.decide_attempt(Some(clock), outcome, reason.retry_ms());
    }

    /// Decides the attempt of a peer that left.
    pub(super) fn leave_attempt(&mut self, id: SlotId) {
        let Some(clock) = self.peers.get_mut(id).and_then(Peer::attempt_mut).and_then(Option::take) else {
            return;
        };
        self.decide_attempt(Some(clock), attempt::left(clock.awaited(), clock.took(self.now.at)), None);
    }

    /// The attempts without an outcome.
    pub(super) fn open_attempts(&self) -> u64 {
        let has_one = |peer: &Peer| match &peer.stage {
            Stage::Address(admission) => admission.upgrade.attempt.is_some(),
            Stage::WebSocket(_) => peer.chat().is_some_and(|chat| chat.attempt.is_some()),
            Stage::Head(_) | Stage::Closing(_) | Stage::Lingering { .. } => false,
        };
        self.peers.iter().filter(|(_, peer)| has_one(peer)).count() as u64
    }
}
