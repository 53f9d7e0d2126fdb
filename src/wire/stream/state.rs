//! The states and ends of streams: their words on the wire and their codes in the store.

/// The state of an open stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    Streaming,
    /// It has no producer.
    Paused,
    /// A user asked to end it, and its producer has a moment to do so.
    Cancelling,
    /// It answers a question that no backend has taken yet.
    Accepted,
    /// It answers a question that a backend has taken, and has no text yet.
    Processing,
}

/// The way in which a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamEnd {
    /// Its producer finished.
    Completed,
    /// Its producer gave up.
    Failed,
    /// A user asked for it.
    Cancelled,
    /// The gateway ended it, because its producer was lost or silent or took too long.
    Interrupted,
    /// A user edited its begin.
    Replaced,
    /// A user deleted its begin.
    Deleted,
}

/// The part that a publication has in a stream: its member `stream`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StreamMark {
    /// No part, and no member.
    #[default]
    None,
    /// It began a stream.
    Begun,
    /// It edits or deletes the begin, and ended the stream.
    Ended(StreamEnd),
}

/// The reason why the gateway ended a stream: `cause` in the data of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndCause {
    /// The producer's connection was lost, and none came back in time.
    ProducerLost,
    /// The producer was silent for too long.
    Idle,
    /// The stream was open for too long.
    Life,
    /// No backend took the question in time.
    NotDelivered,
    /// The backend refused the question.
    Refused,
    /// A part of the text cannot be read from the store.
    Damaged,
}

impl StreamState {
    pub const ALL: [StreamState; 5] = [
        StreamState::Streaming,
        StreamState::Paused,
        StreamState::Cancelling,
        StreamState::Accepted,
        StreamState::Processing,
    ];

    /// The value of `state`.
    pub const fn word(self) -> &'static str {
        match self {
            StreamState::Streaming => "streaming",
            StreamState::Paused => "paused",
            StreamState::Cancelling => "cancelling",
            StreamState::Accepted => "accepted",
            StreamState::Processing => "processing",
        }
    }

    /// The code in the store.
    pub const fn code(self) -> u8 {
        match self {
            StreamState::Streaming => 1,
            StreamState::Paused => 2,
            StreamState::Cancelling => 3,
            StreamState::Accepted => 4,
            StreamState::Processing => 5,
        }
    }

    pub fn of_code(code: i64) -> Option<StreamState> {
        Self::ALL.into_iter().find(|state| i64::from(state.code()) == code)
    }

    /// True of an answer that has no text yet.
    pub const fn is_without_text(self) -> bool {
        matches!(self, StreamState::Accepted | StreamState::Processing)
    }

    /// True if it is an earlier step of an answer: each answer is accepted, then processed, and then has text.
    pub fn is_before(self, other: StreamState) -> bool {
        self.step() < other.step()
    }

    fn step(self) -> u8 {
        match self {
            StreamState::Accepted => 0,
            StreamState::Processing => 1,
            StreamState::Streaming | StreamState::Paused | StreamState::Cancelling => 2,
        }
    }
}

impl StreamEnd {
    pub const ALL: [StreamEnd; 6] = [
        StreamEnd::Completed,
        StreamEnd::Failed,
        StreamEnd::Cancelled,
        StreamEnd::Interrupted,
        StreamEnd::Replaced,
        StreamEnd::Deleted,
    ];

    /// The value of `state` and of the member `stream` of a publication.
    pub const fn word(self) -> &'static str {
        match self {
            StreamEnd::Completed => "completed",
            StreamEnd::Failed => "failed",
            StreamEnd::Cancelled => "cancelled",
            StreamEnd::Interrupted => "interrupted",
            StreamEnd::Replaced => "replaced",
            StreamEnd::Deleted => "deleted",
        }
    }
}

impl StreamMark {
    pub const ALL: [StreamMark; 8] = [
        StreamMark::None,
        StreamMark::Begun,
        StreamMark::Ended(StreamEnd::Completed),
        StreamMark::Ended(StreamEnd::Failed),
        StreamMark::Ended(StreamEnd::Cancelled),
        StreamMark::Ended(StreamEnd::Interrupted),
        StreamMark::Ended(StreamEnd::Replaced),
        StreamMark::Ended(StreamEnd::Deleted),
    ];

    /// The code in the store's column `stream`.
    pub const fn code(self) -> u8 {
        match self {
            StreamMark::None => 0,
            StreamMark::Begun => 1,
            StreamMark::Ended(StreamEnd::Completed) => 2,
            StreamMark::Ended(StreamEnd::Failed) => 3,
            StreamMark::Ended(StreamEnd::Cancelled) => 4,
            StreamMark::Ended(StreamEnd::Interrupted) => 5,
            StreamMark::Ended(StreamEnd::Replaced) => 6,
            StreamMark::Ended(StreamEnd::Deleted) => 7,
        }
    }

    /// `None` for a code of a later version.
    pub fn of_code(code: i64) -> Option<StreamMark> {
        Self::ALL.into_iter().find(|mark| i64::from(mark.code()) == code)
    }

    /// Reads the member `stream` of a publication: no part for a word of a later version.
    pub fn of_word(word: &str) -> StreamMark {
        Self::ALL.into_iter().find(|mark| mark.word() == Some(word)).unwrap_or_default()
    }

    /// The value of the member `stream` of a publication, if it has one.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            StreamMark::None => None,
            StreamMark::Begun => Some("begun"),
            StreamMark::Ended(end) => Some(end.word()),
        }
    }
}

impl EndCause {
    /// The value of `cause`.
    pub const fn word(self) -> &'static str {
        match self {
            EndCause::ProducerLost => "producer_lost",
            EndCause::Idle => "idle",
            EndCause::Life => "life",
            EndCause::NotDelivered => "not_delivered",
            EndCause::Refused => "refused",
            EndCause::Damaged => "damaged",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_store_are_read_back() {
        for (code, mark) in StreamMark::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(mark.code()), code);
            assert_eq!(StreamMark::of_code(code as i64), Some(mark));
            assert_eq!(mark.word().map_or(StreamMark::None, StreamMark::of_word), mark);
        }
        for (place, state) in StreamState::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(state.code()), place + 1);
            assert_eq!(StreamState::of_code(place as i64 + 1), Some(state));
        }
        for code in [-1, 8, 256, i64::MAX] {
            assert_eq!((StreamMark::of_code(code), StreamState::of_code(code)), (None, None));
        }
    }

    #[test]
    fn every_end_has_a_mark_and_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> =
            StreamMark::ALL.iter().filter_map(|mark| mark.word()).collect();
        assert_eq!(words.len(), 7);
        assert!(StreamEnd::ALL.iter().all(|end| StreamMark::ALL.contains(&StreamMark::Ended(*end))));
    }
}
