//! Silences: incidents whose keys begin alike are not sent for a while. They go on, and what still fires at the end is sent.

use super::key::AlertKey;
use serde::{Deserialize, Serialize};

/// Silences at once.
pub const SILENCES_MAX: usize = 100;
/// The longest silence, in milliseconds: a forgotten one ends within a day.
pub const SILENCE_MS_MAX: u64 = 86_400_000;
/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 200;

/// No silence is ever counted up to this number. Greater ones were made of the time, by older versions and while no row could be read.
pub const COUNTED_MAX: u64 = 1_000_000_000;

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// 1, 2, 3 … of this data folder, or the second of its begin if the rows of silences could not be read then.
    pub number: u64,
    /// The beginning of the keys; empty: all.
    pub prefix: String,
    pub from_ms: u64,
    pub until_ms: u64,
    /// For other operators.
    pub why: String,
}

/// The silences that are not over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SilenceList {
    list: Vec<Silence>,
    /// The greatest number so far.
    last: u64,
}

impl SilenceList {
    /// The next number is the one after `last`, the greatest that was ever stored.
    pub fn number_after(&mut self, last: u64) {
        self.last = last;
    }

    /// The greatest number so far; 0 if it was made of the time.
    pub fn last_counted(&self) -> u64 {
        if self.last < COUNTED_MAX { self.last } else { 0 }
    }

    /// The row that keeps the greatest number where only silences have rows; `None` while its silence is not over, and if there was none.
    pub fn number_row(&self) -> Option<Silence> {
        let number = self.last_counted();
        let is_over = self.list.iter().all(|silence| silence.number != number);
        let row = Silence { number, prefix: String::new(), from_ms: 0, until_ms: 0, why: String::new() };
        (number > 0 && is_over).then_some(row)
    }

    /// Takes stored silences as well. None lasts longer than [`SILENCE_MS_MAX`] from now: the clock may have been set back.
    pub fn merge(&mut self, stored: Vec<Silence>, now_ms: u64) {
        for mut silence in stored {
            let is_known = self.list.iter().any(|known| known.number == silence.number);
            // The row of one that is over keeps its number.
            if !is_known && silence.until_ms > 0 && self.list.len() < SILENCES_MAX {
                silence.from_ms = silence.from_ms.min(now_ms);
                silence.until_ms = silence.until_ms.min(now_ms + SILENCE_MS_MAX);
                self.list.push(silence);
            }
        }
    }

    /// Adds one; `None` if there are [`SILENCES_MAX`].
    pub fn add(&mut self, prefix: String, why: String, now_ms: u64, for_ms: u64) -> Option<&Silence> {
        if self.list.len() >= SILENCES_MAX {
            return None;
        }
        self.last += 1;
        let number = self.last;
        let until_ms = now_ms + for_ms.min(SILENCE_MS_MAX);
        self.list.push(Silence { number, prefix, from_ms: now_ms, until_ms, why });
        self.list.last()
    }

    /// Ends one; `false` if there is none of this number.
    pub fn remove(&mut self, number: u64) -> bool {
        let before = self.list.len();
        self.list.retain(|silence| silence.number != number);
        self.list.len() < before
    }

    /// Removes the silences that are over, and returns their numbers.
    pub fn expire(&mut self, now_ms: u64) -> Vec<u64> {
        let over = |silence: &Silence| silence.until_ms <= now_ms;
        let numbers =
            self.list.iter().filter(|silence| over(silence)).map(|silence| silence.number).collect();
        self.list.retain(|silence| !over(silence));
        numbers
    }

    /// True exactly if a silence covers the alert.
    pub fn cover(&self, key: &AlertKey, now_ms: u64) -> bool {
        let text = key.to_string();
        self.list.iter().any(|silence| silence.until_ms > now_ms && text.starts_with(&silence.prefix))
    }

    pub fn list(&self) -> &[Silence] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::AlertKind;
    use super::*;

    #[test]
    fn silence_covers_keys_that_begin_alike_until_its_end() {
        let mut silences = SilenceList::default();
        let number = silences.add("slo/delivery".into(), String::new(), 9_000, 1_000).expect("room").number;
        assert_eq!(number, 1, "the time is no part of it");
        silences.list[0].until_ms = 1_000;
        let burn = AlertKey::new(AlertKind::Burn, "delivery");
        assert!(silences.cover(&burn, 999) && !silences.cover(&burn, 1_000));
        assert!(!silences.cover(&AlertKey::new(AlertKind::Burn, "latency"), 0));
        assert_eq!((silences.expire(999), silences.expire(1_000)), (vec![], vec![number]));
        let row = silences.number_row().expect("it is over");
        assert_eq!((row.number, row.until_ms), (number, 0));
        let other = silences.add(String::new(), String::new(), 0, u64::MAX / 2).expect("room");
        assert_eq!((other.number, other.until_ms), (2, SILENCE_MS_MAX), "no number is used twice");
        let number = other.number;
        assert_eq!(silences.number_row(), None);
        assert!(silences.remove(number) && !silences.remove(number));
        let added = (0..=SILENCES_MAX).filter(|_| silences.add(String::new(), String::new(), 0, 1).is_some());
        assert_eq!(added.count(), SILENCES_MAX);

        let stored = silences.list()[0].clone();
        let mut restored = SilenceList::default();
        let late = Silence { from_ms: 9_000, until_ms: u64::MAX, ..stored };
        restored.number_after(200);
        restored.merge(vec![late.clone(), late, row], 1_000);
        let [silence] = restored.list() else { panic!("one silence") };
        assert_eq!((silence.from_ms, silence.until_ms), (1_000, 1_000 + SILENCE_MS_MAX));
        let next = restored.add(String::new(), String::new(), 0, 1).expect("room");
        assert_eq!(next.number, 201, "the numbers go on after a restart");
    }
}
