//! The order and the pace of the notices of a channel.

use super::*;

/// PagerDuty's side: open incidents by key, and how many were ever opened.
#[derive(Default)]
struct Service {
    open: BTreeMap<String, u64>,
    opened: u64,
    resolved: u64,
}

impl Service {
    fn take(&mut self, notice: &AlertNotice) {
        let key = notice.content.key.to_string();
        match notice.content.event {
            NoticeEvent::Began | NoticeEvent::Continues => {
                self.opened += u64::from(self.open.insert(key, notice.content.incident).is_none());
            }
            NoticeEvent::Acknowledged | NoticeEvent::Reported => {}
            // A resolve without an open alert is dropped.
            NoticeEvent::Ended => self.resolved += u64::from(self.open.remove(&key).is_some()),
        }
    }
}

fn notice(id: u64, name: &str, incident: u64, event: NoticeEvent, at_ms: u64) -> AlertNotice {
    let mut incidents = Incidents::default();
    let (_, mut drafts) = incidents.begin_test(AlertChannel::Slack, at_ms);
    let NoticeDraft { mut content, .. } = drafts.pop().expect("a begin");
    content.key = AlertKey::new(AlertKind::Dependency, name);
    (content.incident, content.event, content.severity) = (incident, event, AlertSeverity::Critical);
    AlertNotice::new(id, AlertChannel::Pagerduty, content)
}

#[test]
fn end_never_overtakes_its_begin_and_other_keys_pass_a_stuck_one() {
    let mut queue = ChannelQueue::new(AlertChannel::Pagerduty);
    queue.push(notice(1, "a", 1, NoticeEvent::Began, 0));
    queue.push(notice(2, "b", 2, NoticeEvent::Began, 0));
    let tried = queue.next(0).expect("due");
    assert_eq!((tried.id, tried.tries), (1, 1));
    assert_eq!(queue.next(0), None, "one at a time");
    // No answer: it may have been accepted.
    queue.answered(1, AttemptOutcome::Failed(RetryAdvice::Open), 0, 0.5);
    queue.push(notice(3, "a", 1, NoticeEvent::Ended, 0));
    assert_eq!(queue.next(0).map(|notice| notice.id), Some(2), "another key is not held up");
    queue.answered(2, AttemptOutcome::Accepted, 0, 0.5);
    let merged: Vec<u64> = queue.merge().iter().map(|notice| notice.id).collect();
    assert_eq!(merged, [1]);
    assert_eq!(queue.next(0).map(|notice| notice.id), Some(3), "the end alone");
}

#[test]
fn what_came_and_went_while_a_channel_could_not_be_reached_is_not_sent() {
    let mut queue = ChannelQueue::new(AlertChannel::Slack);
    for (id, event) in
        [NoticeEvent::Began, NoticeEvent::Continues, NoticeEvent::Ended].into_iter().enumerate()
    {
        queue.push(notice(id as u64, "a", 1, event, 0));
    }
    queue.push(notice(9, "a", 2, NoticeEvent::Began, 0));
    assert_eq!(queue.merge().len(), 3);
    assert_eq!(queue.next(0).map(|notice| notice.id), Some(9));
    queue.push(notice(10, "a", 2, NoticeEvent::Ended, 0));
    assert_eq!(queue.merge(), [], "the begin is being tried");
}

#[test]
fn retry_after_of_429_pauses_the_whole_channel() {
    let mut queue = ChannelQueue::new(AlertChannel::Pagerduty);
    queue.push(notice(1, "a", 1, NoticeEvent::Began, 0));
    queue.push(notice(2, "b", 2, NoticeEvent::Began, 0));
    queue.next(0).expect("due");
    let (_, fate) = queue.answered(1, outcome(429, Some(7_000)), 0, 0.5).expect("tried");
    assert_eq!(fate, NoticeFate::Waits);
    assert_eq!(queue.next(6_999), None);
    assert_eq!(queue.next(7_000).map(|notice| notice.id), Some(1));
}

#[test]
fn retry_after_of_nothing_is_no_hot_loop_and_lets_other_alerts_pass() {
    let mut queue = ChannelQueue::new(AlertChannel::Pagerduty);
    queue.push(notice(1, "a", 1, NoticeEvent::Began, 0));
    queue.push(notice(2, "b", 2, NoticeEvent::Began, 0));
    queue.next(0).expect("due");
    queue.answered(1, outcome(429, Some(0)), 0, 0.5).expect("tried");
    assert_eq!(queue.next(1).map(|notice| notice.id), Some(2));
    queue.answered(2, AttemptOutcome::Accepted, 1, 0.5).expect("tried");
    assert_eq!(queue.next(999), None);
    assert_eq!(queue.next(1_000).map(|notice| notice.id), Some(1));
}

#[test]
fn slack_gets_a_message_a_second_and_twenty_a_minute() {
    let mut queue = ChannelQueue::new(AlertChannel::Slack);
    for id in 0..30 {
        queue.push(notice(id, &format!("n{id}"), id, NoticeEvent::Acknowledged, 0));
    }
    let mut times = Vec::new();
    for tenth in 0..700 {
        if let Some(notice) = queue.next(tenth * 100) {
            queue.answered(notice.id, AttemptOutcome::Accepted, tenth * 100, 0.5);
            times.push(tenth * 100);
        }
    }
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{times:?}");
    assert_eq!(times.iter().filter(|at| **at < MINUTE).count(), 20);
}

#[test]
fn begins_that_wait_for_slack_are_one_message_and_share_its_answer() {
    let mut queue = ChannelQueue::new(AlertChannel::Slack);
    for id in 0..12 {
        queue.push(notice(id, &format!("n{id}"), id, NoticeEvent::Began, 0));
    }
    queue.push(notice(20, "n3", 3, NoticeEvent::Continues, 0));
    queue.push(notice(21, "other", 21, NoticeEvent::Ended, 0));
    let lead = queue.next(0).expect("due");
    let companions: Vec<u64> = queue.companions(&lead, 0, |_| true).iter().map(|notice| notice.id).collect();
    assert_eq!((lead.id, companions.clone()), (0, (1..10).collect()), "ten begins, and nothing else");
    assert_eq!(queue.next(1_000), None, "they are being tried");
    queue.answered(0, AttemptOutcome::Accepted, 0, 0.5).expect("tried");
    for id in companions {
        assert_eq!(queue.next(1_000), None, "not all are answered");
        let (notice, fate) = queue.answered(id, AttemptOutcome::Accepted, 0, 0.5).expect("tried");
        assert_eq!((notice.tries, fate), (1, NoticeFate::Sent));
    }
    let lead = queue.next(1_000).expect("due");
    let companions = queue.companions(&lead, 1_000, |_| true);
    assert_eq!((lead.id, companions.len(), companions[0].id), (10, 1, 11));
    let mut queue = ChannelQueue::new(AlertChannel::Pagerduty);
    (0..2).for_each(|id| drop(queue.push(notice(id, &format!("n{id}"), id, NoticeEvent::Began, 0))));
    let lead = queue.next(0).expect("due");
    assert_eq!(queue.companions(&lead, 0, |_| true), [], "PagerDuty needs each with its key");
}

#[test]
fn full_queue_gives_up_repeats_and_warnings_before_the_begin_of_a_critical_incident() {
    let mut queue = ChannelQueue::new(AlertChannel::Webhook);
    queue.push(notice(0, "x", 0, NoticeEvent::Continues, 0));
    let mut warning = notice(1, "y", 1, NoticeEvent::Began, 0);
    warning.content.severity = AlertSeverity::Warning;
    queue.push(warning);
    for id in 2..QUEUE_MAX as u64 {
        assert_eq!(queue.push(notice(id, &format!("n{id}"), id, NoticeEvent::Began, 0)), []);
    }
    let lost: Vec<u64> = (2_000..2_003)
        .map(|id| queue.push(notice(id, &format!("n{id}"), id, NoticeEvent::Began, 0))[0].0.id)
        .collect();
    assert_eq!((lost, queue.len()), (vec![0, 1, 2_002], QUEUE_MAX));
}

#[test]
fn notice_that_no_answer_came_for_within_a_day_is_given_up() {
    let mut queue = ChannelQueue::new(AlertChannel::Pagerduty);
    queue.push(notice(1, "a", 1, NoticeEvent::Began, 0));
    let (mut now, mut tries) = (0, 0);
    loop {
        let Some(tried) = queue.next(now) else {
            now += 1_000;
            continue;
        };
        tries += 1;
        let (_, fate) = queue.answered(tried.id, outcome(503, None), now, 0.5).expect("tried");
        if fate == NoticeFate::Dead {
            break;
        }
    }
    assert!((24 * 60..24 * 60 + 6).contains(&(now / MINUTE)) && (280..320).contains(&tries), "{now} {tries}");
}

proptest! {
    /// A service that fails at random, and loses answers, still ends in the true state, and opens an incident at most once.
    #[test]
    fn delivered_notices_end_in_the_true_state(
        changes in prop::collection::vec((0_usize..3, 1_u64..30_000), 1..60),
        answers in prop::collection::vec(0_u8..6, 0..300),
        channel in prop::sample::select(&AlertChannel::ALL[..]),
    ) {
        let mut queue = ChannelQueue::new(channel);
        let (mut service, mut order) = (Service::default(), Vec::new());
        let (mut truth, mut id, mut incident, mut now) = ([None; 3], 0, 0, 0);
        let mut answers = answers.into_iter();
        let calm = (0..400).map(|_| (usize::MAX, 300_000));
        for (key, passed) in changes.into_iter().chain(calm) {
            if let Some(state) = truth.get_mut(key) {
                let (number, event) = match state.take() {
                    Some(open) => (open, NoticeEvent::Ended),
                    None => {
                        incident += 1;
                        *state = Some(incident);
                        (incident, NoticeEvent::Began)
                    }
                };
                id += 1;
                queue.push(notice(id, ["a", "b", "c"][key], number, event, now));
            }
            now += passed;
            queue.merge();
            while let Some(lead) = queue.next(now) {
                let mut message = queue.companions(&lead, now, |_| true);
                message.insert(0, lead);
                let answer = answers.next().unwrap_or(0);
                let outcome = match answer {
                    0 => AttemptOutcome::Accepted,
                    2 => outcome(429, Some(5_000)),
                    _ => AttemptOutcome::Failed(RetryAdvice::Open),
                };
                for tried in message {
                    if matches!(answer, 0 | 1) {
                        service.take(&tried);
                        order.push((tried.content.key.clone(), tried.id));
                    }
                    queue.answered(tried.id, outcome, now, 0.5);
                }
                queue.merge();
            }
        }
        prop_assert!(queue.is_empty());
        for (key, state) in ["dependency/a", "dependency/b", "dependency/c"].into_iter().zip(truth) {
            prop_assert_eq!(service.open.get(key).copied(), state);
        }
        prop_assert!(service.opened <= incident && service.resolved <= service.opened);
        for window in order.windows(2) {
            prop_assert!(window[0].0 != window[1].0 || window[0].1 <= window[1].1, "{:?}", order);
        }
    }
}
