//! Two instances on one store: what each sends, and what it leaves to the other.

mod alone;
mod reports;

use super::*;
use crate::alert::channel::AlertChannel;
use crate::alert::retry::RetryAdvice;
use crate::alert::routing::{AlertMode, AlertRouting};
use crate::clock::Moment;
use crate::cluster::report::ClusterReport;
use crate::health::report::Report;
use crate::health::snapshot::Snapshot;
use crate::job::alerts::{
    AlertLinks, AlertOrder, AlertOrderAnswer, HiddenText, NoticeTarget, NotifyEnds, links,
};
use crate::job::shared_alerts::{
    AlertsAnswer, AlertsCall, AlertsEnds, LeaderTerm, StoredAlertRows, shared_alerts,
};
use crate::metrics::scrape::MetricSources;
use crate::slo::instance_health::InstanceVerdict;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

const START_MS: u64 = 1_800_000_000_000;

/// In the body of a report.
const REPORTED: &str = r#""event":"reported""#;
/// In the body of a begin.
const BEGAN: &str = r#""event":"began""#;

/// The rows of the store, as its SQL keeps them.
#[derive(Default)]
struct Rows {
    /// `None`: it cannot be reached.
    holder: Option<usize>,
    last_holder: Option<usize>,
    is_silent: bool,
    term: i64,
    incidents: BTreeMap<u64, (bool, String)>,
    notices: BTreeMap<u64, (&'static str, String)>,
    silences: BTreeMap<u64, String>,
}

impl Rows {
    fn answer(&mut self, of: usize, call: AlertsCall) -> Option<AlertsAnswer> {
        let holder = self.holder.filter(|_| !self.is_silent)?;
        if self.last_holder.replace(holder) != Some(holder) {
            self.term += 1;
        }
        let is_held = holder == of;
        match call {
            AlertsCall::Lead if is_held => {
                let open = |wanted: bool| -> Vec<String> {
                    let of = self.incidents.values().filter(move |(open, _)| *open == wanted);
                    of.map(|(_, body)| body.clone()).collect()
                };
                let waiting = self.notices.values().filter(|(fate, _)| *fate == "waiting");
                let rows = StoredAlertRows {
                    incident: self.incidents.keys().max().copied().unwrap_or(0),
                    notice: self.notices.keys().max().copied().unwrap_or(0),
                    open: open(true),
                    closed: open(false),
                    waiting: waiting.map(|(_, body)| body.clone()).collect(),
                    silences: self.silences.values().cloned().collect(),
                    report: self.notices.values().rfind(|it| it.1.contains(REPORTED)).map(|it| it.1.clone()),
                    ..StoredAlertRows::default()
                };
                Some(AlertsAnswer::Leads(LeaderTerm(self.term), Box::new(rows)))
            }
            AlertsCall::Write(LeaderTerm(term), changes) if is_held && term == self.term => {
                if changes.replaces {
                    self.incidents.values_mut().for_each(|(open, _)| *open = false);
                    self.notices.values_mut().filter(|it| it.0 == "waiting").for_each(|it| it.0 = "merged");
                    self.silences.clear();
                }
                self.silences.extend(changes.silences);
                self.silences.retain(|number, _| !changes.silences_over.contains(number));
                let incidents =
                    changes.incidents.into_iter().map(|(number, open, body)| (number, (open, body)));
                self.incidents.extend(incidents);
                self.notices.extend(changes.notices.into_iter().map(|(id, fate, body)| (id, (fate, body))));
                Some(AlertsAnswer::Written)
            }
            AlertsCall::Lead | AlertsCall::Write(..) => Some(AlertsAnswer::Deposed),
        }
    }
}

struct Instance {
    desk: AlertDesk,
    threads: Vec<NotifyEnds>,
    board: Arc<ClusterBoard>,
    file: Connection,
}

struct Pair {
    rows: Arc<Mutex<Rows>>,
    now_ms: u64,
    instances: Vec<Instance>,
    /// The notices that Slack accepted: the instance, and the event.
    sent: Vec<(usize, NoticeEvent)>,
    /// The notices in each message that Slack accepted, and true if it was marked as repeated.
    messages: Vec<(usize, bool)>,
    /// Slack cannot be reached.
    is_slack_down: bool,
    /// No answer of Slack arrives any more: the process is about to be killed.
    is_killed: bool,
    /// The instances that are seen as ill, or as well.
    watched: Vec<&'static str>,
}

fn plan() -> AlertPlan {
    let url = HiddenText(Zeroizing::new("https://hooks.example/".to_owned()));
    AlertPlan {
        routing: AlertRouting {
            mode: AlertMode::Send,
            critical: vec![AlertChannel::Slack],
            warning: Vec::new(),
            info: vec![AlertChannel::Slack],
            escalate: Vec::new(),
            escalate_ms: 900_000,
        },
        targets: vec![NoticeTarget::Slack { url, mention: String::new() }],
        ..AlertPlan::default()
    }
}

/// Answers calls like the thread of the store.
fn serve(ends: AlertsEnds, of: usize, rows: Arc<Mutex<Rows>>) {
    std::thread::spawn(move || {
        for call in &ends.calls {
            let answer = rows.lock().answer(of, call);
            let _ = ends.answers.try_send(answer);
        }
    });
}

impl Pair {
    fn new() -> Pair {
        let rows = Arc::new(Mutex::new(Rows::default()));
        let mut pair = Pair {
            rows,
            now_ms: START_MS,
            instances: Vec::new(),
            sent: Vec::new(),
            messages: Vec::new(),
            is_slack_down: false,
            is_killed: false,
            watched: vec!["gw-9"],
        };
        for of in 0..2 {
            let file = Connection::open_in_memory().expect("a database");
            file.execute_batch(rows::TABLES).expect("tables");
            let instance = pair.instance(of, file);
            pair.instances.push(instance);
        }
        pair
    }

    fn instance(&self, of: usize, file: Connection) -> Instance {
        let sources = MetricSources {
            watch: Arc::default(),
            bus: None,
            cluster: Arc::default(),
            api: None,
            log_dropped: || 0,
        };
        let metrics = Arc::new(Metrics::new(1, Arc::from("gw"), sources));
        let AlertLinks { ends, threads, .. } = links(plan());
        let (shared, store) = shared_alerts();
        serve(store, of, Arc::clone(&self.rows));
        let board = Arc::new(ClusterBoard::default());
        let report = Report { status: 200, body: String::new() };
        let parts = AlertParts {
            ends,
            outlook: Arc::new(Outlook::new(Arc::new(Snapshot::ok()), report)),
            instances: Arc::clone(&board),
            cluster: Some(Arc::clone(&board)),
            shared: Some(shared),
        };
        let mut desk =
            AlertDesk::new(parts, &metrics, &Arc::from(format!("gw-{of}")), Vec::new(), self.now_ms);
        // The threads of this test answer at once, but the machine may be busy.
        desk.leadership.shared.iter_mut().for_each(|shared| shared.wait = Duration::from_secs(60));
        Instance { desk, threads, board, file }
    }

    /// The process of an instance is killed, and another one starts on its folder.
    fn restart(&mut self, of: usize) {
        let Instance { file, .. } = self.instances.remove(of);
        let mut instance = self.instance(of, file);
        let mut board = Scoreboard::new(&[]).expect("no objectives");
        instance.desk.load(&instance.file, &mut board, self.now_ms).expect("readable");
        self.instances.insert(of, instance);
    }

    /// Another instance takes the duty, or none can: the store is away.
    fn lead(&mut self, holder: Option<usize>) {
        self.rows.lock().holder = holder;
        for instance in &self.instances {
            let leader = holder.map(|of| format!("gw-{of}"));
            instance.board.publish(ClusterReport { leader, ..ClusterReport::default() });
        }
    }

    /// The first instance cannot reach the store, and sees that the other one does.
    fn cut_off_first(&mut self) {
        self.rows.lock().holder = None;
        let stats = crate::wire::stats::InstanceStats { store: Some("ok".into()), ..Default::default() };
        let other = crate::cluster::report::InstanceReport {
            name: "gw-1".into(),
            state: "alive",
            age_ms: 1,
            stats: Some(stats),
        };
        self.instances[0].board.publish(ClusterReport { instances: vec![other], ..ClusterReport::default() });
    }

    /// Lets time pass for these instances, which see that the watched ones are ill, or not.
    fn run(&mut self, seconds: u64, verdict: InstanceVerdict, instances: &[usize]) {
        for _ in 0..seconds {
            self.now_ms += 1_000;
            let now = Now { at: Moment::from_micros(self.now_ms * 1_000), unix_ms: self.now_ms };
            for of in instances {
                let Instance { desk, threads, file, .. } = &mut self.instances[*of];
                let readings: Vec<_> =
                    self.watched.iter().map(|name| instance_readings::instance(name, verdict)).collect();
                desk.read(&readings, self.now_ms);
                desk.turn(Some(file), now, self.now_ms).expect("written");
                for job in threads.iter().flat_map(|ends| ends.jobs.try_iter()) {
                    let NotifyJob::Notice(attempt) = job else { continue };
                    let mut outcome = AttemptOutcome::Failed(RetryAdvice::Open);
                    if !self.is_slack_down {
                        let notices = std::iter::once(&attempt.notice).chain(&attempt.others);
                        self.sent.extend(notices.map(|notice| (*of, notice.content.event)));
                        let is_marked = attempt.is_repeated || attempt.notice.content.is_perhaps_repeated;
                        self.messages.push((1 + attempt.others.len(), is_marked));
                        outcome = AttemptOutcome::Accepted;
                    }
                    if self.is_killed {
                        continue;
                    }
                    let result = NotifyResult {
                        notice: Some((attempt.notice.channel, attempt.notice.id)),
                        others: attempt.others.iter().map(|notice| notice.id).collect(),
                        outcome,
                        answer: String::new(),
                        took_ms: 1,
                    };
                    desk.take(&result, self.now_ms);
                }
            }
        }
    }
}

const LONG: u64 = 200;

#[test]
fn next_leader_goes_on_with_the_incident_and_a_woken_one_writes_and_sends_nothing() {
    let mut pair = Pair::new();
    pair.lead(Some(0));
    pair.run(20, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began)]);
    // It is stopped, and does not know that its term is over when it goes on.
    pair.rows.lock().holder = Some(1);
    pair.instances[1]
        .board
        .publish(ClusterReport { leader: Some("gw-1".into()), ..ClusterReport::default() });
    pair.run(30, InstanceVerdict::Ill, &[1]);
    assert_eq!(pair.sent.len(), 1, "it was sent");
    pair.run(LONG, InstanceVerdict::Well, &[1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began), (1, NoticeEvent::Ended)]);
    let before = pair.rows.lock().incidents.clone();
    pair.rows.lock().is_silent = true;
    pair.run(5, InstanceVerdict::Ill, &[0]);
    pair.rows.lock().is_silent = false;
    pair.run(LONG, InstanceVerdict::Well, &[0]);
    assert_eq!(pair.sent.len(), 2, "the woken one sends nothing");
    assert_eq!(pair.rows.lock().incidents, before);
    pair.lead(Some(1));
    pair.run(20, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.sent[2..], [(1, NoticeEvent::Began)]);
    assert!(pair.messages.iter().all(|(_, is_marked)| !is_marked), "each leader has read all");
}

#[test]
fn message_of_two_begins_that_a_killed_leader_sent_is_repeated_once_and_marked_by_the_next() {
    let mut pair = Pair::new();
    pair.watched = vec!["gw-8", "gw-9"];
    pair.lead(Some(0));
    pair.is_killed = true;
    pair.run(20, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.messages, [(2, false)]);
    pair.is_killed = false;
    pair.lead(Some(1));
    pair.run(20, InstanceVerdict::Ill, &[1]);
    assert_eq!(pair.messages, [(2, false), (2, true)]);
    pair.lead(Some(0));
    pair.restart(0);
    pair.lead(Some(0));
    pair.run(20, InstanceVerdict::Ill, &[0, 1]);
    assert_eq!(pair.messages.len(), 2, "the rows say that it was sent");
    pair.run(LONG, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(pair.sent[4..], [(0, NoticeEvent::Ended); 2], "an end is a message of its own");
    assert_eq!(pair.messages[2..], [(1, false); 2]);
}

#[test]
fn killed_leader_that_starts_again_leaves_its_incident_to_the_next() {
    let mut pair = Pair::new();
    pair.lead(Some(0));
    pair.run(20, InstanceVerdict::Ill, &[0, 1]);
    pair.restart(0);
    pair.lead(Some(1));
    pair.run(LONG, InstanceVerdict::Ill, &[0, 1]);
    pair.run(LONG, InstanceVerdict::Well, &[0, 1]);
    assert_eq!(pair.sent, [(0, NoticeEvent::Began), (1, NoticeEvent::Ended)]);
    let open = pair.rows.lock().incidents.values().filter(|(open, _)| *open).count();
    assert_eq!(open, 0);
}

#[test]
fn numbers_of_silences_and_notices_go_on_at_the_next_leader() {
    let mut pair = Pair::new();
    let silence = AlertOrder::Silence { prefix: "none".into(), why: String::new(), for_ms: 3_600_000 };
    let mut expected = 0;
    for (leader, outage_s) in [(0, 0), (1, 0), (0, 40), (1, 40)] {
        pair.lead(None);
        pair.run(outage_s, InstanceVerdict::Well, &[0, 1]);
        pair.lead(Some(leader));
        pair.run(5, InstanceVerdict::Well, &[0, 1]);
        for _ in 0..2 {
            let now_ms = pair.now_ms;
            let desk = &mut pair.instances[leader].desk;
            expected += 1;
            assert_eq!(desk.order(silence.clone(), "192.0.2.7", now_ms), AlertOrderAnswer::Done(expected));
            // The next one must not have its number, although its row is gone.
            let end = AlertOrder::EndSilence(expected);
            assert_eq!(desk.order(end, "192.0.2.7", now_ms), AlertOrderAnswer::Done(expected));
            pair.run(1, InstanceVerdict::Well, &[0, 1]);
        }
        pair.run(20, InstanceVerdict::Ill, &[0, 1]);
        // Everything is written again after a time without the store.
        pair.lead(None);
        pair.run(LONG, InstanceVerdict::Well, &[0, 1]);
        pair.lead(Some(leader));
        pair.run(5, InstanceVerdict::Well, &[0, 1]);
    }
    let rows = pair.rows.lock();
    assert_eq!(rows.silences.len(), 1, "the row of the greatest number");
    let begins = rows.notices.values().filter(|(fate, body)| *fate == "sent" && body.contains(BEGAN));
    assert_eq!((pair.sent.len(), begins.count()), (8, 4), "each begin has a row of its own");
}

#[test]
fn order_at_an_instance_that_does_not_lead_is_refused() {
    let mut pair = Pair::new();
    pair.lead(Some(0));
    pair.run(2, InstanceVerdict::Well, &[0, 1]);
    let now_ms = pair.now_ms;
    let mut test =
        |of: usize| pair.instances[of].desk.order(AlertOrder::Test(AlertChannel::Slack), "192.0.2.7", now_ms);
    assert!(matches!(test(1), AlertOrderAnswer::Refused(_)));
    assert_eq!(test(0), AlertOrderAnswer::Done(1));
}
