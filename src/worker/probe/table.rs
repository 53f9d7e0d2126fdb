//! What `seawall doctor` prints: one dependency a line, with what to do under it, for somebody who was woken by a pager.

use super::target::Kind;
use crate::health::finding::Finding;
use std::fmt::Write as _;

/// What its failure means for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Without it nobody is let in.
    Critical,
    /// Without it something is lost and the service goes on.
    Optional,
}

impl Weight {
    fn word(self) -> &'static str {
        match self {
            Weight::Critical => "critical",
            Weight::Optional => "optional",
        }
    }
}

/// One dependency that was looked at.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name in the configuration.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// Where it is; from [`Target::address`](super::target::Target::address), so without a password.
    pub address: String,
    /// What its failure means.
    pub weight: Weight,
    /// What the look found.
    pub finding: Finding,
}

/// What is printed, and how the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Lines, the last with its newline.
    pub text: String,
    /// 0: all answer; 1: an optional one does not; 2: a critical one does not.
    pub exit_code: u8,
}

const HEADINGS: [&str; 6] = ["STATE", "NAME", "KIND", "WEIGHT", "LATENCY", "ADDRESS"];

/// Those that are down come first, critical ones before optional ones; then warnings; else the order is kept.
pub fn diagnose(rows: &[Row]) -> Diagnosis {
    if rows.is_empty() {
        let text = "No dependency is configured: the store is part of this process.\n";
        return Diagnosis { text: text.into(), exit_code: 0 };
    }
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| urgency(row));
    let cells: Vec<[String; 6]> =
        std::iter::once(HEADINGS.map(String::from)).chain(sorted.iter().map(|row| cells(row))).collect();
    let mut widths = [0; 6];
    for line in &cells {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let notes = std::iter::once(None).chain(sorted.iter().copied().map(Some));
    for (line, row) in cells.iter().zip(notes) {
        let padded: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
        let _ = row.map(|row| note(&mut text, row));
    }
    let exit_code = exit_code(rows);
    let _ = writeln!(text, "\n{}", verdict(rows));
    Diagnosis { text, exit_code }
}

fn urgency(row: &Row) -> u8 {
    match (&row.finding.result, row.weight) {
        (Err(_), Weight::Critical) => 0,
        (Err(_), Weight::Optional) => 1,
        (Ok(Some(_)), _) => 2,
        (Ok(None), _) => 3,
    }
}

fn cells(row: &Row) -> [String; 6] {
    let state = match &row.finding.result {
        Ok(None) => "ok",
        Ok(Some(_)) => "warning",
        Err(_) => "DOWN",
    };
    let latency = format!("{:.1} ms", row.finding.latency.as_secs_f64() * 1e3);
    [
        state.into(),
        row.name.clone(),
        row.kind.name().into(),
        row.weight.word().into(),
        latency,
        row.address.clone(),
    ]
}

fn note(text: &mut String, row: &Row) -> std::fmt::Result {
    match &row.finding.result {
        Ok(None) => Ok(()),
        Ok(Some(warning)) => writeln!(text, "         mind:    {warning}"),
        Err(cause) => {
            writeln!(text, "         cause:   {}", cause.text)?;
            writeln!(text, "         look at: {}", cause.look_at)
        }
    }
}

fn exit_code(rows: &[Row]) -> u8 {
    let down = |weight: Weight| rows.iter().any(|row| row.weight == weight && row.finding.result.is_err());
    if down(Weight::Critical) {
        2
    } else if down(Weight::Optional) {
        1
    } else {
        0
    }
}

fn verdict(rows: &[Row]) -> String {
    let names = |weight: Weight| -> String {
        let down = rows.iter().filter(|row| row.weight == weight && row.finding.result.is_err());
        down.map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match exit_code(rows) {
        0 => format!("All {} answer.", rows.len()),
        1 => format!("Service goes on without {}.", names(Weight::Optional)),
        _ => format!("Nobody is let in until this answers: {}.", names(Weight::Critical)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::finding::{Cause, Fault};
    use std::time::Duration;

    fn row(name: &str, weight: Weight, result: Result<Option<String>, Cause>) -> Row {
        let finding = Finding { latency: Duration::from_micros(1_250), result };
        Row { name: name.into(), kind: Kind::Redis, address: "cache:6379".into(), weight, finding }
    }

    fn refused() -> Result<Option<String>, Cause> {
        Err(Cause::new(Fault::Refused, "cache:6379 refuses the connection", "See whether Redis runs."))
    }

    #[test]
    fn the_worst_comes_first_with_what_to_look_at() {
        let rows = [
            row("bus", Weight::Optional, Ok(None)),
            row("analytics", Weight::Optional, refused()),
            row("cache", Weight::Optional, Ok(Some("80 of 100 connections are in use".into()))),
            row("store", Weight::Critical, refused()),
        ];
        let expected = "\
STATE    NAME       KIND   WEIGHT    LATENCY  ADDRESS
DOWN     store      redis  critical  1.2 ms   cache:6379
         cause:   cache:6379 refuses the connection
         look at: See whether Redis runs.
DOWN     analytics  redis  optional  1.2 ms   cache:6379
         cause:   cache:6379 refuses the connection
         look at: See whether Redis runs.
warning  cache      redis  optional  1.2 ms   cache:6379
         mind:    80 of 100 connections are in use
ok       bus        redis  optional  1.2 ms   cache:6379

Nobody is let in until this answers: store.
";
        let diagnosis = diagnose(&rows);
        assert_eq!(diagnosis.text, expected);
        assert_eq!(diagnosis.exit_code, 2);
    }

    #[test]
    fn the_exit_code_tells_optional_from_critical() {
        let code = |rows: &[Row]| diagnose(rows).exit_code;
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[row("a", Weight::Critical, Ok(Some("slow".into())))]), 0);
        assert_eq!(code(&[row("a", Weight::Critical, Ok(None)), row("b", Weight::Optional, refused())]), 1);
        assert_eq!(code(&[row("a", Weight::Critical, refused()), row("b", Weight::Optional, refused())]), 2);
    }
}
