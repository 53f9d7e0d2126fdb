//! One subscriber's position in one channel: it must get each offset once, in order, without gaps.

/// How a publication relates to those the subscriber already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is the next one.
    Next,
    /// This number of publications before it are missing.
    Gap(u64),
    /// It was missing, and arrived after a later one.
    Late,
    /// It is a duplicate.
    Again,
}

/// A subscriber's position.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    last: u64,
    missing: Vec<u64>,
}

impl Cursor {
    /// The position of a subscriber that expects everything after `head`.
    pub(crate) fn after(head: u64) -> Cursor {
        Cursor { last: head, missing: Vec::new() }
    }

    /// Records the publication with this offset.
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

    /// The number of publications missing if the channel's head is `head`.
    pub(crate) fn lacks(&self, head: u64) -> u64 {
        self.missing.len() as u64 + head.saturating_sub(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_duplicates_and_late_publications_are_distinguished() {
        let mut cursor = Cursor::after(10);
        let arrivals: Vec<_> = [11, 14, 12, 12, 15, 10].map(|offset| cursor.take(offset)).into();
        let wanted =
            [Arrival::Next, Arrival::Gap(2), Arrival::Late, Arrival::Again, Arrival::Next, Arrival::Again];
        assert_eq!(arrivals, wanted);
        assert_eq!((cursor.lacks(15), cursor.lacks(17)), (1, 3));
    }
}
