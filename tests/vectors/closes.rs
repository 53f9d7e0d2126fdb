//! `closes.json`: the end of a connection, and what a client does for each code.

use super::{names_differ, payload, read};
use seawall::close::{CloseReason, Comeback, Farewell};
use seawall::wire::push;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    about: String,
    pub cases: Vec<Case>,
    codes: Vec<Advice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    reason: ReasonValue,
    code: u16,
    terminal: bool,
    pub bye: Option<String>,
    close: Option<String>,
    client: Client,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advice {
    code: u16,
    client: Client,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Client {
    Stop,
    Return,
    Patient,
    FreshToken,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ReasonValue {
    Answered(u16),
    ProtocolError(String),
    InvalidUtf8,
    TooBig(String),
    Unavailable {
        dependency: String,
        retry_ms: u32,
        reference: String,
        #[serde(default)]
        message: String,
    },
    Restart {
        retry_ms: u32,
    },
    OverCapacity {
        bound: String,
        retry_ms: u32,
    },
    ConnectTimeout,
    NoSignOfLife,
    MessageTimeout,
    WriteStalled,
    TooEarly {
        text: String,
        retry_ms: u32,
    },
    RateLimited {
        bound: String,
        retry_ms: u32,
    },
    Disconnected {
        message: String,
        reconnect: bool,
    },
    Misuse(String),
    Unauthenticated(String),
    Blocked {
        text: String,
        retry_ms: u32,
    },
    Forbidden(String),
    UnsupportedVersion,
    OriginForbidden(String),
    HostForbidden,
}

impl ReasonValue {
    /// The texts of `CloseReason` are static; a test may leak a few.
    fn reason(self) -> CloseReason {
        match self {
            ReasonValue::Answered(code) => CloseReason::Answered(code),
            ReasonValue::ProtocolError(text) => CloseReason::ProtocolError(text.leak()),
            ReasonValue::InvalidUtf8 => CloseReason::InvalidUtf8,
            ReasonValue::TooBig(text) => CloseReason::TooBig(text.leak()),
            ReasonValue::Unavailable { dependency, retry_ms, reference, message } => {
                CloseReason::Unavailable { dependency, retry_ms, reference, message: message.into() }
            }
            ReasonValue::Restart { retry_ms } => CloseReason::Restart { retry_ms },
            ReasonValue::OverCapacity { bound, retry_ms } => {
                CloseReason::OverCapacity { bound: bound.leak(), retry_ms }
            }
            ReasonValue::ConnectTimeout => CloseReason::ConnectTimeout,
            ReasonValue::NoSignOfLife => CloseReason::NoSignOfLife,
            ReasonValue::MessageTimeout => CloseReason::MessageTimeout,
            ReasonValue::WriteStalled => CloseReason::WriteStalled,
            ReasonValue::TooEarly { text, retry_ms } => CloseReason::TooEarly { text: text.leak(), retry_ms },
            ReasonValue::RateLimited { bound, retry_ms } => {
                CloseReason::RateLimited { bound: bound.leak(), retry_ms }
            }
            ReasonValue::Disconnected { message, reconnect } => CloseReason::Disconnected {
                message: message.into(),
                comeback: if reconnect { Comeback::Welcome } else { Comeback::Unwanted },
            },
            ReasonValue::Misuse(text) => CloseReason::Misuse(text.leak()),
            ReasonValue::Unauthenticated(text) => CloseReason::Unauthenticated(text.leak()),
            ReasonValue::Blocked { text, retry_ms } => CloseReason::Blocked { text: text.leak(), retry_ms },
            ReasonValue::Forbidden(text) => CloseReason::Forbidden(text.leak()),
            ReasonValue::UnsupportedVersion => CloseReason::UnsupportedVersion,
            ReasonValue::OriginForbidden(text) => CloseReason::OriginForbidden(text),
            ReasonValue::HostForbidden => CloseReason::HostForbidden,
        }
    }
}

#[test]
fn connection_ends_as_in_the_examples() {
    let file: File = read("closes.json");
    assert!(!file.about.is_empty());
    names_differ(file.cases.iter().map(|case| case.name.as_str()));
    let mut words = BTreeSet::new();
    for case in file.cases {
        let name = &case.name;
        let reason = case.reason.reason();
        words.insert(reason.word());
        assert_eq!(reason.code(), case.code, "{name}");
        assert_eq!(reason.terminal(), case.terminal, "{name}");
        let mut frame = Vec::new();
        push::bye(&mut frame, &reason);
        let (bye, close) = match reason.farewell() {
            Farewell::Bye => (Some(payload(&frame)), Some(reason.text())),
            Farewell::CloseOnly => (None, Some(reason.text())),
            Farewell::None => (None, None),
        };
        assert_eq!(bye, case.bye.as_deref(), "{name}");
        assert_eq!(close, case.close, "{name}");
        assert_eq!(advice(reason.code()), case.client, "{name}");
        let final_code = matches!(case.client, Client::Stop | Client::FreshToken);
        assert!(case.terminal == final_code || case.code == 1000, "{name}: the two sides disagree");
    }
    assert_eq!(words.len(), 21, "every reason has an example: {words:?}");
}

#[test]
fn code_alone_tells_a_client_what_to_do() {
    let file: File = read("closes.json");
    for advised in file.codes {
        assert_eq!(advice(advised.code), advised.client, "{}", advised.code);
    }
}

/// The rule of `docs/protocol.md`, as a client implements it.
const fn advice(code: u16) -> Client {
    match code {
        4501 => Client::FreshToken,
        1000 | 1002 | 1007 | 1009 | 4500..=4999 => Client::Stop,
        1013 => Client::Patient,
        _ => Client::Return,
    }
}
