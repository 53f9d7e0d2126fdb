//! Sessions, open and ended, for the question why a client was disconnected.

use super::{Admin, AdminRefusal, refuse, tell};
use crate::clock::Now;
use crate::engine::ENDED_MAX;
use crate::id::{InstanceName, UserName};
use crate::job::lookup::{Lookup, SessionRecord, Wanted};
use crate::job::wake::wake;
use crate::job::{Broadcast, Mailbox};
use crate::wire::api::users::{self, UserFacts};
use crate::wire::json;
use crate::wire::request::Method;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest wait for all reactors.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    /// Answers where a user is connected, over all instances.
    pub(super) fn user(&self, out: &mut Vec<u8>, method: Method, user: UserName) {
        let is_blocked = self.orders.is_blocked(&user);
        let Some(found) = self.users.look_up(vec![user]).and_then(|mut found| found.pop()) else {
            return refuse(out, method, &AdminRefusal::registry_silent());
        };
        let mut body = Vec::with_capacity(256);
        let facts = UserFacts { is_blocked, is_complete: found.is_complete };
        users::user(&mut body, &found.answer(), facts);
        tell(out, method, 200, "application/json", &String::from_utf8_lossy(&body));
    }

    pub(super) fn look_up(&self, out: &mut Vec<u8>, method: Method, wanted: Wanted) {
        let Some(sessions) = ask_reactors(&self.mailboxes, wanted.clone()) else {
            return refuse(out, method, &AdminRefusal::reactor_silent());
        };
        match (sessions.is_empty(), wanted) {
            (true, Wanted::Connection(connection)) => {
                let message = elsewhere(connection, &self.instance, &self.monitor.instances());
                refuse(out, method, &AdminRefusal::unknown_session(message));
            }
            (true, Wanted::User(_)) | (false, _) => {
                tell(out, method, 200, "application/json", &body(&self.instance, &sessions));
            }
        }
    }
}

/// Asks all reactors; `None` if one did not answer within a second.
#[allow(clippy::disallowed_methods, reason = "the admin threads own the time of their waits")]
fn ask_reactors(mailboxes: &[Mailbox], wanted: Wanted) -> Option<Vec<SessionRecord>> {
    let (lookup, answers) = Lookup::new(wanted, mailboxes.len());
    for mailbox in mailboxes {
        mailbox.offer(Broadcast::Lookup(lookup.clone()));
        wake(mailbox);
    }
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut found = Vec::new();
    for _ in mailboxes {
        found.extend(answers.recv_deadline(deadline).ok()?);
    }
    // The open ones first, then by their end.
    found.sort_by_key(|session| Reverse(session.end.as_ref().map_or(u64::MAX, |end| end.unix_ms)));
    Some(found)
}

/// Says where to look for a connection that this instance does not know.
fn elsewhere(connection: u64, instance: &str, others: &[Arc<str>]) -> String {
    let tag = (connection >> 48) as u16;
    if tag == InstanceName::tag(instance) {
        return format!(
            "{instance} does not know this connection: its session never opened, or it ended before the last {ENDED_MAX} \
             of its reactor or before this process started"
        );
    }
    let named: Vec<&str> =
        others.iter().filter(|name| InstanceName::tag(name) == tag).map(|name| &**name).collect();
    match named.as_slice() {
        [] => format!("this connection is of another instance than {instance}; connected.instance names it"),
        named => format!("this connection is of {}: ask there", named.join(" or ")),
    }
}

fn body(instance: &str, sessions: &[SessionRecord]) -> String {
    let mut out = Vec::with_capacity(256 * (sessions.len() + 1));
    json::object(&mut out, |out| {
        json::text(out, "instance", instance);
        json::key(out, "sessions");
        out.push(b'[');
        for (at, session) in sessions.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            json::object(out, |out| members(out, session));
        }
        out.push(b']');
    });
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}

fn members(out: &mut Vec<u8>, session: &SessionRecord) {
    json::text(out, "connection", &format!("{:016x}", session.connection));
    json::text(out, "user", &session.user);
    json::text(out, "client", &session.client);
    json::text(out, "address", &session.address.to_string());
    json::integer(out, "opened_unix_ms", session.opened_unix_ms);
    json::text(out, "state", if session.end.is_some() { "ended" } else { "open" });
    if let Some(end) = &session.end {
        json::integer(out, "ended_unix_ms", end.unix_ms);
        json::integer(out, "code", end.code.into());
        json::text(out, "reason", end.reason);
        json::text(out, "reference", &end.reference);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::lookup::SessionEnd;
    use serde_json::{Value, json};

    #[test]
    fn connection_of_another_instance_is_named() {
        let connection = u64::from(InstanceName::tag("gw-2")) << 48 | 7;
        let others = [Arc::from("gw-3"), Arc::from("gw-2")];
        assert!(elsewhere(connection, "gw-1", &others).contains("is of gw-2: ask there"));
        assert!(elsewhere(connection, "gw-1", &[]).contains("another instance than gw-1"));
        assert!(elsewhere(connection, "gw-2", &others).contains("never opened"));
    }

    #[test]
    fn answer_lists_open_and_ended_sessions() {
        let open = SessionRecord {
            connection: 255,
            user: "ann".into(),
            client: "demo/1".into(),
            address: [192, 0, 2, 7].into(),
            opened_unix_ms: 5,
            end: None,
        };
        let end = SessionEnd { unix_ms: 9, code: 4408, reason: "write_stalled", reference: "".into() };
        let ended = SessionRecord { end: Some(end), ..open.clone() };
        let body: Value = serde_json::from_str(&body("gw-1", &[open, ended])).expect("JSON");
        assert_eq!(body["instance"], "gw-1");
        assert_eq!(body["sessions"][0]["connection"], "00000000000000ff");
        assert_eq!(body["sessions"][0]["state"], "open");
        let ended = &body["sessions"][1];
        assert_eq!((&ended["code"], &ended["reason"]), (&json!(4408), &json!("write_stalled")));
    }
}
