//! Readings of many keys, each of which has an answer of its own: one that cannot be read fails no other.
//!
//! Keys are read together, because a round trip costs more than a key. If their answers together are longer than one call may read,
//! each half is read again, until the key is found that is too long alone. It then rests for a while.

use super::answers::{WRONG_TYPE, fields};
use super::link::{CallFailure, RegistryLink};
use crate::clock::Moment;
use crate::health::finding::Cause;
use crate::job::segments::{HashField, SegmentKey};
use crate::net::redis::key_answer::KeyAnswer;
use ::redis::cmd;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Keys read in one round trip.
const TOGETHER_MAX: usize = 64;
/// Calls of one reading that may be too long. The keys that have no answer then are asked for again.
const TOO_LONG_MAX: usize = 6;
/// A key that is too long alone is not read again for this time: each attempt transfers as much as a call may read.
const REST: Duration = Duration::from_secs(30);
/// Keys that rest. Over it, further ones are read each time.
const RESTING_MAX: usize = 1_024;

/// The outcome for one key.
#[derive(Clone, Debug)]
pub(super) enum KeyReading {
    /// All fields; none if there is no such key.
    Fields(Vec<HashField>),
    /// Its server works, but this key is too long, or is no hash. It says nothing about other keys.
    Unreadable,
    /// Its server does not answer, or not now.
    Failed(Cause),
}

/// The answer to a key that was asked for together with others.
#[derive(Clone, Debug)]
pub(super) enum KeyOutcome {
    Known(KeyReading),
    /// The answers together were too long.
    TooLong,
}

/// The keys that a server's failure says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureScope {
    /// All: there is one server.
    All,
    /// Those of a master. It is let rest, so the others can be asked.
    Master,
}

/// Decides which keys are read together, and knows which are too long.
#[derive(Debug, Default)]
pub(super) struct KeyReader {
    /// Keys that are too long, until when they rest.
    resting: BTreeMap<Arc<str>, Moment>,
}

impl KeyReader {
    /// Has keys read, some at a time, and answers in their order.
    pub(super) fn read(
        &mut self,
        keys: &[SegmentKey],
        scope: FailureScope,
        now: Moment,
        mut ask: impl FnMut(&[(usize, &SegmentKey)]) -> Vec<KeyOutcome>,
    ) -> Vec<KeyReading> {
        self.resting.retain(|_, until| *until > now);
        let mut found = vec![KeyReading::Unreadable; keys.len()];
        let keys: Vec<(usize, &SegmentKey)> =
            keys.iter().enumerate().filter(|(_, key)| !self.resting.contains_key(&key.key)).collect();
        let mut waiting: Vec<&[(usize, &SegmentKey)]> = keys.chunks(TOGETHER_MAX).rev().collect();
        let mut attempts = TOO_LONG_MAX;
        while let Some(together) = waiting.pop() {
            let (mut failure, mut is_too_long) = (None, false);
            for ((place, _), outcome) in together.iter().zip(ask(together)) {
                match outcome {
                    KeyOutcome::TooLong => is_too_long = true,
                    KeyOutcome::Known(reading) => {
                        if let (KeyReading::Failed(cause), FailureScope::All) = (&reading, scope) {
                            failure = Some(cause.clone());
                        }
                        put(&mut found, *place, reading);
                    }
                }
            }
            if let Some(cause) = failure {
                for (place, _) in waiting.drain(..).flatten() {
                    put(&mut found, *place, KeyReading::Failed(cause.clone()));
                }
            }
            match together {
                [(_, key)] if is_too_long => self.rest(key, now),
                [_, _, ..] if is_too_long && attempts > 0 => {
                    attempts -= 1;
                    let (first, second) = together.split_at(together.len() / 2);
                    waiting.extend([second, first]);
                }
                _ => {}
            }
        }
        found
    }

    /// Notes that a key is too long alone.
    fn rest(&mut self, key: &SegmentKey, now: Moment) {
        let hint = "it has too many members, or too long ones";
        tracing::warn!(key = %key.key, hint, "hash too long to be read");
        if self.resting.len() < RESTING_MAX {
            self.resting.insert(Arc::clone(&key.key), now + REST);
        }
    }
}

/// Reads keys in one round trip for each master.
pub(super) fn read_together(link: &mut RegistryLink, keys: &[(usize, &SegmentKey)]) -> Vec<KeyOutcome> {
    let command = |key: &SegmentKey| (key.partition, cmd("HGETALL").arg(&*key.key).take());
    let answers = link.call_each(keys.iter().map(|(_, key)| command(key)).collect());
    let outcome = |answer| match answer {
        Ok(answer) => KeyOutcome::Known(reading(link, answer)),
        Err(CallFailure::TooLong(_)) => KeyOutcome::TooLong,
        Err(CallFailure::Failed(cause)) => KeyOutcome::Known(KeyReading::Failed(cause)),
    };
    answers.into_iter().map(outcome).collect()
}

fn reading(link: &RegistryLink, answer: KeyAnswer) -> KeyReading {
    match answer {
        Err(error) if error.code() == WRONG_TYPE => {
            tracing::debug!("a key is no hash, so it is not read");
            KeyReading::Unreadable
        }
        answer => match fields(Some(answer)) {
            Ok(fields) => KeyReading::Fields(fields),
            Err(trouble) => KeyReading::Failed(link.cause(trouble)),
        },
    }
}

fn put(found: &mut [KeyReading], place: usize, reading: KeyReading) {
    if let Some(found) = found.get_mut(place) {
        *found = reading;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::finding::Fault;
    use crate::wire::slot::Partition;

    /// A server whose keys have these lengths, of which a call takes 100.
    struct Server {
        lengths: Vec<usize>,
        calls: usize,
        is_down: bool,
    }

    impl Server {
        fn new(lengths: Vec<usize>) -> Server {
            Server { lengths, calls: 0, is_down: false }
        }

        /// The places of the keys that are read.
        fn read(&mut self, reader: &mut KeyReader, scope: FailureScope, now: u64) -> Vec<usize> {
            let key = |place| SegmentKey { key: Arc::from(format!("{place}")), partition: Partition::FIRST };
            let keys: Vec<SegmentKey> = (0..self.lengths.len()).map(key).collect();
            let now = Moment::from_micros(now * 1_000_000);
            let found = reader.read(&keys, scope, now, |together| self.answer(together));
            assert_eq!(found.len(), keys.len());
            let is_read = |(place, reading)| matches!(reading, KeyReading::Fields(_)).then_some(place);
            found.into_iter().enumerate().filter_map(is_read).collect()
        }

        fn answer(&mut self, together: &[(usize, &SegmentKey)]) -> Vec<KeyOutcome> {
            self.calls += 1;
            let down = Cause { fault: Fault::Timeout, text: "no answer".into(), look_at: "" };
            let length: usize = together.iter().map(|(place, _)| self.lengths[*place]).sum();
            let outcome = match (self.is_down, length > 100) {
                (true, _) => KeyOutcome::Known(KeyReading::Failed(down)),
                (false, true) => KeyOutcome::TooLong,
                (false, false) => KeyOutcome::Known(KeyReading::Fields(Vec::new())),
            };
            vec![outcome; together.len()]
        }
    }

    #[test]
    fn key_that_is_too_long_fails_no_other_and_rests() {
        let (mut reader, mut server) = (KeyReader::default(), Server::new(vec![1; 150]));
        server.lengths[70] = 200;
        let others: Vec<usize> = (0..150).filter(|place| *place != 70).collect();
        assert_eq!(server.read(&mut reader, FailureScope::All, 1), others);
        server.calls = 0;
        assert_eq!(server.read(&mut reader, FailureScope::All, 30), others);
        assert_eq!(server.calls, 3, "it is not asked for");
        server.lengths[70] = 1;
        assert_eq!(server.read(&mut reader, FailureScope::All, 31).len(), 150);
    }

    #[test]
    fn keys_that_are_too_long_together_are_read_in_parts() {
        let (mut reader, mut server) = (KeyReader::default(), Server::new(vec![10; 40]));
        assert_eq!(server.read(&mut reader, FailureScope::All, 1).len(), 40);
        assert!(reader.resting.is_empty());
    }

    #[test]
    fn reading_with_many_long_keys_ends_and_goes_on_the_next_time() {
        let (mut reader, mut server) = (KeyReader::default(), Server::new(vec![200; 64]));
        for turn in 1..=64 {
            server.calls = 0;
            server.read(&mut reader, FailureScope::All, 1);
            assert!(server.calls <= 2 * TOO_LONG_MAX + 1, "{} calls", server.calls);
            assert!(reader.resting.len() >= turn.min(64), "{} after {turn}", reader.resting.len());
        }
    }

    #[test]
    fn server_that_fails_is_asked_once_and_another_master_again() {
        for (scope, calls) in [(FailureScope::All, 1), (FailureScope::Master, 3)] {
            let (mut reader, mut server) = (KeyReader::default(), Server::new(vec![1; 150]));
            server.is_down = true;
            assert_eq!((server.read(&mut reader, scope, 1), server.calls), (vec![], calls), "{scope:?}");
        }
    }
}
