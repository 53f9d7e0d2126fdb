//! The results of a run, as a table for people and as JSON for programs.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// The verdict on one measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within its bound.
    Held,
    /// Not within its bound.
    Failed,
}

impl From<bool> for Verdict {
    fn from(held: bool) -> Verdict {
        if held { Verdict::Held } else { Verdict::Failed }
    }
}

#[derive(Clone, Debug)]
struct Row {
    measure: String,
    value: String,
    bar: String,
    verdict: Option<Verdict>,
}

/// All results of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    title: String,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    pub fn new(title: impl Into<String>) -> Report {
        Report { title: title.into(), ..Report::default() }
    }

    /// Adds a measure with a bound.
    pub fn judge(
        &mut self,
        measure: impl Into<String>,
        value: impl ToString,
        bar: impl ToString,
        verdict: impl Into<Verdict>,
    ) {
        let (measure, value, bar) = (measure.into(), value.to_string(), bar.to_string());
        self.rows.push(Row { measure, value, bar, verdict: Some(verdict.into()) });
    }

    /// Adds a measure without a bound.
    pub fn show(&mut self, measure: impl Into<String>, value: impl ToString) {
        let (measure, value) = (measure.into(), value.to_string());
        self.rows.push(Row { measure, value, bar: String::new(), verdict: None });
    }

    /// Adds a line below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// True if nothing failed.
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Some(Verdict::Failed))
    }

    /// Formats the report for people.
    pub fn text(&self) -> String {
        let width =
            |of: fn(&Row) -> &String| self.rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
        let (measure, value, bar) =
            (width(|row| &row.measure), width(|row| &row.value), width(|row| &row.bar).max(3));
        let mut text = format!("\n{}\n\n", self.title);
        let mut line = |a: &str, b: &str, c: &str, d: &str| {
            let _ = writeln!(text, "  {a:measure$}  {b:>value$}  {c:bar$}  {d}");
        };
        line("measure", "value", "bar", "");
        for row in &self.rows {
            let verdict = match row.verdict {
                Some(Verdict::Held) => "ok",
                Some(Verdict::Failed) => "FAILED",
                None => "",
            };
            line(&row.measure, &row.value, &row.bar, verdict);
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        let _ = writeln!(text, "\n{}", if self.is_good() { "all bars held" } else { "FAILED" });
        text
    }

    /// Formats the report for programs.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| json!({ "measure": row.measure, "value": row.value, "bar": row.bar, "ok": row.verdict.map(|verdict| verdict == Verdict::Held) }))
            .collect();
        json!({ "title": self.title, "ok": self.is_good(), "rows": rows, "notes": self.notes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_report_and_is_shown() {
        let mut report = Report::new("a run");
        report.judge("lost", 0, 0, true);
        report.show("stored", 12);
        assert!(report.is_good());
        report.judge("doubled", 1, 0, false);
        assert!(!report.is_good() && report.text().contains("FAILED"));
        assert_eq!(report.json()["ok"], json!(false));
    }
}
