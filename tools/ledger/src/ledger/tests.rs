//! A correct ledger has no findings, and each way to falsify it has its own.

use super::check::{ANSWER_WITHIN, Finding, Log, Promise, check};
use super::{Acknowledged, Arrivals, Begin, Close, End, Excuse, Journal, Late, Ledger, Window};
use crate::clock::SECOND;

const LINK: u32 = 9;
const CLIENT: u32 = 0;

/// Publications 0 to 4 are stored at offsets 1 to 5, publication 5 was refused, and one client received all of them.
struct Story {
    ledger: Ledger,
    logs: Vec<Log>,
    windows: Vec<Window>,
}

fn story() -> Story {
    let mut ledger = Ledger::new(Journal::default());
    let mut run = Arrivals::after(0, Begin::Subscribed, (CLIENT, LINK, 0), 0);
    ledger.listens(CLIENT, 0, 0);
    for n in 0..6 {
        let at = u64::from(n) * 1_000;
        assert_eq!(ledger.new_publication(0, at), n);
        ledger.sent(n, LINK, at);
        if n < 5 {
            let offset = u64::from(n) + 1;
            ledger.stored(n, Acknowledged { offset, duplicate: false }, at);
            ledger.saw(0, offset, n);
            assert_eq!(run.take(offset, at), None);
        } else {
            ledger.refused(n, "unavailable", at);
        }
    }
    ledger.arrived(run);
    let entries = (0..5).map(|n| (u64::from(n) + 1, Some(n))).collect();
    Story { ledger, logs: vec![Log { floor: 1, head: 5, entries }], windows: Vec::new() }
}

impl Story {
    fn findings(&self) -> Vec<Finding> {
        check(&self.ledger, &self.logs, &self.windows)
    }

    /// Asserts that exactly this promise is broken.
    #[track_caller]
    fn breaks(&self, promise: Promise, count: u64) {
        let findings = self.findings();
        assert!(findings.iter().all(|it| it.promise == promise), "{findings:?}");
        assert_eq!(findings.iter().map(|it| it.count).sum::<u64>(), count, "{findings:?}");
    }

    fn close(&mut self, end: End) {
        let (at, since) = (3 * SECOND, 3 * SECOND);
        self.ledger.closed(Close { at, since, link: LINK, client: CLIENT, slot: 0, end });
    }

    /// Replaces the run by the one that these offsets produce.
    fn arrive(&mut self, offsets: &[u64]) {
        self.ledger.runs.clear();
        let mut run = Arrivals::after(0, Begin::Subscribed, (CLIENT, LINK, 0), 0);
        for offset in offsets {
            run.take(*offset, 0).into_iter().for_each(|done| self.ledger.arrived(done));
        }
        self.ledger.arrived(run);
    }
}

#[test]
fn correct_ledger_has_no_findings() {
    assert_eq!(story().findings(), []);
}

#[test]
fn lost_acknowledged_publication_is_found() {
    let mut story = story();
    story.ledger.publications[4].offset = Some(5);
    story.logs[0].entries.pop();
    story.logs[0].head = 4;
    story.breaks(Promise::Kept, 1);
}

#[test]
fn acknowledgement_at_another_offset_is_found() {
    let mut story = story();
    story.ledger.publications[4].offset = Some(7);
    story.breaks(Promise::Kept, 1);
}

#[test]
fn duplicate_in_the_store_is_found() {
    let mut story = story();
    story.logs[0].entries.push((6, Some(2)));
    story.logs[0].head = 6;
    story.ledger.runs[0].last = 6;
    story.breaks(Promise::Once, 1);
}

#[test]
fn acknowledgements_at_two_offsets_are_found() {
    let mut story = story();
    story.ledger.stored(3, Acknowledged { offset: 4, duplicate: true }, 0);
    assert_eq!(story.findings(), [], "a repeat at the same offset is correct");
    story.ledger.publications[3].other_offset = Some(5);
    story.breaks(Promise::Once, 1);
}

#[test]
fn refused_but_stored_publication_is_found() {
    let mut story = story();
    story.logs[0].entries.push((6, Some(5)));
    story.logs[0].head = 6;
    story.ledger.runs[0].last = 6;
    story.breaks(Promise::Refused, 1);
    story.ledger.publications[5].doubts = 1;
    assert_eq!(story.findings(), [], "one attempt has an unknown outcome");
}

#[test]
fn refused_publication_acknowledged_as_duplicate_is_found() {
    let mut story = story();
    story.logs[0].entries.push((6, Some(5)));
    story.logs[0].head = 6;
    story.ledger.runs[0].last = 6;
    story.ledger.sent(5, LINK, 0);
    story.ledger.stored(5, Acknowledged { offset: 6, duplicate: true }, 0);
    story.breaks(Promise::Refused, 1);
}

#[test]
fn foreign_publication_and_gap_in_the_log_are_found() {
    let mut stranger = story();
    stranger.logs[0].entries.push((6, None));
    stranger.logs[0].head = 6;
    stranger.ledger.runs[0].last = 6;
    stranger.breaks(Promise::Sound, 1);
    let mut short = story();
    short.logs[0].head = 6;
    short.ledger.runs[0].last = 6;
    short.breaks(Promise::Sound, 1);
}

#[test]
fn gap_seen_by_a_subscriber_is_found_even_if_history_filled_it() {
    let mut story = story();
    story.arrive(&[1, 2, 5]);
    let mut pulled = Arrivals::after(2, Begin::Pulled, (CLIENT, LINK, 0), 0);
    [3, 4, 5].into_iter().for_each(|offset| assert_eq!(pulled.take(offset, 0), None));
    story.ledger.arrived(pulled);
    story.breaks(Promise::NoGap, 2);
}

#[test]
fn hole_announced_by_lag_is_no_finding() {
    let mut story = story();
    story.arrive(&[1, 2]);
    let lag = |from| Arrivals {
        first: 6,
        last: 5,
        ..Arrivals::after(5, Begin::Lag { from }, (CLIENT, LINK, 0), 0)
    };
    let mut pulled = Arrivals::after(2, Begin::Pulled, (CLIENT, LINK, 0), 0);
    [3, 4, 5].into_iter().for_each(|offset| assert_eq!(pulled.take(offset, 0), None));
    story.ledger.arrived(lag(3));
    story.ledger.arrived(pulled);
    assert_eq!(story.findings(), []);
    story.ledger.runs[1] = lag(4);
    story.breaks(Promise::NoGap, 1);
}

#[test]
fn reordering_is_found() {
    let mut story = story();
    story.arrive(&[1, 3, 2, 4, 5]);
    let findings = story.findings();
    let of = |promise| findings.iter().filter(|it| it.promise == promise).map(|it| it.count).sum::<u64>();
    // 3 after 1 skips 2; 2 arrives after a later one; 4 skips nothing that was seen, but is not the next.
    assert!(of(Promise::NoGap) >= 1 && of(Promise::InOrder) >= 1, "{findings:?}");
}

#[test]
fn duplicate_is_found_on_one_connection_but_not_across_two() {
    let mut story = story();
    story.arrive(&[1, 2, 2, 3, 4, 5]);
    let findings = story.findings();
    assert_eq!(findings.iter().filter(|it| it.promise == Promise::InOrder).count(), 1, "{findings:?}");
    let mut overlap = self::story();
    let mut other = Arrivals::after(3, Begin::Subscribed, (CLIENT, LINK + 1, 0), 0);
    [4, 5].into_iter().for_each(|offset| assert_eq!(other.take(offset, 0), None));
    overlap.ledger.arrived(other);
    assert_eq!(overlap.findings(), []);
}

#[test]
fn publication_missing_at_a_subscriber_is_found() {
    let mut story = story();
    story.arrive(&[1, 2, 3]);
    story.breaks(Promise::Complete, 2);
}

#[test]
fn different_publication_at_the_same_offset_is_found() {
    let mut story = story();
    story.ledger.seen[0][4] = 1;
    story.breaks(Promise::Same, 1);
    let mut two = self::story();
    two.ledger.saw(0, 4, 1);
    two.breaks(Promise::Sane, 1);
}

#[test]
fn unanswered_command_is_found_unless_a_fault_excuses_it() {
    let mut story = story();
    let (sent, until) = (SECOND, 2 * SECOND + ANSWER_WITHIN);
    story.ledger.late(Late { link: LINK, slot: 0, what: "publish", sent, until });
    story.breaks(Promise::Answered, 1);
    let frozen = |slot, to| Window { from: 0, to, slot: Some(slot), excuse: Excuse::Late };
    story.windows.push(frozen(1, 2 * SECOND));
    story.breaks(Promise::Answered, 1);
    story.windows.push(frozen(0, sent));
    story.breaks(Promise::Answered, 1);
    story.windows.push(frozen(0, 2 * SECOND));
    assert_eq!(story.findings(), []);
}

#[test]
fn close_without_bye_is_found_even_during_a_fault() {
    let mut story = story();
    story.close(End::Server { code: 1012, bye: true });
    story.close(End::Ours);
    story.close(End::Dropped);
    assert_eq!(story.findings(), []);
    story.windows.push(Window { from: 0, to: 9 * SECOND, slot: None, excuse: Excuse::Both });
    story.close(End::Server { code: 1012, bye: false });
    story.breaks(Promise::Bye, 1);
}

#[test]
fn vanished_connection_is_found_unless_a_fault_excuses_it() {
    let mut story = story();
    story.close(End::Vanished);
    story.breaks(Promise::Stays, 1);
    story.windows.push(Window { from: 2 * SECOND, to: 3 * SECOND, slot: None, excuse: Excuse::Vanish });
    assert_eq!(story.findings(), []);
}

#[test]
fn publication_with_unknown_outcome_is_found() {
    let mut story = story();
    let n = story.ledger.new_publication(0, 0);
    story.ledger.sent(n, LINK, 0);
    story.breaks(Promise::Resolved, 1);
    story.ledger.doubted(n, "the connection ended", 0);
    assert_eq!(story.findings(), [], "its author gave up knowingly");
}

#[test]
fn records_of_two_crowds_are_merged() {
    let mut story = story();
    let mut other = Ledger::new(Journal::default());
    other.listens(3, 0, 2);
    let mut run = Arrivals::after(2, Begin::Subscribed, (3, LINK + 1, 0), 0);
    [3, 4].into_iter().for_each(|offset| assert_eq!(run.take(offset, 0), None));
    other.arrived(run);
    other.saw(0, 3, 2);
    other.life(0).deliveries = 2;
    story.ledger.absorb(other);
    assert_eq!(story.ledger.lives[0].deliveries, 2);
    story.breaks(Promise::Complete, 1);
}
