//! Metrics of the parts of objectives.

use super::sheet::Sheet;
use super::values::Scrape;
use crate::metrics::Cell;
use crate::metrics::slo::PartCells;
use crate::slo::{SloOutcome, SloPart};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::time::Duration;

/// Words of an outcome in the label `outcome`.
const OUTCOMES: [&str; 3] = ["good", "bad", "excluded"];

impl Scrape {
    pub(super) fn slo(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter(
            "slo_attempts",
            "Attempts to connect, with and without an outcome: well-formed upgrades of /ws",
            self.sum(|r| &r.slo.attempts),
        )?;
        sheet.gauge("sessions_open", "Sessions that are connected", self.sum(|r| &r.slo.sessions))?;
        let counted: Vec<SloPart> =
            SloPart::ALL.into_iter().filter(|part| *part != SloPart::Session).collect();
        let events: Vec<_> = counted.iter().flat_map(|part| self.outcomes(*part)).collect();
        sheet.labelled(
            "slo_events",
            "Events of the parts of objectives, by outcome",
            MetricType::Counter,
            events.iter().map(|(labels, total)| (&labels[..], *total)),
        )?;
        let time: Vec<_> = self.outcomes(SloPart::Session).to_vec();
        sheet.counters_of_seconds(
            "slo_seconds",
            "Time of the parts of objectives that are counted in time, by outcome, in seconds",
            time.iter().map(|(labels, ms)| (&labels[..], Duration::from_millis(*ms))),
        )?;
        let causes = counted.iter().flat_map(|part| part.causes().iter().map(|cause| (*part, *cause)));
        let causes: Vec<_> = causes
            .map(|(part, cause)| {
                (labels(part, "cause", cause.as_str()), self.total(part, SloOutcome::Bad(cause)))
            })
            .collect();
        sheet.labelled(
            "slo_bad",
            "Bad events of the parts of objectives, by cause",
            MetricType::Counter,
            causes.iter().map(|(labels, total)| (&labels[..], *total)),
        )?;
        let reasons = counted.iter().flat_map(|part| part.exclusions().iter().map(|reason| (*part, *reason)));
        let reasons: Vec<_> = reasons
            .map(|(part, reason)| {
                (labels(part, "reason", reason.as_str()), self.total(part, SloOutcome::Excluded(reason)))
            })
            .collect();
        sheet.labelled(
            "slo_excluded",
            "Excluded events of the parts of objectives, by reason",
            MetricType::Counter,
            reasons.iter().map(|(labels, total)| (&labels[..], *total)),
        )?;
        sheet.counter(
            "slo_messages_full",
            "Messages counted as bad at their first failure, because too many had failed to remember them",
            self.sum(|r| &r.slo.messages_full),
        )
    }

    /// The totals of a part, by outcome.
    fn outcomes(&self, part: SloPart) -> [([(&'static str, &'static str); 3], u64); 3] {
        let sum = |of: &dyn Fn(&PartCells) -> u64| -> u64 {
            self.reactors.iter().filter_map(|reactor| reactor.slo.parts.get(part.index())).map(of).sum()
        };
        let good = sum(&|cells| cells.good.read());
        let bad = sum(&|cells| cells.bad.iter().map(Cell::read).sum());
        let excluded = sum(&|cells| cells.excluded.iter().map(Cell::read).sum());
        let [good_word, bad_word, excluded_word] = OUTCOMES.map(|word| labels(part, "outcome", word));
        [(good_word, good), (bad_word, bad), (excluded_word, excluded)]
    }

    fn total(&self, part: SloPart, outcome: SloOutcome) -> u64 {
        let cells = self.reactors.iter().filter_map(|reactor| reactor.slo.parts.get(part.index()));
        let of = |cells: &PartCells| match outcome {
            SloOutcome::Good => cells.good.read(),
            SloOutcome::Bad(cause) => cells.bad.get(cause.index()).map_or(0, Cell::read),
            SloOutcome::Excluded(reason) => cells.excluded.get(reason.index()).map_or(0, Cell::read),
        };
        cells.map(of).sum()
    }
}

fn labels(part: SloPart, name: &'static str, value: &'static str) -> [(&'static str, &'static str); 3] {
    [("slo", part.objective()), ("part", part.as_str()), (name, value)]
}
