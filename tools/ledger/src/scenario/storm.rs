//! Many clients connect at once to a gateway that serves others, whose latency must not suffer.

use super::verdict::{duration, judge, percentile};
use super::{Proxies, Run, Setting, say, watch};
use crate::arguments::{Common, Storm};
use crate::clock::{self, Micros, SECOND};
use crate::crowd::{Kind, Order};
use crate::gateway::Program;
use crate::ledger::Ledger;
use crate::report::Report;
use std::time::Duration;

const PAYLOAD: usize = 64;
const PATIENCE: Duration = Duration::from_secs(180);
/// The bound for the p99 in the storm divided by the p99 in the calm.
const FACTOR_MAX: f64 = 3.0;

type Span = std::ops::Range<Micros>;

/// A storm and the calm before it.
struct Round {
    calm: Micros,
    storm: Micros,
    over: Micros,
}

impl Round {
    fn calm(&self) -> Span {
        self.calm..self.storm
    }

    fn storm(&self) -> Span {
        self.storm..self.over
    }
}

/// Runs the scenario with two crowds on separate threads, so that the newcomers' handshakes do not delay the measurement.
pub fn run(common: &Common, program: &Program, arguments: &Storm) -> Result<Report, String> {
    let setting = Setting { gateways: 1, channels: arguments.channels, proxies: Proxies::None, syncs: true };
    let mut run = Run::new(common, program, &setting)?;
    run.gather(arguments.connected, |_| Kind::Good, PAYLOAD)?;
    run.gather(arguments.connections, |_| Kind::Good, PAYLOAD)?;
    run.start(0)?;
    let come = |at: usize, count: u32, over: Micros| {
        run.workers
            .get(at)
            .into_iter()
            .for_each(|worker| worker.send(Order::Connect { from: 0, to: count, over }));
    };
    come(0, arguments.connected, SECOND);
    run.settle(0, u64::from(arguments.connected), Duration::from_secs(30))?;
    if let Some(worker) = run.workers.first() {
        worker.send(Order::Rate(arguments.publishes_per_s));
    }
    let mut rounds = Vec::new();
    let mut longest = Ok(0);
    for round in 1..=arguments.storms {
        if round > 1 {
            say("the newcomers leave");
            all_leave(&run)?;
        }
        watch(&run, Duration::from_secs(2));
        let calm = clock::now();
        watch(&run, Duration::from_secs_f64(arguments.calm));
        say(&format!("storm {round} of {}", arguments.storms));
        let storm = clock::now();
        come(1, arguments.connections, 0);
        let settled = run.settle(1, u64::from(arguments.connections), PATIENCE);
        rounds.push(Round { calm, storm, over: clock::now() });
        longest = longest.and_then(|longest| settled.map(|took| took.max(longest)));
        if longest.is_err() {
            break;
        }
    }
    let rest = run.wait_until_complete();
    let (ledger, logs) = run.finish()?;
    let title = format!(
        "storm: {} connections join {}, {} times, {:?}",
        arguments.connections, arguments.connected, arguments.storms, common.store
    );
    let mut report = Report::new(title);
    for (what, done) in
        [("until all newcomers are synced, the longest", longest), ("all clients have everything", rest)]
    {
        let is_good = done.is_ok();
        report.judge(what, done.map_or_else(|error| error, duration), "", is_good);
    }
    latency(&mut report, &ledger, &rounds);
    judge(&mut report, &run, &ledger, &logs);
    Ok(report)
}

/// Makes all newcomers close, and waits for it.
fn all_leave(run: &Run) -> Result<(), String> {
    let Some(worker) = run.workers.get(1) else { return Ok(()) };
    worker.send(Order::Leave);
    if clock::wait_until(PATIENCE, || worker.settled() == 0) {
        return Ok(());
    }
    Err(format!("{} newcomers are still connected after {PATIENCE:?}", worker.settled()))
}

/// Compares publishes sent in all calms with those sent in all storms together, because the p99 of a single storm is its
/// third worst answer.
fn latency(report: &mut Report, ledger: &Ledger, rounds: &[Round]) {
    let of = |spans: &[Span], percent: f64| {
        let within = |sent: Micros| spans.iter().any(|span| span.contains(&sent));
        let took = ledger.answers.iter().filter(|it| within(it.sent)).map(|it| it.took);
        percentile(took, percent).map(|us| f64::from(us) / 1_000.0)
    };
    let text = |ms: Option<f64>| ms.map_or("none".to_owned(), |ms| format!("{ms:.2} ms"));
    let [calms, storms] = [Round::calm as fn(&Round) -> Span, Round::storm]
        .map(|part| rounds.iter().map(part).collect::<Vec<Span>>());
    for (name, spans) in [("calm", &calms), ("storm", &storms)] {
        report.show(format!("answers to publishes, {name}: p50 / p99 / p99.9"), {
            [50.0, 99.0, 99.9].map(|percent| text(of(spans, percent))).join(" / ")
        });
    }
    let factor = |calms: &[Span], storms: &[Span]| Some(of(storms, 99.0)? / of(calms, 99.0)?.max(0.001));
    let each = calms.iter().zip(&storms).filter_map(|(calm, storm)| {
        factor(std::slice::from_ref(calm), std::slice::from_ref(storm)).map(|factor| format!("{factor:.2}"))
    });
    report.show("p99, each storm over the calm before it", each.collect::<Vec<_>>().join(", "));
    if let Some(factor) = factor(&calms, &storms) {
        report.judge(
            "p99 of connected clients, all storms over all calms",
            format!("{factor:.2}"),
            FACTOR_MAX,
            factor <= FACTOR_MAX,
        );
    }
}
