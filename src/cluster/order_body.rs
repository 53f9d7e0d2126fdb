//! Requests for orders: JSON becomes an order, or a problem that names the field, the bound and what to do.

use super::order::{
    BlockOrder, ClusterOrder, Disconnect, EXCEPT_MAX, JTI_BYTES_MAX, REASON_BYTES_MAX, RevokeOrder,
    RevokedTokens,
};
use crate::close::Comeback;
use crate::id::{INTEGER_MAX, USER_BYTES_MAX, UserName};
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::scan::{JsonKind, Raw, Scanner};
use std::sync::Arc;

/// How deep a body may nest: an object with a list.
const DEPTH_MAX: u32 = 2;

const CONNECTION_FORM: &str =
    "the name of a connection, 1 to 16 hexadecimal digits, as in connected.connection";

/// The farthest end of a revocation, in milliseconds: a year. Nothing else removes one, so far ends would fill the table for decades.
const REVOCATION_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1_000;

/// Reads the body of a disconnect: `{"reason"?,"reconnect"?,"except"?,"connection"?}`.
pub fn disconnect(user: UserName, text: &str) -> Result<ClusterOrder, ApiProblem> {
    let [reason, reconnect, except, only] = members(text, ["reason", "reconnect", "except", "connection"])?;
    let comeback = match reconnect.map(|raw| raw.text) {
        None | Some("true") => Comeback::Welcome,
        Some("false") => Comeback::Unwanted,
        Some(_) => return Err(malformed("reconnect must be true or false")),
    };
    let connection = only.map(|raw| connection("connection", raw)).transpose()?;
    let except = except.map_or(Ok(Vec::new()), connections)?;
    let reason = Arc::from(reason_of(reason)?);
    Ok(ClusterOrder::Disconnect(Disconnect { user, connection, except, reason, comeback }))
}

/// Reads the body of a block: `{"until"?,"reason"?}`. `now_unix_ms` is the time at which it must still be in the future.
pub fn block(user: UserName, text: &str, now_unix_ms: u64) -> Result<ClusterOrder, ApiProblem> {
    if user == UserName::anonymous() {
        return Err(malformed(
            "the user anonymous is everybody without a token; turn auth on to block users",
        ));
    }
    let [until, reason] = members(text, ["until", "reason"])?;
    let until_unix_ms = until.map(|raw| future("until", raw, now_unix_ms)).transpose()?;
    let reason = reason_of(reason)?.into();
    Ok(ClusterOrder::Block(BlockOrder { user, until_unix_ms, reason }))
}

/// Checks the body of an erasure, which has no members.
pub fn erase(user: UserName, text: &str) -> Result<ClusterOrder, ApiProblem> {
    if user == UserName::anonymous() {
        return Err(malformed(
            "the user anonymous is everybody without a token, and is not erased as a whole",
        ));
    }
    let [] = members(text, [])?;
    Ok(ClusterOrder::Erase(user))
}

/// Reads the body of a revocation: `{"jti","until"}` or `{"user","issued_before","until"}`.
pub fn revoke(text: &str, now_unix_ms: u64) -> Result<ClusterOrder, ApiProblem> {
    let [jti, user, issued_before, until] = members(text, ["jti", "user", "issued_before", "until"])?;
    let until = until.ok_or_else(|| {
        malformed(
            "until is missing; send the Unix milliseconds at which the tokens have expired by themselves",
        )
    })?;
    let until_unix_ms = future("until", until, now_unix_ms)?;
    let latest = now_unix_ms.saturating_add(REVOCATION_MS_MAX);
    if until_unix_ms > latest {
        return Err(malformed(format!(
            "until is {until_unix_ms}: send at most {latest}, a year ahead, and revoke tokens that live longer again"
        )));
    }
    let tokens = match (jti, user, issued_before) {
        (Some(jti), None, None) => RevokedTokens::One(text_of("jti", jti, 1, JTI_BYTES_MAX)?.into()),
        (None, Some(user), Some(issued_before)) => {
            let name = text_of("user", user, 1, USER_BYTES_MAX)?;
            let name =
                UserName::parse(&name).map_err(|_| malformed(format!("user must be {}", UserName::RULE)))?;
            RevokedTokens::IssuedBefore(name, milliseconds("issued_before", issued_before)?)
        }
        _ => {
            return Err(malformed(
                "send jti for one token, or user and issued_before for all older tokens of a user",
            ));
        }
    };
    Ok(ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms }))
}

/// Reads an object with these members. An empty body is one without members.
pub(super) fn members<'a, const COUNT: usize>(
    text: &'a str,
    names: [&'static str; COUNT],
) -> Result<[Option<Raw<'a>>; COUNT], ApiProblem> {
    let (mut values, mut fault) = ([None; COUNT], None);
    if text.trim_ascii().is_empty() {
        return Ok(values);
    }
    let mut scanner = Scanner::new(text);
    if scanner.peek() != Some(b'{') {
        return Err(malformed("the body must be a JSON object"));
    }
    let scanned = scanner.object(|scanner, name| {
        let value = scanner.value()?;
        match names.iter().zip(&mut values).find(|(known, _)| **known == name) {
            Some((known, slot)) => {
                if slot.replace(value).is_some() {
                    fault.get_or_insert_with(|| malformed(format!("{known} is given twice; send it once")));
                }
            }
            None => {
                let shown: String = name.chars().take(32).collect();
                fault.get_or_insert_with(|| {
                    malformed(format!(
                        "the body has the unknown member {shown:?}; known are {}",
                        names.join(", ")
                    ))
                });
            }
        }
        Ok(())
    });
    scanned.and_then(|()| scanner.end()).map_err(|broken| malformed(broken.to_string()))?;
    if scanner.deepest() > DEPTH_MAX {
        return Err(malformed(format!("the body nests more than {DEPTH_MAX} deep; send flatter JSON")));
    }
    fault.map_or(Ok(values), Err)
}

fn text_of(name: &str, raw: Raw<'_>, least: usize, most: usize) -> Result<String, ApiProblem> {
    let text = raw
        .string()
        .ok_or_else(|| malformed(format!("{name} must be a string, got {}", raw.kind.describe())))?;
    if text.len() < least || text.len() > most || text.chars().any(char::is_control) {
        return Err(malformed(format!("{name} must be {least} to {most} bytes without control characters")));
    }
    Ok(text.into_owned())
}

fn reason_of(raw: Option<Raw<'_>>) -> Result<String, ApiProblem> {
    raw.map_or(Ok(String::new()), |raw| text_of("reason", raw, 0, REASON_BYTES_MAX))
}

fn milliseconds(name: &str, raw: Raw<'_>) -> Result<u64, ApiProblem> {
    match (raw.kind, raw.integer()) {
        (JsonKind::Number, Ok(unix_ms)) => Ok(unix_ms),
        (_, _) => Err(malformed(format!(
            "{name} must be Unix milliseconds: a whole number from 0 to {INTEGER_MAX}"
        ))),
    }
}

fn future(name: &str, raw: Raw<'_>, now_unix_ms: u64) -> Result<u64, ApiProblem> {
    let unix_ms = milliseconds(name, raw)?;
    if unix_ms <= now_unix_ms {
        return Err(malformed(format!(
            "{name} is {unix_ms}, which is past: send Unix milliseconds above {now_unix_ms}"
        )));
    }
    Ok(unix_ms)
}

fn connections(list: Raw<'_>) -> Result<Vec<u64>, ApiProblem> {
    if list.kind != JsonKind::Array {
        return Err(malformed(format!("except must be a list of connections, got {}", list.kind.describe())));
    }
    let (mut names, mut fault) = (Vec::new(), None);
    let scanned = Scanner::new(list.text).array(|scanner| {
        let raw = scanner.value()?;
        match connection("except", raw) {
            Ok(name) if names.len() < EXCEPT_MAX => names.push(name),
            Ok(_) => {
                fault.get_or_insert_with(|| {
                    malformed(format!("except names more than {EXCEPT_MAX} connections"))
                });
            }
            Err(problem) => {
                fault.get_or_insert(problem);
            }
        }
        Ok(())
    });
    scanned.map_err(|broken| malformed(broken.to_string()))?;
    fault.map_or(Ok(names), Err)
}

fn connection(name: &str, raw: Raw<'_>) -> Result<u64, ApiProblem> {
    let text = raw.string().unwrap_or_default();
    let is_name = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(&text, 16).ok().filter(|_| is_name);
    number.ok_or_else(|| malformed(format!("{name} must hold {CONNECTION_FORM}")))
}

fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> ApiProblem {
    ApiProblem::lasting(ProblemCode::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn ann() -> UserName {
        UserName::parse("ann").expect("a user name")
    }

    #[test]
    fn body_becomes_an_order() {
        let body =
            r#"{"reason":"bye","reconnect":false,"except":["ff","00000000000000fe"],"connection":"1"}"#;
        let expected = ClusterOrder::Disconnect(Disconnect {
            user: ann(),
            connection: Some(1),
            except: vec![255, 254],
            reason: Arc::from("bye"),
            comeback: Comeback::Unwanted,
        });
        assert_eq!(disconnect(ann(), body), Ok(expected));
        let Ok(ClusterOrder::Disconnect(plain)) = disconnect(ann(), " ") else { panic!("an order") };
        assert_eq!((plain.comeback, plain.except.len(), &*plain.reason), (Comeback::Welcome, 0, ""));
        let order = block(ann(), r#"{"until":1001}"#, NOW).expect("an order");
        assert_eq!(order.args(), r#"{"user":"ann","until":1001,"reason":""}"#);
        let order = revoke(r#"{"user":"ann","issued_before":5,"until":1001}"#, NOW).expect("an order");
        assert_eq!(order.args(), r#"{"user":"ann","issued_before":5,"until":1001}"#);
        assert!(revoke(r#"{"jti":"a","until":1001}"#, NOW).is_ok());
        assert!(revoke(r#"{"jti":"a","until":31622401000}"#, NOW).is_ok());
        assert_eq!(erase(ann(), "{}").expect("an order"), ClusterOrder::Erase(ann()));
    }

    #[test]
    fn wrong_body_is_refused_with_the_field_and_its_bound() {
        let long = "x".repeat(REASON_BYTES_MAX + 1);
        let many = vec![r#""1""#; EXCEPT_MAX + 1].join(",");
        let cases = [
            (disconnect(ann(), "[]"), "JSON object"),
            (disconnect(ann(), r#"{"reason":1}"#), "reason must be a string, got a number"),
            (disconnect(ann(), &format!(r#"{{"reason":"{long}"}}"#)), "reason must be 0 to 64 bytes"),
            (disconnect(ann(), r#"{"reconnect":"no"}"#), "reconnect must be true or false"),
            (disconnect(ann(), r#"{"except":["x"]}"#), "except must hold the name of a connection"),
            (disconnect(ann(), r#"{"except":"1"}"#), "except must be a list"),
            (disconnect(ann(), &format!(r#"{{"except":[{many}]}}"#)), "more than 100 connections"),
            (disconnect(ann(), r#"{"except":[["1"]]}"#), "nests more than 2 deep"),
            (disconnect(ann(), r#"{"why":1}"#), "unknown member \"why\"; known are reason"),
            (disconnect(ann(), r#"{"reason":"a","reason":"b"}"#), "given twice"),
            (block(ann(), r#"{"until":1000}"#, NOW), "until is 1000, which is past"),
            (block(ann(), r#"{"until":1.5}"#, NOW), "until must be Unix milliseconds"),
            (block(UserName::anonymous(), "{}", NOW), "turn auth on"),
            (erase(UserName::anonymous(), ""), "everybody without a token"),
            (erase(ann(), r#"{"reason":"x"}"#), "unknown member \"reason\""),
            (revoke(r#"{"jti":"a"}"#, NOW), "until is missing"),
            (revoke(r#"{"jti":"a","until":31622401001}"#, NOW), "send at most 31622401000, a year ahead"),
            (revoke(r#"{"jti":"","until":1001}"#, NOW), "jti must be 1 to 256 bytes"),
            (revoke(r#"{"user":"ann","until":1001}"#, NOW), "send jti for one token"),
            (revoke(r#"{"jti":"a","user":"ann","until":1001}"#, NOW), "send jti for one token"),
        ];
        for (outcome, says) in cases {
            let problem = outcome.expect_err(says);
            assert_eq!(problem.code, ProblemCode::Malformed);
            assert!(problem.detail.contains(says), "{}", problem.detail);
        }
    }
}
