mod logs;
mod month;
mod notices;
mod rows;
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
        self.keeper().alerts.order(order, "192.0.2.9", now_ms)
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
