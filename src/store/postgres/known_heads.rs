//! The newest offsets that this process has acknowledged, by which a log that went back is recognised.
//!
//! A failover or a restore may lose publications that were acknowledged. The log then gives their offsets to others, and clients
//! that were ahead never hear of those. A new publication with an offset that was acknowledged before is proof of it.

use crate::id::{ChannelName, Offset};
use std::collections::HashMap;

/// The bound on the channels of a generation. The channels that were published to last are known, at least this many.
const CHANNELS_MAX: usize = 8_192;

type Heads = HashMap<ChannelName, Offset, ahash::RandomState>;

/// The known heads of the channels that one worker serves, in two generations.
#[derive(Debug, Default)]
pub(super) struct KnownHeads {
    recent: Heads,
    before: Heads,
}

impl KnownHeads {
    /// Notes the offset of a new publication. An error if the channel had it before, with the offset that was known.
    pub(super) fn advance(&mut self, channel: &ChannelName, offset: Offset) -> Result<(), Offset> {
        if let Some(head) = self.recent.get_mut(channel) {
            if offset <= *head {
                return Err(*head);
            }
            *head = offset;
            return Ok(());
        }
        match self.before.get(channel) {
            Some(head) if offset <= *head => return Err(*head),
            Some(_) | None => {}
        }
        if self.recent.len() >= CHANNELS_MAX {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(channel.clone(), offset);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> ChannelName {
        ChannelName::parse(&format!("c{number}")).expect("a channel name")
    }

    #[test]
    fn offset_that_was_known_is_an_error_and_a_gap_is_not() {
        let mut heads = KnownHeads::default();
        for offset in [3, 4, 9] {
            assert_eq!(heads.advance(&name(1), Offset(offset)), Ok(()));
        }
        assert_eq!(heads.advance(&name(1), Offset(9)), Err(Offset(9)));
        assert_eq!(heads.advance(&name(1), Offset(5)), Err(Offset(9)));
        assert_eq!(heads.advance(&name(2), Offset(1)), Ok(()));
    }

    #[test]
    fn channels_used_last_are_known_and_their_number_is_bounded() {
        let mut heads = KnownHeads::default();
        for number in 0..CHANNELS_MAX * 3 {
            assert_eq!(heads.advance(&name(number), Offset(7)), Ok(()));
        }
        assert!(heads.recent.len() + heads.before.len() <= CHANNELS_MAX * 2);
        let oldest_known = CHANNELS_MAX * 2;
        assert_eq!(heads.advance(&name(oldest_known), Offset(7)), Err(Offset(7)));
        assert_eq!(heads.advance(&name(0), Offset(7)), Ok(()), "too long ago");
    }
}
