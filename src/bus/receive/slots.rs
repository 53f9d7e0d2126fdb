//! Slots that move between the masters of a cluster: refused subscriptions, and channels that go to another link.

use super::super::ends::RouteHint;
use super::super::redial::LinkState;
use super::super::reply::BusReply;
use super::super::timing::monotonic;
use super::BusReceiver;
use crate::follow::routing::{FollowedChannel, partition_of};
use crate::follow::slot_map::NodeAddress;
use crate::follow::subscriptions::EndedSubscription;
use crate::job::Ticket;
use crate::net::trouble::Trouble;
use crate::wire::slot::Partition;
use ::redis::Value;
use std::time::Duration;

/// The time until refused channels are asked for again, if no other link has adopted them by then.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The time in which all instances learn of moved slots: they read them every three seconds.
const SETTLES_AFTER: Duration = Duration::from_secs(4);

impl BusReceiver {
    pub(super) fn read<'a>(&self, value: &'a Value) -> Result<BusReply<'a>, Trouble> {
        let peer = match &self.link {
            LinkState::Up(subscriber) => subscriber.connection.peer(),
            LinkState::Resting(_) => "",
        };
        BusReply::read(value, peer)
    }

    /// The server ended a subscription: on request, or because the slot moved.
    pub(super) fn unsubscribed(&mut self, name: &[u8]) {
        let ended = self
            .topics
            .parse(name)
            .map_or(EndedSubscription::Unasked, |channel| self.follows.unsubscribed(&channel));
        match ended {
            EndedSubscription::Asked => {}
            EndedSubscription::Unasked => {
                self.retry_later();
                self.ends.ask_for_slots();
            }
        }
    }

    /// The server does not have the slots of a partition.
    pub(super) fn moved(&mut self, partition: Partition, to: NodeAddress) {
        let released = self.follows.refuse(|channel| partition_of(channel) == partition);
        self.answer(released);
        self.retry_later();
        self.check_complete();
        self.ends.hint(RouteHint { partition, to });
    }

    fn retry_later(&mut self) {
        if let LinkState::Up(subscriber) = &mut self.link
            && self.follows.has_refused()
        {
            subscriber.retry_at.get_or_insert(monotonic() + RETRY_AFTER);
        }
    }

    /// Another link serves these partitions from now on. Returns the waiting tickets.
    pub(super) fn forget(&mut self, partitions: &[Partition]) -> Vec<Ticket> {
        self.follows.forget(|channel| partitions.contains(&partition_of(channel)))
    }

    /// This link serves these channels from now on. Their logs are read once they are subscribed to, and for some seconds more.
    pub(super) fn adopt(&mut self, channels: Vec<FollowedChannel>) {
        self.unsettled = Some(monotonic() + SETTLES_AFTER);
        for (channel, reactors) in channels {
            self.follows.adopt(channel, reactors);
        }
    }
}
