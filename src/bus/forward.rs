//! Publications whose slot moved while they were sent: the former master refuses them, and they go to the present one.

use super::ends::{RouteHint, RouteSender};
use crate::follow::slot_map::BusLink;
use crate::net::redis::cluster::{Redirect, redirect};
use crate::wire::slot::Partition;
use ::redis::{Cmd, ServerError, Value};
use crossbeam_channel::{Receiver, Sender, never};

/// A command for another master than the one that refused it.
#[derive(Clone, Debug)]
pub(super) struct Forwarded {
    pub(super) partition: Partition,
    /// The link that refused it.
    pub(super) from: BusLink,
    pub(super) command: Cmd,
}

/// The ends of one sender.
pub(super) struct Forwards {
    /// Commands that other masters refused.
    pub(super) incoming: Receiver<Forwarded>,
    outgoing: Option<ForwardSender>,
}

struct ForwardSender {
    own: BusLink,
    forwarded: Sender<Forwarded>,
    routes: RouteSender,
}

impl Forwards {
    /// On a single server nothing is forwarded.
    pub(super) fn none() -> Forwards {
        Forwards { incoming: never(), outgoing: None }
    }

    pub(super) fn new(
        own: BusLink,
        incoming: Receiver<Forwarded>,
        forwarded: Sender<Forwarded>,
        routes: RouteSender,
    ) -> Forwards {
        Forwards { incoming, outgoing: Some(ForwardSender { own, forwarded, routes }) }
    }

    /// Sends on what was refused because its slot moved. Returns the number of these commands; further ones are lost
    /// while the queue is full.
    pub(super) fn forward(&self, commands: &[Cmd], answers: &[Result<Value, ServerError>]) -> usize {
        let Some(ForwardSender { own, forwarded, routes }) = &self.outgoing else { return 0 };
        let peer = own.to_string();
        let mut count = 0;
        for (command, answer) in commands.iter().zip(answers) {
            let Some(Redirect { partition, to, .. }) =
                answer.as_ref().err().and_then(|error| redirect(error, &peer))
            else {
                continue;
            };
            routes.hint(RouteHint { partition, to });
            let command = Forwarded { partition, from: own.clone(), command: command.clone() };
            count += usize::from(forwarded.try_send(command).is_ok());
        }
        count
    }
}
