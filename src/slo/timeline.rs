//! Rows by time, in one piece of memory: most are added at the end and leave at the beginning.
//!
//! A B-tree that grows at its end keeps its nodes little more than half full.

use std::collections::VecDeque;
use std::ops::Range;

/// Rows in the order of their times.
#[derive(Clone, Debug)]
pub struct Timeline<T> {
    rows: VecDeque<(u64, T)>,
}

impl<T> Timeline<T> {
    /// Has memory for this many rows.
    pub fn with_capacity(rows: usize) -> Timeline<T> {
        Timeline { rows: VecDeque::with_capacity(rows) }
    }

    /// True exactly if there is a row of this time.
    pub fn has(&self, at: u64) -> bool {
        self.place(at).is_ok()
    }

    /// The row of a time, which is added if there is none.
    pub fn row(&mut self, at: u64) -> Option<&mut T>
    where
        T: Default,
    {
        let place = self.place(at).unwrap_or_else(|place| {
            self.rows.insert(place, (at, T::default()));
            place
        });
        self.rows.get_mut(place).map(|(_, row)| row)
    }

    /// Removes all rows before a time, and returns them.
    pub fn take_before(&mut self, at: u64) -> impl Iterator<Item = (u64, T)> + '_ {
        let end = self.place(at).unwrap_or_else(|place| place);
        self.rows.drain(..end)
    }

    /// The rows of these times.
    pub fn range(&self, span: Range<u64>) -> impl Iterator<Item = (u64, &T)> {
        let [from, until] = [span.start, span.end].map(|at| self.place(at).unwrap_or_else(|place| place));
        self.rows.range(from..until.max(from)).map(|(at, row)| (*at, row))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.rows.iter().map(|(at, row)| (*at, row))
    }

    /// The memory of the rows, with room for more.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<(u64, T)>()
    }

    fn place(&self, at: u64) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&at, |(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_whatever_order_they_came_in() {
        let mut rows = Timeline::with_capacity(4);
        for at in [5, 9, 7, 5, 6] {
            *rows.row(at).expect("a row") += 1;
        }
        assert_eq!(
            rows.iter().map(|(at, row)| (at, *row)).collect::<Vec<_>>(),
            [(5, 2), (6, 1), (7, 1), (9, 1)]
        );
        assert!(rows.has(7) && !rows.has(8));
        assert_eq!(rows.range(6..9).map(|(at, _)| at).collect::<Vec<_>>(), [6, 7]);
        assert_eq!(rows.range(8..8).count() + rows.range(10..20).count(), 0);
        assert_eq!(rows.take_before(7).map(|(at, _)| at).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(rows.iter().map(|(at, _)| at).collect::<Vec<_>>(), [7, 9]);
    }
}
