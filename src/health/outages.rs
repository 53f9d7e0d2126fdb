//! The outages of one dependency that are over, for operators who ask afterwards.

use super::finding::Cause;
use super::outage::{Outage, Reference};
use crate::clock::Now;
use std::collections::VecDeque;
use std::time::Duration;

/// The outages that are kept.
pub const OUTAGES_MAX: usize = 32;

/// An outage that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastOutage {
    pub reference: Reference,
    /// Unix milliseconds.
    pub since: u64,
    /// Measured without the wall clock, which may be set in between.
    pub lasted: Duration,
    /// The first cause.
    pub cause: Cause,
}

/// The newest [`OUTAGES_MAX`] outages.
#[derive(Clone, Debug, Default)]
pub struct Outages(VecDeque<PastOutage>);

impl Outages {
    /// Keeps an outage that ends now.
    pub(super) fn keep(&mut self, outage: Outage, now: Now) {
        if self.0.len() >= OUTAGES_MAX {
            self.0.pop_front();
        }
        let Outage { reference, began, cause } = outage;
        let lasted = now.at.since(began.at);
        self.0.push_back(PastOutage { reference, since: began.unix_ms, lasted, cause });
    }

    /// All of them, the newest first.
    pub fn newest_first(&self) -> impl ExactSizeIterator<Item = &PastOutage> {
        self.0.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::Draw;
    use super::super::finding::Fault;
    use super::*;
    use crate::clock::Moment;

    #[test]
    fn newest_outages_are_kept_with_their_beginning_and_duration() {
        let (mut outages, mut draw) = (Outages::default(), Draw::new(7));
        let second = |s: u64| Now { at: Moment::from_micros(s * 1_000_000), unix_ms: 1_000_000 + s * 1_000 };
        for number in 0..40 {
            let cause = Cause::new(Fault::Refused, "refused", "the port");
            let outage = Outage::begin(cause, second(number * 10), &mut draw);
            // The wall clock was set back meanwhile.
            outages.keep(outage, Now { unix_ms: 5, ..second(number * 10 + 4) });
        }
        let kept: Vec<_> = outages.newest_first().collect();
        assert_eq!(kept.len(), OUTAGES_MAX);
        assert_eq!((kept[0].since, kept[0].lasted), (1_390_000, Duration::from_secs(4)));
        assert_eq!(kept[31].since, 1_080_000);
    }
}
