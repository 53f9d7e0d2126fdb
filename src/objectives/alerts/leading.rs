//! The part of the leader: one instance writes incidents for all, and sends.

use super::leadership::ALONE_MS;
use super::rows::{AlertWrites, EarlierRows, StoredAlerts};
use super::shared_log::{SILENT_MS, ShareOutcome, SharedLog};
use super::{AlertDesk, CLOSED_SHOWN};
use crate::alert::hold::SenderRole;
use crate::alert::incidents::Incidents;
use crate::alert::order::NoticeFate;
use crate::cluster::report::ClusterReport;
use std::mem;

/// Without a leader for this long, an instance that never knew one sends, in milliseconds.
const LEADERLESS_MS: u64 = 60_000;

impl AlertDesk {
    /// Follows the leader of the cluster. While none is known, the last one goes on, because that is when the store is down; but not if
    /// another instance has the store, and so a leader.
    pub(super) fn lead(&mut self, now_ms: u64) {
        let Some(cluster) = &self.leadership.cluster else { return };
        let report = cluster.report();
        let leads = self.leadership.shared.as_ref().is_some_and(SharedLog::leads);
        match &report.leader {
            Some(leader) => {
                self.leadership.note_leader(now_ms);
                if **leader == *self.instance { self.take_lead(now_ms) } else { self.follow() }
            }
            None if others_have_store(&report, &self.instance) => self.leadership.role = SenderRole::Follows,
            None if leads
                || (!self.leadership.knew_leader && now_ms >= self.leadership.led_ms + LEADERLESS_MS) =>
            {
                self.leadership.role = SenderRole::Sends
            }
            None => {}
        }
    }

    /// Goes on with the rows of the instance that led before.
    fn take_lead(&mut self, now_ms: u64) {
        let Some(shared) = &mut self.leadership.shared else { return };
        if shared.leads() {
            self.leadership.role = SenderRole::Sends;
            return;
        }
        let Some(rows) = shared.take(now_ms) else {
            if shared.is_silent(now_ms) {
                self.leadership.role = SenderRole::Sends;
            } else if shared.has_answered() {
                // It does not hold the duty.
                self.leadership.role = SenderRole::Follows;
            }
            return;
        };
        let mut stored = StoredAlerts::of(&rows);
        let recent = stored.recent(now_ms);
        let last_silence = stored.silence;
        // Notices of other leaders have their numbers.
        self.leadership.over_unshared.clear();
        self.leadership.reported_ms = self.leadership.reported_ms.max(stored.reported_ms);
        let (open, silences) = (mem::take(&mut stored.open), mem::take(&mut stored.silences));
        let mut before = mem::replace(
            &mut self.incidents,
            Incidents::restore(stored.incident, open, silences, recent, now_ms),
        );
        self.incidents.silences.number_after(last_silence.max(before.silences.last_counted()));
        self.closed.retain(|incident| incident.is_unshared);
        // An earlier leader that could write would have, so it did not see these, or was alone.
        before.mark_perhaps_sent(self.leadership.unled_ms.max(now_ms.saturating_sub(SILENT_MS)));
        let moved = self.incidents.take_over(before, self.closed.make_contiguous());
        let open = self.open_keys();
        let pointless = stored.take_without_incident(&open);
        let mut lost = AlertWrites::default();
        self.outbox.restart(&stored, &moved, now_ms, &mut lost);
        self.closed.extend(mem::take(&mut stored.closed));
        self.closed.truncate(CLOSED_SHOWN);
        self.leadership.is_unmarked = true;
        self.write_again();
        self.writes.notices.extend(lost.notices);
        self.writes.notices.extend(pointless.into_iter().map(|notice| (notice, NoticeFate::Merged)));
        self.leadership.role = SenderRole::Sends;
        // The configuration of the earlier leader may have been another one.
        self.end_unknown(now_ms);
        tracing::info!(open = open.len(), "alerts taken over");
    }

    /// Leaves the incidents to the next leader, apart from any that only this instance knows.
    pub(super) fn follow(&mut self) {
        self.leadership.role = SenderRole::Follows;
        let held = self.leadership.shared.as_mut().is_some_and(SharedLog::leave);
        if !held {
            return;
        }
        self.incidents.hand_over();
        // The end of one may wait for its channel.
        let closed = self.closed.iter().filter(|incident| incident.is_unshared).map(|it| it.number);
        let kept: Vec<u64> = self.incidents.unshared().chain(closed).collect();
        self.outbox.hand_over(&kept);
        self.write_again();
        tracing::info!(kept = kept.len(), "alerts handed over");
    }

    /// Writes everything, in place of the changes that were to be written, which it returns.
    pub(super) fn write_again(&mut self) -> AlertWrites {
        let everything = self.everything();
        let mut before = mem::replace(&mut self.writes, everything);
        self.writes.reports = mem::take(&mut before.reports);
        before
    }

    /// Everything that is known, in place of what a file or the store has.
    pub(super) fn everything(&self) -> AlertWrites {
        let silences = &self.incidents.silences;
        let number_row = self.leadership.shared.as_ref().and_then(|_| silences.number_row());
        let mut writes = AlertWrites {
            incidents: self.incidents.open().chain(&self.closed).cloned().collect(),
            silences: silences.list().iter().cloned().chain(number_row).collect(),
            earlier: EarlierRows::Superseded,
            ..AlertWrites::default()
        };
        self.outbox.write_all(&mut writes);
        writes
    }

    /// Writes what is new to the store, before notices about these incidents are sent.
    pub(super) fn share(&mut self, writes: &mut AlertWrites, due: &[u64], now_ms: u64) -> ShareOutcome {
        let all = match &self.leadership.shared {
            None => return ShareOutcome::Shared,
            Some(shared) if shared.leads() && shared.is_behind() => {
                let mut all = self.everything();
                // The last version of each counts.
                let over = self.leadership.over_unshared.iter().chain(&writes.notices).cloned();
                all.notices.splice(0..0, over);
                Some(all)
            }
            Some(_) => None,
        };
        let Some(shared) = &mut self.leadership.shared else { return ShareOutcome::Shared };
        let mut outcome = shared.write(all.as_ref().unwrap_or(writes), now_ms);
        // Another one leads if it has the store, or if the duty was lost while the calls failed.
        let may_follow = self.leadership.role == SenderRole::Follows
            || (now_ms < self.leadership.led_ms + ALONE_MS && !shared.is_silent(now_ms));
        if outcome == ShareOutcome::Alone && shared.leads() && may_follow {
            outcome = ShareOutcome::Unsure;
        }
        match outcome {
            ShareOutcome::Shared => {
                self.leadership.over_unshared.clear();
                self.incidents.mark_shared();
                for incident in self.closed.iter_mut().filter(|incident| incident.is_unshared) {
                    incident.is_unshared = false;
                    writes.incidents.push(incident.clone());
                }
            }
            ShareOutcome::Alone => {
                self.incidents.mark_unshared(due);
                self.leadership.keep_over(&writes.notices);
            }
            ShareOutcome::Unsure => self.leadership.keep_over(&writes.notices),
            ShareOutcome::Deposed => {}
        }
        // The mark must survive this process.
        writes.incidents.extend(self.incidents.take_changed());
        outcome
    }
}

/// True exactly if another living instance has the store.
fn others_have_store(report: &ClusterReport, own: &str) -> bool {
    report.instances.iter().any(|instance| {
        let store = instance.stats.as_ref().and_then(|stats| stats.store.as_deref());
        let has_store = matches!(store, Some("ok" | "degraded"));
        instance.name != own && matches!(instance.state, "alive" | "draining") && has_store
    })
}
