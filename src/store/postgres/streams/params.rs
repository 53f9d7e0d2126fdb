//! Streams, positions and generations as the values of parameters.

use crate::net::postgres::Param;
use crate::store::columns::integer;
use crate::wire::stream::StreamId;
use postgres_types::Type;

/// Streams as two arrays.
pub(super) struct IdColumns<'a> {
    names: Vec<&'a str>,
    offsets: Vec<i64>,
}

impl<'a> IdColumns<'a> {
    pub(super) fn of(ids: impl Iterator<Item = &'a StreamId>) -> IdColumns<'a> {
        let (names, offsets) = ids.map(|id| (id.channel.as_str(), integer(id.offset.0))).unzip();
        IdColumns { names, offsets }
    }

    pub(super) fn params(&self) -> [Param<'_>; 2] {
        let names: Param<'_> = (&self.names, Type::TEXT_ARRAY);
        [names, (&self.offsets, Type::INT8_ARRAY)]
    }
}

/// A position or generation. The bound of a message keeps positions far below that of the column.
pub(super) fn int4(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The same from a column, where it is never negative.
pub(super) fn unsigned(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
