//! The streams that ended last, so that a producer which goes on is refused without a read of the log.

use crate::stream::EndFate;
use crate::wire::stream::StreamId;
use ahash::AHashMap;

/// Ends remembered in each of two generations.
const REMEMBERED: usize = 1_024;

/// The ends of streams. When the young generation is full it replaces the old one.
#[derive(Debug, Default)]
pub(super) struct EndedStreams {
    young: AHashMap<StreamId, EndFate>,
    old: AHashMap<StreamId, EndFate>,
}

impl EndedStreams {
    pub(super) fn find(&self, id: &StreamId) -> Option<EndFate> {
        self.young.get(id).or_else(|| self.old.get(id)).copied()
    }

    pub(super) fn note(&mut self, id: &StreamId, fate: EndFate) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id.clone(), fate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, Offset};
    use crate::wire::stream::StreamEnd;

    #[test]
    fn last_ends_are_remembered_and_memory_is_bounded() {
        let mut ended = EndedStreams::default();
        let channel = ChannelName::parse("c").expect("a name");
        let id = |offset| StreamId { channel: channel.clone(), offset: Offset(offset) };
        let fate = |edit| EndFate { end: StreamEnd::Failed, edit: Offset(edit) };
        for offset in 1..=4 * REMEMBERED as u64 {
            ended.note(&id(offset), fate(offset + 1));
        }
        assert_eq!(ended.find(&id(4 * REMEMBERED as u64)), Some(fate(4 * REMEMBERED as u64 + 1)));
        assert_eq!(ended.find(&id(1)), None);
        assert!(ended.young.len() + ended.old.len() <= 2 * REMEMBERED);
    }
}
