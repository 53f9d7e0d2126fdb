//! Events that concern security, on the log target `audit`.
//!
//! A stranger can cause each of them as often as it likes. So the first of a kind and subject (an address, say, or an origin) is
//! logged at once, and the others of the next minute as one line with their `count`. Each kind has at most [`SUBJECTS_MAX`]
//! subjects at a time; all further ones share the subject `other`. The log's own thread keeps the counts, so reporting an
//! event costs a reactor no more than a line.

use crate::close::{CloseReason, Reported};
use crate::id::UserName;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The period of one subject's lines.
const PERIOD: Duration = Duration::from_secs(60);
/// The subjects of one kind that are counted separately.
const SUBJECTS_MAX: usize = 64;
/// The subject of all others.
const OTHER: &str = "other";

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditEvent {
    /// An upgrade was refused because of its page's origin.
    OriginRefused { origin: String, host: String, address: IpAddr },
    /// An upgrade was refused because of its `Host`.
    HostRefused { host: String, address: IpAddr },
    /// A connection was dropped at its PROXY header.
    ProxyHeaderRefused { fault: &'static str, address: IpAddr },
    /// A request to the admin listener had no token or a wrong one.
    AdminTokenRefused { address: IpAddr },
    /// A request to the server API had no key or a wrong one.
    ApiKeyRefused { address: IpAddr },
    /// A token was refused.
    TokenRefused(Box<RefusedToken>),
    /// The bound of this setting refused a client. `user` is `None` if it was not known yet.
    OverLimit { bound: &'static str, user: Option<UserName>, address: IpAddr },
    /// The gateway ended a session because of what its client did or lost.
    SessionEnded { reason: CloseReason, user: Option<UserName>, address: IpAddr },
    /// Other keys judge tokens than before. Each list names keys by `kid`, separated by commas.
    KeysChanged { setting: &'static str, added: String, removed: String },
}

/// A refused token. It has no part of the token but its `kid`, and, if a trusted key signed it, its `sub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedToken {
    pub fault: &'static str,
    /// The command that brought it.
    pub command: &'static str,
    /// The `kid` of its header, which anybody can write.
    pub kid: Option<String>,
    /// `sub` if the signature is good, or the user of the session that presented it.
    pub user: Option<UserName>,
    pub address: IpAddr,
}

/// The thing that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Origin,
    Host,
    ProxyHeader,
    AdminToken,
    ApiKey,
    /// By its fault.
    Token(&'static str),
    /// By the setting.
    Limit(&'static str),
    /// By the word of its reason.
    End(&'static str),
    Keys,
}

impl AuditEvent {
    fn kind(&self) -> Kind {
        match self {
            AuditEvent::OriginRefused { .. } => Kind::Origin,
            AuditEvent::HostRefused { .. } => Kind::Host,
            AuditEvent::ProxyHeaderRefused { .. } => Kind::ProxyHeader,
            AuditEvent::AdminTokenRefused { .. } => Kind::AdminToken,
            AuditEvent::ApiKeyRefused { .. } => Kind::ApiKey,
            AuditEvent::TokenRefused(token) => Kind::Token(token.fault),
            AuditEvent::OverLimit { bound, .. } => Kind::Limit(bound),
            AuditEvent::SessionEnded { reason, .. } => Kind::End(reason.word()),
            AuditEvent::KeysChanged { .. } => Kind::Keys,
        }
    }

    fn subject(&self) -> String {
        match self {
            AuditEvent::OriginRefused { origin, .. } => origin.clone(),
            AuditEvent::HostRefused { address, .. }
            | AuditEvent::AdminTokenRefused { address }
            | AuditEvent::ApiKeyRefused { address }
            | AuditEvent::OverLimit { address, .. }
            | AuditEvent::SessionEnded { address, .. } => address.to_string(),
            AuditEvent::TokenRefused(token) => token.address.to_string(),
            AuditEvent::ProxyHeaderRefused { fault, .. } => (*fault).into(),
            AuditEvent::KeysChanged { setting, added, removed } => format!("{setting} {added} {removed}"),
        }
    }

    /// Logs the event with the number of its like.
    fn log(&self, subject: &str, count: u64) {
        match self {
            AuditEvent::OriginRefused { host, address, .. } => {
                tracing::warn!(target: "audit", origin = subject, host, %address, count, "origin refused");
            }
            AuditEvent::HostRefused { host, .. } => {
                tracing::warn!(target: "audit", host, address = subject, count, "host refused");
            }
            AuditEvent::ProxyHeaderRefused { address, .. } => {
                tracing::warn!(target: "audit", fault = subject, %address, count, "PROXY header refused");
            }
            AuditEvent::AdminTokenRefused { .. } => {
                tracing::warn!(target: "audit", address = subject, count, "admin token refused");
            }
            AuditEvent::ApiKeyRefused { .. } => {
                tracing::warn!(target: "audit", address = subject, count, "API key refused");
            }
            AuditEvent::TokenRefused(token) => {
                let RefusedToken { fault, command, kid, user, address: _ } = &**token;
                let (kid, user) = (kid.as_deref(), user.as_ref().map(UserName::as_str));
                tracing::warn!(target: "audit", fault, command, kid, user, address = subject, count, "token refused");
            }
            AuditEvent::OverLimit { bound, user, .. } => {
                let user = user.as_ref().map(UserName::as_str);
                tracing::warn!(target: "audit", limit = bound, user, address = subject, count, "over limit");
            }
            AuditEvent::SessionEnded { reason, user, .. } => {
                let (code, detail) = (reason.code(), reason.detail());
                let (word, user) = (reason.word(), user.as_ref().map(UserName::as_str));
                match reason.reported() {
                    Reported::Silence => {
                        tracing::info!(target: "audit", reason = word, code, user, address = subject, count, "session ended");
                    }
                    Reported::None | Reported::Limit(_) | Reported::Cause => tracing::warn!(
                        target: "audit", reason = word, code, detail, user, address = subject, count, "session ended"
                    ),
                }
            }
            AuditEvent::KeysChanged { setting, added, removed } => {
                tracing::warn!(target: "audit", setting, added, removed, count, "keys changed");
            }
        }
    }
}

/// The counts of the current minutes. Times are since the start of the log.
#[derive(Debug, Default)]
pub(super) struct Audit {
    subjects: BTreeMap<(Kind, String), SubjectCount>,
}

#[derive(Debug)]
struct SubjectCount {
    /// The last event, for the fields of the next line.
    last: AuditEvent,
    logged: Duration,
    count: u64,
}

impl Audit {
    /// Takes an event, and logs it if it is the first of its subject.
    pub(super) fn take(&mut self, event: AuditEvent, now: Duration) {
        if let Some((event, subject)) = self.note(event, now) {
            event.log(&subject, 1);
        }
    }

    /// Logs what was counted in the minutes that are over.
    pub(super) fn report(&mut self, now: Duration) {
        for (event, subject, count) in self.due(now) {
            event.log(&subject, count);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.subjects.is_empty()
    }

    /// Counts an event; returns it with its subject if it must be logged now.
    fn note(&mut self, event: AuditEvent, now: Duration) -> Option<(AuditEvent, String)> {
        let kind = event.kind();
        let mut key = (kind, event.subject());
        let kinds = (kind, String::new())..;
        let used = || self.subjects.range(kinds).take_while(|((other, _), _)| *other == kind).count();
        if !self.subjects.contains_key(&key) && used() >= SUBJECTS_MAX {
            key.1 = OTHER.into();
        }
        match self.subjects.get_mut(&key) {
            Some(counted) => {
                counted.count += 1;
                counted.last = event;
                None
            }
            None => {
                self.subjects
                    .insert(key.clone(), SubjectCount { last: event.clone(), logged: now, count: 0 });
                Some((event, key.1))
            }
        }
    }

    /// The subjects whose minute is over. One without further events is forgotten.
    fn due(&mut self, now: Duration) -> Vec<(AuditEvent, String, u64)> {
        let mut due = Vec::new();
        self.subjects.retain(|(_, subject), counted| {
            if counted.logged + PERIOD > now {
                return true;
            }
            let count = std::mem::take(&mut counted.count);
            counted.logged = now;
            if count > 0 {
                due.push((counted.last.clone(), subject.clone(), count));
            }
            count > 0
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &str) -> AuditEvent {
        let address = IpAddr::from([192, 0, 2, 1]);
        AuditEvent::OriginRefused { origin: origin.into(), host: "gateway".into(), address }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn first_event_is_logged_at_once_and_the_others_of_its_minute_as_a_count() {
        let mut audit = Audit::default();
        assert!(audit.note(from("http://a"), s(0)).is_some());
        for _ in 0..999 {
            assert!(audit.note(from("http://a"), s(30)).is_none());
        }
        assert!(audit.note(from("http://b"), s(30)).is_some(), "another subject");
        assert!(audit.due(s(59)).is_empty());
        let due: Vec<u64> = audit.due(s(60)).into_iter().map(|(_, _, count)| count).collect();
        assert_eq!(due, [999]);
        assert!(audit.due(s(120)).is_empty(), "a quiet minute has no line");
        assert!(audit.is_idle(), "and its subject is forgotten");
    }

    #[test]
    fn subjects_over_the_bound_share_one_line() {
        let mut audit = Audit::default();
        let logged: Vec<String> = (0..10_000)
            .filter_map(|number| audit.note(from(&format!("http://{number}")), s(1)))
            .map(|(_, subject)| subject)
            .collect();
        assert_eq!(logged.len(), SUBJECTS_MAX + 1);
        assert_eq!(logged.last().map(String::as_str), Some(OTHER));
        assert_eq!(audit.subjects.len(), SUBJECTS_MAX + 1);
    }
}
