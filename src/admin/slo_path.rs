//! The paths of objectives: a method, a path and a query become a question, or a refusal.

use super::bodies::members;
use super::refusal::AdminRefusal;
use crate::job::slo::{ExclusionWish, SloQuestion};
use crate::slo::calendar::IsoWeek;
use crate::slo::trend::TREND_WEEKS_MAX;
use crate::slo::weekly_text::ReportFormat;
use crate::wire::request::Method;
use serde_json::Value;

const EXCLUSION: &str =
    r#"{"from":"2026-11-24T02:00","until":"2026-11-24T02:30","why":"…","objective":"delivery"}"#;

/// The weeks of a history without a number.
const HISTORY_WEEKS: u16 = 12;

/// The question of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectivesQuestion {
    /// All objectives as last judged.
    All,
    One(String),
    /// A question that needs the rows.
    Rows(SloQuestion),
    Exclude(ExclusionWish),
    EndExclusion(u64),
}

/// The paths; each accepts certain methods.
#[derive(Clone, Copy)]
pub(super) enum SloPath<'a> {
    All,
    One(&'a str),
    Report,
    History(&'a str),
    Exclusions,
    Exclusion(&'a str),
}

impl SloPath<'_> {
    /// The path, if it is one of these.
    pub(super) fn of(path: &str) -> Option<SloPath<'_>> {
        Some(match path.strip_prefix("/slo")? {
            "" => SloPath::All,
            "/report" => SloPath::Report,
            "/exclusions" => SloPath::Exclusions,
            rest => match rest.strip_prefix('/')?.split_once('/') {
                None => SloPath::One(rest.trim_start_matches('/')),
                Some((name, "history")) => SloPath::History(name),
                Some(("exclusions", number)) => SloPath::Exclusion(number),
                Some(_) => return None,
            },
        })
    }

    /// Reads a request.
    pub(super) fn question(
        self,
        method: Method,
        query: &str,
        body: &[u8],
    ) -> Result<ObjectivesQuestion, AdminRefusal> {
        match (self, method) {
            (SloPath::All, Method::Get | Method::Head) => Ok(ObjectivesQuestion::All),
            (SloPath::One(name), Method::Get | Method::Head) => Ok(ObjectivesQuestion::One(name.to_owned())),
            (SloPath::Report, Method::Get | Method::Head) => report(query).map(ObjectivesQuestion::Rows),
            (SloPath::History(name), Method::Get | Method::Head) => {
                history(name, query).map(ObjectivesQuestion::Rows)
            }
            (SloPath::Exclusions, Method::Get | Method::Head) => {
                Ok(ObjectivesQuestion::Rows(SloQuestion::Exclusions))
            }
            (SloPath::Exclusions, Method::Post) => exclusion(body).map(ObjectivesQuestion::Exclude),
            (SloPath::Exclusion(name), Method::Delete) => number(name).map(ObjectivesQuestion::EndExclusion),
            (SloPath::All | SloPath::One(_) | SloPath::Report | SloPath::History(_), _) => {
                Err(AdminRefusal::method("GET, HEAD"))
            }
            (SloPath::Exclusions, _) => Err(AdminRefusal::method("GET, HEAD, POST")),
            (SloPath::Exclusion(_), _) => Err(AdminRefusal::method("DELETE")),
        }
    }
}

fn number(text: &str) -> Result<u64, AdminRefusal> {
    let wrong = || {
        let message = format!("{text:?} is no number of an exclusion: GET /slo/exclusions lists them");
        AdminRefusal::new(400, "malformed", message)
    };
    text.parse().map_err(|_| wrong())
}

/// Reads an exclusion. Times and bounds are checked by the thread that knows the time zone of reports.
fn exclusion(body: &[u8]) -> Result<ExclusionWish, AdminRefusal> {
    let members = members(body, &["from", "until", "why", "objective"], EXCLUSION)?;
    let text = |name: &str| {
        let wrong = || AdminRefusal::body_wrong(format_args!("{name} must be text"), EXCLUSION);
        members.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(wrong)
    };
    let objective = members.contains_key("objective").then(|| text("objective")).transpose()?;
    Ok(ExclusionWish { objective, from: text("from")?, until: text("until")?, why: text("why")? })
}

fn report(query: &str) -> Result<SloQuestion, AdminRefusal> {
    let [week, format] = parameters(query, ["week", "format"])?;
    let week = week.map(|text| {
        let wrong = || AdminRefusal::query_wrong("week must be an ISO week like 2026-W48");
        IsoWeek::parse(text).ok_or_else(wrong)
    });
    let format = format.map(|text| {
        let wrong = || AdminRefusal::query_wrong("format must be text, markdown or json");
        ReportFormat::parse(text).ok_or_else(wrong)
    });
    let format = format.transpose()?.unwrap_or(ReportFormat::Json);
    Ok(SloQuestion::Report { week: week.transpose()?, format })
}

fn history(name: &str, query: &str) -> Result<SloQuestion, AdminRefusal> {
    let [weeks] = parameters(query, ["weeks"])?;
    let weeks = weeks.map_or(Some(HISTORY_WEEKS), |text| text.parse().ok());
    let weeks = weeks.filter(|weeks| (1..=TREND_WEEKS_MAX).contains(weeks)).ok_or_else(|| {
        AdminRefusal::query_wrong(&format!("weeks must be a whole number from 1 to {TREND_WEEKS_MAX}"))
    })?;
    Ok(SloQuestion::History { name: name.to_owned(), weeks })
}

/// The values of these parameters. An unknown one is rejected, because it may be a misspelling. No value here needs percent-encoding.
fn parameters<'a, const N: usize>(
    query: &'a str,
    known: [&str; N],
) -> Result<[Option<&'a str>; N], AdminRefusal> {
    let mut found = [None; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let cell = known.iter().position(|known| *known == name).and_then(|at| found.get_mut(at));
        let Some(cell) = cell else {
            let names = known.join(", ");
            return Err(AdminRefusal::query_wrong(&format!(
                "unknown parameter {name:?}; there are: {names}"
            )));
        };
        *cell = Some(value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, query: &str) -> Result<ObjectivesQuestion, AdminRefusal> {
        SloPath::of(path).expect("a path of objectives").question(Method::Get, query, b"")
    }

    #[test]
    fn report_has_a_week_and_a_format_or_is_refused_with_advice() {
        let report = |week: Option<&str>, format| {
            let week = week.and_then(IsoWeek::parse);
            Ok(ObjectivesQuestion::Rows(SloQuestion::Report { week, format }))
        };
        assert_eq!(read("/slo/report", ""), report(None, ReportFormat::Json));
        assert_eq!(
            read("/slo/report", "week=2026-W48&format=text"),
            report(Some("2026-W48"), ReportFormat::Text)
        );
        assert_eq!(read("/slo/delivery", "week=1"), Ok(ObjectivesQuestion::One("delivery".into())));
        for (query, part) in [
            ("week=48", "week must be an ISO week like 2026-W48"),
            ("week=2025-W53", "week must be"),
            ("format=html", "format must be text, markdown or json"),
            ("weeks=2026-W48", "unknown parameter \"weeks\"; there are: week, format"),
        ] {
            let refusal = read("/slo/report", query).expect_err(query);
            assert!(refusal.status == 400 && refusal.message.contains(part), "{query}: {}", refusal.message);
        }
        let refusal = SloPath::Report.question(Method::Post, "", b"").expect_err("not changed");
        assert_eq!(refusal.status, 405);
    }

    #[test]
    fn exclusion_is_added_and_removed_or_refused_with_its_form() {
        let ask = |method, path, body: &str| {
            SloPath::of(path).expect("a path").question(method, "", body.as_bytes())
        };
        let body =
            r#"{"from":"2026-11-24T02:00","until":"2026-11-24T02:30","why":"move","objective":"delivery"}"#;
        let wish = ExclusionWish {
            objective: Some("delivery".into()),
            from: "2026-11-24T02:00".into(),
            until: "2026-11-24T02:30".into(),
            why: "move".into(),
        };
        assert_eq!(ask(Method::Post, "/slo/exclusions", body), Ok(ObjectivesQuestion::Exclude(wish)));
        let list = ObjectivesQuestion::Rows(SloQuestion::Exclusions);
        assert_eq!(ask(Method::Get, "/slo/exclusions", ""), Ok(list));
        assert_eq!(ask(Method::Delete, "/slo/exclusions/3", ""), Ok(ObjectivesQuestion::EndExclusion(3)));
        for (method, path, body, part) in [
            (Method::Post, "/slo/exclusions", "{}", "from must be text"),
            (Method::Post, "/slo/exclusions", r#"{"from":1}"#, "from must be text"),
            (Method::Post, "/slo/exclusions", r#"{"form":""}"#, "unknown member \"form\""),
            (Method::Delete, "/slo/exclusions/x", "", "no number of an exclusion"),
            (Method::Get, "/slo/exclusions/3", "", "takes DELETE"),
        ] {
            let refusal = ask(method, path, body).expect_err(path);
            assert!(refusal.message.contains(part), "{path}: {}", refusal.message);
        }
        assert!(SloPath::of("/slo/delivery/other").is_none());
    }

    #[test]
    fn history_has_a_bounded_number_of_weeks() {
        let history =
            |weeks| Ok(ObjectivesQuestion::Rows(SloQuestion::History { name: "delivery".into(), weeks }));
        assert_eq!(read("/slo/delivery/history", ""), history(12));
        assert_eq!(read("/slo/delivery/history", "weeks=114"), history(114));
        for wrong in ["weeks=0", "weeks=115", "weeks=", "weeks=x", "week=1"] {
            let refusal = read("/slo/delivery/history", wrong).expect_err(wrong);
            assert!(
                refusal.status == 400 && refusal.message.contains("week"),
                "{wrong}: {}",
                refusal.message
            );
        }
    }
}
