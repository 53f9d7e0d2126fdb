//! What holds for every session of a process, worked out once from the configuration.

use crate::auth::permission::Permissions;
use crate::id::{InstanceName, UserName};
use crate::limits::Limits;
use crate::rate::Rate;
use crate::wire::command::Bounds;
use crate::wire::push::ToldLimits;
use std::sync::Arc;

/// Whether a token is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Everybody is `anonymous` and may do everything.
    Off,
    /// `connect` needs a good token.
    Required,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The configured limits.
    pub limits: Limits,
    /// Publishes; `None` when off.
    pub publishes: Option<Rate>,
    /// All other commands; `None` when off.
    pub commands: Option<Rate>,
    /// Pings and pongs; `None` when off.
    pub control_frames: Option<Rate>,
    /// Bounds on a command's JSON.
    pub bounds: Bounds,
    /// What `connected` tells of the limits.
    pub told: ToldLimits,
    /// Whether a token is needed.
    pub auth: AuthMode,
    /// This process.
    pub instance: InstanceName,
    /// Everybody, when auth is off: one name shared by all sessions.
    pub anonymous: UserName,
    /// Their rights: likewise.
    pub everything: Arc<Permissions>,
}

impl Policy {
    /// Works the rates and bounds out.
    pub fn new(limits: &Limits, auth: AuthMode, instance: InstanceName) -> Policy {
        Policy {
            limits: limits.clone(),
            publishes: Rate::new(limits.publishes_per_s, limits.publishes_burst),
            commands: Rate::new(limits.commands_per_s, limits.commands_burst),
            control_frames: Rate::new(limits.control_frames_per_s, limits.control_frames_burst),
            bounds: Bounds { json_depth: limits.json_depth, subscriptions: limits.subscriptions },
            told: ToldLimits {
                frame_bytes: limits.frame_bytes,
                publishes_per_s: limits.publishes_per_s,
                publishes_burst: limits.publishes_burst,
                subscriptions: limits.subscriptions,
            },
            auth,
            instance,
            anonymous: UserName::anonymous(),
            everything: Arc::new(Permissions::everything()),
        }
    }
}
