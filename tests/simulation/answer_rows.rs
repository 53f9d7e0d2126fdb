//! The rows of the relay in the store of the world of answers: who may send what, as the store's contract says (`seawall::job::relay`).

use super::answer_store::{AnswerStore, Entry};
use seawall::id::{ChannelName, Epoch, Key, Offset};
use seawall::job::relay::{
    ClaimOutcome, Claimed, DeadCause, DueChannel, Fence, LEASE, OpenAnswer, RelayAnswer, RelayDue,
    RelayOutcome, RelayWork, RelayedQuestion, SettleOutcome,
};
use seawall::relay::route::{ChannelOrder, RelayRoute};
use seawall::wire::publication::Change;
use seawall::wire::stream::{EndCause, StreamEnd, StreamId, StreamMark};
use std::time::Duration;

/// Of all logs: none of them is restored here.
pub const EPOCH: Epoch = Epoch(7);
/// A channel that waits for an open answer is listed again after this.
const WAITING_LOOK_MS: u64 = 1_000;

/// A process, which has another number after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessNumber(pub u64);

/// The row of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChannelRow {
    pub head: Offset,
    pub cursor: Offset,
    attempts: u32,
    next_ms: u64,
    taken_by: Option<ProcessNumber>,
    taken_until_ms: u64,
    /// When it was claimed last.
    pub claimed_ms: u64,
    pub fence: u64,
}

/// An answer as a claim finds it.
enum FoundAnswer {
    None,
    Open(OpenAnswer),
    /// The question is done with it.
    Over,
    Dead(DeadCause),
}

impl ChannelRow {
    fn done(&mut self, cursor: Offset) {
        if cursor > self.cursor {
            (self.cursor, self.attempts) = (cursor, 0);
        }
    }

    fn is_taken(&self, by: ProcessNumber, now_ms: u64) -> bool {
        self.taken_by.is_some_and(|other| other != by) && self.taken_until_ms >= now_ms
    }

    /// Ends the claim. That of another process is over with each write.
    fn release(&mut self, by: ProcessNumber) {
        if self.taken_by.is_some_and(|other| other != by) {
            self.fence += 1;
        }
        (self.taken_by, self.taken_until_ms) = (None, 0);
    }
}

impl AnswerStore {
    /// Does a request of a process.
    pub fn relay(&mut self, work: &RelayWork, by: ProcessNumber, now_ms: u64) -> RelayAnswer {
        match work {
            RelayWork::Due { .. } => RelayAnswer::Due(self.due(now_ms)),
            RelayWork::Claim { channel } => RelayAnswer::Claim(self.claim(channel, by, now_ms)),
            RelayWork::Settle { channel, fence, outcome } => {
                RelayAnswer::Settle(self.settle(channel, (*fence, *outcome), by, now_ms))
            }
            RelayWork::Renew { claims } => RelayAnswer::Renew(self.renew(claims, by, now_ms)),
            RelayWork::ReleaseAll => RelayAnswer::ReleaseAll(self.release_all(by)),
            RelayWork::Status | RelayWork::Dead { .. } | RelayWork::Skip { .. } => {
                panic!("not asked here: {work:?}")
            }
        }
    }

    /// A publication that may have to be sent is stored. If nothing waited in the channel, what is older is not sent.
    pub(super) fn note_relayed(&mut self, channel: &ChannelName, offset: Offset, now_ms: u64) {
        let row = self.rows.entry(channel.clone()).or_default();
        if row.cursor >= row.head {
            (row.cursor, row.attempts, row.next_ms) = (Offset(offset.0 - 1), 0, now_ms);
        }
        row.head = offset;
    }

    fn due(&self, now_ms: u64) -> RelayDue {
        let waits = || self.rows.iter().filter(|(_, row)| row.cursor < row.head);
        let mut due: Vec<_> =
            waits().filter(|(_, row)| row.next_ms <= now_ms && row.taken_until_ms < now_ms).collect();
        due.sort_by_key(|(channel, row)| (row.next_ms, (*channel).clone()));
        let next = waits().map(|(_, row)| row.next_ms).filter(|next_ms| *next_ms > now_ms).min();
        let of_row = |(channel, row): (&ChannelName, &ChannelRow)| DueChannel {
            channel: channel.clone(),
            attempts: row.attempts,
            oldest_ms: None,
        };
        RelayDue {
            channels: due.into_iter().map(of_row).collect(),
            next: next.map(|next_ms| Duration::from_millis(next_ms - now_ms)),
        }
    }

    fn claim(&mut self, channel: &ChannelName, by: ProcessNumber, now_ms: u64) -> ClaimOutcome {
        let Some(row) = self.rows.get(channel).copied() else { return ClaimOutcome::Nothing };
        if row.is_taken(by, now_ms) {
            return ClaimOutcome::Taken;
        }
        self.claim_next(channel, row, by, now_ms)
    }

    fn claim_next(
        &mut self,
        channel: &ChannelName,
        mut row: ChannelRow,
        by: ProcessNumber,
        now_ms: u64,
    ) -> ClaimOutcome {
        row.release(by);
        let outcome = self.next_question(channel, &mut row, by, now_ms);
        self.rows.insert(channel.clone(), row);
        outcome
    }

    fn next_question(
        &mut self,
        channel: &ChannelName,
        row: &mut ChannelRow,
        by: ProcessNumber,
        now_ms: u64,
    ) -> ClaimOutcome {
        let Some(route) = self.table.of(channel).cloned() else { return ClaimOutcome::Unrouted };
        if row.cursor < row.head && row.attempts > 0 && row.next_ms > now_ms {
            return ClaimOutcome::NotYet { delay: Duration::from_millis(row.next_ms - now_ms) };
        }
        while row.cursor < row.head {
            let offset = row.cursor.next();
            let entry = self.entry(channel, offset).expect("all is retained").clone();
            if entry.is_deleted || !route.relays(entry.user.as_str(), entry.change, entry.mark) {
                row.done(offset);
                continue;
            }
            let answer = match self.answer_to(channel, offset, &route, row.attempts) {
                FoundAnswer::None => None,
                FoundAnswer::Open(answer) => Some(answer),
                FoundAnswer::Over => {
                    row.done(offset);
                    continue;
                }
                FoundAnswer::Dead(cause) => {
                    self.dead.push((channel.clone(), offset, cause));
                    row.done(offset);
                    continue;
                }
            };
            if route.order == ChannelOrder::Answered && self.has_open_before(channel, offset) {
                row.next_ms = now_ms + WAITING_LOOK_MS;
                return ClaimOutcome::Waits;
            }
            row.attempts += 1;
            row.claimed_ms = now_ms;
            row.fence += 1;
            (row.taken_by, row.taken_until_ms) = (Some(by), now_ms + LEASE.as_millis() as u64);
            return ClaimOutcome::Claimed(Box::new(claimed(channel, &route, (offset, &entry), row, answer)));
        }
        ClaimOutcome::Nothing
    }

    /// An earlier question that is deleted, and that no backend has, will not be answered any more.
    fn has_open_before(&self, channel: &ChannelName, offset: Offset) -> bool {
        let lost = self.lost_questions();
        self.open_answers().any(|(id, _)| id.channel == *channel && id.offset < offset && !lost.contains(id))
    }

    fn answer_to(
        &self,
        channel: &ChannelName,
        question: Offset,
        route: &RelayRoute,
        attempts: u32,
    ) -> FoundAnswer {
        let is_begin = |entry: &&Entry| entry.mark == StreamMark::Begun && entry.user == route.user;
        if self.entry(channel, question.next()).filter(is_begin).is_none() {
            return FoundAnswer::None;
        }
        let id = StreamId { channel: channel.clone(), offset: question.next() };
        let stored = &self.streams[&id];
        let (offset, generation, state) = (id.offset, stored.stream.generation, stored.stream.state);
        let Some((row, _)) = &stored.end else {
            return FoundAnswer::Open(OpenAnswer { offset, generation, state });
        };
        match (row.end, row.cause) {
            (StreamEnd::Interrupted, _) if attempts == 0 => FoundAnswer::Dead(DeadCause::NotDelivered),
            (StreamEnd::Interrupted, _) => FoundAnswer::Over,
            (_, Some(EndCause::NotDelivered)) => FoundAnswer::Dead(DeadCause::NotDelivered),
            (_, Some(EndCause::Refused)) => FoundAnswer::Dead(DeadCause::Refused),
            _ => FoundAnswer::Over,
        }
    }

    fn settle(
        &mut self,
        channel: &ChannelName,
        (fence, outcome): (Fence, RelayOutcome),
        by: ProcessNumber,
        now_ms: u64,
    ) -> SettleOutcome {
        let Some(mut row) = self.rows.get(channel).copied() else { return SettleOutcome::Lost };
        let goes_on = matches!(outcome, RelayOutcome::Done | RelayOutcome::Dead { .. });
        let is_own = row.taken_by == Some(by);
        if row.fence == fence.0 + 1 && is_own && goes_on {
            // It is stored already, with the next claim, which was not answered: it was no attempt.
            row.attempts = row.attempts.saturating_sub(1);
            return SettleOutcome::Settled(self.claim_next(channel, row, by, now_ms));
        }
        match (row.fence == fence.0, row.taken_by) {
            (true, Some(_)) if is_own => {}
            // It is stored already.
            (true, None) if goes_on => {
                return SettleOutcome::Settled(self.claim_next(channel, row, by, now_ms));
            }
            (true, None) => return SettleOutcome::Settled(ClaimOutcome::Nothing),
            (true, Some(_)) | (false, _) => return SettleOutcome::Lost,
        }
        let sent = row.cursor.next();
        match outcome {
            RelayOutcome::Done => row.done(sent),
            RelayOutcome::Dead { cause, .. } => {
                self.dead.push((channel.clone(), sent, cause));
                row.done(sent);
            }
            RelayOutcome::Later { delay } => row.next_ms = now_ms + delay.as_millis() as u64,
            RelayOutcome::Release => {
                (row.attempts, row.next_ms) = (row.attempts.saturating_sub(1), now_ms);
            }
        }
        if goes_on {
            return SettleOutcome::Settled(self.claim_next(channel, row, by, now_ms));
        }
        row.release(by);
        self.rows.insert(channel.clone(), row);
        SettleOutcome::Settled(ClaimOutcome::Nothing)
    }

    fn renew(
        &mut self,
        claims: &[(ChannelName, Fence)],
        by: ProcessNumber,
        now_ms: u64,
    ) -> Vec<(ChannelName, Fence)> {
        let mut lost = claims.to_vec();
        lost.retain(|(channel, fence)| {
            let row = self.rows.get_mut(channel);
            let Some(row) = row.filter(|row| row.fence == fence.0 && row.taken_by == Some(by)) else {
                return true;
            };
            row.taken_until_ms = now_ms + LEASE.as_millis() as u64;
            false
        });
        lost
    }

    fn release_all(&mut self, by: ProcessNumber) -> u64 {
        let own = self.rows.values_mut().filter(|row| row.taken_by == Some(by));
        own.map(|row| {
            row.fence += 1;
            (row.taken_by, row.taken_until_ms) = (None, 0);
        })
        .count() as u64
    }
}

fn claimed(
    channel: &ChannelName,
    route: &RelayRoute,
    (offset, entry): (Offset, &Entry),
    row: &ChannelRow,
    answer: Option<OpenAnswer>,
) -> Claimed {
    Claimed {
        channel: channel.clone(),
        route: route.name.clone(),
        fence: Fence(row.fence),
        attempt: row.attempts,
        epoch: EPOCH,
        question: RelayedQuestion {
            offset,
            key: None::<Key>,
            user: entry.user.clone(),
            time_ms: entry.time_ms,
            change: Change::None,
            data: entry.data.as_str().into(),
        },
        claims: None,
        answer,
    }
}
