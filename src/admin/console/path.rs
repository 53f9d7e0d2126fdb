//! Routing under `/console/`: a method, a path, a query and a body become a task, or a refusal that says what to send instead.

use crate::admin::access::Scope;
use crate::admin::bodies::members;
use crate::admin::refusal::AdminRefusal;
use crate::metrics::history::TIERS;
use crate::metrics::series::{self, SERIES};
use crate::wire::request::Method;
use serde_json::Value;
use url::form_urlencoded;

/// Series of one answer.
const NAMES_MAX: usize = 8;
/// Points of one answer.
const POINTS_MAX: usize = 400;
const LINK: &str = r#"{"scope":"operate"|"read"}"#;
const CODE: &str = r#"{"code":"…"}, or no body and Authorization: Bearer with the admin token"#;

/// The task that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsoleTask {
    /// The state of the gateway, and the rows from this tick on.
    Live {
        since: Option<u64>,
        changes: u64,
    },
    Series(SeriesWish),
    /// A link of this scope.
    Link(Scope),
    /// A session for the code of a link; `None`: for the token.
    LogIn(Option<String>),
    LogOut,
}

/// A part of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesWish {
    /// Places in [`SERIES`].
    pub places: Vec<usize>,
    pub step_s: u64,
    pub points: usize,
}

impl ConsoleTask {
    /// Reads a request for a path after `/console/`.
    pub fn of(
        method: Method,
        path: &str,
        query: Option<&str>,
        body: &[u8],
    ) -> Result<ConsoleTask, AdminRefusal> {
        let query = query.unwrap_or_default().as_bytes();
        match (path, method) {
            ("live", Method::Get | Method::Head) => Ok(ConsoleTask::Live {
                since: number(query, "since")?,
                changes: number(query, "changes")?.unwrap_or(0),
            }),
            ("series", Method::Get | Method::Head) => SeriesWish::of(query).map(ConsoleTask::Series),
            ("links", Method::Post) => {
                let members = members(body, &["scope"], LINK)?;
                let scope = [Scope::Operate, Scope::Read]
                    .into_iter()
                    .find(|scope| members.get("scope").and_then(Value::as_str) == Some(scope.as_str()));
                let wrong = || AdminRefusal::body_wrong("scope must be \"operate\" or \"read\"", LINK);
                scope.map(ConsoleTask::Link).ok_or_else(wrong)
            }
            ("session", Method::Post) if body.is_empty() => Ok(ConsoleTask::LogIn(None)),
            ("session", Method::Post) => {
                let mut members = members(body, &["code"], CODE)?;
                match members.remove("code") {
                    Some(Value::String(code)) => Ok(ConsoleTask::LogIn(Some(code))),
                    Some(_) | None => Err(AdminRefusal::body_wrong("code must be a string", CODE)),
                }
            }
            ("session", Method::Delete) => Ok(ConsoleTask::LogOut),
            ("live" | "series", _) => Err(AdminRefusal::method("GET, HEAD")),
            ("links", _) => Err(AdminRefusal::method("POST")),
            ("session", _) => Err(AdminRefusal::method("POST, DELETE")),
            (_, _) => Err(AdminRefusal::unknown_path()),
        }
    }
}

impl SeriesWish {
    fn of(query: &[u8]) -> Result<SeriesWish, AdminRefusal> {
        let names = text(query, "names").unwrap_or_default();
        let places = names.split(',').map(|name| {
            series::place(name).ok_or_else(|| {
                let all: Vec<&str> = SERIES.iter().map(|series| series.name).collect();
                let name: String = name.chars().take(32).collect();
                wrong(&format!("no series is called {name:?}; there are: {}", all.join(", ")))
            })
        });
        let places = places.collect::<Result<Vec<_>, _>>()?;
        if places.len() > NAMES_MAX {
            return Err(wrong(&format!("names has {} series; send at most {NAMES_MAX}", places.len())));
        }
        let step_s = number(query, "step")?.filter(|step| (1..=86_400).contains(step));
        let step_s = step_s.ok_or_else(|| wrong("step must be a number of seconds from 1 to 86400"))?;
        let points = number(query, "points")?.and_then(|points| usize::try_from(points).ok());
        let points = points
            .filter(|points| (1..=POINTS_MAX).contains(points))
            .ok_or_else(|| wrong(&format!("points must be from 1 to {POINTS_MAX}")))?;
        Ok(SeriesWish { places, step_s, points })
    }

    /// The refusal of a span that is not kept.
    pub fn unkept() -> AdminRefusal {
        let kept = TIERS.map(|(step, rows)| format!("{step} s for {} min", step * rows as u64 / 60));
        wrong(&format!(
            "no such span is kept: step must be a multiple of one of these, and step x points within its time: {}",
            kept.join(", ")
        ))
    }
}

fn wrong(what: &str) -> AdminRefusal {
    AdminRefusal::new(400, "malformed", what)
}

fn text(query: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn number(query: &[u8], name: &str) -> Result<Option<u64>, AdminRefusal> {
    let Some(text) = text(query, name) else { return Ok(None) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.map(Some).ok_or_else(|| wrong(&format!("{name} must be a whole number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(method: Method, path: &str, query: &str, body: &str) -> Result<ConsoleTask, AdminRefusal> {
        ConsoleTask::of(method, path, Some(query), body.as_bytes())
    }

    #[test]
    fn request_is_read_or_refused_with_its_bound() {
        let live = task(Method::Get, "live", "since=81234&changes=7", "");
        assert_eq!(live, Ok(ConsoleTask::Live { since: Some(81_234), changes: 7 }));
        let series = task(Method::Get, "series", "names=connections,published&step=30&points=360", "");
        let wish = SeriesWish { places: vec![0, 11], step_s: 30, points: 360 };
        assert_eq!(series, Ok(ConsoleTask::Series(wish)));
        assert_eq!(
            task(Method::Post, "links", "", r#"{"scope":"read"}"#),
            Ok(ConsoleTask::Link(Scope::Read))
        );
        assert_eq!(task(Method::Post, "session", "", ""), Ok(ConsoleTask::LogIn(None)));
        assert_eq!(
            task(Method::Post, "session", "", r#"{"code":"abc"}"#),
            Ok(ConsoleTask::LogIn(Some("abc".into())))
        );
        assert_eq!(task(Method::Delete, "session", "", ""), Ok(ConsoleTask::LogOut));
        let many = "names=".to_owned() + &["closes"; 9].join(",") + "&step=1&points=1";
        for (path, query, says) in [
            ("live", "since=-1", "since must be a whole number"),
            ("series", "names=nonsense&step=1&points=1", "there are: connections,"),
            ("series", "names=closes&step=0&points=1", "from 1 to 86400"),
            ("series", "names=closes&step=1&points=401", "from 1 to 400"),
            ("series", &many, "at most 8"),
            ("nonsense", "", "no such path"),
        ] {
            let refusal = task(Method::Get, path, query, "").expect_err(says);
            assert!(refusal.message.contains(says), "{}", refusal.message);
        }
        for (method, path, body) in
            [(Method::Post, "live", ""), (Method::Get, "links", ""), (Method::Put, "session", "")]
        {
            assert_eq!(task(method, path, "", body).expect_err(path).status, 405, "{path}");
        }
        assert_eq!(task(Method::Post, "links", "", r#"{"scope":"all"}"#).expect_err("scope").status, 400);
    }
}
