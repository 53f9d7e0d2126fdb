//! The names of what rosters have in Redis.

use crate::id::ChannelName;
use crate::job::segments::SegmentKey;
use crate::wire::slot::Partition;
use std::sync::Arc;

/// The names, which begin with `bus.prefix`.
#[derive(Clone, Debug)]
pub(super) struct TopicNames {
    prefix: Arc<str>,
    canary: Arc<str>,
}

impl TopicNames {
    pub(super) fn new(prefix: Arc<str>) -> TopicNames {
        let canary = Arc::from(format!("{prefix}:canary"));
        TopicNames { prefix, canary }
    }

    /// The topic of the bus's canaries.
    pub(super) fn canary(&self) -> &str {
        &self.canary
    }

    /// `PREFIX:{TAG}:p:CHANNEL`: the hash of a roster, and the topic of its changes.
    pub(super) fn topic(&self, channel: &ChannelName) -> String {
        let tag = Partition::of(channel.as_str()).tag();
        format!("{}:{{{tag}}}:p:{channel}", self.prefix)
    }

    pub(super) fn key(&self, channel: &ChannelName) -> SegmentKey {
        let partition = Partition::of(channel.as_str());
        SegmentKey { key: Arc::from(self.topic(channel)), partition }
    }

    /// The channel of a topic or hash.
    pub(super) fn channel(&self, name: &[u8]) -> Option<ChannelName> {
        let rest = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b":{")?;
        let (_, channel) = std::str::from_utf8(rest).ok()?.split_once("}:p:")?;
        let channel = ChannelName::parse(channel).ok()?;
        (self.topic(&channel).as_bytes() == name).then_some(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_roster_leads_back_to_its_channel() {
        let names = TopicNames::new(Arc::from("seawall"));
        for text in ["c1", "room.7:x", "$user:ann"] {
            let channel = ChannelName::parse(text).expect("a name");
            let topic = names.topic(&channel);
            assert!(topic.ends_with(&format!("}}:p:{text}")), "{topic}");
            assert_eq!(names.channel(topic.as_bytes()), Some(channel));
        }
        for wrong in ["seawall:{0}:p:c1", "seawall:c:c1", "other:{460}:p:c1", "seawall:{460}:p:"] {
            assert_eq!(names.channel(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
