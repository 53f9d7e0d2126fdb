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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_and_method_asks_what_its_documentation_says() {
        let ask =
            |method, path, body: &str| ErrorPath::of(path).expect(path).question(method, body.as_bytes());
        let name = Fingerprint(0x9f2c_41d0);
        let (one, mute) = ("/client-errors/9f2c41d0", "/client-errors/9f2c41d0/mute");
        assert_eq!(ask(Method::Get, "/client-errors", "").ok(), Some(ErrorQuestion::All));
        assert_eq!(ask(Method::Get, one, "").ok(), Some(ErrorQuestion::One(name)));
        assert_eq!(ask(Method::Delete, one, "").ok(), Some(ErrorQuestion::Forget(name)));
        let hours = |text: &str| ask(Method::Put, mute, text).ok();
        assert_eq!(hours(r#"{"hours":168}"#), Some(ErrorQuestion::Mute(name, 168)));
        assert_eq!(hours(r#"{"hours":0}"#), Some(ErrorQuestion::Mute(name, 0)));
        assert!([r#"{"hours":169}"#, r#"{"hours":"1"}"#, "{}", ""].iter().all(|text| hours(text).is_none()));
        assert!(ask(Method::Delete, "/client-errors", "").is_err());
        assert!(ask(Method::Get, "/client-errors/x", "").is_err() && ask(Method::Get, mute, "").is_err());
        assert!(ErrorPath::of("/client-errorsx").is_none() && ErrorPath::of("/client-errors/a/b").is_none());
    }
}
