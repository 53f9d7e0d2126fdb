//! The calendar of reports: ISO weeks and days of one time zone, as quarters of an hour since 1970.
//!
//! Days have 23, 24 or 25 hours where clocks change, and every offset of a zone in use is a multiple of a quarter of an hour, so days
//! and weeks are whole quarters. Alerts do not follow a calendar: their windows and periods always end now.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};
use std::fmt;

/// The length of a quarter of an hour, in milliseconds.
pub const QUARTER_MS: u64 = 900_000;
/// Quarters of a day in UTC.
pub const QUARTERS_PER_DAY: u64 = 96;
const DAYS_PER_WEEK: i64 = 7;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// The years of weeks that a report can be about.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=9998;

/// A week of ISO 8601: it begins on Monday, and the first one of a year has its 4 January.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IsoWeek {
    year: i16,
    /// 1 to 53.
    week: i8,
}

impl IsoWeek {
    /// Reads `2026-W48`. `None` if it is no such text, or the year has no such week.
    pub fn parse(text: &str) -> Option<IsoWeek> {
        let (year, week) = text.split_once("-W")?;
        let is_number =
            |text: &str, digits| text.len() == digits && text.bytes().all(|it| it.is_ascii_digit());
        if !is_number(year, 4) || !is_number(week, 2) {
            return None;
        }
        let week = IsoWeek { year: year.parse().ok()?, week: week.parse().ok()? };
        (YEARS.contains(&week.year) && week.monday().is_some()).then_some(week)
    }

    /// The week `count` weeks before.
    pub fn before(self, count: u16) -> Option<IsoWeek> {
        let days = jiff::Span::new().try_days(i64::from(count) * DAYS_PER_WEEK).ok()?;
        Some(IsoWeek::of(self.monday()?.checked_sub(days).ok()?))
    }

    /// The number in its year: 1 to 53.
    pub fn number(self) -> i8 {
        self.week
    }

    fn monday(self) -> Option<Date> {
        ISOWeekDate::new(self.year, self.week, Weekday::Monday).ok().map(ISOWeekDate::date)
    }

    fn of(date: Date) -> IsoWeek {
        let date = date.iso_week_date();
        IsoWeek { year: date.year(), week: date.week() }
    }
}

impl fmt::Display for IsoWeek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-W{:02}", self.year, self.week)
    }
}

impl Serialize for IsoWeek {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A time of the week, as in `Mon 09:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekTime {
    /// Days after Monday.
    day: i8,
    hour: i8,
    minute: i8,
}

impl WeekTime {
    /// Reads `Mon 09:00`. `None` if it is no such text.
    pub fn parse(text: &str) -> Option<WeekTime> {
        let (day, time) = text.split_once(' ')?;
        let day = i8::try_from(DAYS.iter().position(|known| *known == day)?).ok()?;
        let (hour, minute) = time.split_once(':')?;
        let number = |text: &str, below: i8| {
            let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number: &i8| is_number && *number < below)
        };
        Some(WeekTime { day, hour: number(hour, 24)?, minute: number(minute, 60)? })
    }
}

impl fmt::Display for WeekTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = usize::try_from(self.day).ok().and_then(|day| DAYS.get(day)).unwrap_or(&"");
        write!(f, "{day} {:02}:{:02}", self.hour, self.minute)
    }
}

/// Quarters of an hour since 1970, the end left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct QuarterSpan {
    pub from: u64,
    pub until: u64,
}

impl QuarterSpan {
    /// Its begin in Unix milliseconds.
    pub fn from_ms(self) -> u64 {
        self.from * QUARTER_MS
    }

    /// Its end in Unix milliseconds.
    pub fn until_ms(self) -> u64 {
        self.until * QUARTER_MS
    }
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarDay {
    pub date: Date,
    pub span: QuarterSpan,
}

/// The time zone of reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportZone(TimeZone);

impl Default for ReportZone {
    fn default() -> ReportZone {
        ReportZone(TimeZone::UTC)
    }
}

impl ReportZone {
    /// The zone of this name in the IANA database that is part of the program, like `Europe/Berlin`.
    pub fn parse(name: &str) -> Option<ReportZone> {
        if name == "UTC" {
            return Some(ReportZone::default());
        }
        let is_name = (1..=64).contains(&name.len()) && name.is_ascii();
        is_name.then(|| jiff::tz::db().get(name).ok().map(ReportZone)).flatten()
    }

    /// Its name in the database.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The week in which this time is, in Unix milliseconds.
    pub fn week_of(&self, unix_ms: u64) -> Option<IsoWeek> {
        Some(IsoWeek::of(self.at(unix_ms)?.date()))
    }

    /// The quarters of a week.
    pub fn week(&self, week: IsoWeek) -> Option<QuarterSpan> {
        self.days_until_end(week, DAYS_PER_WEEK)
    }

    /// The days of a week, Monday first. A day that a zone left out has no quarters.
    pub fn days(&self, week: IsoWeek) -> Vec<CalendarDay> {
        let dates = week.monday().into_iter().flat_map(|monday| monday.series(jiff::Span::new().days(1)));
        let day = |date: Date| {
            let span = QuarterSpan { from: self.begin(date)?, until: self.begin(date.tomorrow().ok()?)? };
            Some(CalendarDay { date, span })
        };
        dates.take(7).filter_map(day).collect()
    }

    /// The last `days` days of a week and before it.
    pub fn days_until_end(&self, week: IsoWeek, days: i64) -> Option<QuarterSpan> {
        let end = week.monday()?.checked_add(jiff::Span::new().days(DAYS_PER_WEEK)).ok()?;
        let begin = end.checked_sub(jiff::Span::new().try_days(days).ok()?).ok()?;
        Some(QuarterSpan { from: self.begin(begin)?, until: self.begin(end)? })
    }

    /// This time in the week after, in Unix milliseconds. Where clocks jump over it, it is as much later.
    pub fn after_week_ms(&self, week: IsoWeek, time: WeekTime) -> Option<u64> {
        let days = DAYS_PER_WEEK + i64::from(time.day);
        let date = week.monday()?.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
        let at = date.to_datetime(Time::new(time.hour, time.minute, 0, 0).ok()?);
        let at = at.to_zoned_datetime(self.0.clone()).ok()?;
        u64::try_from(at.timestamp().as_millisecond()).ok()
    }

    /// Reads a time of its clocks like `2026-11-24T02:00`, or one of UTC like `2026-11-24T01:00Z`, in Unix milliseconds. `None` if it is
    /// no such text, or if its clocks skip the time or have it twice.
    pub fn time(&self, text: &str) -> Option<u64> {
        let (civil, zone) = match text.strip_suffix('Z') {
            Some(civil) => (civil, TimeZone::UTC),
            None => (text, self.0.clone()),
        };
        let is_form = civil.len() == "2026-11-24T02:00".len() && civil.as_bytes().get(10) == Some(&b'T');
        let at: DateTime = civil.parse().ok().filter(|_| is_form)?;
        let at = zone.into_ambiguous_zoned_datetime(at).unambiguous().ok()?;
        u64::try_from(at.timestamp().as_millisecond()).ok()
    }

    /// The first quarter of a day.
    fn begin(&self, date: Date) -> Option<u64> {
        let begin = date.to_zoned_datetime(self.0.clone()).ok()?;
        Some(u64::try_from(begin.timestamp().as_millisecond()).ok()? / QUARTER_MS)
    }

    /// The day and the time of the day, as in `Tue 24 Nov 08:11`.
    pub fn label(&self, unix_ms: u64) -> String {
        let Some(at) = self.at(unix_ms) else { return String::new() };
        format!("{} {:02}:{:02}", day_label(at.date()), at.hour(), at.minute())
    }

    fn at(&self, unix_ms: u64) -> Option<jiff::ZonedDateTime> {
        let at = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
        Some(at.to_zoned_datetime(self.0.clone()))
    }
}

/// A day as in `Tue 24 Nov`.
pub fn day_label(date: Date) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let of = |names: &[&'static str], index: i8| {
        usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or("")
    };
    let day = of(&DAYS, date.weekday().to_monday_zero_offset());
    format!("{day} {} {}", date.day(), of(&MONTHS, date.month() - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> ReportZone {
        ReportZone::parse(name).expect(name)
    }

    fn hours(zone: &ReportZone, week: &str) -> u64 {
        let span = zone.week(IsoWeek::parse(week).expect(week)).expect("a week");
        (span.until - span.from) / 4
    }

    #[test]
    fn week_is_read_as_it_is_written_and_one_that_a_year_lacks_is_not() {
        for text in ["2026-W48", "2026-W53", "2025-W01"] {
            assert_eq!(IsoWeek::parse(text).expect(text).to_string(), text);
        }
        for wrong in [
            "", "2026", "2026-48", "2026-W00", "2025-W53", "2026-W54", "2026-W5", "26-W05", "2026-W+5",
            "0001-W01", "9999-W01",
        ] {
            assert_eq!(IsoWeek::parse(wrong), None, "{wrong}");
        }
        let week = |text| IsoWeek::parse(text).expect(text);
        assert_eq!(week("2026-W01").before(1), Some(week("2025-W52")));
        assert_eq!(week("2027-W01").before(1), Some(week("2026-W53")));
    }

    #[test]
    fn week_in_which_clocks_change_is_an_hour_longer_or_shorter() {
        let berlin = zone("Europe/Berlin");
        assert_eq!(
            [hours(&berlin, "2026-W13"), hours(&berlin, "2026-W43"), hours(&berlin, "2026-W44")],
            [167, 169, 168]
        );
        let days: Vec<u64> = berlin
            .days(IsoWeek::parse("2026-W43").expect("a week"))
            .iter()
            .map(|day| day.span.until - day.span.from)
            .collect();
        assert_eq!(days, [96, 96, 96, 96, 96, 96, 100]);
        // Half an hour, at Lord Howe Island.
        let span =
            zone("Australia/Lord_Howe").week(IsoWeek::parse("2026-W40").expect("a week")).expect("a week");
        assert_eq!(span.until - span.from, 167 * 4 + 2);
        // 23 Nov 2026, 00:00 in Berlin is 23:00 UTC of the day before.
        let span = berlin.week(IsoWeek::parse("2026-W48").expect("a week")).expect("a week");
        assert_eq!(span.from_ms(), 1_795_388_400_000);
        assert_eq!(berlin.week_of(span.from_ms()), IsoWeek::parse("2026-W48"));
        assert_eq!(berlin.week_of(span.from_ms() - 1), IsoWeek::parse("2026-W47"));
        assert_eq!(berlin.label(1_795_507_900_000), "Tue 24 Nov 09:11");
    }

    #[test]
    fn days_of_ten_years_follow_each_other_without_a_hole_in_every_zone() {
        for name in jiff::tz::db().available().step_by(12) {
            let zone = zone(name.as_str());
            let mut last: Option<QuarterSpan> = None;
            for year in 2017..2027 {
                for number in 1..=52 {
                    let week = IsoWeek { year, week: number };
                    let span = zone.week(week).expect("a week");
                    let days = zone.days(week);
                    assert_eq!(days.len(), 7, "{name} {week}");
                    let mut next = span.from;
                    for day in days {
                        assert_eq!(day.span.from, next, "{name} {week}");
                        assert!(day.span.until > next, "{name} {week}");
                        next = day.span.until;
                    }
                    assert_eq!(next, span.until, "{name} {week}");
                    if let Some(last) = last.replace(span).filter(|_| number > 1) {
                        assert_eq!(last.until, span.from, "{name} {week}");
                    }
                }
            }
        }
        // Samoa left 30 December 2011 out.
        let days = zone("Pacific/Apia").days(IsoWeek::parse("2011-W52").expect("a week"));
        let lengths: Vec<u64> = days.iter().map(|day| day.span.until - day.span.from).collect();
        assert_eq!(lengths, [96, 96, 96, 96, 0, 96, 96]);
    }

    #[test]
    fn time_of_a_report_is_in_the_week_after_by_the_clocks_of_the_zone() {
        let at = |text| WeekTime::parse(text).expect(text);
        for text in ["Mon 09:00", "Sun 23:59", "Wed 00:00"] {
            assert_eq!(at(text).to_string(), text);
        }
        for wrong in ["", "Mon", "Mon 9:00", "Mon 24:00", "Mon 09:60", "mon 09:00", "Mon 09:00 ", "Mon +9:00"]
        {
            assert_eq!(WeekTime::parse(wrong), None, "{wrong}");
        }
        let (berlin, week) = (zone("Europe/Berlin"), IsoWeek::parse("2026-W48").expect("a week"));
        let end_ms = berlin.week(week).expect("a week").until_ms();
        assert_eq!(berlin.after_week_ms(week, at("Mon 09:00")), Some(end_ms + 9 * 3_600_000));
        // Clocks go forward from 2 to 3 on Sunday, 29 March.
        let week = IsoWeek::parse("2026-W12").expect("a week");
        let end_ms = berlin.week(week).expect("a week").until_ms();
        let sunday_ms = end_ms + 6 * 86_400_000;
        assert_eq!(berlin.after_week_ms(week, at("Sun 09:00")), Some(sunday_ms + 8 * 3_600_000));
        assert_eq!(berlin.after_week_ms(week, at("Sun 02:30")), Some(sunday_ms + 5 * 1_800_000));
    }

    #[test]
    fn time_of_the_clocks_is_read_unless_they_skip_it_or_have_it_twice() {
        let berlin = zone("Europe/Berlin");
        assert_eq!(berlin.time("2026-11-24T02:00"), Some(1_795_482_000_000));
        assert_eq!(berlin.time("2026-11-24T01:00Z"), Some(1_795_482_000_000));
        for wrong in [
            "",
            "2026-11-24",
            "2026-11-24T2:00",
            "2026-11-24 02:00",
            "2026-11-24T02:00:00",
            "2026-11-31T02:00",
            "2026-11-24T02:00+01:00",
            "2026-03-29T02:30",
            "2026-10-25T02:30",
            "1969-12-31T23:00Z",
        ] {
            assert_eq!(berlin.time(wrong), None, "{wrong}");
        }
        assert_eq!(berlin.time("2026-10-25T00:30Z").map(|at| at % QUARTER_MS), Some(0));
    }

    #[test]
    fn name_of_a_zone_is_one_of_the_database() {
        assert_eq!([zone("UTC").name(), zone("europe/berlin").name()], ["UTC", "Europe/Berlin"]);
        for wrong in ["", "Europe/Nowhere", "CET+1", "../etc/passwd"] {
            assert_eq!(ReportZone::parse(wrong), None, "{wrong}");
        }
    }
}
