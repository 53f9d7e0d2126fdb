//! The counts of one part of an objective: ten seconds each for an hour, minutes for the longest window of its tiers.
//!
//! Everything is allocated at the start and never grows: at most 73 KiB a part, for three days. Groups of users, which only simulations tell
//! apart, take twice as much once there is one. The sums of all windows are kept, so that to close a slot
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
    valid: u32,
    bad: u32,
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
            valid: counts.valid,
            bad: counts.bad,
            looks: u32::from(share.is_some()),
            bad_looks_ppm: u32::try_from(share.unwrap_or(0)).unwrap_or(u32::MAX),
        }
    }

    fn add(&mut self, other: &HistoryEntry) {
        self.valid = self.valid.saturating_add(other.valid);
        self.bad = self.bad.saturating_add(other.bad);
        self.looks += other.looks;
        self.bad_looks_ppm += other.bad_looks_ppm;
    }
}

/// The groups of users in one slot or minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct GroupEntry {
    bad_by_bucket: [u16; BUCKETS],
    active: u16,
}

impl GroupEntry {
    fn add(&mut self, other: &GroupEntry) {
        for (cell, count) in self.bad_by_bucket.iter_mut().zip(other.bad_by_bucket) {
            *cell = cell.saturating_add(count);
        }
        self.active |= other.active;
    }
}

/// The groups of users of all slots and minutes that are kept.
#[derive(Clone, Debug)]
struct GroupRings {
    slots: Box<[GroupEntry]>,
    minutes: Box<[GroupEntry]>,
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
        self.valid += u64::from(entry.valid);
        self.bad += u64::from(entry.bad);
        self.looks += u64::from(entry.looks);
        self.bad_looks_ppm += u64::from(entry.bad_looks_ppm);
    }

    fn remove(&mut self, entry: &HistoryEntry) {
        self.valid -= u64::from(entry.valid);
        self.bad -= u64::from(entry.bad);
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
    /// `None` until a slot tells groups apart: twice the memory of the rest.
    groups: Option<GroupRings>,
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
        // The longest window, and the minute that is being counted.
        let minutes = lengths.last().map_or(1, |longest_s| *longest_s as usize / 60 + 1);
        PartHistory {
            counting,
            slots: vec![HistoryEntry::default(); SLOTS].into_boxed_slice(),
            minutes: vec![HistoryEntry::default(); minutes].into_boxed_slice(),
            groups: None,
            closed: 0,
            marks: [0; 2],
            windows: lengths.into_iter().map(|length_s| (length_s, WindowSums::default())).collect(),
        }
    }

    /// Adds the next ten seconds.
    pub fn close_slot(&mut self, counts: &SlotCounts) {
        let SlotCounts { bad_by_bucket, active, .. } = *counts;
        self.close(HistoryEntry::of(counts), GroupEntry { bad_by_bucket, active });
    }

    /// Adds a minute whose slots are not known: its first slot has all its events.
    pub fn close_minute(&mut self, sums: &WindowSums) {
        let narrow = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let entry = HistoryEntry {
            valid: narrow(sums.valid),
            bad: narrow(sums.bad),
            looks: narrow(sums.looks),
            bad_looks_ppm: narrow(sums.bad_looks_ppm),
        };
        self.close(entry, GroupEntry::default());
        (1..SLOTS_PER_MINUTE).for_each(|_| self.close(HistoryEntry::default(), GroupEntry::default()));
    }

    fn close(&mut self, entry: HistoryEntry, group: GroupEntry) {
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
        if self.groups.is_some() || group != GroupEntry::default() {
            self.close_groups(group);
        }
        self.closed += 1;
    }

    fn close_groups(&mut self, group: GroupEntry) {
        let ring = |length| vec![GroupEntry::default(); length].into_boxed_slice();
        let new = || GroupRings { slots: ring(self.slots.len()), minutes: ring(self.minutes.len()) };
        let GroupRings { slots, minutes } = self.groups.get_or_insert_with(new);
        let index = index(slots, self.closed);
        if let Some(slot) = slots.get_mut(index) {
            *slot = group;
        }
        let index = self::index(minutes, self.closed / SLOTS_PER_MINUTE);
        if let Some(cell) = minutes.get_mut(index) {
            if self.closed.is_multiple_of(SLOTS_PER_MINUTE) {
                *cell = GroupEntry::default();
            }
            cell.add(&group);
        }
    }

    /// The memory of the slots and minutes.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let entry = size_of::<HistoryEntry>() + self.groups.as_ref().map_or(0, |_| size_of::<GroupEntry>());
        (self.slots.len() + self.minutes.len()) * entry
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
        u64::from(at(&self.slots, self.closed, 1).valid)
    }

    /// Looks through a window. It takes 20 µs for the longest, so a caller asks only for tiers that are over without it.
    pub fn fullest_bucket(&self, length_s: u32) -> FullestBucket {
        let Some(groups) = &self.groups else { return FullestBucket { bad: 0, active: 0 } };
        let (ring, next, count) = if length_s <= SLOTS_WINDOW_MAX_S {
            (&groups.slots, self.closed, u64::from(length_s / SLOT_S))
        } else {
            (&groups.minutes, self.closed.div_ceil(SLOTS_PER_MINUTE), u64::from(length_s / 60))
        };
        let (mut bad, mut active) = ([0u64; BUCKETS], 0u16);
        for back in 1..=count {
            let entry = at(ring, next, back);
            active |= entry.active;
            for (sum, count) in bad.iter_mut().zip(entry.bad_by_bucket) {
                *sum += u64::from(count);
            }
        }
        FullestBucket { bad: bad.into_iter().max().unwrap_or(0), active: active.count_ones() }
    }
}

fn index<T>(ring: &[T], number: u64) -> usize {
    (number % ring.len() as u64) as usize
}

/// The entry `back` before the one with number `next`; an empty one before the first.
fn at<T: Copy + Default>(ring: &[T], next: u64, back: u64) -> T {
    let number = next.checked_sub(back);
    number.and_then(|number| ring.get(index(ring, number)).copied()).unwrap_or_default()
}
