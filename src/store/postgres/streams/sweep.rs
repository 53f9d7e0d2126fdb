//! The streams that no living instance ends in time.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use super::look::progress;
use crate::id::{ChannelName, Offset};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::store::columns::{integer, natural};
use crate::stream::{SilenceWatch, SilentPart, SilentStream, StreamSettings};
use crate::wire::stream::StreamId;
use postgres_types::Type;
use std::time::Duration;

/// Open streams of which nothing was written for `$4`, with the silence that ends them: that of its state, and unless it is paused or cancelled the time that a producer has to come
/// back, because its instance may have died at the end of that silence. A time in the future is that of a clock that was wrong,
/// and counts as none. An accepted answer (4) waits for a backend, so it is silent from the time at which its writer was to end it.
/// Subqueries and not joins, so that a channel and a part are looked up by their keys, whatever the planner believes. In random order,
/// so that each has its turn if there are very many.
const SILENT: &str = "
    SELECT s.gen, coalesce(s.next, 0), s.state, s.touched, s.id, s.\"offset\",
        (SELECT c.name FROM seawall.channels c WHERE c.id = s.channel),
        $5 + CASE s.state WHEN 2 THEN $2 WHEN 3 THEN $3
            WHEN 5 THEN coalesce((s.answer ->> 'answer_ms')::bigint, s.idle) ELSE s.idle END
            + CASE WHEN s.state IN (2, 3) THEN 0 ELSE greatest(s.idle / 3, $2) END
    FROM (
        SELECT o.*, p.next, p.written FROM (
            SELECT t.*, (date_part('epoch', statement_timestamp()) * 1000)::bigint AS clock, coalesce(t.idle_ms, $1) AS idle,
                CASE WHEN t.state IN (4, 5) THEN t.options::json -> 'answer' END AS answer
            FROM seawall.streams t WHERE t.kept_until IS NULL
        ) o LEFT JOIN LATERAL (
            SELECT r.next, r.written FROM seawall.stream_parts r
            WHERE r.stream = o.id AND r.gen = o.gen ORDER BY r.at DESC LIMIT 1
        ) p ON true
    ) s
    WHERE CASE s.state
        WHEN 4 THEN s.began > s.clock
            OR s.began < s.clock - coalesce((s.answer ->> 'give_up_ms')::bigint, 3600000) - 60000 - $5
        ELSE greatest(0, CASE WHEN s.since <= s.clock THEN s.since END, CASE WHEN s.touched <= s.clock THEN s.touched END,
            CASE WHEN s.written <= s.clock THEN s.written END) < s.clock - $4 END
    ORDER BY random() LIMIT $6";

/// The instance of a producer ends a stream itself, by its own clock. The deadline for the others is this much longer.
const MARGIN: Duration = Duration::from_secs(2);

/// The result of a sweep.
#[derive(Debug)]
pub(in crate::store::postgres) struct FoundSilent {
    pub(in crate::store::postgres) streams: Vec<SilentStream>,
    pub(in crate::store::postgres) part: SilentPart,
    /// The numbers of streams whose channel a program of an older release dropped. Nothing can write them any more.
    pub(in crate::store::postgres) without_channel: Vec<i64>,
}

/// Finds the streams of which nothing was written for `after`. Their number is bounded by that of the streams that are watched at once.
pub(in crate::store::postgres) fn find_silent(
    connection: &mut StoreConnection,
    settings: &StreamSettings,
    after: Duration,
) -> Result<FoundSilent, CallFault> {
    let ms = |time: Duration| integer(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let StreamSettings { idle, orphan, cancel, .. } = settings;
    let [idle, orphan, cancel, after, margin] = [idle, orphan, cancel, &after, &MARGIN].map(|time| ms(*time));
    let most = SilenceWatch::STREAMS_MAX as i64;
    let rows = connection.query(
        SILENT,
        &[
            (&idle, Type::INT8),
            (&orphan, Type::INT8),
            (&cancel, Type::INT8),
            (&after, Type::INT8),
            (&margin, Type::INT8),
            (&most, Type::INT8),
        ],
    )?;
    let part = if rows.len() < SilenceWatch::STREAMS_MAX { SilentPart::All } else { SilentPart::Some };
    let mut found = FoundSilent { streams: Vec::new(), part, without_channel: Vec::new() };
    rows.iter().try_for_each(|row| found.take(row)).map_err(|error| CallFault::garbled(&error))?;
    Ok(found)
}

impl FoundSilent {
    fn take(&mut self, row: &Row) -> Result<(), Trouble> {
        let Some(channel) = row.try_get::<Option<&str>>(6)? else {
            self.without_channel.push(row.try_get(4)?);
            return Ok(());
        };
        // A channel may have a name that this program does not know.
        let (Ok(channel), Some(seen)) = (ChannelName::parse_any(channel), progress(row)?) else {
            return Ok(());
        };
        let id = StreamId { channel, offset: Offset(natural(row.try_get(5)?)) };
        let deadline = Duration::from_millis(natural(row.try_get(7)?));
        self.streams.push(SilentStream { id, seen, deadline });
        Ok(())
    }
}

/// Closes streams that nothing can write any more. Their parts go soon.
pub(in crate::store::postgres) fn close(
    connection: &mut StoreConnection,
    streams: &[i64],
) -> Result<(), CallFault> {
    connection.query("SELECT seawall.close_streams($1, $1)", &[(&streams, Type::INT8_ARRAY)])?;
    Ok(())
}
