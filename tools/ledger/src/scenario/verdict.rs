//! From a ledger and a store to the rows of a report that every scenario has.

use super::Run;
use crate::clock::{self, Micros};
use crate::ledger::Ledger;
use crate::ledger::check::{Finding, Log, Promise, check};
use crate::report::Report;
use crate::stand::metrics::{Compared, compare};
use crate::stand::{Ended, Life};
use std::collections::BTreeMap;

/// Examples of each broken promise that are told.
const EXAMPLES: usize = 5;

/// All promises, all counters, all exits.
pub fn judge(report: &mut Report, run: &Run, ledger: &Ledger, logs: &[Log]) {
    let stored: usize = logs.iter().map(|log| log.entries.len()).sum();
    let acknowledged = ledger.publications.iter().filter(|it| it.offset.is_some()).count();
    let doubted = ledger.publications.iter().filter(|it| it.doubts > 0).count();
    let refused = ledger.publications.iter().filter(|it| it.offset.is_none() && it.refusals > 0).count();
    let delivered: u64 = ledger.lives.iter().map(|life| life.deliveries).sum();
    let replayed: u64 = ledger.lives.iter().map(|life| life.replayed).sum();
    report.tell("publications tried / acknowledged / stored", {
        format!("{} / {acknowledged} / {stored}", ledger.publications.len())
    });
    report.tell("of these in doubt for a while / refused and dropped", format!("{doubted} / {refused}"));
    report.tell("delivered / replayed / pages of history / heads told by a beat / lags", {
        format!("{delivered} / {replayed} / {} / {} / {}", ledger.pages, ledger.told_by_beat, ledger.lags)
    });
    let findings = check(ledger, logs, &run.windows);
    for promise in Promise::ALL {
        let count: u64 = findings.iter().filter(|it| it.promise == promise).map(|it| it.count).sum();
        report.judge(promise.measure(), count, 0, count == 0);
    }
    report.tell("closes by code (after a `bye`)", closes(ledger));
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

/// Sums over the processes that ended in order; the others are named.
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
            // What it told last is at most what the clients saw until its end.
            left_out.push(format!("{number} ({})", why_left_out(life)));
            let over = compare(page, counts);
            wrong.extend(over.iter().filter(|one| one.told > one.most).map(|one| one.text(number)));
            continue;
        }
        compared.push(number.to_string());
        for one in compare(page, counts) {
            if !one.is_good() {
                wrong.push(one.text(number));
            }
            let sum = sums.entry(one.name.clone()).or_insert(Compared {
                told: 0.0,
                least: 0.0,
                most: 0.0,
                ..one.clone()
            });
            sum.told += one.told;
            sum.least += one.least;
            sum.most += one.most;
        }
    }
    report.judge("counters of /metrics that differ from the ledger", wrong.len(), 0, wrong.is_empty());
    for sum in sums.values().filter(|sum| sum.told > 0.0 || sum.least > 0.0) {
        let seen = if sum.least == sum.most {
            sum.least.to_string()
        } else {
            format!("{} to {}", sum.least, sum.most)
        };
        report.tell(format!("  {}, seen", sum.name), format!("{}, {seen}", sum.told));
    }
    report.note(format!("Counters are of the processes {}.", compared.join(", ")));
    if !left_out.is_empty() {
        report.note(format!("Not in these sums: {}.", left_out.join("; ")));
    }
    wrong.iter().take(EXAMPLES * 2).for_each(|text| report.note(text));
}

fn why_left_out(life: &Life) -> &'static str {
    match life.ended {
        Ended::Killed => "killed",
        Ended::InOrder { .. } => "ended with its last client: what it told before is not more than was seen",
        Ended::No => "its page was not read",
    }
}

/// Every process that was asked to end.
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
        "gateways asked to end whose exit code was not 0",
        format!("{bad} of {}", ended.len()),
        0,
        bad == 0,
    );
    report.tell("the longest of these took", duration(longest));
}

fn examples(report: &mut Report, findings: &[Finding]) {
    for promise in Promise::ALL {
        let of: Vec<&Finding> = findings.iter().filter(|it| it.promise == promise).collect();
        if of.is_empty() {
            continue;
        }
        let told = of.iter().take(EXAMPLES).map(|it| format!("\n    {}", it.text)).collect::<String>();
        let more = of.len().saturating_sub(EXAMPLES);
        let more = if more > 0 { format!("\n    and {more} more") } else { String::new() };
        report.note(format!("{}:{told}{more}", promise.measure()));
    }
}

/// For people.
pub fn duration(of: Micros) -> String {
    format!("{:.2} s", clock::seconds(of))
}

/// The value below which so many of a hundred are, in microseconds.
pub fn percentile(values: impl Iterator<Item = u32>, of: f64) -> Option<u32> {
    let mut all: Vec<u32> = values.collect();
    all.sort_unstable();
    let at = (all.len() as f64 * of / 100.0).ceil() as usize;
    all.get(at.saturating_sub(1)).copied()
}
