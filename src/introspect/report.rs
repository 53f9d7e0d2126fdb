//! Reports refusals of the auth worker to the audit.

use crate::auth::token_trace::TokenTrace;
use crate::id::UserName;
use crate::job::{Denied, Occasion};
use crate::log;
use crate::log::audit::{AuditEvent, RefusedToken};
use std::net::IpAddr;

/// Reports why a token was denied, unless the reason is neither the token nor its sender.
pub(super) fn denied(denied: Denied, occasion: &Occasion, trace: TokenTrace, address: IpAddr) {
    let fault = match denied {
        Denied::Token(fault) => fault.word(),
        Denied::OtherUser => "other_user",
        Denied::Blocked { .. } => "blocked",
        Denied::TooManyOfUser => return over_limit("limits.connections_per_user", trace.user, address),
        Denied::TooManyWaiting => return over_limit("auth.waiting", trace.user, address),
        Denied::Unchecked { .. } | Denied::KeysTooNew { .. } | Denied::QueueFull | Denied::NotReady => return,
    };
    let TokenTrace { kid, user } = trace;
    let (command, user) = match occasion {
        Occasion::Connect => ("connect", user),
        Occasion::Refresh(session) => ("refresh", Some(session.clone())),
        Occasion::Recheck(session) => ("recheck", Some(session.clone())),
    };
    let token = RefusedToken { fault, command, kid, user, address };
    log::report(AuditEvent::TokenRefused(Box::new(token)));
}

pub(super) fn over_limit(bound: &'static str, user: Option<UserName>, address: IpAddr) {
    log::report(AuditEvent::OverLimit { bound, user, address });
}
