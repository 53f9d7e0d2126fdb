//! The progress of a drain, as the body of `/drain` on the admin listener.

use super::{DrainCause, DrainPhase, Plan, whole_ms};
use std::time::Duration;

/// Work that the process abandoned at its deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Publications without an answer from the store. Their outcome is unknown.
    pub appends: u64,
    /// Connections whose close frame was not sent.
    pub closes: u64,
    /// Bytes that were waiting for those connections.
    pub bytes: u64,
}

impl Unfinished {
    /// True exactly if nothing was abandoned.
    pub fn is_nothing(self) -> bool {
        self == Unfinished::default()
    }
}

/// The progress of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub phase: DrainPhase,
    /// The cause, and the beginning in Unix milliseconds; `None` while the process serves.
    pub began: Option<(DrainCause, u64)>,
    pub plan: Plan,
    pub elapsed: Duration,
    /// Connections that have not left.
    pub connections: u64,
    /// Connections that were assigned a slot.
    pub notified: u64,
    /// Connections that left by themselves after they were assigned a slot.
    pub moved: u64,
    /// Connections that were closed because they had not moved.
    pub stragglers: u64,
    pub unfinished: Unfinished,
}

impl Progress {
    /// The body of `/drain`.
    pub fn json(&self) -> String {
        let Progress { phase, connections, notified, moved, stragglers, unfinished, plan, .. } = self;
        let began = self.began.map_or_else(String::new, |(cause, since)| {
            let elapsed_ms = whole_ms(self.elapsed);
            format!(r#""cause":"{}","since":{since},"elapsed_ms":{elapsed_ms},"#, cause.as_str())
        });
        let periods = [plan.accept, plan.spread, plan.close, plan.exit, plan.returns].map(whole_ms);
        let [accept, spread, close, exit, returns] = periods;
        format!(
            r#"{{"phase":"{}",{began}"connections":{connections},"told":{notified},"moved":{moved},"stragglers":{stragglers},"unfinished":{{"appends":{},"closes":{},"bytes":{}}},"plan":{{"accept_ms":{accept},"spread_ms":{spread},"close_ms":{close},"exit_ms":{exit},"return_ms":{returns}}}}}"#,
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
    fn report_is_json_with_every_field() {
        let progress = Progress {
            phase: DrainPhase::Serving,
            began: None,
            plan: Plan::default(),
            elapsed: Duration::ZERO,
            connections: 9,
            notified: 8,
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
        let began = Some((DrainCause::Operator, 1_763_770_000_000));
        let moving =
            read(Progress { phase: DrainPhase::Moving, began, elapsed: Duration::from_secs(4), ..progress });
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
