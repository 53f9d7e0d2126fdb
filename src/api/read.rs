//! Channels and their logs.

use super::server::{ApiServer, STORE};
use crate::clock::Now;
use crate::id::{ChannelName, INTEGER_MAX, Offset};
use crate::job::callers::CallAnswer;
use crate::job::{Form, Page, PageRequest, Read, Span};
use crate::limits::{HISTORY_PAGE_BYTES_MAX, REPLY_TIMEOUT};
use crate::net::deadline::now;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::command::HISTORY_LIMIT_DEFAULT;
use std::time::Duration;

/// The most publications of one page, as on the wire.
const LIMIT_MAX: u32 = 300;
/// The wait for room in the queue of reads.
const ROOM_TIMEOUT: Duration = Duration::from_millis(500);

/// The part of a log that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HistoryPart {
    span: Span,
    limit: u32,
}

impl HistoryPart {
    /// Only the position of the log.
    pub(super) const POSITION: HistoryPart = HistoryPart { span: Span::After(Offset(INTEGER_MAX)), limit: 0 };

    /// Reads the query `after=…&limit=…` or `before=…&limit=…`.
    pub(super) fn of(query: &str) -> Result<HistoryPart, ApiProblem> {
        let malformed = |detail: String| ApiProblem::lasting(ProblemCode::Malformed, detail);
        let (mut after, mut before, mut limit) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, digits) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match name {
                "after" => &mut after,
                "before" => &mut before,
                "limit" => &mut limit,
                _ => return Err(malformed("the query takes after, before and limit only".into())),
            };
            let value = digits.parse::<u64>().ok().filter(|value| *value <= INTEGER_MAX);
            let value = value.filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
            let value = value
                .ok_or_else(|| malformed(format!("{name} must be a whole number from 0 to {INTEGER_MAX}")))?;
            if slot.replace(value).is_some() {
                return Err(malformed(format!("{name} is given twice; send it once")));
            }
        }
        let span = match (after, before) {
            (Some(_), Some(_)) => return Err(malformed("the query takes after or before, not both".into())),
            (Some(after), None) => Span::After(Offset(after)),
            (None, before) => Span::Before(Offset(before.unwrap_or(INTEGER_MAX))),
        };
        let limit = limit.map_or(HISTORY_LIMIT_DEFAULT, |limit| {
            u32::try_from(limit).map_or(LIMIT_MAX, |limit| limit.clamp(1, LIMIT_MAX))
        });
        Ok(HistoryPart { span, limit })
    }
}

impl<C: Fn() -> Now> ApiServer<C> {
    /// Reads a part of a channel's log.
    pub(super) fn page(
        &self,
        seat: usize,
        channel: ChannelName,
        part: HistoryPart,
    ) -> Result<Page, ApiProblem> {
        let queues = self.queues()?;
        let Some(call) = self.callers.begin(seat, 1, None) else { return Err(busy()) };
        let (begun, HistoryPart { span, limit }) = (now(), part);
        let (bytes_max, form) = (HISTORY_PAGE_BYTES_MAX, Form::Json);
        let request = PageRequest { ticket: call.ticket(0), channel, span, limit, bytes_max, form };
        queues.read.send_deadline(Read::Page(request), begun + ROOM_TIMEOUT).map_err(|_| busy())?;
        match call.wait(begun + REPLY_TIMEOUT).pop().flatten() {
            Some(CallAnswer::Page(Ok(page))) => Ok(page),
            Some(CallAnswer::Page(Err(error))) => Err(unavailable(error.retry_ms)),
            Some(CallAnswer::Appended(_)) | None => Err(unavailable(1_000)),
        }
    }
}

fn busy() -> ApiProblem {
    ApiProblem::passing(
        ProblemCode::Overloaded,
        "the store has more to read than it can; repeat the request",
        500,
    )
}

fn unavailable(retry_ms: u32) -> ApiProblem {
    let detail = "the log could not be read";
    ApiProblem { dependency: Some(STORE), ..ApiProblem::passing(ProblemCode::Unavailable, detail, retry_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_names_a_part_of_the_log() {
        let part = |query| HistoryPart::of(query).expect("a part");
        let expected = |span, limit| HistoryPart { span, limit };
        let newest = Span::Before(Offset(INTEGER_MAX));
        assert_eq!(part(""), expected(newest, HISTORY_LIMIT_DEFAULT));
        assert_eq!(part("after=41&limit=7"), expected(Span::After(Offset(41)), 7));
        assert_eq!(part("limit=0&before=9"), expected(Span::Before(Offset(9)), 1));
        assert_eq!(part("limit=9007199254740991"), expected(newest, LIMIT_MAX));
        for wrong in [
            "after",
            "after=",
            "after=-1",
            "after=+1",
            "after=1&before=2",
            "after=1&after=1",
            "x=1",
            "after=9007199254740992",
        ] {
            assert_eq!(HistoryPart::of(wrong).expect_err("wrong").code, ProblemCode::Malformed, "{wrong}");
        }
    }
}
