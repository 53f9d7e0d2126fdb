//! The decisions of the relay that both stores share. The stores read rows and write what is decided here.
//!
//! A channel's row has the `head`, the newest publication that may be relayed, and the `cursor`, the last one that is done. While the
//! channel is claimed, the publication that is sent is the one after the cursor.

use crate::id::{ChannelName, Offset, UserName};
use crate::job::relay::{ClaimOutcome, DeadCause, OpenAnswer, RELAY_ROWS_MAX};
use crate::job::{Append, AppendChange};
use crate::relay::route::{RelayRoute, RouteTable};
use crate::store::outcome::change_of;
use crate::store::retention::Rest;
use crate::wire::claims;
use crate::wire::publication::{Change, Published, Stored};
use crate::wire::push;
use crate::wire::stream::{AnswerOptions, EndCause, EventKeep, StreamEnd, StreamMark, StreamOptions};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Requests in one transaction. Their answers have one publication each.
pub(super) const REQUESTS_AT_ONCE: usize = 64;
/// Publications that a claim looks at before it lets others go on.
pub(super) const SCAN_ROWS: u32 = 64;
/// Slices of [`SCAN_ROWS`] in one claim.
pub(super) const SCANS: usize = 16;
/// The same of one that moves the cursor by hand.
pub(super) const SKIP_SCANS: usize = 128;
/// The time of a channel without a route until it is listed again.
pub(super) const UNROUTED: Duration = Duration::from_secs(60);
/// The time until a channel is listed again that waits for an open answer. The end of the answer is also noticed.
pub(super) const WAITING_LOOK: Duration = Duration::from_secs(1);
/// Dead letters are deleted after this long.
pub(super) const DEAD_AGE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Dead letters that are kept. Above it the oldest go first.
pub(super) const DEAD_MAX: u64 = 100_000;
/// Waiting channels that [`Status`](crate::job::relay::RelayWork::Status) looks at.
pub(super) const STATUS_ROWS: u32 = 4_000;
/// Channels that the status names.
pub(super) const STUCK: usize = 20;

/// The route of an append whose publication is to be relayed, unless it turns out to end a stream.
pub(super) fn route_of<'t>(table: Option<&'t RouteTable>, job: &Append) -> Option<&'t RelayRoute> {
    if job.stream.is_some() {
        return None;
    }
    let route = table?.of(&job.channel)?;
    route.relays(job.user.as_str(), change_of(job.change), StreamMark::None).then_some(route)
}

/// The same of an append that is stored together with the begin of its answer.
pub(super) fn answering_route<'t>(table: Option<&'t RouteTable>, job: &Append) -> Option<&'t RelayRoute> {
    if job.stream.is_some() || !matches!(job.change, AppendChange::Original) {
        return None;
    }
    let route = table?.of(&job.channel)?;
    route.is_answered(job.user.as_str(), Change::None, StreamMark::None).then_some(route)
}

/// The claims of an append that are stored for its route.
pub(super) fn claims_of(route: &RelayRoute, job: &Append) -> Option<Arc<str>> {
    // A session has those of all routes.
    let claims = job.claims.as_deref().filter(|_| !route.claims.is_empty())?;
    claims::choose(claims.as_bytes(), &route.claims).object
}

/// The data of the begin of an answer.
pub(super) fn answer_data(question: Offset) -> Box<str> {
    format!("{{\"answers\":{}}}", question.0).into()
}

/// The options of the stream of an answer.
pub(super) fn answer_options(route: &RelayRoute, asker: &UserName, question: Offset) -> StreamOptions {
    let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    StreamOptions {
        asker: Some(asker.clone()),
        idle_ms: None,
        events: EventKeep::Drop,
        answer: Some(AnswerOptions { question, give_up_ms: ms(route.give_up), answer_ms: ms(route.answer) }),
    }
}

/// The begin of the answer to `question`, as it is announced.
pub(super) fn published_answer(
    channel: &ChannelName,
    (question, offset): (Offset, Offset),
    author: &UserName,
    time_ms: u64,
) -> Published {
    let (data, stream, change) = (answer_data(question), StreamMark::Begun, Change::None);
    let user = author.as_str();
    let stored = Stored { offset, key: None, user, time_ms, change, stream, deleted_by: None, data: &data };
    let mut frame = Vec::new();
    push::publication(&mut frame, channel, &stored);
    Published { channel: channel.clone(), offset, change, stream, time_ms, frame: Arc::from(frame) }
}

/// The row of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RelayRow {
    pub(super) head: Offset,
    pub(super) cursor: Offset,
    /// To send the publication after the cursor.
    pub(super) attempts: u32,
    /// The time of the next attempt, in Unix milliseconds.
    pub(super) next_ms: u64,
}

impl RelayRow {
    /// Everything up to `cursor` is done.
    pub(super) fn done(self, cursor: Offset) -> RelayRow {
        if cursor <= self.cursor { self } else { RelayRow { cursor, attempts: 0, ..self } }
    }

    /// The attempts to send a publication.
    pub(super) fn attempts_of(&self, offset: Offset) -> u32 {
        if self.cursor.next() == offset { self.attempts } else { 0 }
    }

    /// The publications that retention has removed unsent, the first and the last. `floor`: the oldest one that is retained.
    pub(super) fn expired(&self, floor: Offset) -> Option<(Offset, Offset)> {
        let (first, last) = (self.cursor.next(), Offset(floor.0.saturating_sub(1)).min(self.head));
        (first <= last).then_some((first, last))
    }

    /// The reason why nothing can be claimed now.
    pub(super) fn refusal(&self, now_ms: u64) -> Option<ClaimOutcome> {
        if self.cursor >= self.head {
            return Some(ClaimOutcome::Nothing);
        }
        // Only after an attempt: the time is also that of the first one, and of looks at channels that wait for other reasons.
        if self.attempts > 0 && self.next_ms > now_ms {
            return Some(ClaimOutcome::NotYet { delay: Duration::from_millis(self.next_ms - now_ms) });
        }
        None
    }
}

/// The shares of the routes in the channels that are listed: one that is down must not hide the others.
pub(super) struct DueShares {
    left: Vec<(Arc<str>, u32)>,
}

impl DueShares {
    pub(super) fn new(limit: u32, table: &RouteTable) -> DueShares {
        let routes = u32::try_from(table.iter().count()).unwrap_or(u32::MAX).max(1);
        let share = (limit.min(RELAY_ROWS_MAX) / routes).max(1);
        DueShares { left: table.iter().map(|route| (route.name.clone(), share)).collect() }
    }

    /// Takes a place for a channel of the route. False if there is none left.
    pub(super) fn take(&mut self, route: &RelayRoute) -> bool {
        match self.left.iter_mut().find(|(name, left)| *name == route.name && *left > 0) {
            Some((_, left)) => {
                *left -= 1;
                true
            }
            None => false,
        }
    }

    /// True if no route has a place left.
    fn are_used(&self) -> bool {
        self.left.iter().all(|(_, left)| *left == 0)
    }
}

/// One look at the channels that wait, page by page. `P` is a place among them.
///
/// The first page is that of the front, where the ones are that wait longest, and has half of what is listed; so channels that are new all
/// the time keep none from its turn. The other pages go on where the last look ended, so a front that does not move hides nothing.
pub(super) struct DueLook<'t, P> {
    table: &'t RouteTable,
    limit: u32,
    shares: DueShares,
    /// The last place that was looked at.
    at: P,
    /// The end of the last look, while this one is at the front.
    kept: Option<P>,
    /// The places at the front that were listed, in order: the other pages may come to them again.
    front: Vec<P>,
    pages: usize,
    is_over: bool,
}

impl<'t, P: Clone + Default + Ord> DueLook<'t, P> {
    /// `kept`: the end of the last look.
    pub(super) fn new(kept: P, limit: u32, table: &'t RouteTable) -> DueLook<'t, P> {
        let limit = limit.min(RELAY_ROWS_MAX).div_ceil(2);
        let shares = DueShares::new(limit, table);
        let (at, front) = (P::default(), Vec::new());
        DueLook { table, limit, shares, at, kept: Some(kept), front, pages: 0, is_over: false }
    }

    /// The place after which the next page begins; `None`: the look is over.
    pub(super) fn page(&self) -> Option<&P> {
        (!self.is_over).then_some(&self.at)
    }

    /// Looks at a channel. True if it is listed.
    pub(super) fn take(&mut self, place: P, route: Option<&RelayRoute>) -> bool {
        if self.shares.are_used() {
            return false;
        }
        self.at = place.clone();
        if self.kept.is_none() && self.front.binary_search(&place).is_ok() {
            return false;
        }
        let is_listed = route.is_some_and(|route| self.shares.take(route));
        if is_listed && self.kept.is_some() {
            self.front.push(place);
        }
        is_listed
    }

    /// All channels of a page were looked at. `rest`: of the list.
    pub(super) fn read(&mut self, rest: Rest) {
        self.pages += 1;
        let is_last = rest == Rest::None;
        match self.kept.take() {
            Some(_) if is_last && !self.shares.are_used() => self.finish(),
            Some(kept) => {
                self.at = kept;
                self.shares = DueShares::new(self.limit, self.table);
            }
            None if self.shares.are_used() => self.is_over = true,
            None if is_last => self.finish(),
            None => self.is_over = self.pages >= SCANS,
        }
    }

    /// The list is at its end: the next look goes on at its begin.
    fn finish(&mut self) {
        (self.at, self.is_over) = (P::default(), true);
    }

    /// The end of the look.
    pub(super) fn end(self) -> P {
        self.kept.unwrap_or(self.at)
    }
}

/// A publication that a claim looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScannedRow {
    pub(super) offset: Offset,
    pub(super) user: Box<str>,
    pub(super) change: Change,
    pub(super) mark: StreamMark,
    /// It was deleted, or its author was erased.
    pub(super) is_deleted: bool,
}

impl ScannedRow {
    /// True if it is to be sent, unless its answer has ended.
    pub(super) fn is_relayed(&self, route: &RelayRoute) -> bool {
        !self.is_deleted && route.relays(&self.user, self.change, self.mark)
    }
}

/// The answer to a question, as the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredAnswer {
    /// The question has none.
    None,
    Open(OpenAnswer),
    /// It has ended, and the question with it: a user withdrew it, or a backend has it.
    Ended,
    /// It was interrupted, which says nothing of the question.
    Interrupted,
    /// It has ended because the question was not delivered.
    Failed(DeadCause),
}

impl StoredAnswer {
    /// The same after this many attempts to send the question. An answer that was interrupted before the first one, by a program of the
    /// release before, has lost its question.
    pub(super) fn after(self, attempts: u32) -> StoredAnswer {
        match (self, attempts) {
            (StoredAnswer::Interrupted, 0) => StoredAnswer::Failed(DeadCause::NotDelivered),
            (answer, _) => answer,
        }
    }
}

/// The end of an answer with this mark and data.
pub(super) fn ended_answer(mark: Option<StreamMark>, end: Option<&str>) -> StoredAnswer {
    #[derive(Deserialize)]
    struct EndData<'a> {
        #[serde(default, borrow)]
        cause: Option<&'a str>,
    }
    if mark == Some(StreamMark::Ended(StreamEnd::Interrupted)) {
        return StoredAnswer::Interrupted;
    }
    let cause = end.and_then(|data| serde_json::from_str::<EndData<'_>>(data).ok()?.cause);
    let is_failed = |word: &str| cause == Some(word);
    if is_failed(EndCause::NotDelivered.word()) {
        StoredAnswer::Failed(DeadCause::NotDelivered)
    } else if is_failed(EndCause::Refused.word()) {
        StoredAnswer::Failed(DeadCause::Refused)
    } else {
        StoredAnswer::Ended
    }
}

/// A dead letter that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewDead {
    pub(super) offset: Offset,
    pub(super) through: Offset,
    pub(super) cause: DeadCause,
    pub(super) status: Option<u16>,
}

impl NewDead {
    pub(super) fn of(offset: Offset, cause: DeadCause, status: Option<u16>) -> NewDead {
        NewDead { offset, through: offset, cause, status }
    }

    pub(super) fn expired((offset, through): (Offset, Offset)) -> NewDead {
        NewDead { offset, through, cause: DeadCause::Expired, status: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::route::tests::route;

    fn row(cursor: u64, head: u64, attempts: u32, next_ms: u64) -> RelayRow {
        RelayRow { head: Offset(head), cursor: Offset(cursor), attempts, next_ms }
    }

    /// Looks once at channels `0 .. count`, in pages of ten, and returns the listed ones.
    fn look(kept: &mut u32, count: u32, limit: u32, table: &RouteTable) -> Vec<u32> {
        let (mut look, mut listed) = (DueLook::new(*kept, limit, table), Vec::new());
        let route = table.iter().next();
        while let Some(after) = look.page().copied() {
            // Place n is that of channel n - 1.
            let page: Vec<u32> = (after + 1..=count).take(10).collect();
            for place in &page {
                if look.take(*place, route) {
                    listed.push(*place - 1);
                }
            }
            look.read(if page.len() < 10 { Rest::None } else { Rest::Some });
        }
        *kept = look.end();
        listed
    }

    #[test]
    fn each_look_begins_at_the_front_and_goes_on_where_the_last_one_ended() {
        let table = RouteTable::new(vec![route("one", "t*")]);
        let mut kept = 0;
        assert_eq!(
            look(&mut kept, 7, 20, &table),
            (0..7).collect::<Vec<_>>(),
            "a short list is looked at once"
        );
        assert_eq!(kept, 0);
        let mut found = std::collections::BTreeSet::new();
        for turn in 0..12 {
            let listed = look(&mut kept, 100, 20, &table);
            assert_eq!(listed[..10], (0..10).collect::<Vec<_>>(), "turn {turn}");
            assert!(listed.len() <= 20);
            found.extend(listed);
        }
        assert_eq!(found.len(), 100, "a front that does not move hides nothing");
    }

    #[test]
    fn look_at_channels_of_another_route_ends_after_some_pages() {
        let table = RouteTable::new(vec![route("one", "t*"), route("two", "u*")]);
        let mut kept = 0;
        // The places of the second route are never used up.
        let ends: Vec<u32> = (0..3)
            .map(|_| {
                look(&mut kept, 400, 20, &table);
                kept
            })
            .collect();
        assert_eq!(ends, [150, 300, 0], "fifteen pages after the one at the front");
    }

    #[test]
    fn expired_are_the_publications_below_the_floor_that_were_to_be_sent() {
        let expired = |floor| row(4, 9, 0, 0).expired(Offset(floor));
        assert_eq!(expired(5), None);
        assert_eq!(expired(7), Some((Offset(5), Offset(6))));
        assert_eq!(expired(50), Some((Offset(5), Offset(9))));
        assert_eq!(row(9, 9, 0, 0).expired(Offset(50)), None);
    }

    #[test]
    fn only_an_attempt_delays_the_next_one() {
        assert!(
            matches!(row(4, 9, 1, 70).refusal(50), Some(ClaimOutcome::NotYet { delay }) if delay.as_millis() == 20)
        );
        assert!(row(4, 9, 1, 70).refusal(70).is_none());
        assert!(row(4, 9, 0, 70).refusal(50).is_none());
        assert!(matches!(row(9, 9, 0, 0).refusal(50), Some(ClaimOutcome::Nothing)));
    }

    #[test]
    fn answer_that_was_not_delivered_is_known_by_its_end() {
        let of = |data| ended_answer(Some(StreamMark::Ended(StreamEnd::Failed)), Some(data));
        assert_eq!(
            of(r#"{"text":"","cause":"not_delivered"}"#),
            StoredAnswer::Failed(DeadCause::NotDelivered)
        );
        assert_eq!(of(r#"{"cause":"refused"}"#), StoredAnswer::Failed(DeadCause::Refused));
        for data in [r#"{"text":"not_delivered"}"#, r#"{"cause":"idle"}"#, "7", "{"] {
            assert_eq!(of(data), StoredAnswer::Ended, "{data}");
        }
        assert_eq!(ended_answer(None, None), StoredAnswer::Ended);
        let interrupted = ended_answer(Some(StreamMark::Ended(StreamEnd::Interrupted)), Some("{}"));
        assert_eq!(interrupted.after(0), StoredAnswer::Failed(DeadCause::NotDelivered));
        assert_eq!(interrupted.after(1), StoredAnswer::Interrupted);
    }

    #[test]
    fn attempts_belong_to_one_publication() {
        assert_eq!(row(4, 9, 3, 1).done(Offset(4)), row(4, 9, 3, 1));
        assert_eq!(row(4, 9, 3, 1).done(Offset(6)), row(6, 9, 0, 1));
    }
}
