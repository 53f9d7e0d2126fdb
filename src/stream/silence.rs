//! Open streams in which nothing changes: the instance of their producers may have died.
//!
//! No clock but that of this process says how long a stream has been silent. That of the store may jump, and the other instances have their
//! own. So the time runs from the first sweep that found the stream as it is, and a stream that was not found silent in between is
//! watched from the beginning again.

use super::fate::StreamLook;
use crate::clock::Moment;
use crate::wire::stream::StreamId;
use ahash::AHashMap;
use std::time::Duration;

/// The time after which a stream that could not be opened is tried again.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// An open stream, as a sweep found it: nothing of it was written for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentStream {
    pub id: StreamId,
    pub seen: StreamLook,
    /// The silence that ends it. It is longer than for the instance of the producer.
    pub deadline: Duration,
}

/// The part of the silent streams that a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilentPart {
    All,
    /// There are more than a sweep finds.
    Some,
}

/// A stream whose deadline is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverdueStream {
    pub id: StreamId,
    /// The stream as it was seen at `since`, and at each sweep since then.
    pub seen: StreamLook,
    pub since: Moment,
}

#[derive(Clone, Debug)]
struct WatchedStream {
    seen: StreamLook,
    since: Moment,
    due: Moment,
}

/// The silent streams that are not open at this instance.
#[derive(Debug, Default)]
pub struct SilenceWatch {
    watched: AHashMap<StreamId, WatchedStream>,
    /// The earliest deadline.
    due: Option<Moment>,
}

impl SilenceWatch {
    /// The streams that are watched at once, and that a sweep finds.
    pub const STREAMS_MAX: usize = 4_096;

    /// Takes what a sweep found, after its answer.
    pub fn found(&mut self, silent: Vec<SilentStream>, part: SilentPart, now: Moment) {
        let mut before = std::mem::take(&mut self.watched);
        for SilentStream { id, seen, deadline } in silent {
            let known = before.remove(&id).filter(|known| known.seen == seen);
            let since = known.map_or(now, |known| known.since);
            self.watched.insert(id, WatchedStream { seen, since, due: since + deadline });
        }
        if part == SilentPart::Some {
            let room = Self::STREAMS_MAX.saturating_sub(self.watched.len());
            self.watched.extend(before.into_iter().take(room));
        }
        self.schedule();
    }

    /// The next deadline; `None` while nothing is watched.
    pub fn due(&self) -> Option<Moment> {
        self.due
    }

    /// Takes at most `most` streams whose deadline is over. The caller looks at the store: one that has changed since the last sweep is not
    /// to be ended.
    pub fn take_due(&mut self, now: Moment, most: usize) -> Vec<OverdueStream> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let due = self.watched.iter().filter(|(_, watched)| watched.due <= now);
        let due: Vec<StreamId> = due.map(|(id, _)| id.clone()).take(most).collect();
        let taken = due.into_iter().filter_map(|id| {
            let WatchedStream { seen, since, .. } = self.watched.remove(&id)?;
            Some(OverdueStream { id, seen, since })
        });
        let taken = taken.collect();
        self.schedule();
        taken
    }

    /// A stream could not be opened.
    pub fn put_off(&mut self, stream: OverdueStream, now: Moment) {
        let OverdueStream { id, seen, since } = stream;
        self.watched.insert(id, WatchedStream { seen, since, due: now + TRIED_AGAIN_AFTER });
        self.schedule();
    }

    /// Forgets everything. Producers may have tried in vain to write a sign of life.
    pub fn clear(&mut self) {
        self.watched.clear();
        self.due = None;
    }

    fn schedule(&mut self) {
        self.due = self.watched.values().map(|watched| watched.due).min();
    }
}

#[cfg(test)]
mod tests {
    use super::super::fence::Touched;
    use super::*;
    use crate::id::{ChannelName, Offset};
    use crate::wire::stream::{Generation, Position, StreamState};

    fn id(offset: u64) -> StreamId {
        StreamId { channel: ChannelName::parse("c").expect("a name"), offset: Offset(offset) }
    }

    fn at(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    fn seen(next: u32) -> StreamLook {
        let (generation, state) = (Generation::FIRST, StreamState::Streaming);
        StreamLook { generation, next: Position(next), state, touched: Touched(7) }
    }

    fn silent(offset: u64, next: u32) -> SilentStream {
        SilentStream { id: id(offset), seen: seen(next), deadline: Duration::from_secs(40) }
    }

    #[test]
    fn stream_is_overdue_when_nothing_changed_for_its_deadline() {
        let mut watch = SilenceWatch::default();
        watch.found(vec![silent(1, 5), silent(2, 5)], SilentPart::All, at(10));
        watch.found(vec![silent(1, 5), silent(2, 6)], SilentPart::All, at(20));
        assert_eq!((watch.due(), watch.take_due(at(49), 9)), (Some(at(50)), Vec::new()));
        let overdue = OverdueStream { id: id(1), seen: seen(5), since: at(10) };
        assert_eq!(watch.take_due(at(50), 9), std::slice::from_ref(&overdue));
        assert_eq!((watch.due(), watch.take_due(at(59), 9)), (Some(at(60)), Vec::new()));
        watch.put_off(overdue.clone(), at(51));
        watch.found(Vec::new(), SilentPart::Some, at(52));
        assert_eq!((watch.due(), watch.take_due(at(60), 9).len()), (Some(at(60)), 1));
        assert_eq!(watch.take_due(at(61), 9), [overdue]);
        assert_eq!(watch.due(), None);
    }

    #[test]
    fn stream_that_a_whole_sweep_did_not_find_begins_again() {
        let mut watch = SilenceWatch::default();
        watch.found(vec![silent(1, 5)], SilentPart::All, at(10));
        watch.found(Vec::new(), SilentPart::All, at(20));
        assert_eq!(watch.due(), None);
        watch.found(vec![silent(1, 5)], SilentPart::All, at(30));
        assert_eq!(watch.due(), Some(at(70)));
        watch.clear();
        assert_eq!((watch.due(), watch.take_due(at(99), 9)), (None, Vec::new()));
    }

    #[test]
    fn watched_streams_have_a_bound() {
        let mut watch = SilenceWatch::default();
        let most = SilenceWatch::STREAMS_MAX as u64;
        let many = |from: u64| (from..from + most).map(|offset| silent(offset, 1)).collect();
        watch.found(many(0), SilentPart::Some, at(1));
        watch.found(many(most / 2), SilentPart::Some, at(2));
        assert_eq!(watch.watched.len() as u64, most);
        let is_since = |since| watch.watched.values().filter(|it| it.since == at(since)).count() as u64;
        assert_eq!((is_since(1), is_since(2)), (most / 2, most / 2));
        assert_eq!(watch.take_due(at(99), 100).len(), 100);
    }
}
