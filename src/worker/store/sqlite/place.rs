//! A publication's place in the table: channel and offset packed into one integer.
//!
//! SQLite stores a table in the order of its integer key. With the channel in the high bits and the offset in
//! the low ones, one tree is both the table and its index, a page of a channel is one range, and a large
//! publication keeps its bytes out of the inner nodes (which a table without such a key would put there).

use crate::id::Offset;

/// Bits of the offset: 5·10¹¹ publications, eight hundred years of twenty a second.
const OFFSET_BITS: u32 = 39;
/// Files hold packed places and migrations compute with them: the split is part of the format.
const _: () = assert!(OFFSET_BITS == 39);
/// The largest offset a channel can reach.
const OFFSET_MAX: u64 = (1 << OFFSET_BITS) - 1;
/// Channels one store can hold: what is left of 63 bits.
pub(crate) const CHANNELS_MAX: u64 = (1 << (63 - OFFSET_BITS)) - 1;

/// The number of a channel in this store: 1 … [`CHANNELS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChannelId(pub(crate) i64);

/// The key of a publication's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) i64);

impl Place {
    /// The place of an offset in a channel. An offset out of range is clamped: it then names the end of the
    /// channel's range and never a place in another channel.
    pub(crate) fn of(channel: ChannelId, offset: Offset) -> Place {
        Place((channel.0 << OFFSET_BITS) | integer(offset.0.min(OFFSET_MAX)))
    }

    /// The offset in its channel.
    pub(crate) fn offset(self) -> Offset {
        Offset(natural(self.0) & OFFSET_MAX)
    }
}

/// An unsigned number as SQLite keeps it. Offsets and times stay far below the bound.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that SQLite kept for us; it is never negative.
pub(crate) fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_by_channel_then_offset_and_give_the_offset_back() {
        let last = ChannelId(integer(CHANNELS_MAX));
        let places = [
            Place::of(ChannelId(1), Offset(0)),
            Place::of(ChannelId(1), Offset(1)),
            Place::of(ChannelId(1), Offset(u64::MAX)),
            Place::of(ChannelId(2), Offset(0)),
            Place::of(last, Offset(OFFSET_MAX)),
        ];
        assert!(places.is_sorted() && places[0].0 > 0 && places[4].0 == i64::MAX);
        assert_eq!(places[1].offset(), Offset(1));
        assert_eq!(places[4].offset(), Offset(OFFSET_MAX));
    }
}
