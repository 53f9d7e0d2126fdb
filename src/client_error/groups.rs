//! All groups, and the shares of reporters.

use super::fingerprint::{Fingerprint, fingerprint};
use super::group::{ErrorGroup, Mute};
use super::reporter::Reporter;
use crate::clock::{Moment, Now};
use crate::rate::{Meter, Rate};
use crate::wire::command::{ErrorLevel, ReportedError};
use std::collections::BTreeMap;
use std::time::Duration;

/// Groups that are kept. With one more, the group that was seen least recently goes.
pub const GROUPS_MAX: usize = 512;
/// Groups that one party alone has reported. With one more, its own that was seen least recently goes.
const GROUPS_OF_PARTY: usize = GROUPS_MAX / 8;
/// Reporters with a share. Without room a report is refused for [`NO_ROOM`].
const SHARES_MAX: usize = 4_096;
const NO_ROOM: Duration = Duration::from_secs(10);
/// New groups of an instance: 20 a minute, and 128 after a pause, so that the queues of two clients that were away fit.
const NEW_GROUPS: (Duration, u32) = (Duration::from_secs(3), 128);
/// New groups of one user, or of one address without users: half of the rate, and one full queue of a client after a pause.
const NEW_GROUPS_OF_PARTY: (Duration, u32) = (Duration::from_secs(6), 64);
/// Reports of one address without users: eight times those of one connection.
const REPORTS_OF_ADDRESS: (Duration, u32) = (Duration::from_millis(12_500), 32);

/// The errors of one report that were counted, and that were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportOutcome {
    pub accepted: u16,
    /// Left out for good, because too many new groups came.
    pub dropped: u16,
    /// With it, nothing was taken, and the report may come again after this time.
    pub wait: Option<Duration>,
}

/// The outcome of a report, and the groups that are worth a log line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenReport {
    pub outcome: ReportOutcome,
    pub logs: Vec<WorthLogging>,
}

/// A group that is new, or reached 10, 100, 1,000 … errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorthLogging {
    pub fingerprint: Fingerprint,
    pub count: u64,
}

/// Errors that were not counted, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts {
    /// By clients, whose queues were full.
    pub by_clients: u64,
    /// Too many new groups.
    pub new_groups: u64,
}

/// The use of one reporter's share.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    reports: Meter,
    new_groups: Meter,
}

/// The groups of one instance.
#[derive(Debug, Default)]
pub struct ClientErrors {
    groups: BTreeMap<Fingerprint, ErrorGroup>,
    shares: BTreeMap<u64, Share>,
    new_groups: Meter,
    dropped: DropCounts,
    /// Errors by level, indexed by [`ErrorLevel`].
    by_level: [u64; ErrorLevel::ALL.len()],
}

impl ClientErrors {
    /// Takes the errors of a report. `client` is the name of the reporter's client; `dropped` is what the client left out.
    pub fn take(
        &mut self,
        reporter: Reporter,
        client: &str,
        (errors, dropped): (&[ReportedError<'_>], u32),
        now: Now,
    ) -> TakenReport {
        let mut taken = TakenReport::default();
        if let Err(wait) = self.admit_report(reporter, now.at) {
            taken.outcome.wait = Some(wait);
            return taken;
        }
        self.dropped.by_clients = self.dropped.by_clients.saturating_add(dropped.into());
        for error in errors {
            let name = fingerprint(&error.name, &error.message, &error.stack);
            if !self.groups.contains_key(&name) {
                if !self.admit_group(reporter, now.at) {
                    taken.outcome.dropped = taken.outcome.dropped.saturating_add(1);
                    self.dropped.new_groups = self.dropped.new_groups.saturating_add(error.count.into());
                    continue;
                }
                self.make_room(reporter.party);
            }
            let new = || ErrorGroup::new(name, error, reporter, now.unix_ms);
            let group = self.groups.entry(name).or_insert_with(new);
            let before = group.add(error, reporter, client, now.unix_ms);
            if is_worth_logging(before, group.count) && !group.is_muted(now.unix_ms) {
                taken.logs.push(WorthLogging { fingerprint: name, count: group.count });
            }
            if let Some(count) = self.by_level.get_mut(error.level as usize) {
                *count = count.saturating_add(error.count.into());
            }
            taken.outcome.accepted = taken.outcome.accepted.saturating_add(1);
        }
        taken
    }

    /// Counts a report of a client without a user's name. Those of users were counted by their sessions.
    fn admit_report(&mut self, reporter: Reporter, now: Moment) -> Result<(), Duration> {
        if self.shares.len() >= SHARES_MAX && !self.shares.contains_key(&reporter.party) {
            let rested = |share: &Share| share.reports.at_rest(now) && share.new_groups.at_rest(now);
            self.shares.retain(|_, share| !rested(share));
            if self.shares.len() >= SHARES_MAX {
                return Err(NO_ROOM);
            }
        }
        let share = self.shares.entry(reporter.party).or_default();
        match reporter.has_name {
            true => Ok(()),
            false => share.reports.admit(rate(REPORTS_OF_ADDRESS), now),
        }
    }

    fn admit_group(&mut self, reporter: Reporter, now: Moment) -> bool {
        let Some(share) = self.shares.get_mut(&reporter.party) else { return false };
        let own = rate(NEW_GROUPS_OF_PARTY);
        if share.new_groups.admit(own, now).is_err() {
            return false;
        }
        let is_admitted = self.new_groups.admit(rate(NEW_GROUPS), now).is_ok();
        if !is_admitted {
            share.new_groups.give_back(own, 1);
        }
        is_admitted
    }

    fn make_room(&mut self, party: u64) {
        let is_own = |group: &&ErrorGroup| group.holder == Some(party);
        let uses_share = self.groups.values().filter(is_own).count() >= GROUPS_OF_PARTY;
        if uses_share || self.groups.len() >= GROUPS_MAX {
            let may_go = self.groups.values().filter(|group| !uses_share || is_own(group));
            let least = may_go.min_by_key(|group| group.seen_unix_ms).map(|group| group.fingerprint);
            least.and_then(|least| self.groups.remove(&least));
        }
    }

    /// All groups, in no useful order.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &ErrorGroup> {
        self.groups.values()
    }

    pub fn get(&self, name: Fingerprint) -> Option<&ErrorGroup> {
        self.groups.get(&name)
    }

    /// Removes a group. If the error comes again, it is new.
    pub fn forget(&mut self, name: Fingerprint) -> Option<ErrorGroup> {
        self.groups.remove(&name)
    }

    /// Changes whether a group is logged; `None` if there is none.
    pub fn mute(&mut self, name: Fingerprint, mute: Mute) -> Option<&ErrorGroup> {
        let group = self.groups.get_mut(&name)?;
        group.mute = mute;
        Some(group)
    }

    pub fn dropped(&self) -> DropCounts {
        self.dropped
    }

    /// Errors by level, indexed by [`ErrorLevel`].
    pub fn by_level(&self) -> [u64; ErrorLevel::ALL.len()] {
        self.by_level
    }
}

fn rate((period, burst): (Duration, u32)) -> Rate {
    Rate::every(period, burst)
}

/// True for the first errors of a group, and if the count passed 10, 100, 1,000 …
fn is_worth_logging(before: u64, count: u64) -> bool {
    before == 0 || count.checked_ilog10() > before.checked_ilog10()
}

#[cfg(test)]
mod tests {
    use super::super::group::{GROUP_BYTES_MAX, RELEASES_MAX, USERS_MAX};
    use super::*;
    use proptest::prelude::*;

    const CLIENT: &str = "web/1.4.2";

    fn at(seconds: u64) -> Now {
        Now {
            at: Moment::from_micros((3_600 + seconds) * 1_000_000),
            unix_ms: 1_795_343_000_000 + seconds * 1_000,
        }
    }

    fn error(name: &str, count: u32) -> ReportedError<'static> {
        ReportedError { name: name.to_owned().into(), message: "m".into(), count, ..ReportedError::default() }
    }

    fn take(errors: &mut ClientErrors, user: &str, names: &[&str], now: Now) -> TakenReport {
        let all: Vec<_> = names.iter().map(|name| error(name, 1)).collect();
        errors.take(Reporter::user(user), CLIENT, (&all, 0), now)
    }

    /// Letters, because digits do not count.
    fn name(number: usize) -> String {
        number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
    }

    #[test]
    fn same_error_is_one_group_with_its_people_releases_and_samples() {
        let mut errors = ClientErrors::default();
        for number in 0..80_u64 {
            let context = vec![("release".into(), format!("web {}", number / 8).into())];
            let one = ReportedError { message: format!("{number} left").into(), context, ..error("E", 1) };
            let all = [one];
            errors.take(Reporter::user(&format!("u{number}")), CLIENT, (&all, 0), at(number));
        }
        let group = errors.groups().next().expect("one");
        assert_eq!((errors.groups().len(), group.count, group.users()), (1, 80, (USERS_MAX, true)));
        assert_eq!((&*group.first.message, &*group.newest.message), ("0 left", "79 left"));
        assert_eq!((group.releases.len(), &*group.releases[0]), (RELEASES_MAX, "web 2"));
        assert_eq!(group.hours.read(at(80).unix_ms).iter().sum::<u32>(), 80);
    }

    #[test]
    fn group_is_logged_when_it_is_new_and_at_powers_of_ten_unless_it_is_muted() {
        let mut errors = ClientErrors::default();
        let logged = |errors: &mut ClientErrors, count| {
            let all = [error("E", count)];
            let logs = errors.take(Reporter::user("u"), CLIENT, (&all, 0), at(0)).logs;
            logs.first().map(|log| log.count)
        };
        assert_eq!(
            [1, 1, 8, 1, 989, 1].map(|count| logged(&mut errors, count)),
            [Some(1), None, Some(10), None, Some(1_000), None]
        );
        let name = errors.groups().next().expect("one").fingerprint;
        errors.mute(name, Mute::Until(at(60).unix_ms));
        assert_eq!(logged(&mut errors, 100_000), None);
        assert_eq!(errors.get(name).expect("kept").count, 101_001);
        assert!(errors.forget(name).is_some() && errors.forget(name).is_none());
        assert_eq!(logged(&mut errors, 1), Some(1), "it is new again");
    }

    #[test]
    fn one_user_leaves_room_for_new_groups_of_others() {
        let mut errors = ClientErrors::default();
        let names: Vec<String> = (0..300).map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let outcome = take(&mut errors, "mallory", &names[..100], at(0)).outcome;
        assert_eq!((outcome.accepted, outcome.dropped), (64, 36));
        assert_eq!(take(&mut errors, "ann", &names[100..150], at(0)).outcome.accepted, 50, "a full queue");
        assert_eq!(
            take(&mut errors, "bob", &names[150..200], at(0)).outcome.accepted,
            14,
            "all 128 are used"
        );
        assert_eq!(take(&mut errors, "bob", &names[200..250], at(60)).outcome.accepted, 20, "20 a minute");
        assert_eq!(take(&mut errors, "bob", &names[..1], at(60)).outcome.accepted, 1, "a known one");
        assert_eq!(errors.dropped().new_groups, 36 + 36 + 30);
    }

    #[test]
    fn one_user_replaces_its_own_groups_and_none_of_others() {
        let mut errors = ClientErrors::default();
        take(&mut errors, "ann", &["of ann"], at(0));
        for number in 0..600 {
            take(&mut errors, "mallory", &[&name(number)], at(10 + number as u64 * 10));
        }
        assert!(errors.get(fingerprint("of ann", "m", "")).is_some());
        assert_eq!(errors.groups().len(), 1 + GROUPS_OF_PARTY);
    }

    #[test]
    fn clients_of_one_address_share_their_reports() {
        let mut errors = ClientErrors::default();
        let all = [error("E", 1)];
        let mut send = |connection, address: [u8; 4], seconds| {
            let reporter = Reporter::anonymous(connection, Some(address.into()));
            errors.take(reporter, CLIENT, (&all, 0), at(seconds)).outcome.wait
        };
        assert!((0..32).all(|connection| send(connection, [10, 0, 0, 1], 0).is_none()));
        assert_eq!(send(40, [10, 0, 0, 1], 0), Some(Duration::from_millis(12_500)));
        assert_eq!(send(40, [10, 0, 0, 2], 0), None);
        assert_eq!(send(40, [10, 0, 0, 1], 13), None);
    }

    #[test]
    fn group_that_was_seen_least_recently_goes_first() {
        let mut errors = ClientErrors::default();
        for number in 0..GROUPS_MAX {
            take(&mut errors, &format!("u{number}"), &[&name(number)], at(number as u64 * 3));
        }
        let end = GROUPS_MAX as u64 * 3;
        take(&mut errors, "u", &["a"], at(end));
        take(&mut errors, "u", &["new"], at(end));
        let has = |name: &str| errors.get(fingerprint(name, "m", "")).is_some();
        assert!(has("a") && !has("b") && has("new") && errors.groups().len() == GROUPS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn bounds_hold_and_counts_add_up_whatever_is_reported(
            reports in proptest::collection::vec((0_u8..6, proptest::collection::vec(("[a-e]{1,2}", ("(é|x|\\PC){0,3}", 0_usize..900), 1_u32..2_000), 1..6), 0_u64..30), 1..40),
        ) {
            let (mut errors, mut accepted, mut seconds) = (ClientErrors::default(), 0_u64, 0);
            for (user, all, pause) in reports {
                seconds += pause;
                let all: Vec<_> = all.iter().map(|(name, (text, times), count)| ReportedError {
                    stack: text.repeat(9 * times).into(),
                    component: text.repeat(*times).into(),
                    context: vec![(text.repeat(*times).into(), text.repeat(*times).into()); 9],
                    count: *count,
                    ..error(name, 1)
                }).collect();
                let reporter = match user {
                    0 => Reporter::anonymous(7, None),
                    user => Reporter::user(&user.to_string()),
                };
                let outcome = errors.take(reporter, &"c".repeat(99), (&all, 3), at(seconds)).outcome;
                match outcome.wait {
                    Some(_) => prop_assert_eq!((outcome.accepted, outcome.dropped), (0, 0)),
                    None => prop_assert_eq!(usize::from(outcome.accepted + outcome.dropped), all.len()),
                }
                accepted += if outcome.wait.is_some() { 0 } else { all.iter().map(|one| u64::from(one.count)).sum() };
            }
            let groups: u64 = errors.groups().map(|group| group.count).sum();
            prop_assert_eq!(groups + errors.dropped().new_groups, accepted);
            prop_assert_eq!(errors.by_level().iter().sum::<u64>(), groups);
            prop_assert!(errors.groups().len() <= GROUPS_MAX);
            prop_assert!(errors.groups().all(|group| group.bytes() <= GROUP_BYTES_MAX));
        }
    }
}
