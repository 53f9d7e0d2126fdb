//! Orders that the store carries out and does not answer in time.

use super::super::logs::Logs;
use super::*;
use crate::job::shared_questions::StoreQuestion;

/// An order at the first instance whose answer does not come in time. Returns what the store was asked.
fn give_up(month: &mut Month, question: SloQuestion) -> StoreQuestion {
    let (reply, answer) = bounded(1);
    month.instances[0].keeper().answer(SloRequest { question, reply });
    let ends = month.instances[0].ends.as_ref().expect("it runs");
    let asked = ends.questions.calls.try_recv().expect("it is asked");
    month.instances[0].keeper().give_up_waiting();
    assert!(matches!(answer.try_recv(), Ok(Err(SloProblem::Unreadable(_)))));
    asked
}

/// The same, and the store carries it out. It answers after the operator was refused.
fn carry_out_late(month: &mut Month, question: SloQuestion) {
    let asked = give_up(month, question);
    let late = month.store.carry_out(&asked);
    month.instances[0].keeper().take_store_answer(Some(late));
}

/// The same, and the store loses it.
fn lose(month: &mut Month, question: SloQuestion) {
    give_up(month, question);
    month.instances[0].keeper().take_store_answer(None);
}

#[test]
fn order_that_was_given_up_is_logged_when_the_store_has_carried_it_out() {
    let logs = Logs::default();
    logs.keep(|| {
        let mut month = Month::new();
        let wish = |why: &str| ExclusionWish {
            objective: Some("connection".into()),
            from: "2027-01-11T00:00".into(),
            until: "2027-01-11T06:00".into(),
            why: why.into(),
        };
        let exclude = |why| SloQuestion::Exclude(wish(why), "192.0.2.7".into());
        carry_out_late(&mut month, exclude("move"));
        lose(&mut month, exclude("nothing"));
        let seen = |line: &str| logs.count(line);
        assert_eq!((seen("exclusion unconfirmed"), seen("exclusion added")), (2, 0));
        let pass = |month: &mut Month, ms| {
            month.pass(ms);
            month.turn();
        };
        pass(&mut month, 10_000);
        assert_eq!(
            (seen("exclusion added"), seen("why=\"move\" by=\"192.0.2.7\"")),
            (1, 2),
            "{}",
            logs.text()
        );
        assert_eq!(seen("exclusions changed at another instance"), 1, "at the other one");

        let end = || SloQuestion::EndExclusion(1, "192.0.2.8".into());
        lose(&mut month, end());
        pass(&mut month, 10_000);
        assert_eq!((seen("removal of an exclusion unconfirmed"), seen("exclusion removed")), (1, 0));
        carry_out_late(&mut month, end());
        pass(&mut month, 10_000);
        assert_eq!(seen("exclusion removed"), 1, "{}", logs.text());
        assert_eq!(seen("by=\"192.0.2.8\""), 3, "{}", logs.text());
        // Nothing is written twice.
        pass(&mut month, 70_000);
        pass(&mut month, 10_000);
        assert_eq!((seen("exclusion added"), seen("exclusion removed")), (1, 1), "{}", logs.text());
    });
}
