//! An instance that has not read the rows of the others.

use super::*;

#[test]
fn instance_that_starts_without_the_store_does_not_report_its_own_counts_as_those_of_all() {
    let mut month = Month::new();
    (0..2).for_each(|_| month.hour());
    month.store.is_down = true;
    month.instances[1].start(&mut month.store);
    let report = || SloQuestion::Report { week: None, format: ReportFormat::Text };
    let history = || SloQuestion::History { name: "connection".into(), weeks: 2 };
    for question in [report(), history()] {
        let answer = month.ask(1, question);
        assert!(
            matches!(&answer, Err(SloProblem::Unreadable(why)) if why.contains("the store does not answer")),
            "{answer:?}"
        );
    }
    month.store.is_down = false;
    month.pass(10_000);
    month.turn();
    for question in [report(), history()] {
        month.ask(1, question).expect("the rows of all");
    }
    month.check_week("2027-W02", START_MS);
}
