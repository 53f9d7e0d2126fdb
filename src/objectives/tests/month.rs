//! Forty days of two instances on a virtual clock, with kills, outages of the store and steps of their clocks, against sums of the events
//! one by one.

mod hundred_days;
mod locked;
mod unanswered;
mod unread;

use super::super::*;
use super::store::StoreRows;
use super::{Clock, plan};
use crate::alert::routing::{AlertMode, AlertRouting};
use crate::clock::Moment;
use crate::health::report::Report;
use crate::health::snapshot::Snapshot;
use crate::id::ReactorId;
use crate::job::Outlook;
use crate::job::alerts::{AlertLinks, AlertPlan, NotifyEnds, links};
use crate::job::shared_counts::{CountsEnds, SharedCounts, shared_counts};
use crate::job::slo::{ExclusionWish, SloAnswer, SloProblem, SloQuestion};
use crate::metrics::scrape::MetricSources;
use crate::random::Random;
use crate::slo::budget_exclusion::BudgetExclusion;
use crate::slo::calendar::IsoWeek;
use crate::slo::calendar::{QUARTER_MS, QuarterSpan};
use crate::slo::objective::{EXPLAINED, RECOVERY, USUAL};
use crate::slo::weekly_text::ReportFormat;
use parking_lot::Mutex;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// Monday, 11 January 2027, 00:00 UTC.
const START_MS: u64 = 1_799_625_600_000;
const HOUR_MS: u64 = 3_600_000;
const DAYS: u64 = 40;
/// The time between two slots with events.
const STEP_HOURS: u64 = 4;
/// Of one objective, because windows that are filled again cost time for each part.
const PARTS: [SloPart; 2] = [SloPart::Attempt, SloPart::ConnectionCanary];

/// Events of a slot of ten seconds: its time, the part, good and bad ones.
type CountedSlot = (u64, SloPart, u64, u64);

/// The parts of a thread that judges all objectives.
fn parts(
    name: &str,
    metrics: &Arc<Metrics>,
    folder: &Path,
    alerts: AlertParts,
    shared: Option<SharedCounts>,
) -> ObjectiveParts {
    let objectives: Vec<_> = USUAL.into_iter().chain([EXPLAINED, RECOVERY]).collect();
    ObjectiveParts {
        board: Scoreboard::new(&objectives).expect("usual objectives"),
        metrics: Arc::clone(metrics),
        instance: Arc::from(name),
        folder: folder.to_owned(),
        alerts,
        shared,
        reports: ReportPlan { at: WeekTime::parse("Mon 09:00"), objectives, ..ReportPlan::default() },
        questions: crate::job::slo::questions().1,
    }
}

/// Metrics of one reactor.
fn metrics(name: &str) -> Arc<Metrics> {
    let sources = MetricSources {
        watch: Arc::default(),
        bus: None,
        cluster: Arc::default(),
        api: None,
        log_dropped: || 0,
    };
    Arc::new(Metrics::new(1, Arc::from(name), sources))
}

/// A view of dependencies that are all up.
fn outlook() -> Arc<Outlook> {
    let report = Report { status: 200, body: String::new() };
    Arc::new(Outlook::new(Arc::new(Snapshot::ok()), report))
}

/// One instance. Its wall clock is wrong by some milliseconds.
struct Instance {
    name: &'static str,
    folder: TempDir,
    metrics: Arc<Metrics>,
    now: Arc<Mutex<Now>>,
    wrong_ms: Arc<Mutex<i64>>,
    keeper: Option<Keeper<Clock>>,
    ends: Option<CountsEnds>,
    /// Without a target nothing is sent.
    channels: Vec<NotifyEnds>,
}

impl Instance {
    fn new(name: &'static str, now: &Arc<Mutex<Now>>) -> Instance {
        Instance {
            name,
            folder: tempfile::tempdir().expect("a folder"),
            metrics: metrics(name),
            now: Arc::clone(now),
            wrong_ms: Arc::default(),
            keeper: None,
            ends: None,
            channels: Vec::new(),
        }
    }

    /// Starts it. If it runs, it is killed before.
    fn start(&mut self, store: &mut StoreRows) {
        self.keeper = None;
        let AlertLinks { ends, threads, .. } =
            links(AlertPlan { routing: observed(), targets: Vec::new(), heartbeat: None, ..plan() });
        let alerts =
            AlertParts { ends, outlook: outlook(), instances: Arc::default(), cluster: None, shared: None };
        let (shared, _, store_ends) = shared_counts();
        let mut parts = parts(self.name, &self.metrics, self.folder.path(), alerts, Some(shared));
        parts.reports.at = None;
        parts.reports.objectives.truncate(1);
        parts.board = Scoreboard::new(&parts.reports.objectives).expect("a usual objective");
        let (now, wrong_ms) = (Arc::clone(&self.now), Arc::clone(&self.wrong_ms));
        let clock: Clock = Box::new(move || {
            let now = *now.lock();
            Now { unix_ms: now.unix_ms.saturating_add_signed(*wrong_ms.lock()), ..now }
        });
        let mut keeper = Keeper::new(parts, clock);
        keeper.slot.before = self.metrics.slo_totals();
        (self.keeper, self.ends, self.channels) = (Some(keeper), Some(store_ends), threads);
        self.turn(store);
    }

    fn keeper(&mut self) -> &mut Keeper<Clock> {
        self.keeper.as_mut().expect("it runs")
    }

    fn count(&self, part: SloPart, good: u64, bad: u64) {
        let cells = self.metrics.reactor(ReactorId(0));
        let cells = &cells.slo.parts[part.index()];
        cells.good.add(good);
        cells.bad[0].add(bad);
    }

    /// A slot is over.
    fn turn(&mut self, store: &mut StoreRows) {
        // Windows are not looked at here, so slots without events are left out.
        let now = *self.now.lock();
        self.keeper().slot.ended = now.at - PERIOD;
        self.keeper().turn(RunEnd::Runs);
        self.serve(store);
        self.keeper().tick();
        self.serve(store);
    }

    fn serve(&mut self, store: &mut StoreRows) {
        let now_ms = self.now.lock().unix_ms;
        let (Some(keeper), Some(ends)) = (&mut self.keeper, &self.ends) else { panic!("it runs") };
        store.serve(ends, keeper, now_ms);
    }

    fn ask(&mut self, question: SloQuestion, store: &mut StoreRows) -> SloAnswer {
        let (reply, answer) = bounded(1);
        self.keeper().answer(SloRequest { question, reply });
        self.serve(store);
        answer.try_recv().expect("an answer")
    }
}

/// All events so far, and how they are summed without any of the code that is tested.
#[derive(Default)]
struct Reference(Vec<CountedSlot>);

impl Reference {
    fn sums(&self, part: SloPart, within: impl Fn(u64) -> bool) -> (u64, u64) {
        let of_part = self.0.iter().filter(|(at, counted, ..)| *counted == part && within(*at));
        of_part.fold((0, 0), |(good, bad), event| (good + event.2, bad + event.3))
    }

    /// The slots with an event, and the sum of their shares of bad ones in parts per million.
    fn looks(&self, part: SloPart, within: impl Fn(u64) -> bool) -> (u64, u64) {
        let mut slots = std::collections::BTreeMap::<u64, (u64, u64)>::new();
        for (at, _, good, bad) in self.0.iter().filter(|(at, counted, ..)| *counted == part && within(*at)) {
            let slot = slots.entry(at / 10_000).or_default();
            (slot.0, slot.1) = (slot.0 + good, slot.1 + bad);
        }
        let share = slots.values().map(|(good, bad)| bad * 1_000_000 / (good + bad)).sum();
        (slots.len() as u64, share)
    }
}

/// Nothing is sent.
fn observed() -> AlertRouting {
    AlertRouting { mode: AlertMode::Observe, ..plan().routing }
}

struct Month {
    now: Arc<Mutex<Now>>,
    store: StoreRows,
    instances: [Instance; 2],
    events: Reference,
    random: Random,
    /// The time of the last judgement.
    judged_ms: u64,
}

impl Month {
    fn new() -> Month {
        let now = Arc::new(Mutex::new(Now { at: Moment::from_micros(1_000_000), unix_ms: START_MS }));
        let mut month = Month {
            store: StoreRows::default(),
            instances: [Instance::new("gw-1", &now), Instance::new("gw-2", &now)],
            now,
            events: Reference::default(),
            random: Random::seeded(20_261_130),
            judged_ms: START_MS,
        };
        month.instances.iter_mut().for_each(|instance| instance.start(&mut month.store));
        month
    }

    fn pass(&mut self, ms: u64) {
        let mut now = self.now.lock();
        *now = Now { at: now.at + Duration::from_millis(ms), unix_ms: now.unix_ms + ms };
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.u64() % bound
    }

    /// Both instances count some events in the same slot.
    fn count(&mut self) {
        let at = self.now.lock().unix_ms;
        for place in 0..2 {
            for part in PARTS {
                let (good, bad) = (self.below(900), self.below(2) * self.below(40));
                if good + bad > 0 {
                    self.instances[place].count(part, good, bad);
                    self.events.0.push((at, part, good, bad));
                }
            }
        }
    }

    fn turn(&mut self) {
        self.judged_ms = self.now.lock().unix_ms;
        self.instances.iter_mut().for_each(|instance| instance.turn(&mut self.store));
    }

    fn hour(&mut self) {
        self.hours(1);
    }

    /// Some hours: a slot with events at some time in them, and one without, so that both instances know the rows of the other.
    fn hours(&mut self, hours: u64) {
        let early = self.below(350 * hours) * 10_000;
        self.pass(early);
        self.count();
        self.turn();
        self.pass(10_000);
        self.turn();
        self.pass(hours * HOUR_MS - early - 10_000);
    }

    fn check_periods(&mut self) {
        let minute = self.judged_ms / MINUTE_MS;
        for instance in &mut self.instances {
            let report = instance.metrics.slo.report();
            for objective in &report.objectives {
                let days = u64::from(objective.objective.period_days);
                let first_ms = (minute - days * MINUTES_PER_DAY) / MINUTES_PER_QUARTER * QUARTER_MS;
                for part in objective.parts.iter().filter(|part| PARTS.contains(&part.part)) {
                    let expected = self.events.sums(part.part, |at| at >= first_ms);
                    assert_eq!((part.good, part.bad), expected, "{} {}", instance.name, part.part.as_str());
                }
            }
        }
    }

    fn check_week(&mut self, name: &str, from_ms: u64) {
        let within = |at: u64| (from_ms..from_ms + 7 * 24 * HOUR_MS).contains(&at);
        let week = IsoWeek::parse(name);
        for place in 0..2 {
            let question = SloQuestion::Report { week, format: ReportFormat::Json };
            let report = self.ask(place, question).expect("a report");
            let report: Value = serde_json::from_str(&report).expect("JSON");
            let objectives = report["objectives"].as_array().expect("objectives");
            for part in objectives.iter().flat_map(|it| it["parts"].as_array().expect("parts")) {
                let Some(known) = PARTS.into_iter().find(|it| part["part"] == it.as_str()) else { continue };
                let number = |name: &str| part[name].as_u64().expect("a number");
                assert_eq!((number("good"), number("bad")), self.events.sums(known, within), "{part}");
                if known == SloPart::Attempt {
                    let looks = (number("looks"), number("bad_looks_ppm"));
                    assert_eq!(looks, self.events.looks(known, within), "{part}");
                }
            }
        }
    }
}

#[test]
fn budgets_and_reports_of_forty_days_with_faults_are_those_of_the_events_one_by_one() {
    let mut month = Month::new();
    for step in 0..DAYS * 24 / STEP_HOURS {
        match step % 78 {
            13 => month.store.is_down = true,
            17 => month.store.is_down = false,
            29 => month.instances[1].start(&mut month.store),
            // Killed while the store is down: its rows are in its file.
            15 => month.instances[0].start(&mut month.store),
            53 => {
                let wrong_ms = month.below(80 * 60_000).cast_signed() - 40 * 60_000;
                *month.instances[1].wrong_ms.lock() = wrong_ms;
            }
            54 => month.instances[1].start(&mut month.store),
            _ => {}
        }
        month.hours(STEP_HOURS);
        if step % 50 == 49 && !month.store.is_down {
            month.check_periods();
        }
    }
    month.check_periods();
    let week = 7 * 24 * HOUR_MS;
    let weeks = ["2027-W02", "2027-W03", "2027-W04", "2027-W05", "2027-W06", "2027-W07"];
    weeks.iter().zip((START_MS..).step_by(week as usize)).for_each(|(name, at)| month.check_week(name, at));
    let deployment = month.instances[0].keeper().deployment.as_ref().expect("shared");
    let first = deployment.quarters(QuarterSpan { from: 0, until: u64::MAX }, Vec::new());
    let first_ms = first.keys().next().expect("quarters") * QUARTER_MS;
    assert!(first_ms > START_MS + week, "the first week was read from the store");
    month.check_histories();
    month.check_down();
}

#[test]
fn exclusion_added_at_one_instance_is_one_of_all_and_holds_after_a_start_without_the_store() {
    let mut month = Month::new();
    let exclude = |why: &str| {
        let wish = ExclusionWish {
            objective: Some("connection".into()),
            from: "2027-01-11T00:00".into(),
            until: "2027-01-11T06:00".into(),
            why: why.into(),
        };
        SloQuestion::Exclude(wish, "192.0.2.7".into())
    };
    for place in 0..2 {
        let added = month.ask(place, exclude("move")).expect("it is added, or was");
        assert!(added.contains(r#""number":1,"#), "{added}");
    }
    // Five hours of the six: that no attempt fails in them is out of the question.
    (0..5).for_each(|_| month.hour());
    let (_, bad) = month.events.sums(SloPart::Attempt, |_| true);
    assert_eq!((month.bad_attempts(), bad > 0), ([0, 0], true), "they are kept out at both");

    month.store.is_down = true;
    let refused = month.ask(0, exclude("other"));
    assert!(
        matches!(&refused, Err(SloProblem::Unreadable(why)) if why.contains("repeat this when it is back"))
    );
    month.instances[1].start(&mut month.store);
    assert!(month.ask(1, SloQuestion::Exclusions).expect("a list").contains("move"), "the file has a copy");
    month.store.is_down = false;
    month.turn();
    let end = |number| SloQuestion::EndExclusion(number, "192.0.2.8".into());
    month.ask(1, end(1)).expect("it is removed");
    month.turn();
    assert_eq!(month.bad_attempts(), [bad, bad], "they count again at both");
    let unknown = month.ask(0, end(1));
    assert!(matches!(&unknown, Err(SloProblem::Unknown(why)) if why.contains("`seawall slo exclusions`")));

    // The release before kept its own.
    month.instances[1].keeper = None;
    let path = month.instances[1].folder.path().join(database::FILE_NAME);
    let mut file = rusqlite::Connection::open(path).expect("opened");
    exclusion_rows::insert(&mut file, locked::own()).expect("written");
    month.instances[1].start(&mut month.store);
    month.turn();
    month.turn();
    for place in 0..2 {
        let list = month.ask(place, SloQuestion::Exclusions).expect("a list");
        assert!(list.contains("kept by one") && list.contains(r#""number":2,"#), "{list}");
    }
    assert_eq!(exclusion_rows::read(&file).expect("readable").1, [], "it is a copy now");
}

impl Month {
    fn ask(&mut self, place: usize, question: SloQuestion) -> SloAnswer {
        self.instances[place].ask(question, &mut self.store)
    }

    /// The bad attempts that each instance judges.
    fn bad_attempts(&self) -> [u64; 2] {
        self.instances.each_ref().map(|instance| {
            let report = instance.metrics.slo.report();
            let parts = report.objectives.iter().flat_map(|objective| &objective.parts);
            parts.filter(|part| part.part == SloPart::Attempt).map(|part| part.bad).sum()
        })
    }

    /// Weeks that the store keeps are the sums of their events, also when their quarters are gone.
    fn check_histories(&mut self) {
        let week_ms = 7 * 24 * HOUR_MS;
        let closed: Vec<&str> = self.store.weeks.keys().map(|(_, week)| &**week).collect();
        assert_eq!(closed, ["2027-W02", "2027-W03", "2027-W04", "2027-W05", "2027-W06"]);
        self.store.quarters.retain(|quarter, _| quarter * QUARTER_MS >= START_MS + week_ms);
        let history = self.ask(1, SloQuestion::History { name: "connection".into(), weeks: 6 });
        let history: Value = serde_json::from_str(&history.expect("a history")).expect("JSON");
        for (place, week) in history["weeks"].as_array().expect("weeks").iter().enumerate() {
            let from_ms = START_MS + place as u64 * week_ms;
            let part = &week["parts"][0];
            let expected =
                self.events.sums(SloPart::Attempt, |at| (from_ms..from_ms + week_ms).contains(&at));
            let number = |value: &Value| value.as_u64().expect("a number");
            assert_eq!((number(&part["good"]), number(&part["bad"])), expected, "{week}");
            assert_eq!((number(&week["from"]), &part["part"]), (from_ms, &Value::from("attempt")));
        }
    }

    /// Without the store a report is refused, and budgets are known all the same.
    fn check_down(&mut self) {
        // It is made of the answer of the store, and kept.
        self.instances[0].keeper().reports.at = WeekTime::parse("Mon 00:00");
        self.hour();
        self.store.is_down = true;
        let question = |week| SloQuestion::Report { week: IsoWeek::parse(week), format: ReportFormat::Text };
        assert!(self.ask(0, question("2027-W06")).is_ok(), "as it was sent");
        let silent = |answer| matches!(answer, Err(SloProblem::Unreadable(why)) if why.contains("the store does not answer"));
        assert!(silent(self.ask(0, question(""))));
        // One that is not answered at all is given up, and the next one is refused until it is.
        let (reply, answer) = bounded(1);
        self.instances[0].keeper().answer(SloRequest { question: question(""), reply });
        assert!(answer.try_recv().is_err(), "it waits");
        self.instances[0].keeper().give_up_waiting();
        assert!(silent(answer.try_recv().expect("refused")));
        self.store.is_down = false;
        self.instances[0].serve(&mut self.store);
        assert!(self.ask(0, question("")).is_ok(), "it is back");
    }
}
