//! The output of `seawall doctor`: one dependency per line, with advice under it, for an operator woken by a pager.

use crate::health::definition::Criticality;
use crate::health::finding::Cause;
use std::fmt::Write as _;
use std::time::Duration;

/// One probed dependency.
#[derive(Clone, Debug)]
pub struct DiagnosisRow {
    /// Its name in the configuration.
    pub name: String,
    /// [`DependencyKind::as_str`](crate::health::definition::DependencyKind::as_str)
    pub kind: String,
    /// Its address from [`Target::address`](crate::net::target::Target::address), so without a password.
    pub address: String,
    /// The effect of its failure.
    pub criticality: Criticality,
    /// The time that it took to answer, if it is known.
    pub latency: Option<Duration>,
    pub found: Diagnosed,
}

/// The result of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosed {
    Ok,
    /// It answers, but something needs attention.
    Warning(String),
    Down {
        cause: String,
        /// The first thing that an operator should check.
        look_at: String,
    },
}

impl Diagnosed {
    fn is_down(&self) -> bool {
        matches!(self, Diagnosed::Down { .. })
    }
}

impl From<Result<Option<String>, Cause>> for Diagnosed {
    fn from(result: Result<Option<String>, Cause>) -> Diagnosed {
        match result {
            Ok(None) => Diagnosed::Ok,
            Ok(Some(warning)) => Diagnosed::Warning(warning),
            Err(Cause { text, look_at, .. }) => Diagnosed::Down { cause: text, look_at: look_at.to_owned() },
        }
    }
}

/// The output, and the exit code of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The lines; the last ends with a newline.
    pub text: String,
    /// 0: all answer; 1: an optional one does not; 3: a critical one does not.
    pub exit_code: u8,
}

const HEADINGS: [&str; 6] = ["STATE", "NAME", "KIND", "CRITICALITY", "LATENCY", "ADDRESS"];

/// Dependencies that are down come first, critical before optional; then warnings. Otherwise the order is kept.
pub fn diagnose(rows: &[DiagnosisRow]) -> Diagnosis {
    if rows.is_empty() {
        let text = "No dependency is configured: the store is part of this process.\n";
        return Diagnosis { text: text.into(), exit_code: 0 };
    }
    let mut sorted: Vec<&DiagnosisRow> = rows.iter().collect();
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

fn urgency(row: &DiagnosisRow) -> u8 {
    match (&row.found, row.criticality) {
        (Diagnosed::Down { .. }, Criticality::Critical) => 0,
        (Diagnosed::Down { .. }, Criticality::Optional) => 1,
        (Diagnosed::Warning(_), _) => 2,
        (Diagnosed::Ok, _) => 3,
    }
}

fn cells(row: &DiagnosisRow) -> [String; 6] {
    let state = match &row.found {
        Diagnosed::Ok => "ok",
        Diagnosed::Warning(_) => "warning",
        Diagnosed::Down { .. } => "DOWN",
    };
    let latency = row.latency.map(|latency| format!("{:.1} ms", latency.as_secs_f64() * 1e3));
    [
        state.into(),
        row.name.clone(),
        row.kind.clone(),
        row.criticality.as_str().into(),
        latency.unwrap_or_default(),
        row.address.clone(),
    ]
}

fn note(text: &mut String, row: &DiagnosisRow) -> std::fmt::Result {
    match &row.found {
        Diagnosed::Ok => Ok(()),
        Diagnosed::Warning(warning) => writeln!(text, "         mind:    {warning}"),
        Diagnosed::Down { cause, look_at } => {
            writeln!(text, "         cause:   {cause}")?;
            writeln!(text, "         look at: {look_at}")
        }
    }
}

fn exit_code(rows: &[DiagnosisRow]) -> u8 {
    let down = |criticality: Criticality| {
        rows.iter().any(|row| row.criticality == criticality && row.found.is_down())
    };
    if down(Criticality::Critical) {
        3
    } else if down(Criticality::Optional) {
        1
    } else {
        0
    }
}

fn verdict(rows: &[DiagnosisRow]) -> String {
    let names = |criticality: Criticality| -> String {
        let down = rows.iter().filter(|row| row.criticality == criticality && row.found.is_down());
        down.map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match exit_code(rows) {
        0 => "Everything answers.".to_owned(),
        1 => format!("The service goes on without {}.", names(Criticality::Optional)),
        _ => format!("No client is admitted until this answers: {}.", names(Criticality::Critical)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::finding::Fault;

    fn row(name: &str, criticality: Criticality, result: Result<Option<String>, Cause>) -> DiagnosisRow {
        DiagnosisRow {
            name: name.into(),
            kind: "redis".into(),
            address: "cache:6379".into(),
            criticality,
            latency: Some(Duration::from_micros(1_250)),
            found: result.into(),
        }
    }

    fn refused() -> Result<Option<String>, Cause> {
        Err(Cause::new(Fault::Refused, "cache:6379 refuses the connection", "See whether Redis runs."))
    }

    #[test]
    fn worst_dependency_comes_first_with_advice() {
        let rows = [
            row("bus", Criticality::Optional, Ok(None)),
            row("analytics", Criticality::Optional, refused()),
            row("cache", Criticality::Optional, Ok(Some("80 of 100 connections are in use".into()))),
            row("store", Criticality::Critical, refused()),
        ];
        let expected = "\
STATE    NAME       KIND   CRITICALITY  LATENCY  ADDRESS
DOWN     store      redis  critical     1.2 ms   cache:6379
         cause:   cache:6379 refuses the connection
         look at: See whether Redis runs.
DOWN     analytics  redis  optional     1.2 ms   cache:6379
         cause:   cache:6379 refuses the connection
         look at: See whether Redis runs.
warning  cache      redis  optional     1.2 ms   cache:6379
         mind:    80 of 100 connections are in use
ok       bus        redis  optional     1.2 ms   cache:6379

No client is admitted until this answers: store.
";
        let diagnosis = diagnose(&rows);
        assert_eq!(diagnosis.text, expected);
        assert_eq!(diagnosis.exit_code, 3);
    }

    #[test]
    fn exit_code_distinguishes_optional_from_critical() {
        let code = |rows: &[DiagnosisRow]| diagnose(rows).exit_code;
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[row("a", Criticality::Critical, Ok(Some("slow".into())))]), 0);
        assert_eq!(
            code(&[row("a", Criticality::Critical, Ok(None)), row("b", Criticality::Optional, refused())]),
            1
        );
        assert_eq!(
            code(&[row("a", Criticality::Critical, refused()), row("b", Criticality::Optional, refused())]),
            3
        );
    }
}
