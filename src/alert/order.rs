//! The queue of one channel: which notice is tried next.
//!
//! Notices of one key stay in order, because a service that gets an end before its begin keeps the incident for ever. Other keys pass
//! one that cannot be delivered. What has become pointless while the channel could not be reached is not sent.

use super::channel::{AlertChannel, ChannelPace};
use super::key::{AlertKind, AlertSeverity};
use super::notice::{AlertNotice, NoticeContent, NoticeEvent};
use super::retry::{AttemptOutcome, GIVE_UP_MS, RetryAdvice, wait_ms};
use std::collections::{BTreeSet, VecDeque};

/// Notices that wait for one channel.
pub const QUEUE_MAX: usize = 1_000;
const MINUTE_MS: u64 = 60_000;

/// The fate of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeFate {
    Sent,
    /// It is tried again later.
    Waits,
    /// A later notice made it pointless.
    Merged,
    /// It was given up.
    Dead,
}

impl NoticeFate {
    pub const fn as_str(self) -> &'static str {
        match self {
            NoticeFate::Sent => "sent",
            NoticeFate::Waits => "waiting",
            NoticeFate::Merged => "merged",
            NoticeFate::Dead => "dead",
        }
    }
}

/// True exactly if a begin was given up and its channel knows nothing of the incident. PagerDuty may have taken one whose answer was lost,
/// and would keep it for ever without the end, which is harmless there if it did not.
pub fn is_lost_begin(notice: &AlertNotice, fate: NoticeFate, outcome: AttemptOutcome) -> bool {
    let may_be_known = notice.channel == AlertChannel::Pagerduty && outcome != AttemptOutcome::Rejected;
    notice.content.event == NoticeEvent::Began && fate == NoticeFate::Dead && !may_be_known
}

/// The notices of one channel that were not delivered yet, oldest first.
#[derive(Clone, Debug)]
pub struct ChannelQueue {
    pace: ChannelPace,
    waiting: VecDeque<AlertNotice>,
    /// The notice that is being tried, and the ones that are sent with it.
    in_flight: Vec<u64>,
    paused_until_ms: u64,
    /// The times of the tries of the last minute.
    tries: VecDeque<u64>,
}

impl ChannelQueue {
    pub fn new(channel: AlertChannel) -> ChannelQueue {
        ChannelQueue {
            pace: channel.pace(),
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            paused_until_ms: 0,
            tries: VecDeque::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The notices, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &AlertNotice> {
        self.waiting.iter()
    }

    /// The time of the oldest begin that was not delivered.
    pub fn oldest_begin_ms(&self) -> Option<u64> {
        let begins = self.waiting.iter().filter(|notice| notice.content.event == NoticeEvent::Began);
        begins.map(|notice| notice.content.at_ms).min()
    }

    /// The time of the oldest notice.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.waiting.iter().map(|notice| notice.content.at_ms).min()
    }

    /// Adds a notice. Returns the notices that it makes pointless, or for which there is no room any more.
    pub fn push(&mut self, notice: AlertNotice) -> Vec<(AlertNotice, NoticeFate)> {
        let mut gone = Vec::new();
        if notice.content.event == NoticeEvent::Continues {
            let incident = notice.content.incident;
            let is_older = |it: &AlertNotice| {
                it.content.incident == incident && it.content.event == NoticeEvent::Continues
            };
            gone.extend(self.take(is_older).into_iter().map(|notice| (notice, NoticeFate::Merged)));
        }
        if self.waiting.len() < QUEUE_MAX {
            self.waiting.push_back(notice);
            return gone;
        }
        let victims: [fn(&AlertNotice) -> bool; 3] = [
            |it| it.content.severity == AlertSeverity::Info,
            |it| matches!(it.content.event, NoticeEvent::Continues | NoticeEvent::Acknowledged),
            |it| it.content.severity == AlertSeverity::Warning,
        ];
        let in_flight = &self.in_flight;
        let found = victims
            .iter()
            .find_map(|fits| self.waiting.iter().position(|it| fits(it) && !in_flight.contains(&it.id)));
        match found.and_then(|at| self.waiting.remove(at)) {
            Some(victim) => {
                self.waiting.push_back(notice);
                gone.push((victim, NoticeFate::Dead));
            }
            None => gone.push((notice, NoticeFate::Dead)),
        }
        gone
    }

    /// Removes what the ends in the queue make pointless, and returns it. A begin that was never tried goes with its end. After a begin
    /// that was tried without an answer, only the end is sent.
    pub fn merge(&mut self) -> Vec<AlertNotice> {
        let ends = self.waiting.iter().filter(|notice| notice.content.event == NoticeEvent::Ended);
        let ended: Vec<u64> = ends.map(|notice| notice.content.incident).collect();
        let mut gone = Vec::new();
        for incident in ended {
            let begin = self
                .waiting
                .iter()
                .find(|it| it.content.incident == incident && it.content.event == NoticeEvent::Began);
            let is_untried = match begin {
                Some(begin) if self.in_flight.contains(&begin.id) => continue,
                Some(begin) => begin.tries == 0,
                None => false,
            };
            gone.extend(self.take(|it| {
                it.content.incident == incident && (is_untried || it.content.event != NoticeEvent::Ended)
            }));
        }
        gone
    }

    /// Keeps the notices that fit, and forgets the try in progress: what it brings is no matter any more.
    pub fn keep(&mut self, fits: impl Fn(&AlertNotice) -> bool) {
        self.waiting.retain(fits);
        self.in_flight.clear();
    }

    /// Takes back that a try began, because it was not made.
    pub fn put_back(&mut self, id: u64) {
        let Some(at) = self.in_flight.iter().position(|tried| *tried == id) else { return };
        self.in_flight.remove(at);
        // The notices of one message are one call of the service.
        if self.in_flight.is_empty() {
            self.tries.pop_back();
        }
        for notice in self.waiting.iter_mut().filter(|notice| notice.id == id) {
            notice.tries = notice.tries.saturating_sub(1);
        }
    }

    /// The notice to try now, with the try counted. It is in progress until [`ChannelQueue::answered`], and so are its companions.
    pub fn next(&mut self, now_ms: u64) -> Option<AlertNotice> {
        while self.tries.front().is_some_and(|at| at + MINUTE_MS <= now_ms) {
            self.tries.pop_front();
        }
        let rests = self.tries.back().is_some_and(|last| now_ms < last + self.pace.apart_ms);
        let is_full = self.tries.len() >= self.pace.per_minute;
        if !self.in_flight.is_empty() || now_ms < self.paused_until_ms || rests || is_full {
            return None;
        }
        let mut keys = BTreeSet::new();
        let is_next =
            |notice: &&mut AlertNotice| keys.insert(notice.content.key.clone()) && notice.due_ms <= now_ms;
        let notice = self.waiting.iter_mut().find(is_next)?;
        notice.tries += 1;
        self.in_flight.push(notice.id);
        self.tries.push_back(now_ms);
        Some(notice.clone())
    }

    /// The begins to send in one message with the one that [`ChannelQueue::next`] has returned, if they `fit`, with their tries counted.
    pub fn companions(
        &mut self,
        lead: &AlertNotice,
        now_ms: u64,
        fits: impl Fn(&AlertNotice) -> bool,
    ) -> Vec<AlertNotice> {
        let is_groupable = |content: &NoticeContent| {
            content.event == NoticeEvent::Began && content.key.kind != AlertKind::Test
        };
        let room = if is_groupable(&lead.content) { self.pace.group_max.saturating_sub(1) } else { 0 };
        let mut keys = BTreeSet::from([lead.content.key.clone()]);
        let is_companion = |notice: &&mut AlertNotice| {
            keys.insert(notice.content.key.clone())
                && notice.due_ms <= now_ms
                && is_groupable(&notice.content)
                && fits(notice)
        };
        let mut companions = Vec::new();
        for notice in self.waiting.iter_mut().filter(is_companion).take(room) {
            notice.tries += 1;
            self.in_flight.push(notice.id);
            companions.push(notice.clone());
        }
        companions
    }

    /// Takes the outcome of a try. `random` is in `0.0 .. 1.0`. Returns the notice with its fate; `None` if it is not the one that was
    /// tried.
    pub fn answered(
        &mut self,
        id: u64,
        outcome: AttemptOutcome,
        now_ms: u64,
        random: f32,
    ) -> Option<(AlertNotice, NoticeFate)> {
        let tried = self.in_flight.iter().position(|tried| *tried == id)?;
        self.in_flight.remove(tried);
        let at = self.waiting.iter().position(|notice| notice.id == id)?;
        let advice = match outcome {
            AttemptOutcome::Accepted => return Some((self.waiting.remove(at)?, NoticeFate::Sent)),
            AttemptOutcome::Rejected => return Some((self.waiting.remove(at)?, NoticeFate::Dead)),
            AttemptOutcome::Failed(advice) => advice,
        };
        let notice = self.waiting.get_mut(at)?;
        if now_ms >= notice.content.at_ms + GIVE_UP_MS {
            return Some((self.waiting.remove(at)?, NoticeFate::Dead));
        }
        let wait = match advice {
            RetryAdvice::Open => wait_ms(notice.tries, random),
            RetryAdvice::After { ms, whole_channel } => {
                if whole_channel {
                    self.paused_until_ms = now_ms + ms;
                }
                // A service that asks for no wait is not called in a loop.
                ms.max(wait_ms(notice.tries, random))
            }
        };
        notice.due_ms = now_ms + wait;
        Some((notice.clone(), NoticeFate::Waits))
    }

    /// Removes the notices of an incident whose begin was given up, and returns them: without it they say nothing.
    pub fn forget(&mut self, incident: u64) -> Vec<AlertNotice> {
        self.take(|notice| notice.content.incident == incident)
    }

    /// Removes the notices that fit, except the one that is being tried.
    fn take(&mut self, fits: impl Fn(&AlertNotice) -> bool) -> Vec<AlertNotice> {
        let in_flight = &self.in_flight;
        let is_gone = |notice: &AlertNotice| fits(notice) && !in_flight.contains(&notice.id);
        let gone = self.waiting.iter().filter(|notice| is_gone(notice)).cloned().collect();
        self.waiting.retain(|notice| !is_gone(notice));
        gone
    }
}
