//! The words of alerts: one table for all channels, the log and reports.

use super::key::{AlertKey, AlertKind};
use time::OffsetDateTime;

/// The effect of a missed objective on users.
fn objective(name: &str) -> &str {
    match name {
        "connection" => "clients cannot connect",
        "delivery" => "messages are not stored",
        "latency" => "replies are late",
        "health" => "health reports are late",
        "explained" => "sessions end without a reason",
        "recovery" => "clients return late",
        "answers" => "answers fail",
        "promptness" => "answers begin late",
        other => other,
    }
}

/// One line that says what is wrong.
pub fn title(key: &AlertKey) -> String {
    let name = &*key.name;
    match key.kind {
        AlertKind::Dependency => format!("{name} is down"),
        AlertKind::Instance => format!("the instance {name} fails its canary"),
        AlertKind::Capacity => format!("{name} has little room for more connections"),
        AlertKind::Clock => format!("the clock of {name} is wrong, or that of the database"),
        AlertKind::Canary => format!("the canary of {name} has stopped"),
        AlertKind::Burn => objective(name).to_owned(),
        AlertKind::Leak => format!("{} more often than the objective allows", objective(name)),
        AlertKind::Spent => format!("the error budget of {name} is spent"),
        AlertKind::Low => format!("less than a tenth of the error budget of {name} is left"),
        AlertKind::Alerting => format!("notices do not reach {name}"),
        AlertKind::Certificate => "the certificate expires within 14 days".into(),
        AlertKind::Disk => format!("{name} cannot be written"),
        AlertKind::Storm => "more critical incidents than are sent one by one".into(),
        AlertKind::Test => format!("test of the channel {name}"),
        AlertKind::Report => "the report of a week".into(),
    }
}

/// A time in UTC, as in `2026-11-24T08:11:40Z`.
pub fn utc(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1_000).unwrap_or(0);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", at.hour(), at.minute(), at.second())
}

/// A duration in words: `40 s`, `12 min`, `3 h`, `2 d`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        172_800.. => format!("{} d", seconds / 86_400),
    }
}

/// Parts per million as percent, without zeros at the end.
pub fn percent(ppm: u32) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(utc(1_795_507_900_000), "2026-11-24T08:11:40Z");
        assert_eq!([40_000, 720_000, 10_800_000, 172_800_000].map(span), ["40 s", "12 min", "3 h", "2 d"]);
        assert_eq!([1_000_000, 16_800, 1].map(percent), ["100 %", "1.68 %", "0.0001 %"]);
    }
}
