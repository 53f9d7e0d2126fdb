//! Paths of clients' errors, and what a request asks of them.

use super::bodies::members;
use super::refusal::AdminRefusal;
use crate::client_error::Fingerprint;
use crate::wire::request::Method;
use serde_json::Value;

const MUTE: &str = r#"{"hours":0..168}"#;
const HOURS_MAX: u64 = 168;

/// A question about errors of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorQuestion {
    All,
    One(Fingerprint),
    Forget(Fingerprint),
    /// To log nothing of a group for these hours; 0 ends it.
    Mute(Fingerprint, u64),
}

/// A path of errors.
#[derive(Clone, Copy, Debug)]
pub(super) enum ErrorPath<'a> {
    All,
    One(&'a str),
    Mute(&'a str),
}

impl ErrorPath<'_> {
    pub(super) fn of(path: &str) -> Option<ErrorPath<'_>> {
        match path.strip_prefix("/client-errors")? {
            "" => Some(ErrorPath::All),
            rest => match rest.strip_prefix('/')?.split_once('/') {
                None => rest.strip_prefix('/').map(ErrorPath::One),
                Some((name, "mute")) => Some(ErrorPath::Mute(name)),
                Some(_) => None,
            },
        }
    }

    pub(super) fn question(self, method: Method, body: &[u8]) -> Result<ErrorQuestion, AdminRefusal> {
        let named = |name| {
            Fingerprint::parse(name).ok_or_else(|| {
                AdminRefusal::new(
                    400,
                    "malformed",
                    "a group in the path must be 8 hexadecimal digits; GET /client-errors lists them",
                )
            })
        };
        match (self, method) {
            (ErrorPath::All, Method::Get | Method::Head) => Ok(ErrorQuestion::All),
            (ErrorPath::All, _) => Err(AdminRefusal::method("GET, HEAD")),
            (ErrorPath::One(name), Method::Get | Method::Head) => named(name).map(ErrorQuestion::One),
            (ErrorPath::One(name), Method::Delete) => named(name).map(ErrorQuestion::Forget),
            (ErrorPath::One(_), _) => Err(AdminRefusal::method("GET, HEAD, DELETE")),
            (ErrorPath::Mute(name), Method::Put) => Ok(ErrorQuestion::Mute(named(name)?, hours(body)?)),
            (ErrorPath::Mute(_), _) => Err(AdminRefusal::method("PUT")),
        }
    }
}

fn hours(body: &[u8]) -> Result<u64, AdminRefusal> {
    let members = members(body, &["hours"], MUTE)?;
    let hours = members.get("hours").and_then(Value::as_u64).filter(|hours| *hours <= HOURS_MAX);
    hours.ok_or_else(|| AdminRefusal::body_wrong("hours must be a whole number from 0 to 168", MUTE))
}
