//! Rows of `slo.db` outlive the process: incidents, silences, reports and exclusions.

use super::*;

#[test]
fn acknowledgement_silence_and_rows_outlive_a_kill() {
    let mut rig = Rig::new();
    rig.force_store(Forced::Open);
    rig.accept(40);
    assert_eq!(rig.order(AlertOrder::Acknowledge(1)), AlertOrderAnswer::Done(1));
    let silence = AlertOrder::Silence { prefix: "slo/".into(), why: "move".into(), for_ms: 3_600_000 };
    assert_eq!(rig.order(silence.clone()), AlertOrderAnswer::Done(1));
    assert_eq!(rig.order(AlertOrder::EndSilence(1)), AlertOrderAnswer::Done(1));
    assert_eq!(rig.order(silence.clone()), AlertOrderAnswer::Done(2));
    let unknown = rig.order(AlertOrder::Acknowledge(9));
    assert!(
        matches!(&unknown, AlertOrderAnswer::Unknown(why) if why.starts_with("no incident has the number 9"))
    );
    rig.accept(2);
    rig.start();
    rig.accept(2);
    let report = rig.metrics.alerts.report();
    assert!(report.incidents[0].acknowledged.is_some());
    assert_eq!(report.silences[0].prefix, "slo/");
    assert_eq!(rig.order(AlertOrder::EndSilence(2)), AlertOrderAnswer::Done(2));
    rig.start();
    assert_eq!(rig.order(silence), AlertOrderAnswer::Done(3), "no number is used twice");
    let events = rig.services.events(AlertChannel::Pagerduty);
    assert_eq!(events.last(), Some(&(AlertKind::Dependency, NoticeEvent::Acknowledged)));
    rig.force_store(Forced::Closed);
    rig.accept(130);
    assert_eq!((rig.services.opened, rig.services.resolved), (1, 1));
    rig.force_store(Forced::Open);
    rig.accept(40);
    assert_eq!(rig.metrics.alerts.report().incidents[0].number, 2, "numbers go on after a restart");
}

#[test]
fn report_of_a_week_is_sent_once_at_its_time_and_kept_as_it_was_sent() {
    let mut rig = Rig::new();
    rig.accept(600);
    // The clock began on a Friday at 08:00.
    rig.skip(3 * 86_400 + 3_600 - 60 - rig.second);
    rig.accept(50);
    let sent = |rig: &Rig, channel| {
        let events = rig.services.events(channel);
        events.iter().filter(|event| **event == (AlertKind::Report, NoticeEvent::Reported)).count()
    };
    assert_eq!(sent(&rig, AlertChannel::Slack), 0, "it is not nine o'clock");
    rig.accept(60);
    assert_eq!((sent(&rig, AlertChannel::Slack), sent(&rig, AlertChannel::Pagerduty)), (1, 0));
    let question = SloQuestion::Report { week: IsoWeek::parse("2027-W02"), format: ReportFormat::Text };
    let text = rig.ask(question.clone()).expect("a report");
    assert!(text.starts_with("Seawall test, week 2 (Mon 11 Jan 00:00 to Mon 18 Jan 00:00, UTC)"), "{text}");
    assert!(text.contains("delivery    99.9 %   100 %      kept"), "{text}");
    rig.start();
    rig.accept(60);
    assert_eq!(sent(&rig, AlertChannel::Slack), 1, "not again after a restart");
    rig.keeper().reports.objectives.clear();
    assert_eq!(rig.ask(question), Ok(text), "it says what it said");
    rig.skip(2 * 7 * 86_400);
    rig.start();
    rig.accept(60);
    assert_eq!(sent(&rig, AlertChannel::Slack), 1, "no gateway ran in that week");
    let later = SloQuestion::Report { week: IsoWeek::parse("2027-W52"), format: ReportFormat::Text };
    assert!(matches!(rig.ask(later), Err(SloProblem::Unknown(why)) if why.contains("has not begun")));
}

fn bad_messages(rig: &Rig) -> u64 {
    let report = rig.metrics.slo.report();
    let delivery = report.objectives.iter().find(|objective| objective.name == "delivery");
    let parts = &delivery.expect("an objective").parts;
    parts.iter().find(|part| part.part == SloPart::Publish).expect("a part").bad
}

#[test]
fn events_of_an_exclusion_spend_no_budget_and_begin_no_incident_until_it_is_removed() {
    let mut rig = Rig::new();
    rig.accept(60);
    // The clock began at 08:00.
    let wish = |until: &str| ExclusionWish {
        objective: Some("delivery".into()),
        from: "2027-01-15T08:00".into(),
        until: format!("2027-01-15T{until}"),
        why: "database move".into(),
    };
    let exclude = |wish| SloQuestion::Exclude(wish, "192.0.2.7".into());
    let added = rig.ask(exclude(wish("08:30"))).expect("it is added");
    assert!(added.contains(r#""number":1,"objective":"delivery""#), "{added}");
    let refused = |answer| match answer {
        Err(SloProblem::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(rig.ask(exclude(wish("08:31")))).contains("whole quarters"));
    assert!(refused(rig.ask(exclude(wish("8:30")))).starts_with("until is \"2027-01-15T8:30\""));
    let unknown = ExclusionWish { objective: Some("other".into()), ..wish("08:30") };
    assert!(refused(rig.ask(exclude(unknown))).contains("there are: connection, delivery"));
    rig.traffic = (0, 10);
    rig.accept(1_200);
    rig.traffic = (10, 0);
    rig.start();
    rig.accept(60);
    assert_eq!(bad_messages(&rig), 0);
    assert_eq!(rig.open(), <Vec<String>>::new());
    assert_eq!(rig.services.events(AlertChannel::Slack), []);
    let history = rig.ask(SloQuestion::History { name: "delivery".into(), weeks: 1 }).expect("a history");
    assert!(history.contains(r#""bad":12000,"#), "the rows have all events: {history}");
    let end = SloQuestion::EndExclusion(1, "192.0.2.7".into());
    rig.ask(end.clone()).expect("it is removed");
    rig.accept(20);
    assert_eq!(bad_messages(&rig), 12_000, "they count again");
    assert!(matches!(rig.ask(end), Err(SloProblem::Unknown(why)) if why.contains("number 1")));
    let added = rig.ask(exclude(wish("08:30"))).expect("it is added");
    assert!(added.contains(r#""number":2,"#), "no number is used twice: {added}");
    let list = rig.ask(SloQuestion::Exclusions).expect("a list");
    assert!(list.contains("database move") && list.contains("192.0.2.7"), "{list}");
}

#[test]
fn file_that_cannot_be_opened_is_an_incident_and_is_used_once_it_can() {
    let rig = &mut Rig::new();
    rig.keeper = None;
    let path = rig.folder.path().join(database::FILE_NAME);
    for file in std::fs::read_dir(rig.folder.path()).expect("a folder").flatten() {
        std::fs::remove_file(file.path()).expect("removed");
    }
    std::fs::create_dir(&path).expect("a folder in its place");
    rig.start();
    rig.force_store(Forced::Open);
    rig.accept(50);
    assert_eq!(rig.open(), ["disk/slo.db", "dependency/store"]);
    std::fs::remove_dir(&path).expect("removed");
    rig.accept(90);
    assert_eq!(rig.open(), ["dependency/store"], "opened again");
    rig.start();
    rig.accept(1);
    assert_eq!(rig.open(), ["dependency/store"], "what happened meanwhile was written");
    assert_eq!(rig.services.opened, 1);
}

#[test]
fn stored_incident_reads_as_it_was_written() {
    let mut rig = Rig::new();
    rig.force_store(Forced::Open);
    rig.accept(40);
    let connection = rusqlite::Connection::open(rig.folder.path().join(database::FILE_NAME)).expect("opened");
    let body: String =
        connection.query_row("SELECT body FROM incidents", [], |row| row.get(0)).expect("a row");
    let incident: Incident = serde_json::from_str(&body).expect("an incident");
    assert_eq!((incident.number, incident.key.to_string().as_str()), (1, "dependency/store"));
    assert_eq!(incident.notified.len(), 2);
}

#[test]
fn rows_of_a_time_without_writes_do_not_come_back() {
    let mut rig = Rig::new();
    let silence = AlertOrder::Silence { prefix: "slo/".into(), why: "move".into(), for_ms: 3_600_000 };
    let AlertOrderAnswer::Done(silence) = rig.order(silence) else { panic!("not done") };
    rig.force_store(Forced::Open);
    rig.run(40, |_| Some(AttemptOutcome::Failed(RetryAdvice::Open)));
    let other = rusqlite::Connection::open(rig.folder.path().join(database::FILE_NAME)).expect("opened");
    other
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON notices BEGIN SELECT RAISE(ABORT, 'full'); END;")
        .expect("a trigger");
    rig.accept(30);
    assert_eq!(rig.order(AlertOrder::EndSilence(silence)), AlertOrderAnswer::Done(silence));
    rig.force_store(Forced::Closed);
    rig.accept(130);
    assert_eq!((rig.services.opened, rig.services.resolved), (1, 1));
    other.execute_batch("DROP TRIGGER full").expect("dropped");
    rig.accept(70);
    let count = |text: &str| other.query_row(text, [], |row| row.get::<_, i64>(0)).expect("a count");
    assert_eq!(count("SELECT count(*) FROM notices WHERE fate = 'waiting'"), 0);
    assert_eq!(count("SELECT count(*) FROM incidents WHERE open = 1"), 0);
    assert_eq!(count("SELECT count(*) FROM silences"), 0);
    let tries = rig.services.tries.len();
    rig.start();
    rig.accept(60);
    assert_eq!(rig.services.tries.len(), tries, "{:?}", rig.services.tries);
    assert_eq!(rig.open(), Vec::<String>::new());
}

#[test]
fn rows_that_could_not_be_read_at_the_start_are_merged_later() {
    let mut rig = Rig::new();
    let silence = AlertOrder::Silence { prefix: "slo/".into(), why: "move".into(), for_ms: 3_600_000 };
    assert!(matches!(rig.order(silence), AlertOrderAnswer::Done(_)));
    rig.force_store(Forced::Open);
    rig.accept(40);
    assert!(matches!(rig.order(AlertOrder::Test(AlertChannel::Slack)), AlertOrderAnswer::Done(2)));
    rig.run(2, |_| None);
    rig.keeper = None;
    let path = rig.folder.path().join(database::FILE_NAME);
    let away = rig.folder.path().join("away");
    std::fs::rename(&path, &away).expect("moved");
    std::fs::create_dir(&path).expect("a folder in its place");
    rig.start();
    rig.accept(50);
    assert_eq!(rig.open(), ["disk/slo.db", "dependency/store"]);
    std::fs::remove_dir(&path).expect("removed");
    std::fs::rename(&away, &path).expect("moved back");
    rig.accept(120);
    assert_eq!(rig.open(), ["dependency/store"]);
    let report = rig.metrics.alerts.report();
    assert_eq!(report.silences.len(), 1);
    let stored = report.incidents.iter().find(|incident| incident.number == 1).expect("the stored one");
    assert_eq!(stored.end.map(|end| end.all_clear), Some(AllClear::Removed));
    assert_eq!(rig.services.open.len(), 1, "the end of the stored one does not end the new one");
}

#[test]
fn order_whose_operator_has_gone_is_logged_with_its_address() {
    let mut rig = Rig::new();
    rig.force_store(Forced::Open);
    rig.accept(40);
    let logs = super::logs::Logs::default();
    let silence = AlertOrder::Silence { prefix: "slo/".into(), why: "move".into(), for_ms: 3_600_000 };
    let orders = [
        (AlertOrder::Acknowledge(1), "incident acknowledged incident=1 by"),
        (silence, r#"silence begun number=1 prefix="slo/" why="move" for_ms=3600000 by"#),
        (AlertOrder::EndSilence(1), "silence ended number=1 by"),
        (AlertOrder::Test(AlertChannel::Slack), r#"channel test begun incident=2 channel="slack" by"#),
        (AlertOrder::Resend(AlertChannel::Slack), r#"notices sent again count=0 channel="slack" by"#),
    ];
    for (order, line) in orders {
        let (reply, gone) = bounded(1);
        drop(gone);
        logs.keep(|| rig.keeper().order(AlertRequest { order, by: "192.0.2.7".into(), reply }));
        assert_eq!(logs.count(&format!("audit: {line}=\"192.0.2.7\"")), 1, "{line}: {}", logs.text());
    }
    let (reply, _answer) = bounded(1);
    let unknown = AlertOrder::Acknowledge(9);
    logs.keep(|| rig.keeper().order(AlertRequest { order: unknown, by: "192.0.2.7".into(), reply }));
    assert_eq!(logs.count("audit: "), 5, "one that is refused changes nothing: {}", logs.text());
}
