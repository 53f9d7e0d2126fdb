//! The commit of what waits of streams.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use super::params::{IdColumns, int4};
use crate::id::{Epoch, Offset};
use crate::net::postgres::{Param, Row};
use crate::net::trouble::Trouble;
use crate::store::columns::{integer, natural};
use crate::stream::{
    EndFate, EndRow, Flush, FlushFates, PartRow, RestartFate, RestartRow, RowFate, StateFate, StateRow,
    StoredEndFate, StreamFence,
};
use crate::wire::stream::{StreamEnd, StreamMark};
use postgres_types::Type;

const FLUSH: &str = "SELECT part, place, fate, out_offset, out_time, out_mark, out_epoch FROM seawall.flush_streams(
     $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)";

/// A flush that was committed, perhaps without some of its parts.
#[derive(Debug)]
pub(in crate::store::postgres) struct StoredFlush {
    pub(in crate::store::postgres) fates: FlushFates,
    /// The epoch of the logs that have its ends.
    pub(in crate::store::postgres) epoch: Epoch,
}

/// Commits a flush, except what other writers have made obsolete.
pub(in crate::store::postgres) fn flush(
    connection: &mut StoreConnection,
    flush: &Flush,
    now_ms: u64,
) -> Result<StoredFlush, CallFault> {
    let now_ms = integer(now_ms);
    let (restarts, rows) = (RestartColumns::of(&flush.restarts), RowColumns::of(&flush.rows));
    let (states, ends) = (StateColumns::of(&flush.states), EndColumns::of(&flush.ends));
    let mut params: Vec<Param<'_>> = vec![(&now_ms, Type::INT8)];
    params.extend(restarts.params());
    params.extend(rows.params());
    params.extend(states.params());
    params.extend(ends.params());
    let answer = connection.query(FLUSH, &params)?;
    let answer = FlushAnswer::read(flush, &answer).map_err(|error| CallFault::garbled(&error))?;
    answer.complete().ok_or_else(CallFault::incomplete)
}

struct RestartColumns<'a> {
    ids: IdColumns<'a>,
    known: Vec<i32>,
    gens: Vec<i32>,
}

impl<'a> RestartColumns<'a> {
    fn of(rows: &'a [RestartRow]) -> RestartColumns<'a> {
        RestartColumns {
            ids: IdColumns::of(rows.iter().map(|row| &row.id)),
            known: rows.iter().map(|row| int4(row.known.0)).collect(),
            gens: rows.iter().map(|row| int4(row.generation.0)).collect(),
        }
    }

    fn params(&self) -> [Param<'_>; 4] {
        let [names, offsets] = self.ids.params();
        [names, offsets, (&self.known, Type::INT4_ARRAY), (&self.gens, Type::INT4_ARRAY)]
    }
}

struct RowColumns<'a> {
    ids: IdColumns<'a>,
    gens: Vec<i32>,
    ats: Vec<i32>,
    nexts: Vec<i32>,
    bodies: Vec<&'a [u8]>,
}

impl<'a> RowColumns<'a> {
    fn of(rows: &'a [PartRow]) -> RowColumns<'a> {
        RowColumns {
            ids: IdColumns::of(rows.iter().map(|row| &row.id)),
            gens: rows.iter().map(|row| int4(row.generation.0)).collect(),
            ats: rows.iter().map(|row| int4(row.at.0)).collect(),
            nexts: rows.iter().map(|row| int4(row.next.0)).collect(),
            bodies: rows.iter().map(|row| row.body.as_slice()).collect(),
        }
    }

    fn params(&self) -> [Param<'_>; 6] {
        let [names, offsets] = self.ids.params();
        let RowColumns { gens, ats, nexts, bodies, .. } = self;
        let of_places = [gens, ats, nexts].map(|column| -> Param<'_> { (column, Type::INT4_ARRAY) });
        let [gens, ats, nexts] = of_places;
        [names, offsets, gens, ats, nexts, (bodies, Type::BYTEA_ARRAY)]
    }
}

struct StateColumns<'a> {
    ids: IdColumns<'a>,
    codes: Vec<i16>,
    cancellers: Vec<Option<&'a str>>,
    fences: FenceColumns,
}

impl<'a> StateColumns<'a> {
    fn of(rows: &'a [StateRow]) -> StateColumns<'a> {
        StateColumns {
            ids: IdColumns::of(rows.iter().map(|row| &row.id)),
            codes: rows.iter().map(|row| i16::from(row.state.code())).collect(),
            cancellers: rows.iter().map(|row| Some(row.canceller.as_ref()?.as_str())).collect(),
            fences: FenceColumns::of(rows.iter().map(|row| row.fence)),
        }
    }

    fn params(&self) -> [Param<'_>; 7] {
        let ([names, offsets], [gens, nexts, touched]) = (self.ids.params(), self.fences.params());
        let codes: Param<'_> = (&self.codes, Type::INT2_ARRAY);
        [names, offsets, codes, (&self.cancellers, Type::TEXT_ARRAY), gens, nexts, touched]
    }
}

struct EndColumns<'a> {
    ids: IdColumns<'a>,
    authors: Vec<&'a str>,
    marks: Vec<i16>,
    texts: Vec<&'a str>,
    fences: FenceColumns,
}

impl<'a> EndColumns<'a> {
    fn of(rows: &'a [EndRow]) -> EndColumns<'a> {
        EndColumns {
            ids: IdColumns::of(rows.iter().map(|row| &row.id)),
            authors: rows.iter().map(|row| row.author.as_str()).collect(),
            marks: rows.iter().map(|row| i16::from(StreamMark::Ended(row.end).code())).collect(),
            texts: rows.iter().map(|row| &*row.data).collect(),
            fences: FenceColumns::of(rows.iter().map(|row| Some(row.fence))),
        }
    }

    fn params(&self) -> [Param<'_>; 8] {
        let ([names, offsets], [gens, nexts, touched]) = (self.ids.params(), self.fences.params());
        let authors: Param<'_> = (&self.authors, Type::TEXT_ARRAY);
        let marks: Param<'_> = (&self.marks, Type::INT2_ARRAY);
        [names, offsets, authors, marks, (&self.texts, Type::TEXT_ARRAY), gens, nexts, touched]
    }
}

/// Fences as arrays; null in all of them where there is none.
#[derive(Default)]
struct FenceColumns {
    gens: Vec<Option<i32>>,
    nexts: Vec<Option<i32>>,
    touched: Vec<Option<i64>>,
}

impl FenceColumns {
    fn of(fences: impl Iterator<Item = Option<StreamFence>>) -> FenceColumns {
        let mut columns = FenceColumns::default();
        for fence in fences {
            columns.gens.push(fence.map(|fence| int4(fence.generation.0)));
            columns.nexts.push(fence.map(|fence| int4(fence.next.0)));
            columns.touched.push(fence.and_then(|fence| fence.touched).map(|touched| integer(touched.0)));
        }
        columns
    }

    fn params(&self) -> [Param<'_>; 3] {
        let gens: Param<'_> = (&self.gens, Type::INT4_ARRAY);
        [gens, (&self.nexts, Type::INT4_ARRAY), (&self.touched, Type::INT8_ARRAY)]
    }
}

/// The answer to a flush: it names each end, and of the rest what is lost.
struct FlushAnswer {
    restarts: Vec<RestartFate>,
    rows: Vec<RowFate>,
    states: Vec<StateFate>,
    ends: Vec<Option<StoredEndFate>>,
    epoch: Option<Epoch>,
}

impl FlushAnswer {
    fn read(flush: &Flush, answer: &[Row]) -> Result<FlushAnswer, Trouble> {
        let mut outcome = FlushAnswer {
            restarts: vec![RestartFate::Stored; flush.restarts.len()],
            rows: vec![RowFate::Stored; flush.rows.len()],
            states: vec![StateFate::Stored; flush.states.len()],
            ends: vec![None; flush.ends.len()],
            epoch: None,
        };
        for row in answer {
            let part: i16 = row.try_get(0)?;
            if part == 0 {
                outcome.epoch = Some(Epoch(row.try_get::<i64>(6)? as u32));
                continue;
            }
            let place = natural(row.try_get::<i64>(1)?.saturating_sub(1)) as usize;
            match part {
                1 => set(&mut outcome.restarts, place, RestartFate::Lost),
                2 => set(&mut outcome.rows, place, RowFate::Lost),
                3 => set(&mut outcome.states, place, StateFate::Moved),
                _ => set(&mut outcome.ends, place, end_fate(row)?),
            }
        }
        Ok(outcome)
    }

    /// `None` if the answer lacks something.
    fn complete(self) -> Option<StoredFlush> {
        let FlushAnswer { restarts, rows, states, ends, epoch } = self;
        let ends = ends.into_iter().collect::<Option<Vec<_>>>()?;
        Some(StoredFlush { fates: FlushFates { restarts, rows, states, ends }, epoch: epoch? })
    }
}

fn set<T>(fates: &mut [T], place: usize, fate: T) {
    if let Some(known) = fates.get_mut(place) {
        *known = fate;
    }
}

/// `None`: the mark is one of a later version.
fn end_fate(row: &Row) -> Result<Option<StoredEndFate>, Trouble> {
    let fate: i16 = row.try_get(2)?;
    if fate == 1 {
        return Ok(Some(StoredEndFate::Moved));
    }
    let edit = Offset(natural(row.try_get(3)?));
    let Some(end) = stream_end(row.try_get(5)?) else { return Ok(None) };
    let known = EndFate { end, edit };
    Ok(Some(match fate {
        0 => StoredEndFate::Stored(known, natural(row.try_get(4)?)),
        _ => StoredEndFate::Ended(known),
    }))
}

/// The end that a mark names.
pub(super) fn stream_end(mark: i16) -> Option<StreamEnd> {
    match StreamMark::of_code(i64::from(mark)) {
        Some(StreamMark::Ended(end)) => Some(end),
        Some(StreamMark::None | StreamMark::Begun) | None => None,
    }
}
