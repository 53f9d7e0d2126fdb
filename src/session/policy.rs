//! Settings that apply to every session of a process, derived once from the configuration.

use super::outcome::Identity;
use crate::auth::canary_pass::CanaryPass;
use crate::auth::permission::Permissions;
use crate::auth::trust::{TokenOrigin, TrustRules};
use crate::id::{InstanceName, UserName};
use crate::limits::Limits;
use crate::rate::{ByteRate, Rate};
use crate::wire::command::CommandBounds;
use crate::wire::push::ReportedLimits;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The requirement for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// No token: every user is `anonymous` and has all rights.
    Off,
    /// `connect` needs a valid token.
    Required,
}

/// The rules for the use of rosters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresencePolicy {
    /// `presence.enabled`
    pub enabled: bool,
    /// `presence.channels`: rosters that one connection uses.
    pub channels: u32,
    /// `presence.commands_per_s`: commands of each user, or of each connection if auth is off, that change or read a roster. 0: any
    /// number.
    pub commands_per_s: u32,
}

impl Default for PresencePolicy {
    fn default() -> PresencePolicy {
        PresencePolicy { enabled: true, channels: 32, commands_per_s: 50 }
    }
}

impl PresencePolicy {
    /// `presence.commands_per_s`, with six seconds of it at once; `None` if off.
    pub fn commands(&self) -> Option<Rate> {
        PresencePolicy::rate(self.commands_per_s)
    }

    /// `per_s` commands per second, with six seconds of them at once; `None` if 0.
    pub(super) fn rate(per_s: u32) -> Option<Rate> {
        Rate::new(per_s, per_s.saturating_mul(6))
    }

    /// Rosters that all connections of a user together are on or watch. At default settings, members at other instances in all of
    /// them take less than half of `presence.views_bytes`.
    pub fn channels_of_user(&self) -> u32 {
        self.channels.saturating_mul(8)
    }
}

/// The acceptance of begins of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamsMode {
    /// By those with the right.
    On,
    /// `streams.enabled` is false.
    Off,
}

/// The rules for streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPolicy {
    pub mode: StreamsMode,
    /// `streams.life_ms`: the longest time for which a producer that is not read is not asked for a sign of life.
    pub life: Duration,
}

impl Default for StreamPolicy {
    fn default() -> StreamPolicy {
        StreamPolicy { mode: StreamsMode::On, life: Duration::from_secs(600) }
    }
}

/// The rules for all sessions: see the module documentation.
#[derive(Clone, Debug)]
pub struct Policy {
    pub limits: Limits,
    /// The rate of publishes for each user, or for each connection if auth is off; `None` if off.
    pub publishes: Option<Rate>,
    /// The bytes that each user may publish; `None` if off.
    pub publish_bytes: Option<ByteRate>,
    /// The rate of signals of each user, or of each connection if auth is off; `None` if off.
    pub signals: Option<Rate>,
    /// The rate of refreshes of each user; `None` if off.
    pub refreshes: Option<Rate>,
    /// The bytes of the log that are sent to each user, or to each connection if auth is off; `None` if off.
    pub read_bytes: Option<ByteRate>,
    /// Channels that each user may create per hour.
    pub channels: u32,
    /// The rate of all other commands; `None` if off.
    pub commands: Option<Rate>,
    /// The rate of pieces of streams of each connection; `None` if off.
    pub stream_appends: Option<Rate>,
    /// The bytes of these pieces; `None` if off.
    pub stream_bytes: Option<ByteRate>,
    /// The rate of pings and pongs; `None` if off.
    pub control_frames: Option<Rate>,
    /// Bounds on a command's JSON.
    pub bounds: CommandBounds,
    /// The limits that `connected` reports.
    pub reported_limits: ReportedLimits,
    pub presence: PresencePolicy,
    pub streams: StreamPolicy,
    /// `clients.reports`: errors of applications are counted.
    pub reports: bool,
    pub auth: AuthMode,
    pub instance: InstanceName,
    /// The sources of rights that are trusted; `None` if auth is off.
    pub trust: Option<Arc<TrustRules>>,
    /// The period after which introspected tokens are checked again; `None` if they are not.
    pub recheck: Option<Duration>,
    /// Knows the canary of this process; `None` if there is none.
    pub canary: Option<Arc<CanaryPass>>,
    /// The user of every session if auth is off; one shared name.
    pub anonymous: UserName,
    /// The rights of every session if auth is off; one shared value.
    pub everything: Arc<Permissions>,
}

impl Policy {
    /// Derives the rates and bounds from the limits.
    pub fn new(limits: &Limits, auth: AuthMode, instance: InstanceName) -> Policy {
        Policy {
            limits: limits.clone(),
            publishes: Rate::new(limits.publishes_per_s, limits.publishes_burst),
            publish_bytes: ByteRate::new(limits.publish_bytes_per_s, limits.publish_bytes_burst),
            refreshes: Rate::per_minute(limits.refreshes_per_minute, limits.refreshes_burst),
            signals: Rate::new(limits.signals_per_s, limits.signals_burst),
            read_bytes: ByteRate::new(limits.read_bytes_per_s, limits.read_bytes_burst),
            channels: limits.channels_per_user(),
            commands: Rate::new(limits.commands_per_s, limits.commands_burst),
            stream_appends: Rate::new(
                limits.stream_appends_per_s,
                limits.stream_appends_per_s.saturating_mul(2),
            ),
            stream_bytes: ByteRate::new(
                limits.stream_bytes_per_s,
                limits.stream_bytes_per_s.saturating_mul(2),
            ),
            control_frames: Rate::new(limits.control_frames_per_s, limits.control_frames_burst),
            bounds: CommandBounds { json_depth: limits.json_depth, subscriptions: limits.subscriptions },
            reported_limits: ReportedLimits {
                frame_bytes: limits.frame_bytes,
                publishes_per_s: limits.publishes_per_s,
                publishes_burst: limits.publishes_burst,
                subscriptions: limits.subscriptions,
            },
            presence: PresencePolicy::default(),
            streams: StreamPolicy::default(),
            reports: true,
            auth,
            instance,
            trust: None,
            recheck: None,
            canary: None,
            anonymous: UserName::anonymous(),
            everything: Arc::new(Permissions::everything()),
        }
    }

    /// The publishes per second of a user whose token claims some; `None`: those of everybody. A claim only lifts.
    pub fn lifted(&self, claimed: u32) -> Option<u32> {
        let (usual, most) = (self.limits.publishes_per_s, self.limits.publishes_per_s_claimed);
        let lifted = claimed.min(most);
        (lifted > usual && usual > 0).then_some(lifted)
    }

    /// Ends the sessions whose rights have another source, and has introspected tokens checked again.
    #[must_use]
    pub fn with_trust(self, trust: Option<TrustRules>, recheck: Option<Duration>) -> Policy {
        Policy { trust: trust.map(Arc::new), recheck, ..self }
    }

    /// Admits the canary with this pass.
    #[must_use]
    pub fn with_canary(self, canary: Option<Arc<CanaryPass>>) -> Policy {
        Policy { canary, ..self }
    }

    /// True exactly if a client at `address` that sends `token` with its upgrade is the canary.
    #[inline]
    pub fn is_canary(&self, token: Option<&str>, address: IpAddr) -> bool {
        match (token, &self.canary) {
            (Some(token), Some(pass)) => pass.admits(token, address),
            (Some(_), None) | (None, _) => false,
        }
    }

    /// Has sessions use rosters by these rules.
    #[must_use]
    pub fn with_presence(self, presence: PresencePolicy) -> Policy {
        Policy { presence, ..self }
    }

    /// Has sessions use streams by these rules.
    #[must_use]
    pub fn with_streams(self, streams: StreamPolicy) -> Policy {
        Policy { streams, ..self }
    }

    /// Decides whether errors of applications are counted.
    #[must_use]
    #[expect(clippy::fn_params_excessive_bools, reason = "it is the setting, not a mode")]
    pub fn with_reports(self, reports: bool) -> Policy {
        Policy { reports, ..self }
    }

    /// True exactly when a session with this origin may go on.
    pub fn allows(&self, origin: Option<&TokenOrigin>) -> bool {
        self.trust.as_ref().zip(origin).is_none_or(|(rules, origin)| rules.allow(origin))
    }

    /// True exactly when an identity was judged by an earlier trust and would not be accepted now. An identity that was
    /// judged by a later one is not compared: the rules that it was judged by arrive soon.
    pub fn outdates(&self, identity: &Identity) -> bool {
        self.trust.as_ref().is_some_and(|rules| identity.edition < rules.edition)
            && !self.allows(identity.origin.as_ref())
    }
}
