//! The open streams of one channel: how far live subscribers were sent them, and the round for subscribers that join.

use super::round::{KEPT_BYTES_MAX, KeptChange, NewsStep, StreamProgress, StreamRound, StreamsAnswer};
use crate::hub::exchange::Need;
use crate::hub::id::{ChannelId, SubscriptionId};
use crate::id::Offset;
use crate::wire::stream::{KnownStream, StreamNews, WholeStream};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The parts of open streams that the clients of subscriptions which catch up have already.
pub(in crate::hub) type KnownStreams = BTreeMap<SubscriptionId, Box<[KnownStream]>>;

/// Looks that subscribers which are being shown the open streams may put off in a row.
const LOOKS_LEFT_OUT_MAX: u8 = 10;

/// Answers in a row that may be older than what live subscribers have, as those of a server that lags. After these the store is believed:
/// it has lost commits.
const OLDER_ANSWERS_MAX: u8 = 3;

/// An open stream, as far as live subscribers were sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SentStream {
    /// The offset of its begin.
    offset: Offset,
    sent: StreamProgress,
    missing: StreamLack,
    /// True if a look found more, and no piece has come over the bus since.
    was_ahead: bool,
}

impl SentStream {
    fn begun(offset: Offset, missing: StreamLack) -> SentStream {
        SentStream { offset, sent: StreamProgress::BEGUN, missing, was_ahead: false }
    }

    /// True if live subscribers are likely to get over the bus what they lack of an answer to a look. If nothing has come by the next
    /// look, it is lost.
    fn awaits(&mut self, read: StreamProgress) -> bool {
        let is_ahead = read.generation == self.sent.generation && self.sent.is_behind(read);
        is_ahead && !std::mem::replace(&mut self.was_ahead, true)
    }
}

/// The part of a stream that live subscribers were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum StreamLack {
    Nothing,
    /// Perhaps something that the bus lost, or that is still on its way.
    Awaited,
    /// Perhaps something: a broadcast was missed, and its streams are not known.
    Perhaps,
    Something,
}

/// The truth of the list of open streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OpenKnowledge {
    /// Every stream in it is open.
    #[default]
    Sure,
    /// Some may have ended unseen: nothing is sent of any before a read.
    Doubted,
}

/// The open streams of one channel. It exists only while there are any, or while a round is under way.
#[derive(Debug, Default)]
pub(in crate::hub) struct ChannelStreams {
    /// In the order of their offsets.
    open: Vec<SentStream>,
    knowledge: OpenKnowledge,
    round: Option<StreamRound>,
    /// The number of rounds so far.
    rounds: u32,
    /// The subscribers that are being shown the open streams.
    joining: BTreeMap<SubscriptionId, ShownStreams>,
    /// Answers in a row that were older than what live subscribers have.
    older_answers: u8,
    /// Looks that were left out, so that subscribers are shown the answer that there is.
    looks_left_out: u8,
}

/// The streams that a subscriber was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ShownStreams {
    /// The number of the round that they are from.
    round: u32,
    /// The streams of its answer that were shown, or have ended.
    streams: usize,
    /// The items that the round kept which were shown, after all of its streams.
    kept: usize,
}

/// The outcome of [`ChannelStreams::show`].
#[derive(Debug)]
pub(in crate::hub) enum ShowStep {
    /// Send this frame, and call again.
    Shows(Arc<[u8]>),
    /// The answer of a read is awaited.
    Waits,
}

/// The outcome of an answer.
#[derive(Debug, Default)]
pub(super) struct StreamsAnswered {
    /// The frames that live subscribers lack.
    pub(super) missing: Vec<Arc<[u8]>>,
    /// Subscribers that waited for it.
    pub(super) waiting: Vec<SubscriptionId>,
}

/// The part that a client has of a stream. The list is in the order of the offsets.
fn find(known: &[KnownStream], offset: Offset) -> Option<KnownStream> {
    let index = known.binary_search_by_key(&offset, |stream| stream.offset).ok()?;
    known.get(index).copied()
}

impl ChannelStreams {
    fn find(&mut self, offset: Offset) -> Option<&mut SentStream> {
        self.open.iter_mut().find(|stream| stream.offset == offset)
    }

    /// The stream, which is added if it is not known.
    fn find_or_add(&mut self, offset: Offset) -> Option<&mut SentStream> {
        if let Err(index) = self.open.binary_search_by_key(&offset, |stream| stream.offset) {
            let missing = StreamLack::Something;
            self.open.insert(index, SentStream::begun(offset, missing));
        }
        self.find(offset)
    }

    /// True exactly when nothing of it is needed any more.
    pub(in crate::hub) fn is_spent(&self) -> bool {
        self.open.is_empty() && self.round.is_none() && self.joining.is_empty()
    }

    /// Notes a begin that live subscribers were sent.
    pub(super) fn begin(&mut self, offset: Offset) {
        if let Some(stream) = self.find_or_add(offset) {
            *stream = SentStream::begun(offset, StreamLack::Nothing);
        }
        self.keep(KeptChange::Begun(offset));
    }

    /// Notes that an edit or a delete of this publication was sent.
    pub(super) fn end(&mut self, offset: Offset) {
        self.open.retain(|stream| stream.offset != offset);
        self.keep(KeptChange::Ended(offset));
    }

    /// Notes that live subscribers may lack parts of every open stream.
    fn lack(&mut self, missing: StreamLack) {
        for stream in &mut self.open {
            stream.missing = stream.missing.max(missing);
        }
    }

    /// Has the streams read, because some may have begun, grown or ended unseen. The answer of a read that is under way may be too old,
    /// so another follows.
    pub(super) fn doubt(&mut self, id: ChannelId, needs: &mut Vec<Need>) {
        self.knowledge = OpenKnowledge::Doubted;
        self.lack(StreamLack::Perhaps);
        match &mut self.round {
            Some(round) if round.is_under_way() => round.outdate(),
            Some(_) | None => self.begin_round(id, Vec::new(), needs),
        }
    }

    /// Has the streams read, because a change may have been lost. Subscribers that are being shown the answer of an earlier round would
    /// begin again with the next, so slow ones put it off, but not for long.
    pub(in crate::hub) fn look(&mut self, id: ChannelId, needs: &mut Vec<Need>) {
        self.lack(StreamLack::Awaited);
        match &self.round {
            Some(round) if round.is_under_way() => {}
            Some(_) if self.looks_left_out < LOOKS_LEFT_OUT_MAX => self.looks_left_out += 1,
            Some(_) | None => self.begin_round(id, Vec::new(), needs),
        }
    }

    pub(super) fn ask_after_failure(&mut self, id: ChannelId, needs: &mut Vec<Need>) {
        if self.round.as_ref().is_some_and(|round| matches!(round.answer, StreamsAnswer::Failed)) {
            self.begin_round(id, Vec::new(), needs);
        }
    }

    fn begin_round(&mut self, id: ChannelId, waiting: Vec<SubscriptionId>, needs: &mut Vec<Need>) {
        self.rounds = self.rounds.wrapping_add(1);
        self.looks_left_out = 0;
        self.round = Some(StreamRound::asked(waiting));
        needs.push(Need::Streams(id));
    }

    /// Keeps something for the subscribers that the round is for. A round that would keep too much begins again.
    fn keep(&mut self, kept: KeptChange) {
        let Some(round) = &mut self.round else { return };
        if round.keep(kept) {
            return;
        }
        if round.is_under_way() {
            round.outdate();
        } else {
            // The subscribers that were shown a part of it begin with the next.
            self.round = None;
        }
    }

    /// Takes a change of a stream. `Some`: these frames come next for live subscribers.
    pub(super) fn take(
        &mut self,
        id: ChannelId,
        news: &StreamNews,
        needs: &mut Vec<Need>,
    ) -> Option<Arc<[u8]>> {
        self.keep(KeptChange::News(news.clone()));
        let knowledge = self.knowledge;
        let step = match self.find(news.id.offset) {
            Some(stream) if knowledge == OpenKnowledge::Sure => {
                let step = stream.sent.follow(news);
                match step {
                    NewsStep::Adjoins => stream.was_ahead = false,
                    NewsStep::Known => {}
                    NewsStep::Hole => stream.missing = StreamLack::Something,
                }
                step
            }
            Some(stream) => {
                stream.missing = stream.missing.max(StreamLack::Perhaps);
                NewsStep::Hole
            }
            // Its begin was missed, or it has ended.
            None => NewsStep::Hole,
        };
        match step {
            NewsStep::Adjoins => return Some(Arc::clone(news.news.frames())),
            NewsStep::Known => {}
            // A round that is under way notices by what it kept if its answer is too old.
            NewsStep::Hole if self.round.as_ref().is_some_and(StreamRound::is_under_way) => {}
            NewsStep::Hole => self.begin_round(id, Vec::new(), needs),
        }
        None
    }

    /// Takes the answer of a round; `None`: it failed. `head` is the channel's.
    pub(super) fn answered(
        &mut self,
        id: ChannelId,
        head: Offset,
        read: Option<Vec<WholeStream>>,
        needs: &mut Vec<Need>,
    ) -> StreamsAnswered {
        let Some(mut round) = self.round.take_if(|round| round.is_under_way()) else {
            return StreamsAnswered::default();
        };
        let waiting = std::mem::take(&mut round.waiting);
        let Some(wholes) = read else {
            self.lack(StreamLack::Something);
            self.round = Some(round.answered(StreamsAnswer::Failed));
            return StreamsAnswered { waiting, ..StreamsAnswered::default() };
        };
        if matches!(round.answer, StreamsAnswer::Outdated) {
            self.begin_round(id, waiting, needs);
            return StreamsAnswered::default();
        }
        let is_whole = round
            .changed()
            .all(|offset| self.is_open(offset) || wholes.iter().any(|one| one.id.offset == offset));
        // A stream above the head begins with its publication, and one that was edited since is over.
        let shown = |whole: &WholeStream| whole.id.offset <= head && !round.has_ended(whole.id.offset);
        let wholes: Vec<WholeStream> = wholes.into_iter().filter(shown).collect();
        self.open.retain(|stream| {
            round.has_begun(stream.offset) || wholes.iter().any(|whole| whole.id.offset == stream.offset)
        });
        self.knowledge = OpenKnowledge::Sure;
        let (missing, reaches) = self.compare(&round, &wholes);
        self.older_answers = if reaches { 0 } else { self.older_answers.saturating_add(1) };
        if !(is_whole && reaches) {
            self.begin_round(id, waiting, needs);
            return StreamsAnswered { missing, waiting: Vec::new() };
        }
        self.round = Some(round.answered(StreamsAnswer::Read(wholes)));
        self.release();
        StreamsAnswered { missing, waiting }
    }

    /// Compares an answer, and what was kept since its request, with what live subscribers were sent. Returns the frames that they
    /// lack, and whether the answer reaches as far as they have it. What is older is shown only if it comes again and again.
    fn compare(&mut self, round: &StreamRound, wholes: &[WholeStream]) -> (Vec<Arc<[u8]>>, bool) {
        let (mut missing, mut reaches) = (Vec::new(), true);
        for whole in wholes {
            let _ = self.find_or_add(whole.id.offset);
        }
        for stream in &mut self.open {
            // One that is not among them has begun since the request.
            let whole = wholes.iter().find(|whole| whole.id.offset == stream.offset);
            let mut read = whole.map_or(StreamProgress::BEGUN, StreamProgress::of);
            let mut frames: Vec<_> = whole.map(|whole| Arc::clone(&whole.frame)).into_iter().collect();
            let adjoins = round.follow(stream.offset, &mut read, |more| frames.push(Arc::clone(more)));
            let is_older = read.is_behind(stream.sent);
            let is_believed = !is_older || self.older_answers >= OLDER_ANSWERS_MAX;
            reaches &= adjoins && is_believed;
            let is_missing = match stream.missing {
                StreamLack::Nothing => is_older && is_believed,
                StreamLack::Awaited => read != stream.sent && is_believed && !stream.awaits(read),
                StreamLack::Perhaps => read != stream.sent && is_believed,
                StreamLack::Something => is_believed,
            };
            if is_missing {
                missing.append(&mut frames);
                stream.sent = read;
            }
            stream.missing = match (adjoins, is_believed) {
                (true, true) => StreamLack::Nothing,
                (true, false) => stream.missing.max(StreamLack::Perhaps),
                (false, _) => StreamLack::Something,
            };
        }
        (missing, reaches)
    }

    fn is_open(&self, offset: Offset) -> bool {
        self.open.binary_search_by_key(&offset, |stream| stream.offset).is_ok()
    }

    /// Shows the next open stream to a subscriber that has the whole log. `None` once it has what live subscribers have: it must then
    /// become one.
    pub(in crate::hub) fn show(
        &mut self,
        id: SubscriptionId,
        channel: ChannelId,
        known: &mut KnownStreams,
        needs: &mut Vec<Need>,
        out: &mut Vec<u8>,
    ) -> Option<ShowStep> {
        let is_under_way = self.round.as_ref().is_some_and(StreamRound::is_under_way);
        if self.open.is_empty() && !is_under_way {
            self.leave(id);
            return None;
        }
        if self.round.is_none() {
            self.begin_round(channel, Vec::new(), needs);
        }
        let shown = self.joining.entry(id).or_default();
        if shown.round != self.rounds {
            if shown.streams > 0 {
                // It has more than it said, and is shown all of it again.
                known.remove(&id);
            }
            *shown = ShownStreams { round: self.rounds, ..ShownStreams::default() };
        }
        let round = self.round.as_mut()?;
        match &round.answer {
            StreamsAnswer::Asked | StreamsAnswer::Outdated => {
                round.waiting.push(id);
                return Some(ShowStep::Waits);
            }
            StreamsAnswer::Failed => {}
            StreamsAnswer::Read(wholes) => {
                let is_open = |offset| self.open.iter().any(|stream| stream.offset == offset);
                let mut left = wholes.iter().enumerate().skip(shown.streams);
                if let Some((index, whole)) = left.find(|(_, whole)| is_open(whole.id.offset)) {
                    shown.streams = index + 1;
                    let has = known.get(&id).and_then(|known| find(known, whole.id.offset));
                    let rest = has.and_then(|has| whole.rest(has)).map(Arc::from);
                    return Some(ShowStep::Shows(rest.unwrap_or_else(|| Arc::clone(&whole.frame))));
                }
                // A part at a time, each when the subscriber has room: the round goes on keeping what arrives meanwhile.
                if round.kept_bytes_from(shown.kept) > KEPT_BYTES_MAX {
                    let mut part = Vec::new();
                    shown.kept = round.write_kept(wholes, shown.kept, KEPT_BYTES_MAX / 2, is_open, &mut part);
                    return Some(ShowStep::Shows(part.into()));
                }
                round.write_kept(wholes, shown.kept, usize::MAX, is_open, out);
            }
        }
        self.leave(id);
        None
    }

    /// Forgets a subscription that is live or has ended.
    pub(in crate::hub) fn leave(&mut self, id: SubscriptionId) {
        if self.joining.remove(&id).is_none() {
            return;
        }
        if let Some(round) = &mut self.round {
            round.waiting.retain(|other| *other != id);
        }
        self.release();
    }

    /// Drops an answer that no subscriber needs.
    fn release(&mut self) {
        let is_answered =
            self.round.as_ref().is_some_and(|round| matches!(round.answer, StreamsAnswer::Read(_)));
        if is_answered && self.joining.is_empty() {
            self.round = None;
        }
    }

    /// The subscriber that has waited longest for the answer.
    pub(in crate::hub) fn waits_longest(&self) -> Option<SubscriptionId> {
        self.round.as_ref()?.waiting.first().copied()
    }

    /// Panics if something contradicts itself.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        assert!(self.open.is_sorted_by_key(|stream| stream.offset), "out of order: {:?}", self.open);
        assert!(!self.is_spent(), "nothing is open and nothing is under way");
        let Some(round) = &self.round else { return };
        assert!(round.kept_bytes() <= round.kept_bytes_max(), "{} bytes kept", round.kept_bytes());
        assert!(round.is_under_way() || round.waiting.is_empty(), "some wait for nothing");
        assert!(
            round.waiting.iter().all(|id| self.joining.contains_key(id)),
            "one waits that is not shown anything"
        );
    }

    /// The subscribers that are being shown the streams.
    #[cfg(test)]
    pub(super) fn joining(&self) -> impl Iterator<Item = SubscriptionId> {
        self.joining.keys().copied()
    }
}
