//! What a request asks for: a method, a path and a body become a wish, or a refusal that says what to send instead.

use crate::health::breaker::Forced;
use crate::health::snapshot::AdmissionMode;
use crate::wire::json;
use crate::wire::request::Method;
use crate::worker::watch::{Action, Ask};
use serde_json::{Map, Value};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// How long a dependency may be held: what is forgotten ends within a day.
const MINUTES: RangeInclusive<u64> = 1..=1_440;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// What any thread can tell.
    Show(Shown),
    /// What the watch thread knows or does.
    Ask(Ask),
    /// How far a drain has come.
    Progress,
    /// A drain, and how far it has come.
    Drain,
}

/// See [`Wish::Show`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Live,
    Ready,
    Summary,
    Metrics,
}

/// A request that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    word: &'static str,
    message: String,
}

/// The paths, each with its methods.
enum Path<'a> {
    Shown(Shown),
    Dependencies,
    Dependency(&'a str),
    Probe(&'a str),
    Force(&'a str),
    Admission,
    Drain,
}

/// Reads a request.
pub(super) fn wish(method: Method, path: &str, body: &[u8]) -> Result<Wish, Refusal> {
    // Of a method nobody knows the path was not read.
    if method == Method::Unknown {
        return Err(Refusal::method("GET, HEAD, POST, PUT, DELETE"));
    }
    let path = Path::of(path).ok_or_else(Refusal::unknown_path)?;
    let act = |action| Ok(Wish::Ask(Ask::Act(action)));
    match (path, method) {
        (Path::Shown(shown), Method::Get | Method::Head) => Ok(Wish::Show(shown)),
        (Path::Dependencies, Method::Get | Method::Head) => Ok(Wish::Ask(Ask::Dependencies)),
        (Path::Dependency(name), Method::Get | Method::Head) => {
            Ok(Wish::Ask(Ask::Dependency(name.to_owned())))
        }
        (Path::Probe(name), Method::Post) => act(Action::Probe(name.to_owned())),
        (Path::Force(name), Method::Post) => {
            let (to, period) = force(body)?;
            act(Action::Force(name.to_owned(), to, period))
        }
        (Path::Force(name), Method::Delete) => act(Action::Release(name.to_owned())),
        (Path::Admission, Method::Get | Method::Head) => Ok(Wish::Ask(Ask::Admission)),
        (Path::Admission, Method::Put) => act(Action::Admission(mode(body)?)),
        (Path::Drain, Method::Get | Method::Head) => Ok(Wish::Progress),
        (Path::Drain, Method::Post) => Ok(Wish::Drain),
        (Path::Shown(_) | Path::Dependencies | Path::Dependency(_), _) => Err(Refusal::method("GET, HEAD")),
        (Path::Probe(_), _) => Err(Refusal::method("POST")),
        (Path::Force(_), _) => Err(Refusal::method("POST, DELETE")),
        (Path::Drain, _) => Err(Refusal::method("GET, HEAD, POST")),
        (Path::Admission, _) => Err(Refusal::method("GET, HEAD, PUT")),
    }
}

impl Path<'_> {
    fn of(path: &str) -> Option<Path<'_>> {
        Some(match path {
            "/health" => Path::Shown(Shown::Summary),
            "/health/live" | "/livez" => Path::Shown(Shown::Live),
            "/health/ready" | "/readyz" => Path::Shown(Shown::Ready),
            "/metrics" => Path::Shown(Shown::Metrics),
            "/health/dependencies" => Path::Dependencies,
            "/health/admission" => Path::Admission,
            "/drain" => Path::Drain,
            _ => {
                let rest = path.strip_prefix("/health/dependencies/")?;
                match rest.split_once('/') {
                    None if !rest.is_empty() => Path::Dependency(rest),
                    Some((name, "probe")) => Path::Probe(name),
                    Some((name, "force")) => Path::Force(name),
                    None | Some(_) => return None,
                }
            }
        })
    }
}

const FORCE: &str = r#"{"to":"open"|"closed","minutes":1..1440}"#;
const MODE: &str = r#"{"mode":"enforce"|"observe"}"#;

fn force(body: &[u8]) -> Result<(Forced, Duration), Refusal> {
    let members = members(body, &["to", "minutes"], FORCE)?;
    let to = [Forced::Open, Forced::Closed]
        .into_iter()
        .find(|forced| members.get("to").and_then(Value::as_str) == Some(forced.as_str()))
        .ok_or_else(|| Refusal::body_wrong("to must be \"open\" or \"closed\"", FORCE))?;
    let minutes = members.get("minutes").and_then(Value::as_u64).filter(|minutes| MINUTES.contains(minutes));
    let minutes =
        minutes.ok_or_else(|| Refusal::body_wrong("minutes must be a whole number from 1 to 1440", FORCE))?;
    Ok((to, Duration::from_secs(minutes * 60)))
}

fn mode(body: &[u8]) -> Result<AdmissionMode, Refusal> {
    let members = members(body, &["mode"], MODE)?;
    [AdmissionMode::Enforce, AdmissionMode::Observe]
        .into_iter()
        .find(|mode| members.get("mode").and_then(Value::as_str) == Some(mode.as_str()))
        .ok_or_else(|| Refusal::body_wrong("mode must be \"enforce\" or \"observe\"", MODE))
}

/// The members of a JSON object; one that nobody knows is a mistake, and may have been meant as another.
fn members(body: &[u8], known: &[&str], form: &'static str) -> Result<Map<String, Value>, Refusal> {
    let members: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| Refusal::body_wrong(format_args!("the body is no JSON object ({error})"), form))?;
    match members.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(members),
        Some(key) => Err(Refusal::body_wrong(format_args!("unknown member {key:?}"), form)),
    }
}

impl Refusal {
    fn new(status: u16, word: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, headers: Vec::new(), word, message: message.into() }
    }

    /// `{"error":"…","message":"…"}`, as on the public listener.
    pub(super) fn body(&self) -> String {
        let mut out = Vec::with_capacity(256);
        json::object(&mut out, |out| {
            json::text(out, "error", self.word);
            json::text(out, "message", &self.message);
        });
        out.push(b'\n');
        String::from_utf8_lossy(&out).into_owned()
    }

    pub(super) fn unauthorized() -> Refusal {
        Refusal {
            headers: vec![("WWW-Authenticate", "Bearer realm=\"seawall admin\"")],
            ..Refusal::new(
                401,
                "unauthorized",
                "send Authorization: Bearer with the token: admin.token, or the file admin.token in store.data; \
                 the first lines of seawall name it",
            )
        }
    }

    fn method(allow: &'static str) -> Refusal {
        let message = format!("this path takes {allow}");
        Refusal { headers: vec![("Allow", allow)], ..Refusal::new(405, "method_not_allowed", message) }
    }

    fn unknown_path() -> Refusal {
        Refusal::new(404, "not_found", "there is nothing here; the paths are in docs/admin.md")
    }

    pub(super) fn unknown_dependency(known: &[Arc<str>]) -> Refusal {
        let known = known.join(", ");
        Refusal::new(404, "not_found", format!("no dependency has this name; there are: {known}"))
    }

    pub(super) fn not_held() -> Refusal {
        let message = "gateway is this process itself: it can be looked at, and not be forced";
        Refusal::new(409, "not_forced", message)
    }

    pub(super) fn no_length() -> Refusal {
        Refusal::new(411, "length_required", "send the body with a Content-Length")
    }

    pub(super) fn body_too_large(bound: usize) -> Refusal {
        Refusal::new(413, "body_too_large", format!("a body has at most {bound} bytes here"))
    }

    pub(super) fn no_answer() -> Refusal {
        let message = "the watch thread did not answer within a second: the process ends or is starved; \
                       an action may have been done all the same, so look before it is repeated";
        Refusal::new(503, "unavailable", message)
    }

    fn body_wrong(what: impl Display, form: &str) -> Refusal {
        Refusal::new(400, "malformed", format!("{what}; send {form}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: Method, path: &str, body: &str) -> Refusal {
        wish(method, path, body.as_bytes()).expect_err("refused")
    }

    #[test]
    fn a_path_takes_its_methods_and_names_them_to_others() {
        let cases = [
            ("/health/live", "GET, HEAD"),
            ("/metrics", "GET, HEAD"),
            ("/health/dependencies", "GET, HEAD"),
            ("/health/dependencies/store", "GET, HEAD"),
            ("/health/dependencies/store/probe", "POST"),
            ("/health/dependencies/store/force", "POST, DELETE"),
            ("/health/admission", "GET, HEAD, PUT"),
            ("/drain", "GET, HEAD, POST"),
        ];
        let methods = [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("POST", Method::Post),
            ("PUT", Method::Put),
            ("DELETE", Method::Delete),
        ];
        for (path, allow) in cases {
            for method in [Method::Options, Method::Other] {
                let refusal = refused(method, path, "");
                assert_eq!(
                    (refusal.status, refusal.headers.as_slice()),
                    (405, &[("Allow", allow)][..]),
                    "{path}"
                );
            }
            for (name, method) in methods {
                // A body that is missing is another matter than a method that is not taken.
                let taken = wish(method, path, b"").map_or_else(|refusal| refusal.status == 400, |_| true);
                assert_eq!(taken, allow.split(", ").any(|own| own == name), "{name} {path}");
            }
        }
        assert_eq!(refused(Method::Unknown, "/", "").status, 405);
        for path in [
            "/",
            "/ws",
            "/health/",
            "/health/dependencies/",
            "/health/dependencies/a/b",
            "/health/dependencies/a/probe/",
        ] {
            assert_eq!(refused(Method::Get, path, "").status, 404, "{path}");
        }
    }

    #[test]
    fn an_order_is_read_whole_or_refused_with_what_to_send() {
        let path = "/health/dependencies/db.1/force";
        let order = wish(Method::Post, path, br#"{"to":"open","minutes":1440}"#);
        let expected = Action::Force("db.1".into(), Forced::Open, Duration::from_secs(86_400));
        assert_eq!(order, Ok(Wish::Ask(Ask::Act(expected))));
        for (body, named) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            (r#"{"to":"shut","minutes":1}"#, "to must be"),
            (r#"{"to":"open"}"#, "minutes must be"),
            (r#"{"to":"open","minutes":0}"#, "minutes must be"),
            (r#"{"to":"open","minutes":1441}"#, "minutes must be"),
            (r#"{"to":"open","minutes":1.5}"#, "minutes must be"),
            (r#"{"to":"open","minutes":1,"why":"x"}"#, "unknown member"),
        ] {
            let refusal = refused(Method::Post, path, body);
            assert_eq!(refusal.status, 400, "{body}");
            assert!(
                refusal.message.contains(named) && refusal.message.contains(FORCE),
                "{}",
                refusal.message
            );
            serde_json::from_str::<Value>(&refusal.body()).expect("JSON");
        }
        let observe = wish(Method::Put, "/health/admission", br#"{"mode":"observe"}"#);
        assert_eq!(observe, Ok(Wish::Ask(Ask::Act(Action::Admission(AdmissionMode::Observe)))));
        assert_eq!(refused(Method::Put, "/health/admission", r#"{"mode":"off"}"#).status, 400);
    }
}
