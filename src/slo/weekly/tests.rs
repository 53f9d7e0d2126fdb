use super::*;
use crate::random::Random;
use crate::slo::calendar::QUARTER_MS;
use crate::slo::exclusion::ExclusionList;
use crate::slo::objective::USUAL;
use crate::slo::weekly_rows::{OutageSpan, RunEnding, RunSpan};
use crate::slo::weekly_text::ReportFormat;
use jiff::Timestamp;
use jiff::civil::{Date, ISOWeekDate, Weekday};
use jiff::tz::TimeZone;
use proptest::prelude::*;

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/New_York", "Pacific/Apia"];

fn counts(random: &mut Random) -> AllCounts {
    let mut all = AllCounts::default();
    for cell in &mut all {
        let mut below = |bound: u64| random.u64() % bound;
        let valid = below(3) * below(1_000);
        let bad = below(2) * below(4) * below(valid / 8 + 1);
        let looks = below(91);
        *cell = PartCounts {
            totals: PartTotals { good: valid.saturating_sub(bad), bad, excluded: below(9) },
            looks,
            bad_looks_ppm: below(2) * below(looks * 100_000 + 1),
        };
    }
    all
}

/// Random rows of 110 days that end with a week, with days and weeks without rows.
fn random_rows(seed: u64, end: u64) -> WeekRows {
    let mut random = Random::seeded(seed);
    let mut rows = WeekRows::default();
    let mut quarter = end - 110 * 96;
    while quarter < end + 96 {
        rows.quarters.insert(quarter, counts(&mut random));
        quarter += match random.u64() % 40 {
            0 => 1 + random.u64() % 900,
            1..9 => 2 + random.u64() % 8,
            _ => 1,
        };
    }
    rows
}

/// Exclusions of the weeks before and of this one, of one objective or all.
fn random_exclusions(seed: u64, week_ms: u64) -> ExclusionList {
    let mut random = Random::seeded(!seed);
    let mut exclusion = |number| {
        let from_ms = week_ms - 30 * 96 * QUARTER_MS + random.u64() % (37 * 96) * QUARTER_MS;
        BudgetExclusion {
            number,
            objective: USUAL.get(random.u64() as usize % 6).map(|(name, _)| (*name).to_owned()),
            from_ms,
            until_ms: from_ms + (1 + random.u64() % 96) * QUARTER_MS,
            why: "move".into(),
            by: "192.0.2.7".into(),
            at_ms: 0,
        }
    };
    ExclusionList::restore((0..seed % 7).map(&mut exclusion).collect())
}

/// The sum of one number of a part over the quarters whose begin fits, one by one.
fn naive(rows: &WeekRows, part: SloPart, fits: impl Fn(u64) -> bool) -> (u128, u128) {
    let (mut bad, mut valid) = (0, 0);
    for (quarter, all) in &rows.quarters {
        let at_ms = quarter * QUARTER_MS;
        let is_excluded = |it: &BudgetExclusion| {
            (it.from_ms..it.until_ms).contains(&at_ms)
                && it.objective.as_ref().is_none_or(|name| name == part.objective())
        };
        if !fits(at_ms) || rows.exclusions.list().iter().any(is_excluded) {
            continue;
        }
        let PartCounts { totals, looks, bad_looks_ppm } = all[part.index()];
        if matches!(part, SloPart::Attempt | SloPart::ConnectionCanary) {
            bad += u128::from(bad_looks_ppm);
            valid += u128::from(looks) * 1_000_000;
        } else {
            bad += u128::from(totals.bad);
            valid += u128::from(totals.bad) + u128::from(totals.good);
        }
    }
    (bad, valid)
}

/// The date of a time in a zone, by the library alone.
fn date_at(zone: &TimeZone, unix_ms: u64) -> Date {
    Timestamp::from_millisecond(unix_ms as i64).expect("a time").to_zoned_datetime(zone.clone()).date()
}

fn share(bad: u128, valid: u128) -> Option<u32> {
    (valid > 0).then(|| 1_000_000 - (bad * 1_000_000 / valid) as u32)
}

/// Compares a report with what the rows give if each is put into its week, day and period by the date at its begin.
fn check(report: &WeeklyReport, rows: &WeekRows, zone: &TimeZone, monday: Date) {
    let after = |date: Date, days: i64| date.checked_add(jiff::Span::new().days(days)).expect("a date");
    let sunday = after(monday, 6);
    let within =
        |from: Date, until: Date| move |unix_ms: u64| (from..=until).contains(&date_at(zone, unix_ms));
    for objective in &report.objectives {
        let promise = objective.objective;
        for part in &objective.parts {
            let mut sums = [0; 5];
            for (quarter, all) in &rows.quarters {
                if within(monday, sunday)(quarter * QUARTER_MS) {
                    let PartCounts { totals, looks, bad_looks_ppm } = all[part.part.index()];
                    let cells = [totals.good, totals.bad, totals.excluded, looks, bad_looks_ppm];
                    sums.iter_mut().zip(cells).for_each(|(sum, cell)| *sum += cell);
                }
            }
            assert_eq!(
                [part.good, part.bad, part.excluded, part.looks, part.bad_looks_ppm],
                sums,
                "{}",
                part.part.as_str()
            );
        }
        let figures = &objective.figures;
        let (bad, valid) = naive(rows, figures.part, within(monday, sunday));
        assert_eq!(figures.good_ppm, share(bad, valid), "{}", objective.name);
        let days: Vec<_> = (0..7)
            .map(|day| after(monday, day))
            .map(|day| (day, naive(rows, figures.part, within(day, day))))
            .collect();
        let shares =
            days.iter().filter_map(|(day, (bad, valid))| Some((share(*bad, *valid)?, day.to_string())));
        let worst = shares.min_by_key(|(good, _)| *good).filter(|(good, _)| *good < 1_000_000);
        assert_eq!(
            figures.worst_day.as_ref().map(|day| (day.good_ppm, day.date.clone())),
            worst,
            "{}",
            objective.name
        );
        let first = after(sunday, 1 - i64::from(promise.period_days));
        let (period_bad, period_valid) = naive(rows, figures.part, within(first, sunday));
        let allowed = period_valid * u128::from(promise.allowed_ppm);
        let left = (allowed > 0).then(|| 1_000_000 - (period_bad * 1_000_000 * 1_000_000 / allowed) as i64);
        assert_eq!(figures.left_ppm, left, "{}", objective.name);
        let is_over = |(bad, valid): (u128, u128)| bad * 1_000_000 > valid * u128::from(promise.allowed_ppm);
        let is_missed = match promise.period_days {
            1 => days.iter().any(|(_, of_day)| is_over(*of_day)),
            _ => is_over((period_bad, period_valid)),
        };
        assert_eq!(figures.verdict == WeekVerdict::Missed, is_missed, "{}", objective.name);
        let weeks = (0..12).rev().map(|back| {
            let (bad, valid) =
                naive(rows, figures.part, within(after(monday, -7 * back), after(sunday, -7 * back)));
            share(bad, valid)
        });
        assert_eq!(objective.weeks_ppm, weeks.collect::<Vec<_>>(), "{}", objective.name);
        if figures.part.weight() == 1 {
            let caused: u64 = objective.causes.iter().map(|cause| cause.bad).sum();
            assert_eq!(u128::from(caused), bad, "{}: the causes are all bad events", objective.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn report_is_what_the_rows_give(seed in any::<u64>(), year in 2024_i16..2029, number in 1_i8..=52, at in 0..ZONES.len()) {
        let name = ZONES[at];
        let (zone, library) = (ReportZone::parse(name).expect(name), TimeZone::get(name).expect(name));
        let week = IsoWeek::parse(&format!("{year}-W{number:02}")).expect("a week");
        let span = zone.week(week).expect("a week");
        let mut rows = random_rows(seed, span.until);
        let at_ms = |part: u64| span.from_ms() + part * (span.until_ms() - span.from_ms()) / 20;
        rows.outages = (0..seed % 8)
            .map(|number| OutageSpan {
                dependency: "store".into(),
                reference: Some(format!("r{number}")),
                from_ms: at_ms(2 * number),
                until_ms: at_ms(2 * number + 1 + seed % 3),
            })
            .collect();
        rows.exclusions = random_exclusions(seed, span.from_ms());
        let request = WeekRequest {
            week,
            zone: &zone,
            now_ms: span.until_ms() + seed % 1_000_000_000,
            deployment: "prod",
            instance: "gw-1",
            instances: 1,
            objectives: &USUAL,
        };
        let report = weekly_report(&request, &rows).expect("a report");
        prop_assert!(report.complete && report.objectives.len() == USUAL.len());
        let monday = ISOWeekDate::new(year, number, Weekday::Monday).expect("a week").date();
        check(&report, &rows, &library, monday);
    }
}

/// Without the quarter of the outage the objective is kept, and the page says both.
fn check_exclusion(request: &WeekRequest<'_>, rows: &mut WeekRows, quarter: u64) {
    rows.exclusions.add(BudgetExclusion {
        number: 3,
        objective: Some("delivery".into()),
        from_ms: quarter * QUARTER_MS,
        until_ms: (quarter + 1) * QUARTER_MS,
        why: "database move".into(),
        by: "192.0.2.7".into(),
        at_ms: (quarter - 96) * QUARTER_MS,
    });
    let report = weekly_report(request, rows).expect("a report");
    let with = report.objectives[0].with_excluded.expect("another result");
    assert_eq!((with.good_ppm, with.used_ppm), (Some(998_581), Some(1_419_649)));
    assert_eq!(report.objectives[0].parts[0].bad, 8_870 + 671, "the sums of parts have all events");
    let text = report.render(ReportFormat::Text, request.zone);
    for part in [
        "99.9901 %  kept ",
        "budget used 9.999 %, 141.9649 % with what is excluded (99.8581 % good)",
        "Excluded: delivery from Tue 24 Nov 08:00 to Tue 24 Nov 08:15: database move (#3, by 192.0.2.7 at Mon 23 Nov 08:00)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("store k3f9x2"), "it spent nothing: {text}");
}

fn quarter(good: u64, bad: u64) -> AllCounts {
    let mut all = AllCounts::default();
    all[SloPart::Publish.index()] =
        PartCounts { totals: PartTotals { good, bad, excluded: 0 }, looks: 90, bad_looks_ppm: 0 };
    all
}

#[test]
fn page_says_what_was_missed_and_why() {
    let zone = ReportZone::parse("Europe/Berlin").expect("a zone");
    let week = IsoWeek::parse("2026-W48").expect("a week");
    let span = zone.week(week).expect("a week");
    let mut rows = WeekRows::default();
    for at in 0..13 * 672 {
        rows.quarters.insert(span.until - 1 - at, quarter(10_000, 1));
    }
    // Tuesday, 08:00 to 08:15.
    let bad = span.from + 96 + 32;
    rows.quarters.insert(bad, quarter(1_130, 8_870));
    let from_ms = bad * QUARTER_MS + 60_000;
    rows.outages = vec![OutageSpan {
        dependency: "store".into(),
        reference: Some("k3f9x2".into()),
        from_ms,
        until_ms: from_ms + 360_000,
    }];
    let run = |began_ms, last_ms, ending| RunSpan { began_ms, last_ms, ending };
    let killed_ms = span.from_ms() + 213_605_000;
    rows.runs = vec![
        run(span.from_ms() - QUARTER_MS, killed_ms, RunEnding::Killed),
        run(killed_ms + 40_000, span.until_ms(), RunEnding::Stopped),
    ];
    rows.notices.critical = 2;
    rows.notices.noisiest = Some(("dependency/store".into(), 2));
    let delivery = [USUAL[1]];
    let request = WeekRequest {
        week,
        zone: &zone,
        now_ms: span.until_ms(),
        deployment: "prod",
        instance: "gw-1",
        instances: 1,
        objectives: &delivery,
    };
    let report = weekly_report(&request, &rows).expect("a report");
    let text = report.render(ReportFormat::Text, &zone);
    let expected = "\
Seawall prod, week 48 (Mon 23 Nov 00:00 to Mon 30 Nov 00:00, Europe/Berlin), gw-1, measured 99.9933 %
  delivery    99.9 %   99.8581 %  MISSED    budget used 141.9649 %, 7 d: left -41.9649 %, worst day Tue 24 Nov 99.0663 %, worse than the weeks before
  Spent by (delivery)
    131.9808 %  store k3f9x2, Tue 24 Nov 08:00 to Tue 24 Nov 08:15: 8870 messages
";
    assert!(text.starts_with(expected), "{text}");
    for part in [
        "no outage of a dependency, Mon 23 Nov 00:00 to Mon 30 Nov 00:00: 671 messages",
        "Not measured: 40 s in all; 40 s from Wed 25 Nov 11:20 (ended without a word)",
        "Notices: 2 critical, 0 warning, 0 test; most by dependency/store (2); 0 given up",
        "delivery    99.9901 99.9901",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let three = weekly_report(&WeekRequest { instances: 3, ..request }, &rows).expect("a report");
    assert!(three.headline(&zone).contains("gw-1 for 3 instances, measured"));
    check_exclusion(&request, &mut rows.clone(), bad);
    let markdown = report.render(ReportFormat::Markdown, &zone);
    assert!(markdown.contains("| delivery | 99.9 % | 99.8581 % | MISSED |"), "{markdown}");
    let so_far = WeekRequest { now_ms: span.from_ms() + QUARTER_MS, ..request };
    let report = weekly_report(&so_far, &rows).expect("a report");
    assert!(!report.complete && report.headline(&zone).contains("week 48 so far"));
}
