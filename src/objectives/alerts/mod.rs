//! Incidents and notices, kept by the thread `slo`.
//!
//! A step is decided, then written to `slo.db` in one transaction, and only then handed to the channels. So a process that is killed
//! between any two of these goes on where the rows say.

mod heartbeat;
mod incident_log;
mod instance_readings;
mod instances;
mod leadership;
mod leading;
mod orders;
mod outbox;
mod readings;
pub(super) mod reports;
pub(super) mod rows;
mod shared_log;
#[cfg(test)]
mod tests;

use crate::alert::attribution::OutagePresence;
use crate::alert::hold::SenderRole;
use crate::alert::incident::Incident;
use crate::alert::incidents::{IncidentStep, Incidents};
use crate::alert::key::{AlertKey, AlertKind};
use crate::alert::machine::AllClear;
use crate::alert::notice::{AlertNotice, NoticeEvent};
use crate::alert::order::{NoticeFate, is_lost_begin};
use crate::alert::reading::AlertReading;
use crate::alert::report::{AlertReport, IncidentReport};
use crate::alert::retry::AttemptOutcome;
use crate::clock::Now;
use crate::job::alerts::{AlertEnds, AlertPlan, NoticeSender, NotifyJob, NotifyResult};
use crate::job::registry::ClusterBoard;
use crate::job::shared_alerts::SharedAlerts;
use crate::job::{Outlook, SnapshotReader};
use crate::metrics::scrape::Metrics;
use crate::slo::Urgency;
use crate::slo::report::ObjectiveReport;
use crate::slo::run_counts::AllCounts;
use crate::slo::scoreboard::Scoreboard;
use heartbeat::AlertHeartbeat;
use incident_log::{log_begin, log_end};
use instances::InstanceCanaries;
use leadership::AlertLeadership;
use outbox::{ChannelHealth, DueNotice, NoticeOutbox};
use readings::ObjectiveReadings;
use rows::{AlertWrites, StoredAlerts};
use rusqlite::Connection;
use shared_log::{ShareOutcome, SharedLog};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

/// Closed incidents in reports.
const CLOSED_SHOWN: usize = 100;
/// The heartbeat stops if objectives were not judged for this long, in milliseconds.
const JUDGED_MS: u64 = 90_000;
/// The heartbeat stops if a begin waits for this long, in milliseconds.
const STUCK_MS: u64 = 600_000;

/// The parts that alerts share with other threads.
#[derive(Debug)]
pub struct AlertParts {
    pub ends: AlertEnds,
    pub outlook: Arc<Outlook>,
    /// Knows the load of all instances, of this one at least.
    pub instances: Arc<ClusterBoard>,
    /// `None`: this instance shares its store with no other.
    pub cluster: Option<Arc<ClusterBoard>>,
    /// The way to the rows that its instances share.
    pub shared: Option<SharedAlerts>,
}

/// The state of all alerts.
pub(super) struct AlertDesk {
    pub(super) ends: AlertEnds,
    plan: Arc<AlertPlan>,
    sender: Arc<NoticeSender>,
    snapshot: SnapshotReader,
    metrics: Arc<Metrics>,
    instances: Arc<ClusterBoard>,
    instance: Arc<str>,
    /// The objectives.
    names: Vec<&'static str>,
    incidents: Incidents,
    objectives: ObjectiveReadings,
    canaries: InstanceCanaries,
    leadership: AlertLeadership,
    outbox: NoticeOutbox,
    closed: VecDeque<Incident>,
    writes: AlertWrites,
    judged_ms: u64,
    heartbeat: AlertHeartbeat,
    /// Rows were read.
    is_loaded: bool,
}

impl AlertDesk {
    pub(super) fn new(
        parts: AlertParts,
        metrics: &Arc<Metrics>,
        instance: &Arc<str>,
        names: Vec<&'static str>,
        now_ms: u64,
    ) -> AlertDesk {
        let AlertParts { ends, outlook, instances, cluster, shared } = parts;
        let mut desk = AlertDesk {
            plan: ends.plan.load_full(),
            sender: Arc::default(),
            ends,
            snapshot: outlook.reader(),
            metrics: Arc::clone(metrics),
            instances,
            instance: Arc::clone(instance),
            names,
            // Numbers that no row has, if none can be read.
            incidents: Incidents::restore(now_ms / 1_000, Vec::new(), Vec::new(), Vec::new(), now_ms),
            objectives: ObjectiveReadings::default(),
            canaries: InstanceCanaries::default(),
            leadership: AlertLeadership::new(cluster, shared.map(SharedLog::new), now_ms),
            outbox: NoticeOutbox::new(now_ms, Arc::clone(&metrics.alerts)),
            closed: VecDeque::new(),
            writes: AlertWrites::default(),
            judged_ms: 0,
            heartbeat: AlertHeartbeat::new(now_ms),
            is_loaded: false,
        };
        desk.incidents.silences.number_after(now_ms / 1_000);
        desk.configure();
        desk
    }

    /// Goes on with the rows of a database that was just opened.
    pub(super) fn load(
        &mut self,
        connection: &Connection,
        board: &mut Scoreboard,
        now_ms: u64,
    ) -> rusqlite::Result<()> {
        let is_running = self.judged_ms > 0;
        if !self.is_loaded {
            let mut stored = StoredAlerts::read(connection)?;
            if self.leadership.shared.is_some() {
                stored.keep_unshared();
            }
            stored.closed.iter().for_each(|incident| mark_over(board, incident, now_ms));
            self.closed.extend(stored.closed.iter().take(CLOSED_SHOWN).cloned());
            let recent = stored.recent(now_ms);
            let last_silence = stored.silence;
            let (open, silences) = (mem::take(&mut stored.open), mem::take(&mut stored.silences));
            if is_running {
                let superseded = self.incidents.adopt(open, silences, recent, now_ms);
                self.log(&superseded);
            } else {
                self.incidents = Incidents::restore(stored.incident, open, silences, recent, now_ms);
            }
            self.incidents.silences.number_after(last_silence);
            let open = self.open_keys();
            let mut pointless = stored.take_without_incident(&open);
            if is_running {
                pointless.extend(stored.take_late_ends(&open));
            }
            self.writes.notices.extend(pointless.into_iter().map(|notice| (notice, NoticeFate::Merged)));
            self.outbox.restore(&stored, now_ms);
            self.is_loaded = true;
        }
        if is_running || self.leadership.shared.is_some() {
            // The file lacks the changes of the time in which it could not be written, or has what another instance goes on with.
            let AlertWrites { notices, .. } = self.write_again();
            self.writes.notices.splice(0..0, notices);
        }
        Ok(())
    }

    /// Marks the ends of incidents in windows that were filled again.
    pub(super) fn mark_closed(&self, board: &mut Scoreboard, now_ms: u64) {
        self.closed.iter().for_each(|incident| mark_over(board, incident, now_ms));
    }

    /// The numbers and alerts of the open incidents.
    fn open_keys(&self) -> Vec<(u64, AlertKey)> {
        self.incidents.open().map(|incident| (incident.number, incident.key.clone())).collect()
    }

    /// The name of this deployment in notices and reports.
    pub(super) fn deployment(&self) -> String {
        self.plan.deployment.clone()
    }

    fn configure(&mut self) {
        self.plan = self.ends.plan.load_full();
        self.outbox.configure(&self.plan);
        self.sender = Arc::new(NoticeSender {
            deployment: self.plan.deployment.clone(),
            instance: self.instance.to_string(),
            docs_url: self.plan.docs_url.clone(),
        });
    }

    /// Judges the objectives after a slot of the deployment, and what each instance counted in it.
    pub(super) fn judge(
        &mut self,
        board: &mut Scoreboard,
        (slot, instances): (&AllCounts, &[(Arc<str>, AllCounts)]),
        reports: &[ObjectiveReport],
        now_ms: u64,
    ) {
        if mem::take(&mut self.leadership.is_unmarked) {
            self.mark_closed(board, now_ms);
        }
        let snapshot = Arc::clone(self.snapshot.load());
        let is_down = |name: &Arc<str>| snapshot.outage_of(name).is_some();
        let is_outage = self.plan.dependencies.iter().any(|it| it.is_critical && is_down(&it.name));
        let presence = if is_outage { OutagePresence::SomeDown } else { OutagePresence::AllUp };
        self.objectives.add_slot(board, slot, presence);
        let mut readings = self.objectives.all(board, reports);
        self.canaries.close_slot(instances);
        // An instance alone is the service, whose objectives have the same events.
        if self.leadership.cluster.is_some() {
            let instances = self.canaries.readings(self.incidents.open());
            readings.extend(instances.into_iter().map(|it| AlertReading { is_explained: is_outage, ..it }));
        }
        self.judged_ms = now_ms;
        for ended in self.read(&readings, now_ms) {
            mark_over(board, &ended, now_ms);
        }
    }

    /// Looks at everything but the objectives, and sends what is due. After an error the rows are older than the incidents: open the
    /// database again, and [`AlertDesk::load`] it.
    pub(super) fn turn(
        &mut self,
        connection: Option<&mut Connection>,
        now: Now,
        now_ms: u64,
    ) -> rusqlite::Result<()> {
        if !Arc::ptr_eq(&self.plan, &self.ends.plan.load()) {
            self.configure();
            self.end_unknown(now_ms);
        }
        self.lead(now_ms);
        let over = self.incidents.silences.expire(now_ms);
        if !over.is_empty() {
            self.forget_silences(over);
        }
        let plan = Arc::clone(&self.plan);
        let snapshot = Arc::clone(self.snapshot.load());
        let age_ms = |began| u64::try_from(now.at.since(began).as_millis()).unwrap_or(0);
        let mut readings = readings::dependencies(&plan.dependencies, &snapshot, age_ms, now_ms);
        readings.push(readings::certificate(self.metrics.tls.not_after(), now.unix_ms));
        readings.push(readings::disk(connection.as_deref()));
        readings.extend(readings::channels(&self.outbox.health(&plan, now_ms)));
        readings.extend(instance_readings::loads(&self.instances.report().instances, self.incidents.open()));
        readings.push(self.incidents.storm());
        self.read(&readings, now_ms);
        let written = self.send(connection, now_ms);
        self.beat(now_ms);
        self.publish(now_ms);
        written
    }

    /// Takes readings, and logs what begins and ends. Returns the incidents that ended.
    fn read(&mut self, readings: &[AlertReading], now_ms: u64) -> Vec<Incident> {
        let steps = self.incidents.read(readings, now_ms);
        self.log(&steps)
    }

    fn log(&mut self, steps: &[IncidentStep]) -> Vec<Incident> {
        let mut ended = Vec::new();
        for step in steps {
            match step {
                IncidentStep::Began(number) => {
                    let Some(incident) = self.incidents.open().find(|it| it.number == *number) else {
                        continue;
                    };
                    log_begin(incident, &self.plan.docs_url);
                }
                IncidentStep::Ended(incident) => {
                    log_end(incident);
                    self.writes.incidents.push((**incident).clone());
                    self.closed.push_front((**incident).clone());
                    self.closed.truncate(CLOSED_SHOWN);
                    ended.push((**incident).clone());
                }
            }
        }
        ended
    }

    /// Ends the incidents of objectives and dependencies that are not configured.
    pub(super) fn end_unknown(&mut self, now_ms: u64) {
        let plan = Arc::clone(&self.plan);
        let names = &self.names;
        let is_known = |key: &AlertKey| match key.kind {
            AlertKind::Burn | AlertKind::Leak | AlertKind::Spent | AlertKind::Low => {
                names.contains(&&*key.name)
            }
            AlertKind::Dependency => plan.dependencies.iter().any(|it| it.name == key.name),
            AlertKind::Instance => self.leadership.cluster.is_some(),
            AlertKind::Alerting => plan.targets.iter().any(|it| it.channel().as_str() == &*key.name),
            // Their readings end the ones of instances that are gone.
            AlertKind::Capacity | AlertKind::Clock | AlertKind::Canary => true,
            AlertKind::Certificate | AlertKind::Disk | AlertKind::Storm => true,
            AlertKind::Test | AlertKind::Report => false,
        };
        let steps = self.incidents.end_unknown(is_known, now_ms);
        self.log(&steps);
    }

    /// Writes what is new, then hands what is due to the channels, although it could not be written.
    fn send(&mut self, connection: Option<&mut Connection>, now_ms: u64) -> rusqlite::Result<()> {
        if self.leadership.sends_unread() {
            self.incidents.mark_perhaps_sent(now_ms);
        }
        let drafts = self.incidents.notices(&self.plan.routing, self.leadership.role, now_ms);
        self.outbox.add(drafts, &mut self.writes);
        self.writes.incidents.extend(self.incidents.take_changed());
        let due = self.outbox.due(now_ms, &mut self.writes);
        let mut writes = mem::take(&mut self.writes);
        let incidents: Vec<u64> =
            due.iter().flat_map(DueNotice::notices).map(|notice| notice.content.incident).collect();
        let outcome = self.share(&mut writes, &incidents, now_ms);
        let written = connection.filter(|_| !writes.is_empty()).map_or(Ok(()), |it| writes.write(it));
        if written.is_err() {
            // All other changes are written again from what is known.
            self.writes.reports.append(&mut writes.reports);
        }
        match outcome {
            ShareOutcome::Shared | ShareOutcome::Alone => {}
            ShareOutcome::Unsure => {
                self.outbox.put_back(&due);
                return written;
            }
            ShareOutcome::Deposed => {
                self.follow();
                return written;
            }
        }
        for failed in self.outbox.send(due, &self.sender, &self.ends.jobs) {
            self.take(&failed, now_ms);
        }
        written
    }

    /// Sends a heartbeat if this instance sends, judges, and gets its notices out.
    fn beat(&mut self, now_ms: u64) {
        let Some(heartbeat) = &self.plan.heartbeat else { return };
        let is_judged = self.judged_ms > 0 && now_ms <= self.judged_ms + JUDGED_MS;
        let health = self.outbox.health(&self.plan, now_ms);
        let is_mute = !health.is_empty() && health.iter().all(|(_, it, _)| *it == ChannelHealth::Broken);
        let gets_out = !is_mute && !self.outbox.is_stuck(now_ms, STUCK_MS);
        let is_well = is_judged && self.leadership.role == SenderRole::Sends && gets_out;
        let Some(jobs) = self.ends.jobs.last().filter(|_| is_well) else { return };
        if self.heartbeat.is_due(heartbeat.every_ms, now_ms) {
            // The last beat may still be on its way.
            let _ = jobs.try_send(NotifyJob::Heartbeat(heartbeat.url.clone()));
        }
    }

    /// Takes the result of a try.
    pub(super) fn take(&mut self, result: &NotifyResult, now_ms: u64) {
        if result.notice.is_none() {
            return self.heartbeat.take(result);
        }
        let over = self.outbox.take(result, now_ms, fastrand::f32(), &mut self.writes);
        for (notice, fate) in over {
            self.take_fate(&notice, fate, result.outcome, now_ms);
        }
    }

    fn take_fate(&mut self, notice: &AlertNotice, fate: NoticeFate, outcome: AttemptOutcome, now_ms: u64) {
        let (incident, event) = (notice.content.incident, notice.content.event);
        if fate == NoticeFate::Sent && matches!(event, NoticeEvent::Began | NoticeEvent::Continues) {
            self.incidents.delivered(incident, notice.channel);
        }
        if is_lost_begin(notice, fate, outcome) {
            self.incidents.lost(incident, notice.channel);
        }
        if event == NoticeEvent::Began {
            let step = self.incidents.end_test(incident, now_ms);
            self.log(step.as_slice());
        }
    }

    fn publish(&self, now_ms: u64) {
        let report = |incident: &Incident| {
            let held = match incident.end {
                None => self.incidents.held(incident, &self.plan.routing, self.leadership.role, now_ms),
                Some(_) => None,
            };
            let mut report = IncidentReport::new(incident, held, &self.plan.docs_url);
            report.answers = self.outbox.answers(incident.number);
            report
        };
        let mut open: Vec<&Incident> = self.incidents.open().collect();
        open.sort_by_key(|incident| std::cmp::Reverse(incident.number));
        self.metrics.alerts.publish(AlertReport {
            judged: now_ms,
            instance: self.instance.to_string(),
            deployment: self.plan.deployment.clone(),
            mode: self.plan.routing.mode.as_str(),
            sends: self.leadership.role == SenderRole::Sends,
            incidents: open.into_iter().chain(&self.closed).map(report).collect(),
            silences: self.incidents.silences.list().to_vec(),
            channels: self.outbox.report(&self.plan),
        });
    }
}

/// Marks in the counts that the incident of an objective is over, so that its bad events begin no other one.
fn mark_over(board: &mut Scoreboard, incident: &Incident, now_ms: u64) {
    let urgency = match incident.key.kind {
        AlertKind::Burn => Urgency::Page,
        AlertKind::Leak => Urgency::Ticket,
        AlertKind::Dependency
        | AlertKind::Instance
        | AlertKind::Capacity
        | AlertKind::Clock
        | AlertKind::Canary
        | AlertKind::Spent
        | AlertKind::Low
        | AlertKind::Alerting
        | AlertKind::Certificate
        | AlertKind::Disk
        | AlertKind::Storm
        | AlertKind::Test
        | AlertKind::Report => return,
    };
    if let Some(end) = incident.end.filter(|end| end.all_clear != AllClear::Removed) {
        board.mark_over(&incident.key.name, urgency, now_ms.saturating_sub(end.at_ms) / 1_000);
    }
}
