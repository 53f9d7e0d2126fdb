//! Orders to all instances: each examines the sessions of this reactor, some of them each turn, and ends those it means.

use super::Engine;
use super::slots::SlotId;
use crate::auth::token::TokenFault;
use crate::close::CloseReason;
use crate::cluster::order::{ClusterOrder, RevokeOrder};
use crate::cluster::restrictions::Restriction;
use crate::id::{OrderId, UserName};
use crate::job::orders::{LoggedOrder, OrderGap, OrderLog, end_by};
use crate::job::{AuthJob, Counted, Denied, Identity};
use crate::limits::ORDERED_PER_TURN;
use std::sync::Arc;

/// The orders of this turn, and the ones in progress.
#[derive(Debug, Default)]
pub(super) struct OrderRound {
    log: Arc<OrderLog>,
    /// The last order that this reactor has carried out.
    done: OrderId,
    /// Being carried out together, with the sessions that each closed.
    current: Vec<(Arc<LoggedOrder>, u64)>,
    /// The gap in the orders that this round makes up for.
    gap: Option<Arc<OrderGap>>,
    /// Peers to be examined for them.
    left: Vec<SlotId>,
    /// Orders that this reactor was the last to carry out.
    finished: Vec<Arc<LoggedOrder>>,
}

impl OrderRound {
    /// True exactly when no order is to be carried out.
    pub(super) fn is_done(&self) -> bool {
        !self.is_in_progress() && self.log.last == self.done
    }

    fn is_in_progress(&self) -> bool {
        !self.current.is_empty() || self.gap.is_some()
    }
}

impl Engine {
    /// The log that this engine last took.
    pub fn order_log(&self) -> &Arc<OrderLog> {
        &self.rounds.ordering.log
    }

    /// Takes the newest orders. Those before the first call were carried out before this engine had sessions.
    pub fn handle_orders(&mut self, log: Arc<OrderLog>) {
        self.rounds.ordering.log = log;
    }

    /// Takes the orders of the start, when there are no sessions.
    pub fn begin_orders(&mut self, log: Arc<OrderLog>) {
        self.rounds.ordering.done = log.done();
        self.rounds.ordering.log = log;
    }

    /// Takes the orders that all reactors have carried out, this one as the last.
    pub fn take_finished_orders(&mut self) -> Vec<Arc<LoggedOrder>> {
        std::mem::take(&mut self.rounds.ordering.finished)
    }

    /// Examines the next sessions for the orders in progress, or begins with newer ones.
    pub fn carry_out_orders(&mut self) {
        if self.rounds.ordering.is_done() {
            return;
        }
        if !self.rounds.ordering.is_in_progress() {
            let OrderRound { log, done, .. } = &self.rounds.ordering;
            // Orders that the store held at the start are done, also if they became known after this engine began.
            let undone = log.after(*done).iter().filter(|order| !order.is_done());
            let gap = log.gap_after(*done).map(Arc::clone);
            self.rounds.ordering.current = undone.map(|order| (Arc::clone(order), 0)).collect();
            self.rounds.ordering.gap = gap;
            self.rounds.ordering.done = self.rounds.ordering.log.last;
            self.rounds.ordering.left = self.peers.ids();
            self.forget_erased();
        }
        let from = self.rounds.ordering.left.len().saturating_sub(ORDERED_PER_TURN);
        for id in self.rounds.ordering.left.split_off(from) {
            if let Some(reason) = self.ordered_end(id) {
                self.close(id, reason);
            }
        }
        if self.rounds.ordering.left.is_empty() {
            if let Some(gap) = self.rounds.ordering.gap.take() {
                gap.arrive();
            }
            for (order, closed) in self.rounds.ordering.current.drain(..) {
                order.count(closed);
                if order.arrive() {
                    self.rounds.ordering.finished.push(order);
                }
            }
        }
    }

    /// Drops the publications in memory if a search for erasures has ended, or may have: no delete announced all that it changed.
    #[cold]
    fn forget_erased(&mut self) {
        let OrderRound { current, gap, .. } = &self.rounds.ordering;
        if gap.is_some() || current.iter().any(|(order, _)| order.order == ClusterOrder::Erased) {
            self.hub.forget();
        }
    }

    /// The reason for which an order in progress ends the session of this peer. Counts it.
    fn ordered_end(&mut self, id: SlotId) -> Option<CloseReason> {
        let chat = self.peers.get(id)?.chat()?;
        let session = chat.session.ordered(chat.name)?;
        let OrderRound { current: orders, gap, log, .. } = &self.rounds.ordering;
        let found = orders.iter().enumerate().find_map(|(at, (order, _))| {
            let reason = order.order.ends(&session, order.times(self.now.at))?;
            // Only now, because it looks at all later orders.
            let is_lifted = matches!(order.order, ClusterOrder::Block(_))
                && is_unblocked(orders.iter().skip(at).map(|(order, _)| order), session.user);
            (!is_lifted).then_some((at, reason))
        });
        let Some((at, reason)) = found else {
            let gap = gap.as_ref()?;
            let restriction = gap.restriction(&session, self.now.at)?;
            let is_lifted = matches!(restriction, Restriction::Blocked { .. })
                && is_unblocked(log.after(gap.last).iter(), session.user);
            return (!is_lifted).then(|| end_by(restriction));
        };
        if let Some((_, closed)) = self.rounds.ordering.current.get_mut(at) {
            *closed += 1;
        }
        Some(reason)
    }

    /// Refuses an identity that was judged before an order that concerns it: the order does not find the session, because it has
    /// no user yet. Releases the user then.
    pub(super) fn judged_by_orders(&mut self, outcome: Result<Identity, Denied>) -> Result<Identity, Denied> {
        let identity = outcome?;
        // Nearly always.
        if identity.as_of >= self.rounds.ordering.log.last {
            return Ok(identity);
        }
        let Some(denied) = self.refusal_since(&identity) else { return Ok(identity) };
        if identity.counted == Counted::Yes {
            self.release(AuthJob::ReleaseUser { user: identity.user });
        }
        Err(denied)
    }

    fn refusal_since(&self, identity: &Identity) -> Option<Denied> {
        let Identity { user, stamp, as_of, .. } = identity;
        let log = &self.rounds.ordering.log;
        if !log.reaches(*as_of) {
            return Some(Denied::QueueFull);
        }
        let orders = log.after(*as_of);
        orders.iter().enumerate().find_map(|(at, order)| match &order.order {
            ClusterOrder::Block(block) if block.user == *user => {
                let is_lifted = is_unblocked(orders.iter().skip(at), user);
                let retry_ms = block.return_ms(order.times(self.now.at));
                (!is_lifted).then_some(Denied::Blocked { retry_ms })
            }
            ClusterOrder::Revoke(RevokeOrder { tokens, .. }) if tokens.include(user, *stamp) => {
                Some(Denied::Token(TokenFault::Revoked))
            }
            ClusterOrder::Disconnect(_)
            | ClusterOrder::Block(_)
            | ClusterOrder::Unblock(_)
            | ClusterOrder::Revoke(_)
            | ClusterOrder::Erase(_)
            | ClusterOrder::Erased => None,
        })
    }
}

/// True if one of these orders unblocks the user.
fn is_unblocked<'a>(mut orders: impl Iterator<Item = &'a Arc<LoggedOrder>>, user: &UserName) -> bool {
    orders.any(|order| matches!(&order.order, ClusterOrder::Unblock(lifted) if lifted == user))
}
