//! The problem with a request of the server API, as problem details (RFC 9457), or with one item of a batch.

use crate::wire::json;
use crate::wire::push::{self, ErrorCode};
use crate::wire::stream::{StreamFault, StreamId};
use std::borrow::Cow;

/// The kinds of problems. A code implies its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemCode {
    Malformed,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    KeyConflict,
    TooMany,
    LengthRequired,
    TooLarge,
    UnsupportedType,
    RateLimited,
    Unavailable,
    Overloaded,
    Draining,
    Unconfirmed,
    UnknownCommand,
    RequestTimeout,
    Stale,
    Gap,
    Diverged,
    Ended,
}

impl ProblemCode {
    pub const ALL: [ProblemCode; 21] = [
        ProblemCode::Malformed,
        ProblemCode::Unauthorized,
        ProblemCode::Forbidden,
        ProblemCode::NotFound,
        ProblemCode::MethodNotAllowed,
        ProblemCode::KeyConflict,
        ProblemCode::TooMany,
        ProblemCode::LengthRequired,
        ProblemCode::TooLarge,
        ProblemCode::UnsupportedType,
        ProblemCode::RateLimited,
        ProblemCode::Unavailable,
        ProblemCode::Overloaded,
        ProblemCode::Draining,
        ProblemCode::Unconfirmed,
        ProblemCode::UnknownCommand,
        ProblemCode::RequestTimeout,
        ProblemCode::Stale,
        ProblemCode::Gap,
        ProblemCode::Diverged,
        ProblemCode::Ended,
    ];

    /// The word in `code`: where the wire protocol has the same error, it is the same word.
    pub const fn word(self) -> &'static str {
        match self {
            ProblemCode::Malformed => "malformed",
            ProblemCode::Unauthorized => "unauthorized",
            ProblemCode::Forbidden => "forbidden",
            ProblemCode::NotFound => "not_found",
            ProblemCode::MethodNotAllowed => "method_not_allowed",
            ProblemCode::KeyConflict => "key_conflict",
            ProblemCode::TooMany => "too_many",
            ProblemCode::LengthRequired => "length_required",
            ProblemCode::TooLarge => "too_large",
            ProblemCode::UnsupportedType => "unsupported_type",
            ProblemCode::RateLimited => "rate_limited",
            ProblemCode::Unavailable => "unavailable",
            ProblemCode::Overloaded => "overloaded",
            ProblemCode::Draining => "draining",
            ProblemCode::Unconfirmed => "unconfirmed",
            ProblemCode::UnknownCommand => "unknown_command",
            ProblemCode::RequestTimeout => "request_timeout",
            ProblemCode::Stale => "stale",
            ProblemCode::Gap => "gap",
            ProblemCode::Diverged => "diverged",
            ProblemCode::Ended => "ended",
        }
    }

    /// The status of an answer with this problem (RFC 9110, section 15).
    pub const fn status(self) -> u16 {
        match self {
            ProblemCode::Malformed | ProblemCode::UnknownCommand => 400,
            ProblemCode::Unauthorized => 401,
            ProblemCode::Forbidden => 403,
            ProblemCode::NotFound => 404,
            ProblemCode::MethodNotAllowed => 405,
            ProblemCode::RequestTimeout => 408,
            ProblemCode::KeyConflict
            | ProblemCode::TooMany
            | ProblemCode::Stale
            | ProblemCode::Gap
            | ProblemCode::Diverged
            | ProblemCode::Ended => 409,
            ProblemCode::LengthRequired => 411,
            ProblemCode::TooLarge => 413,
            ProblemCode::UnsupportedType => 415,
            ProblemCode::RateLimited => 429,
            ProblemCode::Unavailable | ProblemCode::Overloaded | ProblemCode::Draining => 503,
            ProblemCode::Unconfirmed => 504,
        }
    }

    /// The code of an error that clients get as well.
    pub const fn of(code: ErrorCode) -> ProblemCode {
        match code {
            ErrorCode::Malformed => ProblemCode::Malformed,
            ErrorCode::UnknownCommand => ProblemCode::UnknownCommand,
            ErrorCode::Unauthorized => ProblemCode::Unauthorized,
            ErrorCode::Forbidden | ErrorCode::NotSubscribed => ProblemCode::Forbidden,
            ErrorCode::TooLarge => ProblemCode::TooLarge,
            ErrorCode::RateLimited => ProblemCode::RateLimited,
            ErrorCode::NotFound => ProblemCode::NotFound,
            ErrorCode::KeyConflict => ProblemCode::KeyConflict,
            ErrorCode::Unavailable => ProblemCode::Unavailable,
            ErrorCode::Overloaded => ProblemCode::Overloaded,
            ErrorCode::Draining => ProblemCode::Draining,
            ErrorCode::Unconfirmed => ProblemCode::Unconfirmed,
            ErrorCode::Stale => ProblemCode::Stale,
            ErrorCode::Gap => ProblemCode::Gap,
            ErrorCode::Diverged => ProblemCode::Diverged,
            ErrorCode::Ended => ProblemCode::Ended,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            ProblemCode::Malformed => "Not understood",
            ProblemCode::Unauthorized => "No valid key",
            ProblemCode::Forbidden => "Not allowed",
            ProblemCode::NotFound => "Not found",
            ProblemCode::MethodNotAllowed => "Another method is needed",
            ProblemCode::KeyConflict => "The key belongs to other content",
            ProblemCode::TooMany => "No room for another",
            ProblemCode::LengthRequired => "No Content-Length",
            ProblemCode::TooLarge => "Over a bound",
            ProblemCode::UnsupportedType => "Not JSON",
            ProblemCode::RateLimited => "Too fast",
            ProblemCode::Unavailable => "A dependency is down",
            ProblemCode::Overloaded => "Busy",
            ProblemCode::Draining => "About to restart",
            ProblemCode::Unconfirmed => "Outcome unknown",
            ProblemCode::UnknownCommand => "No such command",
            ProblemCode::RequestTimeout => "Too slow",
            ProblemCode::Stale => "A later generation has begun",
            ProblemCode::Gap => "Above the end of the text",
            ProblemCode::Diverged => "Other than the text",
            ProblemCode::Ended => "The stream has ended",
        }
    }
}

/// A problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiProblem {
    pub code: ProblemCode,
    /// The fault, and what to do.
    pub detail: Cow<'static, str>,
    /// When to repeat the request, in milliseconds; `None` if the same request fails again.
    pub retry_ms: Option<u32>,
    /// The dependency that is down.
    pub dependency: Option<&'static str>,
    /// The outage, as in the log.
    pub reference: Option<String>,
    /// The stream that a command was about.
    pub stream: Option<Box<ProblemStream>>,
}

/// The stream of a problem, and the reason, which says how to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemStream {
    pub id: StreamId,
    pub fault: Option<StreamFault>,
}

impl ApiProblem {
    /// A problem that time does not solve.
    pub fn lasting(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> ApiProblem {
        ApiProblem {
            code,
            detail: detail.into(),
            retry_ms: None,
            dependency: None,
            reference: None,
            stream: None,
        }
    }

    /// A problem that may have passed after this time, in milliseconds.
    pub fn passing(code: ProblemCode, detail: impl Into<Cow<'static, str>>, retry_ms: u32) -> ApiProblem {
        ApiProblem { retry_ms: Some(retry_ms), ..ApiProblem::lasting(code, detail) }
    }

    /// The same problem, with the stream that the command was about.
    pub fn of_stream(self, id: StreamId, fault: Option<StreamFault>) -> ApiProblem {
        ApiProblem { stream: Some(Box::new(ProblemStream { id, fault })), ..self }
    }

    /// Appends the problem as the body of an answer (`application/problem+json`).
    pub fn body(&self, out: &mut Vec<u8>) {
        json::object(out, |out| {
            json::text(out, "type", "about:blank");
            json::text(out, "title", self.code.title());
            json::integer(out, "status", self.code.status().into());
            json::text(out, "code", self.code.word());
            json::text(out, "detail", &self.detail);
            self.circumstances(out);
            if let Some(reference) = &self.reference {
                json::text(out, "reference", reference);
            }
        });
        out.push(b'\n');
    }

    /// Appends the problem as the `error` of one item.
    pub fn error(&self, out: &mut Vec<u8>) {
        json::key(out, "error");
        json::object(out, |out| {
            json::text(out, "code", self.code.word());
            json::text(out, "message", &self.detail);
            self.circumstances(out);
        });
    }

    /// The value of `Retry-After`: whole seconds, rounded up (RFC 9110, section 10.2.3).
    pub fn retry_after_s(&self) -> Option<u32> {
        self.retry_ms.map(|ms| ms.div_ceil(1_000).max(1))
    }

    fn circumstances(&self, out: &mut Vec<u8>) {
        if let Some(retry_ms) = self.retry_ms {
            json::integer(out, "retry_ms", retry_ms.into());
        }
        if let Some(dependency) = self.dependency {
            json::text(out, "dependency", dependency);
        }
        if let Some(stream) = &self.stream {
            push::stream_of_error(out, &stream.id, stream.fault.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn body_and_error_of_an_item_say_the_same() {
        let mut problem = ApiProblem::passing(ProblemCode::Unavailable, "the \"store\" is down", 1_721);
        problem.dependency = Some("store");
        problem.reference = Some("k3f9".into());
        let mut out = Vec::new();
        problem.body(&mut out);
        let body: Value = serde_json::from_slice(&out).expect("JSON");
        let expected = json!({
            "type": "about:blank", "title": "A dependency is down", "status": 503, "code": "unavailable",
            "detail": "the \"store\" is down", "retry_ms": 1721, "dependency": "store", "reference": "k3f9",
        });
        assert_eq!(body, expected);
        assert_eq!(problem.retry_after_s(), Some(2));
        out.clear();
        json::object(&mut out, |out| problem.error(out));
        let item: Value = serde_json::from_slice(&out).expect("JSON");
        let error = json!({"code": "unavailable", "message": "the \"store\" is down", "retry_ms": 1721, "dependency": "store"});
        assert_eq!(item, json!({"error": error}));
    }

    #[test]
    fn each_code_has_a_word_of_its_own_and_an_error_status() {
        for code in ProblemCode::ALL {
            assert!((400..600).contains(&code.status()) && !code.title().is_empty(), "{code:?}");
            let same = ProblemCode::ALL.into_iter().filter(|other| other.word() == code.word()).count();
            assert_eq!(same, 1, "{code:?}");
        }
    }

    #[test]
    fn codes_are_those_of_the_documentation() {
        let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).expect("JSON");
        let words: Vec<&str> = ProblemCode::ALL.into_iter().map(ProblemCode::word).collect();
        assert_eq!(document["components"]["schemas"]["Code"]["enum"], json!(words));
        let guide = include_str!("../../../docs/api.md");
        let rows = guide.lines().filter_map(|line| line.strip_prefix("| ")?.split_once("` |"));
        let rows = rows.map(|(row, _)| row);
        let mut described: Vec<&str> = rows.filter(|row| row.starts_with(char::is_numeric)).collect();
        let mut known: Vec<String> = ProblemCode::ALL
            .into_iter()
            .map(|code| format!("{} | `{}", code.status(), code.word()))
            .collect();
        described.sort_unstable();
        known.sort();
        assert_eq!(described, known);
    }
}
