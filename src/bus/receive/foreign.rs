//! Canaries that no instance of this store sealed: another system uses the same prefix of channel names.
//!
//! Database numbers do not separate two systems, because Redis has one set of channels for all its databases. The seal keeps their
//! messages apart, but each reads and discards what the other sends.

use crate::wire::envelope::Origin;

/// The canaries of other systems that are reported: a few seconds of one other instance.
const REPORTED: u32 = 3;

/// The canaries of other systems since the last report.
#[derive(Debug, Default)]
pub(super) struct ForeignCanaries(u32);

impl ForeignCanaries {
    /// Notes a canary with another seal. One that this process sent was changed on its way, and then the others may have been, too.
    pub(super) fn note(&mut self, from: Origin, own: Origin) {
        self.0 = if from == own { 0 } else { self.0.saturating_add(1) };
    }

    /// Notes an own canary that came back unchanged. Returns true if others are to be reported.
    pub(super) fn own_came_back(&mut self) -> bool {
        let is_due = self.0 >= REPORTED;
        if is_due {
            self.0 = 0;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_of_another_system_are_reported_unless_own_ones_are_changed_as_well() {
        const OWN: Origin = Origin(1);
        const OTHER: Origin = Origin(2);
        let mut foreign = ForeignCanaries::default();
        assert!(!foreign.own_came_back());
        foreign.note(OTHER, OWN);
        foreign.note(OTHER, OWN);
        assert!(!foreign.own_came_back(), "a key that was just replaced");
        foreign.note(OTHER, OWN);
        assert!(foreign.own_came_back() && !foreign.own_came_back());
        for from in [OTHER, OTHER, OTHER, OWN] {
            foreign.note(from, OWN);
        }
        assert!(!foreign.own_came_back(), "the way to Redis changes bytes");
    }
}
