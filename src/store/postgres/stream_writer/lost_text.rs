//! The suspicion that the store lost pieces which were committed, as a failover without a synchronous standby may.
//!
//! A text that is shorter than the known one proves nothing by itself: a standby that is promoted during the read may answer it with the
//! state from before. So, as with [heads](super::super::suspicion), it is read again: later, and over a connection that was dialled after the
//! first read. Until then nothing of the stream is written or shown.

use crate::wire::stream::StreamId;
use std::time::{Duration, Instant};

/// The least time between the two reads.
const CONFIRMED_AFTER: Duration = Duration::from_secs(5);
/// A suspicion that is not confirmed by then makes room for another.
const KEPT: Duration = Duration::from_secs(30);

/// The stream whose text was shorter.
#[derive(Debug)]
struct ShorterStream {
    id: StreamId,
    since: Instant,
}

/// The suspicion of one writer.
#[derive(Debug, Default)]
pub(super) struct TextSuspicion {
    suspect: Option<ShorterStream>,
}

/// The meaning of a text that is shorter than the known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextVerdict {
    /// It is too early to say.
    Unproven,
    /// The connection is as old as the suspicion, so its server cannot confirm it.
    Redial,
    Lost,
}

impl TextSuspicion {
    /// A text was shorter than the known one, over a connection `dialled` then.
    pub(super) fn judge(&mut self, id: &StreamId, dialled: Instant, now: Instant) -> TextVerdict {
        self.suspect.take_if(|suspect| now.saturating_duration_since(suspect.since) >= KEPT);
        let suspect = self.suspect.get_or_insert_with(|| ShorterStream { id: id.clone(), since: now });
        if dialled <= suspect.since {
            return TextVerdict::Redial;
        }
        let is_later = now.saturating_duration_since(suspect.since) >= CONFIRMED_AFTER;
        if suspect.id == *id && is_later { TextVerdict::Lost } else { TextVerdict::Unproven }
    }

    /// A text was not shorter.
    pub(super) fn clear(&mut self, id: &StreamId) {
        self.suspect.take_if(|suspect| suspect.id == *id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, Offset};
    use crate::store::postgres::timing::monotonic;

    #[test]
    fn loss_is_proven_by_a_later_read_over_a_connection_that_is_newer() {
        let id =
            |offset| StreamId { channel: ChannelName::parse("c").expect("a name"), offset: Offset(offset) };
        let (mut suspicion, old) = (TextSuspicion::default(), monotonic());
        let at = |s| old + Duration::from_secs(s);
        assert_eq!(suspicion.judge(&id(1), old, at(2)), TextVerdict::Redial);
        assert_eq!(suspicion.judge(&id(1), at(3), at(4)), TextVerdict::Unproven, "too early");
        assert_eq!(suspicion.judge(&id(1), old, at(9)), TextVerdict::Redial);
        assert_eq!(suspicion.judge(&id(2), at(3), at(9)), TextVerdict::Unproven, "another stream");
        assert_eq!(suspicion.judge(&id(1), at(3), at(9)), TextVerdict::Lost);
        suspicion.clear(&id(2));
        assert_eq!(suspicion.judge(&id(1), at(3), at(10)), TextVerdict::Lost);
        suspicion.clear(&id(1));
        assert_eq!(suspicion.judge(&id(1), at(3), at(11)), TextVerdict::Redial, "a new suspicion");
        assert_eq!(suspicion.judge(&id(2), at(12), at(41)), TextVerdict::Redial, "the old one made room");
    }
}
