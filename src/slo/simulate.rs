//! Drawn traffic before the judge: how soon an objective notifies, and how often it notifies although it is met.

use super::history::{BUCKETS, PartHistory, SLOT_S, SlotCounts};
use super::judge::is_over;
use super::objective::Objective;
use super::tier::{Tier, Urgency};
use crate::random::Random;

/// The time after the errors began that is simulated, in slots: 1.3 days.
const SLOTS_MAX: u32 = 112_320 / SLOT_S;
/// The time before, so that the longest window is full: 3 days.
const WARM_SLOTS: u32 = 3 * 86_400 / SLOT_S;
/// From this number of events on, a Poisson distribution is drawn as a normal one.
const NORMAL_FROM: f64 = 50.0;

/// Independent events of many users.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    pub events_per_minute: f64,
    /// The share of bad events, 0 to 1.
    pub errors: f64,
}

/// The times from the begin of the errors to the first notices, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detection {
    pub page_s: Option<u32>,
    /// The first ticket, if it came before a page.
    pub ticket_s: Option<u32>,
}

/// How often tiers began to be over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    pub pages: u32,
    pub tickets: u32,
}

impl Traffic {
    /// Draws ten seconds.
    pub fn draw(self, random: &mut Random) -> SlotCounts {
        let events = self.events_per_minute * f64::from(SLOT_S) / 60.0;
        let errors = self.errors.clamp(0.0, 1.0);
        // Good and bad events of a Poisson process are Poisson processes of their own.
        let (good, bad) = (poisson(events * (1.0 - errors), random), poisson(events * errors, random));
        let mut counts = SlotCounts { valid: good.saturating_add(bad), bad, ..SlotCounts::default() };
        // Large numbers are divided evenly, the rest at random.
        let buckets = BUCKETS as u32;
        let even = u16::try_from(bad / buckets).unwrap_or(u16::MAX);
        counts.bad_by_bucket = [even; BUCKETS];
        for _ in 0..bad % buckets {
            if let Some(cell) = counts.bad_by_bucket.get_mut(bucket(random)) {
                *cell = cell.saturating_add(1);
            }
        }
        for _ in 0..good.min(buckets * 8) {
            counts.active |= 1 << bucket(random);
        }
        for (index, cell) in counts.bad_by_bucket.iter().enumerate() {
            counts.active |= u16::from(*cell > 0) << index;
        }
        counts
    }
}

fn bucket(random: &mut Random) -> usize {
    (random.u64() % BUCKETS as u64) as usize
}

/// A number from a Poisson distribution: by the product of uniform numbers (Knuth, "The Art of Computer Programming", volume 2,
/// 3.4.1), for large ones by a normal distribution (Box and Muller, 1958).
fn poisson(mean: f64, random: &mut Random) -> u32 {
    // 53 bits fill a mantissa. Never 0, because its logarithm is taken.
    let mut uniform = || ((random.u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    if mean >= NORMAL_FROM {
        let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        return (mean + mean.sqrt() * normal).round().max(0.0) as u32;
    }
    let (end, mut product, mut count) = ((-mean).exp(), uniform(), 0);
    while product > end {
        product *= uniform();
        count += 1;
    }
    count
}

/// An objective with its tiers, under test.
#[derive(Clone, Copy, Debug)]
pub struct AlertSimulation<'a> {
    pub objective: &'a Objective,
    pub tiers: &'a [Tier],
}

impl AlertSimulation<'_> {
    /// Three days of this traffic, in which a tenth of the allowed errors happen.
    pub fn warm(&self, events_per_minute: f64, random: &mut Random) -> PartHistory {
        let errors = f64::from(self.objective.allowed_ppm) / 1e7;
        let calm = Traffic { events_per_minute, errors };
        let mut history = PartHistory::new(self.objective.counting, self.tiers);
        for _ in 0..WARM_SLOTS {
            history.close_slot(&calm.draw(random));
        }
        history
    }

    /// Lets errors begin after `history`, and waits for a page for at most 1.3 days.
    pub fn detect(&self, mut history: PartHistory, traffic: Traffic, random: &mut Random) -> Detection {
        let mut found = Detection::default();
        for slot in 1..=SLOTS_MAX {
            history.close_slot(&traffic.draw(random));
            if self.is_any_over(&history, Urgency::Page) {
                found.page_s = Some(slot * SLOT_S);
                break;
            }
            if found.ticket_s.is_none() && self.is_any_over(&history, Urgency::Ticket) {
                found.ticket_s = Some(slot * SLOT_S);
            }
        }
        found
    }

    /// Counts the notices of some days of one traffic.
    pub fn notices(&self, traffic: Traffic, days: u32, random: &mut Random) -> Notices {
        let mut history = self.warm(traffic.events_per_minute, random);
        let (mut found, mut pages, mut tickets) = (Notices::default(), false, false);
        for _ in 0..days * (86_400 / SLOT_S) {
            history.close_slot(&traffic.draw(random));
            let was = (pages, tickets);
            pages = self.is_any_over(&history, Urgency::Page);
            tickets = self.is_any_over(&history, Urgency::Ticket);
            found.pages += u32::from(pages && !was.0);
            found.tickets += u32::from(tickets && !was.1);
        }
        found
    }

    fn is_any_over(&self, history: &PartHistory, urgency: Urgency) -> bool {
        let mut tiers = self.tiers.iter().filter(|tier| tier.urgency == urgency);
        tiers.any(|tier| is_over(history, self.objective, tier))
    }
}

/// The middle of times, of which some were never reached; `None` if at least half were not.
pub fn median(mut times: Vec<Option<u32>>) -> Option<u32> {
    times.sort_unstable_by_key(|time| time.unwrap_or(u32::MAX));
    times.get(times.len() / 2).copied().flatten()
}
