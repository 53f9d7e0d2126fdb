//! A gateway is killed and started again at once, while everybody is connected.

use super::verdict::{duration, judge};
use super::{Run, Setting, say, watch};
use crate::arguments::{Common, Crash};
use crate::clock::{self, Micros, SECOND};
use crate::crowd::{Kind, Order};
use crate::ledger::Excuse;
use crate::report::Report;
use crate::stand::Program;
use crate::stand::metrics::{Page, Scraper};
use std::time::Duration;

const PAYLOAD: usize = 64;
/// The bar for the last client, and how much longer the scenario waits to see it.
const BACK_WITHIN: Micros = 20 * SECOND;
const PATIENCE: Duration = Duration::from_secs(120);
/// Store reads over clients that come back.
const READS_MAX: f64 = 0.02;

/// The scenario. One gateway, whatever the store: nobody else takes its clients.
pub fn run(common: &Common, program: &Program, arguments: &Crash) -> Result<Report, String> {
    let setting = Setting { gateways: 1, channels: arguments.channels, with_proxies: false, syncs: true };
    let mut run = Run::new(common, program, &setting)?;
    run.gather_and_settle(arguments.connections, |_| Kind::Good, PAYLOAD)?;
    run.tell(&Order::Rate(arguments.publishes_per_s));
    watch(&run, Duration::from_secs(5));
    say("kill -9, and a start at once");
    let window = run.excuse(Some(0), Excuse::Vanish);
    let began = clock::now();
    if let Some(place) = run.places.first_mut() {
        place.kill9(&mut run.lives);
    }
    run.start(0)?;
    run.excuse_ends(window);
    let listened = clock::now() - began;
    let settled = gone_and_back(&run, u64::from(arguments.connections), began);
    let page = run.places.first().map(|place| Scraper::new(place.direct()).page());
    let rest = run.come_to_rest();
    let (ledger, logs) = run.finish()?;
    let title = format!(
        "crash: {} connections, {} channels, {:?}",
        arguments.connections, arguments.channels, common.store
    );
    let mut report = Report::new(title);
    report.tell("from kill -9 to the successor's first word", duration(listened));
    match settled {
        Ok(took) => report.judge(
            "from kill -9 until the last client is recovered and synced",
            duration(took),
            "20 s",
            took <= BACK_WITHIN,
        ),
        Err(error) => {
            report.judge("from kill -9 until the last client is recovered and synced", error, "20 s", false)
        }
    }
    if let Some(Ok(page)) = page {
        reads(&mut report, &page, (arguments.connections, arguments.channels));
    }
    let is_good = rest.is_ok();
    report.judge("everybody has everything", rest.map_or_else(|error| error, duration), "60 s", is_good);
    judge(&mut report, &run, &ledger, &logs);
    Ok(report)
}

/// Waits until the crowd has noticed, and is back.
fn gone_and_back(run: &Run, wanted: u64, began: Micros) -> Result<Micros, String> {
    let Some(worker) = run.workers.first() else { return Ok(0) };
    // Nobody notices before all connections of the killed process have ended, which takes milliseconds.
    clock::comes_true(Duration::from_secs(5), || worker.settled() < wanted / 2);
    run.settle(0, wanted, PATIENCE).map(|_| clock::now() - began)
}

/// What the storm cost the store, as the successor counts it.
fn reads(report: &mut Report, page: &Page, (clients, channels): (u32, u16)) {
    let reads = page.value("store_reads_total");
    let share = reads / f64::from(clients);
    let good = share <= READS_MAX;
    let (measure, value) = ("store reads over clients that came back", format!("{share:.4} ({reads})"));
    // Each channel is read once at least: fewer clients a channel cannot reach the bar.
    if f64::from(clients) * READS_MAX >= f64::from(channels) * 2.0 {
        report.judge(measure, value, READS_MAX, good);
    } else {
        report.tell(measure, value);
    }
    report.tell("pages of replays read from the store", page.value("replay_pages_total"));
}
