//! Questions and orders of operators about objectives, as the thread `store-slo` carries them out: rows of the past for reports and histories,
//! and exclusions.

use super::connection::StoreConnection;
use super::exclusions;
use super::fault::CallFault;
use crate::job::shared_questions::{
    ClosedWeek, PastRows, PastSpan, StoreAnswer, StoreQuestion, StoreQuestionEnds,
};
use crate::net::postgres::{Param, Row};
use crate::net::trouble::Trouble;
use crate::slo::counts_row;
use crate::slo::run_counts::AllCounts;
use crate::slo::weekly_rows::{RunEnding, RunSpan};
use crate::store::columns::{integer, natural};
use postgres_types::Type;
use std::ops::Range;

/// Times with a run that are read, the newest ones. There are more only if everything ends and starts again all the time.
const RUNS_READ: i64 = 5_000;

/// The runs between two times, and the last one that ended before them, because a gap may begin there. Both parts read the index of the
/// ends. Runs that overlap, or follow each other within ten seconds, are one time. Its end is that of the run that went on longest.
const RUNS: &str = "
WITH known AS (
    SELECT run, began, last, ended FROM seawall.slo_runs
    WHERE last >= timestamptz 'epoch' + $1::bigint * interval '1 millisecond'
        AND began < timestamptz 'epoch' + $2::bigint * interval '1 millisecond'
    UNION ALL (
        SELECT run, began, last, ended FROM seawall.slo_runs
        WHERE last < timestamptz 'epoch' + $1::bigint * interval '1 millisecond' ORDER BY last DESC LIMIT 1)),
run AS (
    SELECT run, began, last, ended,
        max(last) OVER (ORDER BY began, run ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered
    FROM known),
place AS (
    SELECT began, last, ended,
        count(*) FILTER (WHERE began >= covered + interval '10 seconds') OVER (ORDER BY began, run) AS place
    FROM run)
SELECT (pg_catalog.date_part('epoch', min(began)) * 1000)::bigint, (pg_catalog.date_part('epoch', max(last)) * 1000)::bigint,
    (array_agg(ended = 'clean' ORDER BY last DESC, began DESC))[1]
FROM place GROUP BY place ORDER BY min(began) DESC LIMIT $3";

/// The leader's rows, of which the sweep keeps ten thousand that are over.
const INCIDENTS: &str = "
SELECT body FROM seawall.incidents
WHERE (body::jsonb ->> 'since_ms')::bigint < $2
    AND coalesce((body::jsonb -> 'end' ->> 'at_ms')::bigint > $1, true) ORDER BY number LIMIT 10000";
const NOTICES: &str = "
SELECT fate, body FROM seawall.notices
WHERE fate IN ('sent', 'dead') AND (body::jsonb -> 'content' ->> 'at_ms')::bigint >= $1
    AND (body::jsonb -> 'content' ->> 'at_ms')::bigint < $2 ORDER BY id LIMIT 10000";

/// Carries a question out, and answers it.
pub(super) fn answer(connection: &mut StoreConnection, ends: &StoreQuestionEnds, question: &StoreQuestion) {
    // The connection reports a failure and tries again.
    let _ = connection.advance(|| {});
    let answer = match question {
        StoreQuestion::Past(span) => past(connection, span).map(StoreAnswer::Past),
        StoreQuestion::Close(zone, weeks) => close(connection, zone, weeks).map(|()| StoreAnswer::Closed),
        StoreQuestion::Exclude(row) => exclusions::add(connection, row).map(StoreAnswer::Excluded),
        StoreQuestion::EndExclusion(number) => exclusions::end(connection, *number).map(StoreAnswer::Ended),
    };
    if let Err(fault) = &answer {
        tracing::debug!(cause = %fault.cause.text, "question about objectives not answered");
    }
    // The thread `slo` may have ended meanwhile.
    let _ = ends.answers.try_send(answer.ok());
}

fn past(connection: &mut StoreConnection, span: &PastSpan) -> Result<PastRows, CallFault> {
    let quarters = quarters(connection, &span.quarters)?;
    let weeks = span.zone.as_ref().map_or(Ok(Vec::new()), |zone| weeks(connection, zone))?;
    let Some(week) = &span.week_ms else { return Ok(PastRows { quarters, weeks, ..PastRows::default() }) };
    let params: [Param<'_>; 2] = [(&integer(week.start), Type::INT8), (&integer(week.end), Type::INT8)];
    let incidents = connection.read(INCIDENTS, &params)?;
    let incident = |row: &Row| -> Result<String, Trouble> { Ok(row.try_get::<&str>(0)?.to_owned()) };
    let notices = connection.read(NOTICES, &params)?;
    let notice = |row: &Row| -> Result<(String, String), Trouble> {
        Ok((row.try_get::<&str>(0)?.to_owned(), row.try_get::<&str>(1)?.to_owned()))
    };
    Ok(PastRows {
        quarters,
        weeks,
        runs: runs(connection, week)?,
        incidents: garbled(incidents.iter().map(incident).collect())?,
        notices: garbled(notices.iter().map(notice).collect())?,
    })
}

fn runs(connection: &mut StoreConnection, week: &Range<u64>) -> Result<Vec<RunSpan>, CallFault> {
    let (from, until) = (integer(week.start), integer(week.end));
    let rows =
        connection.read(RUNS, &[(&from, Type::INT8), (&until, Type::INT8), (&RUNS_READ, Type::INT8)])?;
    let read = |row: &Row| -> Result<RunSpan, Trouble> {
        let ending = if row.try_get(2)? { RunEnding::Stopped } else { RunEnding::Killed };
        Ok(RunSpan { began_ms: natural(row.try_get(0)?), last_ms: natural(row.try_get(1)?), ending })
    };
    garbled(rows.iter().rev().map(read).collect())
}

/// The weeks of a time zone, of which the sweep keeps 800 days.
fn weeks(connection: &mut StoreConnection, zone: &str) -> Result<Vec<ClosedWeek>, CallFault> {
    let rows = connection.read(
        "SELECT week, from_ms, counts::text FROM seawall.slo_weeks WHERE zone = $1 ORDER BY from_ms DESC LIMIT 200",
        &[(&zone, Type::TEXT)],
    )?;
    let read = |row: &Row| -> Result<ClosedWeek, Trouble> {
        let week = row.try_get::<&str>(0)?.to_owned();
        Ok(ClosedWeek { week, from_ms: natural(row.try_get(1)?), counts: counts_row::read(row.try_get(2)?) })
    };
    garbled(rows.iter().map(read).collect())
}

/// Keeps the sums of weeks. Every instance has the same ones, so the first one is enough.
fn close(connection: &mut StoreConnection, zone: &str, weeks: &[ClosedWeek]) -> Result<(), CallFault> {
    let names: Vec<&str> = weeks.iter().map(|week| &*week.week).collect();
    let begins: Vec<i64> = weeks.iter().map(|week| integer(week.from_ms)).collect();
    let counts: Vec<String> = weeks.iter().map(|week| counts_row::text_of(&week.counts)).collect();
    connection.query(
        "INSERT INTO seawall.slo_weeks (zone, week, from_ms, counts)
         SELECT $1, closed.week, closed.from_ms, closed.counts::jsonb
         FROM unnest($2, $3, $4) AS closed (week, from_ms, counts) ON CONFLICT (zone, week) DO NOTHING",
        &[
            (&zone, Type::TEXT),
            (&names, Type::TEXT_ARRAY),
            (&begins, Type::INT8_ARRAY),
            (&counts, Type::TEXT_ARRAY),
        ],
    )?;
    Ok(())
}

/// The counts of closed quarters.
pub(super) fn quarters(
    connection: &mut StoreConnection,
    span: &Range<u64>,
) -> Result<Vec<(u64, AllCounts)>, CallFault> {
    if span.is_empty() {
        return Ok(Vec::new());
    }
    let rows = connection.read(
        "SELECT quarter, counts::text FROM seawall.slo_quarters
         WHERE quarter >= $1 AND quarter < $2 ORDER BY quarter DESC LIMIT 10000",
        &[(&integer(span.start), Type::INT8), (&integer(span.end), Type::INT8)],
    )?;
    let read = |row: &Row| -> Result<(u64, AllCounts), Trouble> {
        Ok((natural(row.try_get(0)?), counts_row::read(row.try_get(1)?)))
    };
    garbled(rows.iter().map(read).collect())
}

fn garbled<T>(read: Result<T, Trouble>) -> Result<T, CallFault> {
    read.map_err(|error| CallFault::garbled(&error))
}
