//! A gateway is killed and restarted at once while all clients are connected.

use super::verdict::{duration, judge};
use super::{Proxies, Run, Setting, say, watch};
use crate::arguments::{Common, Crash};
use crate::clock::{self, Micros, SECOND};
use crate::crowd::{Kind, Order};
use crate::gateway::Program;
use crate::gateway::metrics::{MetricsPage, Scraper};
use crate::ledger::Excuse;
use crate::report::Report;
use std::time::Duration;

const PAYLOAD: usize = 64;
/// The bound for the last client's recovery. The scenario waits up to `PATIENCE` to measure a longer one.
const BACK_WITHIN: Micros = 20 * SECOND;
const PATIENCE: Duration = Duration::from_secs(120);
/// The bound for store reads per reconnecting client.
const READS_MAX: f64 = 0.02;

/// Runs the scenario with one gateway, whatever the store, so that no other takes over its clients.
pub fn run(common: &Common, program: &Program, arguments: &Crash) -> Result<Report, String> {
    let setting = Setting { gateways: 1, channels: arguments.channels, proxies: Proxies::None, syncs: true };
    let mut run = Run::new(common, program, &setting)?;
    run.gather_and_settle(arguments.connections, |_| Kind::Good, PAYLOAD)?;
    run.send(&Order::Rate(arguments.publishes_per_s));
    watch(&run, Duration::from_secs(5));
    say("kill -9 and immediate restart");
    let window = run.excuse(Some(0), Excuse::Vanish);
    let began = clock::now();
    if let Some(place) = run.places.first_mut() {
        place.kill9(&mut run.lives);
    }
    run.start(0)?;
    run.excuse_ends(window);
    let listened = clock::now() - began;
    let settled = wait_for_recovery(&run, u64::from(arguments.connections), began);
    let page = run.places.first().map(|place| Scraper::new(place.direct()).page());
    let rest = run.wait_until_complete();
    let (ledger, logs) = run.finish()?;
    let title = format!(
        "crash: {} connections, {} channels, {:?}",
        arguments.connections, arguments.channels, common.store
    );
    let mut report = Report::new(title);
    report.show("from kill -9 until the successor listens", duration(listened));
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
    report.judge("all clients have everything", rest.map_or_else(|error| error, duration), "60 s", is_good);
    judge(&mut report, &run, &ledger, &logs);
    Ok(report)
}

/// Waits until the crowd has lost its connections and is settled again.
fn wait_for_recovery(run: &Run, wanted: u64, began: Micros) -> Result<Micros, String> {
    let Some(worker) = run.workers.first() else { return Ok(0) };
    // Clients notice only when the connections of the killed process have ended, which takes milliseconds.
    clock::wait_until(Duration::from_secs(5), || worker.settled() < wanted / 2);
    run.settle(0, wanted, PATIENCE).map(|_| clock::now() - began)
}

/// Reports the store reads caused by the storm, as the successor counts them.
fn reads(report: &mut Report, page: &MetricsPage, (clients, channels): (u32, u16)) {
    let reads = page.value("store_reads_total");
    let share = reads / f64::from(clients);
    let good = share <= READS_MAX;
    let (measure, value) = ("store reads per reconnected client", format!("{share:.4} ({reads})"));
    // Each channel is read at least once, so with few clients per channel the bound cannot be met.
    if f64::from(clients) * READS_MAX >= f64::from(channels) * 2.0 {
        report.judge(measure, value, READS_MAX, good);
    } else {
        report.show(measure, value);
    }
    report.show("pages of replays read from the store", page.value("replay_pages_total"));
}
