//! The rosters before their thread starts, and their part of a reload.

use super::config::Config;
use super::config::sections::PresenceSection;
use crate::roster::RosterRules;
use crate::session::PresencePolicy;
use crate::wire::presence::RosterKnowledge;

/// The rules for the rosters.
pub(super) fn rules(config: &Config) -> RosterRules {
    let PresenceSection { grace, members, .. } = config.presence;
    RosterRules { grace, members_max: members, knowledge: RosterKnowledge::Complete }
}

/// The rules for sessions.
pub(super) fn policy(config: &Config) -> PresencePolicy {
    let PresenceSection { enabled, channels, .. } = config.presence;
    PresencePolicy { enabled, channels }
}
