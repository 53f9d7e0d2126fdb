//! An auth service, asked the same questions that real work asks it.
//!
//! It must say that a made-up token is not active, and its key set must have a usable key. This detects a service that answers
//! `/health` but judges no token, and one that accepts every token. A service may know at once that a made-up token is not its
//! own, so it is also asked about the last token that it called active, if there is one. Any answer to that is good: the token
//! may have expired or been revoked.

use crate::auth::introspection::is_active;
use crate::health::finding::Fault;
use crate::net::auth_endpoint::{Blame, Endpoint, FailedRequest};
use crate::net::http_client::HttpClient;
use crate::net::target::AuthTarget;
use crate::net::trouble::Trouble;
use std::time::Instant;

/// A token that no service issued.
const MADE_UP: &str = "seawall-probe-asks-about-a-token-that-no-service-issued";

pub(super) fn look(
    browser: &HttpClient,
    target: &AuthTarget,
    known_token: Option<&str>,
    deadline: Instant,
) -> Result<Option<String>, Trouble> {
    if let Some(endpoint) = &target.introspection {
        let body =
            endpoint.introspect(browser, MADE_UP, deadline).map_err(|unanswered| unanswered.trouble)?;
        match is_active(&body) {
            Ok(false) => {}
            Ok(true) => {
                return Err(endpoint.trouble(Fault::Field, "reports a made-up token as active"));
            }
            Err(no_answer) => return Err(endpoint.trouble(Fault::Field, no_answer.text())),
        }
        if let Some(token) = known_token {
            ask_about(browser, endpoint, token, deadline)?;
        }
    }
    if let Some(endpoint) = &target.key_set {
        endpoint.key_set(browser, deadline)?;
    }
    Ok(None)
}

/// Asks about a token that the service knows, or knew.
fn ask_about(
    browser: &HttpClient,
    endpoint: &Endpoint,
    token: &str,
    deadline: Instant,
) -> Result<(), Trouble> {
    match endpoint.introspect(browser, token, deadline) {
        Ok(body) => {
            is_active(&body).map(drop).map_err(|no_answer| endpoint.trouble(Fault::Field, no_answer.text()))
        }
        Err(FailedRequest { blame: Blame::Request, .. }) => Ok(()),
        Err(FailedRequest { trouble, blame: Blame::Service }) => Err(trouble),
    }
}
