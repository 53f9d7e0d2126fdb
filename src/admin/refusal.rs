//! Refusals of the admin listener: a status, a word for programs, and a sentence that says what to send instead.

use crate::wire::api::problem::ApiProblem;
use crate::wire::json;
use std::fmt::Display;
use std::sync::Arc;

/// A request that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminRefusal {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    word: &'static str,
    pub(super) message: String,
}

impl AdminRefusal {
    pub(super) fn new(status: u16, word: &'static str, message: impl Into<String>) -> AdminRefusal {
        AdminRefusal { status, headers: Vec::new(), word, message: message.into() }
    }

    /// `{"error":"…","message":"…"}`, as on the public listener.
    pub fn body(&self) -> String {
        let mut out = Vec::with_capacity(256);
        json::object(&mut out, |out| {
            json::text(out, "error", self.word);
            json::text(out, "message", &self.message);
        });
        out.push(b'\n');
        String::from_utf8_lossy(&out).into_owned()
    }

    /// True for a token, a key or a code that may be a guess. A tab whose session is over has a key that was right.
    pub(super) fn is_guess(&self) -> bool {
        matches!(self.status, 401 | 429) && self.word != "session_over"
    }

    pub(super) fn unauthorized() -> AdminRefusal {
        AdminRefusal {
            headers: vec![("WWW-Authenticate", "Bearer realm=\"seawall admin\"")],
            ..AdminRefusal::new(
                401,
                "unauthorized",
                "send Authorization: Bearer with the token: admin.token, or the file admin.token in store.data; \
                 the first lines of seawall name it",
            )
        }
    }

    pub(super) fn host_forbidden() -> AdminRefusal {
        AdminRefusal::new(
            403,
            "host_forbidden",
            "on loopback this listener answers to localhost, 127.0.0.1, [::1], its own address and the host of admin.url: \
             use one of these, or add the name to admin.hosts",
        )
    }

    pub(super) fn origin_forbidden() -> AdminRefusal {
        AdminRefusal::new(
            403,
            "origin_forbidden",
            "this listener answers to its own pages only: open /console/ here; a proxy in front must pass Host on unchanged",
        )
    }

    pub(super) fn unknown_outage() -> AdminRefusal {
        AdminRefusal::new(
            404,
            "not_found",
            "no outage at this instance has this reference: it keeps the last 32 of each dependency, until it exits; see the log",
        )
    }

    pub(super) fn method(allow: &'static str) -> AdminRefusal {
        let message = format!("this path takes {allow}");
        AdminRefusal {
            headers: vec![("Allow", allow)],
            ..AdminRefusal::new(405, "method_not_allowed", message)
        }
    }

    pub(super) fn unknown_path() -> AdminRefusal {
        AdminRefusal::new(
            404,
            "not_found",
            "no such path; GET /health/dependencies is one, docs/admin.md lists all, and `seawall --help` the commands for operators",
        )
    }

    pub(super) fn unknown_dependency(known: &[Arc<str>]) -> AdminRefusal {
        let known = known.join(", ");
        AdminRefusal::new(404, "not_found", format!("no dependency has this name; there are: {known}"))
    }

    pub(super) fn unknown_flag(known: &[&str]) -> AdminRefusal {
        let known = known.join(", ");
        AdminRefusal::new(404, "not_found", format!("no flag has this name; there are: {known}"))
    }

    pub(super) fn unknown_route(known: &[&str]) -> AdminRefusal {
        let message = match known {
            [] => "there is no route: add [[relay]] to the configuration".to_owned(),
            known => format!("no route has this name; there are: {}", known.join(", ")),
        };
        AdminRefusal::new(404, "not_found", message)
    }

    pub(super) fn not_of_route(channel: &str, route: &str) -> AdminRefusal {
        let message = format!(
            "{channel} is not a channel of the route {route}: the first [[relay]] whose pattern matches a channel has it"
        );
        AdminRefusal::new(409, "not_of_route", message)
    }

    pub(super) fn unknown_relayed_channel() -> AdminRefusal {
        let message = "the relay knows no such channel: `seawall relay status` and GET /relay list the channels that are stuck";
        AdminRefusal::new(404, "not_found", message)
    }

    pub(super) fn relay_store_silent() -> AdminRefusal {
        let message =
            "the store did not answer within three seconds: see /health/dependencies/store, and ask again";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn relay_skip_silent() -> AdminRefusal {
        let message = "the store did not answer within three seconds, and may move the cursor all the same: \
                       look at GET /relay before it is repeated";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn unknown_error() -> AdminRefusal {
        let message =
            "no group of errors has this name here: GET /client-errors lists them; they end with the process";
        AdminRefusal::new(404, "not_found", message)
    }

    pub(super) fn unknown_objective(known: &[&str]) -> AdminRefusal {
        let known = known.join(", ");
        AdminRefusal::new(404, "not_found", format!("no objective has this name; there are: {known}"))
    }

    pub(super) fn objectives_off() -> AdminRefusal {
        AdminRefusal::new(
            404,
            "not_found",
            "objectives are off here: set slo.enabled, and start the gateway again",
        )
    }

    pub(super) fn unknown_incident(number: u64) -> AdminRefusal {
        let message = format!(
            "no incident with the number {number} is known: GET /alerts lists the open ones and the last 100"
        );
        AdminRefusal::new(404, "not_found", message)
    }

    pub(super) fn objectives_silent() -> AdminRefusal {
        let message = "the thread slo did not answer within two seconds: see the log, and ask again";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn exclusions_silent() -> AdminRefusal {
        let message = "the thread slo did not answer within two seconds, and may carry out the order all the same: \
                       look at GET /slo/exclusions before it is repeated";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn query_wrong(what: &str) -> AdminRefusal {
        AdminRefusal::new(400, "malformed", what)
    }

    pub(super) fn alerts_silent() -> AdminRefusal {
        let message =
            "the thread slo did not answer within two seconds: look at /alerts before it is repeated";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn not_held() -> AdminRefusal {
        let message = "gateway is this process itself: it can be looked at, and not be forced";
        AdminRefusal::new(409, "not_forced", message)
    }

    pub(super) fn no_length() -> AdminRefusal {
        AdminRefusal::new(411, "length_required", "send the body with a Content-Length")
    }

    pub(super) fn body_too_large(bound: usize) -> AdminRefusal {
        AdminRefusal::new(413, "body_too_large", format!("a body has at most {bound} bytes here"))
    }

    pub(super) fn no_answer() -> AdminRefusal {
        let message = "the watch thread did not answer within a second: the process ends or is starved; \
                       an action may have been done all the same, so look before it is repeated";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn reactor_silent() -> AdminRefusal {
        let message = "a reactor did not answer within a second: see /health/live, and ask again";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn registry_silent() -> AdminRefusal {
        let message = "the registry did not answer within 2.5 seconds: see the log, and ask again";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn presence_silent() -> AdminRefusal {
        let message = "the presence thread did not answer within a second: see the log, and ask again";
        AdminRefusal::new(503, "unavailable", message)
    }

    pub(super) fn unknown_order() -> AdminRefusal {
        AdminRefusal::new(
            404,
            "not_found",
            "this instance knows no such order: it keeps the newest 1024, and GET /orders lists the last 50",
        )
    }

    /// The refusal of an order, in the words of the server API.
    pub(super) fn of(problem: &ApiProblem) -> AdminRefusal {
        AdminRefusal::new(problem.code.status(), problem.code.word(), problem.detail.to_string())
    }

    pub(super) fn unknown_session(message: String) -> AdminRefusal {
        AdminRefusal::new(404, "not_found", message)
    }

    pub(super) fn body_wrong(what: impl Display, form: &str) -> AdminRefusal {
        AdminRefusal::new(400, "malformed", format!("{what}; send {form}"))
    }
}
