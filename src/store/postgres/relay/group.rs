//! Requests that are done together.

use super::super::connection::StoreConnection;
use super::super::fault::{CallFault, Fate};
use super::claims::{self, ClaimAsked, ClaimDecision, ClaimPlan};
use super::dead;
use super::reads::{self, Candidate, DuePlace, DueRow, Fetched, Stretch, WrittenRow};
use crate::id::{ChannelName, Offset};
use crate::job::relay::{
    ClaimOutcome, DeadCause, DueChannel, Fence, LEASE, RELAY_ROWS_MAX, RelayAnswer, RelayDue, RelayStatus,
    RelayWork, RouteStatus, Skipped, StuckChannel,
};
use crate::relay::route::RouteTable;
use crate::store::relay::{
    DueLook, NewDead, RelayRow, SCAN_ROWS, SCANS, SKIP_SCANS, STATUS_ROWS, STUCK, StoredAnswer, UNROUTED,
};
use crate::store::retention::Rest;
use ahash::{AHashMap, AHashSet};
use std::time::Duration;

/// Attempts at a request whose channel another instance changes meanwhile.
const ROUNDS: usize = 4;
/// The time until channels are looked for again that other instances have claimed.
const CLAIMED_LOOK: Duration = Duration::from_secs(10);

/// A connection, the routes, and the process that claims.
pub(super) struct Group<'a> {
    pub(super) connection: &'a mut StoreConnection,
    pub(super) table: &'a RouteTable,
    pub(super) by: i64,
    /// The place in the list of channels that wait, by their times and numbers, after which the next look begins.
    pub(super) due_after: &'a mut DuePlace,
}

/// The channel of a request that changes one.
fn channel_of(work: &RelayWork) -> Option<&ChannelName> {
    match work {
        RelayWork::Claim { channel }
        | RelayWork::Settle { channel, .. }
        | RelayWork::Skip { channel, .. } => Some(channel),
        RelayWork::Due { .. }
        | RelayWork::Renew { .. }
        | RelayWork::Status
        | RelayWork::Dead { .. }
        | RelayWork::ReleaseAll => None,
    }
}

impl Group<'_> {
    /// Answers all requests, in their order.
    pub(super) fn run(&mut self, works: &[RelayWork]) -> Vec<RelayAnswer> {
        let mut answers: Vec<Option<RelayAnswer>> = works.iter().map(|_| None).collect();
        for (work, answer) in works.iter().zip(&mut answers) {
            if channel_of(work).is_none() && !matches!(work, RelayWork::ReleaseAll) {
                *answer = self.read(work).ok();
            }
        }
        for _ in 0..ROUNDS {
            let mut channels = AHashSet::new();
            // Of one channel the first only: the next one sees what that has done.
            let turn: Vec<usize> = works
                .iter()
                .zip(&answers)
                .enumerate()
                .filter(|(_, (work, answer))| {
                    answer.is_none() && channel_of(work).is_some_and(|channel| channels.insert(channel))
                })
                .map(|(place, _)| place)
                .collect();
            if turn.is_empty() {
                break;
            }
            match self.round(works, &turn, &mut answers) {
                Ok(()) => {}
                Err(fault) if fault.fate == Fate::Again => {}
                Err(fault) => {
                    tracing::debug!(cause = %fault.cause.text, "requests of the relay not done");
                    if fault.fate == Fate::Unknown {
                        self.connection.drop_link(&fault);
                    }
                    break;
                }
            }
        }
        // Last, so that it ends the claims of this group, too.
        for (work, answer) in works.iter().zip(&mut answers) {
            if matches!(work, RelayWork::ReleaseAll) {
                *answer = self.read(work).ok();
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or(RelayAnswer::Unavailable)).collect()
    }

    /// Does requests for different channels in one commit.
    fn round(
        &mut self,
        works: &[RelayWork],
        turn: &[usize],
        answers: &mut [Option<RelayAnswer>],
    ) -> Result<(), CallFault> {
        let of = |place: &usize| works.get(*place).and_then(|work| Some((*place, work, channel_of(work)?)));
        let turn: Vec<(usize, &RelayWork, &ChannelName)> = turn.iter().filter_map(of).collect();
        let names: Vec<&str> = turn.iter().map(|(.., channel)| channel.as_str()).collect();
        let looked = reads::look(self.connection, &names)?;
        let mut plans: Vec<(usize, ClaimPlan)> = Vec::new();
        let mut skips: AHashMap<usize, Skipped> = AHashMap::new();
        for ((place, work, channel), looked) in turn.into_iter().zip(looked) {
            let route = self.table.of(channel);
            let decision = match work {
                RelayWork::Settle { fence, outcome, .. } => {
                    claims::settle(channel, looked, route, self.by, (*fence, *outcome))
                }
                RelayWork::Skip { to, .. } => match looked {
                    None => ClaimDecision::Answer(RelayAnswer::Skip(Skipped::default())),
                    Some(looked) => {
                        let mut plan = ClaimPlan::skip(channel, looked, route);
                        skips.insert(place, self.skip(&mut plan, *to)?);
                        ClaimDecision::ClaimPlan(Box::new(plan))
                    }
                },
                _ => claims::claim(ClaimAsked::Claim, channel, looked, route, self.by),
            };
            match decision {
                ClaimDecision::Answer(answer) => put(answers, place, answer),
                ClaimDecision::ClaimPlan(plan) => plans.push((place, *plan)),
            }
        }
        self.search(&mut plans)?;
        let written: Vec<WrittenRow> = plans.iter().filter_map(|(_, plan)| plan.to_write(self.by)).collect();
        let stored: AHashSet<i64> = if written.is_empty() {
            AHashSet::new()
        } else {
            reads::write(self.connection, (self.by, LEASE.as_millis() as i64), &written)?
                .into_iter()
                .collect()
        };
        for (place, plan) in plans {
            let channel = plan.written.looked.channel;
            let is_done = plan.to_write(self.by).is_none() || stored.contains(&channel);
            if is_done {
                let skipped = skips.remove(&place);
                put(answers, place, skipped.map_or_else(|| plan.answer(), RelayAnswer::Skip));
            }
        }
        Ok(())
    }

    /// Finds the next publication of each channel.
    fn search(&mut self, plans: &mut [(usize, ClaimPlan)]) -> Result<(), CallFault> {
        for (_, plan) in plans.iter_mut().filter(|(_, plan)| plan.outcome.is_none()) {
            plan.expire(Offset(u64::MAX));
        }
        let table = self.table;
        for _ in 0..SCANS {
            let mut searching: Vec<&mut ClaimPlan> = plans
                .iter_mut()
                .map(|(_, plan)| plan)
                .filter_map(|plan| plan.searches().then_some(plan))
                .collect();
            if searching.is_empty() {
                return Ok(());
            }
            let stretches: Vec<Stretch> = searching
                .iter()
                .map(|plan| Stretch {
                    channel: plan.written.looked.channel,
                    after: plan.row.cursor,
                    through: plan.row.head,
                })
                .collect();
            let scanned = reads::scan(self.connection, &stretches, SCAN_ROWS)?;
            let mut found = Vec::new();
            for (plan, rows) in searching.iter_mut().zip(scanned) {
                let Some(route) = table.of(&plan.written.name) else {
                    plan.outcome = Some(ClaimOutcome::Unrouted);
                    continue;
                };
                if let Some(offset) = plan.scanned(&rows, route) {
                    found.push((plan, offset, route));
                }
            }
            if found.is_empty() {
                continue;
            }
            let candidates: Vec<Candidate<'_>> = found
                .iter()
                .map(|(plan, offset, route)| Candidate {
                    channel: plan.written.looked.channel,
                    offset: *offset,
                    route,
                })
                .collect();
            let fetched = reads::fetch(self.connection, &candidates)?;
            for ((plan, offset, route), fetched) in found.into_iter().zip(fetched) {
                plan.fetched(offset, fetched, route);
            }
        }
        plans.iter_mut().for_each(|(_, plan)| plan.pause());
        Ok(())
    }

    /// Moves the cursor of a plan to `to`.
    fn skip(&mut self, plan: &mut ClaimPlan, to: Offset) -> Result<Skipped, CallFault> {
        let (to, mut skipped) = (to.min(plan.row.head), Skipped::default());
        let (channel, route) = (plan.written.looked.channel, self.table.of(&plan.written.name));
        plan.expire(to);
        for _ in 0..SKIP_SCANS {
            if plan.row.cursor >= to || skipped.dead >= RELAY_ROWS_MAX {
                break;
            }
            let stretch = Stretch { channel, after: plan.row.cursor, through: to };
            let rows = reads::scan(self.connection, &[stretch], SCAN_ROWS)?.pop().unwrap_or_default();
            let last = rows.last().map_or(to, |last| last.offset);
            // Without a route, each publication may have been one to send.
            let relayed: Vec<Offset> = rows
                .iter()
                .filter(|row| route.is_none_or(|route| row.is_relayed(route)))
                .map(|row| row.offset)
                .collect();
            let stored: Vec<Option<Fetched>> = match route {
                Some(route) => {
                    let of = |offset: &Offset| Candidate { channel, offset: *offset, route };
                    let candidates: Vec<Candidate<'_>> = relayed.iter().map(of).collect();
                    reads::fetch(self.connection, &candidates)?
                }
                None => vec![None; relayed.len()],
            };
            for (offset, stored) in relayed.into_iter().zip(stored) {
                let cause = match stored.map_or(StoredAnswer::None, |stored| stored.answer) {
                    StoredAnswer::Ended | StoredAnswer::Interrupted => continue,
                    StoredAnswer::Failed(cause) => cause,
                    StoredAnswer::None => DeadCause::Skipped,
                    StoredAnswer::Open(answer) => {
                        skipped.answers.push(answer.offset);
                        DeadCause::Skipped
                    }
                };
                plan.written.dead.push(NewDead::of(offset, cause, None));
                skipped.dead += 1;
            }
            plan.row = plan.row.done(last);
        }
        skipped.cursor = Some(plan.row.cursor);
        plan.outcome = Some(ClaimOutcome::Nothing);
        Ok(skipped)
    }

    /// Does a request that concerns no single channel.
    fn read(&mut self, work: &RelayWork) -> Result<RelayAnswer, CallFault> {
        let lease = (self.by, LEASE.as_millis() as i64);
        Ok(match work {
            RelayWork::Due { limit } => RelayAnswer::Due(self.due(*limit)?),
            RelayWork::Renew { claims } => {
                let lost = reads::renew(self.connection, lease, claims)?;
                let of = |place: usize| -> Option<(ChannelName, Fence)> { claims.get(place).cloned() };
                RelayAnswer::Renew(lost.into_iter().filter_map(of).collect())
            }
            RelayWork::Status => RelayAnswer::Status(self.status()?),
            RelayWork::Dead { route, after, limit } => {
                self.name_dead()?;
                let most = (*limit).min(RELAY_ROWS_MAX);
                RelayAnswer::Dead(dead::dead_letters(self.connection, route.as_deref(), *after, most)?)
            }
            RelayWork::ReleaseAll => RelayAnswer::ReleaseAll(reads::release(self.connection, self.by)?),
            RelayWork::Claim { .. } | RelayWork::Settle { .. } | RelayWork::Skip { .. } => {
                RelayAnswer::Unavailable
            }
        })
    }

    fn due(&mut self, limit: u32) -> Result<RelayDue, CallFault> {
        let mut look = DueLook::new(*self.due_after, limit, self.table);
        let (mut due, mut unrouted) = (RelayDue::default(), Vec::new());
        while let Some(after) = look.page() {
            let page = reads::due(self.connection, *after, RELAY_ROWS_MAX)?;
            let rest = if page.len() < RELAY_ROWS_MAX as usize { Rest::None } else { Rest::Some };
            for DueRow { channel: number, name, attempts, next_ms, oldest_ms } in page {
                let route = name.as_ref().and_then(|name| self.table.of(name));
                let is_listed = look.take(DuePlace { next_ms, channel: number }, route);
                match name.filter(|_| route.is_some()) {
                    Some(channel) if is_listed => {
                        due.channels.push(DueChannel { channel, attempts, oldest_ms });
                    }
                    Some(_) => {}
                    None => unrouted.push(number),
                }
            }
            look.read(rest);
        }
        *self.due_after = look.end();
        if !unrouted.is_empty() {
            reads::defer(self.connection, &unrouted, UNROUTED.as_millis() as i64)?;
        }
        let next = reads::next(self.connection)?.map(Duration::from_millis);
        due.next = next.map(|next| next.min(CLAIMED_LOOK));
        Ok(due)
    }

    /// Gives the dead letters that retention left in channels that no instance claimed the routes of these channels.
    fn name_dead(&mut self) -> Result<(), CallFault> {
        let unnamed = dead::unnamed_dead(self.connection, RELAY_ROWS_MAX)?;
        let route = |channel: Option<ChannelName>| Some(&*self.table.of(&channel?)?.name);
        let named = unnamed.into_iter().filter_map(|(number, channel)| Some((number, route(channel)?)));
        let (numbers, routes): (Vec<i64>, Vec<&str>) = named.unzip();
        if numbers.is_empty() {
            return Ok(());
        }
        dead::name_dead(self.connection, (&numbers, &routes))
    }

    fn status(&mut self) -> Result<RelayStatus, CallFault> {
        self.name_dead()?;
        let dead = dead::count_dead(self.connection)?;
        let dead_of =
            |name: &str| dead.iter().find(|(route, _)| route == name).map_or(0, |(_, count)| *count);
        let mut status = RelayStatus::default();
        for route in self.table.iter() {
            let (name, dead) = (route.name.clone(), dead_of(&route.name));
            let new = RouteStatus { route: name, waiting: 0, oldest_ms: None, attempts: 0, claims: 0, dead };
            status.routes.push(new);
        }
        let waiting = reads::status(self.connection, STATUS_ROWS)?;
        status.is_complete = waiting.len() < STATUS_ROWS as usize;
        for reads::StatusRow { name, row, oldest_ms, is_taken } in waiting {
            let Some(channel) = name else { continue };
            let route = self.table.of(&channel).map(|route| &route.name);
            let of_route = status.routes.iter_mut().find(|known| Some(&known.route) == route);
            let Some(of_route) = of_route else {
                status.unrouted += 1;
                continue;
            };
            of_route.waiting += 1;
            of_route.oldest_ms = of_route.oldest_ms.into_iter().chain(oldest_ms).min();
            of_route.attempts = of_route.attempts.max(row.attempts);
            of_route.claims += u64::from(is_taken);
            let RelayRow { head, cursor, attempts, .. } = row;
            status.stuck.push(StuckChannel { channel, cursor, head, attempts, oldest_ms });
        }
        status.stuck.sort_by_key(|stuck| (std::cmp::Reverse(stuck.attempts), stuck.oldest_ms));
        status.stuck.truncate(STUCK);
        Ok(status)
    }
}

fn put(answers: &mut [Option<RelayAnswer>], place: usize, answer: RelayAnswer) {
    if let Some(of_work) = answers.get_mut(place) {
        *of_work = Some(answer);
    }
}
