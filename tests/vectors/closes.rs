//! `closes.json`: how a connection ends, and what a client makes of the code.

use crate::{names_differ, payload, read};
use seawall::close::{CloseReason, Farewell};
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
    reason: Told,
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
enum Told {
    Answered(u16),
    ProtocolError(String),
    InvalidUtf8,
    TooBig(String),
    Unavailable { dependency: String, retry_ms: u32, reference: String },
    Restart { retry_ms: u32 },
    OverCapacity { bound: String, retry_ms: u32 },
    ConnectTimeout,
    NoSignOfLife,
    MessageTimeout,
    WriteStalled,
    RateLimited { bound: String, retry_ms: u32 },
    Misuse(String),
    Unauthenticated(String),
    Forbidden(String),
    UnsupportedVersion,
}

impl Told {
    /// The reasons' texts are literals in the gateway; a test may leak a few.
    fn reason(self) -> CloseReason {
        match self {
            Told::Answered(code) => CloseReason::Answered(code),
            Told::ProtocolError(text) => CloseReason::ProtocolError(text.leak()),
            Told::InvalidUtf8 => CloseReason::InvalidUtf8,
            Told::TooBig(text) => CloseReason::TooBig(text.leak()),
            Told::Unavailable { dependency, retry_ms, reference } => {
                CloseReason::Unavailable { dependency, retry_ms, reference }
            }
            Told::Restart { retry_ms } => CloseReason::Restart { retry_ms },
            Told::OverCapacity { bound, retry_ms } => {
                CloseReason::OverCapacity { bound: bound.leak(), retry_ms }
            }
            Told::ConnectTimeout => CloseReason::ConnectTimeout,
            Told::NoSignOfLife => CloseReason::NoSignOfLife,
            Told::MessageTimeout => CloseReason::MessageTimeout,
            Told::WriteStalled => CloseReason::WriteStalled,
            Told::RateLimited { bound, retry_ms } => {
                CloseReason::RateLimited { bound: bound.leak(), retry_ms }
            }
            Told::Misuse(text) => CloseReason::Misuse(text.leak()),
            Told::Unauthenticated(text) => CloseReason::Unauthenticated(text.leak()),
            Told::Forbidden(text) => CloseReason::Forbidden(text.leak()),
            Told::UnsupportedVersion => CloseReason::UnsupportedVersion,
        }
    }
}

#[test]
fn connections_end_as_the_examples_say() {
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
    assert_eq!(words.len(), 16, "every reason has an example: {words:?}");
}

#[test]
fn a_client_knows_what_to_do_by_the_code_alone() {
    let file: File = read("closes.json");
    for told in file.codes {
        assert_eq!(advice(told.code), told.client, "{}", told.code);
    }
}

/// The rule of `docs/protocol.md`, as a client has it.
const fn advice(code: u16) -> Client {
    match code {
        4501 => Client::FreshToken,
        1000 | 1002 | 1007 | 1009 | 4500..=4999 => Client::Stop,
        1013 => Client::Patient,
        _ => Client::Return,
    }
}
