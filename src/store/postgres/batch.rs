//! Encoding a batch for the database, and decoding its outcomes.

use super::connection::StoreConnection;
use super::fault::CallFault;
use super::route::Waiting;
use super::streams::options_column;
use crate::id::{Epoch, Offset};
use crate::job::{Append, AppendChange, AppendError, Appended, Attempt, Authority};
use crate::net::postgres::{Param, Row};
use crate::net::trouble::Trouble;
use crate::relay::route::RouteTable;
use crate::store::columns::kind;
use crate::store::columns::{integer, natural};
use crate::store::emptied::BASE_STEP;
use crate::store::idempotency::digest;
use crate::store::outcome::{Outcome, RETRY_MS, change_of};
use crate::store::relay::{answering_route, claims_of, route_of};
use crate::wire::publication::Change;
use crate::wire::stream::{StreamFault, StreamMark};
use postgres_types::Type;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The statement that appends a batch.
pub(super) const APPEND: &str = "SELECT status, out_offset, out_time, out_floor, out_epoch, out_stream
     FROM seawall.append_streams($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

/// The statement that appends a batch in which publications are to be relayed.
pub(super) const APPEND_RELAYED: &str =
    "SELECT status, out_offset, out_time, out_floor, out_epoch, out_stream, out_answer
     FROM seawall.append_relayed($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";

/// Says if the rows of an answer have the offsets of answers to questions.
#[derive(Clone, Copy)]
enum AnswerOffsets {
    Absent,
    Last,
}

/// The outcome of one append, with the state of its channel.
#[derive(Debug)]
pub(super) struct SettledAppend {
    pub(super) outcome: Outcome,
    /// The number of publications that the channel retains; 0 if nothing was stored.
    pub(super) retained: u64,
    pub(super) channel: ChannelAge,
    /// The part that it has in a stream. Of repeats, only that of edits and deletes is known.
    #[allow(dead_code, reason = "the append worker has no streams yet")]
    pub(super) mark: StreamMark,
}

/// The bounds that the store checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppendBounds {
    /// `limits.channels`
    pub(super) channels_max: u64,
    /// `limits.edits`
    pub(super) edits_max: u32,
    /// `streams.open_per_channel`
    pub(super) streams_max: usize,
}

/// Says which appends created their channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelAge {
    Old,
    New,
}

/// Commits a batch, its appends in order, in one statement and one round trip.
pub(super) fn commit(
    connection: &mut StoreConnection,
    jobs: &[&Append],
    now_ms: u64,
    bounds: AppendBounds,
    routes: Option<&RouteTable>,
) -> Result<Vec<SettledAppend>, CallFault> {
    let changes: Vec<Change> = jobs.iter().map(|job| change_of(job.change)).collect();
    let names: Vec<&str> = jobs.iter().map(|job| job.channel.as_str()).collect();
    let authors: Vec<&str> = jobs.iter().map(|job| job.user.as_str()).collect();
    let keys: Vec<Option<&str>> = jobs.iter().map(|job| job.key.as_ref().map(|key| key.as_str())).collect();
    let kinds: Vec<i16> = changes.iter().map(|change| kind(*change) as i16).collect();
    let targets: Vec<Option<i64>> = changes.iter().map(target).collect();
    let moderates: Vec<bool> = jobs.iter().map(|job| moderates(job.change)).collect();
    let digests: Vec<Option<Vec<u8>>> = jobs
        .iter()
        .zip(&changes)
        .map(|(job, change)| job.key.as_ref().map(|_| digest(*change, &job.data).to_vec()))
        .collect();
    let texts: Vec<&str> = jobs.iter().map(|job| &*job.data).collect();
    let streams = StreamColumns::of(jobs);
    let (now, edits_max) = (integer(now_ms), i64::from(bounds.edits_max));
    let (channels_max, streams_max) = (integer(bounds.channels_max), integer(bounds.streams_max as u64));
    let common: [Param<'_>; 14] = [
        (&now, Type::INT8),
        (&channels_max, Type::INT8),
        (&names, Type::TEXT_ARRAY),
        (&authors, Type::TEXT_ARRAY),
        (&keys, Type::TEXT_ARRAY),
        (&kinds, Type::INT2_ARRAY),
        (&targets, Type::INT8_ARRAY),
        (&moderates, Type::BOOL_ARRAY),
        (&digests, Type::BYTEA_ARRAY),
        (&texts, Type::TEXT_ARRAY),
        (&edits_max, Type::INT8),
        (&streams.options, Type::TEXT_ARRAY),
        (&streams.askers, Type::TEXT_ARRAY),
        (&streams_max, Type::INT8),
    ];
    let (rows, answers) = match RelayColumns::of(jobs, routes) {
        None => (connection.query(APPEND, &common)?, AnswerOffsets::Absent),
        Some(relay) => {
            let claims: Vec<Option<&str>> = relay.claims.iter().map(Option::as_deref).collect();
            let of_relay: [Param<'_>; 5] = [
                (&relay.relayed, Type::BOOL_ARRAY),
                (&relay.answerers, Type::TEXT_ARRAY),
                (&relay.give_ups, Type::INT8_ARRAY),
                (&relay.answer_times, Type::INT8_ARRAY),
                (&claims, Type::TEXT_ARRAY),
            ];
            let params: Vec<Param<'_>> = common.into_iter().chain(of_relay).collect();
            (connection.query(APPEND_RELAYED, &params)?, AnswerOffsets::Last)
        }
    };
    rows.iter()
        .map(|row| settled(row, answers))
        .collect::<Result<_, _>>()
        .map_err(|error| CallFault::garbled(&error))
}

/// The streams that appends begin; `None` if none does, which is usual.
#[derive(Default)]
struct StreamColumns<'a> {
    options: Option<Vec<Option<String>>>,
    askers: Option<Vec<Option<&'a str>>>,
}

impl<'a> StreamColumns<'a> {
    fn of(jobs: &[&'a Append]) -> StreamColumns<'a> {
        if jobs.iter().all(|job| job.stream.is_none()) {
            return StreamColumns::default();
        }
        let begins = || jobs.iter().map(|job| job.stream.as_ref().map(|begin| &begin.options));
        StreamColumns {
            options: Some(begins().map(|options| options.map(options_column)).collect()),
            askers: Some(begins().map(|options| Some(options?.asker.as_ref()?.as_str())).collect()),
        }
    }
}

/// The appends whose publications are to be relayed.
struct RelayColumns<'a> {
    relayed: Vec<bool>,
    /// The authors of answers that begin together with their questions.
    answerers: Vec<Option<&'a str>>,
    give_ups: Vec<Option<i64>>,
    answer_times: Vec<Option<i64>>,
    claims: Vec<Option<Arc<str>>>,
}

impl<'a> RelayColumns<'a> {
    /// `None`: there are none, which is usual.
    fn of(jobs: &[&'a Append], routes: Option<&'a RouteTable>) -> Option<RelayColumns<'a>> {
        routes?;
        let of_jobs: Vec<_> = jobs.iter().map(|job| route_of(routes, job)).collect();
        if of_jobs.iter().all(Option::is_none) {
            return None;
        }
        let ms = |duration: Duration| integer(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let answering: Vec<_> = jobs.iter().map(|job| answering_route(routes, job)).collect();
        let claims = jobs.iter().zip(&of_jobs).map(|(job, route)| claims_of((*route)?, job));
        Some(RelayColumns {
            relayed: of_jobs.iter().map(Option::is_some).collect(),
            answerers: answering.iter().map(|route| route.map(|route| route.user.as_str())).collect(),
            give_ups: answering.iter().map(|route| route.map(|route| ms(route.give_up))).collect(),
            answer_times: answering.iter().map(|route| route.map(|route| ms(route.answer))).collect(),
            claims: claims.collect(),
        })
    }
}

fn target(change: &Change) -> Option<i64> {
    match change {
        Change::None => None,
        Change::Edits(target) | Change::Deletes(target) => Some(integer(target.0)),
    }
}

fn moderates(change: AppendChange) -> bool {
    match change {
        AppendChange::Original => false,
        AppendChange::Edit(_, authority) | AppendChange::Delete(_, authority) => {
            authority == Authority::Moderator
        }
    }
}

fn settled(row: &Row, answers: AnswerOffsets) -> Result<SettledAppend, Trouble> {
    let status: i16 = row.try_get(0)?;
    let attempt = match status {
        0 => Attempt::First,
        1 => Attempt::Repeat,
        2 => return Ok(refused(AppendError::KeyConflict)),
        3 => return Ok(refused(AppendError::NotFound)),
        4 => return Ok(refused(AppendError::NotAuthor)),
        5 => return Ok(refused(AppendError::TooManyChannels)),
        7 => return Ok(refused(AppendError::Stream(StreamFault::ChannelFull { retry_ms: RETRY_MS }))),
        _ => return Ok(refused(AppendError::TooManyEdits)),
    };
    let (offset, time, floor): (i64, i64, i64) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let epoch = Epoch(row.try_get::<i64>(4)? as u32);
    let answer = match answers {
        AnswerOffsets::Absent => None,
        AnswerOffsets::Last => row.try_get::<Option<i64>>(6)?.map(|answer| Offset(natural(answer))),
    };
    let appended = Appended {
        epoch,
        offset: Offset(natural(offset)),
        time_ms: natural(time),
        attempt,
        stream: None,
        answer,
    };
    let starts = attempt == Attempt::First && offset == floor && natural(offset) % BASE_STEP == 1;
    let channel = if starts { ChannelAge::New } else { ChannelAge::Old };
    let mark = row.try_get::<Option<i16>>(5)?.and_then(|code| StreamMark::of_code(code.into()));
    let mark = mark.unwrap_or_default();
    let last = answer.map_or(offset, |answer| integer(answer.0));
    Ok(SettledAppend { outcome: Ok(appended), retained: natural(last - floor + 1), channel, mark })
}

/// The outcome to announce. An append whose first attempt was in doubt and proves to be stored is new to its author and was
/// never announced. Subscribers that know it already drop it by its offset.
pub(super) fn announced(waiting: &Waiting, settled: SettledAppend) -> Outcome {
    settled.outcome.map(|appended| match waiting.doubtful {
        true => Appended { attempt: Attempt::First, ..appended },
        false => appended,
    })
}

fn refused(error: AppendError) -> SettledAppend {
    SettledAppend { outcome: Err(error), retained: 0, channel: ChannelAge::Old, mark: StreamMark::None }
}

/// Names among these of channels that exist.
pub(super) fn existing(
    connection: &mut StoreConnection,
    names: &[&str],
) -> Result<HashSet<String>, CallFault> {
    let rows = connection
        .query("SELECT name FROM seawall.channels WHERE name = ANY ($1)", &[(&names, Type::TEXT_ARRAY)])?;
    rows.iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()
        .map_err(|error| CallFault::garbled(&error))
}
