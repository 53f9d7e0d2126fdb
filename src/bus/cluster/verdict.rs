//! The words for the watch thread about the whole bus: it works, a part fails, or all of it does. Pure.

use crate::health::finding::{Cause, Evidence, Finding};
use std::time::{Duration, Instant};

/// The time after which evidence of a lasting state is repeated: it may have been dropped.
const REPEAT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    Works,
    WorksInPart,
    Fails,
}

/// The last word.
#[derive(Debug)]
pub(super) struct WholeVerdict {
    last: Whole,
    said: Instant,
}

impl WholeVerdict {
    pub(super) fn new(now: Instant) -> WholeVerdict {
        WholeVerdict { last: Whole::Works, said: now }
    }

    /// The evidence to report for this verdict.
    pub(super) fn evidence(&mut self, verdict: Result<Option<Cause>, Cause>, now: Instant) -> Vec<Evidence> {
        let whole = match &verdict {
            Ok(None) => Whole::Works,
            Ok(Some(_)) => Whole::WorksInPart,
            Err(_) => Whole::Fails,
        };
        let before = self.last;
        if whole == before && now.saturating_duration_since(self.said) < REPEAT {
            return Vec::new();
        }
        (self.last, self.said) = (whole, now);
        let connection = |result| Evidence::Connection(Finding { latency: Duration::ZERO, result });
        match verdict {
            Err(cause) if before == Whole::Fails => {
                // Probes know it.
                drop(cause);
                Vec::new()
            }
            Err(cause) => vec![connection(Err(cause))],
            Ok(part) if before == Whole::Fails => vec![connection(Ok(None)), Evidence::Part(part)],
            Ok(part) => vec![Evidence::Part(part)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::finding::Fault;

    fn cause() -> Cause {
        Cause::new(Fault::Delivery, "silent", "")
    }

    #[test]
    fn change_is_reported_at_once_and_a_lasting_state_repeated() {
        #[allow(clippy::disallowed_methods, reason = "a test reads the clock")]
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let mut whole = WholeVerdict::new(begun);
        assert!(whole.evidence(Ok(None), at(100)).is_empty());
        assert!(matches!(whole.evidence(Ok(Some(cause())), at(200))[..], [Evidence::Part(Some(_))]));
        assert!(whole.evidence(Ok(Some(cause())), at(5_100)).is_empty());
        assert!(matches!(whole.evidence(Ok(Some(cause())), at(5_200))[..], [Evidence::Part(Some(_))]));
        let fails = whole.evidence(Err(cause()), at(5_300));
        assert!(matches!(fails[..], [Evidence::Connection(Finding { result: Err(_), .. })]));
        let works = whole.evidence(Ok(None), at(5_400));
        let [Evidence::Connection(Finding { result: Ok(None), .. }), Evidence::Part(None)] = works[..] else {
            panic!("{works:?}")
        };
    }
}
