//! The reads of the relay, and the statement with which it writes.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use crate::id::{ChannelName, Epoch, Key, Offset, UserName};
use crate::job::relay::{Fence, OpenAnswer, RelayedQuestion};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::relay::route::{AnswerMode, RelayRoute};
use crate::store::columns::{change, integer, natural};
use crate::store::relay::{NewDead, RelayRow, ScannedRow, StoredAnswer, ended_answer};
use crate::wire::stream::{Generation, StreamMark, StreamState};
use postgres_types::Type;
use std::sync::Arc;

/// The row of a channel as it was read.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    /// The number of the channel.
    pub(super) channel: i64,
    /// The oldest offset that is retained.
    pub(super) floor: Offset,
    pub(super) row: RelayRow,
    /// `None`: no process.
    pub(super) taken_by: Option<i64>,
    pub(super) taken_until_ms: u64,
    pub(super) fence: Fence,
    /// The time of the database.
    pub(super) now_ms: u64,
    pub(super) epoch: Epoch,
}

pub(super) fn garbled<T>(rows: &[Row], of: impl Fn(&Row) -> Result<T, Trouble>) -> Result<Vec<T>, CallFault> {
    rows.iter().map(of).collect::<Result<_, _>>().map_err(|error| CallFault::garbled(&error))
}

pub(super) fn offset(row: &Row, at: usize) -> Result<Offset, Trouble> {
    row.try_get(at).map(natural).map(Offset)
}

/// The rows of channels, in their order; `None` for one that the relay does not know.
pub(super) fn look(
    connection: &mut StoreConnection,
    names: &[&str],
) -> Result<Vec<Option<Looked>>, CallFault> {
    let rows = connection.query(
        "SELECT channel, floor, head, \"cursor\", attempts, next, taken_by, taken_until, fence, clock, epoch
         FROM seawall.relay_look($1)",
        &[(&names, Type::TEXT_ARRAY)],
    )?;
    garbled(&rows, |row| {
        let Some(channel) = row.try_get::<Option<i64>>(0)? else { return Ok(None) };
        let relay = RelayRow {
            head: offset(row, 2)?,
            cursor: offset(row, 3)?,
            attempts: u32::try_from(row.try_get::<i32>(4)?).unwrap_or(0),
            next_ms: natural(row.try_get(5)?),
        };
        Ok(Some(Looked {
            channel,
            floor: offset(row, 1)?,
            row: relay,
            taken_by: row.try_get(6)?,
            taken_until_ms: natural(row.try_get(7)?),
            fence: Fence(natural(row.try_get(8)?)),
            now_ms: natural(row.try_get(9)?),
            epoch: Epoch(row.try_get::<i64>(10)? as u32),
        }))
    })
}

/// A part of a channel's log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) channel: i64,
    pub(super) after: Offset,
    pub(super) through: Offset,
}

/// The first publications of each part.
pub(super) fn scan(
    connection: &mut StoreConnection,
    stretches: &[Stretch],
    most: u32,
) -> Result<Vec<Vec<ScannedRow>>, CallFault> {
    let channels: Vec<i64> = stretches.iter().map(|stretch| stretch.channel).collect();
    let after: Vec<i64> = stretches.iter().map(|stretch| integer(stretch.after.0)).collect();
    let through: Vec<i64> = stretches.iter().map(|stretch| integer(stretch.through.0)).collect();
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let rows = connection.query(
        "SELECT ord, \"offset\", author, kind, target, stream, is_deleted
         FROM seawall.relay_scan($1, $2, $3, $4)",
        &[
            (&channels, Type::INT8_ARRAY),
            (&after, Type::INT8_ARRAY),
            (&through, Type::INT8_ARRAY),
            (&most, Type::INT4),
        ],
    )?;
    let mut scanned: Vec<Vec<ScannedRow>> = vec![Vec::new(); stretches.len()];
    let found = garbled(&rows, |row| {
        let mark = row.try_get::<Option<i16>>(5)?.and_then(|code| StreamMark::of_code(code.into()));
        let scanned = ScannedRow {
            offset: offset(row, 1)?,
            user: row.try_get::<String>(2)?.into(),
            change: change(row.try_get::<i16>(3)?.into(), row.try_get(4)?),
            mark: mark.unwrap_or_default(),
            is_deleted: row.try_get(6)?,
        };
        Ok((place(row)?, scanned))
    })?;
    for (place, row) in found {
        if let Some(of_stretch) = scanned.get_mut(place) {
            of_stretch.push(row);
        }
    }
    Ok(scanned)
}

/// The place in the arrays that a row is for.
fn place(row: &Row) -> Result<usize, Trouble> {
    Ok(usize::try_from(row.try_get::<i64>(0)?).unwrap_or(0).wrapping_sub(1))
}

/// A publication that may be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) channel: i64,
    pub(super) offset: Offset,
    /// The route that it goes by.
    pub(super) route: &'a RelayRoute,
}

/// A candidate with its content.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    /// `None`: it has no text any more.
    pub(super) question: Option<RelayedQuestion>,
    pub(super) claims: Option<Arc<str>>,
    pub(super) answer: StoredAnswer,
    /// An earlier answer is open.
    pub(super) waits: bool,
}

/// The contents of candidates, in their order; `None` for one that is gone.
pub(super) fn fetch(
    connection: &mut StoreConnection,
    candidates: &[Candidate<'_>],
) -> Result<Vec<Option<Fetched>>, CallFault> {
    let channels: Vec<i64> = candidates.iter().map(|candidate| candidate.channel).collect();
    let offsets: Vec<i64> = candidates.iter().map(|candidate| integer(candidate.offset.0)).collect();
    let answerers: Vec<&str> = candidates.iter().map(|candidate| candidate.route.user.as_str()).collect();
    let is_answered = |candidate: &Candidate<'_>| candidate.route.answers == AnswerMode::Stored;
    let answered: Vec<bool> = candidates.iter().map(is_answered).collect();
    let rows = connection.query(
        "SELECT ord, author, key, stamp, kind, target, data, claims, has_answer, gen, state, end_mark,
             failed, waits
         FROM seawall.relay_fetch($1, $2, $3, $4)",
        &[
            (&channels, Type::INT8_ARRAY),
            (&offsets, Type::INT8_ARRAY),
            (&answerers, Type::TEXT_ARRAY),
            (&answered, Type::BOOL_ARRAY),
        ],
    )?;
    let mut fetched: Vec<Option<Fetched>> = vec![None; candidates.len()];
    let found = garbled(&rows, |row| {
        let place = place(row)?;
        Ok((
            place,
            fetched_row(row, candidates.get(place).map_or(Offset::ZERO, |candidate| candidate.offset))?,
        ))
    })?;
    for (place, row) in found {
        if let Some(of_candidate) = fetched.get_mut(place) {
            *of_candidate = Some(row);
        }
    }
    Ok(fetched)
}

fn fetched_row(row: &Row, offset: Offset) -> Result<Fetched, Trouble> {
    let user = UserName::parse(&row.try_get::<String>(1)?).ok();
    let key = row.try_get::<Option<String>>(2)?.and_then(|key| Key::parse(&key).ok());
    let change = change(row.try_get::<i16>(4)?.into(), row.try_get(5)?);
    let (time_ms, data) = (natural(row.try_get(3)?), row.try_get::<Option<String>>(6)?);
    let question = user.zip(data).map(|(user, data)| {
        let data = data.into();
        RelayedQuestion { offset, key, user, time_ms, change, data }
    });
    let (generation, state) = (row.try_get::<Option<i32>>(9)?, row.try_get::<Option<i16>>(10)?);
    let answer = match (row.try_get::<bool>(8)?, generation, state) {
        (false, ..) => StoredAnswer::None,
        (true, Some(generation), Some(state)) => StoredAnswer::Open(OpenAnswer {
            offset: offset.next(),
            generation: Generation(u32::try_from(generation).unwrap_or(0)),
            state: StreamState::of_code(state.into()).unwrap_or(StreamState::Paused),
        }),
        (true, ..) => {
            let mark = row.try_get::<Option<i16>>(11)?.and_then(|code| StreamMark::of_code(code.into()));
            ended_answer(mark, row.try_get::<Option<String>>(12)?.as_deref())
        }
    };
    let claims = row.try_get::<Option<String>>(7)?.map(Arc::from);
    Ok(Fetched { question, claims, answer, waits: row.try_get(13)? })
}

/// A row to be written, if it is still as it was read.
#[derive(Clone, Debug)]
pub(super) struct WrittenRow {
    pub(super) name: ChannelName,
    pub(super) looked: Looked,
    pub(super) cursor: Offset,
    pub(super) attempts: u32,
    /// The time until the next attempt in milliseconds; `None`: as it is.
    pub(super) wait_ms: Option<u64>,
    pub(super) hold: ClaimHold,
    pub(super) route: Arc<str>,
    pub(super) dead: Vec<NewDead>,
}

/// The fate of a channel's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimHold {
    /// This process has it.
    Take,
    /// This process has it no more.
    Leave,
    /// No process has it, whichever had it before.
    Break,
}

/// Writes rows, and returns the numbers of the channels that were still as they were read.
pub(super) fn write(
    connection: &mut StoreConnection,
    (by, lease_ms): (i64, i64),
    rows: &[WrittenRow],
) -> Result<Vec<i64>, CallFault> {
    let numbers = |of: &dyn Fn(&WrittenRow) -> i64| rows.iter().map(of).collect::<Vec<i64>>();
    let channels = numbers(&|row| row.looked.channel);
    let fences = numbers(&|row| integer(row.looked.fence.0));
    let known = numbers(&|row| integer(row.looked.row.cursor.0));
    let cursors = numbers(&|row| integer(row.cursor.0));
    let attempts: Vec<i32> = rows.iter().map(|row| i32::try_from(row.attempts).unwrap_or(i32::MAX)).collect();
    let waits: Vec<Option<i64>> = rows.iter().map(|row| row.wait_ms.map(integer)).collect();
    let takes: Vec<bool> = rows.iter().map(|row| row.hold == ClaimHold::Take).collect();
    let bumps: Vec<bool> = rows.iter().map(|row| row.hold == ClaimHold::Break).collect();
    let dead: Vec<(&WrittenRow, &NewDead)> =
        rows.iter().flat_map(|row| row.dead.iter().map(move |dead| (row, dead))).collect();
    let dead_channels: Vec<i64> = dead.iter().map(|(row, _)| row.looked.channel).collect();
    let dead_names: Vec<&str> = dead.iter().map(|(row, _)| row.name.as_str()).collect();
    let dead_offsets: Vec<i64> = dead.iter().map(|(_, dead)| integer(dead.offset.0)).collect();
    let dead_throughs: Vec<i64> = dead.iter().map(|(_, dead)| integer(dead.through.0)).collect();
    let dead_routes: Vec<&str> = dead.iter().map(|(row, _)| &*row.route).collect();
    let dead_causes: Vec<i16> = dead.iter().map(|(_, dead)| dead.cause.code()).collect();
    let dead_statuses: Vec<Option<i32>> = dead.iter().map(|(_, dead)| dead.status.map(i32::from)).collect();
    let written = connection.query(
        "SELECT seawall.relay_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        &[
            (&by, Type::INT8),
            (&lease_ms, Type::INT8),
            (&channels, Type::INT8_ARRAY),
            (&fences, Type::INT8_ARRAY),
            (&known, Type::INT8_ARRAY),
            (&cursors, Type::INT8_ARRAY),
            (&attempts, Type::INT4_ARRAY),
            (&waits, Type::INT8_ARRAY),
            (&takes, Type::BOOL_ARRAY),
            (&bumps, Type::BOOL_ARRAY),
            (&dead_channels, Type::INT8_ARRAY),
            (&dead_names, Type::TEXT_ARRAY),
            (&dead_offsets, Type::INT8_ARRAY),
            (&dead_throughs, Type::INT8_ARRAY),
            (&dead_routes, Type::TEXT_ARRAY),
            (&dead_causes, Type::INT2_ARRAY),
            (&dead_statuses, Type::INT4_ARRAY),
        ],
    )?;
    garbled(&written, |row| row.try_get(0))
}

/// A channel that waits.
pub(super) struct DueRow {
    /// The number of the channel.
    pub(super) channel: i64,
    /// `None`: the channel does not exist.
    pub(super) name: Option<ChannelName>,
    pub(super) attempts: u32,
    pub(super) next_ms: i64,
    pub(super) oldest_ms: Option<u64>,
}

/// A place in the list of channels that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DuePlace {
    pub(super) next_ms: i64,
    /// The number of the channel.
    pub(super) channel: i64,
}

impl Default for DuePlace {
    fn default() -> DuePlace {
        DuePlace { next_ms: i64::MIN, channel: i64::MIN }
    }
}

/// Channels whose time has come and that are not claimed, after a place.
pub(super) fn due(
    connection: &mut StoreConnection,
    after: DuePlace,
    most: u32,
) -> Result<Vec<DueRow>, CallFault> {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let rows = connection.query(
        "SELECT channel, name, attempts, next, oldest FROM seawall.relay_due($1, $2, $3)",
        &[(&after.next_ms, Type::INT8), (&after.channel, Type::INT8), (&most, Type::INT4)],
    )?;
    garbled(&rows, |row| {
        Ok(DueRow {
            channel: row.try_get(0)?,
            name: row.try_get::<Option<String>>(1)?.and_then(|name| ChannelName::parse_any(&name).ok()),
            attempts: u32::try_from(row.try_get::<i32>(2)?).unwrap_or(0),
            next_ms: row.try_get(3)?,
            oldest_ms: row.try_get::<Option<i64>>(4)?.map(natural),
        })
    })
}

/// The milliseconds until the next channel becomes due by itself; `None`: none waits.
pub(super) fn next(connection: &mut StoreConnection) -> Result<Option<u64>, CallFault> {
    let rows = connection.query("SELECT seawall.relay_next()", &[])?;
    let next = garbled(&rows, |row| row.try_get::<Option<i64>>(0))?;
    Ok(next.into_iter().next().flatten().map(natural))
}

/// Has channels without a route wait.
pub(super) fn defer(
    connection: &mut StoreConnection,
    channels: &[i64],
    wait_ms: i64,
) -> Result<(), CallFault> {
    let params = [(&channels as _, Type::INT8_ARRAY), (&wait_ms as _, Type::INT8)];
    connection.query("SELECT seawall.relay_defer($1, $2)", &params).map(drop)
}

/// Prolongs claims, and returns the places of the lost ones.
pub(super) fn renew(
    connection: &mut StoreConnection,
    (by, lease_ms): (i64, i64),
    claims: &[(ChannelName, Fence)],
) -> Result<Vec<usize>, CallFault> {
    let names: Vec<&str> = claims.iter().map(|(channel, _)| channel.as_str()).collect();
    let fences: Vec<i64> = claims.iter().map(|(_, fence)| integer(fence.0)).collect();
    let rows = connection.query(
        "SELECT seawall.relay_renew($1, $2, $3, $4)",
        &[
            (&by, Type::INT8),
            (&lease_ms, Type::INT8),
            (&names, Type::TEXT_ARRAY),
            (&fences, Type::INT8_ARRAY),
        ],
    )?;
    garbled(&rows, place)
}

/// Ends all claims of a process.
pub(super) fn release(connection: &mut StoreConnection, by: i64) -> Result<u64, CallFault> {
    let rows = connection.query("SELECT seawall.relay_release($1)", &[(&by, Type::INT8)])?;
    let released = garbled(&rows, |row| row.try_get::<i64>(0))?;
    Ok(released.first().copied().map_or(0, natural))
}

/// A channel that waits, for the status.
pub(super) struct StatusRow {
    pub(super) name: Option<ChannelName>,
    pub(super) row: RelayRow,
    pub(super) oldest_ms: Option<u64>,
    pub(super) is_taken: bool,
}

pub(super) fn status(connection: &mut StoreConnection, most: u32) -> Result<Vec<StatusRow>, CallFault> {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let rows = connection.query(
        "SELECT name, head, \"cursor\", attempts, oldest, is_taken FROM seawall.relay_status($1)",
        &[(&most, Type::INT4)],
    )?;
    garbled(&rows, |row| {
        Ok(StatusRow {
            name: ChannelName::parse_any(&row.try_get::<String>(0)?).ok(),
            row: RelayRow {
                head: offset(row, 1)?,
                cursor: offset(row, 2)?,
                attempts: u32::try_from(row.try_get::<i32>(3)?).unwrap_or(0),
                next_ms: 0,
            },
            oldest_ms: row.try_get::<Option<i64>>(4)?.map(natural),
            is_taken: row.try_get(5)?,
        })
    })
}
