//! A committed publication on its way from the store to subscribers: framed once, shared by all.

use crate::id::{ChannelName, Offset};
use crate::wire::stream::StreamMark;
use std::sync::Arc;

/// The effect of a publication on an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No effect: it is an original.
    None,
    /// It replaces the content of an earlier one.
    Edits(Offset),
    /// It erases an earlier one.
    Deletes(Offset),
}

/// A committed publication, encoded as the push `publication` in a complete text frame.
#[derive(Clone, Debug)]
pub struct Published {
    pub channel: ChannelName,
    pub offset: Offset,
    /// The effect on an earlier publication; memory must drop an erased one.
    pub change: Change,
    /// Its part in a stream.
    pub stream: StreamMark,
    /// The time of the commit by the store's clock, in Unix milliseconds; [`UNKNOWN_TIME`] if it is not known.
    pub time_ms: u64,
    /// The frame, header included: the same bytes for every subscriber.
    pub frame: Arc<[u8]>,
}

/// The time of a commit that is not known.
pub const UNKNOWN_TIME: u64 = u64::MAX;

/// The time of the commit in the first publication of these frames, in Unix milliseconds; [`UNKNOWN_TIME`] if there is none.
pub fn time_of(frames: &[u8]) -> u64 {
    const MEMBER: &[u8] = b",\"time\":";
    // No string before it contains this text, because its quotes would be escaped.
    let found = frames.windows(MEMBER.len()).position(|bytes| bytes == MEMBER);
    let digits = found.and_then(|at| frames.get(at + MEMBER.len()..)).unwrap_or_default();
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = digits.get(..length).and_then(|digits| std::str::from_utf8(digits).ok());
    number.and_then(|digits| digits.parse().ok()).unwrap_or(UNKNOWN_TIME)
}

/// One stored publication, to be encoded for a push, a replay or a page of history.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub offset: Offset,
    pub key: Option<&'a str>,
    /// The author.
    pub user: &'a str,
    /// The time of the commit, in Unix milliseconds.
    pub time_ms: u64,
    pub change: Change,
    /// Its part in a stream.
    pub stream: StreamMark,
    /// The later publication that deleted this one; `data` is then `null`.
    pub deleted_by: Option<Offset>,
    /// The JSON as it was received, byte for byte.
    pub data: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::push;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn time_of_a_frame_is_that_of_the_commit_whatever_its_strings_say(
            time_ms in any::<u64>(),
            key in prop::option::of("[a-z\",:]{0,20}|,\"time\":7"),
            user in "[a-z\",:]{0,20}|,\"time\":7",
        ) {
            let channel = ChannelName::parse("c").expect("valid");
            let stored = Stored {
                offset: Offset(1), key: key.as_deref(), user: &user, time_ms, change: Change::None, stream: StreamMark::None, deleted_by: None,
                data: r#"{"a":1,"time":8}"#,
            };
            let mut frame = Vec::new();
            push::publication(&mut frame, &channel, &stored);
            prop_assert_eq!(time_of(&frame), time_ms);
        }

        #[test]
        fn time_of_anything_is_some_number(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            time_of(&bytes);
        }
    }
}
