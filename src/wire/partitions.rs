//! A set of partitions, and its text in a lease.

use super::slot::{PARTITIONS, Partition};

/// The letter before the text of a set. In capitals, like the digits, because small letters are flags of a lease.
const LETTER: char = 'X';
/// Hexadecimal digits of the text. A lease has no room for a digit for every four partitions.
const DIGITS: usize = 16;
/// Partitions for which one bit of the text is.
const PARTITIONS_PER_BIT: u16 = PARTITIONS / (4 * DIGITS as u16);

/// A set of partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionSet([u64; (PARTITIONS / 64) as usize]);

impl PartitionSet {
    pub const EMPTY: PartitionSet = PartitionSet([0; (PARTITIONS / 64) as usize]);
    pub const ALL: PartitionSet = PartitionSet([u64::MAX; (PARTITIONS / 64) as usize]);

    pub fn insert(&mut self, partition: Partition) {
        let index = usize::from(partition.index());
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    pub fn contains(self, partition: Partition) -> bool {
        let index = usize::from(partition.index());
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    pub fn is_empty(self) -> bool {
        self == PartitionSet::EMPTY
    }

    /// The partitions of either.
    pub fn union(self, other: PartitionSet) -> PartitionSet {
        PartitionSet(std::array::from_fn(|place| self.0[place] | other.0[place]))
    }

    /// The partitions of both.
    pub fn intersection(self, other: PartitionSet) -> PartitionSet {
        PartitionSet(std::array::from_fn(|place| self.0[place] & other.0[place]))
    }

    /// The partitions of this set that the other one has not.
    pub fn without(self, other: PartitionSet) -> PartitionSet {
        PartitionSet(std::array::from_fn(|place| self.0[place] & !other.0[place]))
    }

    /// The partitions, in order.
    pub fn iter(self) -> impl Iterator<Item = Partition> {
        Partition::all().filter(move |partition| self.contains(*partition))
    }

    /// `X` and 16 hexadecimal digits, with a bit for every four partitions; nothing for the empty set. So it may name up to three
    /// neighbours too many on each side of a range.
    pub fn text(self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let bits = self.iter().fold(0_u64, |bits, each| bits | 1 << (each.index() / PARTITIONS_PER_BIT));
        format!("{LETTER}{bits:0DIGITS$X}")
    }

    /// Finds the text of a set among flags. Without one, or with one that is not understood, the set is empty.
    pub fn find(flags: &str) -> PartitionSet {
        let digits = flags.split_once(LETTER).and_then(|(_, rest)| rest.get(..DIGITS));
        let bits = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
        let is_named = |partition: &Partition| bits >> (partition.index() / PARTITIONS_PER_BIT) & 1 == 1;
        Partition::all().filter(is_named).collect()
    }
}

impl From<Partition> for PartitionSet {
    fn from(partition: Partition) -> PartitionSet {
        PartitionSet::from_iter([partition])
    }
}

impl FromIterator<Partition> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = Partition>>(partitions: I) -> PartitionSet {
        let mut set = PartitionSet::EMPTY;
        partitions.into_iter().for_each(|partition| set.insert(partition));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: usize, count: usize) -> PartitionSet {
        Partition::all().skip(first).take(count).collect()
    }

    #[test]
    fn set_has_the_partitions_that_were_inserted() {
        assert!(PartitionSet::EMPTY.is_empty() && range(0, 0).is_empty());
        assert_eq!((range(0, 256), PartitionSet::ALL.iter().count()), (PartitionSet::ALL, 256));
        let (low, high) = (range(60, 10), range(65, 100));
        assert_eq!(low.iter().map(Partition::index).collect::<Vec<_>>(), (60..70).collect::<Vec<_>>());
        assert_eq!(low.union(high), range(60, 105));
        assert_eq!(low.intersection(high), range(65, 5));
        assert_eq!(low.without(high), range(60, 5));
    }

    #[test]
    fn text_names_all_partitions_and_few_neighbours() {
        assert_eq!((PartitionSet::EMPTY.text(), range(0, 1).text()), ("".into(), "X0000000000000001".into()));
        for (first, count) in [(0, 256), (0, 1), (255, 1), (85, 86), (171, 85), (3, 2)] {
            let (set, text) = (range(first, count), range(first, count).text());
            let found = PartitionSet::find(&format!("-up{text}"));
            assert!(set.without(found).is_empty() && found.without(set).iter().count() <= 6, "{text}");
            assert!(text.len() == 17 && !text.contains(|letter: char| letter.is_ascii_lowercase()), "{text}");
        }
        for strange in ["", "-up", "-X", "-X00000000000000", "-X000000000000000g", "-Xüüüüüüüüü"] {
            assert_eq!(PartitionSet::find(strange), PartitionSet::EMPTY, "{strange}");
        }
    }
}
