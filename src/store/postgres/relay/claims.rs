//! The decisions about one channel, between what was read and what is written.

use super::reads::{ClaimHold, Fetched, Looked, WrittenRow};
use crate::id::{ChannelName, Offset};
use crate::job::relay::{ClaimOutcome, Claimed, Fence, OpenAnswer, RelayAnswer, RelayOutcome, SettleOutcome};
use crate::relay::route::{ChannelOrder, RelayRoute};
use crate::store::relay::{NewDead, RelayRow, ScannedRow, StoredAnswer, WAITING_LOOK};
use std::sync::Arc;
use std::time::Duration;

/// The request that a plan answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimAsked {
    Claim,
    Settle,
}

impl ClaimAsked {
    pub(super) fn answer(self, outcome: ClaimOutcome) -> RelayAnswer {
        match self {
            ClaimAsked::Claim => RelayAnswer::Claim(outcome),
            ClaimAsked::Settle => RelayAnswer::Settle(SettleOutcome::Settled(outcome)),
        }
    }
}

/// The first decision about a request.
pub(super) enum ClaimDecision {
    /// Nothing is written.
    Answer(RelayAnswer),
    ClaimPlan(Box<ClaimPlan>),
}

/// A channel whose row is about to be written.
#[derive(Debug)]
pub(super) struct ClaimPlan {
    pub(super) asked: ClaimAsked,
    pub(super) written: WrittenRow,
    pub(super) row: RelayRow,
    /// `None`: the next publication is still to be found.
    pub(super) outcome: Option<ClaimOutcome>,
}

/// Decides about a claim. `by`: this process.
pub(super) fn claim(
    asked: ClaimAsked,
    name: &ChannelName,
    looked: Option<Looked>,
    route: Option<&RelayRoute>,
    by: i64,
) -> ClaimDecision {
    let Some(looked) = looked else { return ClaimDecision::Answer(asked.answer(ClaimOutcome::Nothing)) };
    let is_own = looked.taken_by == Some(by);
    if looked.taken_by.is_some() && !is_own && looked.taken_until_ms >= looked.now_ms {
        return ClaimDecision::Answer(asked.answer(ClaimOutcome::Taken));
    }
    let row = looked.row;
    let plan = ClaimPlan::new(asked, name, looked, route, row);
    let refusal = match route {
        None => Some(ClaimOutcome::Unrouted),
        Some(_) => row.refusal(plan.written.looked.now_ms),
    };
    match refusal {
        Some(refusal) if !is_own => ClaimDecision::Answer(asked.answer(refusal)),
        outcome => ClaimDecision::ClaimPlan(Box::new(ClaimPlan { outcome, ..plan })),
    }
}

/// Decides about the outcome of an attempt.
pub(super) fn settle(
    name: &ChannelName,
    looked: Option<Looked>,
    route: Option<&RelayRoute>,
    by: i64,
    (fence, outcome): (Fence, RelayOutcome),
) -> ClaimDecision {
    let lost = || ClaimDecision::Answer(RelayAnswer::Settle(SettleOutcome::Lost));
    let Some(looked) = looked else { return lost() };
    let goes_on = matches!(outcome, RelayOutcome::Done | RelayOutcome::Dead { .. });
    let is_own = looked.taken_by == Some(by);
    if looked.fence == Fence(fence.0 + 1) && is_own && goes_on {
        // It is stored already, with the next claim, which was not answered: it was no attempt.
        let row = RelayRow { attempts: looked.row.attempts.saturating_sub(1), ..looked.row };
        let looked = Looked { row, ..looked };
        return claim(ClaimAsked::Settle, name, Some(looked), route, by);
    }
    match (looked.fence == fence, looked.taken_by) {
        (true, Some(_)) if is_own => {}
        // It is stored already.
        (true, None) if goes_on => return claim(ClaimAsked::Settle, name, Some(looked), route, by),
        (true, None) => return ClaimDecision::Answer(ClaimAsked::Settle.answer(ClaimOutcome::Nothing)),
        (true, Some(_)) | (false, _) => return lost(),
    }
    let (row, sent) = (looked.row, looked.row.cursor.next());
    let mut plan = ClaimPlan::new(ClaimAsked::Settle, name, looked, route, row);
    match outcome {
        RelayOutcome::Done => plan.row = row.done(sent),
        RelayOutcome::Dead { cause, status } => {
            plan.written.dead.push(NewDead::of(sent, cause, status));
            plan.row = row.done(sent);
        }
        RelayOutcome::Later { delay } => {
            plan.written.wait_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
            plan.outcome = Some(ClaimOutcome::Nothing);
        }
        RelayOutcome::Release => {
            plan.row.attempts = row.attempts.saturating_sub(1);
            plan.written.wait_ms = Some(0);
            plan.outcome = Some(ClaimOutcome::Nothing);
        }
    }
    if goes_on && route.is_none() {
        plan.outcome = Some(ClaimOutcome::Unrouted);
    }
    ClaimDecision::ClaimPlan(Box::new(plan))
}

impl ClaimPlan {
    fn new(
        asked: ClaimAsked,
        name: &ChannelName,
        looked: Looked,
        route: Option<&RelayRoute>,
        row: RelayRow,
    ) -> ClaimPlan {
        let RelayRow { cursor, attempts, .. } = row;
        let route: Arc<str> = route.map_or_else(|| "".into(), |route| route.name.clone());
        let (name, dead) = (name.clone(), Vec::new());
        let written =
            WrittenRow { name, looked, cursor, attempts, wait_ms: None, hold: ClaimHold::Leave, route, dead };
        ClaimPlan { asked, written, row, outcome: None }
    }

    /// A plan that moves the cursor by hand.
    pub(super) fn skip(name: &ChannelName, looked: Looked, route: Option<&RelayRoute>) -> ClaimPlan {
        let row = looked.row;
        let mut plan = ClaimPlan::new(ClaimAsked::Claim, name, looked, route, row);
        plan.written.hold = ClaimHold::Break;
        plan
    }

    /// Notes what retention has removed unsent, up to `through`.
    pub(super) fn expire(&mut self, through: Offset) {
        let row = RelayRow { head: through.min(self.row.head), ..self.row };
        if let Some(expired) = row.expired(self.written.looked.floor) {
            self.written.dead.push(NewDead::expired(expired));
            self.row = self.row.done(expired.1);
        }
    }

    /// True if the next publication is to be looked for. Without more that waits, there is none.
    pub(super) fn searches(&mut self) -> bool {
        if self.outcome.is_none() && self.row.cursor >= self.row.head {
            self.outcome = Some(ClaimOutcome::Nothing);
        }
        self.outcome.is_none()
    }

    /// Takes publications after the cursor. Returns the first one to be sent.
    pub(super) fn scanned(&mut self, rows: &[ScannedRow], route: &RelayRoute) -> Option<Offset> {
        // Offsets have no gaps, so retention has removed what is missing, perhaps since the row was read.
        let first = rows.first().map_or(self.row.head.next(), |first| first.offset);
        if let Some(expired) = self.row.expired(first) {
            self.written.dead.push(NewDead::expired(expired));
            self.row = self.row.done(expired.1);
        }
        let candidate = rows.iter().find(|row| row.is_relayed(route)).map(|row| row.offset);
        if candidate.is_none() {
            let last = rows.last().map_or(self.row.head, |last| last.offset);
            self.row = self.row.done(last);
        }
        candidate
    }

    /// Takes the content of that publication.
    pub(super) fn fetched(&mut self, offset: Offset, fetched: Option<Fetched>, route: &RelayRoute) {
        let Some(Fetched { question, claims, answer, waits }) = fetched else {
            self.written.dead.push(NewDead::expired((offset, offset)));
            self.row = self.row.done(offset);
            return;
        };
        let Some(question) = question else {
            self.row = self.row.done(offset);
            return;
        };
        let answer = answer.after(self.row.attempts_of(offset));
        let answer: Option<OpenAnswer> = match answer {
            StoredAnswer::None => None,
            StoredAnswer::Open(answer) => Some(answer),
            StoredAnswer::Ended | StoredAnswer::Interrupted => {
                self.row = self.row.done(offset);
                return;
            }
            StoredAnswer::Failed(cause) => {
                self.written.dead.push(NewDead::of(offset, cause, None));
                self.row = self.row.done(offset);
                return;
            }
        };
        self.row = self.row.done(Offset(offset.0.saturating_sub(1)));
        if waits && route.order == ChannelOrder::Answered {
            self.written.wait_ms = Some(WAITING_LOOK.as_millis() as u64);
            self.outcome = Some(ClaimOutcome::Waits);
            return;
        }
        self.row.attempts = self.row.attempts.saturating_add(1);
        self.written.hold = ClaimHold::Take;
        let looked = &self.written.looked;
        self.outcome = Some(ClaimOutcome::Claimed(Box::new(Claimed {
            channel: self.written.name.clone(),
            route: route.name.clone(),
            fence: Fence(looked.fence.0 + 1),
            attempt: self.row.attempts,
            epoch: looked.epoch,
            question,
            claims,
            answer,
        })));
    }

    /// Too much was looked at: others go on first.
    pub(super) fn pause(&mut self) {
        if self.outcome.is_none() {
            self.outcome = Some(ClaimOutcome::NotYet { delay: Duration::ZERO });
        }
    }

    /// The row to write; `None`: nothing has changed.
    pub(super) fn to_write(&self, by: i64) -> Option<WrittenRow> {
        let ClaimPlan { written, row, .. } = self;
        let is_same = written.hold == ClaimHold::Leave
            && written.looked.taken_by != Some(by)
            && written.wait_ms.is_none()
            && written.dead.is_empty()
            && *row == written.looked.row;
        let RelayRow { cursor, attempts, .. } = *row;
        (!is_same).then(|| WrittenRow { cursor, attempts, ..written.clone() })
    }

    pub(super) fn answer(self) -> RelayAnswer {
        self.asked.answer(self.outcome.unwrap_or(ClaimOutcome::Nothing))
    }
}
