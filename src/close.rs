//! Reasons why a session ends, and the one place that turns each into a code, a text and advice.
//!
//! The ranges of the codes carry the advice, so that a client need not know single codes: after 1001, 1011–1013 and
//! 4000–4499 it should return; 1002, 1007, 1009 and 4500–4999 are final.

use crate::limits::CLOSE_REASON_BYTES_MAX;
use std::fmt::Write as _;
use std::sync::Arc;

/// The server's wish for a client whose session it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comeback {
    /// It should connect again.
    Welcome,
    /// It should stay away.
    Unwanted,
}

/// The reason why the server ends a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed; the server answers with the peer's code (1000 if it gave none).
    Answered(u16),
    /// The peer violated RFC 6455; the text names the rule.
    ProtocolError(&'static str),
    /// A text message is not UTF-8.
    InvalidUtf8,
    /// A frame or message exceeds its bound; the text names the bound.
    TooBig(&'static str),
    /// A critical dependency is down.
    Unavailable {
        /// The dependency's configured name.
        dependency: String,
        retry_ms: u32,
        /// The reference of the outage in the log.
        reference: String,
        /// The dependency's sentence for users: the loss. Empty if there is none. It is in `bye` alone.
        message: Arc<str>,
    },
    /// The process drains or ends.
    Restart { retry_ms: u32 },
    /// A bound of the process or of the user is reached.
    OverCapacity {
        /// The setting's name.
        bound: &'static str,
        retry_ms: u32,
    },
    /// `connect` did not arrive within `limits.connect_ms`.
    ConnectTimeout,
    /// Nothing arrived after a ping, not even a pong.
    NoSignOfLife,
    /// A message was begun and not finished in time.
    MessageTimeout,
    /// The socket accepts no bytes.
    WriteStalled,
    /// The peer repeatedly ignored a rate limit.
    RateLimited {
        /// The setting's name.
        bound: &'static str,
        retry_ms: u32,
    },
    /// The token cannot be accepted yet; the text says why, and it can after `retry_ms` milliseconds.
    TooEarly { text: &'static str, retry_ms: u32 },
    /// An operator or an application ended it.
    Disconnected {
        /// For the user; empty if there is none.
        message: Arc<str>,
        comeback: Comeback,
    },
    /// The peer misused the protocol; the text says how.
    Misuse(&'static str),
    /// The token is missing, invalid or expired; the text says which.
    Unauthenticated(&'static str),
    /// The user is authenticated but may not connect for now; the text says why.
    Blocked { text: &'static str, retry_ms: u32 },
    /// The user is authenticated but may not connect at all.
    Forbidden(&'static str),
    /// The client offered only versions of the subprotocol that this server does not support.
    UnsupportedVersion,
    /// The page that connects is of a site that is not configured; the text names it if it is well-formed.
    OriginForbidden(String),
    /// The gateway does not answer to the `Host` of the request.
    HostForbidden,
}

/// The part of a close that concerns security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// None, or it was reported when it was decided.
    None,
    /// The client reached the bound of this setting.
    Limit(&'static str),
    /// The client broke a rule or lost its authority.
    Cause,
    /// The client or its network fell silent. It concerns no security, but explains a disconnect.
    Silence,
}

/// The frames to send before the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// `bye`, then the close frame.
    Bye,
    /// The close frame alone: the peer violated the layer that would carry the `bye`, or closed first.
    CloseOnly,
    /// No frame: the socket accepts no bytes.
    None,
}

impl CloseReason {
    /// The close code of RFC 6455 section 7.4, or of `docs/protocol.md`.
    pub const fn code(&self) -> u16 {
        match self {
            CloseReason::Answered(code) => *code,
            CloseReason::ProtocolError(_) => 1002,
            CloseReason::InvalidUtf8 => 1007,
            CloseReason::TooBig(_) => 1009,
            CloseReason::Unavailable { .. } => 1011,
            CloseReason::Restart { .. } => 1012,
            CloseReason::OverCapacity { .. } => 1013,
            CloseReason::ConnectTimeout
            | CloseReason::NoSignOfLife
            | CloseReason::MessageTimeout
            | CloseReason::WriteStalled => 4408,
            CloseReason::Blocked { .. } => 4403,
            CloseReason::Disconnected { comeback: Comeback::Welcome, .. } => 4410,
            CloseReason::TooEarly { .. } => 4425,
            CloseReason::RateLimited { .. } => 4429,
            CloseReason::Misuse(_) => 4500,
            CloseReason::Unauthenticated(_) => 4501,
            CloseReason::Forbidden(_) => 4503,
            CloseReason::Disconnected { comeback: Comeback::Unwanted, .. } => 4504,
            CloseReason::UnsupportedVersion => 4505,
            CloseReason::OriginForbidden(_) | CloseReason::HostForbidden => 4506,
        }
    }

    /// The `reason` of `bye`: one word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            CloseReason::Answered(_) => "closed",
            CloseReason::ProtocolError(_) => "protocol_error",
            CloseReason::InvalidUtf8 => "invalid_utf8",
            CloseReason::TooBig(_) => "too_large",
            CloseReason::Unavailable { .. } => "unavailable",
            CloseReason::Restart { .. } => "restart",
            CloseReason::OverCapacity { .. } => "over_capacity",
            CloseReason::ConnectTimeout => "connect_timeout",
            CloseReason::NoSignOfLife => "no_sign_of_life",
            CloseReason::MessageTimeout => "message_timeout",
            CloseReason::WriteStalled => "write_stalled",
            CloseReason::TooEarly { .. } => "too_early",
            CloseReason::Blocked { .. } => "blocked",
            CloseReason::RateLimited { .. } => "rate_limited",
            CloseReason::Disconnected { .. } => "disconnected",
            CloseReason::Misuse(_) => "misuse",
            CloseReason::Unauthenticated(_) => "unauthenticated",
            CloseReason::Forbidden(_) => "forbidden",
            CloseReason::UnsupportedVersion => "unsupported_version",
            CloseReason::OriginForbidden(_) => "origin_forbidden",
            CloseReason::HostForbidden => "host_forbidden",
        }
    }

    /// The violated rule, the reached bound or the cause, for people.
    pub fn detail(&self) -> Option<&str> {
        match self {
            CloseReason::ProtocolError(text)
            | CloseReason::TooBig(text)
            | CloseReason::Misuse(text)
            | CloseReason::Unauthenticated(text)
            | CloseReason::Forbidden(text) => Some(text),
            CloseReason::TooEarly { text, .. } | CloseReason::Blocked { text, .. } => Some(text),
            CloseReason::Disconnected { message, .. } => (!message.is_empty()).then_some(&**message),
            CloseReason::OverCapacity { bound, .. } | CloseReason::RateLimited { bound, .. } => Some(bound),
            CloseReason::UnsupportedVersion => Some("this server supports only the subprotocol seawall.v1"),
            CloseReason::OriginForbidden(text) => Some(text),
            CloseReason::HostForbidden => Some("the Host of this request is not in server.hosts"),
            CloseReason::ConnectTimeout => Some("send connect within limits.connect_ms"),
            CloseReason::Answered(_)
            | CloseReason::InvalidUtf8
            | CloseReason::Unavailable { .. }
            | CloseReason::Restart { .. }
            | CloseReason::NoSignOfLife
            | CloseReason::MessageTimeout
            | CloseReason::WriteStalled => None,
        }
    }

    /// The text of `bye`: the detail or, in an outage, what users lost.
    pub fn message(&self) -> Option<&str> {
        match self {
            CloseReason::Unavailable { message, .. } => Some(&**message).filter(|text| !text.is_empty()),
            other => other.detail(),
        }
    }

    /// The dependency that is down, if that is the reason.
    pub fn dependency(&self) -> Option<&str> {
        self.outage().map(|(dependency, _)| dependency)
    }

    /// The reference of the outage in the log, if one is the reason.
    pub fn reference(&self) -> Option<&str> {
        self.outage().map(|(_, reference)| reference)
    }

    fn outage(&self) -> Option<(&str, &str)> {
        match self {
            CloseReason::Unavailable { dependency, reference, .. } => Some((dependency, reference)),
            CloseReason::Answered(_)
            | CloseReason::ProtocolError(_)
            | CloseReason::InvalidUtf8
            | CloseReason::TooBig(_)
            | CloseReason::Restart { .. }
            | CloseReason::OverCapacity { .. }
            | CloseReason::ConnectTimeout
            | CloseReason::NoSignOfLife
            | CloseReason::MessageTimeout
            | CloseReason::WriteStalled
            | CloseReason::TooEarly { .. }
            | CloseReason::RateLimited { .. }
            | CloseReason::Disconnected { .. }
            | CloseReason::Misuse(_)
            | CloseReason::Unauthenticated(_)
            | CloseReason::Blocked { .. }
            | CloseReason::Forbidden(_)
            | CloseReason::UnsupportedVersion
            | CloseReason::OriginForbidden(_)
            | CloseReason::HostForbidden => None,
        }
    }

    /// When to return, if the server knows better than the client's backoff.
    pub const fn retry_ms(&self) -> Option<u32> {
        match self {
            CloseReason::Unavailable { retry_ms, .. }
            | CloseReason::Restart { retry_ms }
            | CloseReason::OverCapacity { retry_ms, .. }
            | CloseReason::TooEarly { retry_ms, .. }
            | CloseReason::Blocked { retry_ms, .. }
            | CloseReason::RateLimited { retry_ms, .. } => Some(*retry_ms),
            CloseReason::Answered(_)
            | CloseReason::ProtocolError(_)
            | CloseReason::InvalidUtf8
            | CloseReason::TooBig(_)
            | CloseReason::ConnectTimeout
            | CloseReason::NoSignOfLife
            | CloseReason::MessageTimeout
            | CloseReason::WriteStalled
            | CloseReason::Disconnected { .. }
            | CloseReason::Misuse(_)
            | CloseReason::Unauthenticated(_)
            | CloseReason::Forbidden(_)
            | CloseReason::UnsupportedVersion
            | CloseReason::OriginForbidden(_)
            | CloseReason::HostForbidden => None,
        }
    }

    /// The part that concerns security.
    pub const fn reported(&self) -> Reported {
        match self {
            CloseReason::OverCapacity { bound, .. } | CloseReason::RateLimited { bound, .. } => {
                Reported::Limit(bound)
            }
            CloseReason::ProtocolError(_)
            | CloseReason::InvalidUtf8
            | CloseReason::TooBig(_)
            | CloseReason::Misuse(_)
            | CloseReason::Unauthenticated(_)
            | CloseReason::Blocked { .. }
            | CloseReason::Forbidden(_) => Reported::Cause,
            CloseReason::NoSignOfLife | CloseReason::MessageTimeout | CloseReason::WriteStalled => {
                Reported::Silence
            }
            CloseReason::Answered(_)
            | CloseReason::Unavailable { .. }
            | CloseReason::Restart { .. }
            | CloseReason::ConnectTimeout
            | CloseReason::TooEarly { .. }
            | CloseReason::Disconnected { .. }
            | CloseReason::UnsupportedVersion
            | CloseReason::OriginForbidden(_)
            | CloseReason::HostForbidden => Reported::None,
        }
    }

    /// True exactly when the server would close the same unchanged client again.
    pub const fn terminal(&self) -> bool {
        matches!(self.code(), 1002 | 1007 | 1009 | 4500..=4999)
    }

    /// The frames to send before the connection ends.
    pub const fn farewell(&self) -> Farewell {
        match self {
            CloseReason::Answered(_)
            | CloseReason::ProtocolError(_)
            | CloseReason::InvalidUtf8
            | CloseReason::TooBig(_) => Farewell::CloseOnly,
            CloseReason::WriteStalled => Farewell::None,
            CloseReason::Unavailable { .. }
            | CloseReason::Restart { .. }
            | CloseReason::OverCapacity { .. }
            | CloseReason::ConnectTimeout
            | CloseReason::NoSignOfLife
            | CloseReason::MessageTimeout
            | CloseReason::TooEarly { .. }
            | CloseReason::RateLimited { .. }
            | CloseReason::Disconnected { .. }
            | CloseReason::Misuse(_)
            | CloseReason::Unauthenticated(_)
            | CloseReason::Blocked { .. }
            | CloseReason::Forbidden(_)
            | CloseReason::UnsupportedVersion
            | CloseReason::OriginForbidden(_)
            | CloseReason::HostForbidden => Farewell::Bye,
        }
    }

    /// The close frame's reason: `unavailable; dependency=store; retry_ms=5200; ref=k3f9`, at most 123 bytes.
    pub fn text(&self) -> String {
        let mut text = String::from(self.word());
        if let CloseReason::Answered(_) = self {
            return String::new();
        }
        // Writing to a String cannot fail.
        if let Some(detail) = self.detail() {
            let _ = write!(text, ": {detail}");
        }
        if let Some(dependency) = self.dependency() {
            let _ = write!(text, "; dependency={dependency}");
        }
        if let Some(retry_ms) = self.retry_ms() {
            let _ = write!(text, "; retry_ms={retry_ms}");
        }
        if let Some(reference) = self.reference() {
            let _ = write!(text, "; ref={reference}");
        }
        let mut end = text.len().min(CLOSE_REASON_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_text_follows_the_protocol_and_fits_a_close_frame() {
        let reason = CloseReason::Unavailable {
            dependency: "store".into(),
            retry_ms: 5200,
            reference: "k3f9".into(),
            message: "Messages cannot be sent.".into(),
        };
        assert_eq!(reason.text(), "unavailable; dependency=store; retry_ms=5200; ref=k3f9");
        let long = CloseReason::Unavailable {
            dependency: "é".repeat(100),
            retry_ms: u32::MAX,
            reference: "k3f9".into(),
            message: "".into(),
        };
        assert!(long.text().len() <= CLOSE_REASON_BYTES_MAX);
    }

    #[test]
    fn code_range_carries_the_advice() {
        assert!(!CloseReason::Restart { retry_ms: 0 }.terminal());
        assert!(!CloseReason::NoSignOfLife.terminal());
        assert!(CloseReason::Misuse("").terminal());
        assert!(CloseReason::InvalidUtf8.terminal());
    }
}
