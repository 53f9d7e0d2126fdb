//! The meaning of a value from Redis for a subscriber.

use crate::net::redis::{is_text, trouble_of};
use crate::net::trouble::Trouble;
use ::redis::Value;

/// A value that Redis sends to a connection that subscribes.
#[derive(Debug, PartialEq, Eq)]
pub enum BusReply<'a> {
    /// A message on the channel with this name.
    Message { name: &'a [u8], message: &'a [u8] },
    /// The subscription to the channel with this name is confirmed.
    Subscribed(&'a [u8]),
    /// The confirmation of something that nothing waits for.
    Confirmed,
    /// Nothing that was asked for.
    Garbled,
}

impl BusReply<'_> {
    /// Reads a value; an error of the server ends the connection.
    pub fn read(value: &Value) -> Result<BusReply<'_>, Trouble> {
        Ok(match value {
            Value::ServerError(error) => return Err(trouble_of(error)),
            Value::Array(parts) => match parts.as_slice() {
                [kind, Value::BulkString(name), Value::BulkString(message)] if is_text(kind, "message") => {
                    BusReply::Message { name, message }
                }
                [kind, Value::BulkString(name), _] if is_text(kind, "subscribe") => {
                    BusReply::Subscribed(name)
                }
                [kind, ..] if is_text(kind, "unsubscribe") || is_text(kind, "pong") => BusReply::Confirmed,
                _ => BusReply::Garbled,
            },
            _ => BusReply::Garbled,
        })
    }
}
