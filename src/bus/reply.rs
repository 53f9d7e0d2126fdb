//! The meaning of a value from Redis for a subscriber.

use crate::follow::slot_map::NodeAddress;
use crate::net::redis::cluster::{Redirect, redirect};
use crate::net::redis::{is_text, trouble_of};
use crate::net::trouble::Trouble;
use crate::wire::slot::Partition;
use ::redis::Value;

/// A value that Redis sends to a connection that subscribes.
#[derive(Debug, PartialEq, Eq)]
pub enum BusReply<'a> {
    /// A message on the channel with this name.
    Message { name: &'a [u8], message: &'a [u8] },
    /// The subscription to the channel with this name is confirmed.
    Subscribed(&'a [u8]),
    /// A subscription to the sharded channel with this name ended: on request, or because its slot moved.
    Unsubscribed(&'a [u8]),
    /// The server does not have the slots of this partition; the other one has.
    Moved(Partition, NodeAddress),
    /// The confirmation of something that nothing waits for.
    Confirmed,
    /// Nothing that was asked for.
    Garbled,
}

impl BusReply<'_> {
    /// Reads a value that came from `peer`; an error of the server ends the connection.
    pub fn read<'a>(value: &'a Value, peer: &str) -> Result<BusReply<'a>, Trouble> {
        Ok(match value {
            Value::ServerError(error) => match redirect(error, peer) {
                Some(Redirect { partition, to, .. }) => BusReply::Moved(partition, to),
                None => return Err(trouble_of(error)),
            },
            Value::Array(parts) => match parts.as_slice() {
                [kind, Value::BulkString(name), Value::BulkString(message)]
                    if is_text(kind, "message") || is_text(kind, "smessage") =>
                {
                    BusReply::Message { name, message }
                }
                [kind, Value::BulkString(name), _]
                    if is_text(kind, "subscribe") || is_text(kind, "ssubscribe") =>
                {
                    BusReply::Subscribed(name)
                }
                [kind, Value::BulkString(name), _] if is_text(kind, "sunsubscribe") => {
                    BusReply::Unsubscribed(name)
                }
                [kind, ..] if is_text(kind, "unsubscribe") || is_text(kind, "pong") => BusReply::Confirmed,
                _ => BusReply::Garbled,
            },
            _ => BusReply::Garbled,
        })
    }
}
