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
    /// Users with connections; with auth off none is counted.
    pub users: u64,
    pub subscriptions: u64,
    #[serde(flatten)]
    pub rates: LoadRates,
    /// Resident memory.
    pub memory_bytes: u64,
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
    /// The revision of its `status`.
    pub revision: u64,
    /// The number of the last order that it has carried out.
    pub order: u64,
    /// The address of its admin listener for operators elsewhere; empty if none is set, or if it does not fit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Its part in spreading connections.
    pub rebalance: RebalanceStats,
    #[serde(flatten)]
    pub signs: InstanceSigns,
}

/// Faults of an instance that its load does not show: members of [`InstanceStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceSigns {
    /// Its clock minus the one of the store, in milliseconds; absent if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_ms: Option<i32>,
    /// Seconds since the last round of its canary, if it has stopped; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_s: Option<u32>,
}

/// The work of an instance over the last measurement: members of [`InstanceStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadRates {
    /// Sessions that became `connected`, a second.
    pub connects_per_s: u64,
    /// Ends of WebSockets, a second, by close code; less than one counts as one.
    pub closes_per_s: CloseRates,
    /// Publications acknowledged a second.
    pub publishes_per_s: u64,
    /// Publications delivered to subscribers, a second.
    pub deliveries_per_s: u64,
    /// The time from a client's publish command to its acknowledgement that half of them do not exceed; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_p50_us: Option<u32>,
    /// The time that 99 % of them do not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_p99_us: Option<u32>,
    /// Of one core; four busy cores are 400.
    pub cpu_percent: u64,
}

/// Ends of WebSockets a second, by close code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CloseRates {
    /// The connection broke, or the client left without a close frame.
    #[serde(rename = "1006")]
    pub lost: u32,
    /// A critical dependency is down.
    #[serde(rename = "1011")]
    pub unavailable: u32,
    /// The instance drains or ends.
    #[serde(rename = "1012")]
    pub restart: u32,
    /// A bound is reached, or too many clients arrive at once.
    #[serde(rename = "1013")]
    pub over_capacity: u32,
    /// The client fell silent or reads nothing.
    #[serde(rename = "4408")]
    pub silent: u32,
    /// All other codes, those of clients that leave among them.
    pub other: u32,
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
    /// The JSON text, without `url` if it does not fit, and without [`InstanceSigns`] if it still does not, which takes numbers that no
    /// machine has.
    pub fn encode(&self) -> String {
        // A struct of numbers and strings has a JSON form.
        let text = |stats: &InstanceStats| serde_json::to_string(stats).unwrap_or_default();
        let without_url = || InstanceStats { url: String::new(), ..self.clone() };
        let fits = |text: &String| text.len() <= STATS_BYTES_MAX;
        let some = [text(self), text(&without_url())].into_iter().find(fits);
        some.unwrap_or_else(|| text(&InstanceStats { signs: InstanceSigns::default(), ..without_url() }))
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
            Some(&stats.url),
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
    use crate::id::INTEGER_MAX;

    #[test]
    fn stats_are_read_as_written_and_the_largest_fit() {
        // The longest words have 14 letters, and no count exceeds what a browser represents exactly.
        let text = || "x".repeat(16);
        let stats = InstanceStats {
            version: text(),
            since: INTEGER_MAX,
            phase: text(),
            connections: INTEGER_MAX,
            connections_max: INTEGER_MAX,
            users: INTEGER_MAX,
            subscriptions: INTEGER_MAX,
            rates: LoadRates {
                connects_per_s: INTEGER_MAX,
                closes_per_s: CloseRates {
                    lost: u32::MAX,
                    unavailable: u32::MAX,
                    restart: u32::MAX,
                    over_capacity: u32::MAX,
                    silent: u32::MAX,
                    other: u32::MAX,
                },
                publishes_per_s: INTEGER_MAX,
                deliveries_per_s: INTEGER_MAX,
                publish_p50_us: Some(u32::MAX),
                publish_p99_us: Some(u32::MAX),
                cpu_percent: INTEGER_MAX,
            },
            memory_bytes: INTEGER_MAX,
            turn_ms: 12_345.678,
            level: text(),
            store: Some(text()),
            bus: Some(text()),
            revision: INTEGER_MAX,
            order: INTEGER_MAX,
            url: String::new(),
            rebalance: RebalanceStats {
                state: text(),
                ordered_percent: Some(u32::MAX),
                ordered_s: u32::MAX,
                moved: INTEGER_MAX,
                stayed: INTEGER_MAX,
                returned: INTEGER_MAX,
            },
            signs: InstanceSigns::default(),
        };
        let signs = InstanceSigns { clock_ms: Some(i32::MIN), canary_s: Some(u32::MAX) };
        let with_signs = InstanceStats { signs, ..stats.clone() };
        assert_eq!(InstanceStats::parse(with_signs.encode().as_bytes()), Some(stats.clone()));
        let usual = InstanceStats { signs, url: "u".repeat(128), ..InstanceStats::default() };
        assert_eq!(InstanceStats::parse(usual.encode().as_bytes()), Some(usual));
        let encoded = stats.encode();
        assert!(encoded.len() <= STATS_BYTES_MAX, "{} bytes", encoded.len());
        assert_eq!(InstanceStats::parse(encoded.as_bytes()), Some(stats));
    }

    #[test]
    fn url_is_written_only_if_it_fits() {
        let stats = |bytes: usize| InstanceStats {
            url: "u".repeat(bytes),
            connections: 7,
            ..InstanceStats::default()
        };
        let read = |bytes: usize| InstanceStats::parse(stats(bytes).encode().as_bytes()).expect("it fits");
        assert_eq!(read(128), stats(128));
        assert_eq!(read(STATS_BYTES_MAX), stats(0));
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
