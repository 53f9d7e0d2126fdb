//! Operators' orders about incidents, silences and channels.

use super::AlertDesk;
use crate::alert::channel::AlertChannel;
use crate::alert::hold::SenderRole;
use crate::alert::key::{AlertKey, AlertKind};
use crate::job::alerts::{AlertOrder, AlertOrderAnswer};

impl AlertDesk {
    /// Carries out an operator's order, and writes who gave it into the log, even if the operator does not wait for the answer any more.
    pub(in crate::objectives) fn order(
        &mut self,
        order: AlertOrder,
        by: &str,
        now_ms: u64,
    ) -> AlertOrderAnswer {
        let answer = self.carry_out(order.clone(), now_ms);
        if let AlertOrderAnswer::Done(number) = answer {
            audit(&order, number, by);
        }
        answer
    }

    fn carry_out(&mut self, order: AlertOrder, now_ms: u64) -> AlertOrderAnswer {
        if self.leadership.cluster.is_some() && self.leadership.role == SenderRole::Follows {
            return AlertOrderAnswer::Refused("another instance leads: ask it (seawall cluster marks it)");
        }
        match order {
            AlertOrder::Acknowledge(number) if self.incidents.acknowledge(number, now_ms) => {
                AlertOrderAnswer::Done(number)
            }
            AlertOrder::Silence { prefix, why, for_ms } => {
                let number_row = self.incidents.silences.number_row();
                match self.incidents.silences.add(prefix, why, now_ms, for_ms) {
                    Some(silence) => {
                        self.writes.silences.push(silence.clone());
                        self.writes.silences_over.extend(number_row.map(|row| row.number));
                        AlertOrderAnswer::Done(silence.number)
                    }
                    None => AlertOrderAnswer::Refused("there are 100 silences: end one first"),
                }
            }
            AlertOrder::EndSilence(number) if self.incidents.silences.remove(number) => {
                self.forget_silences(vec![number]);
                AlertOrderAnswer::Done(number)
            }
            AlertOrder::Test(channel) if self.plan.target(channel).is_some() => {
                let key = AlertKey::new(AlertKind::Test, channel.as_str());
                if let Some(earlier) = self.incidents.of(&key).map(|incident| incident.number) {
                    let step = self.incidents.end_test(earlier, now_ms);
                    self.log(step.as_slice());
                }
                let (number, drafts) = self.incidents.begin_test(channel, now_ms);
                self.outbox.add(drafts, &mut self.writes);
                AlertOrderAnswer::Done(number)
            }
            AlertOrder::Resend(channel) if self.plan.target(channel).is_some() => {
                let open = self.open_keys();
                AlertOrderAnswer::Done(self.outbox.resend(channel, &open, now_ms, &mut self.writes))
            }
            AlertOrder::Acknowledge(number) => AlertOrderAnswer::Unknown(self.no_open_incident(number)),
            AlertOrder::EndSilence(number) => AlertOrderAnswer::Unknown(unknown_silence(number)),
            AlertOrder::Test(channel) | AlertOrder::Resend(channel) => {
                AlertOrderAnswer::Unknown(not_configured(channel))
            }
        }
    }

    /// Writes that silences are over. The store that instances share counts numbers by its rows, so it keeps that of the greatest one.
    pub(super) fn forget_silences(&mut self, mut numbers: Vec<u64>) {
        let shared = self.leadership.shared.as_ref();
        if let Some(row) = shared.and_then(|_| self.incidents.silences.number_row()) {
            numbers.retain(|number| *number != row.number);
            self.writes.silences.push(row);
        }
        self.writes.silences_over.append(&mut numbers);
    }

    fn no_open_incident(&self, number: u64) -> String {
        match self.closed.iter().any(|incident| incident.number == number) {
            true => incident_over(number),
            false => unknown_incident(number),
        }
    }
}

/// Logs an order that was carried out. `number`: as in its answer.
fn audit(order: &AlertOrder, number: u64, by: &str) {
    match order {
        AlertOrder::Acknowledge(incident) => {
            tracing::info!(target: "audit", incident, by, "incident acknowledged");
        }
        AlertOrder::Silence { prefix, why, for_ms } => {
            tracing::info!(target: "audit", number, prefix, why, for_ms, by, "silence begun");
        }
        AlertOrder::EndSilence(number) => tracing::info!(target: "audit", number, by, "silence ended"),
        AlertOrder::Test(channel) => {
            tracing::info!(target: "audit", incident = number, channel = channel.as_str(), by, "channel test begun");
        }
        AlertOrder::Resend(channel) => {
            tracing::info!(target: "audit", count = number, channel = channel.as_str(), by, "notices sent again");
        }
    }
}

fn unknown_incident(number: u64) -> String {
    format!(
        "no incident has the number {number}: seawall alert lists the open ones, and GET /alerts all that are known"
    )
}

fn incident_over(number: u64) -> String {
    format!("incident {number} is over: there is nothing to acknowledge")
}

fn unknown_silence(number: u64) -> String {
    format!("no silence has the number {number}, or it is over: seawall alert lists the silences")
}

fn not_configured(channel: AlertChannel) -> String {
    let setting = match channel {
        AlertChannel::Pagerduty => "alert.pagerduty_key",
        AlertChannel::Slack => "alert.slack_url",
        AlertChannel::Webhook => "alert.webhook_url and alert.webhook_secret",
    };
    format!("the channel {} is not configured: set {setting}, and reload the gateway", channel.as_str())
}
