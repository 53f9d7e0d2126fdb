//! Changes of channels that arrived and are not passed on yet. Pure.

use crate::id::ChannelName;
use crate::job::Broadcast;
use crate::wire::publication::Published;
use crate::wire::stream::StreamNews;
use std::collections::HashSet;

/// All that arrived with one look at the socket, so that reactors get few broadcasts. Changes of streams are passed on after publications,
/// which keeps the order of each channel as long as no publication follows a change of a stream of its channel.
#[derive(Debug, Default)]
pub(super) struct Heard {
    publications: Vec<Published>,
    news: Vec<StreamNews>,
    /// The channels of `news`.
    streaming: HashSet<ChannelName, ahash::RandomState>,
}

impl Heard {
    /// Adds publications of one channel. Returns what must be passed on before them.
    pub(super) fn publish(&mut self, publications: Vec<Published>) -> Vec<Broadcast> {
        let follows = publications.first().is_some_and(|first| self.streaming.contains(&first.channel));
        let before = if follows { self.take() } else { Vec::new() };
        self.publications.extend(publications);
        before
    }

    /// Adds changes of the streams of one channel.
    pub(super) fn stream(&mut self, news: Vec<StreamNews>) {
        if let Some(first) = news.first()
            && !self.streaming.contains(&first.id.channel)
        {
            self.streaming.insert(first.id.channel.clone());
        }
        self.news.extend(news);
    }

    /// Everything, to be passed on in this order.
    pub(super) fn take(&mut self) -> Vec<Broadcast> {
        let Heard { publications, news, .. } = std::mem::take(self);
        let publications = (!publications.is_empty()).then(|| Broadcast::Published(publications.into()));
        let news = (!news.is_empty()).then(|| Broadcast::Streamed(news.into()));
        publications.into_iter().chain(news).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Offset;
    use crate::wire::publication::Change;
    use crate::wire::stream::{Generation, News, Position, StreamId, StreamMark};
    use std::sync::Arc;

    fn published(channel: &str, offset: u64) -> Vec<Published> {
        let (channel, offset) = (ChannelName::parse(channel).expect("valid"), Offset(offset));
        let (change, stream, frame) = (Change::None, StreamMark::None, Arc::from(&b"x"[..]));
        vec![Published { channel, offset, change, stream, time_ms: 1, frame }]
    }

    fn streamed(channel: &str, at: u32) -> Vec<StreamNews> {
        let id = StreamId { channel: ChannelName::parse(channel).expect("valid"), offset: Offset(1) };
        let (at, next, frames) = (Position(at), Position(at + 1), Arc::from(&b"x"[..]));
        vec![StreamNews { id, generation: Generation::FIRST, news: News::Pieces { at, next, frames } }]
    }

    fn sizes(broadcasts: &[Broadcast]) -> Vec<(&'static str, usize)> {
        let size = |one: &Broadcast| match one {
            Broadcast::Published(all) => ("published", all.len()),
            Broadcast::Streamed(all) => ("streamed", all.len()),
            other => panic!("{other:?}"),
        };
        broadcasts.iter().map(size).collect()
    }

    #[test]
    fn publication_after_a_change_of_a_stream_of_its_channel_is_passed_on_after_it() {
        let mut heard = Heard::default();
        assert!(heard.publish(published("a", 1)).is_empty());
        heard.stream(streamed("a", 0));
        assert!(heard.publish(published("b", 1)).is_empty(), "another channel");
        heard.stream(streamed("a", 1));
        let before = heard.publish(published("a", 2));
        assert_eq!(sizes(&before), [("published", 2), ("streamed", 2)]);
        heard.stream(streamed("a", 2));
        assert_eq!(sizes(&heard.take()), [("published", 1), ("streamed", 1)]);
        assert!(heard.publish(published("a", 3)).is_empty(), "what was passed on is forgotten");
    }
}
