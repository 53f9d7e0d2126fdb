//! Introspected tokens of open sessions are checked again: the service alone knows that a token was revoked.

use super::connect::OTHER_USER;
use super::context::Context;
use super::effect::Effect;
use super::member::{Member, Recheck};
use super::outcome::{Denied, Identity};
use super::{Session, SessionStage, UNTRUSTED};
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::cluster::block_end::end_by_block;
use std::sync::Arc;
use std::time::Duration;

impl Member {
    /// Keeps the token to check it again, or none. The checks of all sessions are spread over the period.
    pub(super) fn schedule_recheck(&mut self, token: Option<Arc<str>>, cx: &Context<'_>) {
        self.recheck = token.zip(cx.policy.recheck).map(|(token, period)| {
            let due = Some(cx.now.at + part(period, cx.connection));
            Box::new(Recheck { token, due })
        });
    }
}

/// A part of the period that differs between connections. The upper half of a connection's name is random.
fn part(period: Duration, connection: u64) -> Duration {
    let micros = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(((u128::from(micros) * u128::from(connection >> 32)) >> 32) as u64)
}

impl Session {
    /// The time at which the token is checked again.
    pub fn recheck_at(&self) -> Option<Moment> {
        match &self.stage {
            SessionStage::Open(member) => member.recheck.as_ref()?.due,
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => None,
        }
    }

    /// Has the token checked again if that is due.
    pub(super) fn recheck_if_due(&mut self, cx: &mut Context<'_>) {
        if let SessionStage::Open(member) = &mut self.stage
            && let Some(recheck) = &mut member.recheck
            && recheck.due.is_some_and(|due| due <= cx.now.at)
        {
            recheck.due = None;
            let (token, user) = (Arc::clone(&recheck.token), member.user.clone());
            cx.effects.push(Effect::Recheck { token, user });
        }
    }

    /// Takes the answer to a repeated check; `None` if there is none.
    pub fn rechecked(&mut self, outcome: Option<Result<Identity, Denied>>, cx: &mut Context<'_>) {
        let SessionStage::Open(member) = &mut self.stage else { return };
        // A refresh brought another token meanwhile.
        let Some(recheck) = member.recheck.as_mut().filter(|recheck| recheck.due.is_none()) else { return };
        recheck.due = cx.policy.recheck.map(|period| cx.now.at + period);
        match outcome {
            Some(Ok(identity)) if cx.policy.outdates(&identity) => {
                cx.close(CloseReason::Unauthenticated(UNTRUSTED));
            }
            Some(Ok(identity)) => member.replace_rights(identity, cx),
            Some(Err(Denied::Token(fault))) => cx.close(CloseReason::Unauthenticated(fault.text())),
            Some(Err(Denied::Blocked { retry_ms })) => cx.close(end_by_block(retry_ms)),
            Some(Err(Denied::OtherUser)) => cx.close(CloseReason::Unauthenticated(OTHER_USER)),
            // The service did not say anything, so the next check decides.
            Some(Err(
                Denied::TooManyOfUser
                | Denied::NotReady
                | Denied::Unchecked { .. }
                | Denied::KeysTooNew { .. }
                | Denied::TooManyWaiting
                | Denied::QueueFull,
            ))
            | None => {}
        }
        self.stop_if_closed(cx);
    }
}
