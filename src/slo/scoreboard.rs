//! The objectives of one gateway: their counts so far, judged each ten seconds.

use super::burn::BurnVerdict;
use super::history::{PartHistory, RECENT_S, REPORTED_S, SLOT_S, SlotCounts, WindowSums};
use super::judge::{is_near, is_over};
use super::objective::{Counting, Objective};
use super::part::{PartTotals, SloPart};
use super::report::{ObjectiveReport, ObjectiveState, PartReport, TierReport};
use super::tier::{Tier, TierFault, Urgency, tiers};

/// A budget of which less is left is low, in parts per million.
const LOW_PPM: i64 = 100_000;
const DAY_S: u64 = 86_400;
const MILLION: u128 = 1_000_000;

/// The counts of a part over a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartCounts {
    pub totals: PartTotals,
    /// Slots of ten seconds with an event.
    pub looks: u64,
    /// The sum of the shares of bad events of these slots, in parts per million.
    pub bad_looks_ppm: u64,
}

impl PartCounts {
    /// The counts of one slot.
    pub fn of_slot(totals: PartTotals) -> PartCounts {
        let valid = totals.good + totals.bad;
        let share = (u128::from(totals.bad) * MILLION).checked_div(u128::from(valid));
        PartCounts {
            totals,
            looks: u64::from(share.is_some()),
            bad_looks_ppm: share.map_or(0, |share| u64::try_from(share).unwrap_or(u64::MAX)),
        }
    }

    pub fn add(&mut self, other: &PartCounts) {
        self.totals.good += other.totals.good;
        self.totals.bad += other.totals.bad;
        self.totals.excluded += other.totals.excluded;
        self.looks += other.looks;
        self.bad_looks_ppm += other.bad_looks_ppm;
    }
}

/// A part with its objective.
#[derive(Clone, Debug)]
struct JudgedPart {
    part: SloPart,
    history: PartHistory,
    /// The counts of the period.
    period: PartCounts,
    /// Good and bad units that are less than one event for the judge.
    rest: (u64, u64),
}

/// An objective with its parts.
#[derive(Clone, Debug)]
struct JudgedObjective {
    name: &'static str,
    objective: Objective,
    tiers: Vec<Tier>,
    parts: Vec<JudgedPart>,
}

/// The objectives of one gateway.
#[derive(Clone, Debug)]
pub struct Scoreboard {
    objectives: Vec<JudgedObjective>,
}

/// The time that counts exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// From the first count to now, in seconds.
    pub known_s: u64,
    /// The part of it in which a gateway ran, in seconds.
    pub up_s: u64,
}

impl Scoreboard {
    /// A board without counts.
    ///
    /// # Errors
    ///
    /// An objective with a tier that it could never reach.
    pub fn new(objectives: &[(&'static str, Objective)]) -> Result<Scoreboard, (&'static str, TierFault)> {
        let judged = objectives.iter().map(|(name, objective)| {
            let tiers = tiers(objective).map_err(|fault| (*name, fault))?;
            let parts = SloPart::ALL.into_iter().filter(|part| part.objective() == *name);
            let parts = parts.map(|part| JudgedPart {
                part,
                history: PartHistory::new(part.counting(), &tiers),
                period: PartCounts::default(),
                rest: (0, 0),
            });
            let parts = parts.collect();
            Ok(JudgedObjective { name, objective: *objective, tiers, parts })
        });
        Ok(Scoreboard { objectives: judged.collect::<Result<_, _>>()? })
    }

    /// The longest period, in days.
    pub fn period_days_max(&self) -> u32 {
        self.objectives.iter().map(|judged| judged.objective.period_days).max().unwrap_or(1)
    }

    /// The parts, with the periods of their objectives in days.
    pub fn parts(&self) -> Vec<(SloPart, u32)> {
        let of = |judged: &JudgedObjective| {
            let days = judged.objective.period_days;
            judged.parts.iter().map(move |part| (part.part, days)).collect::<Vec<_>>()
        };
        self.objectives.iter().flat_map(of).collect()
    }

    fn part_mut(&mut self, part: SloPart) -> Option<&mut JudgedPart> {
        self.objectives.iter_mut().flat_map(|judged| &mut judged.parts).find(|judged| judged.part == part)
    }

    /// Adds ten seconds of a part.
    pub fn close_slot(&mut self, part: SloPart, totals: PartTotals) {
        if let Some(judged) = self.part_mut(part) {
            let (good, bad) = judged.whole_events(totals);
            let (valid, bad) = (narrow(good + bad), narrow(bad));
            judged.history.close_slot(&SlotCounts { valid, bad, ..SlotCounts::default() });
            judged.period.add(&PartCounts::of_slot(totals));
        }
    }

    /// Adds a minute that was stored, or one without events. Its slots are not known any more.
    pub fn restore_minute(&mut self, part: SloPart, counts: &PartCounts) {
        if let Some(judged) = self.part_mut(part) {
            let (good, bad) = judged.whole_events(counts.totals);
            let sums = WindowSums {
                valid: good + bad,
                bad,
                looks: counts.looks,
                bad_looks_ppm: counts.bad_looks_ppm,
            };
            judged.history.close_minute(&sums);
        }
    }

    /// Forgets the counts of all windows, because they are added again.
    pub fn forget_windows(&mut self) {
        for judged in &mut self.objectives {
            for part in &mut judged.parts {
                part.history = PartHistory::new(part.part.counting(), &judged.tiers);
                part.rest = (0, 0);
            }
        }
    }

    /// Sets the counts of the period of a part.
    pub fn set_period(&mut self, part: SloPart, counts: PartCounts) {
        if let Some(judged) = self.part_mut(part) {
            judged.period = counts;
        }
    }

    /// The names of the objectives.
    pub fn names(&self) -> Vec<&'static str> {
        self.objectives.iter().map(|judged| judged.name).collect()
    }

    /// The burn of an objective as its page or ticket tiers judge it, by its worst part; `None` if there is no such objective. While no
    /// part is over or near, the verdict is that of `before`, so that other events do not end its incident.
    pub fn burn(&self, name: &str, urgency: Urgency, before: Option<SloPart>) -> Option<BurnVerdict> {
        let judged = self.objectives.iter().find(|judged| judged.name == name)?;
        let verdicts = judged.parts.iter().filter_map(|part| judged.burn(part, urgency));
        verdicts.max_by_key(|it| (it.over.is_some(), it.is_near, Some(it.part) == before, it.recent_bad_ppm))
    }

    /// Marks that the incident of an objective is over since `ago_s` seconds.
    pub fn mark_over(&mut self, name: &str, urgency: Urgency, ago_s: u64) {
        let parts =
            self.objectives.iter_mut().filter(|judged| judged.name == name).flat_map(|it| &mut it.parts);
        parts.for_each(|part| part.history.mark(urgency, ago_s / u64::from(SLOT_S)));
    }

    /// The state of all objectives.
    pub fn report(&self, measured: Measured) -> Vec<ObjectiveReport> {
        self.objectives.iter().map(|judged| judged.report(measured)).collect()
    }
}

impl JudgedPart {
    /// The good and the bad events for the judge.
    fn whole_events(&mut self, totals: PartTotals) -> (u64, u64) {
        let unit = self.part.judged_as_one();
        let (good, bad) = (totals.good + self.rest.0, totals.bad + self.rest.1);
        self.rest = (good % unit, bad % unit);
        (good / unit, bad / unit)
    }
}

/// A slot holds fewer than four billion events.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl JudgedObjective {
    /// The verdict on one part; `None` without a tier of this urgency.
    fn burn(&self, judged: &JudgedPart, urgency: Urgency) -> Option<BurnVerdict> {
        let tiers = || self.tiers.iter().filter(|tier| tier.urgency == urgency);
        let objective = Objective { counting: judged.part.counting(), ..self.objective };
        let over = tiers().find(|tier| is_over(&judged.history, &objective, tier));
        let recent = judged.history.window(RECENT_S);
        Some(BurnVerdict {
            part: judged.part,
            over: over.map(|tier| tier_report(judged, &objective, tier)),
            is_near: tiers().any(|tier| is_near(&judged.history, tier)),
            threshold_ppm: tiers().map(|tier| tier.threshold_ppm).min()?,
            allowed_ppm: objective.allowed_ppm,
            new: judged.history.last_slot(),
            recent: recent.valid,
            recent_bad_ppm: error_ppm(&recent, objective.counting).unwrap_or(0),
        })
    }

    fn report(&self, measured: Measured) -> ObjectiveReport {
        let parts: Vec<PartReport> = self.parts.iter().map(|part| self.part_report(part, measured)).collect();
        let worst = parts.iter().min_by_key(|part| part.budget_left_ppm.unwrap_or(i64::MAX));
        let state = parts.iter().map(|part| part.state).max().unwrap_or(ObjectiveState::NoEvents);
        ObjectiveReport {
            name: self.name,
            objective: self.objective,
            state,
            worst: worst.map(|part| part.part),
            measured_ppm: share_ppm(measured.up_s, measured.known_s),
            provisional: measured.known_s < u64::from(self.objective.period_days) * DAY_S,
            parts,
        }
    }

    fn part_report(&self, judged: &JudgedPart, measured: Measured) -> PartReport {
        let Objective { allowed_ppm, period_days, .. } = self.objective;
        let objective = Objective { counting: judged.part.counting(), ..self.objective };
        let (bad, valid) = weighed(objective.counting, &judged.period);
        let period_s = u64::from(period_days) * DAY_S;
        let known_s = measured.known_s.clamp(DAY_S, period_s);
        // The events that a whole period would have at the present rate may be bad by the allowed share.
        let allowed = valid * u128::from(allowed_ppm) * u128::from(period_s) / u128::from(known_s);
        let budget_left_ppm = (bad * MILLION * MILLION).checked_div(allowed);
        let budget_left_ppm =
            budget_left_ppm.map(|used| 1_000_000_i64.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX)));
        let tiers: Vec<TierReport> =
            self.tiers.iter().map(|tier| tier_report(judged, &objective, tier)).collect();
        let [burn_1h_milli, burn_6h_milli] =
            REPORTED_S.map(|window_s| burn_milli(judged, &objective, window_s));
        let weight = judged.part.weight();
        let PartTotals { good, bad: bad_events, excluded } = judged.period.totals;
        PartReport {
            part: judged.part,
            unit: judged.part.unit(),
            good,
            bad: bad_events,
            excluded,
            spent: u64::try_from(bad / weight).unwrap_or(u64::MAX),
            allowed: u64::try_from(allowed / (weight * MILLION)).unwrap_or(u64::MAX),
            now_ppm: (valid > 0)
                .then(|| 1_000_000 - u32::try_from(bad * MILLION / valid).unwrap_or(1_000_000)),
            budget_left_ppm,
            burn_1h_milli,
            burn_6h_milli,
            gone_s: budget_left_ppm.and_then(|left| gone_s(left, burn_6h_milli, period_s)),
            state: state(budget_left_ppm, &tiers),
            tiers,
        }
    }
}

/// Bad events and all of them, in events or in slots.
pub(super) fn weighed(counting: Counting, counts: &PartCounts) -> (u128, u128) {
    let PartTotals { good, bad, .. } = counts.totals;
    match counting {
        Counting::Events => (u128::from(bad), u128::from(good) + u128::from(bad)),
        Counting::Looks => (u128::from(counts.bad_looks_ppm), u128::from(counts.looks) * MILLION),
    }
}

fn tier_report(judged: &JudgedPart, objective: &Objective, tier: &Tier) -> TierReport {
    let share = |window_s| error_ppm(&judged.history.window(window_s), objective.counting);
    TierReport {
        tier: *tier,
        long_ppm: share(tier.long_s),
        short_ppm: share(tier.short_s),
        over: is_over(&judged.history, objective, tier),
    }
}

/// The share of bad events of a window, in parts per million; `None` without events.
fn error_ppm(sums: &WindowSums, counting: Counting) -> Option<u32> {
    let share = match counting {
        Counting::Events => (u128::from(sums.bad) * MILLION).checked_div(u128::from(sums.valid)),
        Counting::Looks => u128::from(sums.bad_looks_ppm).checked_div(u128::from(sums.looks)),
    };
    share.map(|ppm| u32::try_from(ppm).unwrap_or(u32::MAX))
}

/// The burn rate of a window in thousandths; `None` without events.
fn burn_milli(judged: &JudgedPart, objective: &Objective, window_s: u32) -> Option<u64> {
    let share = error_ppm(&judged.history.window(window_s), objective.counting)?;
    Some(u64::from(share) * 1_000 / u64::from(objective.allowed_ppm.max(1)))
}

/// The seconds until the budget is spent at this burn rate; `None` if it lasts for a period.
fn gone_s(left_ppm: i64, burn_milli: Option<u64>, period_s: u64) -> Option<u64> {
    let left = u128::try_from(left_ppm).unwrap_or(0);
    let seconds = (left * u128::from(period_s)).checked_div(u128::from(burn_milli?) * 1_000)?;
    u64::try_from(seconds).ok().filter(|seconds| *seconds < period_s)
}

fn state(budget_left_ppm: Option<i64>, tiers: &[TierReport]) -> ObjectiveState {
    let over = |urgency| tiers.iter().any(|report| report.over && report.tier.urgency == urgency);
    match budget_left_ppm {
        None => ObjectiveState::NoEvents,
        Some(left) if left <= 0 => ObjectiveState::Spent,
        Some(_) if over(Urgency::Page) => ObjectiveState::Burning,
        Some(_) if over(Urgency::Ticket) => ObjectiveState::Leaking,
        Some(left) if left < LOW_PPM => ObjectiveState::Low,
        Some(_) => ObjectiveState::Kept,
    }
}

fn share_ppm(part: u64, whole: u64) -> u32 {
    let share = (u128::from(part.min(whole)) * MILLION).checked_div(u128::from(whole));
    share.map_or(1_000_000, |ppm| u32::try_from(ppm).unwrap_or(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::super::objective::{EXPLAINED, OF_ANSWERS, RECOVERY, USUAL};
    use super::*;

    const DAY: Measured = Measured { known_s: DAY_S, up_s: DAY_S };

    fn board() -> Scoreboard {
        let all: Vec<_> = USUAL.into_iter().chain([EXPLAINED, RECOVERY]).chain(OF_ANSWERS).collect();
        Scoreboard::new(&all).expect("usual objectives")
    }

    fn part(board: &Scoreboard, part: SloPart, measured: Measured) -> PartReport {
        let parts = board.report(measured).into_iter().flat_map(|objective| objective.parts);
        parts.into_iter().find(|report| report.part == part).expect("a part")
    }

    fn totals(good: u64, bad: u64) -> PartTotals {
        PartTotals { good, bad, excluded: 0 }
    }

    #[test]
    fn every_part_belongs_to_an_objective() {
        let mut parts: Vec<SloPart> = board().parts().into_iter().map(|(part, _)| part).collect();
        parts.sort_by_key(|part| part.index());
        assert_eq!(parts, SloPart::ALL);
    }

    #[test]
    fn budget_is_spent_by_bad_events_and_is_that_of_a_period() {
        let mut board = board();
        assert_eq!(part(&board, SloPart::Publish, DAY).state, ObjectiveState::NoEvents);
        // A week at this rate has 70,000 messages, of which 70 may be bad.
        (0..100).for_each(|_| board.close_slot(SloPart::Publish, totals(100, 0)));
        let seven = (0..7).map(|_| board.close_slot(SloPart::Publish, totals(0, 1))).count() as u64;
        let report = part(&board, SloPart::Publish, DAY);
        assert_eq!((report.spent, report.allowed, report.bad), (seven, 70, 7));
        assert_eq!((report.budget_left_ppm, report.state), (Some(900_070), ObjectiveState::Kept));
        // In a whole week it is only ten.
        let week = Measured { known_s: 7 * DAY_S, up_s: 7 * DAY_S };
        let report = part(&board, SloPart::Publish, week);
        assert_eq!((report.allowed, report.state), (10, ObjectiveState::Kept));
        board.close_slot(SloPart::Publish, totals(0, 5));
        assert_eq!(part(&board, SloPart::Publish, week).state, ObjectiveState::Spent);
    }

    #[test]
    fn retries_of_one_outage_count_as_the_time_that_it_lasted() {
        let mut board = board();
        (0..8_640).for_each(|_| board.close_slot(SloPart::Attempt, totals(2, 0)));
        (0..30).for_each(|_| board.close_slot(SloPart::Attempt, totals(0, 10_000)));
        let report = part(&board, SloPart::Attempt, DAY);
        // Five minutes of the 3.6 hours that a month allows.
        assert_eq!((report.spent, report.allowed), (30, 1_300));
        assert_eq!(report.state, ObjectiveState::Burning);
        assert!(report.tiers[0].over, "half of everything fails");
    }

    #[test]
    fn restored_minutes_are_judged_like_those_that_were_counted() {
        let mut counted = board();
        let mut restored = board();
        for minute in 0..200_u64 {
            let mut counts = PartCounts::default();
            for slot in 0..6 {
                let totals = totals(10, u64::from(slot == 0 && minute > 150) * 9);
                counted.close_slot(SloPart::Publish, totals);
                counts.add(&PartCounts::of_slot(totals));
            }
            restored.restore_minute(SloPart::Publish, &counts);
        }
        let (one, other) = (part(&counted, SloPart::Publish, DAY), part(&restored, SloPart::Publish, DAY));
        assert_eq!((one.burn_1h_milli, one.burn_6h_milli), (other.burn_1h_milli, other.burn_6h_milli));
        assert_eq!(
            one.tiers.iter().map(|tier| tier.over).collect::<Vec<_>>(),
            other.tiers.iter().map(|tier| tier.over).collect::<Vec<_>>()
        );
    }

    #[test]
    fn memory_of_all_objectives_is_below_two_thirds_of_a_mebibyte() {
        let objectives: Vec<_> = USUAL.into_iter().chain([EXPLAINED, RECOVERY]).collect();
        let board = Scoreboard::new(&objectives).expect("a board");
        let bytes: usize =
            board.objectives.iter().flat_map(|it| &it.parts).map(|part| part.history.bytes()).sum();
        assert!(bytes < (2 << 20) / 3, "{bytes} bytes");
    }

    #[test]
    fn sessions_are_judged_by_ten_seconds_and_no_millisecond_is_lost() {
        let mut board = board();
        (0..8).for_each(|_| board.close_slot(SloPart::Session, totals(2_500, 1_250)));
        let judged = board.part_mut(SloPart::Session).expect("a part");
        let sums = judged.history.window(3_600);
        assert_eq!((sums.valid, sums.bad, judged.rest), (3, 1, (0, 0)));
        assert_eq!(judged.period.totals, totals(20_000, 10_000));
    }

    #[test]
    fn budget_that_is_gone_within_a_period_has_a_time() {
        assert_eq!(gone_s(500_000, Some(2_000), 604_800), Some(151_200));
        assert_eq!(gone_s(500_000, Some(100), 604_800), None, "it lasts");
        assert_eq!(gone_s(500_000, Some(0), 604_800), None);
        assert_eq!(gone_s(-1, Some(5_000), 604_800), Some(0));
    }
}
