//! The names of what rosters have in Redis, and the words of commands with them.
//!
//! On one server they are those of publish/subscribe, on a cluster those of its sharded kind, which need one slot a command.

use crate::follow::subscriptions::BusCommand;
use crate::id::ChannelName;
use crate::job::segments::SegmentKey;
use crate::wire::slot::Partition;
use ::redis::cmd;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The names, which begin with `bus.prefix`.
#[derive(Clone, Debug)]
pub(super) struct TopicNames {
    prefix: Arc<str>,
}

/// The topics at one server, or at one master of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicPlace {
    Server,
    /// The bus sends canaries on the topic of this partition.
    Master {
        canary: Partition,
    },
}

impl TopicPlace {
    /// The words that subscribe, and that end subscriptions.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            TopicPlace::Server => ("SUBSCRIBE", "UNSUBSCRIBE"),
            TopicPlace::Master { .. } => ("SSUBSCRIBE", "SUNSUBSCRIBE"),
        }
    }
}

impl TopicNames {
    pub(super) fn new(prefix: Arc<str>) -> TopicNames {
        TopicNames { prefix }
    }

    /// The topic of the bus's canaries.
    pub(super) fn canary(&self, place: TopicPlace) -> String {
        let prefix = &self.prefix;
        match place {
            TopicPlace::Server => format!("{prefix}:canary"),
            TopicPlace::Master { canary } => format!("{prefix}:{{{}}}:canary", canary.tag()),
        }
    }

    /// The command that subscribes to the canaries.
    pub(super) fn first_command(&self, place: TopicPlace) -> Vec<u8> {
        let (word, _) = place.words();
        cmd(word).arg(self.canary(place)).get_packed_command()
    }

    /// Writes a command; on a cluster one for each partition.
    pub(super) fn write(&self, command: BusCommand, place: TopicPlace, bytes: &mut Vec<u8>) {
        let (subscribe, unsubscribe) = place.words();
        let (word, names) = match command {
            BusCommand::Subscribe(names) => (subscribe, names),
            BusCommand::Unsubscribe(names) => (unsubscribe, names),
        };
        let mut groups: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
        for name in &names {
            let partition = match place {
                TopicPlace::Server => Partition::FIRST,
                TopicPlace::Master { .. } => Partition::of(name.as_str()),
            };
            groups.entry(partition).or_default().push(self.topic(name));
        }
        groups.values().for_each(|topics| cmd(word).arg(topics).write_packed_command(bytes));
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
    fn command_on_a_cluster_has_one_partition() {
        let names = TopicNames::new(Arc::from("p"));
        let channels: Vec<ChannelName> =
            (0..40).map(|number| ChannelName::parse(&format!("c{number}")).expect("a name")).collect();
        let partitions: std::collections::BTreeSet<_> =
            channels.iter().map(|channel| Partition::of(channel.as_str())).collect();
        let said = |place| {
            let mut bytes = Vec::new();
            names.write(BusCommand::Subscribe(channels.clone()), place, &mut bytes);
            String::from_utf8(bytes).expect("text")
        };
        let (server, master) =
            (said(TopicPlace::Server), said(TopicPlace::Master { canary: Partition::FIRST }));
        assert!(server.starts_with("*41\r\n$9\r\nSUBSCRIBE"), "{server}");
        assert_eq!(master.matches("SSUBSCRIBE").count(), partitions.len());
        for channel in &channels {
            assert!(master.contains(&format!("\r\n{}\r\n", names.topic(channel))));
        }
        assert_eq!(names.canary(TopicPlace::Master { canary: Partition::FIRST }), "p:{460}:canary");
    }

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
