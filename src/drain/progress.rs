//! How far a drain has come, for people and programs: the body of `/drain` on the admin listener.

use super::{Cause, Phase, Plan, whole_ms};
use std::time::Duration;

/// What could not be finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Publications that got no answer of the store: their outcome is not known.
    pub appends: u64,
    /// Connections whose close was not sent.
    pub closes: u64,
    /// Bytes that waited for them.
    pub bytes: u64,
}

impl Unfinished {
    /// True exactly when everything was.
    pub fn is_nothing(self) -> bool {
        self == Unfinished::default()
    }
}

/// How far a drain has come, for people and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// Why and when it began, Unix milliseconds; `None` while there is none.
    pub began: Option<(Cause, u64)>,
    /// Its periods.
    pub plan: Plan,
    /// For how long it has been going on.
    pub elapsed: Duration,
    /// Connections that are here.
    pub connections: u64,
    /// Connections that were given a slot.
    pub told: u64,
    /// Connections that left by themselves after they were given one.
    pub moved: u64,
    /// Connections that were closed since they had not moved.
    pub stragglers: u64,
    /// What is given up so far.
    pub unfinished: Unfinished,
}

impl Progress {
    /// The body of `/drain`.
    pub fn json(&self) -> String {
        let Progress { phase, connections, told, moved, stragglers, unfinished, plan, .. } = self;
        let began = self.began.map_or_else(String::new, |(cause, since)| {
            let elapsed_ms = whole_ms(self.elapsed);
            format!(r#""cause":"{}","since":{since},"elapsed_ms":{elapsed_ms},"#, cause.as_str())
        });
        let periods = [plan.accept, plan.spread, plan.close, plan.exit, plan.returns].map(whole_ms);
        let [accept, spread, close, exit, returns] = periods;
        format!(
            r#"{{"phase":"{}",{began}"connections":{connections},"told":{told},"moved":{moved},"stragglers":{stragglers},"unfinished":{{"appends":{},"closes":{},"bytes":{}}},"plan":{{"accept_ms":{accept},"spread_ms":{spread},"close_ms":{close},"exit_ms":{exit},"return_ms":{returns}}}}}"#,
            phase.as_str(),
            unfinished.appends,
            unfinished.closes,
            unfinished.bytes,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            serde_json::from_str(&progress.json()).expect("JSON")
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
