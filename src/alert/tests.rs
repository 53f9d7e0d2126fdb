mod queue;

use super::channel::AlertChannel;
use super::hold::{HoldReason, SenderRole};
use super::incidents::{IncidentStep, Incidents};
use super::key::{AlertKey, AlertKind, AlertSeverity};
use super::machine::{AlertCondition, AlertRule, EndRule, EventEvidence};
use super::notice::{AlertNotice, NoticeDraft, NoticeEvent};
use super::order::{ChannelQueue, NoticeFate, QUEUE_MAX};
use super::reading::AlertReading;
use super::retry::{AttemptOutcome, RetryAdvice, outcome};
use super::routing::{AlertMode, AlertRouting};
use proptest::prelude::*;
use std::collections::BTreeMap;

const RULE: AlertRule = AlertRule { begin_after_ms: 25_000, end: EndRule::After(120_000) };
const MINUTE: u64 = 60_000;

fn routing() -> AlertRouting {
    let both = vec![AlertChannel::Pagerduty, AlertChannel::Slack];
    AlertRouting {
        mode: AlertMode::Send,
        critical: both.clone(),
        warning: vec![AlertChannel::Slack],
        info: vec![AlertChannel::Slack],
        escalate: both,
        escalate_ms: 15 * MINUTE,
    }
}

fn reading(kind: AlertKind, name: &str, condition: AlertCondition) -> AlertReading {
    let severity = match kind {
        AlertKind::Leak | AlertKind::Low | AlertKind::Alerting => AlertSeverity::Warning,
        _ => AlertSeverity::Critical,
    };
    AlertReading {
        key: AlertKey::new(kind, name),
        severity,
        rule: RULE,
        condition,
        events: EventEvidence::default(),
        text: "text".into(),
        reference: None,
        is_explained: false,
    }
}

/// Incidents with a clock and the notices so far.
struct Desk {
    incidents: Incidents,
    routing: AlertRouting,
    role: SenderRole,
    now: u64,
    sent: Vec<NoticeDraft>,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            incidents: Incidents::default(),
            routing: routing(),
            role: SenderRole::Sends,
            now: 1_000,
            sent: Vec::new(),
        }
    }

    /// Gives these readings each second for a time, in milliseconds.
    fn run(&mut self, readings: &[AlertReading], ms: u64) {
        for _ in 0..ms / 1_000 {
            self.now += 1_000;
            let storm = self.incidents.storm();
            self.incidents.read(readings, self.now);
            self.incidents.read(&[storm], self.now);
            let drafts = self.incidents.notices(&self.routing, self.role, self.now);
            drafts.iter().for_each(|draft| self.incidents.delivered(draft.content.incident, draft.channel));
            self.sent.extend(drafts);
        }
    }

    /// The events that a channel was sent, with the kinds of their alerts.
    fn events(&self, channel: AlertChannel) -> Vec<(AlertKind, NoticeEvent)> {
        let of = self.sent.iter().filter(|draft| draft.channel == channel);
        of.map(|draft| (draft.content.key.kind, draft.content.event)).collect()
    }

    /// Restarts the process: only what is stored goes on.
    fn restart(&mut self) {
        let open: Vec<_> = self.incidents.open().cloned().collect();
        let text = serde_json::to_string(&open).expect("JSON");
        let open = serde_json::from_str(&text).expect("incidents");
        let last = self.incidents.open().map(|incident| incident.number).max().unwrap_or(0);
        self.now += 5_000;
        self.incidents =
            Incidents::restore(last, open, self.incidents.silences.list().to_vec(), Vec::new(), self.now);
    }
}

#[test]
fn fifty_flaps_of_a_minute_and_three_restarts_are_one_begin_and_one_end() {
    let mut desk = Desk::new();
    let at = |condition| [reading(AlertKind::Dependency, "store", condition)];
    for flap in 0..50 {
        desk.run(&at(AlertCondition::Over), MINUTE);
        if flap % 15 == 7 {
            desk.restart();
        }
        desk.run(&at(AlertCondition::Clear), MINUTE);
    }
    desk.run(&at(AlertCondition::Clear), 3 * MINUTE);
    let expected = [(AlertKind::Dependency, NoticeEvent::Began), (AlertKind::Dependency, NoticeEvent::Ended)];
    for channel in [AlertChannel::Pagerduty, AlertChannel::Slack] {
        assert_eq!(desk.events(channel), expected, "{channel:?}");
    }
}

#[test]
fn channel_that_was_sent_a_begin_is_sent_the_end_although_all_is_silenced() {
    for change in 0..3 {
        let mut desk = Desk::new();
        let at = |condition| [reading(AlertKind::Dependency, "store", condition)];
        desk.run(&at(AlertCondition::Over), MINUTE);
        match change {
            0 => drop(desk.incidents.silences.add(String::new(), String::new(), desk.now, u64::MAX / 2)),
            1 => desk.routing.mode = AlertMode::Observe,
            _ => desk.routing.critical.clear(),
        }
        desk.run(&at(AlertCondition::Clear), 3 * MINUTE);
        assert_eq!(
            desk.events(AlertChannel::Slack).last(),
            Some(&(AlertKind::Dependency, NoticeEvent::Ended))
        );
        assert_eq!(desk.sent.len(), 4, "{change}: {:?}", desk.sent);
    }
}

#[test]
fn incident_with_only_the_wait_for_others_left_begins_with_another_one() {
    let mut incidents = Incidents::default();
    let over = |name: &str| reading(AlertKind::Dependency, name, AlertCondition::Over);
    // The sources of readings are read one by one, at different times.
    let mut begun = Vec::new();
    for second in 0..=60 {
        let now = second * 1_000;
        let is_read = |name: &&str| match *name {
            "early" => true,
            "later" => second >= 9 && second % 10 == 9,
            "late" => second >= 20,
            // It is over for a moment, and not read again.
            _ => second == 5,
        };
        for name in ["early", "later", "late", "gone"].iter().filter(|name| is_read(name)) {
            for step in incidents.read(&[over(name)], now) {
                let IncidentStep::Began(number) = step else { panic!("{step:?}") };
                let incident = incidents.open().find(|it| it.number == number).expect("it is open");
                begun.push((incident.key.name.to_string(), second));
            }
        }
    }
    let expected = [("early", 25), ("later", 25), ("late", 45)].map(|(name, at)| (name.to_owned(), at));
    assert_eq!(begun, expected, "the rule of all is 25 s, with the wait of 10 s");
    incidents.read(&[], 700_000);
    assert!(!incidents.pending.has(&AlertKey::new(AlertKind::Dependency, "gone")), "it is forgotten");
}

#[test]
fn silenced_incident_is_sent_at_the_end_of_the_silence_if_it_still_fires() {
    let mut desk = Desk::new();
    let at = |condition| [reading(AlertKind::Dependency, "store", condition)];
    desk.incidents.silences.add("dependency/".into(), String::new(), desk.now, 10 * MINUTE);
    desk.run(&at(AlertCondition::Over), 9 * MINUTE);
    assert_eq!(desk.sent, []);
    let incident = desk.incidents.open().next().cloned().expect("it fires");
    let held = desk.incidents.held(&incident, &desk.routing, desk.role, desk.now);
    assert_eq!(held, Some(HoldReason::Silenced));
    desk.run(&at(AlertCondition::Over), 2 * MINUTE);
    assert_eq!(desk.events(AlertChannel::Slack), [(AlertKind::Dependency, NoticeEvent::Began)]);
}

#[test]
fn effect_of_an_outage_is_held_until_it_outlasts_the_outage_by_five_minutes() {
    let mut desk = Desk::new();
    let burn =
        |condition| AlertReading { is_explained: true, ..reading(AlertKind::Burn, "delivery", condition) };
    let store = |condition| reading(AlertKind::Dependency, "store", condition);
    desk.run(&[store(AlertCondition::Over), burn(AlertCondition::Over)], 10 * MINUTE);
    desk.run(&[store(AlertCondition::Clear), burn(AlertCondition::Over)], 6 * MINUTE);
    let kinds =
        |desk: &Desk| desk.events(AlertChannel::Slack).iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
    assert_eq!(kinds(&desk), [AlertKind::Dependency; 2]);
    desk.run(&[burn(AlertCondition::Over)], 3 * MINUTE);
    assert_eq!(kinds(&desk).last(), Some(&AlertKind::Burn));

    let mut desk = Desk::new();
    let own = AlertReading { is_explained: false, ..burn(AlertCondition::Over) };
    let leak = reading(AlertKind::Leak, "delivery", AlertCondition::Over);
    let spent = reading(AlertKind::Spent, "delivery", AlertCondition::Over);
    desk.run(&[store(AlertCondition::Over), own.clone(), leak, spent.clone()], MINUTE);
    assert_eq!(kinds(&desk), [AlertKind::Dependency, AlertKind::Burn], "its own events, and what it covers");
    desk.run(&[own, spent], 31 * MINUTE);
    assert!(kinds(&desk).contains(&AlertKind::Spent), "it burns for long enough");
}

#[test]
fn seventh_critical_incident_of_an_hour_goes_into_the_storm() {
    let mut desk = Desk::new();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let all = |condition| names.map(|name| reading(AlertKind::Dependency, name, condition));
    desk.run(&all(AlertCondition::Over), 2 * MINUTE);
    let events = desk.events(AlertChannel::Pagerduty);
    let count = |kind| events.iter().filter(|event| **event == (kind, NoticeEvent::Began)).count();
    assert_eq!((count(AlertKind::Dependency), count(AlertKind::Storm)), (6, 1));
    desk.run(&all(AlertCondition::Clear), 15 * MINUTE);
    let events = desk.events(AlertChannel::Pagerduty);
    assert_eq!(events.len(), 14, "each begin has its end: {events:?}");
}

#[test]
fn critical_incident_is_repeated_until_an_operator_acknowledges_it() {
    let mut desk = Desk::new();
    (desk.routing.critical, desk.routing.escalate) = (vec![AlertChannel::Slack], vec![AlertChannel::Slack]);
    let store = [reading(AlertKind::Dependency, "store", AlertCondition::Over)];
    desk.run(&store, 61 * MINUTE);
    let continues =
        |desk: &Desk| desk.sent.iter().filter(|draft| draft.content.event == NoticeEvent::Continues).count();
    assert_eq!(continues(&desk), 2);
    assert!(desk.incidents.acknowledge(1, desk.now) && !desk.incidents.acknowledge(2, desk.now));
    desk.run(&store, 10 * 60 * MINUTE);
    assert_eq!(continues(&desk), 2);

    let mut desk = Desk::new();
    desk.run(&store, 2 * 60 * MINUTE);
    assert_eq!(desk.sent.len(), 2, "PagerDuty escalates by itself");
    desk.incidents.acknowledge(1, desk.now);
    desk.run(&store, MINUTE);
    assert_eq!(
        desk.events(AlertChannel::Pagerduty).last(),
        Some(&(AlertKind::Dependency, NoticeEvent::Acknowledged))
    );
    assert_eq!(desk.sent.len(), 3);
}

#[test]
fn pagerduty_in_escalate_is_notified_at_the_first_repeat_and_once() {
    let mut desk = Desk::new();
    desk.routing.critical = vec![AlertChannel::Slack];
    desk.routing.escalate = vec![AlertChannel::Pagerduty];
    let store = [reading(AlertKind::Dependency, "store", AlertCondition::Over)];
    desk.run(&store, 16 * MINUTE);
    let began = [(AlertKind::Dependency, NoticeEvent::Began)];
    assert_eq!(desk.events(AlertChannel::Pagerduty), began);
    desk.run(&store, 10 * 60 * MINUTE);
    assert_eq!(desk.events(AlertChannel::Pagerduty), began);
}

#[test]
fn warning_that_becomes_critical_is_sent_to_the_channels_of_critical_incidents() {
    let mut desk = Desk::new();
    let with =
        |severity| [AlertReading { severity, ..reading(AlertKind::Spent, "delivery", AlertCondition::Over) }];
    desk.run(&with(AlertSeverity::Warning), MINUTE);
    assert_eq!(desk.events(AlertChannel::Pagerduty), []);
    desk.run(&with(AlertSeverity::Critical), MINUTE);
    let began = (AlertKind::Spent, NoticeEvent::Began);
    assert_eq!(desk.events(AlertChannel::Pagerduty), [began]);
    assert_eq!(desk.sent.last().map(|draft| draft.content.severity), Some(AlertSeverity::Critical));
    assert_eq!(desk.events(AlertChannel::Slack), [began, (AlertKind::Spent, NoticeEvent::Continues)]);
    desk.run(&with(AlertSeverity::Warning), 10 * MINUTE);
    assert_eq!(desk.sent.len(), 3, "it stays critical");
}

#[test]
fn repeats_do_not_come_in_bursts() {
    let continues =
        |desk: &Desk| desk.sent.iter().filter(|draft| draft.content.event == NoticeEvent::Continues).count();
    let store = [reading(AlertKind::Dependency, "store", AlertCondition::Over)];
    let slack = || {
        let mut desk = Desk::new();
        (desk.routing.critical, desk.routing.escalate) =
            (vec![AlertChannel::Slack], vec![AlertChannel::Slack]);
        desk
    };
    let mut desk = slack();
    desk.run(&store, MINUTE);
    desk.incidents.silences.add(String::new(), String::new(), desk.now, 10 * 60 * MINUTE);
    desk.run(&store, 10 * 60 * MINUTE + 10 * MINUTE);
    assert_eq!(continues(&desk), 1, "after a silence");
    let mut desk = slack();
    desk.routing.escalate_ms = 120 * MINUTE;
    desk.run(&store, 125 * MINUTE);
    assert_eq!(continues(&desk), 1, "with a long time until the first repeat");
}

#[test]
fn clock_that_was_set_back_before_a_restart_delays_nothing() {
    let mut desk = Desk::new();
    (desk.routing.critical, desk.routing.escalate) = (vec![AlertChannel::Slack], vec![AlertChannel::Slack]);
    desk.now = 10_000 * MINUTE;
    let store = [reading(AlertKind::Dependency, "store", AlertCondition::Over)];
    desk.incidents.silences.add("slo/".into(), String::new(), desk.now, 10 * MINUTE);
    desk.run(&store, MINUTE);
    desk.now = MINUTE;
    desk.restart();
    let incident = desk.incidents.open().next().expect("it goes on");
    assert!(incident.since_ms <= desk.now && incident.notified[0].at_ms <= desk.now, "{incident:?}");
    assert!(desk.incidents.silences.list()[0].until_ms <= desk.now + 24 * 60 * MINUTE);
    desk.run(&store, 15 * MINUTE);
    let repeat = (AlertKind::Dependency, NoticeEvent::Continues);
    assert_eq!(desk.events(AlertChannel::Slack).last(), Some(&repeat));
}

#[test]
fn follower_sends_nothing_until_it_leads_and_alerts_that_are_gone_end() {
    let mut desk = Desk::new();
    desk.role = SenderRole::Follows;
    let store = [reading(AlertKind::Dependency, "store", AlertCondition::Over)];
    desk.run(&store, MINUTE);
    assert_eq!(desk.sent, []);
    desk.role = SenderRole::Sends;
    desk.run(&store, 1_000);
    assert_eq!(desk.sent.len(), 2);
    let ended = desk.incidents.end_unknown(|key| &*key.name != "store", desk.now);
    assert!(matches!(&ended[..], [IncidentStep::Ended(_)]));
    desk.run(&[], 1_000);
    assert_eq!(desk.sent.len(), 4);
}

#[test]
fn test_of_a_channel_is_a_begin_and_an_end_there_alone() {
    let mut desk = Desk::new();
    let (number, mut drafts) = desk.incidents.begin_test(AlertChannel::Slack, desk.now);
    let draft = drafts.pop().expect("a begin");
    assert_eq!((number, draft.channel, draft.content.event), (1, AlertChannel::Slack, NoticeEvent::Began));
    desk.run(&[], MINUTE);
    assert_eq!(desk.sent, []);
    desk.incidents.end_test(number, desk.now).expect("ended");
    desk.run(&[], 1_000);
    assert_eq!(desk.events(AlertChannel::Slack), [(AlertKind::Test, NoticeEvent::Ended)]);
}
