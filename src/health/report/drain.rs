//! How far a drain has come, as JSON: a member of the health reports, and the body of `/drain` on the admin listener.

use super::Report;
use crate::health::drain::{Progress, whole_ms};

/// `,"drain":{…}` while there is one, else nothing: phase, since when (Unix milliseconds), and who is left.
pub(super) fn member(progress: &Progress) -> String {
    let Some((_, since)) = progress.began else { return String::new() };
    let (phase, connections) = (progress.phase.as_str(), progress.connections);
    format!(r#","drain":{{"phase":"{phase}","since":{since},"connections":{connections}}}"#)
}

impl Progress {
    /// The body of `/drain`: always 200, since it says how it stands.
    pub fn report(&self) -> Report {
        let Progress { phase, connections, told, moved, stragglers, unfinished, plan, .. } = self;
        let began = self.began.map_or_else(String::new, |(cause, since)| {
            let elapsed_ms = whole_ms(self.elapsed);
            format!(r#""cause":"{}","since":{since},"elapsed_ms":{elapsed_ms},"#, cause.as_str())
        });
        let periods = [plan.accept, plan.spread, plan.close, plan.exit, plan.returns].map(whole_ms);
        let [accept, spread, close, exit, returns] = periods;
        let body = format!(
            r#"{{"phase":"{}",{began}"connections":{connections},"told":{told},"moved":{moved},"stragglers":{stragglers},"unfinished":{{"appends":{},"closes":{},"bytes":{}}},"plan":{{"accept_ms":{accept},"spread_ms":{spread},"close_ms":{close},"exit_ms":{exit},"return_ms":{returns}}}}}"#,
            phase.as_str(),
            unfinished.appends,
            unfinished.closes,
            unfinished.bytes,
        );
        Report { status: 200, body }
    }
}

#[cfg(test)]
mod tests {
    use crate::health::drain::{Cause, Phase, Plan, Progress, Unfinished};
    use std::time::Duration;

    #[test]
    fn the_report_is_json_and_says_everything() {
        let progress = Progress {
            phase: Phase::Serving,
            began: None,
            plan: Plan::default(),
            elapsed: Duration::ZERO,
            connections: 9,
            told: 8,
            moved: 7,
            stragglers: 6,
            unfinished: Unfinished { appends: 5, closes: 4, bytes: 3 },
        };
        let read = |progress: Progress| -> serde_json::Value {
            serde_json::from_str(&progress.report().body).expect("JSON")
        };
        let serving = read(progress);
        assert_eq!((&serving["phase"], serving.get("since")), (&"serving".into(), None));
        assert_eq!(serving["plan"]["close_ms"], 23_000);
        let began = Some((Cause::Operator, 1_763_770_000_000));
        let moving =
            read(Progress { phase: Phase::Moving, began, elapsed: Duration::from_secs(4), ..progress });
        let expected = serde_json::json!({
            "phase": "moving", "cause": "operator", "since": 1_763_770_000_000_u64, "elapsed_ms": 4_000,
            "connections": 9, "told": 8, "moved": 7, "stragglers": 6,
            "unfinished": {"appends": 5, "closes": 4, "bytes": 3},
            "plan": {"accept_ms": 3_000, "spread_ms": 18_000, "close_ms": 23_000, "exit_ms": 28_000,
                     "return_ms": 10_000},
        });
        assert_eq!(moving, expected);
    }
}
