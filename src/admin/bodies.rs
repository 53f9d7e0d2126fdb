//! The bodies of operators' requests.

use super::refusal::AdminRefusal;
use crate::cluster::rebalance_body::{self, RebalanceWish};
use crate::flag::Switch;
use crate::health::breaker::Forced;
use crate::health::snapshot::AdmissionMode;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a state may be forced: a forgotten order ends within a day.
const MINUTES: RangeInclusive<u64> = 1..=1_440;

pub(super) const FORCE: &str = r#"{"to":"open"|"closed","minutes":1..1440}"#;
const SWITCH: &str = r#"{"on":true|false}"#;
const MODE: &str = r#"{"mode":"enforce"|"observe"}"#;

pub(super) fn force(body: &[u8]) -> Result<(Forced, Duration), AdminRefusal> {
    let members = members(body, &["to", "minutes"], FORCE)?;
    let to = [Forced::Open, Forced::Closed]
        .into_iter()
        .find(|forced| members.get("to").and_then(Value::as_str) == Some(forced.as_str()))
        .ok_or_else(|| AdminRefusal::body_wrong("to must be \"open\" or \"closed\"", FORCE))?;
    let minutes = members.get("minutes").and_then(Value::as_u64).filter(|minutes| MINUTES.contains(minutes));
    let minutes = minutes
        .ok_or_else(|| AdminRefusal::body_wrong("minutes must be a whole number from 1 to 1440", FORCE))?;
    Ok((to, Duration::from_secs(minutes * 60)))
}

pub(super) fn mode(body: &[u8]) -> Result<AdmissionMode, AdminRefusal> {
    let members = members(body, &["mode"], MODE)?;
    [AdmissionMode::Enforce, AdmissionMode::Observe]
        .into_iter()
        .find(|mode| members.get("mode").and_then(Value::as_str) == Some(mode.as_str()))
        .ok_or_else(|| AdminRefusal::body_wrong("mode must be \"enforce\" or \"observe\"", MODE))
}

pub(super) fn switch(body: &[u8]) -> Result<Switch, AdminRefusal> {
    let members = members(body, &["on"], SWITCH)?;
    match members.get("on").and_then(Value::as_bool) {
        Some(true) => Ok(Switch::AsConfigured),
        Some(false) => Ok(Switch::Off),
        None => Err(AdminRefusal::body_wrong("on must be true or false", SWITCH)),
    }
}

/// The body of a request to spread connections, which may be empty.
pub(super) fn rebalance(body: &[u8]) -> Result<RebalanceWish, AdminRefusal> {
    rebalance_body::read(text(body)?).map_err(|problem| AdminRefusal::of(&problem))
}

/// The text of a body.
pub(super) fn text(body: &[u8]) -> Result<&str, AdminRefusal> {
    std::str::from_utf8(body)
        .map_err(|_| AdminRefusal::new(400, "malformed", "the body is not UTF-8; send a JSON object"))
}

/// The members of a JSON object. An unknown one is rejected, because it may be a misspelling.
pub(super) fn members(
    body: &[u8],
    known: &[&str],
    form: &'static str,
) -> Result<Map<String, Value>, AdminRefusal> {
    let members: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
        AdminRefusal::body_wrong(format_args!("the body is no JSON object ({error})"), form)
    })?;
    match members.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(members),
        Some(key) => Err(AdminRefusal::body_wrong(format_args!("unknown member {key:?}"), form)),
    }
}
