//! Derives the report rows that every scenario has from the ledger and the store.

use super::Run;
use crate::clock::{self, Micros};
use crate::gateway::metrics::{Compared, compare};
use crate::gateway::{Ended, Life};
use crate::ledger::Ledger;
use crate::ledger::check::{Finding, Log, Promise, check};
use crate::report::Report;
use std::collections::BTreeMap;

/// The maximum number of examples per broken promise.
const EXAMPLES: usize = 5;

/// Reports all promises, counters and exit codes.
pub fn judge(report: &mut Report, run: &Run, ledger: &Ledger, logs: &[Log]) {
    let stored: usize = logs.iter().map(|log| log.entries.len()).sum();
    let acknowledged = ledger.publications.iter().filter(|it| it.offset.is_some()).count();
    let doubted = ledger.publications.iter().filter(|it| it.doubts > 0).count();
    let refused = ledger.publications.iter().filter(|it| it.offset.is_none() && it.refusals > 0).count();
    let delivered: u64 = ledger.lives.iter().map(|life| life.deliveries).sum();
    let replayed: u64 = ledger.lives.iter().map(|life| life.replayed).sum();
    report.show("publications tried / acknowledged / stored", {
        format!("{} / {acknowledged} / {stored}", ledger.publications.len())
    });
    report.show("of these uncertain for a while / refused and given up", format!("{doubted} / {refused}"));
    report.show("delivered / replayed / history pages / discovered by a beat / lags", {
        format!("{delivered} / {replayed} / {} / {} / {}", ledger.pages, ledger.found_by_beat, ledger.lags)
    });
    let findings = check(ledger, logs, &run.windows);
    for promise in Promise::ALL {
        let count: u64 = findings.iter().filter(|it| it.promise == promise).map(|it| it.count).sum();
        report.judge(promise.measure(), count, 0, count == 0);
    }
    report.show("closes by code (after a `bye`)", closes(ledger));
    counters(report, run, ledger);
    exits(report, &run.exits());
    examples(report, &findings);
}

fn closes(ledger: &Ledger) -> String {
    let mut all: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    for life in &ledger.lives {
        life.closes.iter().for_each(|(code, count)| all.entry(*code).or_default().0 += count);
        life.byes.iter().for_each(|(code, count)| all.entry(*code).or_default().1 += count);
    }
    let each = all.iter().map(|(code, (count, byes))| format!("{code}: {count} ({byes})"));
    each.collect::<Vec<_>>().join(", ")
}

/// Compares the summed counters of the processes that shut down in order; the others are listed.
fn counters(report: &mut Report, run: &Run, ledger: &Ledger) {
    let mut sums: BTreeMap<String, Compared> = BTreeMap::new();
    let mut wrong = Vec::new();
    let (mut compared, mut left_out) = (Vec::new(), Vec::new());
    for (number, life) in run.lives.iter().enumerate() {
        let (Some(page), Some(counts), false) =
            (&life.page, ledger.lives.get(number), life.ended == Ended::Killed)
        else {
            left_out.push(format!("{number} ({})", why_left_out(life)));
            continue;
        };
        if !life.is_page_final {
            // Its last page was read before its end, so it is at most what the clients saw.
            left_out.push(format!("{number} ({})", why_left_out(life)));
            let over = compare(page, counts);
            wrong.extend(over.iter().filter(|one| one.reported > one.most).map(|one| one.text(number)));
            continue;
        }
        compared.push(number.to_string());
        for one in compare(page, counts) {
            if !one.is_good() {
                wrong.push(one.text(number));
            }
            let sum = sums.entry(one.name.clone()).or_insert(Compared {
                reported: 0.0,
                least: 0.0,
                most: 0.0,
                ..one.clone()
            });
            sum.reported += one.reported;
            sum.least += one.least;
            sum.most += one.most;
        }
    }
    report.judge("counters of /metrics that differ from the ledger", wrong.len(), 0, wrong.is_empty());
    for sum in sums.values().filter(|sum| sum.reported > 0.0 || sum.least > 0.0) {
        let seen = if sum.least == sum.most {
            sum.least.to_string()
        } else {
            format!("{} to {}", sum.least, sum.most)
        };
        report.show(format!("  {}, seen", sum.name), format!("{}, {seen}", sum.reported));
    }
    report.note(format!("Counters cover the processes {}.", compared.join(", ")));
    if !left_out.is_empty() {
        report.note(format!("Excluded from these sums: {}.", left_out.join("; ")));
    }
    wrong.iter().take(EXAMPLES * 2).for_each(|text| report.note(text));
}

fn why_left_out(life: &Life) -> &'static str {
    match life.ended {
        Ended::Killed => "killed",
        Ended::InOrder { .. } => "ended with its last client; its last counters do not exceed what was seen",
        Ended::Running => "its page was not read",
    }
}

/// Reports the exits of the processes that were asked to shut down.
fn exits(report: &mut Report, ended: &[&Life]) {
    let mut bad = 0;
    let mut longest = 0;
    for life in ended {
        if let Ended::InOrder { code, took } = life.ended {
            bad += u64::from(code != Some(0));
            longest = longest.max(took);
        }
    }
    report.judge(
        "shut-down gateways whose exit code was not 0",
        format!("{bad} of {}", ended.len()),
        0,
        bad == 0,
    );
    report.show("the longest shutdown", duration(longest));
}

fn examples(report: &mut Report, findings: &[Finding]) {
    for promise in Promise::ALL {
        let of: Vec<&Finding> = findings.iter().filter(|it| it.promise == promise).collect();
        if of.is_empty() {
            continue;
        }
        let shown = of.iter().take(EXAMPLES).map(|it| format!("\n    {}", it.text)).collect::<String>();
        let more = of.len().saturating_sub(EXAMPLES);
        let more = if more > 0 { format!("\n    and {more} more") } else { String::new() };
        report.note(format!("{}:{shown}{more}", promise.measure()));
    }
}

/// Formats a duration for people.
pub fn duration(of: Micros) -> String {
    format!("{:.2} s", clock::seconds(of))
}

/// The value below which `of` percent of the values are, in microseconds.
pub fn percentile(values: impl Iterator<Item = u32>, of: f64) -> Option<u32> {
    let mut all: Vec<u32> = values.collect();
    all.sort_unstable();
    let at = (all.len() as f64 * of / 100.0).ceil() as usize;
    all.get(at.saturating_sub(1)).copied()
}
