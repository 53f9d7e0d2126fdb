//! The machine of one alert: quiet, pending, firing, settling, and quiet again. Begins and ends alternate.
//!
//! An alert fires after it was over for a while, and ends after it was quiet for a while *and* enough was seen: an incident must not
//! end because clients have given up. A reading between the two thresholds keeps an incident and begins none, so an error rate at
//! a threshold does not switch it on and off.

use serde::{Deserialize, Serialize};

/// The time that a settling alert must be quiet if it is judged by events, in milliseconds.
pub const SETTLE_MS: u64 = 300_000;
/// The longest time that it waits for enough events, in milliseconds.
pub const SETTLE_MS_MAX: u64 = 1_800_000;
/// The wait before an incident is sent, so that its cause is known by then, in milliseconds. What has only this wait left begins with
/// another one, so that operators read of both at once.
pub const GROUP_WAIT_MS: u64 = 10_000;
/// Bad events that would have been seen if the fault had gone on.
const MISSED_EVENTS: u64 = 3;
const MILLION: u64 = 1_000_000;

/// The state of what an alert watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertCondition {
    /// It begins an incident.
    Over,
    /// It keeps one, and begins none.
    Near,
    Clear,
    /// Nothing is known: the alert stays as it is.
    Unmeasured,
}

/// The events that an alert of an objective is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventEvidence {
    /// Events since the last reading.
    pub new: u64,
    /// Events of the last five minutes, and the share of bad ones in parts per million.
    pub recent: u64,
    pub recent_bad_ppm: u32,
}

/// When an alert fires, and when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertRule {
    /// The time that it must be over before it fires, in milliseconds, [`GROUP_WAIT_MS`] included. Less than that is no wait for others.
    pub begin_after_ms: u64,
    pub end: EndRule,
}

/// When an incident is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndRule {
    /// After this time in the clear, in milliseconds.
    After(u64),
    /// When enough good events were seen. In parts per million: the lowest threshold of the alert, and the share of bad events
    /// that the objective allows.
    Events { threshold_ppm: u32, allowed_ppm: u32 },
}

/// The state of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentPhase {
    #[default]
    Quiet,
    Pending {
        since_ms: u64,
    },
    Firing,
    Settling {
        /// The time in the clear so far, in milliseconds.
        clear_ms: u64,
        /// Events in this time.
        events: u64,
    },
}

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllClear {
    /// The fault is over.
    Recovered,
    /// Nothing was bad, but there were not enough events to tell.
    NoTraffic,
    /// The alert is not configured any more.
    Removed,
}

/// The effect of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentTurn {
    Stays,
    Begins,
    Ends(AllClear),
}

/// The state of one alert, with what is needed to judge the next reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentMachine {
    pub phase: IncidentPhase,
    /// The greatest share of bad events in five minutes of this incident, in parts per million.
    pub worst_ppm: u32,
    /// The time of the last reading.
    seen_ms: u64,
}

impl IncidentMachine {
    /// A machine that fires without a reading.
    pub(super) fn firing() -> IncidentMachine {
        IncidentMachine { phase: IncidentPhase::Firing, ..IncidentMachine::default() }
    }

    /// True exactly from a begin to its end.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, IncidentPhase::Firing | IncidentPhase::Settling { .. })
    }

    /// Goes on after a restart: the time without a process is neither quiet nor bad.
    pub fn resume(&mut self, now_ms: u64) {
        self.seen_ms = now_ms;
    }

    /// Takes a reading.
    pub fn read(
        &mut self,
        condition: AlertCondition,
        events: EventEvidence,
        rule: &AlertRule,
        now_ms: u64,
    ) -> IncidentTurn {
        let passed_ms = now_ms.saturating_sub(self.seen_ms);
        self.seen_ms = now_ms;
        match (self.phase, condition) {
            (_, AlertCondition::Unmeasured) => IncidentTurn::Stays,
            (IncidentPhase::Quiet, AlertCondition::Over) => {
                self.phase = IncidentPhase::Pending { since_ms: now_ms };
                IncidentTurn::Stays
            }
            (IncidentPhase::Pending { since_ms }, AlertCondition::Over) => {
                if now_ms.saturating_sub(since_ms) < rule.begin_after_ms {
                    return IncidentTurn::Stays;
                }
                *self = IncidentMachine {
                    phase: IncidentPhase::Firing,
                    worst_ppm: events.recent_bad_ppm,
                    seen_ms: now_ms,
                };
                IncidentTurn::Begins
            }
            (IncidentPhase::Quiet | IncidentPhase::Pending { .. }, _) => {
                self.phase = IncidentPhase::Quiet;
                IncidentTurn::Stays
            }
            (
                IncidentPhase::Firing | IncidentPhase::Settling { .. },
                AlertCondition::Over | AlertCondition::Near,
            ) => {
                self.phase = IncidentPhase::Firing;
                self.worst_ppm = self.worst_ppm.max(events.recent_bad_ppm);
                self.end_early(events, rule)
            }
            (IncidentPhase::Firing, AlertCondition::Clear) => {
                self.phase = IncidentPhase::Settling { clear_ms: 0, events: 0 };
                self.end_early(events, rule)
            }
            (IncidentPhase::Settling { clear_ms, events: seen }, AlertCondition::Clear) => {
                let (clear_ms, seen) = (clear_ms + passed_ms, seen + events.new);
                self.phase = IncidentPhase::Settling { clear_ms, events: seen };
                match self.settled(clear_ms, seen, rule) {
                    Some(all_clear) => self.end(all_clear),
                    None => self.end_early(events, rule),
                }
            }
        }
    }

    fn settled(&self, clear_ms: u64, seen: u64, rule: &AlertRule) -> Option<AllClear> {
        match rule.end {
            EndRule::After(ms) => (clear_ms >= ms).then_some(AllClear::Recovered),
            EndRule::Events { threshold_ppm, .. }
                if clear_ms >= SETTLE_MS && self.is_enough(seen, threshold_ppm) =>
            {
                Some(AllClear::Recovered)
            }
            EndRule::Events { .. } => (clear_ms >= SETTLE_MS_MAX).then_some(AllClear::NoTraffic),
        }
    }

    /// Ends at once if the last five minutes alone show that the fault is over, although a long window is still full of it.
    fn end_early(&mut self, events: EventEvidence, rule: &AlertRule) -> IncidentTurn {
        let EndRule::Events { threshold_ppm, allowed_ppm } = rule.end else { return IncidentTurn::Stays };
        if events.recent_bad_ppm <= allowed_ppm && self.is_enough(events.recent, threshold_ppm) {
            return self.end(AllClear::Recovered);
        }
        IncidentTurn::Stays
    }

    /// True exactly if the fault, at an eighth of its worst or at the threshold, would have made [`MISSED_EVENTS`] bad events.
    fn is_enough(&self, events: u64, threshold_ppm: u32) -> bool {
        let scale = u64::from(threshold_ppm.max(self.worst_ppm / 8));
        events.saturating_mul(scale) >= MISSED_EVENTS * MILLION
    }

    fn end(&mut self, all_clear: AllClear) -> IncidentTurn {
        self.phase = IncidentPhase::Quiet;
        self.worst_ppm = 0;
        IncidentTurn::Ends(all_clear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: AlertRule = AlertRule {
        begin_after_ms: 10_000,
        end: EndRule::Events { threshold_ppm: 16_800, allowed_ppm: 1_000 },
    };
    const HELD: AlertRule = AlertRule { begin_after_ms: 25_000, end: EndRule::After(120_000) };

    fn condition(number: u8) -> AlertCondition {
        match number {
            0 => AlertCondition::Over,
            1 => AlertCondition::Near,
            2 => AlertCondition::Unmeasured,
            _ => AlertCondition::Clear,
        }
    }

    proptest! {
        #[test]
        fn begins_and_ends_alternate_and_a_calm_alert_ends(
            steps in prop::collection::vec((0_u8..6, 0_u64..40, 0_u32..1_000_000, 1_u64..60_000), 0..400),
            by_events in any::<bool>(),
        ) {
            let rule = if by_events { EVENTS } else { HELD };
            let (mut machine, mut now, mut is_open) = (IncidentMachine::default(), 0, false);
            let calm = (0..200).map(|_| (5, 0, 0, 10_000));
            for (number, new, recent_bad_ppm, passed) in steps.into_iter().chain(calm) {
                now += passed;
                let events = EventEvidence { new, recent: new * 3, recent_bad_ppm };
                match machine.read(condition(number), events, &rule, now) {
                    IncidentTurn::Stays => {}
                    IncidentTurn::Begins => prop_assert!(!std::mem::replace(&mut is_open, true)),
                    IncidentTurn::Ends(_) => prop_assert!(std::mem::replace(&mut is_open, false)),
                }
                prop_assert_eq!(machine.is_open(), is_open);
            }
            prop_assert!(!is_open, "it is over after half an hour without a bad event");
        }
    }

    #[test]
    fn alert_that_was_over_only_for_a_moment_does_not_fire() {
        let mut machine = IncidentMachine::default();
        let none = EventEvidence::default();
        for second in 0..24 {
            assert_eq!(machine.read(AlertCondition::Over, none, &HELD, second * 1_000), IncidentTurn::Stays);
        }
        machine.read(AlertCondition::Clear, none, &HELD, 24_000);
        assert_eq!(machine.read(AlertCondition::Over, none, &HELD, 25_000), IncidentTurn::Stays);
        assert_eq!(machine.read(AlertCondition::Over, none, &HELD, 50_000), IncidentTurn::Begins);
    }

    #[test]
    fn silence_of_clients_and_time_without_a_process_are_no_recovery() {
        let mut machine = IncidentMachine { phase: IncidentPhase::Firing, worst_ppm: 1_000_000, seen_ms: 0 };
        let none = EventEvidence::default();
        let mut now = 0;
        let mut calm = |machine: &mut IncidentMachine, ms: u64| {
            now += ms;
            machine.read(AlertCondition::Clear, none, &EVENTS, now)
        };
        for _ in 0..179 {
            assert_eq!(calm(&mut machine, 10_000), IncidentTurn::Stays);
        }
        machine.resume(3_600_000);
        assert_eq!(machine.read(AlertCondition::Unmeasured, none, &EVENTS, 7_200_000), IncidentTurn::Stays);
        assert_eq!(machine.read(AlertCondition::Clear, none, &EVENTS, 7_210_000), IncidentTurn::Stays);
        let end = machine.read(AlertCondition::Clear, none, &EVENTS, 7_220_000);
        assert_eq!(end, IncidentTurn::Ends(AllClear::NoTraffic));
    }

    #[test]
    fn five_good_minutes_end_an_incident_although_its_window_is_full() {
        let mut machine = IncidentMachine { phase: IncidentPhase::Firing, worst_ppm: 900_000, seen_ms: 0 };
        let bad = EventEvidence { new: 10, recent: 300, recent_bad_ppm: 200_000 };
        assert_eq!(machine.read(AlertCondition::Over, bad, &EVENTS, 10_000), IncidentTurn::Stays);
        let few = EventEvidence { new: 1, recent: 5, recent_bad_ppm: 0 };
        assert_eq!(machine.read(AlertCondition::Near, few, &EVENTS, 20_000), IncidentTurn::Stays);
        let good = EventEvidence { new: 10, recent: 300, recent_bad_ppm: 0 };
        let end = machine.read(AlertCondition::Over, good, &EVENTS, 30_000);
        assert_eq!(end, IncidentTurn::Ends(AllClear::Recovered));
    }
}
