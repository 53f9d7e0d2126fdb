//! Metrics of the parts of objectives.

use super::sheet::Sheet;
use super::values::Scrape;
use crate::metrics::Cell;
use crate::metrics::slo::PartCells;
use crate::slo::part::PartTotals;
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
            SloPart::ALL.into_iter().filter(|part| *part != SloPart::Session && self.has(*part)).collect();
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
        )?;
        self.judged(sheet)
    }

    /// The objectives as last judged; nothing while they are off.
    fn judged(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        if self.slo.report.judged == 0 {
            return Ok(());
        }
        sheet.seconds(
            "slo_evaluated_timestamp_seconds",
            "Unix time at which the objectives were last judged, in seconds",
            Duration::from_millis(self.slo.report.judged),
        )?;
        sheet.gauge(
            "slo_journal_writable",
            "1 while slo.db can be written",
            self.slo.report.stored.into(),
        )?;
        self.sharing(sheet)?;
        let objectives = || self.slo.report.objectives.iter();
        let named: Vec<[(&str, &str); 1]> = objectives().map(|objective| [("slo", objective.name)]).collect();
        let ratios = objectives().map(|one| 1.0 - f64::from(one.objective.allowed_ppm) / 1e6);
        sheet.fractions(
            "slo_objective_ratio",
            "The promised share of good events",
            named.iter().map(|label| &label[..]).zip(ratios),
        )?;
        let periods = objectives().map(|one| u64::from(one.objective.period_days) * 86_400);
        sheet.labelled(
            "slo_period_seconds",
            "The period of the promise, in seconds",
            MetricType::Gauge,
            named.iter().map(|label| &label[..]).zip(periods),
        )?;
        let parts = || objectives().flat_map(|one| one.parts.iter().map(move |part| (one.name, part)));
        let left: Vec<_> = parts()
            .filter_map(|(slo, part)| {
                Some(([("slo", slo), ("part", part.part.as_str())], part.budget_left_ppm?))
            })
            .collect();
        sheet.fractions(
            "slo_error_budget_remaining_ratio",
            "The share of the error budget that is left, negative if more than all is spent; absent without events",
            left.iter().map(|(labels, ppm)| (&labels[..], *ppm as f64 / 1e6)),
        )?;
        let burns: Vec<_> = parts()
            .flat_map(|(slo, part)| {
                [("1h", part.burn_1h_milli), ("6h", part.burn_6h_milli)].map(|it| (slo, part, it))
            })
            .filter_map(|(slo, part, (window, milli))| {
                Some(([("slo", slo), ("part", part.part.as_str()), ("window", window)], milli?))
            })
            .collect();
        sheet.fractions(
            "slo_burn_rate_ratio",
            "The share of bad events over the allowed share; absent without events",
            burns.iter().map(|(labels, milli)| (&labels[..], *milli as f64 / 1e3)),
        )
    }

    /// The instances that are judged together, and what this one does not count.
    fn sharing(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.gauge(
            "slo_instances",
            "Instances whose events are judged; 1 while the store that they share cannot be reached",
            self.slo.report.instances as u64,
        )?;
        sheet.gauge(
            "slo_unshared_rows",
            "Minutes of this instance that the shared store lacks or has not confirmed",
            self.slo.report.unshared_rows as u64,
        )?;
        sheet.gauge(
            "slo_canary_silent",
            "1 if the canary has had no round for five minutes, and for three of its periods; 0 without a canary",
            self.slo.report.signs.canary_s.is_some().into(),
        )?;
        sheet.fractions(
            "clock_skew_seconds",
            "The clock of this machine minus that of the store, in seconds; absent if the store is not PostgreSQL, and before its first answer",
            self.slo.report.signs.clock_ms.into_iter().map(|ms| (&[][..], f64::from(ms) / 1e3)),
        )?;
        let stale: Vec<_> = self
            .slo
            .report
            .stale_s
            .iter()
            .filter(|(part, _)| self.has(*part))
            .map(|(part, seconds)| ([("slo", part.objective()), ("part", part.as_str())], *seconds))
            .collect();
        sheet.labelled(
            "slo_part_stale_seconds",
            "Seconds since this instance last counted an event of a part, or since its start",
            MetricType::Gauge,
            stale.iter().map(|(labels, seconds)| (&labels[..], *seconds)),
        )
    }

    /// False of the parts of answers without a route.
    fn has(&self, part: SloPart) -> bool {
        !part.is_of_answers() || !self.relay.all().is_empty()
    }

    /// The totals of a part, by outcome.
    fn outcomes(&self, part: SloPart) -> [([(&'static str, &'static str); 3], u64); 3] {
        let mut sum = PartTotals::default();
        self.cells_of(part).for_each(|cells| sum.add(cells.totals()));
        let [good_word, bad_word, excluded_word] = OUTCOMES.map(|word| labels(part, "outcome", word));
        [(good_word, sum.good), (bad_word, sum.bad), (excluded_word, sum.excluded)]
    }

    fn total(&self, part: SloPart, outcome: SloOutcome) -> u64 {
        let of = |cells: &PartCells| match outcome {
            SloOutcome::Good => cells.good.read(),
            SloOutcome::Bad(cause) => cells.bad.get(cause.index()).map_or(0, Cell::read),
            SloOutcome::Excluded(reason) => cells.excluded.get(reason.index()).map_or(0, Cell::read),
        };
        self.cells_of(part).map(of).sum()
    }

    /// The cells of a part, of all reactors, of the canary, of the thread that counts returns, and of answers.
    fn cells_of(&self, part: SloPart) -> impl Iterator<Item = &PartCells> {
        let counted = self.reactors.iter().map(|reactor| &reactor.slo).chain([&*self.slo.canary]);
        counted
            .filter_map(move |counted| counted.parts.get(part.index()))
            .chain(self.clients.part(part))
            .chain(self.streams.answers.part(part))
    }
}

fn labels(part: SloPart, name: &'static str, value: &'static str) -> [(&'static str, &'static str); 3] {
    [("slo", part.objective()), ("part", part.as_str()), (name, value)]
}
