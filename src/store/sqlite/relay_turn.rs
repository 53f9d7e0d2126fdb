//! The requests of the relay in one transaction. Claims change in memory only after its commit.

use super::batch_relay::RelayChanges;
use super::place::{ChannelNumber, RowKey};
use super::relay_rows::{self, WaitingPlace};
use super::rows;
use crate::id::{ChannelName, Epoch, Offset};
use crate::job::relay::{
    ClaimOutcome, Claimed, DeadCause, Fence, LEASE, OpenAnswer, RELAY_ROWS_MAX, RelayAnswer, RelayOutcome,
    RelayWork, RelayedQuestion, SettleOutcome, Skipped,
};
use crate::relay::route::{ChannelOrder, RelayRoute, RouteTable};
use crate::store::relay::{
    NewDead, RelayRow, SCAN_ROWS, SCANS, SKIP_SCANS, ScannedRow, StoredAnswer, WAITING_LOOK,
};
use crate::wire::publication::Change;
use ahash::AHashMap;
use rusqlite::Connection;
use std::time::{Duration, Instant};

/// A channel that this process has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelLease {
    pub(super) fence: Fence,
    /// Of the publication that is sent.
    offset: Offset,
    attempt: u32,
    pub(super) until: Instant,
}

/// The requests of one transaction.
pub(super) struct RelayTurn<'a> {
    pub(super) table: RouteTable,
    pub(super) leases: &'a AHashMap<ChannelName, ChannelLease>,
    /// The number of the last claim.
    pub(super) last_fence: u64,
    /// Where the next look at the channels that wait begins.
    pub(super) due_after: &'a WaitingPlace,
    pub(super) now: Instant,
    pub(super) requests: &'a [RelayWork],
}

/// The result of a transaction.
#[derive(Debug, Default)]
pub(crate) struct RelayDone {
    /// In the order of the requests.
    pub(super) answers: Vec<RelayAnswer>,
    /// The claims that changed; `None`: it has ended.
    pub(super) leases: AHashMap<ChannelName, Option<ChannelLease>>,
    pub(super) last_fence: u64,
    /// `None`: there was no look at the channels that wait.
    pub(super) due_after: Option<WaitingPlace>,
}

/// The relay's part of a transaction that is committed.
#[derive(Debug, Default)]
pub(crate) struct RelayAtCommit {
    pub(crate) changes: RelayChanges,
    /// `None`: its requests were not done.
    pub(crate) done: Option<RelayDone>,
}

/// The relay's part of the next transaction.
#[derive(Clone, Copy, Default)]
pub(crate) struct RelayPart<'a> {
    /// `None`: there are no routes.
    pub(crate) routes: Option<&'a RouteTable>,
    /// Requests.
    pub(crate) turn: Option<&'a RelayTurn<'a>>,
}

/// A turn in an open transaction.
pub(super) struct Running<'a> {
    pub(super) turn: &'a RelayTurn<'a>,
    pub(super) connection: &'a Connection,
    epoch: Epoch,
    pub(super) now_ms: u64,
    pub(super) done: RelayDone,
}

/// The publication that a claim found.
struct FoundQuestion {
    place: RowKey,
    question: RelayedQuestion,
    answer: Option<OpenAnswer>,
}

impl RelayTurn<'_> {
    /// Does all requests in the transaction that is open on `connection`.
    pub(super) fn run(
        &self,
        connection: &Connection,
        epoch: Epoch,
        now_ms: u64,
    ) -> rusqlite::Result<RelayDone> {
        let done = RelayDone { last_fence: self.last_fence, ..RelayDone::default() };
        let mut running = Running { turn: self, connection, epoch, now_ms, done };
        for work in self.requests {
            let answer = running.request(work)?;
            running.done.answers.push(answer);
        }
        Ok(running.done)
    }
}

impl Running<'_> {
    fn request(&mut self, work: &RelayWork) -> rusqlite::Result<RelayAnswer> {
        Ok(match work {
            RelayWork::Due { limit } => RelayAnswer::Due(self.due(*limit)?),
            RelayWork::Claim { channel } => RelayAnswer::Claim(self.claim(channel)?),
            RelayWork::Settle { channel, fence, outcome } => {
                RelayAnswer::Settle(self.settle(channel, *fence, *outcome)?)
            }
            RelayWork::Renew { claims } => RelayAnswer::Renew(self.renew(claims)),
            RelayWork::Status => RelayAnswer::Status(self.status()?),
            RelayWork::Dead { route, after, limit } => {
                let limit = (*limit).min(RELAY_ROWS_MAX);
                RelayAnswer::Dead(relay_rows::dead(self.connection, route.as_deref(), *after, limit)?)
            }
            RelayWork::Skip { channel, to } => RelayAnswer::Skip(self.skip(channel, *to)?),
            RelayWork::ReleaseAll => RelayAnswer::ReleaseAll(self.release_all()?),
        })
    }

    fn lease(&self, channel: &ChannelName) -> Option<ChannelLease> {
        match self.done.leases.get(channel) {
            Some(changed) => *changed,
            None => self.turn.leases.get(channel).copied(),
        }
    }

    pub(super) fn is_held(&self, channel: &ChannelName) -> bool {
        self.lease(channel).is_some_and(|lease| lease.until > self.turn.now)
    }

    fn release(&mut self, channel: &ChannelName) {
        self.done.leases.insert(channel.clone(), None);
    }

    fn claim(&mut self, channel: &ChannelName) -> rusqlite::Result<ClaimOutcome> {
        let Some(row) = relay_rows::find(self.connection, channel)? else { return Ok(ClaimOutcome::Nothing) };
        self.claim_next(channel, row, row)
    }

    /// Claims the next publication of a channel, and writes its row. `stored`: the row as it is in the file.
    fn claim_next(
        &mut self,
        channel: &ChannelName,
        stored: RelayRow,
        mut row: RelayRow,
    ) -> rusqlite::Result<ClaimOutcome> {
        self.release(channel);
        let turn = self.turn;
        let Some(of_channel) = rows::find(self.connection, channel.as_str())? else {
            relay_rows::forget(self.connection, channel)?;
            return Ok(ClaimOutcome::Nothing);
        };
        let number = of_channel.id;
        let route = turn.table.of(channel);
        let refusal = if route.is_none() { Some(ClaimOutcome::Unrouted) } else { row.refusal(self.now_ms) };
        let (None, Some(route)) = (&refusal, route) else {
            self.write(channel, number, stored, row)?;
            return Ok(refusal.unwrap_or(ClaimOutcome::Unrouted));
        };
        if let Some(expired) = row.expired(of_channel.floor) {
            let dead = NewDead::expired(expired);
            relay_rows::add_dead(self.connection, channel, &route.name, &dead, self.now_ms)?;
            row = row.done(expired.1);
        }
        let Some(found) = self.search((channel, number), route, &mut row)? else {
            self.write(channel, number, stored, row)?;
            let is_done = row.cursor >= row.head;
            let rest = ClaimOutcome::NotYet { delay: Duration::ZERO };
            return Ok(if is_done { ClaimOutcome::Nothing } else { rest });
        };
        if route.order == ChannelOrder::Answered
            && relay_rows::has_open_before(self.connection, number, found.question.offset, &route.user)?
        {
            row.next_ms = self.now_ms + WAITING_LOOK.as_millis() as u64;
            self.write(channel, number, stored, row)?;
            return Ok(ClaimOutcome::Waits);
        }
        row.attempts = row.attempts.saturating_add(1);
        self.write(channel, number, stored, row)?;
        self.done.last_fence += 1;
        let (fence, attempt) = (Fence(self.done.last_fence), row.attempts);
        let lease = ChannelLease { fence, offset: found.question.offset, attempt, until: turn.now + LEASE };
        self.done.leases.insert(channel.clone(), Some(lease));
        Ok(ClaimOutcome::Claimed(Box::new(Claimed {
            channel: channel.clone(),
            route: route.name.clone(),
            fence,
            attempt,
            epoch: self.epoch,
            claims: relay_rows::claims(self.connection, found.place)?,
            question: found.question,
            answer: found.answer,
        })))
    }

    /// The answer to a publication: only an original has one.
    fn answer(
        &self,
        place: RowKey,
        scanned: &ScannedRow,
        route: &RelayRoute,
    ) -> rusqlite::Result<StoredAnswer> {
        match scanned.change {
            Change::None => relay_rows::answer(self.connection, place, route),
            Change::Edits(_) | Change::Deletes(_) => Ok(StoredAnswer::None),
        }
    }

    /// Looks for the next publication to send, and moves the cursor over what is not sent.
    fn search(
        &self,
        (channel, number): (&ChannelName, ChannelNumber),
        route: &RelayRoute,
        row: &mut RelayRow,
    ) -> rusqlite::Result<Option<FoundQuestion>> {
        for _ in 0..SCANS {
            let scanned = relay_rows::scan(self.connection, number, (row.cursor, row.head), SCAN_ROWS)?;
            let Some(last) = scanned.last().map(|last| last.offset) else {
                *row = row.done(row.head);
                return Ok(None);
            };
            for scanned in scanned.iter().filter(|scanned| scanned.is_relayed(route)) {
                let place = RowKey::of(number, scanned.offset);
                let attempts = row.attempts_of(scanned.offset);
                let answer = match self.answer(place, scanned, route)?.after(attempts) {
                    StoredAnswer::None => None,
                    StoredAnswer::Open(answer) => Some(answer),
                    StoredAnswer::Ended | StoredAnswer::Interrupted => continue,
                    StoredAnswer::Failed(cause) => {
                        let dead = NewDead::of(scanned.offset, cause, None);
                        relay_rows::add_dead(self.connection, channel, &route.name, &dead, self.now_ms)?;
                        continue;
                    }
                };
                if let Some(question) = relay_rows::question(self.connection, place)? {
                    *row = row.done(Offset(scanned.offset.0 - 1));
                    return Ok(Some(FoundQuestion { place, question, answer }));
                }
            }
            *row = row.done(last);
        }
        Ok(None)
    }

    /// Writes a row that may have changed. The claims of publications that are done go.
    fn write(
        &self,
        channel: &ChannelName,
        number: ChannelNumber,
        stored: RelayRow,
        row: RelayRow,
    ) -> rusqlite::Result<()> {
        if row == stored {
            return Ok(());
        }
        if row.cursor > stored.cursor {
            let (after, through) = (RowKey::of(number, stored.cursor), RowKey::of(number, row.cursor));
            relay_rows::delete_claims(self.connection, after, through)?;
        }
        relay_rows::write(self.connection, channel, &row)
    }

    fn settle(
        &mut self,
        channel: &ChannelName,
        fence: Fence,
        outcome: RelayOutcome,
    ) -> rusqlite::Result<SettleOutcome> {
        let Some(lease) = self.lease(channel).filter(|lease| lease.fence == fence) else {
            return Ok(SettleOutcome::Lost);
        };
        let Some(stored) = relay_rows::find(self.connection, channel)? else {
            self.release(channel);
            return Ok(SettleOutcome::Lost);
        };
        // After a commit of unknown outcome it may be done already, and the next one claimed: that claim was not answered, so it was no attempt.
        let is_done = stored.cursor >= lease.offset;
        let done = match is_done {
            true => RelayRow { attempts: stored.attempts.saturating_sub(1), ..stored },
            false => stored.done(lease.offset),
        };
        let later =
            |attempts, next_ms| if is_done { stored } else { RelayRow { attempts, next_ms, ..stored } };
        let row = match outcome {
            RelayOutcome::Done => done,
            RelayOutcome::Dead { cause, status } => {
                if !is_done {
                    let route = self.turn.table.of(channel).map_or("", |route| &*route.name);
                    let dead = NewDead::of(lease.offset, cause, status);
                    relay_rows::add_dead(self.connection, channel, route, &dead, self.now_ms)?;
                }
                done
            }
            RelayOutcome::Later { delay } => {
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                later(lease.attempt, self.now_ms.saturating_add(delay_ms))
            }
            RelayOutcome::Release => later(lease.attempt.saturating_sub(1), self.now_ms),
        };
        match outcome {
            RelayOutcome::Done | RelayOutcome::Dead { .. } => {
                self.claim_next(channel, stored, row).map(SettleOutcome::Settled)
            }
            RelayOutcome::Later { .. } | RelayOutcome::Release => {
                self.release(channel);
                relay_rows::write(self.connection, channel, &row)?;
                Ok(SettleOutcome::Settled(ClaimOutcome::Nothing))
            }
        }
    }

    fn renew(&mut self, claims: &[(ChannelName, Fence)]) -> Vec<(ChannelName, Fence)> {
        let mut lost = Vec::new();
        for (channel, fence) in claims {
            match self.lease(channel).filter(|lease| lease.fence == *fence) {
                Some(lease) => {
                    let renewed = ChannelLease { until: self.turn.now + LEASE, ..lease };
                    self.done.leases.insert(channel.clone(), Some(renewed));
                }
                None => lost.push((channel.clone(), *fence)),
            }
        }
        lost
    }

    fn release_all(&mut self) -> rusqlite::Result<u64> {
        let channels: Vec<ChannelName> =
            self.turn.leases.keys().chain(self.done.leases.keys()).cloned().collect();
        let mut released = 0;
        for channel in channels {
            if self.lease(&channel).is_some() {
                self.release(&channel);
                released += 1;
            }
        }
        Ok(released)
    }

    fn skip(&mut self, channel: &ChannelName, to: Offset) -> rusqlite::Result<Skipped> {
        let (found, of_channel) =
            (relay_rows::find(self.connection, channel)?, rows::find(self.connection, channel.as_str())?);
        let Some((stored, of_channel)) = found.zip(of_channel) else { return Ok(Skipped::default()) };
        let (turn, number, to) = (self.turn, of_channel.id, to.min(stored.head));
        let route = turn.table.of(channel);
        let name = route.map_or("", |route| &*route.name);
        let (mut row, mut skipped) = (stored, Skipped::default());
        let (connection, now_ms) = (self.connection, self.now_ms);
        let expired = RelayRow { head: to, ..row }.expired(of_channel.floor);
        if let Some(expired) = expired {
            relay_rows::add_dead(connection, channel, name, &NewDead::expired(expired), now_ms)?;
            row = row.done(expired.1);
        }
        for _ in 0..SKIP_SCANS {
            if row.cursor >= to || skipped.dead >= RELAY_ROWS_MAX {
                break;
            }
            let scanned = relay_rows::scan(connection, number, (row.cursor, to), SCAN_ROWS)?;
            let Some(last) = scanned.last().map(|last| last.offset) else {
                row = row.done(to);
                break;
            };
            // Without a route, each publication may have been one to send.
            let is_relayed = |scanned: &&ScannedRow| route.is_none_or(|route| scanned.is_relayed(route));
            for scanned in scanned.iter().filter(is_relayed) {
                let place = RowKey::of(number, scanned.offset);
                let answer = match route {
                    Some(route) => self.answer(place, scanned, route)?,
                    None => StoredAnswer::None,
                };
                let cause = match answer {
                    StoredAnswer::Ended | StoredAnswer::Interrupted => continue,
                    StoredAnswer::Failed(cause) => cause,
                    StoredAnswer::None => DeadCause::Skipped,
                    StoredAnswer::Open(answer) => {
                        skipped.answers.push(answer.offset);
                        DeadCause::Skipped
                    }
                };
                let dead = NewDead::of(scanned.offset, cause, None);
                relay_rows::add_dead(connection, channel, name, &dead, now_ms)?;
                skipped.dead += 1;
            }
            row = row.done(last);
        }
        self.write(channel, number, stored, row)?;
        if row.cursor > stored.cursor {
            self.release(channel);
        }
        skipped.cursor = Some(row.cursor);
        Ok(skipped)
    }
}
