//! The suspicion that logs lost publications.
//!
//! A head below a known one proves nothing by itself. A standby that is promoted during the read may answer it with the state from before.
//! An old primary may still be up after a failover by hand. A primary with a synchronous standby hides a commit that the standby already shows.
//! So the head is read again: later, and over a connection that was dialled after the first read.

use crate::hub::Contradiction;
use crate::id::{ChannelName, Offset};
use crate::wire::push::LogPosition;
use std::time::{Duration, Instant};

/// The least time between the two reads: half a round of heads, and longer than a commit usually waits for a standby.
const CONFIRMED_AFTER: Duration = Duration::from_secs(5);
/// A suspicion that is not confirmed by then makes room for another, as when its channel has no subscribers any more: three rounds.
const KEPT: Duration = Duration::from_secs(30);

/// The suspicion of all readers of a store.
#[derive(Debug, Default)]
pub(super) struct LossSuspicion {
    suspect: Option<Suspect>,
}

/// The channel whose head was below a known one.
#[derive(Debug)]
struct Suspect {
    channel: ChannelName,
    known: Offset,
    since: Instant,
}

/// The meaning of heads that a primary answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadsVerdict {
    /// Nothing is lost as far as is known, or it is too early to say.
    Unproven,
    /// The connection is as old as the suspicion, so its server cannot confirm it.
    Redial,
    Lost(Contradiction),
}

impl LossSuspicion {
    /// Compares heads with the ones `known` before they were read, over a connection `dialled` then.
    pub(super) fn judge(
        &mut self,
        heads: &[(ChannelName, LogPosition)],
        known: &[Offset],
        dialled: Instant,
        now: Instant,
    ) -> HeadsVerdict {
        self.suspect.take_if(|suspect| now.saturating_duration_since(suspect.since) >= KEPT);
        if let Some(Suspect { channel, known, since }) = &self.suspect
            && let Some((_, position)) = heads.iter().find(|(read, _)| read == channel)
        {
            let (channel, known, found) = (channel.clone(), *known, position.head);
            let is_later = dialled > *since && now.saturating_duration_since(*since) >= CONFIRMED_AFTER;
            if found >= known {
                self.suspect = None;
            } else if is_later {
                return HeadsVerdict::Lost(Contradiction { channel, known, found });
            }
        }
        let below = heads.iter().zip(known).find(|((_, position), known)| position.head < **known);
        let Some(((channel, position), known)) = below else { return HeadsVerdict::Unproven };
        let suspect = self.suspect.get_or_insert_with(|| {
            let (known, found) = (known.0, position.head.0);
            tracing::warn!(%channel, known, found, "head below a known one; reading it again over a new connection");
            Suspect { channel: channel.clone(), known: Offset(known), since: now }
        });
        if dialled > suspect.since { HeadsVerdict::Unproven } else { HeadsVerdict::Redial }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Epoch;
    use crate::store::postgres::timing::monotonic;

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text).expect("a name")
    }

    fn judge(
        suspicion: &mut LossSuspicion,
        channel: &str,
        heads: (u64, u64),
        dialled: Instant,
        now: Instant,
    ) -> HeadsVerdict {
        let (found, known) = heads;
        let position = LogPosition { epoch: Epoch(7), head: Offset(found), floor: Offset(1) };
        suspicion.judge(&[(name(channel), position)], &[Offset(known)], dialled, now)
    }

    #[test]
    fn loss_is_proven_by_a_later_read_over_a_connection_that_is_newer() {
        let mut suspicion = LossSuspicion::default();
        let old = monotonic();
        let at = |s| old + Duration::from_secs(s);
        assert_eq!(judge(&mut suspicion, "c", (5, 5), old, at(1)), HeadsVerdict::Unproven);
        assert_eq!(judge(&mut suspicion, "c", (3, 5), old, at(2)), HeadsVerdict::Redial);
        assert_eq!(judge(&mut suspicion, "c", (3, 5), at(3), at(4)), HeadsVerdict::Unproven, "too early");
        assert_eq!(judge(&mut suspicion, "c", (3, 5), old, at(12)), HeadsVerdict::Redial, "another reader");
        assert_eq!(
            judge(&mut suspicion, "d", (3, 5), at(3), at(12)),
            HeadsVerdict::Unproven,
            "another channel"
        );
        let lost = Contradiction { channel: name("c"), known: Offset(5), found: Offset(4) };
        assert_eq!(judge(&mut suspicion, "c", (4, 6), at(3), at(12)), HeadsVerdict::Lost(lost));
    }

    #[test]
    fn head_that_is_back_clears_the_suspicion() {
        let mut suspicion = LossSuspicion::default();
        let old = monotonic();
        let at = |s| old + Duration::from_secs(s);
        assert_eq!(judge(&mut suspicion, "c", (3, 5), old, at(2)), HeadsVerdict::Redial);
        assert_eq!(judge(&mut suspicion, "c", (5, 5), at(3), at(12)), HeadsVerdict::Unproven);
        assert_eq!(
            judge(&mut suspicion, "c", (4, 5), at(3), at(22)),
            HeadsVerdict::Redial,
            "a new suspicion"
        );
    }

    #[test]
    fn suspicion_about_a_channel_that_is_not_read_again_makes_room() {
        let mut suspicion = LossSuspicion::default();
        let old = monotonic();
        let at = |s| old + Duration::from_secs(s);
        assert_eq!(judge(&mut suspicion, "c", (3, 5), old, at(2)), HeadsVerdict::Redial);
        assert_eq!(judge(&mut suspicion, "d", (3, 5), at(3), at(31)), HeadsVerdict::Unproven);
        assert_eq!(judge(&mut suspicion, "d", (3, 5), at(3), at(32)), HeadsVerdict::Redial);
        assert!(matches!(judge(&mut suspicion, "d", (3, 5), at(33), at(42)), HeadsVerdict::Lost(_)));
    }
}
