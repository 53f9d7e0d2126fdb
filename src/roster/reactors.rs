//! A set of reactors.

use crate::id::ReactorId;
use crate::limits::REACTORS_MAX;

const WORDS: usize = REACTORS_MAX / 64;

/// A set of reactors, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReactorSet([u64; WORDS]);

impl ReactorSet {
    pub fn insert(&mut self, reactor: ReactorId) {
        if let Some((word, bit)) = self.place(reactor) {
            *word |= bit;
        }
    }

    pub fn remove(&mut self, reactor: ReactorId) {
        if let Some((word, bit)) = self.place(reactor) {
            *word &= !bit;
        }
    }

    pub fn contains(&self, reactor: ReactorId) -> bool {
        let word = self.0.get(usize::from(reactor.0) / 64);
        word.is_some_and(|word| word >> (reactor.0 % 64) & 1 == 1)
    }

    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    fn place(&mut self, reactor: ReactorId) -> Option<(&mut u64, u64)> {
        self.0.get_mut(usize::from(reactor.0) / 64).map(|word| (word, 1 << (reactor.0 % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_holds_what_was_inserted_and_not_removed() {
        let mut set = ReactorSet::default();
        for reactor in [0, 63, 64, 255] {
            set.insert(ReactorId(reactor));
        }
        set.insert(ReactorId(256));
        set.remove(ReactorId(63));
        let there: Vec<u16> = (0..300).filter(|reactor| set.contains(ReactorId(*reactor))).collect();
        assert_eq!(there, [0, 64, 255]);
        for reactor in [0, 64, 255] {
            set.remove(ReactorId(reactor));
        }
        assert!(set.is_empty());
    }
}
