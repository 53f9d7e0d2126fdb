//! The notices of all channels on their way: queued, handed to the thread of a channel, and marked with what became of them.

use super::rows::{AlertWrites, DEAD_KEPT, StoredAlerts};
use crate::alert::channel::AlertChannel;
use crate::alert::handover::MovedIncident;
use crate::alert::key::AlertKey;
use crate::alert::notice::{AlertNotice, NoticeDraft, NoticeEvent};
use crate::alert::order::{ChannelQueue, NoticeFate, is_lost_begin};
use crate::alert::report::{ChannelAnswer, ChannelReport};
use crate::alert::retry::{AttemptOutcome, RetryAdvice};
use crate::job::alerts::{AlertPlan, NoticeAttempt, NoticeSender, NoticeTarget, NotifyJob, NotifyResult};
use crate::metrics::alerts::{AlertBoard, NoticeHistory};
use crossbeam_channel::Sender;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter;
use std::mem;
use std::sync::Arc;

/// A channel that fails for this long is reported to the others, in milliseconds.
const FAILING_MS: u64 = 900_000;
/// Incidents whose answers are remembered.
const ANSWERS_KEPT: usize = 200;

/// One channel.
#[derive(Debug)]
struct ChannelState {
    channel: AlertChannel,
    queue: ChannelQueue,
    /// The newest known target. A channel that is removed from the configuration still gets the ends that it waits for.
    target: Option<NoticeTarget>,
    sent_ms: Option<u64>,
    failing_since_ms: Option<u64>,
    dead_ms: Option<u64>,
    fault: Option<String>,
    dead: VecDeque<AlertNotice>,
}

/// A notice to try now, and the ones to send with it.
#[derive(Debug)]
pub(super) struct DueNotice {
    notice: AlertNotice,
    others: Vec<AlertNotice>,
    target: NoticeTarget,
}

impl DueNotice {
    pub(super) fn notices(&self) -> impl Iterator<Item = &AlertNotice> {
        iter::once(&self.notice).chain(&self.others)
    }
}

/// The condition of a channel, for the alert about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelHealth {
    Works,
    /// It failed lately.
    Doubtful,
    /// It lost a notice, or fails for a while.
    Broken,
}

/// The notices on their way.
#[derive(Debug)]
pub(super) struct NoticeOutbox {
    channels: Vec<ChannelState>,
    /// The greatest number so far.
    id: u64,
    /// Notices that may have arrived before this process started.
    doubtful: BTreeSet<u64>,
    answers: BTreeMap<u64, Vec<ChannelAnswer>>,
    board: Arc<AlertBoard>,
}

impl NoticeOutbox {
    /// An empty outbox whose numbers go on from `id` until rows are read.
    pub(super) fn new(id: u64, board: Arc<AlertBoard>) -> NoticeOutbox {
        let channels = AlertChannel::ALL.map(|channel| ChannelState {
            channel,
            queue: ChannelQueue::new(channel),
            target: None,
            sent_ms: None,
            failing_since_ms: None,
            dead_ms: None,
            fault: None,
            dead: VecDeque::new(),
        });
        let (doubtful, answers) = (BTreeSet::new(), BTreeMap::new());
        NoticeOutbox { channels: channels.into(), id, doubtful, answers, board }
    }

    /// Goes on with stored notices. No time is in the future: the clock may have been set back.
    pub(super) fn restore(&mut self, stored: &StoredAlerts, now_ms: u64) {
        let past = |notice: &AlertNotice| {
            let mut notice = AlertNotice { due_ms: 0, ..notice.clone() };
            notice.content.at_ms = notice.content.at_ms.min(now_ms);
            notice
        };
        let is_new = self.channels.iter().all(|state| state.queue.is_empty());
        self.id = if is_new { stored.notice } else { self.id.max(stored.notice) };
        for notice in &stored.waiting {
            if notice.tries > 0 {
                self.doubtful.insert(notice.id);
            }
            if let Some(state) = self.channels.get_mut(notice.channel.index()) {
                state.queue.push(past(notice));
            }
        }
        for notice in stored.dead.iter().rev() {
            if let Some(state) = self.channels.get_mut(notice.channel.index()) {
                state.dead.push_back(past(notice));
            }
        }
    }

    /// Goes on with other stored notices in place of its own, apart from those of incidents that were `moved`. No number is used twice.
    pub(super) fn restart(
        &mut self,
        stored: &StoredAlerts,
        moved: &[MovedIncident],
        now_ms: u64,
        writes: &mut AlertWrites,
    ) {
        let mut kept = Vec::new();
        for notice in self.channels.iter().flat_map(|state| state.queue.waiting()) {
            let (channel, from) = (notice.channel, notice.content.incident);
            if let Some(incident) = moved.iter().find(|it| (it.channel, it.from) == (channel, from)) {
                let mut notice = notice.clone();
                notice.content.incident = incident.to;
                kept.push(notice);
            }
        }
        let last = self.id;
        self.hand_over(&[]);
        self.doubtful.clear();
        self.restore(stored, now_ms);
        self.id = self.id.max(last);
        for notice in kept {
            self.id += 1;
            if notice.tries > 0 {
                self.doubtful.insert(self.id);
            }
            self.push(AlertNotice { id: self.id, ..notice }, writes);
        }
    }

    /// Leaves the notices to another instance, apart from those of these incidents.
    pub(super) fn hand_over(&mut self, kept: &[u64]) {
        for state in &mut self.channels {
            state.queue.keep(|notice| kept.contains(&notice.content.incident));
            state.dead.clear();
        }
    }

    /// Queues notices. They must be written before anything is sent.
    pub(super) fn add(&mut self, drafts: Vec<NoticeDraft>, writes: &mut AlertWrites) {
        for NoticeDraft { channel, content } in drafts {
            self.id += 1;
            self.push(AlertNotice::new(self.id, channel, content), writes);
        }
    }

    fn push(&mut self, notice: AlertNotice, writes: &mut AlertWrites) {
        writes.notices.push((notice.clone(), NoticeFate::Waits));
        let Some(state) = self.channels.get_mut(notice.channel.index()) else { return };
        for (gone, fate) in state.queue.push(notice) {
            self.note(gone, fate, "", 0, writes);
        }
    }

    /// Writes all notices that wait.
    pub(super) fn write_all(&self, writes: &mut AlertWrites) {
        let waiting = self.channels.iter().flat_map(|state| state.queue.waiting());
        writes.notices.extend(waiting.map(|notice| (notice.clone(), NoticeFate::Waits)));
    }

    /// Takes the configured targets.
    pub(super) fn configure(&mut self, plan: &AlertPlan) {
        for state in &mut self.channels {
            if let Some(target) = plan.target(state.channel) {
                state.target = Some(target.clone());
            }
        }
    }

    /// The notices to try now, one for each idle channel, with their tries counted.
    pub(super) fn due(&mut self, now_ms: u64, writes: &mut AlertWrites) -> Vec<DueNotice> {
        let (mut merged, mut due, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for state in &mut self.channels {
            merged.extend(state.queue.merge());
            let Some(notice) = state.queue.next(now_ms) else { continue };
            // A mark is about all that a message says.
            let is_doubtful = |id| self.doubtful.contains(&id);
            let is_marked = is_doubtful(notice.id);
            let others = state.queue.companions(&notice, now_ms, |other| is_doubtful(other.id) == is_marked);
            if let Some(target) = &state.target {
                due.push(DueNotice { notice, others, target: target.clone() });
                continue;
            }
            for AlertNotice { id, .. } in others.into_iter().chain([notice]) {
                lost.extend(state.queue.answered(id, AttemptOutcome::Rejected, now_ms, 0.0));
            }
        }
        merged.into_iter().for_each(|notice| self.note(notice, NoticeFate::Merged, "", 0, writes));
        for (notice, fate) in lost {
            self.note(notice, fate, "the channel is not configured any more", 0, writes);
        }
        let tried = due.iter().flat_map(DueNotice::notices);
        writes.notices.extend(tried.map(|notice| (notice.clone(), NoticeFate::Waits)));
        due
    }

    /// Takes back that these are tried now.
    pub(super) fn put_back(&mut self, due: &[DueNotice]) {
        for notice in due.iter().flat_map(DueNotice::notices) {
            if let Some(state) = self.channels.get_mut(notice.channel.index()) {
                state.queue.put_back(notice.id);
            }
        }
    }

    /// Hands the notices to the threads of their channels, which are idle. Returns the results for threads that have ended.
    pub(super) fn send(
        &self,
        due: Vec<DueNotice>,
        sender: &Arc<NoticeSender>,
        jobs: &[Sender<NotifyJob>],
    ) -> Vec<NotifyResult> {
        let mut failed = Vec::new();
        for DueNotice { notice, others, target } in due {
            let (channel, id) = (notice.channel, notice.id);
            let Some(jobs) = jobs.get(channel.index()) else { continue };
            let is_repeated = self.doubtful.contains(&notice.id);
            let ids = others.iter().map(|notice| notice.id).collect();
            let attempt = NoticeAttempt { notice, others, target, sender: Arc::clone(sender), is_repeated };
            if jobs.try_send(NotifyJob::Notice(Box::new(attempt))).is_err() {
                failed.push(NotifyResult {
                    notice: Some((channel, id)),
                    others: ids,
                    outcome: AttemptOutcome::Failed(RetryAdvice::Open),
                    answer: "the thread of this channel does not run: restart the gateway".into(),
                    took_ms: 0,
                });
            }
        }
        failed
    }

    /// Takes the result of a try. Returns the notices that are over, and their fates.
    pub(super) fn take(
        &mut self,
        result: &NotifyResult,
        now_ms: u64,
        random: f32,
        writes: &mut AlertWrites,
    ) -> Vec<(AlertNotice, NoticeFate)> {
        let lead = result.notice.map(|(_, id)| id);
        let ids = lead.into_iter().chain(result.others.iter().copied());
        ids.filter_map(|id| self.take_one(id, result, (now_ms, random), writes)).collect()
    }

    fn take_one(
        &mut self,
        id: u64,
        result: &NotifyResult,
        (now_ms, random): (u64, f32),
        writes: &mut AlertWrites,
    ) -> Option<(AlertNotice, NoticeFate)> {
        let (channel, _) = result.notice?;
        let state = self.channels.get_mut(channel.index())?;
        let (notice, fate) = state.queue.answered(id, result.outcome, now_ms, random)?;
        match fate {
            NoticeFate::Sent => {
                (state.sent_ms, state.failing_since_ms, state.dead_ms) = (Some(now_ms), None, None);
                state.fault = None;
            }
            NoticeFate::Waits | NoticeFate::Dead => {
                state.failing_since_ms.get_or_insert(now_ms);
                state.fault = Some(result.answer.clone());
                tracing::warn!(
                    channel = channel.as_str(),
                    incident = notice.content.incident,
                    tries = notice.tries,
                    answer = result.answer,
                    fate = fate.as_str(),
                    "notice not accepted"
                );
            }
            NoticeFate::Merged => {}
        }
        if fate == NoticeFate::Dead {
            state.dead_ms = Some(now_ms);
        }
        let over = (fate != NoticeFate::Waits).then(|| (notice.clone(), fate));
        let pointless = match is_lost_begin(&notice, fate, result.outcome) {
            true => state.queue.forget(notice.content.incident),
            false => Vec::new(),
        };
        pointless.into_iter().for_each(|gone| self.note(gone, NoticeFate::Merged, "", 0, writes));
        self.note(notice, fate, &result.answer, result.took_ms, writes);
        over
    }

    /// Remembers what became of a notice.
    fn note(
        &mut self,
        notice: AlertNotice,
        fate: NoticeFate,
        answer: &str,
        took_ms: u64,
        writes: &mut AlertWrites,
    ) {
        let is_doubtful = fate != NoticeFate::Waits && self.doubtful.remove(&notice.id);
        let history = if is_doubtful { NoticeHistory::Doubtful } else { NoticeHistory::New };
        self.board.count(notice.channel, fate, history);
        let answers = self.answers.entry(notice.content.incident).or_default();
        answers.retain(|known| known.channel != notice.channel);
        answers.push(ChannelAnswer {
            channel: notice.channel,
            event: notice.content.event.as_str(),
            fate: fate.as_str(),
            answer: answer.to_owned(),
            took_ms,
        });
        if self.answers.len() > ANSWERS_KEPT {
            self.answers.pop_first();
        }
        if let (NoticeFate::Dead, Some(state)) = (fate, self.channels.get_mut(notice.channel.index())) {
            if state.dead.len() == DEAD_KEPT {
                state.dead.pop_front();
            }
            state.dead.push_back(notice.clone());
        }
        writes.notices.push((notice, fate));
    }

    /// Queues the notices of a channel that were given up again, and returns how many. `open` has the numbers and alerts of the open
    /// incidents. A begin whose incident is over is left out: the service would keep it for ever. So is an end whose begin did not
    /// arrive, and one whose alert has a newer incident, which it would end.
    pub(super) fn resend(
        &mut self,
        channel: AlertChannel,
        open: &[(u64, AlertKey)],
        now_ms: u64,
        writes: &mut AlertWrites,
    ) -> u64 {
        let Some(state) = self.channels.get_mut(channel.index()) else { return 0 };
        let dead = mem::take(&mut state.dead);
        let begins = dead.iter().map(|notice| &notice.content).filter(|it| it.event == NoticeEvent::Began);
        let begins: BTreeSet<u64> = begins.map(|content| content.incident).collect();
        let (mut count, mut over) = (0, Vec::new());
        for mut notice in dead {
            let content = &mut notice.content;
            let is_pointless = match content.event {
                NoticeEvent::Ended => {
                    begins.contains(&content.incident) || open.iter().any(|(_, key)| *key == content.key)
                }
                NoticeEvent::Reported => false,
                NoticeEvent::Began | NoticeEvent::Continues | NoticeEvent::Acknowledged => {
                    !open.iter().any(|(number, _)| *number == content.incident)
                }
            };
            if is_pointless {
                over.push((notice, NoticeFate::Merged));
                continue;
            }
            // It has another day.
            (notice.tries, notice.due_ms, notice.content.at_ms) = (0, now_ms, now_ms);
            writes.notices.push((notice.clone(), NoticeFate::Waits));
            over.extend(state.queue.push(notice));
            count += 1;
        }
        over.into_iter().for_each(|(notice, fate)| self.note(notice, fate, "", 0, writes));
        count
    }

    /// True exactly if a begin waits for longer than this, in milliseconds.
    pub(super) fn is_stuck(&self, now_ms: u64, longer_ms: u64) -> bool {
        let mut begins = self.channels.iter().filter_map(|state| state.queue.oldest_begin_ms());
        begins.any(|at| now_ms >= at + longer_ms)
    }

    /// The channels that are configured, with their conditions and newest faults.
    pub(super) fn health(&self, plan: &AlertPlan, now_ms: u64) -> Vec<(AlertChannel, ChannelHealth, String)> {
        let of = |state: &ChannelState| {
            let fails_long = state.failing_since_ms.is_some_and(|since| now_ms >= since + FAILING_MS);
            let lost = state.dead_ms.is_some_and(|at| now_ms < at + FAILING_MS);
            let health = match (&state.fault, lost || fails_long) {
                (None, _) => ChannelHealth::Works,
                (Some(_), true) => ChannelHealth::Broken,
                (Some(_), false) => ChannelHealth::Doubtful,
            };
            (state.channel, health, state.fault.clone().unwrap_or_default())
        };
        self.channels.iter().filter(|state| plan.target(state.channel).is_some()).map(of).collect()
    }

    /// The answers to the notices of an incident.
    pub(super) fn answers(&self, incident: u64) -> Vec<ChannelAnswer> {
        self.answers.get(&incident).cloned().unwrap_or_default()
    }

    pub(super) fn report(&self, plan: &AlertPlan) -> Vec<ChannelReport> {
        let of = |state: &ChannelState| ChannelReport {
            channel: state.channel,
            waiting: state.queue.len(),
            oldest: state.queue.oldest_ms(),
            sent: state.sent_ms,
            fault: state.fault.clone(),
            dead: state.dead.len(),
        };
        self.channels.iter().filter(|state| plan.target(state.channel).is_some()).map(of).collect()
    }
}
