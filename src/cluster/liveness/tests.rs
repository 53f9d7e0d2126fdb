use super::*;
use crate::cluster::instance::Leads;
use crate::wire::lease::LeaseParts;
use proptest::prelude::*;

const OWN: u64 = 1;
const OTHER: u64 = 2;

fn at(ms: u64) -> Moment {
    Moment::from_micros(ms * 1_000)
}

fn lease(renewals: u64) -> Lease {
    Lease { renewals, phase: LeasePhase::Serving, parts: LeaseParts::default(), name: "gw-2".into() }
}

fn incarnation(count: u32) -> Incarnation {
    Incarnation { origin: OTHER, count }
}

fn row(count: u32, age_ms: u64) -> InstanceRow {
    InstanceRow {
        origin: OTHER,
        name: Arc::from("gw-2"),
        canary: 1,
        count,
        done: 0,
        leaving: Goodbye::NotSaid,
        age: Duration::from_millis(age_ms),
        leads: Leads::No,
    }
}

/// An instance that reads every 100 ms what the other one wrote.
struct Observer {
    liveness: Liveness,
    now: u64,
    /// The last lease, and the moment of the last row, that the other one wrote.
    lease: Option<(u32, u64)>,
    row: Option<(u32, u64)>,
    reads_leases: bool,
    reads_rows: bool,
    /// Each state that it passed through, with its beginning.
    states: Vec<(u64, InstanceState)>,
}

impl Observer {
    fn new() -> Observer {
        Observer {
            liveness: Liveness::new(OWN),
            now: 10_000,
            lease: None,
            row: None,
            reads_leases: true,
            reads_rows: true,
            states: Vec::new(),
        }
    }

    /// Lets time pass. The other one renews its lease of this count each second, and its row every two, if it can.
    fn pass(&mut self, ms: u64, leases: Option<u32>, rows: Option<u32>) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 100;
            if let Some(count) = leases
                && self.now.is_multiple_of(1_000)
            {
                self.lease = Some((count, self.now));
            }
            if let Some(count) = rows
                && self.now.is_multiple_of(2_000)
            {
                self.row = Some((count, self.now));
            }
            if self.now.is_multiple_of(1_000) {
                self.read_leases();
            }
            if self.now.is_multiple_of(2_000) {
                self.read_rows();
            }
            let (changes, need) = self.liveness.judge(at(self.now));
            self.note(&changes);
            if need == RowsNeed::Now {
                self.read_rows();
                let (changes, need) = self.liveness.judge(at(self.now));
                self.note(&changes);
                assert_eq!(need, RowsNeed::Regular, "a reading made now is enough");
            }
        }
    }

    fn note(&mut self, changes: &[InstanceChange]) {
        self.states.extend(changes.iter().map(|change| (self.now, change.to)));
    }

    fn read_leases(&mut self) {
        if !self.reads_leases {
            return self.liveness.fail_leases();
        }
        let leases: Vec<_> =
            self.lease.iter().map(|(count, renewals)| (incarnation(*count), lease(*renewals))).collect();
        self.liveness.read_leases(&leases, at(self.now));
    }

    fn read_rows(&mut self) {
        if !self.reads_rows {
            return self.liveness.fail_rows();
        }
        let rows: Vec<_> = self.row.iter().map(|(count, written)| row(*count, self.now - written)).collect();
        self.liveness.read_rows(&rows, at(self.now), at(self.now));
    }

    fn state(&self) -> Option<InstanceState> {
        self.liveness.instances().next().map(|known| known.state)
    }

    /// The time from `from` until the state was reached.
    fn reached(&self, state: InstanceState, from: u64) -> Option<u64> {
        self.states.iter().find(|(when, to)| *when >= from && *to == state).map(|(when, _)| when - from)
    }
}

#[test]
fn instance_that_is_first_heard_of_is_judged_like_all_others() {
    let mut observer = Observer::new();
    observer.lease = Some((1, 77));
    observer.pass(4_000, None, None);
    assert_eq!(observer.state(), Some(InstanceState::Alive));
    observer.pass(1_500, None, None);
    assert_eq!(observer.state(), Some(InstanceState::Gone), "its lease is of a process that ended before");
}

#[test]
fn killed_instance_is_gone_within_the_bound_at_any_phase_of_its_renewals() {
    for phase in (0..2_000).step_by(100) {
        let mut observer = Observer::new();
        observer.pass(10_000 + phase, Some(1), Some(1));
        assert_eq!(observer.states, [], "it was never anything but alive");
        let killed = observer.now;
        observer.pass(6_000, None, None);
        let took = observer.reached(InstanceState::Gone, killed).expect("gone");
        assert!((3_000..=5_100).contains(&took), "{took} ms at {phase}");
    }
}

#[test]
fn instance_that_lost_only_redis_is_isolated_and_never_gone() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    observer.pass(60_000, None, Some(1));
    assert_eq!(observer.states.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [InstanceState::Isolated]);
    observer.pass(2_000, Some(2), Some(2));
    assert_eq!(observer.state(), Some(InstanceState::Alive));
}

#[test]
fn with_redis_unreadable_here_rows_judge() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    observer.reads_leases = false;
    observer.pass(60_000, None, Some(1));
    assert_eq!(observer.states, []);
    let killed = observer.now;
    observer.pass(8_000, None, None);
    let took = observer.reached(InstanceState::Gone, killed).expect("gone");
    assert!(took <= 6_900, "{took} ms");
}

#[test]
fn instance_that_ended_while_redis_was_away_does_not_come_back_with_it() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    observer.reads_leases = false;
    observer.pass(20_000, None, None);
    assert_eq!(observer.state(), Some(InstanceState::Gone));
    // Its last lease is still there.
    observer.reads_leases = true;
    observer.pass(20_000, None, None);
    assert_eq!(observer.states.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [InstanceState::Gone]);
    observer.pass(2_000, Some(1), None);
    assert_eq!(observer.state(), Some(InstanceState::Alive), "a renewal shows that it lives");
}

#[test]
fn with_both_unreadable_here_no_instance_is_judged() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    (observer.reads_leases, observer.reads_rows) = (false, false);
    observer.pass(60_000, None, None);
    assert_eq!(observer.states, []);
    // The first lease that is read again begins the silence.
    observer.reads_leases = true;
    observer.pass(3_900, None, None);
    assert_eq!(observer.states, []);
    observer.pass(2_000, None, None);
    assert_eq!(observer.state(), Some(InstanceState::Gone));
}

#[test]
fn without_postgresql_leases_judge_alone() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    observer.reads_rows = false;
    observer.pass(20_000, Some(1), None);
    assert_eq!(observer.states, []);
    let killed = observer.now;
    observer.pass(6_000, None, None);
    assert!(observer.reached(InstanceState::Gone, killed).expect("gone") <= 5_100);
}

#[test]
fn stopped_process_is_gone_and_comes_back_only_with_a_higher_count() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    observer.pass(8_000, None, None);
    assert_eq!(observer.state(), Some(InstanceState::Gone));
    observer.pass(2_000, None, Some(1));
    assert_eq!(observer.state(), Some(InstanceState::Gone), "a row alone does not bring it back");
    observer.pass(1_000, Some(2), None);
    assert_eq!(observer.state(), Some(InstanceState::Alive));
    // An older replica was promoted: it has the lease of the ended incarnation.
    observer.lease = Some((1, 1 << 40));
    observer.pass(60_000, Some(1), None);
    assert_eq!(observer.state(), Some(InstanceState::Gone), "the lower count never returns");
}

#[test]
fn row_with_a_higher_count_does_not_end_the_silence_of_a_lease() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    let lost = observer.now;
    observer.pass(2_000, None, Some(1));
    // It doubts its own lease, as it cannot renew it, and its next row shows it.
    observer.pass(6_000, None, Some(2));
    assert!(observer.reached(InstanceState::Isolated, lost).expect("isolated") <= 5_100);
    observer.pass(3_000, Some(2), Some(2));
    assert_eq!(observer.state(), Some(InstanceState::Alive));
}

#[test]
fn own_pause_ends_no_other_instance() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    observer.now += 8_000;
    // This process was stopped; the others went on.
    observer.pass(10_000, Some(1), Some(1));
    assert_eq!(observer.states, []);
}

#[test]
fn goodbye_ends_an_instance_at_once_by_its_lease_or_its_row() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    let mut by_row = row(1, 0);
    by_row.leaving = Goodbye::Said;
    let mut other = observer.liveness.clone();
    other.read_rows(&[by_row], at(observer.now), at(observer.now));
    assert_eq!(other.judge(at(observer.now)).0.first().map(|change| change.to), Some(InstanceState::Left));
    let left = Lease { phase: LeasePhase::Left, ..lease(1 << 30) };
    observer.liveness.read_leases(&[(incarnation(1), left)], at(observer.now));
    let (changes, _) = observer.liveness.judge(at(observer.now));
    assert_eq!(changes.first().map(|change| change.to), Some(InstanceState::Left));
}

#[test]
fn program_of_an_earlier_version_is_judged_by_its_row_alone() {
    let mut observer = Observer::new();
    observer.pass(60_000, None, Some(0));
    assert_eq!((observer.state(), observer.states.len()), (Some(InstanceState::Alive), 0));
    let killed = observer.now;
    observer.pass(7_000, None, None);
    assert!(observer.reached(InstanceState::Gone, killed).expect("gone") <= 6_900);
}

#[test]
fn abandoned_leases_are_removed_after_a_minute_and_their_instance_is_forgotten() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    observer.pass(59_000, None, None);
    assert_eq!(observer.liveness.abandoned(at(observer.now)), []);
    observer.pass(3_000, None, None);
    assert_eq!(observer.liveness.abandoned(at(observer.now)), [incarnation(1)]);
    observer.lease = None;
    observer.pass(1_000, None, None);
    assert_eq!(observer.liveness.abandoned(at(observer.now)), []);
    observer.row = None;
    observer.pass(300_000, None, None);
    assert_eq!(observer.state(), None, "forgotten");
}

#[test]
fn name_of_two_living_instances_is_shared() {
    let mut liveness = Liveness::new(OWN);
    let named = |origin, name: &str| InstanceRow { origin, name: Arc::from(name), ..row(1, 0) };
    let rows = [named(2, "a"), named(3, "b"), named(4, "b"), named(5, "c")];
    liveness.read_rows(&rows, at(1_000), at(1_000));
    let mut shared = |own, ms| {
        let shared = liveness.shared_names(own, at(ms));
        shared.iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(shared("d", 1_000), [""; 0], "one of them may be gone soon");
    assert_eq!(shared("d", 10_999), [""; 0]);
    assert_eq!(shared("d", 11_000), ["b"]);
    assert_eq!(shared("a", 12_000), ["b"], "the second one is new");
    assert_eq!(shared("a", 22_000), ["a", "b"]);
    assert_eq!(shared("d", 23_000), ["b"]);
    assert_eq!(shared("a", 24_000), ["b"], "it was not shared in between");
}

#[test]
fn restart_after_a_crash_shares_no_name() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    // The next process of that name renews at once; the old one is gone within the bound.
    for _ in 0..120 {
        observer.pass(100, None, None);
        let shared = observer.liveness.shared_names("gw-2", at(observer.now));
        assert!(shared.is_empty(), "{shared:?} at {} ms", observer.now);
    }
    assert_eq!(observer.state(), Some(InstanceState::Gone));
}

#[test]
fn instance_that_is_gone_stays_gone_after_an_outage_of_redis_here() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    observer.pass(8_000, None, None);
    assert_eq!(observer.state(), Some(InstanceState::Gone));
    let judged = observer.states.len();
    for outage in [100, 1_000, 5_000] {
        observer.reads_leases = false;
        observer.pass(outage, None, None);
        observer.reads_leases = true;
        observer.pass(9_000, None, None);
        assert_eq!(observer.states.len(), judged, "{:?} after {outage} ms", observer.states);
    }
    observer.pass(2_000, Some(1), Some(1));
    assert_eq!(observer.state(), Some(InstanceState::Alive), "its lease is renewed");
}

#[test]
fn isolated_instance_stays_isolated_after_an_outage_of_redis_here() {
    let mut observer = Observer::new();
    observer.pass(10_000, Some(1), Some(1));
    observer.pass(10_000, None, Some(1));
    assert_eq!(observer.state(), Some(InstanceState::Isolated));
    let judged = observer.states.len();
    observer.reads_leases = false;
    observer.pass(5_000, None, Some(1));
    observer.reads_leases = true;
    observer.pass(9_000, None, Some(1));
    assert_eq!(observer.states.len(), judged, "{:?}", observer.states);
    observer.pass(2_000, Some(1), Some(1));
    assert_eq!(observer.state(), Some(InstanceState::Alive));
}

#[test]
fn instances_are_bounded_and_ended_ones_give_way() {
    let mut liveness = Liveness::new(OWN);
    let rows = |from: u64, count: u64| -> Vec<InstanceRow> {
        (from..from + count).map(|origin| InstanceRow { origin, ..row(1, 0) }).collect()
    };
    liveness.read_rows(&rows(10, INSTANCES_MAX as u64 + 5), at(1_000), at(1_000));
    assert_eq!(liveness.instances().count(), INSTANCES_MAX);
    liveness.read_rows(&[], at(9_000), at(9_000));
    liveness.judge(at(9_000));
    liveness.read_rows(&rows(9_000, 3), at(10_000), at(10_000));
    assert_eq!(liveness.instances().count(), INSTANCES_MAX);
    assert_eq!(liveness.instances().filter(|known| known.state.lives()).count(), 3);
}

proptest! {
    /// An instance that renews its row all the time is called gone only if its lease and its row were out of reach shortly before;
    /// and ten seconds after the last fault every instance is in its true state.
    #[test]
    fn living_instance_is_gone_only_without_both_signs_and_the_end_state_is_true(
        spans in prop::collection::vec((500_u64..6_000, any::<[bool; 3]>()), 1..12),
        lives in any::<bool>(),
    ) {
        const SHORTLY: u64 = 6_000;
        let mut observer = Observer::new();
        observer.pass(5_000, Some(1), Some(1));
        let (mut count, mut away) = (1, 0);
        let (mut without_lease, mut without_row) = (0, 0);
        for (ms, [redis_here, postgres_here, redis_there]) in spans {
            let ms = ms / 100 * 100;
            (observer.reads_leases, observer.reads_rows) = (redis_here, postgres_here);
            // Its own lateness is a doubt.
            if redis_there && away > 4_000 {
                count += 1;
            }
            away = if redis_there { 0 } else { away + ms };
            let began = observer.now;
            observer.pass(ms, redis_there.then_some(count), Some(count));
            if !redis_there || !redis_here {
                without_lease = observer.now;
            }
            if !postgres_here {
                without_row = observer.now;
            }
            let gone = observer.states.iter().filter(|(when, to)| *when > began && *to == InstanceState::Gone);
            for (when, _) in gone {
                let is_excused = without_lease + SHORTLY >= *when && without_row + SHORTLY >= *when;
                prop_assert!(is_excused, "gone at {}: {:?}", when, observer.states);
            }
        }
        (observer.reads_leases, observer.reads_rows) = (true, true);
        let signs = lives.then_some(count + 1);
        observer.pass(10_000, signs, signs);
        let expected = if lives { InstanceState::Alive } else { InstanceState::Gone };
        prop_assert_eq!(observer.state(), Some(expected), "{:?}", observer.states);
    }
}

#[test]
fn lease_from_before_an_outage_says_nothing_until_it_is_renewed() {
    let mut liveness = Liveness::new(OWN);
    let parts = LeaseParts { users: true, rosters: true, ..LeaseParts::default() };
    let read = |liveness: &mut Liveness, renewals, ms| {
        liveness.read_leases(&[(incarnation(1), Lease { parts, ..lease(renewals) })], at(ms));
        let known = liveness.instances().next().expect("it is known");
        assert_eq!(known.has_old_lease(), known.parts() == LeaseParts::default());
        known.parts()
    };
    assert_eq!(read(&mut liveness, 5, 1_000), LeaseParts::default(), "its process may have ended");
    assert_eq!(read(&mut liveness, 6, 2_000), parts);
    assert_eq!(read(&mut liveness, 6, 2_500), parts, "it is renewed each second");
    liveness.read_leases(&[], at(3_000));
    assert!(liveness.instances().all(KnownInstance::has_old_lease), "Redis was emptied");
    liveness.fail_leases();
    assert_eq!(read(&mut liveness, 7, 9_000), LeaseParts::default(), "it may have been renewed before");
    assert_eq!(read(&mut liveness, 7, 9_500), LeaseParts::default());
    assert_eq!(read(&mut liveness, 8, 9_900), parts);
}

#[test]
fn lease_with_a_lower_number_is_from_before_and_says_nothing() {
    let mut liveness = Liveness::new(OWN);
    let parts = LeaseParts { users: true, rosters: true, ..LeaseParts::default() };
    let read = |liveness: &mut Liveness, renewals, ms| {
        liveness.read_leases(&[(incarnation(1), Lease { parts, ..lease(renewals) })], at(ms));
        liveness.instances().next().expect("it is known").parts()
    };
    read(&mut liveness, 5, 1_000);
    assert_eq!(read(&mut liveness, 6, 2_000), parts);
    assert_eq!(read(&mut liveness, 4, 3_000), LeaseParts::default(), "a replica that is behind took over");
    assert_eq!(read(&mut liveness, 4, 3_500), LeaseParts::default());
    assert_eq!(read(&mut liveness, 7, 4_000), parts);
}
