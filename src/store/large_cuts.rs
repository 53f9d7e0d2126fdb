//! Reports slices of retention by age that deleted a large part of a channel: evidence of a wrong clock or a wrong setting.

use crate::id::ChannelName;
use std::time::{Duration, Instant};

/// A slice that deletes more than this part of a channel is reported: one in ten.
const PART: u64 = 10;
/// At most one line in this time, because idle channels expire all the time.
const PERIOD: Duration = Duration::from_secs(60);

/// Large cuts since the last line.
#[derive(Debug, Default)]
pub(crate) struct LargeCuts {
    slices: u64,
    publications: u64,
    /// The channel of the largest cut, and the number deleted there.
    largest: Option<(ChannelName, u64)>,
    logged: Option<Instant>,
}

impl LargeCuts {
    /// Notes that a slice deleted `removed` of the `held` publications of a channel.
    pub(crate) fn note(&mut self, channel: &ChannelName, held: u64, removed: u64) {
        if removed.saturating_mul(PART) <= held || removed == 0 {
            return;
        }
        self.slices += 1;
        self.publications += removed;
        if self.largest.as_ref().is_none_or(|(_, most)| removed > *most) {
            self.largest = Some((channel.clone(), removed));
        }
    }

    /// Logs what was noted, if the last line is old enough.
    pub(crate) fn log(&mut self, now: Instant) {
        if let Some((channel, removed)) = self.take(now) {
            tracing::info!(
                slices = self.slices,
                publications = self.publications,
                %channel,
                removed,
                "retention cut channels by a tenth"
            );
            (self.slices, self.publications) = (0, 0);
        }
    }

    fn take(&mut self, now: Instant) -> Option<(ChannelName, u64)> {
        if self.logged.is_some_and(|logged| now.saturating_duration_since(logged) < PERIOD) {
            return None;
        }
        let largest = self.largest.take()?;
        self.logged = Some(now);
        Some(largest)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for the times of the tests")]
mod tests {
    use super::*;

    #[test]
    fn cuts_over_a_tenth_are_reported_at_most_once_a_minute() {
        let name = |text| ChannelName::parse(text).expect("a name");
        let origin = Instant::now();
        let mut cuts = LargeCuts::default();
        cuts.note(&name("small"), 100, 10);
        assert_eq!(cuts.take(origin), None);
        cuts.note(&name("a"), 100, 11);
        cuts.note(&name("b"), 100, 90);
        assert_eq!(cuts.take(origin), Some((name("b"), 90)));
        cuts.note(&name("c"), 1, 1);
        assert_eq!(cuts.take(origin + Duration::from_secs(59)), None);
        assert_eq!(cuts.take(origin + PERIOD), Some((name("c"), 1)));
        assert_eq!((cuts.slices, cuts.publications), (3, 102));
    }
}
