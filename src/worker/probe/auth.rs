//! An auth service: the very questions that work asks it.
//!
//! It is asked about a token that nobody issued and must say that it is not active; its key set is fetched and must have a usable
//! key. So a service that answers `/health` and judges nobody is seen, and one that believes everything as well.

use super::target::AuthTarget;
use crate::auth::introspection::is_active;
use crate::health::finding::Fault;
use crate::worker::browser::Browser;
use crate::worker::line::trouble::Trouble;
use std::time::Instant;

/// What nobody issued.
const MADE_UP: &str = "seawall-probe-asks-about-a-token-that-nobody-issued";

pub(super) fn look(
    browser: &Browser,
    target: &AuthTarget,
    deadline: Instant,
) -> Result<Option<String>, Trouble> {
    if let Some(endpoint) = &target.introspection {
        let body =
            endpoint.introspect(browser, MADE_UP, deadline).map_err(|unanswered| unanswered.trouble)?;
        match is_active(&body) {
            Ok(false) => {}
            Ok(true) => {
                return Err(endpoint.trouble(Fault::Field, "says that a token is active which nobody issued"));
            }
            Err(no_answer) => return Err(endpoint.trouble(Fault::Field, no_answer.text())),
        }
    }
    if let Some(endpoint) = &target.key_set {
        endpoint.key_set(browser, deadline)?;
    }
    Ok(None)
}
