//! The division of a flush into parts that are committed one by one.

use super::fate::{FlushFates, StoredEndFate};
use super::flush::{EndRow, Flush, RestartRow, StateRow};
use super::part::PartRow;
use crate::id::{ChannelName, Offset};
use crate::wire::stream::StreamId;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

impl Flush {
    /// The number of streams that take part.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// One of its streams.
    pub fn first(&self) -> Option<&StreamId> {
        self.streams.first()
    }

    /// Divides it by streams: each part has at most `streams` of them, and exceeds `bytes` by less than one stream.
    pub fn divide(self, streams: usize, bytes: usize) -> Vec<Flush> {
        let (ids, touches, mut contents) = self.into_contents();
        let (mut parts, mut part, mut taken) = (Vec::new(), Flush { touches, ..Flush::default() }, 0);
        for id in ids {
            if !part.streams.is_empty() && (part.streams.len() >= streams || taken >= bytes) {
                parts.push(std::mem::take(&mut part));
                taken = 0;
            }
            taken += contents.give(id, &mut part);
        }
        parts.push(part);
        parts
    }

    /// Takes out the ends in some channels: a part for each channel.
    pub fn split_ends(self, of: impl Fn(&ChannelName) -> bool) -> (Flush, Vec<Flush>) {
        let (ids, touches, mut contents) = self.into_contents();
        let (mut rest, mut ends) = (Flush { touches, ..Flush::default() }, BTreeMap::new());
        for id in ids {
            let ends_here = contents.ends.peek().is_some_and(|row| row.id == id) && of(&id.channel);
            let part = if ends_here { ends.entry(id.channel.clone()).or_default() } else { &mut rest };
            contents.give(id, part);
        }
        (rest, ends.into_values().collect())
    }

    /// The channels of its ends that were stored, with the offset of each.
    pub fn stored_ends<'a>(
        &'a self,
        fates: &'a FlushFates,
    ) -> impl Iterator<Item = (&'a ChannelName, Offset)> {
        self.ends.iter().zip(&fates.ends).filter_map(|(row, fate)| match fate {
            StoredEndFate::Stored(fate, _) => Some((&row.id.channel, fate.edit)),
            StoredEndFate::Moved | StoredEndFate::Ended(_) => None,
        })
    }

    fn into_contents(self) -> (Vec<StreamId>, Vec<StreamId>, Contents) {
        let Flush { restarts, rows, states, ends, touches, streams } = self;
        let contents = Contents {
            restarts: restarts.into_iter().peekable(),
            rows: rows.into_iter().peekable(),
            states: states.into_iter().peekable(),
            ends: ends.into_iter().peekable(),
        };
        (streams, touches, contents)
    }
}

/// The contents of a flush, which are in the order of its streams.
struct Contents {
    restarts: Peekable<IntoIter<RestartRow>>,
    rows: Peekable<IntoIter<PartRow>>,
    states: Peekable<IntoIter<StateRow>>,
    ends: Peekable<IntoIter<EndRow>>,
}

impl Contents {
    /// Moves a stream to a part, and returns its bytes.
    fn give(&mut self, id: StreamId, part: &mut Flush) -> usize {
        let row = self.rows.next_if(|row| row.id == id);
        let end = self.ends.next_if(|row| row.id == id);
        let bytes =
            row.as_ref().map_or(0, |row| row.body.len()) + end.as_ref().map_or(0, |end| end.data.len());
        part.restarts.extend(self.restarts.next_if(|row| row.id == id));
        part.rows.extend(row);
        part.states.extend(self.states.next_if(|row| row.id == id));
        part.ends.extend(end);
        part.streams.push(id);
        bytes
    }
}
