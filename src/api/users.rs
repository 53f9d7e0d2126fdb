//! Users: where they are connected.

use super::server::ApiServer;
use crate::auth::api_key::{ApiKey, ApiRight};
use crate::auth::api_meters::ApiUse;
use crate::clock::Now;
use crate::cluster::report::ExactUsers;
use crate::cluster::user_lookup::FoundUser;
use crate::id::UserName;
use crate::job::directory::PendingLookup;
use crate::job::users::{LOOKUP_USERS_MAX, TALLY_USERS_MAX, UserTally};
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::api::users::{self, UserFacts};
use crate::wire::json;
use std::time::Duration;

/// How long an answer to a publication or signal waits for the hint if its user is connected.
const HINT_TIMEOUT: Duration = Duration::from_millis(250);

impl<C: Fn() -> Now> ApiServer<C> {
    /// Finds the user of the path, or without one the users in the body.
    pub(super) fn users(
        &self,
        key: &ApiKey,
        of_path: Option<UserName>,
        text: &str,
    ) -> Result<Vec<u8>, ApiProblem> {
        match of_path {
            Some(user) => self.user(key, user),
            None => self.lookup(key, text),
        }
    }

    /// Finds one user.
    fn user(&self, key: &ApiKey, user: UserName) -> Result<Vec<u8>, ApiProblem> {
        self.admit(key, ApiUse::Users(1))?;
        let is_blocked = self.orders.is_blocked(&user);
        let found =
            self.directory.look_up(vec![user]).and_then(|mut found| found.pop()).ok_or_else(silent)?;
        let mut out = Vec::with_capacity(256);
        users::user(&mut out, &found.answer(), UserFacts { is_blocked, is_complete: found.is_complete });
        Ok(out)
    }

    /// Finds the users that a body names.
    fn lookup(&self, key: &ApiKey, text: &str) -> Result<Vec<u8>, ApiProblem> {
        let wanted = users::lookup(text, LOOKUP_USERS_MAX)?;
        self.admit(key, ApiUse::Users(wanted.len()))?;
        let found = self.directory.look_up(wanted).ok_or_else(silent)?;
        let is_complete = found.iter().all(|user| user.is_complete);
        let mut out = Vec::with_capacity(64 + 64 * found.len());
        json::object(&mut out, |out| {
            users::users(out, found.iter().map(FoundUser::answer));
            json::truth(out, "complete", is_complete);
        });
        out.push(b'\n');
        Ok(out)
    }

    /// Begins to find the user of a publication or signal, while that is under way. A key without the right to find users
    /// learns nothing.
    pub(super) fn begin_hint(&self, key: &ApiKey, user: Option<UserName>) -> Option<PendingLookup> {
        let user = user.filter(|_| key.has(ApiRight::Users))?;
        self.directory.ask(vec![user])
    }

    /// True if the user is connected somewhere; `None` if that is not known.
    pub(super) fn hint(&self, pending: Option<PendingLookup>) -> Option<bool> {
        pending?.wait(HINT_TIMEOUT)?.pop()?.is_online()
    }

    /// The report of the cluster; with `users=exact` each user counts once.
    pub(super) fn cluster(&self, query: &str) -> Result<Vec<u8>, ApiProblem> {
        let report = self.cluster.report();
        match query {
            "" => Ok(report.json(None).into_bytes()),
            "users=exact" => match self.directory.count().ok_or_else(silent)? {
                UserTally::Counted { users, is_complete } => {
                    let users = ExactUsers { exact: users, complete: is_complete };
                    Ok(report.json(Some(users)).into_bytes())
                }
                UserTally::TooMany => {
                    let detail = format!(
                        "the instances have more than {TALLY_USERS_MAX} users, which are too many to count; see users_sum"
                    );
                    Err(ApiProblem::lasting(ProblemCode::TooLarge, detail))
                }
            },
            _ => {
                let detail = "the query takes users=exact only";
                Err(ApiProblem::lasting(ProblemCode::Malformed, detail))
            }
        }
    }
}

fn silent() -> ApiProblem {
    ApiProblem::passing(ProblemCode::Unavailable, "the registry does not answer; repeat the request", 1_000)
}
