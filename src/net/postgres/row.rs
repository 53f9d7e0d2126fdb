//! Rows of an answer.

use crate::health::finding::Fault;
use crate::net::trouble::Trouble;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::{DataRowBody, RowDescriptionBody};
use postgres_types::{FromSql, Type};
use std::ops::Range;
use std::sync::Arc;

/// The types of an answer's columns.
pub(super) type Columns = Arc<[Type]>;

/// One row, in the bytes that were received.
#[derive(Debug)]
pub struct Row {
    columns: Columns,
    body: DataRowBody,
    ranges: Vec<Option<Range<usize>>>,
}

/// The column types of an answer. User-defined types are unknown, because no statement here returns them.
pub(super) fn columns(body: &RowDescriptionBody) -> std::io::Result<Columns> {
    let kinds = body.fields().map(|field| Ok(Type::from_oid(field.type_oid()).unwrap_or(Type::UNKNOWN)));
    kinds.collect::<Vec<_>>().map(Arc::from)
}

impl Row {
    pub(super) fn new(columns: &Columns, body: DataRowBody) -> std::io::Result<Row> {
        let ranges = body.ranges().collect()?;
        Ok(Row { columns: Arc::clone(columns), body, ranges })
    }

    /// The value of a column in an answer to [`Connection::query`](super::Connection::query).
    pub fn try_get<'a, T: FromSql<'a>>(&'a self, place: usize) -> Result<T, Trouble> {
        let garbled = |what: &str| Trouble::new(Fault::Protocol, format!("column {place} {what}"));
        let kind = self.columns.get(place).ok_or_else(|| garbled("is missing"))?;
        if !T::accepts(kind) {
            return Err(garbled(&format!("has the type {kind}")));
        }
        let value = self.ranges.get(place).and_then(|range| self.bytes(range.as_ref()));
        T::from_sql_nullable(kind, value).map_err(|error| garbled(&format!("cannot be read: {error}")))
    }

    /// All columns of a row in an answer to [`Connection::simple`](super::Connection::simple).
    pub fn texts(&self) -> Vec<Option<String>> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.ranges.iter().map(|range| self.bytes(range.as_ref()).map(text)).collect()
    }

    fn bytes(&self, range: Option<&Range<usize>>) -> Option<&[u8]> {
        self.body.buffer().get(range?.clone())
    }
}
