//! Messages that could not be stored at once: each counts once, however often its client tries.
//!
//! Only failures are kept, so a message that is stored at its first try costs one look at an empty table. A message with a key has
//! [`STORED_WITHIN`] from its first failure. After that it is bad, and is remembered for a while, so that a later success is not
//! another message.

use super::part::{BadCause, Exclusion, SloOutcome};
use crate::clock::Moment;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

/// A message that is not stored by then, counted from its first failure, is bad.
pub const STORED_WITHIN: Duration = Duration::from_secs(30);
/// How long a bad message is remembered, from its first failure.
pub const REMEMBERED: Duration = Duration::from_secs(900);
/// The most messages that are remembered, in about one megabyte. More are bad at their first failure.
pub const MESSAGES_MAX: usize = 57_344;

const BAD: SloOutcome = SloOutcome::Bad(BadCause::NotStored);

/// The answer to a `publish`, as far as the message is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageAnswer {
    /// This try stored it.
    Stored,
    /// An earlier try stored it.
    StoredBefore,
    /// It may be stored by another try.
    Failed,
    /// It can never be stored, by the client's fault or a bound of its user.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageState {
    /// It may become good.
    Waits,
    /// It was counted as bad.
    Counted,
}

#[derive(Clone, Copy, Debug)]
struct FailedMessage {
    /// The first failure, in whole seconds of the monotonic clock.
    failed_s: u32,
    state: MessageState,
}

/// The messages of one reactor that failed and may still be tried again.
#[derive(Debug)]
pub struct FailedMessages<S> {
    /// By the hash of channel, user and key.
    by_hash: HashMap<u64, FailedMessage, S>,
    /// Messages that found the table full.
    full: u64,
}

impl<S: BuildHasher> FailedMessages<S> {
    /// An empty table, which owns no memory.
    pub fn new(hasher: S) -> FailedMessages<S> {
        FailedMessages { by_hash: HashMap::with_hasher(hasher), full: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Messages so far that found the table full.
    pub fn full(&self) -> u64 {
        self.full
    }

    /// The hash of a message.
    pub fn hash(&self, channel: &str, user: &str, key: &str) -> u64 {
        self.by_hash.hasher().hash_one((channel, user, key))
    }

    /// Takes an answer, and returns what the message counts as, if that is decided now and was not before. `hash` is `None` for a
    /// message without a key: a later try looks like another message.
    pub fn answered(&mut self, answer: MessageAnswer, hash: Option<u64>, now: Moment) -> Option<SloOutcome> {
        let known = hash.and_then(|hash| self.by_hash.get(&hash).copied());
        match (answer, known) {
            (MessageAnswer::Refused, _) => Some(SloOutcome::Excluded(Exclusion::Client)),
            (MessageAnswer::Stored, None) => Some(SloOutcome::Good),
            (MessageAnswer::StoredBefore, None) => None,
            (MessageAnswer::Stored | MessageAnswer::StoredBefore, Some(message)) => {
                self.stored(hash, message, now)
            }
            (MessageAnswer::Failed, Some(_)) => None,
            (MessageAnswer::Failed, None) => self.failed(hash, now),
        }
    }

    fn stored(&mut self, hash: Option<u64>, message: FailedMessage, now: Moment) -> Option<SloOutcome> {
        match message.state {
            MessageState::Counted => None,
            MessageState::Waits if since(message, now) <= STORED_WITHIN => {
                self.by_hash.remove(&hash?);
                Some(SloOutcome::Good)
            }
            MessageState::Waits => {
                let message = FailedMessage { state: MessageState::Counted, ..message };
                self.by_hash.insert(hash?, message);
                Some(BAD)
            }
        }
    }

    fn failed(&mut self, hash: Option<u64>, now: Moment) -> Option<SloOutcome> {
        let Some(hash) = hash else { return Some(BAD) };
        if self.by_hash.len() >= MESSAGES_MAX {
            self.full += 1;
            return Some(BAD);
        }
        let failed_s = u32::try_from(now.micros() / 1_000_000).unwrap_or(u32::MAX);
        self.by_hash.insert(hash, FailedMessage { failed_s, state: MessageState::Waits });
        None
    }

    /// Counts the messages that have become bad, and forgets old ones. It looks at all of them; call it about once a second.
    pub fn expire(&mut self, now: Moment) -> u64 {
        let mut bad = 0;
        self.by_hash.retain(|_, message| {
            let age = since(*message, now);
            if message.state == MessageState::Waits && age > STORED_WITHIN {
                message.state = MessageState::Counted;
                bad += 1;
            }
            age <= REMEMBERED
        });
        if self.by_hash.is_empty() {
            self.by_hash.shrink_to_fit();
        }
        bad
    }
}

/// The time since the first failure, in whole seconds.
fn since(message: FailedMessage, now: Moment) -> Duration {
    Duration::from_secs((now.micros() / 1_000_000).saturating_sub(message.failed_s.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::hash::RandomState;

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    fn table() -> FailedMessages<RandomState> {
        FailedMessages::new(RandomState::new())
    }

    #[test]
    fn message_without_a_key_counts_with_each_try() {
        let mut table = table();
        assert_eq!(table.answered(MessageAnswer::Stored, None, at(1)), Some(SloOutcome::Good));
        assert_eq!(table.answered(MessageAnswer::Failed, None, at(1)), Some(BAD));
        let refused = Some(SloOutcome::Excluded(Exclusion::Client));
        assert_eq!(table.answered(MessageAnswer::Refused, None, at(1)), refused);
        assert!(table.is_empty());
    }

    #[test]
    fn late_success_is_not_another_message() {
        let mut table = table();
        assert_eq!(table.answered(MessageAnswer::Failed, Some(7), at(100)), None);
        assert_eq!(table.expire(at(130)), 0);
        assert_eq!(table.expire(at(131)), 1);
        assert_eq!(table.expire(at(132)), 0);
        assert_eq!(table.answered(MessageAnswer::Stored, Some(7), at(500)), None);
        table.expire(at(1_001));
        assert!(table.is_empty() && table.by_hash.capacity() == 0, "memory is released");
    }

    #[test]
    fn full_table_counts_messages_at_their_first_failure() {
        let mut table = table();
        for hash in 0..MESSAGES_MAX as u64 {
            assert_eq!(table.answered(MessageAnswer::Failed, Some(hash), at(1)), None);
        }
        assert_eq!(table.answered(MessageAnswer::Failed, Some(u64::MAX), at(1)), Some(BAD));
        assert_eq!((table.full(), table.by_hash.len()), (1, MESSAGES_MAX));
        assert_eq!(table.answered(MessageAnswer::Stored, Some(0), at(2)), Some(SloOutcome::Good));
    }

    /// A try of one of a few messages, some seconds after the one before.
    fn tries() -> impl Strategy<Value = Vec<(u64, u64, MessageAnswer)>> {
        let answer = prop_oneof![Just(MessageAnswer::Failed), Just(MessageAnswer::Stored)];
        proptest::collection::vec((0..20u64, 0..4u64, answer), 0..60)
    }

    proptest! {
        /// The reference keeps every try, and judges each message at the end.
        #[test]
        fn message_counts_once_however_often_it_is_tried(tries in tries()) {
            let mut table = table();
            let (mut now, mut good, mut bad) = (1_000, 0, 0);
            let mut by_message: BTreeMap<u64, Vec<(u64, MessageAnswer)>> = BTreeMap::new();
            for (pause, hash, answer) in tries {
                now += pause;
                bad += table.expire(at(now));
                let kept = by_message.entry(hash).or_default();
                // A client does not send what it knows to be stored.
                if kept.last().is_some_and(|(_, last)| *last == MessageAnswer::Stored) {
                    continue;
                }
                kept.push((now, answer));
                match table.answered(answer, Some(hash), at(now)) {
                    Some(SloOutcome::Good) => good += 1,
                    Some(SloOutcome::Bad(_)) => bad += 1,
                    Some(SloOutcome::Excluded(_)) | None => {}
                }
            }
            // Within the time in which bad messages are remembered.
            bad += table.expire(at(now + 31));
            let is_good = |tries: &Vec<(u64, MessageAnswer)>| {
                let (first, _) = tries[0];
                tries.iter().any(|(at, answer)| *answer == MessageAnswer::Stored && at - first <= 30)
            };
            let wanted = by_message.values().filter(|tries| is_good(tries)).count();
            prop_assert_eq!(good, wanted);
            prop_assert_eq!(bad as usize, by_message.len() - wanted);
        }
    }
}
