//! The arguments and results of every call to a session.

use super::address_share::AddressShare;
use super::effect::Effect;
use super::policy::Policy;
use super::refusal::Refusal;
use crate::clock::{Moment, Now};
use crate::close::CloseReason;
use crate::flag::Flags;
use crate::hub::{Hub, Slot};
use crate::id::CommandId;
use crate::wire::command::Rejected;
use crate::wire::push::ErrorCode;
use crate::wire::stream::StreamId;

/// The surroundings that a session is handed with every call, and the place for its results.
pub struct Context<'a> {
    /// The monotonic and the Unix clock.
    pub now: Now,
    /// The time at which the current command arrived: earlier than `now` for a command that was held.
    pub asked: Moment,
    pub policy: &'a Policy,
    pub hub: &'a mut Hub,
    /// The connection's place in its reactor.
    pub slot: Slot,
    /// The client's address, and what the clients of one address share here.
    pub address: AddressShare<'a>,
    /// The connection's name, for `connected`.
    pub connection: u64,
    /// The `status` object, encoded when the health snapshot changed.
    pub status: &'a str,
    /// The flags of this instance.
    pub flags: &'a Flags,
    /// Bytes that wait in this connection's outbox.
    pub waiting_bytes: usize,
    /// Receives frames for this peer.
    pub out: &'a mut Vec<u8>,
    /// Receives orders for the reactor.
    pub effects: &'a mut Vec<Effect>,
    /// Receives the code of each error sent, for the reactor to count.
    pub refused: &'a mut Vec<ErrorCode>,
}

impl Context<'_> {
    pub(super) fn refuse(&mut self, id: Option<CommandId>, refusal: &Refusal<'_>) {
        self.refused.push(refusal.code());
        self.effects.extend(refusal.bound().map(Effect::OverLimit));
        refusal.write(self.out, id, self.policy);
    }

    /// Refuses a command about a stream, or a piece without an id: the error names the stream.
    pub(super) fn refuse_of_stream(
        &mut self,
        id: Option<CommandId>,
        stream: &StreamId,
        refusal: &Refusal<'_>,
    ) {
        self.refused.push(refusal.code());
        self.effects.extend(refusal.bound().map(Effect::OverLimit));
        refusal.write_of_stream(self.out, id, stream, self.policy);
    }

    pub(super) fn refuse_rejected(&mut self, rejected: &Rejected) {
        self.refuse(rejected.id, &Refusal::Rejected(rejected));
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        self.effects.push(Effect::Close(reason));
    }
}
