//! Metrics of incidents and notices.

use super::sheet::Sheet;
use super::values::Scrape;
use crate::alert::channel::AlertChannel;
use crate::alert::report::AlertReport;
use prometheus_client::metrics::MetricType;
use std::fmt;

impl Scrape {
    /// Nothing while objectives, and with them alerts, are off.
    pub(super) fn alerts(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let report = self.alerts.report();
        if report.judged == 0 {
            return Ok(());
        }
        let AlertReport { judged, sends, incidents, channels, .. } = &*report;
        let open = || incidents.iter().filter(|incident| incident.end.is_none());
        let firing: Vec<_> =
            open().map(|it| [("alert", &*it.alert), ("severity", it.severity.as_str())]).collect();
        sheet.labelled(
            "alert_firing",
            "1 for each alert with an open incident",
            MetricType::Gauge,
            firing.iter().map(|labels| (&labels[..], 1)),
        )?;
        sheet.gauge("alert_leader", "1 on the instance that sends notices", (*sends).into())?;
        let notices = self.alerts.notices();
        let is_configured = |labels: &[(&str, &str); 2]| {
            channels.iter().any(|channel| labels[0].1 == channel.channel.as_str())
        };
        sheet.labelled(
            "alert_notices",
            "Notices by channel and outcome; a repeated one was sent before a restart as well, perhaps",
            MetricType::Counter,
            notices
                .iter()
                .filter(|(labels, _)| is_configured(labels))
                .map(|(labels, total)| (&labels[..], *total)),
        )?;
        let label = |channel: AlertChannel| [("channel", channel.as_str())];
        let waiting: Vec<_> =
            channels.iter().map(|channel| (label(channel.channel), channel.waiting as u64)).collect();
        sheet.labelled(
            "alert_queue_depth",
            "Notices that wait for a channel",
            MetricType::Gauge,
            waiting.iter().map(|(labels, count)| (&labels[..], *count)),
        )?;
        let oldest: Vec<_> = channels
            .iter()
            .map(|channel| {
                let age_ms = channel.oldest.map_or(0, |at| judged.saturating_sub(at));
                (label(channel.channel), age_ms as f64 / 1e3)
            })
            .collect();
        sheet.fractions(
            "alert_oldest_seconds",
            "The age of the oldest notice that waits for a channel, in seconds",
            oldest.iter().map(|(labels, age)| (&labels[..], *age)),
        )
    }
}
