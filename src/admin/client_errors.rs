//! Errors of clients for operators, and orders about their groups.

use super::client_error_path::ErrorQuestion;
use super::refusal::AdminRefusal;
use super::{Admin, refuse, tell};
use crate::client_error::{ClientErrors, ErrorGroup, ErrorSample, Fingerprint, GROUPS_MAX, Mute};
use crate::clock::Now;
use crate::wire::request::Method;
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::net::SocketAddr;

const MS_PER_HOUR: u64 = 3_600_000;

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    pub(super) fn client_errors(
        &self,
        out: &mut Vec<u8>,
        method: Method,
        question: ErrorQuestion,
        peer: SocketAddr,
    ) {
        let unix_ms = (self.clock)().unix_ms;
        let mut errors = self.metrics.client_errors.lock();
        let body = match question {
            ErrorQuestion::All => Some(all(&errors, unix_ms)),
            ErrorQuestion::One(name) => errors.get(name).map(|group| whole(group, unix_ms)),
            ErrorQuestion::Forget(name) => errors.forget(name).map(|group| head(&group, unix_ms)),
            ErrorQuestion::Mute(name, hours) => {
                let mute = match hours {
                    0 => Mute::Off,
                    hours => Mute::Until(unix_ms + hours * MS_PER_HOUR),
                };
                errors.mute(name, mute).map(|group| head(group, unix_ms))
            }
        };
        drop(errors);
        let Some(body) = body else { return refuse(out, method, &AdminRefusal::unknown_error()) };
        match question {
            ErrorQuestion::All | ErrorQuestion::One(_) => {}
            ErrorQuestion::Forget(name) => self.note_error_order(name, "forgotten", peer),
            ErrorQuestion::Mute(name, 0) => self.note_error_order(name, "unmuted", peer),
            ErrorQuestion::Mute(name, _) => self.note_error_order(name, "muted", peer),
        }
        tell(out, method, 200, "application/json", &format!("{body}\n"));
    }

    fn note_error_order(&self, fingerprint: Fingerprint, done: &str, peer: SocketAddr) {
        self.metrics.admin.count_action("client-error");
        tracing::info!(%peer, %fingerprint, done, "client error changed by operator");
    }
}

/// The groups without their samples, the newest first.
fn all(errors: &ClientErrors, unix_ms: u64) -> Value {
    let mut groups: Vec<&ErrorGroup> = errors.groups().collect();
    groups.sort_by_key(|group| Reverse((group.seen_unix_ms, group.count)));
    let dropped = errors.dropped();
    json!({
        "groups": groups.into_iter().map(|group| head(group, unix_ms)).collect::<Vec<_>>(),
        "groups_max": GROUPS_MAX,
        "dropped": {"client": dropped.by_clients, "new_groups": dropped.new_groups},
    })
}

fn head(group: &ErrorGroup, unix_ms: u64) -> Value {
    let (users, more) = group.users();
    let muted_until = match group.mute {
        Mute::Until(end) if end > unix_ms => Some(end),
        Mute::Until(_) | Mute::Off => None,
    };
    json!({
        "fingerprint": group.fingerprint.to_string(),
        "name": group.name,
        "message": group.newest.message,
        "levels": group.levels().map(|level| level.as_str()).collect::<Vec<_>>(),
        "count": group.count,
        "users": users,
        "users_more": more,
        "releases": group.releases,
        "since": group.since_unix_ms,
        "seen": group.seen_unix_ms,
        "hours": group.hours.read(unix_ms),
        "muted_until": muted_until,
    })
}

fn whole(group: &ErrorGroup, unix_ms: u64) -> Value {
    let mut value = head(group, unix_ms);
    value["first"] = sample(&group.first);
    value["newest"] = sample(&group.newest);
    value
}

fn sample(sample: &ErrorSample) -> Value {
    let context: Map<String, Value> =
        sample.context.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
    json!({"message": sample.message, "stack": sample.stack, "component": sample.component, "context": context})
}
