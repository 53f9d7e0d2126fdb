//! The paths of objectives: a method, a path and a query become a question, or a refusal.

use super::refusal::AdminRefusal;
use crate::job::slo::SloQuestion;
use crate::slo::calendar::IsoWeek;
use crate::slo::weekly_text::ReportFormat;
use crate::wire::request::Method;

/// The question of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectivesQuestion {
    /// All objectives as last judged.
    All,
    One(String),
    /// A question that needs the rows.
    Rows(SloQuestion),
}

/// The paths; each accepts certain methods.
#[derive(Clone, Copy)]
pub(super) enum SloPath<'a> {
    All,
    One(&'a str),
    Report,
}

impl SloPath<'_> {
    /// The path, if it is one of these.
    pub(super) fn of(path: &str) -> Option<SloPath<'_>> {
        Some(match path.strip_prefix("/slo")? {
            "" => SloPath::All,
            "/report" => SloPath::Report,
            rest => SloPath::One(rest.strip_prefix('/')?),
        })
    }

    /// Reads a request.
    pub(super) fn question(self, method: Method, query: &str) -> Result<ObjectivesQuestion, AdminRefusal> {
        match (self, method) {
            (SloPath::All, Method::Get | Method::Head) => Ok(ObjectivesQuestion::All),
            (SloPath::One(name), Method::Get | Method::Head) => Ok(ObjectivesQuestion::One(name.to_owned())),
            (SloPath::Report, Method::Get | Method::Head) => report(query).map(ObjectivesQuestion::Rows),
            (SloPath::All | SloPath::One(_) | SloPath::Report, _) => Err(AdminRefusal::method("GET, HEAD")),
        }
    }
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
        SloPath::of(path).expect("a path of objectives").question(Method::Get, query)
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
        let refusal = SloPath::Report.question(Method::Post, "").expect_err("not changed");
        assert_eq!(refusal.status, 405);
    }
}
