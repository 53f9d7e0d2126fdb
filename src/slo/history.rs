//! The counts of one part of an objective: ten seconds each for an hour, minutes for three days.
//!
//! Everything is allocated at the start and never grows: 223 KiB a part. The sums of all windows are kept, so that to close a slot
//! costs an addition and a subtraction for each of them.

use super::objective::Counting;
use super::tier::{Tier, Urgency};

/// The length of a slot, in seconds.
pub const SLOT_S: u32 = 10;
/// The windows whose burn rates are reported, in seconds.
pub const REPORTED_S: [u32; 2] = [3_600, 21_600];
/// The window that shows whether an incident is over, in seconds.
pub const RECENT_S: u32 = 300;
/// The groups of users among which bad events are divided.
pub const BUCKETS: usize = 16;
/// The longest window that is summed from slots, in seconds. Longer ones are summed from minutes.
const SLOTS_WINDOW_MAX_S: u32 = 3_600;
const SLOTS: usize = (SLOTS_WINDOW_MAX_S / SLOT_S) as usize;
/// Three days, and the minute that is being counted.
const MINUTES: usize = 3 * 1_440 + 1;
const SLOTS_PER_MINUTE: u64 = 6;

/// The events of ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    pub valid: u32,
    /// At most `valid`.
    pub bad: u32,
    /// The bad events of each group of users. A count stays at 65,535.
    pub bad_by_bucket: [u16; BUCKETS],
    /// The groups that had any event, one bit each.
    pub active: u16,
}

/// The counts of one slot or minute.
#[derive(Clone, Copy, Debug, Default)]
struct HistoryEntry {
    counts: SlotCounts,
    /// Slots with an event.
    looks: u32,
    /// The sum of the shares of bad events of these slots, in parts per million.
    bad_looks_ppm: u32,
}

impl HistoryEntry {
    fn of(counts: &SlotCounts) -> HistoryEntry {
        let (valid, bad) = (u64::from(counts.valid), u64::from(counts.bad.min(counts.valid)));
        let share = (bad * 1_000_000).checked_div(valid);
        HistoryEntry {
            counts: *counts,
            looks: u32::from(share.is_some()),
            bad_looks_ppm: u32::try_from(share.unwrap_or(0)).unwrap_or(u32::MAX),
        }
    }

    fn add(&mut self, other: &HistoryEntry) {
        let (own, added) = (&mut self.counts, &other.counts);
        own.valid = own.valid.saturating_add(added.valid);
        own.bad = own.bad.saturating_add(added.bad);
        for (cell, count) in own.bad_by_bucket.iter_mut().zip(added.bad_by_bucket) {
            *cell = cell.saturating_add(count);
        }
        own.active |= added.active;
        self.looks += other.looks;
        self.bad_looks_ppm += other.bad_looks_ppm;
    }
}

/// The sums of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSums {
    /// Events.
    pub valid: u64,
    /// Bad events.
    pub bad: u64,
    /// Slots with an event.
    pub looks: u64,
    /// The sum of the shares of bad events of these slots, in parts per million.
    pub bad_looks_ppm: u64,
}

impl WindowSums {
    fn add(&mut self, entry: &HistoryEntry) {
        self.valid += u64::from(entry.counts.valid);
        self.bad += u64::from(entry.counts.bad);
        self.looks += u64::from(entry.looks);
        self.bad_looks_ppm += u64::from(entry.bad_looks_ppm);
    }

    fn remove(&mut self, entry: &HistoryEntry) {
        self.valid -= u64::from(entry.counts.valid);
        self.bad -= u64::from(entry.counts.bad);
        self.looks -= u64::from(entry.looks);
        self.bad_looks_ppm -= u64::from(entry.bad_looks_ppm);
    }
}

/// The group of users with most bad events in a window, and the groups that had any event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullestBucket {
    pub bad: u64,
    pub active: u32,
}

/// The counts of one part.
#[derive(Clone, Debug)]
pub struct PartHistory {
    pub counting: Counting,
    slots: Box<[HistoryEntry]>,
    minutes: Box<[HistoryEntry]>,
    /// The slots that were closed.
    closed: u64,
    /// The slots that were closed when the last page and the last ticket were over.
    marks: [u64; 2],
    /// Lengths in seconds, and sums.
    windows: Vec<(u32, WindowSums)>,
}

impl PartHistory {
    /// An empty history with the windows of these tiers.
    pub fn new(counting: Counting, tiers: &[Tier]) -> PartHistory {
        let of_tiers = tiers.iter().flat_map(|tier| [tier.long_s, tier.short_s]);
        let mut lengths: Vec<u32> = of_tiers.chain(REPORTED_S).chain([RECENT_S]).collect();
        lengths.sort_unstable();
        lengths.dedup();
        PartHistory {
            counting,
            slots: vec![HistoryEntry::default(); SLOTS].into_boxed_slice(),
            minutes: vec![HistoryEntry::default(); MINUTES].into_boxed_slice(),
            closed: 0,
            marks: [0; 2],
            windows: lengths.into_iter().map(|length_s| (length_s, WindowSums::default())).collect(),
        }
    }

    /// Adds the next ten seconds.
    pub fn close_slot(&mut self, counts: &SlotCounts) {
        self.close(HistoryEntry::of(counts));
    }

    /// Adds a minute whose slots are not known: its first slot has all its events.
    pub fn close_minute(&mut self, sums: &WindowSums) {
        let narrow = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let counts = SlotCounts { valid: narrow(sums.valid), bad: narrow(sums.bad), ..SlotCounts::default() };
        let (looks, bad_looks_ppm) = (narrow(sums.looks), narrow(sums.bad_looks_ppm));
        self.close(HistoryEntry { counts, looks, bad_looks_ppm });
        (1..SLOTS_PER_MINUTE).for_each(|_| self.close(HistoryEntry::default()));
    }

    fn close(&mut self, entry: HistoryEntry) {
        let begins_minute = self.closed.is_multiple_of(SLOTS_PER_MINUTE);
        let minute = self.closed / SLOTS_PER_MINUTE;
        for (length_s, sums) in &mut self.windows {
            if *length_s <= SLOTS_WINDOW_MAX_S {
                sums.remove(&at(&self.slots, self.closed, u64::from(*length_s / SLOT_S)));
            } else if begins_minute {
                sums.remove(&at(&self.minutes, minute, u64::from(*length_s / 60)));
            }
            sums.add(&entry);
        }
        let index = index(&self.slots, self.closed);
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = entry;
        }
        let index = self::index(&self.minutes, minute);
        if let Some(cell) = self.minutes.get_mut(index) {
            if begins_minute {
                *cell = HistoryEntry::default();
            }
            cell.add(&entry);
        }
        self.closed += 1;
    }

    /// The sums of a window of one of the tiers, of [`REPORTED_S`] or [`RECENT_S`]. Windows of more than an hour end with the minute that is being counted, so they
    /// are up to a minute shorter.
    pub fn window(&self, length_s: u32) -> WindowSums {
        let found = self.windows.iter().find(|(known, _)| *known == length_s);
        found.map_or_else(WindowSums::default, |(_, sums)| *sums)
    }

    /// Marks that incidents of this urgency are over since `ago` slots: no short window looks behind it, so the same bad events cause
    /// no second incident.
    pub fn mark(&mut self, urgency: Urgency, ago: u64) {
        if let Some(mark) = self.marks.get_mut(urgency as usize) {
            *mark = (*mark).max(self.closed.saturating_sub(ago));
        }
    }

    /// The sums of the short window of a tier, as far as it is behind the mark of its urgency.
    pub fn short_window(&self, tier: &Tier) -> WindowSums {
        let mark = self.marks.get(tier.urgency as usize).copied().unwrap_or(0);
        let since = self.closed.saturating_sub(mark);
        if mark == 0 || since >= u64::from(tier.short_s / SLOT_S) {
            return self.window(tier.short_s);
        }
        let mut sums = WindowSums::default();
        if since <= SLOTS as u64 {
            (1..=since).for_each(|back| sums.add(&at(&self.slots, self.closed, back)));
        } else {
            let next = self.closed.div_ceil(SLOTS_PER_MINUTE);
            (1..=since / SLOTS_PER_MINUTE).for_each(|back| sums.add(&at(&self.minutes, next, back)));
        }
        sums
    }

    /// The events of the last slot.
    pub fn last_slot(&self) -> u64 {
        u64::from(at(&self.slots, self.closed, 1).counts.valid)
    }

    /// Looks through a window. It takes 20 µs for the longest, so a caller asks only for tiers that are over without it.
    pub fn fullest_bucket(&self, length_s: u32) -> FullestBucket {
        let (ring, next, count) = if length_s <= SLOTS_WINDOW_MAX_S {
            (&self.slots, self.closed, u64::from(length_s / SLOT_S))
        } else {
            (&self.minutes, self.closed.div_ceil(SLOTS_PER_MINUTE), u64::from(length_s / 60))
        };
        let (mut bad, mut active) = ([0u64; BUCKETS], 0u16);
        for back in 1..=count {
            let entry = at(ring, next, back);
            active |= entry.counts.active;
            for (sum, count) in bad.iter_mut().zip(entry.counts.bad_by_bucket) {
                *sum += u64::from(count);
            }
        }
        FullestBucket { bad: bad.into_iter().max().unwrap_or(0), active: active.count_ones() }
    }
}

fn index(ring: &[HistoryEntry], number: u64) -> usize {
    (number % ring.len() as u64) as usize
}

/// The entry `back` before the one with number `next`; an empty one before the first.
fn at(ring: &[HistoryEntry], next: u64, back: u64) -> HistoryEntry {
    let number = next.checked_sub(back);
    number.and_then(|number| ring.get(index(ring, number)).copied()).unwrap_or_default()
}
