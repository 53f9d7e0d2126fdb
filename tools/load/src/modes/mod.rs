//! The modes, one file each.

pub(crate) mod api;
pub(crate) mod chat;
pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod publish;
pub(crate) mod relay;
pub(crate) mod roster;
pub(crate) mod signal;
pub(crate) mod slow_backend;
pub(crate) mod storm;
pub(crate) mod tokens;

use crate::crowd::{Crowd, Mode};
use crate::faults::excerpt;
use crate::message;

/// The first command id that modes may use.
const FIRST_ID: u64 = 10;

/// Runs a mode, with its errors as text.
fn drive(crowd: &mut Crowd, mode: &mut impl Mode) -> Result<(), String> {
    crowd.run(mode).map_err(|error| format!("the loop failed: {error}"))
}

/// Handles a message for a member that expects none.
fn unasked(crowd: &mut Crowd, member: usize, payload: &[u8]) {
    match message::read(payload) {
        Some(message) => crowd.other(member, &message, payload),
        None => crowd.faults.add("unreadable", || excerpt(payload)),
    }
}

/// `{"n":N,"pad":"xxx"}`, padded to this many bytes.
fn data(n: u64, bytes: usize) -> String {
    let empty = format!("{{\"n\":{n},\"pad\":\"\"}}").len();
    format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(bytes.saturating_sub(empty)))
}

/// An idempotency key unique to this run, because the store remembers keys.
fn key(run: u64, n: u64) -> String {
    format!("{run:012x}-{n:010}")
}

/// A random number that identifies this run.
fn run_number() -> u64 {
    fastrand::u64(..1 << 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_requested_length_and_keys_one_length() {
        assert_eq!([data(1, 64).len(), data(123_456, 64).len()], [64, 64]);
        assert_eq!(key(1, 1).len(), key(u64::MAX >> 16, 9_999_999_999).len());
    }
}
