//! Requests to spread connections: JSON becomes a wish, or a problem that names the field, the bound and what to do.

use super::order_body::members;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::scan::{JsonKind, Raw};
use std::ops::RangeInclusive;

/// The distance from the mean that may be even enough, in percent of it.
pub const WITHIN_PERCENT: RangeInclusive<u32> = 3..=100;

/// A request to spread connections evenly over the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebalanceWish {
    /// The distance from the mean that is even enough, in percent of it; `None`: as the settings say.
    pub within_percent: Option<u32>,
    pub purpose: RebalancePurpose,
}

/// The purpose of a [`RebalanceWish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebalancePurpose {
    /// All instances begin a round.
    Round,
    /// The answer says what a round would move.
    Forecast,
}

/// Reads a body: `{"within_percent"?,"dry_run"?}`. An empty one asks for a round.
pub fn read(text: &str) -> Result<RebalanceWish, ApiProblem> {
    let [within, dry_run] = members(text, ["within_percent", "dry_run"])?;
    let within_percent = within.map(percent).transpose()?;
    let purpose = match dry_run.map(|raw| raw.text) {
        None | Some("false") => RebalancePurpose::Round,
        Some("true") => RebalancePurpose::Forecast,
        Some(_) => return Err(malformed("dry_run must be true or false".into())),
    };
    Ok(RebalanceWish { within_percent, purpose })
}

fn percent(raw: Raw<'_>) -> Result<u32, ApiProblem> {
    let whole = raw.integer().ok().filter(|_| raw.kind == JsonKind::Number);
    let percent = whole.and_then(|percent| u32::try_from(percent).ok());
    percent.filter(|percent| WITHIN_PERCENT.contains(percent)).ok_or_else(|| {
        let (least, most) = (WITHIN_PERCENT.start(), WITHIN_PERCENT.end());
        malformed(format!(
            "within_percent must be a whole number from {least} to {most}; leave it out for \
             cluster.rebalance_within_percent"
        ))
    })
}

fn malformed(detail: String) -> ApiProblem {
    ApiProblem::lasting(ProblemCode::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_asks_for_a_round_or_a_forecast() {
        let wish = |within_percent, purpose| Ok(RebalanceWish { within_percent, purpose });
        assert_eq!(read(" "), wish(None, RebalancePurpose::Round));
        assert_eq!(read(r#"{"within_percent":3}"#), wish(Some(3), RebalancePurpose::Round));
        assert_eq!(
            read(r#"{"within_percent":100,"dry_run":true}"#),
            wish(Some(100), RebalancePurpose::Forecast)
        );
        assert_eq!(read(r#"{"dry_run":false}"#), wish(None, RebalancePurpose::Round));
    }

    #[test]
    fn wrong_body_is_refused_with_the_field_and_its_bound() {
        for (body, says) in [
            (r#"{"within_percent":2}"#, "within_percent must be a whole number from 3 to 100"),
            (r#"{"within_percent":101}"#, "from 3 to 100"),
            (r#"{"within_percent":"5"}"#, "from 3 to 100"),
            (r#"{"within_percent":5.5}"#, "from 3 to 100"),
            (r#"{"dry_run":1}"#, "dry_run must be true or false"),
            (r#"{"within":5}"#, "unknown member \"within\"; known are within_percent, dry_run"),
            ("5", "must be a JSON object"),
        ] {
            let problem = read(body).expect_err(says);
            assert!(problem.detail.contains(says), "{}", problem.detail);
        }
    }
}
