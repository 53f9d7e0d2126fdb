//! The load of an instance, for the others: JSON in a field of a Redis hash, written every five seconds.
//!
//! The text comes from Redis, which is not trusted, so it is read into numbers and short words and never passed on as it is.

use serde::{Deserialize, Serialize};

/// Bytes of the JSON text.
pub const STATS_BYTES_MAX: usize = 900;

/// The load of one instance. Readers ignore unknown members, and take absent ones for 0 or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceStats {
    /// The version of its program.
    pub version: String,
    /// The start of its process, Unix milliseconds.
    pub since: u64,
    /// `serving`, or a phase of its drain.
    pub phase: String,
    pub connections: u64,
    pub connections_max: u64,
    pub subscriptions: u64,
    /// Sessions that became `connected`, a second.
    pub connects_per_s: u64,
    /// Publications acknowledged a second.
    pub publishes_per_s: u64,
    /// Publications delivered to subscribers, a second.
    pub deliveries_per_s: u64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Of one core; four busy cores are 400.
    pub cpu_percent: u64,
    /// The longest turn of a reactor in the last ten seconds, in milliseconds.
    pub turn_ms: f64,
    /// The level of its `status`: `ok`, `degraded` or `down`.
    pub level: String,
    /// The state of its store; absent if it is not probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The state of its bus; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// The number of the last order that it has carried out.
    pub order: u64,
    /// Its part in spreading connections.
    pub rebalance: RebalanceStats,
}

/// The part of an instance in spreading connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RebalanceStats {
    /// `even`, `waiting`, `moving` or `returning`.
    pub state: String,
    /// The distance from the mean that an operator ordered there for all instances, in percent; absent without an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordered_percent: Option<u32>,
    /// The rest of that order in seconds.
    pub ordered_s: u32,
    /// Clients that left after they were asked to move.
    pub moved: u64,
    /// Clients that were asked and stayed.
    pub stayed: u64,
    /// Clients that arrived although they asked for another instance.
    pub returned: u64,
}

impl InstanceStats {
    /// The JSON text.
    pub fn encode(&self) -> String {
        // A struct of numbers and strings has a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the JSON text; `None` if it is too long or something else.
    pub fn parse(bytes: &[u8]) -> Option<InstanceStats> {
        // Otherwise a list would be read as the members in their order.
        if bytes.len() > STATS_BYTES_MAX || bytes.first() != Some(&b'{') {
            return None;
        }
        let stats: InstanceStats = serde_json::from_slice(bytes).ok()?;
        let is_plain = |text: &str| !text.contains(char::is_control);
        let words = [
            Some(&stats.version),
            Some(&stats.phase),
            Some(&stats.level),
            Some(&stats.rebalance.state),
            stats.store.as_ref(),
            stats.bus.as_ref(),
        ];
        let are_plain = words.into_iter().flatten().all(|text| is_plain(text));
        are_plain.then_some(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_are_read_as_written_and_the_largest_fit() {
        let text = || "x".repeat(20);
        let stats = InstanceStats {
            version: text(),
            since: u64::MAX,
            phase: text(),
            connections: u64::MAX,
            connections_max: u64::MAX,
            subscriptions: u64::MAX,
            connects_per_s: u64::MAX,
            publishes_per_s: u64::MAX,
            deliveries_per_s: u64::MAX,
            memory_bytes: u64::MAX,
            cpu_percent: u64::MAX,
            turn_ms: 12_345.678,
            level: text(),
            store: Some(text()),
            bus: Some(text()),
            order: u64::MAX,
            rebalance: RebalanceStats {
                state: text(),
                ordered_percent: Some(u32::MAX),
                ordered_s: u32::MAX,
                moved: u64::MAX,
                stayed: u64::MAX,
                returned: u64::MAX,
            },
        };
        let encoded = stats.encode();
        assert!(encoded.len() <= STATS_BYTES_MAX, "{} bytes", encoded.len());
        assert_eq!(InstanceStats::parse(encoded.as_bytes()), Some(stats));
    }

    #[test]
    fn newer_members_are_ignored_and_other_text_refused() {
        let stats = InstanceStats::parse(br#"{"connections":3,"of_the_future":[1]}"#).expect("stats");
        assert_eq!((stats.connections, stats.store), (3, None));
        let long = format!("{{\"version\":\"{}\"}}", "x".repeat(STATS_BYTES_MAX));
        for text in
            ["", "[]", r#"{"connections":"3"}"#, r#"{"connections":-1}"#, r#"{"phase":"a\nb"}"#, &long]
        {
            assert_eq!(InstanceStats::parse(text.as_bytes()), None, "{text}");
        }
    }
}
