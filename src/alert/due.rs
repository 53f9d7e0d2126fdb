//! The notices about an open incident that are due: its begin, what has become worse, repeats, and the acknowledgement.

use super::channel::AlertChannel;
use super::hold::HoldReason;
use super::incident::{Incident, NotifiedChannel};
use super::key::{AlertKind, AlertSeverity};
use super::machine::IncidentPhase;
use super::notice::{NoticeDraft, NoticeEvent};
use super::routing::AlertRouting;

/// The begin for one channel.
pub(super) fn notify(incident: &mut Incident, channel: AlertChannel, now_ms: u64) -> NoticeDraft {
    incident.notified.push(NotifiedChannel {
        channel,
        at_ms: now_ms,
        last_ms: now_ms,
        severity: incident.severity,
        delivered: false,
        lost: false,
        repeats: 0,
        acknowledged: false,
    });
    NoticeDraft { channel, content: incident.content(NoticeEvent::Began, now_ms) }
}

/// Another notice for one channel.
fn repeat(incident: &mut Incident, channel: AlertChannel, now_ms: u64) -> NoticeDraft {
    let severity = incident.severity;
    for notified in incident.notified.iter_mut().filter(|notified| notified.channel == channel) {
        (notified.last_ms, notified.severity) = (now_ms, severity);
    }
    NoticeDraft { channel, content: incident.content(NoticeEvent::Continues, now_ms) }
}

/// The notices about an open incident.
pub(super) fn due(
    incident: &mut Incident,
    routing: &AlertRouting,
    held: Option<HoldReason>,
    now_ms: u64,
) -> Vec<NoticeDraft> {
    if incident.key.kind == AlertKind::Test {
        return Vec::new();
    }
    let mut drafts = Vec::new();
    if held.is_none() && incident.machine.phase == IncidentPhase::Firing {
        for channel in routing.channels(incident.severity) {
            let is_broken =
                incident.key.kind == AlertKind::Alerting && *incident.key.name == *channel.as_str();
            let sent = incident.notified.iter().find(|notified| notified.channel == *channel);
            match sent.map(|notified| notified.severity) {
                None if !is_broken => drafts.push(notify(incident, *channel, now_ms)),
                // It has become worse.
                Some(sent) if sent < incident.severity && incident.acknowledged_ms.is_none() => {
                    drafts.push(repeat(incident, *channel, now_ms))
                }
                None | Some(_) => {}
            }
        }
        drafts.extend(repeats(incident, routing, now_ms));
    }
    if incident.acknowledged_ms.is_some() {
        let mut unaware = Vec::new();
        for notified in incident.notified.iter_mut().filter(|it| it.channel.escalates() && !it.acknowledged) {
            notified.acknowledged = true;
            unaware.push(notified.channel);
        }
        for channel in unaware {
            drafts
                .push(NoticeDraft { channel, content: incident.content(NoticeEvent::Acknowledged, now_ms) });
        }
    }
    drafts
}

/// The repeats of an incident that no operator has acknowledged. A channel with an escalation of its own is notified once, and does
/// it for all from then on.
fn repeats(incident: &mut Incident, routing: &AlertRouting, now_ms: u64) -> Vec<NoticeDraft> {
    let is_escalated_elsewhere = incident.severity == AlertSeverity::Critical
        && incident.notified.iter().any(|notified| notified.channel.escalates() && notified.delivered);
    let Some(last_ms) = incident.last_notice_ms() else { return Vec::new() };
    let count = incident.notified.iter().map(|notified| notified.repeats).max().unwrap_or(0);
    let is_due = now_ms >= last_ms.saturating_add(routing.repeat_after_ms(incident.severity, count));
    if is_escalated_elsewhere || incident.acknowledged_ms.is_some() || !is_due {
        return Vec::new();
    }
    let mut drafts = Vec::new();
    for channel in routing.repeat_channels(incident.severity) {
        match incident.was_sent_to(*channel) {
            true if channel.escalates() => continue,
            true => drafts.push(repeat(incident, *channel, now_ms)),
            false => drafts.push(notify(incident, *channel, now_ms)),
        }
        incident
            .notified
            .iter_mut()
            .filter(|notified| notified.channel == *channel)
            .for_each(|notified| notified.repeats = count + 1);
    }
    drafts
}
