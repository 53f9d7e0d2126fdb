//! What one subscriber has of one channel: each offset once, in order, without gaps.

/// What a publication is to a subscriber that has some already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one.
    Next,
    /// So many before it are missing.
    Gap(u64),
    /// It was missing, and comes after a later one.
    Late,
    /// It came before.
    Again,
}

/// A subscriber's position.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    last: u64,
    missing: Vec<u64>,
}

impl Cursor {
    /// A subscriber who wants what comes after `head`.
    pub(crate) fn after(head: u64) -> Cursor {
        Cursor { last: head, missing: Vec::new() }
    }

    /// Takes a publication.
    pub(crate) fn take(&mut self, offset: u64) -> Arrival {
        if offset > self.last {
            let gap = offset - self.last - 1;
            self.missing.extend(self.last + 1..offset);
            self.last = offset;
            return if gap == 0 { Arrival::Next } else { Arrival::Gap(gap) };
        }
        match self.missing.iter().position(|missing| *missing == offset) {
            Some(at) => {
                self.missing.swap_remove(at);
                Arrival::Late
            }
            None => Arrival::Again,
        }
    }

    /// How many are missing when the channel's head is `head`.
    pub(crate) fn lacks(&self, head: u64) -> u64 {
        self.missing.len() as u64 + head.saturating_sub(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_repeats_and_late_ones_are_told_apart() {
        let mut cursor = Cursor::after(10);
        let arrivals: Vec<_> = [11, 14, 12, 12, 15, 10].map(|offset| cursor.take(offset)).into();
        let wanted =
            [Arrival::Next, Arrival::Gap(2), Arrival::Late, Arrival::Again, Arrival::Next, Arrival::Again];
        assert_eq!(arrivals, wanted);
        assert_eq!((cursor.lacks(15), cursor.lacks(17)), (1, 3));
    }
}
