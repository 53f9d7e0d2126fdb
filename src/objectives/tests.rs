mod month;
mod store;

use super::*;
use crate::alert::channel::AlertChannel;
use crate::alert::incident::Incident;
use crate::alert::key::AlertKind;
use crate::alert::machine::AllClear;
use crate::alert::notice::NoticeEvent;
use crate::alert::retry::{AttemptOutcome, RetryAdvice, outcome};
use crate::alert::routing::{AlertMode, AlertRouting};
use crate::clock::Moment;
use crate::health::breaker::Forced;
use crate::health::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate};
use crate::health::dependency::{Dependency, ForcedOrder};
use crate::health::draw::Draw;
use crate::health::report::Report;
use crate::health::snapshot::{AdmissionMode, Snapshot};
use crate::id::ReactorId;
use crate::job::Outlook;
use crate::job::alerts::{
    AlertLinks, AlertOrder, AlertOrderAnswer, AlertPlan, HeartbeatTarget, HiddenText, NoticeAttempt,
    NoticeTarget, NotifyEnds, NotifyJob, NotifyResult, WatchedDependency, links,
};
use crate::job::registry::ClusterBoard;
use crate::job::slo::{ExclusionWish, SloAnswer, SloProblem, SloQuestion};
use crate::metrics::scrape::MetricSources;
use crate::slo::calendar::IsoWeek;
use crate::slo::objective::{EXPLAINED, RECOVERY, USUAL};
use crate::slo::weekly_text::ReportFormat;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tempfile::TempDir;
use zeroize::Zeroizing;

const START_MS: u64 = 1_800_000_000_000;
const SECRET: &str = "hunter2-hunter2";

/// The services behind the channels.
#[derive(Default)]
struct Services {
    tries: Vec<(AlertChannel, AlertKind, NoticeEvent, u64)>,
    /// The notices in each message to Slack.
    messages: Vec<usize>,
    repeated: u64,
    repeated_at_slack: u64,
    /// PagerDuty's incidents by key, and how many were opened and resolved.
    open: BTreeMap<String, u64>,
    opened: u64,
    resolved: u64,
    beats: u64,
}

impl Services {
    fn take(&mut self, attempt: &NoticeAttempt, second: u64) {
        let content = &attempt.notice.content;
        for notice in std::iter::once(&attempt.notice).chain(&attempt.others) {
            self.tries.push((notice.channel, notice.content.key.kind, notice.content.event, second));
        }
        self.repeated += u64::from(attempt.is_repeated);
        if attempt.notice.channel != AlertChannel::Pagerduty {
            self.messages.push(1 + attempt.others.len());
            self.repeated_at_slack += u64::from(attempt.is_repeated);
            return;
        }
        let key = content.key.to_string();
        match content.event {
            NoticeEvent::Began | NoticeEvent::Continues => {
                self.opened += u64::from(self.open.insert(key, content.incident).is_none());
            }
            NoticeEvent::Acknowledged | NoticeEvent::Reported => {}
            NoticeEvent::Ended => self.resolved += u64::from(self.open.remove(&key).is_some()),
        }
    }

    fn events(&self, channel: AlertChannel) -> Vec<(AlertKind, NoticeEvent)> {
        let of = self.tries.iter().filter(|(tried, ..)| *tried == channel);
        of.map(|(_, kind, event, _)| (*kind, *event)).collect()
    }
}

type Clock = Box<dyn Fn() -> Now + Send>;

/// The thread `slo` on a virtual clock, over a real file.
struct Rig {
    folder: TempDir,
    now: Arc<Mutex<Now>>,
    outlook: Arc<Outlook>,
    instances: Arc<ClusterBoard>,
    metrics: Arc<Metrics>,
    keeper: Option<Keeper<Clock>>,
    links: Option<(crate::job::alerts::AlertRequests, Vec<NotifyEnds>)>,
    services: Services,
    store: Dependency,
    /// The services take what they do not answer.
    takes_without_answer: bool,
    /// Good and bad messages a second.
    traffic: (u64, u64),
    second: u64,
}

fn plan() -> AlertPlan {
    let hidden = |text: &str| HiddenText(Zeroizing::new(text.to_owned()));
    let both = vec![AlertChannel::Pagerduty, AlertChannel::Slack];
    AlertPlan {
        routing: AlertRouting {
            mode: AlertMode::Send,
            critical: both.clone(),
            warning: vec![AlertChannel::Slack],
            info: vec![AlertChannel::Slack],
            escalate: both,
            escalate_ms: 900_000,
        },
        deployment: "test".into(),
        docs_url: String::new(),
        targets: vec![
            NoticeTarget::Pagerduty { url: "https://events.example/".into(), key: hidden(SECRET) },
            NoticeTarget::Slack {
                url: hidden(&format!("https://hooks.example/{SECRET}")),
                mention: String::new(),
            },
        ],
        heartbeat: Some(HeartbeatTarget { url: hidden("https://beat.example/"), every_ms: 60_000 }),
        dependencies: vec![WatchedDependency { name: Arc::from("store"), is_critical: true }],
    }
}

impl Rig {
    fn new() -> Rig {
        let now = Now { at: Moment::from_micros(1_000_000), unix_ms: START_MS };
        let definition = Definition {
            name: Arc::from("store"),
            kind: DependencyKind::Postgres,
            address: Arc::from("db:5432"),
            criticality: Criticality::Critical,
            gate: Gate::Handshake,
            ended_by: EndedBy::Probes,
            lost: Vec::new(),
            sentence: Arc::from(""),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            failures: 2,
            successes: 2,
        };
        let sources = MetricSources {
            watch: Arc::default(),
            bus: None,
            cluster: Arc::default(),
            api: None,
            log_dropped: || 0,
        };
        let report = Report { status: 200, body: String::new() };
        let mut rig = Rig {
            folder: tempfile::tempdir().expect("a folder"),
            now: Arc::new(Mutex::new(now)),
            outlook: Arc::new(Outlook::new(Arc::new(Snapshot::ok()), report)),
            instances: Arc::default(),
            metrics: Arc::new(Metrics::new(1, Arc::from("gw-1"), sources)),
            keeper: None,
            links: None,
            services: Services::default(),
            store: Dependency::new(Arc::new(definition), now),
            takes_without_answer: false,
            traffic: (10, 0),
            second: 0,
        };
        rig.start();
        rig
    }

    /// Starts the thread's state over the rows that are there. What ran before ends as if it was killed.
    fn start(&mut self) {
        self.keeper = None;
        let AlertLinks { requests, ends, threads, .. } = links(plan());
        let all: Vec<_> = USUAL.into_iter().chain([EXPLAINED, RECOVERY]).collect();
        let parts = ObjectiveParts {
            board: Scoreboard::new(&all).expect("usual objectives"),
            metrics: Arc::clone(&self.metrics),
            instance: Arc::from("gw-1"),
            folder: self.folder.path().to_owned(),
            alerts: AlertParts {
                ends,
                outlook: Arc::clone(&self.outlook),
                instances: Arc::clone(&self.instances),
                cluster: None,
                shared: None,
            },
            shared: None,
            reports: ReportPlan {
                at: WeekTime::parse("Mon 09:00"),
                objectives: all,
                ..ReportPlan::default()
            },
            questions: crate::job::slo::questions().1,
        };
        let now = Arc::clone(&self.now);
        let clock: Clock = Box::new(move || *now.lock());
        let mut keeper = Keeper::new(parts, clock);
        keeper.slot.before = self.metrics.slo_totals();
        self.keeper = Some(keeper);
        self.links = Some((requests, threads));
    }

    fn keeper(&mut self) -> &mut Keeper<Clock> {
        self.keeper.as_mut().expect("it runs")
    }

    /// Lets the store fail, or work.
    fn force_store(&mut self, to: Forced) {
        let now = *self.now.lock();
        let until = now.at + Duration::from_secs(1_000_000);
        self.store.order(Some(ForcedOrder { to, until }), now);
        self.store.settle(now, &mut Draw::new(self.second));
        let snapshot = Snapshot::first(std::slice::from_ref(&self.store), AdmissionMode::Enforce, now);
        self.outlook.publish(Arc::new(snapshot));
    }

    /// Lets time pass. `answer` is what a service answers; `None`: nothing until the try is given up with the process.
    fn run(&mut self, seconds: u64, answer: impl Fn(AlertChannel) -> Option<AttemptOutcome>) {
        for _ in 0..seconds {
            self.second += 1;
            let mut now = self.now.lock();
            *now = Now { at: now.at + Duration::from_secs(1), unix_ms: now.unix_ms + 1_000 };
            let at = now.at;
            drop(now);
            let cells = self.metrics.reactor(ReactorId(0));
            let publish = &cells.slo.parts[SloPart::Publish.index()];
            publish.good.add(self.traffic.0);
            publish.bad[0].add(self.traffic.1);
            let keeper = self.keeper();
            if at.since(keeper.slot.ended) >= PERIOD {
                keeper.turn(RunEnd::Runs);
            }
            keeper.tick();
            self.serve(&answer);
        }
    }

    /// Takes what the channels were handed.
    fn serve(&mut self, answer: impl Fn(AlertChannel) -> Option<AttemptOutcome>) {
        let (_, threads) = self.links.as_ref().expect("links");
        let jobs: Vec<NotifyJob> = threads.iter().flat_map(|ends| ends.jobs.try_iter()).collect();
        for job in jobs {
            let NotifyJob::Notice(attempt) = job else {
                self.services.beats += 1;
                continue;
            };
            let channel = attempt.notice.channel;
            let outcome = answer(channel);
            let is_taken = match outcome {
                Some(outcome) => outcome == AttemptOutcome::Accepted,
                None => self.takes_without_answer,
            };
            if is_taken {
                self.services.take(&attempt, self.second);
            }
            let Some(outcome) = outcome else { continue };
            let result = NotifyResult {
                notice: Some((channel, attempt.notice.id)),
                others: attempt.others.iter().map(|notice| notice.id).collect(),
                outcome,
                answer: "an answer".into(),
                took_ms: 1,
            };
            let now_ms = START_MS + self.second * 1_000;
            self.keeper().alerts.take(&result, now_ms);
        }
    }

    /// Lets time pass in which the thread does not look.
    fn skip(&mut self, seconds: u64) {
        self.second += seconds;
        let mut now = self.now.lock();
        *now = Now { at: now.at + Duration::from_secs(seconds), unix_ms: now.unix_ms + seconds * 1_000 };
    }

    fn ask(&mut self, question: SloQuestion) -> SloAnswer {
        let (reply, answer) = bounded(1);
        self.keeper().answer(SloRequest { question, reply });
        answer.recv().expect("an answer")
    }

    fn accept(&mut self, seconds: u64) {
        self.run(seconds, |_| Some(AttemptOutcome::Accepted));
    }

    fn order(&mut self, order: AlertOrder) -> AlertOrderAnswer {
        let now_ms = START_MS + self.second * 1_000;
        self.keeper().alerts.order(order, now_ms)
    }

    fn open(&self) -> Vec<String> {
        let report = self.metrics.alerts.report();
        let open = report.incidents.iter().filter(|incident| incident.end.is_none());
        open.map(|incident| incident.alert.clone()).collect()
    }
}

#[test]
fn store_that_is_down_is_one_incident_within_half_a_minute_and_its_effects_are_held() {
    let mut rig = Rig::new();
    rig.accept(20);
    rig.force_store(Forced::Open);
    rig.traffic = (0, 10);
    let down = rig.second;
    rig.accept(300);
    let began: Vec<_> =
        rig.services.tries.iter().filter(|(_, _, event, _)| *event == NoticeEvent::Began).collect();
    assert!(
        matches!(&began[..], [(_, AlertKind::Dependency, _, at), (_, AlertKind::Dependency, ..)] if at - down <= 30),
        "{began:?}"
    );
    let held = |rig: &Rig, alert: &str| {
        let report = rig.metrics.alerts.report();
        let incident = report.incidents.iter().find(|incident| incident.alert == alert).expect("it is open");
        serde_json::to_value(incident.held).expect("JSON")
    };
    assert_eq!(held(&rig, "slo/delivery/burn"), "effect");
    assert_eq!(held(&rig, "slo/delivery/spent"), "covered");
    rig.force_store(Forced::Closed);
    rig.traffic = (10, 0);
    rig.accept(125);
    let ends = [(AlertKind::Dependency, NoticeEvent::Began), (AlertKind::Dependency, NoticeEvent::Ended)];
    assert_eq!(rig.services.events(AlertChannel::Pagerduty), ends);
    rig.accept(600);
    let events = rig.services.events(AlertChannel::Pagerduty);
    assert!(events.iter().all(|(kind, _)| *kind != AlertKind::Burn), "the effect is over before it is sent");
}

#[test]
fn total_failure_without_a_cause_pages_within_two_minutes_and_ends_once() {
    let mut rig = Rig::new();
    rig.accept(600);
    rig.traffic = (0, 10);
    let failed = rig.second;
    rig.accept(1_200);
    let paged = rig.services.tries.iter().find(|(_, kind, ..)| *kind == AlertKind::Burn).expect("a page").3;
    assert!(paged - failed <= 120, "{}", paged - failed);
    rig.traffic = (10, 0);
    rig.accept(1_200);
    let burns: Vec<_> = rig
        .services
        .events(AlertChannel::Pagerduty)
        .into_iter()
        .filter(|(kind, _)| *kind == AlertKind::Burn)
        .collect();
    assert_eq!(burns, [(AlertKind::Burn, NoticeEvent::Began), (AlertKind::Burn, NoticeEvent::Ended)]);
}

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
fn heartbeat_stops_with_judging_and_with_a_begin_that_is_stuck() {
    let mut rig = Rig::new();
    rig.accept(300);
    assert!((4..=5).contains(&rig.services.beats), "{}", rig.services.beats);
    let before = rig.services.beats;
    // The thread looks at its channels, and judges nothing.
    for _ in 0..300 {
        rig.second += 1;
        let mut now = rig.now.lock();
        *now = Now { at: now.at + Duration::from_secs(1), unix_ms: now.unix_ms + 1_000 };
        drop(now);
        rig.keeper().tick();
        rig.serve(|_| None);
    }
    assert!(rig.services.beats <= before + 2, "{} after {before}", rig.services.beats);
    rig.accept(120);
    rig.force_store(Forced::Open);
    rig.run(700, |_| Some(AttemptOutcome::Failed(RetryAdvice::Open)));
    let before = rig.services.beats;
    rig.run(300, |_| Some(AttemptOutcome::Failed(RetryAdvice::Open)));
    assert_eq!(rig.services.beats, before, "a begin waits for ten minutes");
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
fn heartbeat_stops_while_every_channel_is_broken_and_does_not_begin_at_the_start() {
    let mut rig = Rig::new();
    rig.accept(50);
    assert_eq!(rig.services.beats, 0);
    rig.force_store(Forced::Open);
    rig.run(60, |_| Some(outcome(410, None)));
    let before = rig.services.beats;
    rig.run(300, |_| Some(outcome(410, None)));
    assert_eq!(rig.services.beats, before);
}

#[test]
fn channel_without_a_thread_has_a_fault() {
    let mut rig = Rig::new();
    rig.links.as_mut().expect("links").1.clear();
    rig.force_store(Forced::Open);
    rig.accept(60);
    let report = rig.metrics.alerts.report();
    assert!(report.channels.iter().all(|channel| channel.fault.is_some()), "{:?}", report.channels);
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
