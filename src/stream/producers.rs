//! The connections that produce streams.

use crate::id::ProducerId;
use crate::wire::stream::StreamId;
use ahash::AHashMap;
use std::collections::BTreeSet;

/// Says if a producer's socket is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SocketReading {
    #[default]
    Goes,
    Pauses,
}

#[derive(Debug, Default)]
struct ProducerStreams {
    streams: BTreeSet<StreamId>,
    reading: SocketReading,
}

/// The producers of open streams.
#[derive(Debug, Default)]
pub(super) struct Producers {
    by_id: AHashMap<ProducerId, ProducerStreams>,
    /// In the order of their pauses.
    paused: Vec<ProducerId>,
}

impl Producers {
    pub(super) fn add(&mut self, producer: ProducerId, id: &StreamId) {
        self.by_id.entry(producer).or_default().streams.insert(id.clone());
    }

    /// The producer has this stream no more. True if its socket must be read again: it has no stream left.
    pub(super) fn remove(&mut self, producer: ProducerId, id: &StreamId) -> bool {
        let Some(of) = self.by_id.get_mut(&producer) else { return false };
        of.streams.remove(id);
        if !of.streams.is_empty() {
            return false;
        }
        self.by_id.remove(&producer);
        self.resume(producer)
    }

    /// The connection ended: its streams.
    pub(super) fn forget(&mut self, producer: ProducerId) -> BTreeSet<StreamId> {
        self.resume(producer);
        self.by_id.remove(&producer).map(|of| of.streams).unwrap_or_default()
    }

    /// True if its socket was read until now.
    pub(super) fn pause(&mut self, producer: ProducerId) -> bool {
        let Some(of) = self.by_id.get_mut(&producer) else { return false };
        if of.reading == SocketReading::Pauses {
            return false;
        }
        of.reading = SocketReading::Pauses;
        self.paused.push(producer);
        true
    }

    /// True if its socket was not read until now.
    pub(super) fn resume(&mut self, producer: ProducerId) -> bool {
        let Some(place) = self.paused.iter().position(|paused| *paused == producer) else { return false };
        self.paused.remove(place);
        if let Some(of) = self.by_id.get_mut(&producer) {
            of.reading = SocketReading::Goes;
        }
        true
    }

    /// The producers whose sockets are not read, each with its streams.
    pub(super) fn paused(&self) -> impl Iterator<Item = (ProducerId, &BTreeSet<StreamId>)> {
        self.paused.iter().filter_map(|id| self.by_id.get(id).map(|of| (*id, &of.streams)))
    }
}
