//! Reports of users whose connections changed, to the registry.
//!
//! A user is reported by the number of connections, so that a report that is lost is corrected by the next one. Reports that do not
//! fit into the registry's queue wait here; over a bound all users are reported instead.

use crate::auth::census::Census;
use crate::clock::Now;
use crate::cluster::own_users::{CHANGED_MAX, UserCount};
use crate::id::UserName;
use crate::job::registry::RegistrySender;
use crate::job::users::unix_s;
use std::time::Duration;

/// The wait before reports that found no room are sent again.
const RETRY: Duration = Duration::from_millis(50);

/// Reports of the auth worker.
pub(super) struct UserReports {
    /// `None`: there is no registry of users.
    registry: Option<RegistrySender>,
    changed: Vec<UserName>,
    /// More changed than are kept.
    is_recount_due: bool,
}

impl UserReports {
    pub(super) fn new(registry: Option<RegistrySender>) -> UserReports {
        UserReports { registry, changed: Vec::new(), is_recount_due: false }
    }

    /// Notes that the connections of a user changed.
    pub(super) fn note(&mut self, user: &UserName) {
        // `anonymous` is any number of people, who are not counted.
        if self.registry.is_none() || self.is_recount_due || user.is_anonymous() {
            return;
        }
        if self.changed.len() >= CHANGED_MAX {
            self.changed = Vec::new();
            self.is_recount_due = true;
            return;
        }
        self.changed.push(user.clone());
    }

    /// All users are to be reported, because the registry has lost them.
    pub(super) fn want_recount(&mut self) {
        self.is_recount_due = self.registry.is_some();
        self.changed = Vec::new();
    }

    /// The longest wait until reports are sent again.
    pub(super) fn wait(&self) -> Option<Duration> {
        (self.is_recount_due || !self.changed.is_empty()).then_some(RETRY)
    }

    /// Sends what changed, each user once.
    pub(super) fn send(&mut self, census: &Census, now: Now) {
        let Some(registry) = &self.registry else { return };
        if self.is_recount_due {
            let all = census.connected().map(|(user, connections, since_s)| UserCount {
                user: user.clone(),
                connections,
                since_unix_s: unix_s(since_s, now),
            });
            self.is_recount_due = !registry.all_users(all.collect());
            return;
        }
        if self.changed.is_empty() || !registry.has_room() {
            return;
        }
        self.changed.sort_unstable();
        self.changed.dedup();
        let counts = self.changed.drain(..).map(|user| {
            let (connections, since_s) = census.connections(&user);
            UserCount { user, connections, since_unix_s: unix_s(since_s, now) }
        });
        let counts: Vec<UserCount> = counts.collect();
        if let Err(counts) = registry.users(counts) {
            self.changed = counts.into_iter().map(|count| count.user).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::job::registry::RegistryEvent;
    use crate::limits::REGISTRY_EVENTS;

    fn user(name: &str) -> UserName {
        UserName::parse(name).expect("a user name")
    }

    #[test]
    fn changes_that_find_no_room_wait_and_are_sent_with_the_count_of_then() {
        let (sender, events) = RegistrySender::pair();
        let (mut reports, mut census) = (UserReports::new(Some(sender)), Census::new(0, 0, None));
        let now = Now { at: Moment::from_micros(9_000_000), unix_ms: 100_000 };
        let enter = |reports: &mut UserReports, census: &mut Census, name: &str| {
            census.enter_user(&user(name), now.at);
            reports.note(&user(name));
        };
        for n in 0..REGISTRY_EVENTS {
            enter(&mut reports, &mut census, &n.to_string());
            reports.send(&census, now);
        }
        assert_eq!(reports.wait(), None);
        enter(&mut reports, &mut census, "ann");
        reports.send(&census, now);
        assert_eq!(reports.wait(), Some(RETRY));
        enter(&mut reports, &mut census, "ann");
        events.try_iter().for_each(drop);
        reports.send(&census, now);
        let Ok(RegistryEvent::Users(counts)) = events.try_recv() else { panic!("no report") };
        assert_eq!(counts, [UserCount { user: user("ann"), connections: 2, since_unix_s: 100 }]);
        assert_eq!(reports.wait(), None);
    }

    #[test]
    fn too_many_changes_become_a_recount_of_connected_users() {
        let (sender, events) = RegistrySender::pair();
        let (mut reports, mut census) = (UserReports::new(Some(sender)), Census::new(0, 0, None));
        census.enter_user(&user("ann"), Moment::ZERO);
        (0..=CHANGED_MAX).for_each(|n| reports.note(&user(&n.to_string())));
        assert!(reports.changed.is_empty() && reports.is_recount_due);
        reports.send(&census, Now::default());
        let Ok(RegistryEvent::AllUsers(counts)) = events.try_recv() else { panic!("no recount") };
        assert_eq!(counts.iter().map(|count| count.user.as_str()).collect::<Vec<_>>(), ["ann"]);
        assert_eq!(reports.wait(), None);
    }

    #[test]
    fn without_a_registry_or_a_name_nothing_is_kept() {
        let mut reports = UserReports::new(None);
        reports.note(&user("ann"));
        assert!(reports.changed.capacity() == 0 && reports.wait().is_none());
        let mut reports = UserReports::new(Some(RegistrySender::pair().0));
        reports.note(&UserName::anonymous());
        assert!(reports.changed.capacity() == 0 && reports.wait().is_none());
    }
}
