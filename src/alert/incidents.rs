//! All alerts of one gateway: their incidents, and the notices that are due.

use super::channel::AlertChannel;
use super::due::{due, notify};
use super::hold::{HoldCheck, HoldReason, SenderRole, StormGauge};
use super::incident::{Incident, IncidentEnd, NotifiedChannel};
use super::key::{AlertKey, AlertKind, AlertSeverity};
use super::machine::{
    AlertCondition, AlertRule, AllClear, EndRule, EventEvidence, IncidentMachine, IncidentPhase, IncidentTurn,
};
use super::notice::{NoticeDraft, NoticeEvent};
use super::pending::PendingAlerts;
use super::reading::AlertReading;
use super::routing::AlertRouting;
use super::silence::{Silence, SilenceList};
use std::collections::BTreeMap;
use std::mem;

/// A storm is over when nothing was held for it for this long, in milliseconds.
const STORM: AlertRule = AlertRule { begin_after_ms: 0, end: EndRule::After(600_000) };

/// An incident that has just begun or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncidentStep {
    Began(u64),
    Ended(Box<Incident>),
}

/// All alerts. What it returns is stored before it is sent.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    pub(super) number: u64,
    pub(super) pending: PendingAlerts,
    pub(super) open: BTreeMap<AlertKey, Incident>,
    pub silences: SilenceList,
    gauge: StormGauge,
    /// The incidents that a storm holds.
    pub(super) stormed: Vec<u64>,
    pub(super) cause_ms: Option<u64>,
    /// Incidents that changed since they were last stored.
    pub(super) dirty: Vec<u64>,
    /// Ends that channels must still be sent.
    pub(super) ends: Vec<Incident>,
}

impl Incidents {
    /// Goes on with stored incidents that are open. `last` is the greatest number so far, `recent` the times and numbers of the
    /// critical incidents of the last hour that were sent.
    pub fn restore(
        last: u64,
        open: Vec<Incident>,
        silences: Vec<Silence>,
        recent: Vec<(u64, u64)>,
        now_ms: u64,
    ) -> Incidents {
        let mut incidents = Incidents { number: last, ..Incidents::default() };
        incidents.adopt(open, silences, recent, now_ms);
        incidents
    }

    /// Takes what was stored. An incident whose alert has a new one ends without a notice, because that would end the new one as well
    /// where keys are compared. `recent` as in [`Incidents::restore`].
    pub fn adopt(
        &mut self,
        open: Vec<Incident>,
        silences: Vec<Silence>,
        recent: Vec<(u64, u64)>,
        now_ms: u64,
    ) -> Vec<IncidentStep> {
        self.silences.merge(silences, now_ms);
        self.gauge.add(recent.into_iter().map(|(at, number)| (at.min(now_ms), number)).collect());
        let mut steps = Vec::new();
        for mut incident in open {
            incident.resume(now_ms);
            if self.open.contains_key(&incident.key) {
                incident.end = Some(IncidentEnd { at_ms: now_ms, all_clear: AllClear::Removed });
                steps.push(IncidentStep::Ended(Box::new(incident)));
            } else {
                self.open.insert(incident.key.clone(), incident);
            }
        }
        steps
    }

    /// Takes that a channel accepted a notice of an open incident.
    pub fn delivered(&mut self, number: u64, channel: AlertChannel) {
        let Some(incident) = self.open.values_mut().find(|incident| incident.number == number) else {
            return;
        };
        let notified = incident.notified.iter_mut().find(|notified| notified.channel == channel);
        if let Some(notified) = notified.filter(|notified| !notified.delivered || notified.lost) {
            (notified.delivered, notified.lost) = (true, false);
            self.dirty.push(number);
        }
    }

    /// Takes that the begin of an incident was given up for a channel: it is not sent the end either.
    pub fn lost(&mut self, number: u64, channel: AlertChannel) {
        let Some(incident) = self.open.values_mut().find(|incident| incident.number == number) else {
            return;
        };
        let mut notified = incident.notified.iter_mut().filter(|notified| notified.channel == channel);
        if let Some(notified) = notified.find(|notified| !notified.delivered) {
            notified.lost = true;
            self.dirty.push(number);
        }
    }

    /// The open incidents.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values()
    }

    /// The open incident of an alert.
    pub fn of(&self, key: &AlertKey) -> Option<&Incident> {
        self.open.get(key)
    }

    /// The open incidents that changed since the last call.
    pub fn take_changed(&mut self) -> Vec<Incident> {
        let dirty = mem::take(&mut self.dirty);
        self.open.values().filter(|incident| dirty.contains(&incident.number)).cloned().collect()
    }

    /// Takes readings of alerts.
    pub fn read(&mut self, readings: &[AlertReading], now_ms: u64) -> Vec<IncidentStep> {
        let mut steps: Vec<_> =
            readings.iter().filter_map(|reading| self.read_one(reading, now_ms)).collect();
        if steps.iter().any(|step| matches!(step, IncidentStep::Began(_))) {
            let ripe = self.pending.ripe(now_ms);
            steps.extend(ripe.iter().filter_map(|reading| self.read_one(reading, now_ms)));
        }
        self.pending.forget_unread(now_ms);
        let is_cause = |key: &AlertKey, severity| {
            key.kind == AlertKind::Dependency && severity == AlertSeverity::Critical
        };
        let is_pending = readings
            .iter()
            .any(|reading| is_cause(&reading.key, reading.severity) && self.pending.has(&reading.key));
        if is_pending || self.open.values().any(|incident| is_cause(&incident.key, incident.severity)) {
            self.cause_ms = Some(now_ms);
        }
        steps
    }

    fn read_one(&mut self, reading: &AlertReading, now_ms: u64) -> Option<IncidentStep> {
        let AlertReading { key, condition, events, rule, .. } = reading;
        if let Some(incident) = self.open.get_mut(key) {
            let before = incident.machine.phase;
            let turn = incident.machine.read(*condition, *events, rule, now_ms);
            incident.is_effect |= reading.is_explained;
            if *condition == AlertCondition::Over {
                incident.text.clone_from(&reading.text);
                incident.reference = reading.reference.clone().or(incident.reference.take());
                if incident.severity < reading.severity {
                    incident.severity = reading.severity;
                    self.dirty.push(incident.number);
                }
            }
            if mem::discriminant(&before) != mem::discriminant(&incident.machine.phase) {
                self.dirty.push(incident.number);
            }
            return match turn {
                IncidentTurn::Ends(all_clear) => self.end(key, all_clear, now_ms),
                IncidentTurn::Stays | IncidentTurn::Begins => None,
            };
        }
        let mut machine = self.pending.take(key);
        let since_ms = match machine.phase {
            IncidentPhase::Pending { since_ms } => since_ms,
            IncidentPhase::Quiet | IncidentPhase::Firing | IncidentPhase::Settling { .. } => now_ms,
        };
        let turn = machine.read(*condition, *events, rule, now_ms);
        if turn == IncidentTurn::Begins {
            let incident = self.begin(reading, machine, since_ms, now_ms);
            let number = incident.number;
            self.open.insert(key.clone(), incident);
            return Some(IncidentStep::Began(number));
        }
        self.pending.keep(machine, reading, now_ms);
        None
    }

    fn begin(
        &mut self,
        reading: &AlertReading,
        machine: IncidentMachine,
        since_ms: u64,
        now_ms: u64,
    ) -> Incident {
        self.number += 1;
        self.dirty.push(self.number);
        Incident {
            number: self.number,
            key: reading.key.clone(),
            severity: reading.severity,
            since_ms,
            began_ms: now_ms,
            machine,
            text: reading.text.clone(),
            reference: reading.reference.clone(),
            is_effect: reading.is_explained,
            acknowledged_ms: None,
            notified: Vec::new(),
            steps: 0,
            end: None,
            is_unshared: false,
            is_perhaps_sent: false,
        }
    }

    fn end(&mut self, key: &AlertKey, all_clear: AllClear, now_ms: u64) -> Option<IncidentStep> {
        let mut incident = self.open.remove(key)?;
        incident.end = Some(IncidentEnd { at_ms: now_ms, all_clear });
        self.stormed.retain(|number| *number != incident.number);
        self.ends.push(incident.clone());
        Some(IncidentStep::Ended(Box::new(incident)))
    }

    /// Ends the incidents of alerts that no longer exist.
    pub fn end_unknown(&mut self, is_known: impl Fn(&AlertKey) -> bool, now_ms: u64) -> Vec<IncidentStep> {
        self.pending.retain(&is_known);
        let gone: Vec<AlertKey> = self.open.keys().filter(|key| !is_known(key)).cloned().collect();
        gone.iter().filter_map(|key| self.end(key, AllClear::Removed, now_ms)).collect()
    }

    /// The reason to hold an open incident now.
    pub fn held(
        &self,
        incident: &Incident,
        routing: &AlertRouting,
        role: SenderRole,
        now_ms: u64,
    ) -> Option<HoldReason> {
        let reason = self.check(routing, role, now_ms).reason(incident);
        reason.or_else(|| self.stormed.contains(&incident.number).then_some(HoldReason::Storm))
    }

    fn check(&self, routing: &AlertRouting, role: SenderRole, now_ms: u64) -> HoldCheck<'_> {
        let (silences, open) = (&self.silences, &self.open);
        HoldCheck { mode: routing.mode, role, silences, open, cause_ms: self.cause_ms, now_ms }
    }

    /// The notices that are due now. Each is returned once.
    pub fn notices(&mut self, routing: &AlertRouting, role: SenderRole, now_ms: u64) -> Vec<NoticeDraft> {
        let mut drafts = self.end_notices(now_ms);
        let keys: Vec<AlertKey> = self.open.keys().cloned().collect();
        for key in keys {
            let Some(incident) = self.open.get(&key) else { continue };
            let mut held = self.check(routing, role, now_ms).reason(incident);
            if held.is_none() && !self.gauge.admit(incident, now_ms) {
                held = Some(HoldReason::Storm);
            }
            let number = incident.number;
            self.stormed.retain(|stormed| *stormed != number);
            if held == Some(HoldReason::Storm) {
                self.stormed.push(number);
            }
            if let Some(incident) = self.open.get_mut(&key) {
                let due = due(incident, routing, held, now_ms);
                if !due.is_empty() {
                    self.dirty.push(number);
                }
                drafts.extend(due);
            }
        }
        drafts
    }

    /// Whatever holds an incident now: a channel that knows of its begin must hear of its end, and no other one.
    fn end_notices(&mut self, now_ms: u64) -> Vec<NoticeDraft> {
        let mut drafts = Vec::new();
        for mut incident in mem::take(&mut self.ends) {
            let aware = incident.notified.clone().into_iter().filter(|notified| !notified.lost);
            for NotifiedChannel { channel, .. } in aware {
                let content = incident.content(NoticeEvent::Ended, now_ms);
                drafts.push(NoticeDraft { channel, content });
            }
        }
        drafts
    }

    /// The reading of the storm, which follows from the incidents themselves.
    pub fn storm(&self) -> AlertReading {
        let count = self.stormed.len();
        AlertReading {
            key: AlertKey::new(AlertKind::Storm, ""),
            severity: AlertSeverity::Critical,
            rule: STORM,
            condition: if count > 0 { AlertCondition::Over } else { AlertCondition::Clear },
            events: EventEvidence::default(),
            text: format!("{count} critical incidents are not sent one by one: seawall alert"),
            reference: None,
            is_explained: false,
        }
    }

    /// Marks an incident as acknowledged: it is not sent again. `false` if it is not open.
    pub fn acknowledge(&mut self, number: u64, now_ms: u64) -> bool {
        let Some(incident) = self.open.values_mut().find(|incident| incident.number == number) else {
            return false;
        };
        incident.acknowledged_ms.get_or_insert(now_ms);
        self.dirty.push(number);
        true
    }

    /// Begins a test of a channel, after the end of one that is open ([`Incidents::end_test`]). Returns its number, and the notices that
    /// are due: those of ends first.
    pub fn begin_test(&mut self, channel: AlertChannel, now_ms: u64) -> (u64, Vec<NoticeDraft>) {
        let key = AlertKey::new(AlertKind::Test, channel.as_str());
        let mut drafts = self.end_notices(now_ms);
        let reading = AlertReading {
            key: key.clone(),
            severity: AlertSeverity::Warning,
            rule: STORM,
            condition: AlertCondition::Over,
            events: EventEvidence::default(),
            text: "An operator tests this channel. Nothing is wrong, and the end follows.".into(),
            reference: None,
            is_explained: false,
        };
        let mut incident = self.begin(&reading, IncidentMachine::firing(), now_ms, now_ms);
        let number = incident.number;
        drafts.push(notify(&mut incident, channel, now_ms));
        self.open.insert(key, incident);
        (number, drafts)
    }

    /// Ends a test after its begin was answered, or because another one begins.
    pub fn end_test(&mut self, number: u64, now_ms: u64) -> Option<IncidentStep> {
        let mut tests = self.open.values().filter(|incident| incident.key.kind == AlertKind::Test);
        let key = tests.find(|incident| incident.number == number)?.key.clone();
        self.end(&key, AllClear::Recovered, now_ms)
    }
}
