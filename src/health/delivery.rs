//! Detects whether publications of one instance reach all others, by canaries instead of PING.
//!
//! Every two seconds, each instance commits a canary to the store and sends it over the bus, as it does with
//! publications. Its own canaries must come back to all its reactors. The store also shows which canaries other
//! instances committed; those must have arrived over the bus as well. So a bus that answers PING but delivers
//! nothing, or delivers from one instance only, is detected within seconds.

use super::finding::{Cause, Fault};
use crate::clock::Moment;
use crate::limits::INSTANCES_MAX;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// An own canary that has not come back after this time is lost. It normally takes a few milliseconds. A single
/// canary may be lost because a reactor is busy; the next one corrects that.
pub const OWN_MAX: Duration = Duration::from_secs(3);
/// A canary of another instance that is in the store but has not arrived over the bus after this time is lost. The
/// store may show it nearly one period after its message was due.
pub const OTHER_MAX: Duration = Duration::from_millis(3_500);
/// The same for an own canary in an outage. A later one may not count as on its way: it would be lost just after the recovery,
/// because the next canary is sent up to one period later.
pub const OWN_MAX_IN_OUTAGE: Duration = Duration::from_secs(1);
/// The number of failed probes without a canary between them that are an outage. One may be chance.
const FAILED_PROBES_OF_OUTAGE: u32 = 2;
/// A lost connection must be restored and deliver within this time, or the bus counts as not delivering: a single
/// reset is no outage.
pub const RESTORE_MAX: Duration = Duration::from_secs(2);
/// The bound on pending own canaries. Further ones would be as lost as these.
const PENDING_MAX: usize = 16;

/// After the start, and after each subscription, an instance waits this long for the first canary to come back.
pub const PROOF_MAX: Duration = Duration::from_secs(3);

const LOOK_AT: &str = "Redis: check CLIENT LIST TYPE pubsub for dropped subscribers, the logs, the rights of the user (+@pubsub, channels of bus.prefix), and proxies that do not forward pub/sub. For another instance: check its log.";

/// Another instance, as the store shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The identity of its process.
    pub origin: u64,
    pub name: Arc<str>,
    /// The number of the last canary it committed.
    pub number: u64,
}

/// The state of the bus subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// Some required channels are not subscribed to.
    No,
    /// All required channels are subscribed to.
    Yes,
}

#[derive(Clone, Debug)]
struct Other {
    name: Arc<str>,
    committed: u64,
    heard: u64,
    /// The time since which a committed canary is missing.
    missing_since: Option<Moment>,
}

/// The state of delivery; see the module.
#[derive(Clone, Debug)]
pub struct Delivery {
    began: Moment,
    subscribed: Subscribed,
    since: Moment,
    /// True if a canary came back since `since`.
    proven: bool,
    /// The time at which a subscription was lost that had delivered.
    interrupted: Option<Moment>,
    /// The probes that failed since the last own canary came back.
    failed_probes: u32,
    pending: VecDeque<(u64, Moment)>,
    others: BTreeMap<u64, Other>,
}

impl Delivery {
    /// Creates a state in which nothing is known.
    pub fn new(now: Moment) -> Delivery {
        Delivery {
            began: now,
            subscribed: Subscribed::No,
            since: now,
            proven: false,
            interrupted: None,
            failed_probes: 0,
            pending: VecDeque::new(),
            others: BTreeMap::new(),
        }
    }

    /// Records a change of the subscriptions.
    pub fn set_subscribed(&mut self, subscribed: Subscribed, now: Moment) {
        if self.proven && self.verdict(now).is_ok() {
            self.interrupted = Some(now);
        }
        (self.subscribed, self.since, self.proven) = (subscribed, now, false);
        // Messages sent without a subscription never arrive.
        self.pending.clear();
        for other in self.others.values_mut() {
            other.missing_since = None;
        }
    }

    /// Records that a probe of the bus failed: a lost connection will not be restored at once.
    pub fn refuted(&mut self) {
        self.interrupted = None;
        self.failed_probes = self.failed_probes.saturating_add(1);
    }

    /// Records an own committed canary, and the live instances that the store shows.
    pub fn committed(&mut self, number: u64, seen: &[Seen], now: Moment) {
        if self.pending.len() >= PENDING_MAX {
            self.pending.pop_back();
        }
        self.pending.push_back((number, now));
        self.others.retain(|origin, _| seen.iter().any(|seen| seen.origin == *origin));
        for seen in seen.iter().take(INSTANCES_MAX) {
            let new = || Other {
                name: Arc::clone(&seen.name),
                committed: seen.number,
                heard: seen.number,
                missing_since: None,
            };
            let other = self.others.entry(seen.origin).or_insert_with(new);
            other.committed = other.committed.max(seen.number);
            if other.committed > other.heard {
                other.missing_since.get_or_insert(now);
            }
        }
    }

    /// Records an own canary that reached all reactors.
    pub fn came_back(&mut self, number: u64) {
        self.pending.retain(|(other, _)| *other > number);
        (self.proven, self.failed_probes) = (true, 0);
    }

    /// Records a canary of another instance.
    pub fn heard(&mut self, origin: u64, number: u64) {
        if let Some(other) = self.others.get_mut(&origin) {
            other.heard = other.heard.max(number);
            if other.heard >= other.committed {
                other.missing_since = None;
            }
        }
    }

    /// The names of the other instances that the store shows.
    pub fn instances(&self) -> Vec<Arc<str>> {
        self.others.values().map(|other| Arc::clone(&other.name)).collect()
    }

    /// True if a canary came back since the subscriptions last changed.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// True if an own canary is lost: the connections may lead to the wrong server, or nowhere.
    pub fn is_lost(&self, now: Moment) -> bool {
        self.pending.front().is_some_and(|(_, sent)| now.since(*sent) > OWN_MAX)
    }

    /// Judges delivery. It is not judged right after the start, and a store that accepts no canaries does not count
    /// against it.
    pub fn verdict(&self, now: Moment) -> Result<(), Cause> {
        let is_restoring = self.interrupted.is_some_and(|since| now.since(since) <= RESTORE_MAX);
        if !self.proven && (is_restoring || now.since(self.began) <= PROOF_MAX) {
            return Ok(());
        }
        if self.subscribed == Subscribed::No {
            return fault("this instance is not subscribed to the bus".into());
        }
        if !self.proven && (now.since(self.since) <= PROOF_MAX || !self.pending.is_empty()) {
            return fault("this instance has subscribed to the bus, but no canary has come back yet".into());
        }
        let is_outage = self.failed_probes >= FAILED_PROBES_OF_OUTAGE;
        let own_max = if is_outage { OWN_MAX_IN_OUTAGE } else { OWN_MAX };
        if let Some((_, sent)) = self.pending.front()
            && now.since(*sent) > own_max
        {
            let age = now.since(*sent).as_millis();
            return fault(format!("a canary that was committed {age} ms ago has not come back over the bus"));
        }
        let lost = |other: &&Other| other.missing_since.is_some_and(|since| now.since(since) > OTHER_MAX);
        let silent: Vec<&str> = self.others.values().filter(lost).map(|other| &*other.name).collect();
        if silent.is_empty() {
            return Ok(());
        }
        fault(format!("canaries of {} are in the store but do not arrive over the bus", silent.join(", ")))
    }
}

fn fault(text: String) -> Result<(), Cause> {
    Err(Cause::new(Fault::Delivery, text, LOOK_AT))
}

/// The verdict on a bus of several parts, such as the masters of a cluster: `Ok` with a cause if only some of them deliver, and an
/// error if none does.
pub fn combine<'a>(
    parts: impl Iterator<Item = (&'a str, Result<(), Cause>)>,
) -> Result<Option<Cause>, Cause> {
    let (mut count, mut causes) = (0, Vec::new());
    for (name, verdict) in parts {
        count += 1;
        causes.extend(verdict.err().map(|cause| (name, cause)));
    }
    let failing = causes.len();
    let texts: Vec<String> = causes.iter().map(|(name, cause)| format!("{name}: {}", cause.text)).collect();
    match causes.into_iter().next() {
        None => Ok(None),
        Some((_, first)) if failing == count => Err(first),
        Some((_, first)) => {
            let text = format!("{failing} of {count} masters do not deliver: {}", texts.join("; "));
            Ok(Some(Cause::new(first.fault, text, first.look_at)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    fn seen(number: u64) -> Seen {
        Seen { origin: 2, name: "gw-2".into(), number }
    }

    /// A subscription that was made long ago and got canary 0 back.
    fn listening() -> Delivery {
        let mut delivery = Delivery::new(at(0));
        delivery.set_subscribed(Subscribed::Yes, at(0));
        delivery.came_back(0);
        delivery
    }

    fn words(delivery: &Delivery, now: Moment) -> String {
        let cause = delivery.verdict(now).expect_err("a fault");
        assert_eq!(cause.fault, Fault::Delivery);
        cause.text
    }

    #[test]
    fn bus_fails_in_part_while_some_masters_deliver_and_wholly_if_none_does() {
        let bad = || fault("it is silent".into());
        assert_eq!(combine([("a", Ok(())), ("b", Ok(()))].into_iter()), Ok(None));
        let part = combine([("a", Ok(())), ("b", bad()), ("c", Ok(()))].into_iter());
        assert_eq!(
            part.expect("a part").expect("fails").text,
            "1 of 3 masters do not deliver: b: it is silent"
        );
        assert!(combine([("a", bad()), ("b", bad())].into_iter()).is_err());
    }

    #[test]
    fn missing_subscription_is_a_fault_after_the_start() {
        let delivery = Delivery::new(at(0));
        assert_eq!(delivery.verdict(at(3_000)), Ok(()), "it has just started");
        assert!(words(&delivery, at(3_001)).contains("not subscribed"));
        assert_eq!(listening().verdict(at(0)), Ok(()));
    }

    #[test]
    fn new_subscription_is_trusted_once_a_canary_came_back() {
        let mut delivery = Delivery::new(at(0));
        delivery.set_subscribed(Subscribed::No, at(5_000));
        delivery.set_subscribed(Subscribed::Yes, at(10_000));
        assert!(words(&delivery, at(10_000)).contains("yet"));
        delivery.committed(7, &[], at(10_100));
        assert!(words(&delivery, at(10_200)).contains("yet"));
        delivery.came_back(7);
        assert_eq!(delivery.verdict(at(10_200)), Ok(()));
    }

    #[test]
    fn subscription_restored_at_once_is_no_outage() {
        let mut delivery = listening();
        delivery.set_subscribed(Subscribed::No, at(10_000));
        assert_eq!(delivery.verdict(at(10_100)), Ok(()));
        delivery.set_subscribed(Subscribed::Yes, at(10_200));
        assert_eq!(delivery.verdict(at(12_000)), Ok(()));
        assert!(words(&delivery, at(12_001)).contains("yet"), "it must deliver again");
        let mut gone = listening();
        gone.set_subscribed(Subscribed::No, at(10_000));
        gone.refuted();
        assert!(words(&gone, at(10_100)).contains("not subscribed"));
        delivery.came_back(9);
        assert_eq!(delivery.verdict(at(12_001)), Ok(()));
    }

    #[test]
    fn own_canary_that_does_not_come_back_in_time_is_a_fault() {
        let mut delivery = listening();
        delivery.committed(1, &[], at(10_000));
        assert_eq!(delivery.verdict(at(13_000)), Ok(()));
        assert!(words(&delivery, at(13_001)).contains("3001 ms ago"));
        delivery.committed(2, &[], at(13_100));
        delivery.came_back(2);
        assert_eq!(delivery.verdict(at(60_000)), Ok(()), "a later canary that arrives proves as much");
    }

    #[test]
    fn outage_does_not_end_while_a_canary_is_late() {
        let mut delivery = listening();
        delivery.committed(1, &[], at(10_000));
        delivery.refuted();
        assert_eq!(delivery.verdict(at(13_000)), Ok(()), "one failed probe may be chance");
        delivery.refuted();
        assert_eq!(delivery.verdict(at(11_000)), Ok(()));
        assert!(words(&delivery, at(11_001)).contains("1001 ms ago"), "it would be lost after the recovery");
        assert!(!delivery.is_lost(at(11_001)), "the connection is not given up earlier");
        delivery.committed(2, &[], at(11_200));
        delivery.came_back(2);
        assert_eq!(delivery.verdict(at(11_201)), Ok(()));
        delivery.committed(3, &[], at(12_000));
        assert_eq!(delivery.verdict(at(15_000)), Ok(()), "the outage is over");
    }

    #[test]
    fn store_that_accepts_no_canaries_does_not_fail_the_bus() {
        let mut delivery = Delivery::new(at(0));
        delivery.set_subscribed(Subscribed::Yes, at(5_000));
        assert_eq!(delivery.verdict(at(8_001)), Ok(()));
        delivery.committed(1, &[seen(1)], at(9_000));
        delivery.came_back(1);
        assert_eq!(delivery.verdict(at(3_600_000)), Ok(()));
    }

    #[test]
    fn subscription_without_any_canary_is_never_trusted() {
        let mut delivery = Delivery::new(at(0));
        delivery.set_subscribed(Subscribed::Yes, at(10_000));
        delivery.committed(1, &[], at(10_500));
        for now in [10_600, 13_100, 13_501] {
            assert!(delivery.verdict(at(now)).is_err(), "{now}");
        }
    }

    #[test]
    fn instance_with_stored_but_undelivered_canaries_is_named() {
        let mut delivery = listening();
        for (number, now) in [(10, 10_000), (11, 12_000), (12, 14_000), (13, 15_600)] {
            delivery.committed(number, &[seen(number)], at(now));
            delivery.came_back(number);
        }
        assert!(words(&delivery, at(15_600)).contains("gw-2"));
        delivery.heard(2, 13);
        assert_eq!(delivery.verdict(at(15_600)), Ok(()));
    }

    #[test]
    fn ended_instance_is_not_waited_for() {
        let mut delivery = listening();
        delivery.committed(1, &[seen(5)], at(10_000));
        delivery.committed(2, &[seen(6)], at(12_000));
        delivery.committed(3, &[], at(14_000));
        delivery.came_back(3);
        assert_eq!(delivery.verdict(at(60_000)), Ok(()));
    }

    #[test]
    fn restored_subscription_does_not_wait_for_earlier_canaries() {
        let mut delivery = listening();
        delivery.committed(1, &[seen(5)], at(10_000));
        delivery.committed(2, &[seen(6)], at(10_010));
        delivery.set_subscribed(Subscribed::No, at(10_020));
        delivery.set_subscribed(Subscribed::Yes, at(10_030));
        delivery.came_back(3);
        assert_eq!(delivery.verdict(at(60_000)), Ok(()));
    }
}
