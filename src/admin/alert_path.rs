//! The paths of incidents: a method, a path and a body become a question, or a refusal.

use super::bodies::members;
use super::refusal::AdminRefusal;
use crate::alert::channel::AlertChannel;
use crate::alert::silence::{REASON_BYTES_MAX, SILENCE_MS_MAX};
use crate::job::alerts::AlertOrder;
use crate::wire::request::Method;
use serde_json::{Map, Value};

const SILENCE: &str = r#"{"prefix":"slo/delivery","minutes":1..1440,"why":"…"}"#;
const CHANNEL: &str = r#"{"channel":"pagerduty"|"slack"|"webhook"}"#;
const MINUTE_MS: u64 = 60_000;
/// The longest beginning of keys, in bytes.
const PREFIX_BYTES_MAX: usize = 200;

/// The question or order of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertQuestion {
    All,
    One(u64),
    Silences,
    Order(AlertOrder),
}

/// The paths; each accepts certain methods.
#[derive(Clone, Copy)]
pub(super) enum AlertPath<'a> {
    All,
    One(&'a str),
    Acknowledge(&'a str),
    Silences,
    Silence(&'a str),
    Test,
    Resend,
}

impl AlertPath<'_> {
    /// The path, if it is one of these.
    pub(super) fn of(path: &str) -> Option<AlertPath<'_>> {
        Some(match path.strip_prefix("/alerts")? {
            "" => AlertPath::All,
            "/silences" => AlertPath::Silences,
            "/test" => AlertPath::Test,
            "/resend" => AlertPath::Resend,
            rest => match rest.strip_prefix('/')?.split_once('/') {
                Some(("silences", number)) => AlertPath::Silence(number),
                Some((number, "ack")) => AlertPath::Acknowledge(number),
                Some(_) => return None,
                None => AlertPath::One(rest.trim_start_matches('/')),
            },
        })
    }

    /// Reads a request.
    pub(super) fn question(self, method: Method, body: &[u8]) -> Result<AlertQuestion, AdminRefusal> {
        let order = |order| Ok(AlertQuestion::Order(order));
        match (self, method) {
            (AlertPath::All, Method::Get | Method::Head) => Ok(AlertQuestion::All),
            (AlertPath::One(name), Method::Get | Method::Head) => Ok(AlertQuestion::One(number(name)?)),
            (AlertPath::Acknowledge(name), Method::Post) => order(AlertOrder::Acknowledge(number(name)?)),
            (AlertPath::Silences, Method::Get | Method::Head) => Ok(AlertQuestion::Silences),
            (AlertPath::Silences, Method::Post) => order(silence(body)?),
            (AlertPath::Silence(name), Method::Delete) => order(AlertOrder::EndSilence(number(name)?)),
            (AlertPath::Test, Method::Post) => order(AlertOrder::Test(channel(body)?)),
            (AlertPath::Resend, Method::Post) => order(AlertOrder::Resend(channel(body)?)),
            (AlertPath::All | AlertPath::One(_), _) => Err(AdminRefusal::method("GET, HEAD")),
            (AlertPath::Silences, _) => Err(AdminRefusal::method("GET, HEAD, POST")),
            (AlertPath::Silence(_), _) => Err(AdminRefusal::method("DELETE")),
            (AlertPath::Acknowledge(_) | AlertPath::Test | AlertPath::Resend, _) => {
                Err(AdminRefusal::method("POST"))
            }
        }
    }
}

fn number(text: &str) -> Result<u64, AdminRefusal> {
    text.parse().map_err(|_| {
        AdminRefusal::new(
            400,
            "malformed",
            format!("{text:?} is no number of an incident or a silence: GET /alerts lists both"),
        )
    })
}

fn silence(body: &[u8]) -> Result<AlertOrder, AdminRefusal> {
    let members = members(body, &["prefix", "minutes", "why"], SILENCE)?;
    let text = |name: &str, bytes_max: usize| -> Result<String, AdminRefusal> {
        let value = members.get(name).map_or(Some(""), Value::as_str);
        let value = value.filter(|text| text.len() <= bytes_max && !text.chars().any(char::is_control));
        let wrong = || {
            AdminRefusal::body_wrong(
                format_args!("{name} must be text of at most {bytes_max} bytes"),
                SILENCE,
            )
        };
        value.map(str::to_owned).ok_or_else(wrong)
    };
    let most = SILENCE_MS_MAX / MINUTE_MS;
    let minutes =
        members.get("minutes").and_then(Value::as_u64).filter(|minutes| (1..=most).contains(minutes));
    let minutes = minutes
        .ok_or_else(|| AdminRefusal::body_wrong("minutes must be a whole number from 1 to 1440", SILENCE))?;
    Ok(AlertOrder::Silence {
        prefix: text("prefix", PREFIX_BYTES_MAX)?,
        why: text("why", REASON_BYTES_MAX)?,
        for_ms: minutes * MINUTE_MS,
    })
}

fn channel(body: &[u8]) -> Result<AlertChannel, AdminRefusal> {
    let members: Map<String, Value> = members(body, &["channel"], CHANNEL)?;
    let name = members.get("channel").and_then(Value::as_str);
    name.and_then(AlertChannel::parse)
        .ok_or_else(|| AdminRefusal::body_wrong("channel must name a channel", CHANNEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, path: &str, body: &str) -> Result<AlertQuestion, AdminRefusal> {
        AlertPath::of(path).expect("a path of incidents").question(method, body.as_bytes())
    }

    #[test]
    fn path_accepts_its_methods_and_lists_them_for_others() {
        for (path, allow) in [
            ("/alerts", "GET, HEAD"),
            ("/alerts/7", "GET, HEAD"),
            ("/alerts/7/ack", "POST"),
            ("/alerts/silences", "GET, HEAD, POST"),
            ("/alerts/silences/7", "DELETE"),
            ("/alerts/test", "POST"),
            ("/alerts/resend", "POST"),
        ] {
            let refusal = read(Method::Put, path, "").expect_err(path);
            assert_eq!(
                (refusal.status, refusal.headers.as_slice()),
                (405, &[("Allow", allow)][..]),
                "{path}"
            );
        }
    }

    #[test]
    fn order_about_incidents_is_read_completely_or_refused_with_advice() {
        assert_eq!(read(Method::Get, "/alerts", ""), Ok(AlertQuestion::All));
        assert_eq!(read(Method::Get, "/alerts/17", ""), Ok(AlertQuestion::One(17)));
        let expected = AlertQuestion::Order(AlertOrder::Acknowledge(17));
        assert_eq!(read(Method::Post, "/alerts/17/ack", ""), Ok(expected));
        let silence = AlertOrder::Silence { prefix: "slo/".into(), why: "move".into(), for_ms: 7_200_000 };
        let body = r#"{"prefix":"slo/","minutes":120,"why":"move"}"#;
        assert_eq!(read(Method::Post, "/alerts/silences", body), Ok(AlertQuestion::Order(silence)));
        let test = AlertQuestion::Order(AlertOrder::Test(AlertChannel::Slack));
        assert_eq!(read(Method::Post, "/alerts/test", r#"{"channel":"slack"}"#), Ok(test));
        for (path, body, part) in [
            ("/alerts/x/ack", "", "\"x\" is no number of an incident or a silence"),
            ("/alerts/silences", "{}", "minutes must be"),
            ("/alerts/silences", r#"{"minutes":1441}"#, "1 to 1440"),
            ("/alerts/silences", r#"{"minutes":1,"why":7}"#, "why must be text"),
            ("/alerts/silences", r#"{"minutes":1,"for":7}"#, "unknown member"),
            ("/alerts/test", r#"{"channel":"pager"}"#, "channel must name"),
            ("/alerts/resend", "", "no JSON object"),
        ] {
            let refusal = read(Method::Post, path, body).expect_err(path);
            assert!(
                refusal.status == 400 && refusal.message.contains(part),
                "{path} {body}: {}",
                refusal.message
            );
        }
        for path in ["/alerts/", "/alertsx", "/alerts/1/other", "/alerts/1/ack/x"] {
            let found = AlertPath::of(path).map(|path| path.question(Method::Get, b""));
            assert!(!matches!(found, Some(Ok(_))), "{path}");
        }
    }
}
