//! Notices: each is sent once over all faults of channels and of the process.

use super::*;

#[test]
fn flaps_kills_and_lost_answers_are_one_incident_at_pagerduty_and_nothing_is_lost() {
    let mut rig = Rig::new();
    rig.accept(20);
    let unsure = |rig: &mut Rig, seconds| {
        let count = std::cell::Cell::new(0);
        rig.run(seconds, |_| {
            count.set(count.get() + 1);
            [Some(outcome(429, Some(7_000))), Some(outcome(500, None)), None, Some(AttemptOutcome::Accepted)]
                [count.get() % 4]
        });
    };
    for flap in 0..50 {
        rig.force_store(Forced::Open);
        unsure(&mut rig, 60);
        if flap % 15 == 3 {
            rig.start();
        }
        rig.force_store(Forced::Closed);
        unsure(&mut rig, 60);
    }
    // A try without an answer ends with the process.
    rig.start();
    rig.accept(900);
    let Services { opened, resolved, open, .. } = &rig.services;
    assert_eq!((*opened, *resolved, open.len()), (1, 1, 0), "{:?}", rig.services.tries);
    let slack = rig.services.events(AlertChannel::Slack);
    let store: Vec<_> = slack.iter().filter(|(kind, _)| *kind == AlertKind::Dependency).collect();
    assert_eq!(store.len(), 2, "{slack:?}");
}

#[test]
fn notice_whose_answer_was_lost_with_the_process_is_repeated_once_and_marked() {
    let mut rig = Rig::new();
    rig.force_store(Forced::Open);
    // Handed to the channels, and then the process is killed.
    rig.run(40, |_| None);
    rig.start();
    rig.accept(60);
    assert_eq!(rig.services.repeated, 2);
    rig.start();
    rig.accept(60);
    let began = [(AlertKind::Dependency, NoticeEvent::Began)];
    assert_eq!(rig.services.events(AlertChannel::Slack), began);
    assert_eq!(rig.services.events(AlertChannel::Pagerduty), began);
    let bytes = std::fs::read(rig.folder.path().join(database::FILE_NAME)).expect("a file");
    let journal = std::fs::read(rig.folder.path().join("slo.db-wal")).unwrap_or_default();
    let has = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    assert!(!has(&bytes) && !has(&journal), "a secret is in slo.db");
}

#[test]
fn notice_is_neither_lost_nor_doubled_by_any_fault_of_slack_and_a_kill_at_any_step() {
    let faults = [outcome(429, Some(2_000)), outcome(500, None), outcome(302, None), outcome(408, None)];
    // The outage begins an incident after 26 s. The process is killed with a try in progress in that second, or in a later one.
    for (killed_at, takes_without_answer) in (25..33).flat_map(|at| [(at, false), (at, true)]) {
        let mut rig = Rig::new();
        rig.takes_without_answer = takes_without_answer;
        rig.force_store(Forced::Open);
        let tries = std::cell::Cell::new(0);
        let faulty = |channel| {
            tries.set(tries.get() + u32::from(channel == AlertChannel::Slack));
            let is_fault = channel == AlertChannel::Slack && tries.get() <= 2;
            Some(if is_fault { faults[killed_at as usize % 4] } else { AttemptOutcome::Accepted })
        };
        rig.run(killed_at, faulty);
        rig.run(1, |_| None);
        rig.start();
        rig.accept(30);
        rig.force_store(Forced::Closed);
        rig.accept(119);
        // The end is about to be sent.
        rig.run(3, |_| None);
        rig.start();
        rig.accept(60);
        let Services { opened, resolved, .. } = rig.services;
        assert_eq!((opened, resolved), (1, 1), "PagerDuty, killed at {killed_at}");
        let slack = rig.services.events(AlertChannel::Slack);
        let count = |event| slack.iter().filter(|it| **it == (AlertKind::Dependency, event)).count() as u64;
        let (begins, ends) = (count(NoticeEvent::Began), count(NoticeEvent::Ended));
        let marked = rig.services.repeated_at_slack;
        assert!(begins >= 1 && ends >= 1, "lost: {slack:?}, killed at {killed_at}");
        assert!(begins - 1 + ends - 1 <= marked && begins <= 2 && ends <= 2, "doubled: {slack:?}");
        assert_eq!(slack.len() as u64, begins + ends, "nothing else: {slack:?}");
    }
}

#[test]
fn begins_of_ten_seconds_are_one_message_that_a_kill_neither_loses_nor_doubles() {
    let mut rig = Rig::new();
    let soon_s = START_MS / 1_000 + 86_400;
    rig.force_store(Forced::Open);
    rig.accept(20);
    // It begins after 10 s, and the outage after 25 s.
    rig.metrics.tls.set_not_after(soon_s);
    // Handed to Slack, and then the process is killed.
    rig.run(8, |_| None);
    assert_eq!(rig.open(), ["certificate", "dependency/store"]);
    rig.start();
    let refused = |channel| match channel {
        AlertChannel::Slack => Some(outcome(429, Some(3_000))),
        AlertChannel::Pagerduty | AlertChannel::Webhook => Some(AttemptOutcome::Accepted),
    };
    rig.run(2, refused);
    rig.accept(30);
    let both = [(AlertKind::Dependency, NoticeEvent::Began), (AlertKind::Certificate, NoticeEvent::Began)];
    assert_eq!(rig.services.events(AlertChannel::Slack), both);
    assert_eq!(rig.services.messages, [2]);
    assert_eq!(rig.services.events(AlertChannel::Pagerduty), both[..1], "each with its key");
    assert_eq!(rig.services.repeated, 2, "one message to Slack and one event, marked");
    rig.start();
    rig.accept(30);
    assert_eq!(rig.services.messages, [2]);
}

#[test]
fn dead_letter_is_reported_to_the_other_channel_and_sent_again_on_request() {
    let mut rig = Rig::new();
    rig.force_store(Forced::Open);
    let slack_is_gone = |channel| {
        Some(if channel == AlertChannel::Slack { outcome(410, None) } else { AttemptOutcome::Accepted })
    };
    rig.run(60, slack_is_gone);
    assert_eq!(rig.open(), ["alerting/slack", "dependency/store"]);
    assert!(rig.services.events(AlertChannel::Slack).is_empty());
    let report = rig.metrics.alerts.report();
    let slack = report.channels.iter().find(|it| it.channel == AlertChannel::Slack).expect("slack");
    assert_eq!((slack.dead, slack.waiting), (1, 0));
    assert_eq!(rig.order(AlertOrder::Resend(AlertChannel::Slack)), AlertOrderAnswer::Done(1));
    rig.accept(5);
    assert_eq!(rig.services.events(AlertChannel::Slack), [(AlertKind::Dependency, NoticeEvent::Began)]);
    rig.accept(120);
    assert_eq!(rig.open(), ["dependency/store"], "it works again");
}

#[test]
fn begin_that_was_given_up_has_no_end() {
    let mut rig = Rig::new();
    rig.force_store(Forced::Open);
    let slack_is_gone = |channel| {
        Some(if channel == AlertChannel::Slack { outcome(410, None) } else { AttemptOutcome::Accepted })
    };
    rig.run(60, slack_is_gone);
    rig.start();
    rig.force_store(Forced::Closed);
    rig.accept(400);
    let about_store = |channel| {
        let events = rig.services.events(channel);
        events
            .into_iter()
            .filter(|(kind, _)| *kind == AlertKind::Dependency)
            .map(|(_, event)| event)
            .collect()
    };
    let slack: Vec<NoticeEvent> = about_store(AlertChannel::Slack);
    let pagerduty: Vec<NoticeEvent> = about_store(AlertChannel::Pagerduty);
    assert_eq!((slack, pagerduty), (vec![], vec![NoticeEvent::Began, NoticeEvent::Ended]));
}

#[test]
fn test_of_a_channel_is_answered_with_begin_and_end() {
    let mut rig = Rig::new();
    rig.accept(5);
    let AlertOrderAnswer::Done(number) = rig.order(AlertOrder::Test(AlertChannel::Slack)) else {
        panic!("not done")
    };
    rig.accept(5);
    let both = [(AlertKind::Test, NoticeEvent::Began), (AlertKind::Test, NoticeEvent::Ended)];
    assert_eq!(rig.services.events(AlertChannel::Slack), both);
    let report = rig.metrics.alerts.report();
    let test = report.incidents.iter().find(|incident| incident.number == number).expect("the test");
    assert_eq!((test.answers[0].event, test.answers[0].fate), ("ended", "sent"));
    let unknown = rig.order(AlertOrder::Test(AlertChannel::Webhook));
    assert!(matches!(&unknown, AlertOrderAnswer::Unknown(why) if why.contains("set alert.webhook_url")));
    assert_eq!(rig.services.events(AlertChannel::Pagerduty), []);
}

#[test]
fn begin_that_waits_in_a_row_without_an_open_incident_is_not_sent() {
    let mut rig = Rig::new();
    rig.force_store(Forced::Open);
    rig.run(40, |_| Some(AttemptOutcome::Failed(RetryAdvice::Open)));
    let other = rusqlite::Connection::open(rig.folder.path().join(database::FILE_NAME)).expect("opened");
    other.execute_batch("UPDATE incidents SET open = 0").expect("written");
    rig.force_store(Forced::Closed);
    rig.start();
    rig.accept(20);
    assert_eq!(rig.services.events(AlertChannel::Slack), []);
}

#[test]
fn end_sent_again_does_not_resolve_a_newer_incident() {
    let mut rig = Rig::new();
    let accepts = |_| Some(AttemptOutcome::Accepted);
    let gone = |_| Some(outcome(410, None));
    rig.force_store(Forced::Open);
    rig.run(40, accepts);
    rig.force_store(Forced::Closed);
    rig.run(150, gone);
    rig.force_store(Forced::Open);
    rig.run(40, accepts);
    assert_eq!(rig.order(AlertOrder::Resend(AlertChannel::Pagerduty)), AlertOrderAnswer::Done(0));
    rig.accept(5);
    assert_eq!(rig.services.open.len(), 1, "the newer incident goes on");

    let mut rig = Rig::new();
    let slack_is_gone =
        |channel| if channel == AlertChannel::Slack { gone(channel) } else { accepts(channel) };
    rig.force_store(Forced::Open);
    rig.run(40, slack_is_gone);
    rig.force_store(Forced::Closed);
    rig.run(150, slack_is_gone);
    assert_eq!(rig.order(AlertOrder::Resend(AlertChannel::Slack)), AlertOrderAnswer::Done(0));
}

#[test]
fn critical_incident_is_repeated_while_pagerduty_has_not_accepted_it() {
    let mut rig = Rig::new();
    rig.force_store(Forced::Open);
    let without_pagerduty = |channel| {
        Some(if channel == AlertChannel::Pagerduty { outcome(503, None) } else { AttemptOutcome::Accepted })
    };
    rig.run(1_000, without_pagerduty);
    let repeats = |rig: &Rig| {
        let slack = rig.services.events(AlertChannel::Slack);
        slack.iter().filter(|event| **event == (AlertKind::Dependency, NoticeEvent::Continues)).count()
    };
    assert_eq!(repeats(&rig), 1);
    rig.start();
    rig.accept(10_000);
    assert_eq!(repeats(&rig), 1, "PagerDuty has it now");
}

#[test]
fn another_test_of_a_channel_ends_the_one_that_is_not_answered() {
    let mut rig = Rig::new();
    rig.accept(5);
    assert!(matches!(rig.order(AlertOrder::Test(AlertChannel::Slack)), AlertOrderAnswer::Done(_)));
    rig.run(5, |_| Some(AttemptOutcome::Failed(RetryAdvice::Open)));
    assert!(matches!(rig.order(AlertOrder::Test(AlertChannel::Slack)), AlertOrderAnswer::Done(_)));
    rig.accept(20);
    let last = rig.services.events(AlertChannel::Slack);
    assert_eq!(
        last[last.len() - 2..],
        [(AlertKind::Test, NoticeEvent::Began), (AlertKind::Test, NoticeEvent::Ended)]
    );
    assert_eq!(rig.open(), Vec::<String>::new());
}
