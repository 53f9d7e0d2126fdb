//! The rosters before their thread starts, and their part of a reload.

use super::config::Config;
use super::config::sections::PresenceSection;
use crate::presence::PresenceRules;
use crate::roster::{RosterRules, SharingBounds};
use crate::session::PresencePolicy;

/// The rules for the rosters.
pub(super) fn rules(config: &Config) -> PresenceRules {
    let PresenceSection { grace, members, views_bytes, .. } = config.presence;
    let rosters = RosterRules { grace, members_max: members };
    PresenceRules { rosters, sharing: SharingBounds { views_bytes } }
}

/// The rules for sessions.
pub(super) fn policy(config: &Config) -> PresencePolicy {
    let PresenceSection { enabled, channels, commands_per_s, .. } = config.presence;
    PresencePolicy { enabled, channels, commands_per_s }
}
