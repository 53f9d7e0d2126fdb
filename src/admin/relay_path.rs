//! The paths of the relay: a method, a path and a body become a question, or a refusal.

use super::bodies::members;
use super::refusal::AdminRefusal;
use crate::id::{ChannelName, INTEGER_MAX, Offset};
use crate::wire::request::Method;
use serde_json::{Map, Value};

const REPLAY: &str = r#"{"channel":"thread.7","from":41,"to":58}"#;
const SKIP: &str = r#"{"channel":"thread.7","to":58}"#;

/// A question about the relay, or an order to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayQuestion {
    Status,
    /// Dead letters of a route, or of all, after a number.
    Dead {
        route: Option<String>,
        after: u64,
    },
    /// Moves the cursor of a channel.
    Skip {
        channel: ChannelName,
        to: Offset,
    },
    /// A test request of the route with this name.
    Try(String),
    /// Ends the pause of the route with this name.
    Resume(String),
    /// Sends the publications of a channel from one offset through another again, for the route with this name.
    Replay {
        route: String,
        channel: ChannelName,
        from: Offset,
        to: Offset,
    },
}

/// A path of the relay.
#[derive(Clone, Copy, Debug)]
pub(super) enum RelayPath<'a> {
    Status,
    Dead,
    Skip,
    Try(&'a str),
    Resume(&'a str),
    Replay(&'a str),
}

impl RelayPath<'_> {
    /// The path, if it is one of these.
    pub(super) fn of(path: &str) -> Option<RelayPath<'_>> {
        Some(match path.strip_prefix("/relay")? {
            "" => RelayPath::Status,
            "/dead" => RelayPath::Dead,
            "/skip" => RelayPath::Skip,
            rest => match rest.strip_prefix("/routes/")?.split_once('/')? {
                (name, "try") => RelayPath::Try(name),
                (name, "resume") => RelayPath::Resume(name),
                (name, "replay") => RelayPath::Replay(name),
                _ => return None,
            },
        })
    }

    /// Reads a request.
    pub(super) fn question(
        self,
        method: Method,
        query: &str,
        body: &[u8],
    ) -> Result<RelayQuestion, AdminRefusal> {
        match (self, method) {
            (RelayPath::Status, Method::Get | Method::Head) => Ok(RelayQuestion::Status),
            (RelayPath::Dead, Method::Get | Method::Head) => dead(query),
            (RelayPath::Skip, Method::Post) => skip(body),
            (RelayPath::Try(name), Method::Post) => Ok(RelayQuestion::Try(name.to_owned())),
            (RelayPath::Resume(name), Method::Post) => Ok(RelayQuestion::Resume(name.to_owned())),
            (RelayPath::Replay(name), Method::Post) => replay(name, body),
            (RelayPath::Status | RelayPath::Dead, _) => Err(AdminRefusal::method("GET, HEAD")),
            (RelayPath::Skip | RelayPath::Try(_) | RelayPath::Resume(_) | RelayPath::Replay(_), _) => {
                Err(AdminRefusal::method("POST"))
            }
        }
    }
}

/// Reads the query `route=…&after=…`.
fn dead(query: &str) -> Result<RelayQuestion, AdminRefusal> {
    let (mut route, mut after) = (None, 0);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("route", name)) => route = Some(name.to_owned()),
            Some(("after", digits)) => {
                let wrong = || AdminRefusal::query_wrong("after must be the number of a dead letter");
                after = digits.parse().map_err(|_| wrong())?;
            }
            Some(_) | None => {
                return Err(AdminRefusal::query_wrong("the query takes route and after only"));
            }
        }
    }
    Ok(RelayQuestion::Dead { route, after })
}

fn skip(body: &[u8]) -> Result<RelayQuestion, AdminRefusal> {
    let members = members(body, &["channel", "to"], SKIP)?;
    Ok(RelayQuestion::Skip { channel: channel(&members, SKIP)?, to: offset(&members, "to", SKIP)? })
}

fn replay(route: &str, body: &[u8]) -> Result<RelayQuestion, AdminRefusal> {
    let members = members(body, &["channel", "from", "to"], REPLAY)?;
    let (from, to) = (offset(&members, "from", REPLAY)?, offset(&members, "to", REPLAY)?);
    if from > to {
        return Err(AdminRefusal::body_wrong("from must not be above to", REPLAY));
    }
    let channel = channel(&members, REPLAY)?;
    Ok(RelayQuestion::Replay { route: route.to_owned(), channel, from, to })
}

fn channel(members: &Map<String, Value>, form: &'static str) -> Result<ChannelName, AdminRefusal> {
    let name = members.get("channel").and_then(Value::as_str).unwrap_or_default();
    ChannelName::parse(name)
        .map_err(|_| AdminRefusal::body_wrong(format_args!("channel must be {}", ChannelName::RULE), form))
}

fn offset(
    members: &Map<String, Value>,
    name: &'static str,
    form: &'static str,
) -> Result<Offset, AdminRefusal> {
    let value = members.get(name).and_then(Value::as_u64).filter(|value| (1..=INTEGER_MAX).contains(value));
    value.map(Offset).ok_or_else(|| AdminRefusal::body_wrong(format_args!("{name} must be an offset"), form))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, path: &str, body: &str) -> Result<RelayQuestion, AdminRefusal> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        RelayPath::of(path).expect("a path of the relay").question(method, query, body.as_bytes())
    }

    #[test]
    fn order_is_read_completely_or_refused_with_advice() {
        let channel = ChannelName::parse("thread.7").expect("a name");
        assert_eq!(read(Method::Get, "/relay", ""), Ok(RelayQuestion::Status));
        let dead = RelayQuestion::Dead { route: Some("assistant".into()), after: 7 };
        assert_eq!(read(Method::Get, "/relay/dead?route=assistant&after=7", ""), Ok(dead));
        let path = "/relay/routes/assistant/replay";
        let body = r#"{"channel":"thread.7","from":41,"to":58}"#;
        let (route, from, to) = ("assistant".into(), Offset(41), Offset(58));
        let wanted = RelayQuestion::Replay { route, channel: channel.clone(), from, to };
        assert_eq!(read(Method::Post, path, body), Ok(wanted));
        let skip = RelayQuestion::Skip { channel, to: Offset(58) };
        assert_eq!(read(Method::Post, "/relay/skip", r#"{"channel":"thread.7","to":58}"#), Ok(skip));
        for (path, body, part) in [
            (path, r#"{"channel":"thread.7","from":59,"to":58}"#, "from must not be above to"),
            (path, r#"{"channel":"thread.7","from":1}"#, "to must be an offset"),
            ("/relay/skip", r#"{"channel":"a b","to":1}"#, "channel must be 1 to 128"),
            ("/relay/skip", r#"{"channel":"a","to":0}"#, "to must be an offset"),
            ("/relay/skip", r#"{"channel":"a","through":1}"#, "unknown member"),
        ] {
            let refusal = read(Method::Post, path, body).expect_err(body);
            assert!(refusal.status == 400 && refusal.message.contains(part), "{body}: {}", refusal.message);
        }
        assert!(read(Method::Get, "/relay/dead?channel=a", "").is_err());
        for path in
            ["/relays", "/relay/", "/relay/routes/a", "/relay/routes/a/other", "/relay/routes/a/try/x"]
        {
            assert!(RelayPath::of(path).is_none(), "{path}");
        }
    }
}
