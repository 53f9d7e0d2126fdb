//! The settings of `[limits]`: one for each field of [`Limits`](crate::limits::Limits).
//!
//! The lower bounds are where the gateway still works, the upper ones where a slip of the keyboard would
//! take a machine down.

use super::setting::Setting;
use crate::limits::OUTSTANDING_MAX;

/// In the order of the fields.
pub(super) const LIMITS: &[Setting] = &[
    Setting::small("limits.connections", |c| &mut c.limits.connections).bounds_or_zero(1, 10_000_000, "as many as descriptors allow").doc("Connections at once. Over it: `bye`, 1013.").at_reload(),
    Setting::large("limits.memory_bytes", |c| &mut c.limits.memory_bytes).bounds_or_zero(64 << 20, 16 << 40, "nine tenths of what the machine or the control group allows").doc("Resident memory past which new connections are refused with 1013.").at_reload(),
    Setting::small("limits.frame_bytes", |c| &mut c.limits.frame_bytes).bounds(125, 16 << 20).doc("One frame's payload. Over it: close 1009.").at_reload(),
    Setting::small("limits.message_bytes", |c| &mut c.limits.message_bytes).bounds(125, 16 << 20).doc("One message's payload, all its fragments together. Over it: close 1009.").at_reload(),
    Setting::small("limits.fragments", |c| &mut c.limits.fragments).bounds(1, 65_536).doc("Frames of one message. Over it: close 1009.").at_reload(),
    Setting::small("limits.message_ms", |c| &mut c.limits.message_ms).bounds(100, 600_000).doc("From a message's first byte to its last. Over it: close 4408.").at_reload(),
    Setting::small("limits.control_frames_per_s", |c| &mut c.limits.control_frames_per_s).bounds_or_zero(1, 100_000, "off").doc("Pings and pongs a second from one peer. Over it: close 4429.").at_reload(),
    Setting::small("limits.control_frames_burst", |c| &mut c.limits.control_frames_burst).bounds(1, 1_000_000).doc("Pings and pongs at once after a rest.").at_reload(),
    Setting::small("limits.head_bytes", |c| &mut c.limits.head_bytes).bounds(1_024, 65_536).doc("Request line and headers together. Over it: HTTP 431.").at_reload(),
    Setting::small("limits.headers", |c| &mut c.limits.headers).bounds(16, 256).doc("Header lines of one request. Over it: HTTP 431.").at_reload(),
    Setting::small("limits.uri_bytes", |c| &mut c.limits.uri_bytes).bounds(64, 65_536).doc("The request target. Over it: HTTP 414.").at_reload(),
    Setting::small("limits.head_ms", |c| &mut c.limits.head_ms).bounds(100, 120_000).doc("From accept to a complete head. Over it: HTTP 408.").at_reload(),
    Setting::small("limits.connect_ms", |c| &mut c.limits.connect_ms).bounds(100, 300_000).doc("From the upgrade to `connect`. Over it: close 4408.").at_reload(),
    Setting::small("limits.keep_alive_ms", |c| &mut c.limits.keep_alive_ms).bounds(100, 600_000).doc("Silence on a kept-alive plain connection before it is closed.").at_reload(),
    Setting::small("limits.json_depth", |c| &mut c.limits.json_depth).bounds(4, 128).doc("Nesting of JSON in a command. Over it: error `malformed`.").at_reload(),
    Setting::small("limits.publishes_per_s", |c| &mut c.limits.publishes_per_s).bounds_or_zero(1, 1_000_000, "off").doc("Publishes a second, one connection. Over it: error `rate_limited`.").at_reload(),
    Setting::small("limits.publishes_burst", |c| &mut c.limits.publishes_burst).bounds(1, 1_000_000).doc("Publishes at once after a rest.").at_reload(),
    Setting::small("limits.commands_per_s", |c| &mut c.limits.commands_per_s).bounds_or_zero(1, 1_000_000, "off").doc("All other commands a second, one connection. Over it: error `rate_limited`.").at_reload(),
    Setting::small("limits.commands_burst", |c| &mut c.limits.commands_burst).bounds(1, 1_000_000).doc("Other commands at once after a rest.").at_reload(),
    Setting::small("limits.subscriptions", |c| &mut c.limits.subscriptions).bounds(1, 100_000).doc("Channels one connection may be subscribed to. Over it: error `too_large`.").at_reload(),
    Setting::small("limits.pending", |c| &mut c.limits.pending).bounds(1, OUTSTANDING_MAX as u64).doc("Commands of one connection waiting for an answer. Over it: error `overloaded`.").at_reload(),
    Setting::small("limits.outbox_bytes", |c| &mut c.limits.outbox_bytes).bounds(4_096, 64 << 20).doc("Bytes waiting for one socket past which publications are left to the log (lag).").at_reload(),
    Setting::small("limits.outbox_bytes_hard", |c| &mut c.limits.outbox_bytes_hard).bounds(4_096, 256 << 20).doc("Bytes waiting for one socket past which it is no longer read.").at_reload(),
    Setting::large("limits.outbox_bytes_total", |c| &mut c.limits.outbox_bytes_total).bounds(1 << 20, 1 << 40).doc("Bytes waiting for all sockets together. Over it: replays pause, then the longest stalled get 4408.").at_reload(),
    Setting::large("limits.tail_bytes_total", |c| &mut c.limits.tail_bytes_total).bounds(64 << 10, 1 << 40).doc("Recent publications kept in memory for recovery, all channels together. Over it: the oldest go.").at_reload(),
    Setting::small("limits.stall_ms", |c| &mut c.limits.stall_ms).bounds(100, 600_000).doc("A socket that takes no bytes for so long is closed: 4408.").at_reload(),
    Setting::small("limits.channels", |c| &mut c.limits.channels).bounds(1, 16_777_215).doc("Channels the store may ever hold, and channels one reactor follows at once. Over it: error `overloaded`.").at_restart(),
    Setting::small("limits.connections_per_user", |c| &mut c.limits.connections_per_user).bounds_or_zero(1, 1_000_000, "off").doc("Connections of one user at once (`anonymous` is not one). Over it: `bye`, 1013.").at_reload(),
    Setting::small("limits.connections_per_address", |c| &mut c.limits.connections_per_address).bounds_or_zero(1, 1_000_000, "off").doc("Connections of one address at once. Over it: HTTP 429. Off by default, since a load balancer has one address.").at_reload(),
    Setting::small("limits.admissions_per_s", |c| &mut c.limits.admissions_per_s).bounds_or_zero(1, 1_000_000, "as many as the reactors measure that they can do").doc("Handshakes let in a second, all reactors together. Over it: `bye`, 1013, with the time to come back; far over it HTTP 503. The greatest value lets everybody in.").at_reload(),
    Setting::small("limits.handshakes_per_s", |c| &mut c.limits.handshakes_per_s).bounds_or_zero(1, 1_000_000, "off").doc("New connections of one address a second, ten times that at once. Over it: HTTP 429.").at_reload(),
    Setting::small("limits.ping_ms", |c| &mut c.limits.ping_ms).bounds(100, 3_600_000).doc("Silence after which the server pings; `beat` has the same period.").at_reload(),
    Setting::small("limits.pong_ms", |c| &mut c.limits.pong_ms).bounds(100, 600_000).doc("Silence after that ping before 4408.").at_reload(),
    Setting::small("limits.stable_ms", |c| &mut c.limits.stable_ms).bounds(0, 3_600_000).doc("Time online after which a client may reset its backoff; told in `connected`.").at_reload(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::Config;
    use crate::gateway::config::place::Shown;
    use crate::limits::Limits;

    #[test]
    fn every_field_of_limits_has_its_setting_which_shows_its_default() {
        let fields: Vec<String> = format!("{:#?}", Limits::default())
            .lines()
            .filter_map(|line| line.strip_prefix("    ").map(|field| field.trim_end_matches(',').to_owned()))
            .collect();
        let mut config = Config::default();
        let settings: Vec<String> = LIMITS
            .iter()
            .map(|setting| match setting.show(&mut config) {
                Shown::Value(value) => format!("{}: {value}", setting.key()),
                Shown::Unset | Shown::Hidden => panic!("{} has no value", setting.name),
            })
            .collect();
        assert_eq!(settings, fields);
    }
}
