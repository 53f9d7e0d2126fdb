//! The key of a publication's row: channel and offset packed into one integer.
//!
//! SQLite stores a table in the order of its integer key. With the channel in the high bits and the offset in the low ones, one
//! tree is both table and index, a page of a channel is one range, and a large publication keeps its bytes out of the inner
//! nodes (a table without an integer key would put them there).

use crate::id::Offset;
use crate::store::columns::{integer, natural};

/// Bits of the offset: 5·10¹¹ publications, or eight hundred years at twenty per second.
const OFFSET_BITS: u32 = 39;
/// Files hold packed keys and migrations compute with them: the split is part of the format.
const _: () = assert!(OFFSET_BITS == 39);
/// The largest offset a channel can reach.
const OFFSET_MAX: u64 = (1 << OFFSET_BITS) - 1;
/// The number of channels that one store can hold: the rest of the 63 bits.
pub(crate) const CHANNELS_MAX: u64 = (1 << (63 - OFFSET_BITS)) - 1;

/// The number of a channel in this store: 1 … [`CHANNELS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChannelNumber(pub(crate) i64);

/// The key of a publication's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RowKey(pub(crate) i64);

impl RowKey {
    /// Packs a channel and an offset. An offset out of range is clamped, so that it names the end of the channel's range and
    /// never a row of another channel.
    pub(crate) fn of(channel: ChannelNumber, offset: Offset) -> RowKey {
        RowKey((channel.0 << OFFSET_BITS) | integer(offset.0.min(OFFSET_MAX)))
    }

    pub(crate) fn offset(self) -> Offset {
        Offset(natural(self.0) & OFFSET_MAX)
    }

    /// The key of another publication of the same channel.
    pub(crate) fn of_same_channel(self, offset: Offset) -> RowKey {
        RowKey::of(ChannelNumber(self.0 >> OFFSET_BITS), offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_by_channel_then_offset_and_give_the_offset_back() {
        let last = ChannelNumber(integer(CHANNELS_MAX));
        let places = [
            RowKey::of(ChannelNumber(1), Offset(0)),
            RowKey::of(ChannelNumber(1), Offset(1)),
            RowKey::of(ChannelNumber(1), Offset(u64::MAX)),
            RowKey::of(ChannelNumber(2), Offset(0)),
            RowKey::of(last, Offset(OFFSET_MAX)),
        ];
        assert!(places.is_sorted() && places[0].0 > 0 && places[4].0 == i64::MAX);
        assert_eq!(places[1].offset(), Offset(1));
        assert_eq!(places[4].offset(), Offset(OFFSET_MAX));
    }
}
