//! The division of batches into messages. Pure.

use crate::id::ChannelName;
use crate::job::bus::BusBatch;
use crate::wire::publication::Published;
use crate::wire::stream::StreamNews;
use std::collections::HashMap;

/// Bytes of frames in one message of one channel: a receiver takes at most 256 KiB at once.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// The longest frames sent over the bus; the other instances read longer ones from the store. Of publications, only a raised
/// `limits.frame_bytes` or `limits.message_bytes` allows one.
pub(super) const FRAME_BYTES_MAX: usize = 192 << 10;

/// The contents of one message: changes of one channel, in the order of their commits.
#[derive(Debug)]
pub(super) enum Outgoing<'a> {
    Publications(Vec<&'a Published>),
    Streamed(Vec<&'a StreamNews>),
}

/// Messages, in an order that is right for each channel.
#[derive(Debug, Default)]
pub(super) struct OutgoingMessages<'a> {
    pub(super) messages: Vec<(&'a ChannelName, Outgoing<'a>)>,
    /// Changes that are too long to be sent.
    pub(super) too_long: u64,
    /// The last message of each channel, with the bytes of its frames.
    last: HashMap<&'a ChannelName, (usize, usize), ahash::RandomState>,
}

/// One change.
#[derive(Clone, Copy)]
enum OutgoingChange<'a> {
    Published(&'a Published),
    Streamed(&'a StreamNews),
}

/// Divides batches into messages. Changes that follow each other on a channel and are of one kind are put together.
pub(super) fn messages(batches: &[BusBatch]) -> OutgoingMessages<'_> {
    let mut all = OutgoingMessages::default();
    for batch in batches {
        match batch {
            BusBatch::Published(batch) => {
                batch.iter().for_each(|one| all.add(OutgoingChange::Published(one)))
            }
            BusBatch::Streamed(batch) => batch.iter().for_each(|one| all.add(OutgoingChange::Streamed(one))),
        }
    }
    all
}

impl<'a> OutgoingMessages<'a> {
    fn add(&mut self, change: OutgoingChange<'a>) {
        let (channel, bytes) = match change {
            OutgoingChange::Published(published) => (&published.channel, published.frame.len()),
            OutgoingChange::Streamed(news) => (&news.id.channel, news.news.frames().len()),
        };
        if bytes > FRAME_BYTES_MAX {
            self.too_long += 1;
            return;
        }
        if let Some((place, used)) = self.last.get_mut(channel)
            && *used + bytes <= MESSAGE_BYTES_MAX
            && let Some((_, message)) = self.messages.get_mut(*place)
            && message.takes(change)
        {
            *used += bytes;
            return;
        }
        self.last.insert(channel, (self.messages.len(), bytes));
        self.messages.push((channel, Outgoing::new(change)));
    }
}

impl<'a> Outgoing<'a> {
    fn new(change: OutgoingChange<'a>) -> Outgoing<'a> {
        match change {
            OutgoingChange::Published(published) => Outgoing::Publications(vec![published]),
            OutgoingChange::Streamed(news) => Outgoing::Streamed(vec![news]),
        }
    }

    /// Adds a change of the same kind; false if it is of the other.
    fn takes(&mut self, change: OutgoingChange<'a>) -> bool {
        match (self, change) {
            (Outgoing::Publications(all), OutgoingChange::Published(published)) => all.push(published),
            (Outgoing::Streamed(all), OutgoingChange::Streamed(news)) => all.push(news),
            (Outgoing::Publications(_), OutgoingChange::Streamed(_))
            | (Outgoing::Streamed(_), OutgoingChange::Published(_)) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Offset;
    use crate::wire::publication;
    use crate::wire::stream::{Generation, News, Position, StreamId, StreamMark};

    fn name(channel: &str) -> ChannelName {
        ChannelName::parse(channel).expect("valid")
    }

    fn published(channel: &str, offset: u64, bytes: usize) -> BusBatch {
        BusBatch::Published([publication_of(channel, offset, bytes)].into())
    }

    fn publication_of(channel: &str, offset: u64, bytes: usize) -> Published {
        Published {
            channel: name(channel),
            offset: Offset(offset),
            change: publication::Change::None,
            stream: StreamMark::None,
            time_ms: 1,
            frame: vec![b'x'; bytes].into(),
        }
    }

    fn streamed(channel: &str, at: u32, bytes: usize) -> BusBatch {
        let id = StreamId { channel: name(channel), offset: Offset(1) };
        let (at, next, frames) = (Position(at), Position(at + 1), vec![b'x'; bytes].into());
        let news = News::Pieces { at, next, frames };
        BusBatch::Streamed([StreamNews { id, generation: Generation::FIRST, news }].into())
    }

    /// Each message as text: its channel, its kind and its members.
    fn shown(all: &OutgoingMessages<'_>) -> Vec<String> {
        let show = |(channel, message): &(&ChannelName, Outgoing<'_>)| match message {
            Outgoing::Publications(all) => {
                let offsets: Vec<u64> = all.iter().map(|one| one.offset.0).collect();
                format!("{} published {offsets:?}", channel.as_str())
            }
            Outgoing::Streamed(all) => {
                let at = |one: &&StreamNews| match one.news {
                    News::Pieces { at, .. } => at.0,
                    News::State(..) | News::Restarted(_) => 0,
                };
                format!("{} streamed {:?}", channel.as_str(), all.iter().map(at).collect::<Vec<_>>())
            }
        };
        all.messages.iter().map(show).collect()
    }

    #[test]
    fn changes_of_a_channel_stay_in_order_and_share_messages_of_their_kind() {
        let batches = [
            published("a", 1, 9),
            published("b", 1, 9),
            published("a", 2, 9),
            streamed("a", 0, 9),
            streamed("b", 0, 9),
            streamed("a", 1, 9),
            published("a", 3, 9),
            streamed("a", 2, 9),
        ];
        let wanted = [
            "a published [1, 2]",
            "b published [1]",
            "a streamed [0, 1]",
            "b streamed [0]",
            "a published [3]",
            "a streamed [2]",
        ];
        assert_eq!(shown(&messages(&batches)), wanted);
    }

    #[test]
    fn messages_are_bounded_and_what_is_too_long_for_any_is_counted() {
        let half = MESSAGE_BYTES_MAX / 2;
        let batches = [
            streamed("a", 0, half),
            streamed("a", 1, half),
            streamed("a", 2, 1),
            streamed("a", 3, FRAME_BYTES_MAX),
            streamed("a", 4, FRAME_BYTES_MAX + 1),
            published("a", 1, FRAME_BYTES_MAX + 1),
            published("a", 2, 1),
        ];
        let all = messages(&batches);
        let wanted = ["a streamed [0, 1]", "a streamed [2]", "a streamed [3]", "a published [2]"];
        assert_eq!((shown(&all), all.too_long), (wanted.map(str::to_owned).to_vec(), 2));
    }
}
