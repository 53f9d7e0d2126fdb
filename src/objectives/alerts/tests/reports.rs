//! The report of a week: one leader sends it.

use super::*;
use crate::objectives::alerts::reports::ReportDuty;
use crate::objectives::report_rows::{self, StoredReport};

const WEEK_MS: u64 = 7 * 86_400_000;

fn report(from_ms: u64, made_ms: u64) -> StoredReport {
    StoredReport {
        deployment: "seawall".into(),
        week: "2027-W02".into(),
        from_ms,
        made_ms,
        text: "all kept".into(),
        markdown: String::new(),
        json: "{}".into(),
    }
}

#[test]
fn report_is_sent_by_the_leader_and_not_again_by_the_next_one() {
    let mut pair = Pair::new();
    pair.instances.iter().for_each(|it| it.file.execute_batch(report_rows::TABLES).expect("tables"));
    pair.lead(Some(0));
    let from_ms = START_MS - WEEK_MS;
    let duties = |pair: &Pair| [0, 1].map(|of| pair.instances[of].desk.reports(from_ms));
    assert_eq!(duties(&pair), [ReportDuty::OfAnother; 2], "no rows were read");
    pair.run(3, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(duties(&pair), [ReportDuty::Due, ReportDuty::OfAnother]);
    let now_ms = pair.now_ms;
    pair.instances[0].desk.send_report(report(from_ms, now_ms), "a week".into(), now_ms);
    pair.run(2, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Reported)]);
    pair.lead(Some(1));
    pair.run(3, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(duties(&pair), [ReportDuty::OfAnother, ReportDuty::Done]);
    assert_eq!(pair.instances[1].desk.reports(from_ms + WEEK_MS), ReportDuty::Due, "the next week");
}

#[test]
fn report_that_could_not_be_written_is_written_later() {
    let mut pair = Pair::new();
    pair.lead(Some(0));
    pair.run(3, InstanceVerdict::Well, &[0]);
    let now_ms = pair.now_ms;
    pair.instances[0].desk.send_report(report(START_MS - WEEK_MS, now_ms), "a week".into(), now_ms);
    let Instance { desk, file, .. } = &mut pair.instances[0];
    let now = Now { at: Moment::from_micros(now_ms * 1_000), unix_ms: now_ms };
    assert!(desk.turn(Some(file), now, now_ms).is_err(), "its table is missing");
    file.execute_batch(report_rows::TABLES).expect("tables");
    pair.run(2, InstanceVerdict::Well, &[0]);
    let count = pair.instances[0].file.query_row("SELECT count(*) FROM reports", [], |row| row.get(0));
    assert_eq!(count, Ok(1));
}
