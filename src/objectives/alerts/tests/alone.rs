//! Leaders that the store does not answer.

use super::*;

/// Two instances that are well, of which the first leads.
fn led_by_first() -> Pair {
    let mut pair = Pair::new();
    pair.lead(Some(0));
    pair.run(5, InstanceVerdict::Well, &[0, 1]);
    pair
}

#[test]
fn last_leader_sends_while_the_store_is_away_and_ends_what_only_it_knows() {
    let mut pair = led_by_first();
    pair.lead(None);
    pair.run(40, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began)], "only the last leader sends");
    // The store is back, and it leads again: the store has everything.
    pair.lead(Some(0));
    pair.run(15, InstanceVerdict::Ill, &[0, 1]);
    let open: Vec<bool> = pair.rows.lock().incidents.values().map(|(open, _)| *open).collect();
    assert_eq!((pair.sent.len(), open), (1, vec![true]));
    // The same, and another one leads after it.
    pair.run(LONG, InstanceVerdict::Well, &[0, 1]);
    pair.sent.clear();
    pair.lead(None);
    pair.run(40, InstanceVerdict::Ill, &[0, 1]);
    pair.restart(0);
    pair.lead(Some(1));
    pair.run(LONG, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began), (0, NoticeEvent::Ended)]);
}

#[test]
fn notice_that_was_accepted_while_the_store_was_away_is_a_sent_row_when_it_is_back() {
    let mut pair = led_by_first();
    pair.lead(None);
    pair.run(40, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began)]);
    pair.lead(Some(0));
    pair.run(15, InstanceVerdict::Ill, &[0, 1]);
    let fates: Vec<&str> = pair.rows.lock().notices.values().map(|(fate, _)| *fate).collect();
    assert_eq!((fates, pair.sent.len()), (vec!["sent"], 1));
    assert!(pair.instances[0].desk.leadership.over_unshared.is_empty(), "they are not written again");
}

#[test]
fn incident_that_the_last_leader_sent_alone_is_sent_once_more_and_marked_by_the_next() {
    let mut pair = led_by_first();
    pair.lead(None);
    pair.run(40, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.messages, [(1, false)]);
    pair.lead(Some(1));
    pair.run(20, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began), (1, NoticeEvent::Began)]);
    assert_eq!(pair.messages, [(1, false), (1, true)]);
    // Outages and leaders that follow send nothing: the rows have it.
    for leader in [0, 1, 0] {
        pair.lead(None);
        pair.run(40, InstanceVerdict::Ill, &[0, 1]);
        pair.lead(Some(leader));
        pair.run(20, InstanceVerdict::Ill, &[0, 1]);
    }
    assert_eq!(pair.messages.len(), 2);
    pair.run(LONG, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(pair.sent[2..], [(0, NoticeEvent::Ended)], "one end for both");
    assert_eq!(pair.messages[2..], [(1, false)], "only the begin may be a repeat");
    let open = pair.rows.lock().incidents.values().filter(|(open, _)| *open).count();
    assert_eq!(open, 0);
}

#[test]
fn leader_that_alone_is_cut_off_from_the_store_sends_nothing() {
    let mut pair = led_by_first();
    pair.cut_off_first();
    pair.run(40, InstanceVerdict::Ill, &[0]);
    assert_eq!(pair.sent, []);
    assert!(pair.instances[0].desk.incidents.open().any(|it| it.notified.is_empty()));
}

#[test]
fn leader_that_alone_is_cut_off_leaves_the_end_of_its_incident_to_the_next() {
    let mut pair = Pair::new();
    pair.lead(Some(0));
    pair.run(20, InstanceVerdict::Ill, &[0, 1]);
    pair.cut_off_first();
    pair.run(LONG, InstanceVerdict::Well, &[0]);
    assert_eq!(pair.instances[0].desk.incidents.open().count(), 0, "it is over for that one as well");
    assert_eq!(pair.sent, [(0, NoticeEvent::Began)]);
    pair.lead(Some(1));
    pair.run(LONG, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began), (1, NoticeEvent::Ended)]);
}

#[test]
fn leader_whose_calls_have_no_answer_sends_after_a_minute() {
    let mut pair = led_by_first();
    pair.rows.lock().is_silent = true;
    pair.run(50, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent, [], "another instance may lead");
    pair.run(40, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began)]);
    // The next one gets no answer either. It has not read that the incident was sent.
    pair.lead(Some(1));
    pair.run(50, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent.len(), 1);
    pair.run(40, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent[1..], [(1, NoticeEvent::Began)]);
    pair.rows.lock().is_silent = false;
    pair.run(20, InstanceVerdict::Ill, &[0, 1]);
    let open = pair.rows.lock().incidents.values().filter(|(open, _)| *open).count();
    assert_eq!((pair.sent.len(), open), (2, 1), "it takes its own over");
    assert_eq!(pair.messages, [(1, false), (1, true)]);
}

/// The first instance notifies of an incident without the store, and its end waits for Slack while another instance leads.
fn with_unshared_end() -> Pair {
    let mut pair = led_by_first();
    pair.lead(None);
    pair.run(40, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began)]);
    pair.is_slack_down = true;
    pair.run(LONG, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(pair.instances[0].desk.incidents.open().count(), 0);
    pair.lead(Some(1));
    pair.run(5, InstanceVerdict::Well, &[0, 1]);
    pair
}

#[test]
fn end_that_only_an_earlier_leader_knows_is_sent_by_it() {
    let mut pair = with_unshared_end();
    pair.is_slack_down = false;
    pair.run(2 * LONG, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began), (0, NoticeEvent::Ended)]);
}

#[test]
fn end_that_only_one_instance_knows_is_shared_when_it_leads_again() {
    let mut pair = with_unshared_end();
    // The rows have an incident of the same number.
    pair.is_slack_down = false;
    pair.run(20, InstanceVerdict::Ill, &[1]);
    pair.run(LONG, InstanceVerdict::Well, &[1]);
    let before = pair.rows.lock().incidents.clone();
    assert_eq!((before.len(), pair.sent.len()), (1, 3));
    (pair.is_slack_down, pair.sent) = (true, Vec::new());
    pair.lead(Some(0));
    pair.run(5, InstanceVerdict::Well, &[0, 1]);
    let mut rows = pair.rows.lock().incidents.clone();
    assert!(before.iter().all(|(number, row)| rows.remove(number).as_ref() == Some(row)), "it is as it was");
    assert!(rows.values().any(|(open, body)| !open && body.contains("gw-9")), "{rows:?}");
    pair.restart(0);
    pair.is_slack_down = false;
    pair.lead(Some(1));
    pair.run(2 * LONG, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(pair.sent, [(1, NoticeEvent::Ended)], "once");
    assert!(pair.rows.lock().notices.values().all(|(fate, _)| *fate != "waiting"));
}
