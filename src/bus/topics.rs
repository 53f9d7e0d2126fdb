//! The names of the bus's channels in Redis, and the commands with them.
//!
//! On one server they are plain (`PREFIX:c:CHANNEL`). On a cluster they have the tag of their partition (`PREFIX:{TAG}:c:CHANNEL`),
//! and the commands are those of sharded publish/subscribe, which need one slot a command.

use crate::follow::routing::partition_of;
use crate::follow::subscriptions::BusCommand;
use crate::id::ChannelName;
use crate::wire::slot::Partition;
use ::redis::{Cmd, cmd};
use std::collections::BTreeMap;

/// The kind of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// One server.
    Plain,
    /// One master of a cluster, whose canaries use a topic of this partition. Orders pass over the first partition.
    Sharded { canary: Partition },
}

pub(super) struct Topics {
    naming: Naming,
    /// The beginning of the names of channels: all before the channel, or before the tag.
    channels: String,
    canary: String,
    orders: String,
}

impl Topics {
    pub(super) fn new(prefix: &str, naming: Naming) -> Topics {
        let [channels, canary, orders] = match naming {
            Naming::Plain => [format!("{prefix}:c:"), format!("{prefix}:canary"), format!("{prefix}:orders")],
            Naming::Sharded { canary } => [
                format!("{prefix}:{{"),
                format!("{prefix}:{{{}}}:canary", canary.tag()),
                format!("{prefix}:{{{}}}:orders", Partition::FIRST.tag()),
            ],
        };
        Topics { naming, channels, canary, orders }
    }

    pub(super) fn canary(&self) -> &str {
        &self.canary
    }

    pub(super) fn orders(&self) -> &str {
        &self.orders
    }

    /// The name for a channel.
    pub(super) fn channel(&self, channel: &ChannelName) -> String {
        match self.naming {
            Naming::Plain => format!("{}{}", self.channels, channel.as_str()),
            Naming::Sharded { .. } => {
                format!("{}{}}}:c:{}", self.channels, partition_of(channel).tag(), channel.as_str())
            }
        }
    }

    /// The channel with this name.
    pub(super) fn parse(&self, name: &[u8]) -> Option<ChannelName> {
        let rest = name.strip_prefix(self.channels.as_bytes())?;
        let channel = match self.naming {
            Naming::Plain => rest,
            Naming::Sharded { .. } => {
                let end = rest.iter().position(|byte| *byte == b'}')?;
                rest.get(end..)?.strip_prefix(b"}:c:")?
            }
        };
        ChannelName::parse_any(std::str::from_utf8(channel).ok()?).ok()
    }

    /// Subscribes a new connection to all that is no channel.
    pub(super) fn first_commands(&self) -> Vec<u8> {
        match self.naming {
            Naming::Plain => cmd("SUBSCRIBE").arg(&self.canary).arg(&self.orders).get_packed_command(),
            Naming::Sharded { canary } => {
                let mut bytes = cmd("SSUBSCRIBE").arg(&self.canary).get_packed_command();
                if canary == Partition::FIRST {
                    cmd("SSUBSCRIBE").arg(&self.orders).write_packed_command(&mut bytes);
                }
                bytes
            }
        }
    }

    pub(super) fn publish(&self, name: &str, message: &[u8]) -> Cmd {
        let word = match self.naming {
            Naming::Plain => "PUBLISH",
            Naming::Sharded { .. } => "SPUBLISH",
        };
        cmd(word).arg(name).arg(message).take()
    }

    /// Writes a command; on a cluster one for each partition.
    pub(super) fn write(&self, command: BusCommand, bytes: &mut Vec<u8>) {
        let (plain, sharded, names) = match command {
            BusCommand::Subscribe(names) => ("SUBSCRIBE", "SSUBSCRIBE", names),
            BusCommand::Unsubscribe(names) => ("UNSUBSCRIBE", "SUNSUBSCRIBE", names),
        };
        match self.naming {
            Naming::Plain => self.write_names(plain, &names, bytes),
            Naming::Sharded { .. } => {
                let mut groups: BTreeMap<Partition, Vec<ChannelName>> = BTreeMap::new();
                for name in names {
                    groups.entry(partition_of(&name)).or_default().push(name);
                }
                groups.values().for_each(|names| self.write_names(sharded, names, bytes));
            }
        }
    }

    fn write_names(&self, word: &str, names: &[ChannelName], bytes: &mut Vec<u8>) {
        let mut said = cmd(word);
        for name in names {
            said.arg(self.channel(name));
        }
        said.write_packed_command(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text).expect("valid")
    }

    fn sharded(canary: Partition) -> Topics {
        Topics::new("p", Naming::Sharded { canary })
    }

    #[test]
    fn names_on_one_server_stay_as_they_were() {
        let topics = Topics::new("seawall", Naming::Plain);
        assert_eq!(topics.channel(&name("room.7")), "seawall:c:room.7");
        assert_eq!((topics.canary(), topics.orders()), ("seawall:canary", "seawall:orders"));
        assert_eq!(topics.parse(b"seawall:c:room.7"), Some(name("room.7")));
        for other in [&b"seawall:canary"[..], b"seawall:{1}:c:x", b"other:c:x", b"seawall:c:"] {
            assert_eq!(topics.parse(other), None);
        }
    }

    #[test]
    fn names_on_a_cluster_have_the_slot_of_their_partition() {
        let topics = sharded(Partition::FIRST);
        for channel in ["a", "room.7", "$user:ann"].map(name) {
            let topic = topics.channel(&channel);
            assert_eq!(topics.parse(topic.as_bytes()), Some(channel.clone()));
            let tag = topic.split(['{', '}']).nth(1).expect("a tag");
            assert_eq!(Partition::of(tag), partition_of(&channel));
        }
        for other in [&b"p:{460}:canary"[..], b"p:c:x", b"p:{1}c:x", b"p:{1}:c:", b"p:{"] {
            assert_eq!(topics.parse(other), None);
        }
    }

    #[test]
    fn command_on_a_cluster_has_one_partition() {
        let names: Vec<ChannelName> = (0..40).map(|number| name(&format!("c{number}"))).collect();
        let partitions: std::collections::BTreeSet<_> = names.iter().map(partition_of).collect();
        let mut bytes = Vec::new();
        sharded(Partition::FIRST).write(BusCommand::Subscribe(names.clone()), &mut bytes);
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(text.matches("SSUBSCRIBE").count(), partitions.len());
        assert!(names.iter().all(|name| text.contains(&format!(":c:{}\r\n", name.as_str()))));
        let mut bytes = Vec::new();
        Topics::new("p", Naming::Plain).write(BusCommand::Unsubscribe(names), &mut bytes);
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.starts_with("*41\r\n") && text.matches("UNSUBSCRIBE").count() == 1);
    }

    #[test]
    fn orders_are_heard_at_the_master_of_the_first_partition_alone() {
        let hears = |canary| String::from_utf8_lossy(&sharded(canary).first_commands()).contains(":orders");
        assert!(hears(Partition::FIRST) && !hears(Partition::of_slot(64)));
    }
}
