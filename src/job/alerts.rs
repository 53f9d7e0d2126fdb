//! Notices on their way to the threads of channels and their answers, and operators' orders on their way to the thread `slo`, which owns
//! the incidents.

use crate::alert::channel::AlertChannel;
use crate::alert::notice::AlertNotice;
use crate::alert::retry::AttemptOutcome;
use crate::alert::routing::AlertRouting;
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Answers and orders that wait for the thread `slo`.
const INBOX: usize = 16;

/// A text that no log, error or report shows.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenText(pub Zeroizing<String>);

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The place where the notices of one channel go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeTarget {
    /// The address of an incoming webhook, and the mention before critical notices.
    Slack { url: HiddenText, mention: String },
    /// The address of Events v2, and the routing key.
    Pagerduty { url: String, key: HiddenText },
    /// The address, and the keys that sign, newest first.
    Webhook { url: HiddenText, secrets: Vec<HiddenText> },
}

impl NoticeTarget {
    pub const fn channel(&self) -> AlertChannel {
        match self {
            NoticeTarget::Slack { .. } => AlertChannel::Slack,
            NoticeTarget::Pagerduty { .. } => AlertChannel::Pagerduty,
            NoticeTarget::Webhook { .. } => AlertChannel::Webhook,
        }
    }
}

/// A service that reports when the heartbeat stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatTarget {
    pub url: HiddenText,
    /// The time between two beats, in milliseconds.
    pub every_ms: u64,
}

/// A dependency as alerts see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedDependency {
    pub name: Arc<str>,
    pub is_critical: bool,
}

/// The settings of alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertPlan {
    /// Only configured channels.
    pub routing: AlertRouting,
    pub deployment: String,
    /// The place where the documents are served; empty: none.
    pub docs_url: String,
    pub targets: Vec<NoticeTarget>,
    pub heartbeat: Option<HeartbeatTarget>,
    pub dependencies: Vec<WatchedDependency>,
}

impl AlertPlan {
    pub fn target(&self, channel: AlertChannel) -> Option<&NoticeTarget> {
        self.targets.iter().find(|target| target.channel() == channel)
    }
}

/// One try of a notice.
#[derive(Clone, Debug)]
pub struct NoticeAttempt {
    pub notice: AlertNotice,
    /// Begins that are sent in the same message.
    pub others: Vec<AlertNotice>,
    pub target: NoticeTarget,
    pub sender: Arc<NoticeSender>,
    /// It may have arrived before this process started.
    pub is_repeated: bool,
}

/// The sender that a notice names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeSender {
    pub deployment: String,
    pub instance: String,
    pub docs_url: String,
}

/// The work of a channel's thread.
#[derive(Clone, Debug)]
pub enum NotifyJob {
    Notice(Box<NoticeAttempt>),
    /// A beat for this address.
    Heartbeat(HiddenText),
}

/// The result of a try.
#[derive(Clone, Debug)]
pub struct NotifyResult {
    /// The notice; `None` for a heartbeat.
    pub notice: Option<(AlertChannel, u64)>,
    /// The numbers of the others in the same message.
    pub others: Vec<u64>,
    pub outcome: AttemptOutcome,
    /// The answer or the fault in at most 200 characters, without secrets.
    pub answer: String,
    pub took_ms: u64,
}

/// An operator's order about alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertOrder {
    Acknowledge(u64),
    /// The beginning of keys, the reason, and the length in milliseconds.
    Silence {
        prefix: String,
        why: String,
        for_ms: u64,
    },
    EndSilence(u64),
    Test(AlertChannel),
    /// Sends the notices that were given up again.
    Resend(AlertChannel),
}

/// The outcome of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertOrderAnswer {
    /// It was carried out; with the number of the incident or silence, or of notices.
    Done(u64),
    /// There is no such incident, silence or channel; with a sentence that says what to do.
    Unknown(String),
    /// There are too many silences.
    Refused(&'static str),
}

/// An order, and the way back.
#[derive(Debug)]
pub struct AlertRequest {
    pub order: AlertOrder,
    /// The address that it comes from.
    pub by: String,
    pub reply: Sender<AlertOrderAnswer>,
}

/// A sender of orders.
#[derive(Clone, Debug)]
pub struct AlertRequests(Sender<AlertRequest>);

impl AlertRequests {
    /// `None`: no answer within two seconds, or alerts are off. It may be carried out later all the same.
    pub fn order(&self, order: AlertOrder, by: String) -> Option<AlertOrderAnswer> {
        let (reply, answer) = bounded(1);
        self.0.send_timeout(AlertRequest { order, by, reply }, ANSWER_TIMEOUT).ok()?;
        answer.recv_timeout(ANSWER_TIMEOUT).ok()
    }
}

/// The ends of the thread `slo`.
#[derive(Debug)]
pub struct AlertEnds {
    pub plan: Arc<ArcSwap<AlertPlan>>,
    pub orders: Receiver<AlertRequest>,
    /// To the thread of each channel, by its index; the last one takes heartbeats.
    pub jobs: Vec<Sender<NotifyJob>>,
    pub results: Receiver<NotifyResult>,
}

/// The ends of a channel's thread.
#[derive(Clone, Debug)]
pub struct NotifyEnds {
    pub jobs: Receiver<NotifyJob>,
    pub results: Sender<NotifyResult>,
}

/// The ways between operators, the thread `slo` and the channels.
#[derive(Debug)]
pub struct AlertLinks {
    pub requests: AlertRequests,
    pub plan: Arc<ArcSwap<AlertPlan>>,
    pub ends: AlertEnds,
    /// For one thread each.
    pub threads: Vec<NotifyEnds>,
}

/// Makes the ways. A thread has at most one job, because the order is decided before.
pub fn links(plan: AlertPlan) -> AlertLinks {
    let plan = Arc::new(ArcSwap::from_pointee(plan));
    let (requests, orders) = bounded(INBOX);
    let (results_in, results) = bounded(INBOX);
    let (jobs, threads) = (0..=AlertChannel::ALL.len())
        .map(|_| {
            let (sender, jobs) = bounded(1);
            (sender, NotifyEnds { jobs, results: results_in.clone() })
        })
        .unzip();
    let ends = AlertEnds { plan: Arc::clone(&plan), orders, jobs, results };
    AlertLinks { requests: AlertRequests(requests), plan, ends, threads }
}
