//! The open streams of the store, which the thread that writes shares with the threads that read.
//!
//! The [`Ledger`] has them. A stream that begins is in it from the moment its begin is checked, which is before the commit; readers
//! see it only after [`OpenStreams::begun`].

use crate::clock::Moment;
use crate::id::{ChannelName, Offset, ProducerId};
use crate::job::{StreamRequest, Ticket};
use crate::metrics::store::bump;
use crate::metrics::streams::StreamCounters;
use crate::store::stream_frame;
use crate::stream::{
    EndFate, Flush, Ledger, PartRow, StoredStream, StreamBegin, StreamOutput, StreamSettings,
};
use crate::wire::stream::{BegunStream, StreamFault, StreamId, WholeStream};
use ahash::AHashMap;
use parking_lot::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The output of the ledger, for the reactors.
pub(crate) type Output = StreamOutput<Ticket>;

/// The open streams.
#[derive(Debug)]
pub(crate) struct OpenStreams {
    /// The number that readers see, so that a look costs one load while there are none.
    count: AtomicUsize,
    shared: RwLock<SharedLedger>,
    /// Where the moments of the ledger begin.
    origin: Instant,
}

#[derive(Debug)]
struct SharedLedger {
    ledger: Ledger<Ticket>,
    /// The begins of open streams that are committed.
    by_channel: AHashMap<ChannelName, Vec<Offset>>,
    /// Those whose commit is not known.
    beginning: Vec<StreamId>,
}

impl OpenStreams {
    #[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
    pub(crate) fn new(settings: StreamSettings) -> OpenStreams {
        let ledger = Ledger::new(settings, Moment::ZERO);
        let shared = SharedLedger { ledger, by_channel: AHashMap::new(), beginning: Vec::new() };
        OpenStreams { count: AtomicUsize::new(0), shared: RwLock::new(shared), origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    /// True if no stream is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Opens a stream whose begin is being committed, or refuses it.
    pub(super) fn begin(&self, begin: StreamBegin) -> Result<BegunStream, StreamFault> {
        let id = begin.id.clone();
        let mut shared = self.shared.write();
        let begun = shared.ledger.begin(begin, self.now())?;
        shared.beginning.push(id);
        Ok(begun)
    }

    /// The number of streams that are beginning.
    pub(super) fn beginning(&self) -> usize {
        self.shared.read().beginning.len()
    }

    /// Forgets the streams that are beginning, except the first `keep`: their begins are not committed.
    pub(super) fn forget_beginning(&self, keep: usize, out: &mut Output) {
        let mut shared = self.shared.write();
        let SharedLedger { ledger, beginning, .. } = &mut *shared;
        beginning.drain(keep.min(beginning.len())..).for_each(|id| ledger.forget(&id, out));
    }

    /// The begins are committed.
    pub(super) fn begun(&self) {
        let mut shared = self.shared.write();
        for id in std::mem::take(&mut shared.beginning) {
            shared.show(&id);
        }
        self.recount(&shared);
    }

    /// True if this stream is open, or begins in the transaction in progress.
    pub(super) fn is_open(&self, id: &StreamId) -> bool {
        let shared = self.shared.read();
        shared.has(id) || shared.beginning.contains(id)
    }

    /// All streams that are open.
    pub(super) fn ids(&self) -> Vec<StreamId> {
        let shared = self.shared.read();
        let of_channel = |(channel, offsets): (&ChannelName, &Vec<Offset>)| {
            let channel = channel.clone();
            offsets.clone().into_iter().map(move |offset| StreamId { channel: channel.clone(), offset })
        };
        shared.by_channel.iter().flat_map(of_channel).collect()
    }

    /// Opens a stream that the file has.
    pub(super) fn restore(&self, stored: StoredStream) {
        let (id, now) = (stored.id.clone(), self.now());
        let mut shared = self.shared.write();
        shared.ledger.restore(stored, now);
        shared.show(&id);
        self.recount(&shared);
    }

    /// Adds a part to a stream that was restored. One that does not fit is logged: the text ends before it.
    pub(super) fn restore_part(&self, part: &PartRow) {
        if let Err(fault) = self.shared.write().ledger.restore_part(part) {
            tracing::error!(channel = %part.id.channel, begin = part.id.offset.0, ?fault, "part of a stream not read");
        }
    }

    /// Answers a begin that was a repeat; `None` if the stream is not open.
    pub(super) fn attach(
        &self,
        id: &StreamId,
        producer: ProducerId,
        out: &mut Output,
    ) -> Option<BegunStream> {
        self.shared.write().ledger.attach(id, producer, self.now(), out)
    }

    /// Gives orders to the ledger.
    pub(super) fn order<R>(&self, give: impl FnOnce(&mut Ledger<Ticket>, Moment) -> R) -> R {
        give(&mut self.shared.write().ledger, self.now())
    }

    /// The time of the next flush.
    pub(super) fn due(&self) -> Option<Moment> {
        self.shared.read().ledger.due()
    }

    /// A flush is committed, with these ends.
    pub(super) fn settled(&self, flush: Flush, fates: &[EndFate], out: &mut Output) {
        let mut shared = self.shared.write();
        for row in flush.ends.iter().take(fates.len()) {
            shared.hide(&row.id);
        }
        shared.ledger.settled(flush, fates, self.now(), out);
        self.recount(&shared);
    }

    /// An edit or delete of its begin has ended a stream.
    pub(super) fn ended(&self, id: &StreamId, fate: EndFate, out: &mut Output) {
        let mut shared = self.shared.write();
        shared.hide(id);
        let _ = shared.ledger.ended(id, fate, out);
        self.recount(&shared);
    }

    /// Sets the gauges.
    pub(super) fn observe(&self, counters: &StreamCounters) {
        let shared = self.shared.read();
        let window_ms = u64::try_from(shared.ledger.window().as_millis()).unwrap_or(u64::MAX);
        counters.open.store(shared.ledger.open_streams() as u64, Ordering::Relaxed);
        counters.memory_bytes.store(shared.ledger.bytes() as u64, Ordering::Relaxed);
        counters.window_ms.store(window_ms, Ordering::Relaxed);
    }

    /// True if a stream of the channel is open.
    pub(crate) fn has(&self, channel: &ChannelName) -> bool {
        !self.is_empty() && self.shared.read().by_channel.contains_key(channel)
    }

    /// Reads open streams, in the order of their begins. One that is not open is not among them.
    pub(crate) fn read(&self, request: &StreamRequest, counters: &StreamCounters) -> Vec<WholeStream> {
        if self.is_empty() {
            return Vec::new();
        }
        let found: Vec<_> = {
            let shared = self.shared.read();
            let offsets = shared.by_channel.get(&request.channel).map(Vec::as_slice).unwrap_or_default();
            let wanted = offsets.iter().filter(|offset| request.offset.is_none_or(|only| only == **offset));
            let ids = wanted.map(|offset| StreamId { channel: request.channel.clone(), offset: *offset });
            ids.filter_map(|id| shared.ledger.shared(&id).map(|stream| (id, stream))).collect()
        };
        // The texts are shared, so the lock is not held while they are copied into frames.
        let frame = |(id, stream)| {
            let whole = stream_frame::whole(id, &stream, request.known);
            bump(if whole.is_from_beginning { &counters.whole_frames } else { &counters.holes });
            whole.stream
        };
        found.into_iter().map(frame).collect()
    }

    fn recount(&self, shared: &SharedLedger) {
        self.count.store(shared.by_channel.values().map(Vec::len).sum(), Ordering::Release);
    }
}

impl SharedLedger {
    fn has(&self, id: &StreamId) -> bool {
        self.by_channel.get(&id.channel).is_some_and(|offsets| offsets.contains(&id.offset))
    }

    fn show(&mut self, id: &StreamId) {
        let offsets = self.by_channel.entry(id.channel.clone()).or_default();
        if let Err(place) = offsets.binary_search(&id.offset) {
            offsets.insert(place, id.offset);
        }
    }

    fn hide(&mut self, id: &StreamId) {
        if let Some(offsets) = self.by_channel.get_mut(&id.channel) {
            offsets.retain(|offset| *offset != id.offset);
            if offsets.is_empty() {
                self.by_channel.remove(&id.channel);
            }
        }
    }
}
