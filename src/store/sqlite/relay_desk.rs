//! The relay in the thread that writes: takes its requests into the next transaction, and answers after the commit.

use super::batch_relay::RelayChanges;
use super::log::{BatchFault, Log};
use super::relay_rows::WaitingPlace;
use super::relay_sweep::RelaySweep;
use super::relay_turn::{ChannelLease, RelayAtCommit, RelayDone, RelayTurn};
use crate::id::ChannelName;
use crate::job::relay::{RelayAnswer, RelayNotice, RelayRequest, RelayWork};
use crate::relay::route::RouteTable;
use crate::store::RelayEnds;
use crate::store::relay::REQUESTS_AT_ONCE;
use crate::store::retention::Rest;
use crate::wire::publication::Published;
use ahash::AHashMap;
use crossbeam_channel::{Receiver, Sender, TryRecvError, never};
use std::time::Instant;

/// The requests of the relay, and the claims of this process: no other one writes to the file. They end with the process.
pub(super) struct RelayDesk {
    ends: RelayEnds,
    leases: AHashMap<ChannelName, ChannelLease>,
    last_fence: u64,
    due_after: WaitingPlace,
    /// Requests for the next transaction.
    works: Vec<RelayWork>,
    replies: Vec<Sender<RelayAnswer>>,
    /// Of the last transaction, in the order of `replies`.
    answers: Vec<RelayAnswer>,
    /// Channels that the relay is to look at after the commit.
    channels: Vec<ChannelName>,
    sweep: RelaySweep,
}

impl RelayDesk {
    pub(super) fn new(ends: RelayEnds) -> RelayDesk {
        RelayDesk {
            ends,
            leases: AHashMap::new(),
            last_fence: 0,
            due_after: WaitingPlace::default(),
            works: Vec::new(),
            replies: Vec::new(),
            answers: Vec::new(),
            channels: Vec::new(),
            sweep: RelaySweep::default(),
        }
    }

    pub(super) fn requests(&self) -> &Receiver<RelayRequest> {
        &self.ends.requests
    }

    /// The routes in force; `None`: there are none, which costs one load.
    pub(super) fn table(&self) -> Option<RouteTable> {
        self.ends.table()
    }

    /// Takes requests that wait into the next transaction.
    pub(super) fn take(&mut self) {
        while self.works.len() < REQUESTS_AT_ONCE {
            match self.ends.requests.try_recv() {
                Ok(RelayRequest { work, reply }) => {
                    self.works.push(work);
                    self.replies.push(reply);
                }
                Err(TryRecvError::Empty) => break,
                // A queue without senders is always ready.
                Err(TryRecvError::Disconnected) => {
                    self.ends.requests = never();
                    break;
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// The requests for the transaction; `None`: there are none.
    pub(super) fn turn(&self, routes: Option<&RouteTable>) -> Option<RelayTurn<'_>> {
        if self.works.is_empty() {
            return None;
        }
        let (table, now) = (routes.cloned().unwrap_or_default(), monotonic());
        let RelayDesk { leases, last_fence, due_after, works, .. } = self;
        Some(RelayTurn { table, leases, last_fence: *last_fence, due_after, now, requests: works })
    }

    /// The transaction is committed. Returns the begins of answers to announce.
    pub(super) fn committed(&mut self, relay: RelayAtCommit) -> Vec<Published> {
        let RelayAtCommit { changes: RelayChanges { channels, answers }, done } = relay;
        self.channels.extend(channels);
        self.works.clear();
        if let Some(RelayDone { answers, leases, last_fence, due_after }) = done {
            self.last_fence = last_fence;
            self.answers = answers;
            if let Some(due_after) = due_after {
                self.due_after = due_after;
            }
            for (channel, lease) in leases {
                match lease {
                    Some(lease) => self.leases.insert(channel, lease),
                    None => self.leases.remove(&channel),
                };
            }
        }
        answers
    }

    /// Answers the requests of the last transaction, and notifies the relay.
    pub(super) fn answer(&mut self) {
        let answers = self.answers.drain(..).chain(std::iter::repeat_with(|| RelayAnswer::Unavailable));
        for (reply, answer) in self.replies.drain(..).zip(answers) {
            // One who does not wait any more asks again.
            let _ = reply.try_send(answer);
        }
        for channel in self.channels.drain(..) {
            self.ends.notices.send(RelayNotice::Waiting { channel });
        }
    }

    /// The fate of the requests is not known.
    pub(super) fn failed(&mut self) {
        self.works.clear();
        self.answers.clear();
        self.answer();
    }

    /// Removes what is over, a slice at a time.
    pub(super) fn sweep(&mut self, log: &mut Log, now_ms: u64) -> Result<Rest, BatchFault> {
        log.sweep_relay(&mut self.sweep, &self.ends.routes.current(), now_ms)
    }
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
fn monotonic() -> Instant {
    Instant::now()
}
