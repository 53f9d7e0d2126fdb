//! `connect`: checks the token, restores the client's subscriptions, and replies `connected`.

use super::context::Context;
use super::effect::Effect;
use super::life::ClientText;
use super::member::Member;
use super::outcome::{Counted, Denied, Identity, Occasion, UNANSWERED};
use super::policy::AuthMode;
use super::refusal::Refusal;
use super::restoring::{PendingConnect, Restoring};
use super::{Held, Session, SessionStage, UNTRUSTED};
use crate::auth::token::TokenFault;
use crate::close::CloseReason;
use crate::cluster::block_end::{BLOCKED, end_by_block};
use crate::hub::{Decision, SubscriptionId};
use crate::id::CommandId;
use crate::wire::command::Connect;

/// When a client should return if the auth worker did not answer, in milliseconds.
const AUTH_RETRY_MS: u32 = 2_000;
/// When a client should return if the store was not read since the start, in milliseconds.
const NOT_READY_RETRY_MS: u32 = 2_000;
/// When a client should return if too many tokens wait, in milliseconds: each is answered within seconds.
const WAITING_RETRY_MS: u32 = 2_000;
/// When a client should return if its user has too many connections, in milliseconds: one of them has to end first.
const USER_RETRY_MS: u32 = 15_000;

const KEYS_TOO_NEW: &str = "no key here is the token's yet; the key set is fetched before you return";
pub(super) const OTHER_USER: &str = "the token belongs to another user; use a token of the connected user";

impl Session {
    pub(super) fn connect(&mut self, id: CommandId, connect: Connect<'_>, cx: &mut Context<'_>) {
        let pending = PendingConnect {
            id,
            asked: cx.asked,
            recover: connect.recover,
            client: connect.client.map(|client| ClientText::of(&client)).unwrap_or_default(),
            previous: connect.previous,
        };
        let token = match (self.token.take(), cx.policy.auth) {
            (None, AuthMode::Off) => {
                let member = Box::new(Member::anonymous(cx.policy));
                return self.restore(pending, member, Held::default(), cx);
            }
            (None, AuthMode::Required) => connect.token.map(|token| Box::from(&*token)),
            // With auth off it is the canary's.
            (Some(token), AuthMode::Off | AuthMode::Required) => Some(token),
        };
        let Some(token) = token else {
            return cx.close(CloseReason::Unauthenticated(TokenFault::Missing.text()));
        };
        let occasion = Occasion::Connect;
        cx.effects.push(Effect::CheckToken { token, occasion, id, asked: cx.asked });
        let connect = Box::new(pending);
        self.stage = SessionStage::AwaitingToken { connect, held: Held::default() };
    }

    /// Takes the auth worker's answer; `None` if it did not answer in time.
    pub fn token_checked(
        &mut self,
        id: CommandId,
        outcome: Option<Result<Identity, Denied>>,
        cx: &mut Context<'_>,
    ) {
        match std::mem::replace(&mut self.stage, SessionStage::Over(None)) {
            SessionStage::AwaitingToken { connect, held } => match outcome {
                Some(Ok(identity)) if cx.policy.outdates(&identity) => {
                    if identity.counted == Counted::Yes {
                        cx.effects.push(Effect::ReleaseUser(identity.user));
                    }
                    cx.close(CloseReason::Unauthenticated(UNTRUSTED));
                }
                Some(Ok(identity)) => {
                    let token = identity.token.clone();
                    let mut member = Box::new(Member::new(identity));
                    member.schedule_recheck(token, cx);
                    self.restore(*connect, member, held, cx);
                }
                Some(Err(denied)) => cx.effects.push(Effect::Deny(close_reason(denied))),
                None => cx.close(CloseReason::Unavailable {
                    dependency: "auth".into(),
                    retry_ms: AUTH_RETRY_MS,
                    reference: "auth-worker".into(),
                    message: "".into(),
                }),
            },
            SessionStage::Open(mut member) => {
                match outcome {
                    Some(Ok(identity)) if cx.policy.outdates(&identity) => {
                        member.pending = member.pending.saturating_sub(1);
                        cx.refuse(Some(id), &Refusal::BadToken(UNTRUSTED));
                    }
                    Some(Ok(identity)) => member.refreshed(id, identity, cx),
                    Some(Err(denied)) => {
                        member.pending = member.pending.saturating_sub(1);
                        cx.refuse(Some(id), &refusal(denied));
                        match denied {
                            Denied::Token(TokenFault::NotYetValid { .. }) => {}
                            Denied::Token(_) | Denied::OtherUser => member.refresh_denied(cx),
                            Denied::Blocked { .. }
                            | Denied::NotReady
                            | Denied::TooManyOfUser
                            | Denied::Unchecked { .. }
                            | Denied::KeysTooNew { .. }
                            | Denied::TooManyWaiting
                            | Denied::QueueFull => {}
                        }
                    }
                    None => {
                        member.pending = member.pending.saturating_sub(1);
                        cx.refuse(Some(id), &Refusal::Queue);
                    }
                }
                self.stage = SessionStage::Open(member);
                self.stop_if_closed(cx);
            }
            SessionStage::Over(_) => {
                // The connection ended before the grant arrived, so release its count here. A refresh was not counted,
                // and an open session was released when it ended.
                if let Some(Ok(identity)) = outcome
                    && identity.counted == Counted::Yes
                {
                    cx.effects.push(Effect::ReleaseUser(identity.user));
                }
            }
            stage @ (SessionStage::AwaitingConnect | SessionStage::AwaitingPositions { .. }) => {
                self.stage = stage
            }
        }
    }

    /// Opens the client's earlier subscriptions, and sends `connected` once all positions are known.
    fn restore(
        &mut self,
        connect: PendingConnect,
        mut member: Box<Member>,
        held: Held,
        cx: &mut Context<'_>,
    ) {
        member.opened = cx.now.at;
        let restoring = Restoring::open(connect, &mut member, cx);
        self.stage = SessionStage::AwaitingPositions { member, restoring, held };
        self.open_if_restored(cx);
    }

    /// Takes the start of a subscription; `None` means that its log could not be read.
    pub fn opened(&mut self, subscription: SubscriptionId, decision: Option<Decision>, cx: &mut Context<'_>) {
        match &mut self.stage {
            SessionStage::Open(member) => member.opened(subscription, decision, cx),
            SessionStage::AwaitingPositions { member, restoring, .. } => {
                restoring.opened(subscription, decision);
                if decision.is_none() {
                    member.drop_subscription(subscription, cx);
                }
                self.open_if_restored(cx);
            }
            SessionStage::AwaitingConnect | SessionStage::AwaitingToken { .. } | SessionStage::Over(_) => {}
        }
    }

    /// Answers the subscriptions whose position is still unknown at their deadline as `unavailable`.
    pub(super) fn expire_openings(&mut self, cx: &mut Context<'_>) {
        match &mut self.stage {
            SessionStage::Open(member) => member.expire_openings(cx),
            SessionStage::AwaitingPositions { member, restoring, .. } if restoring.answer_by <= cx.now.at => {
                restoring.expire(member, cx);
                self.open_if_restored(cx);
            }
            SessionStage::AwaitingConnect
            | SessionStage::AwaitingToken { .. }
            | SessionStage::AwaitingPositions { .. }
            | SessionStage::Over(_) => {}
        }
    }

    fn open_if_restored(&mut self, cx: &mut Context<'_>) {
        let SessionStage::AwaitingPositions { restoring, .. } = &self.stage else { return };
        if !restoring.is_complete() {
            return;
        }
        let SessionStage::AwaitingPositions { mut member, restoring, held } =
            std::mem::replace(&mut self.stage, SessionStage::Over(None))
        else {
            return;
        };
        restoring.write_connected(&mut member, cx);
        cx.effects.extend(member.subscriptions.iter().copied().map(Effect::Replay));
        for subscription in member.subscriptions.clone() {
            member.announce_roster(subscription, cx);
        }
        if let Some(returning) = &mut member.returning {
            returning.restored = member.subscriptions.clone();
        }
        self.stage = SessionStage::Open(member);
        self.release(held, cx);
    }
}

fn close_reason(denied: Denied) -> CloseReason {
    match denied {
        Denied::Token(fault @ TokenFault::NotYetValid { wait_ms }) => {
            CloseReason::TooEarly { text: fault.text(), retry_ms: wait_ms }
        }
        Denied::Token(fault) => CloseReason::Unauthenticated(fault.text()),
        Denied::OtherUser => CloseReason::Unauthenticated(OTHER_USER),
        Denied::Blocked { retry_ms } => end_by_block(retry_ms),
        Denied::NotReady => CloseReason::Unavailable {
            dependency: "store".into(),
            retry_ms: NOT_READY_RETRY_MS,
            reference: "orders-unread".into(),
            message: "".into(),
        },
        Denied::TooManyOfUser => {
            CloseReason::OverCapacity { bound: "limits.connections_per_user", retry_ms: USER_RETRY_MS }
        }
        Denied::KeysTooNew { retry_ms } => CloseReason::TooEarly { text: KEYS_TOO_NEW, retry_ms },
        Denied::Unchecked { retry_ms, reference } => CloseReason::Unavailable {
            dependency: "auth".into(),
            retry_ms,
            reference: reference.map_or_else(|| UNANSWERED.into(), |reference| reference.to_string()),
            message: "".into(),
        },
        Denied::TooManyWaiting => {
            CloseReason::OverCapacity { bound: "auth.waiting", retry_ms: WAITING_RETRY_MS }
        }
        Denied::QueueFull => {
            CloseReason::OverCapacity { bound: "too many tokens to check", retry_ms: WAITING_RETRY_MS }
        }
    }
}

/// The refusal of a `refresh`; the session continues.
fn refusal(denied: Denied) -> Refusal<'static> {
    match denied {
        Denied::Token(fault @ TokenFault::NotYetValid { wait_ms }) => {
            Refusal::TooEarly { text: fault.text(), retry_ms: wait_ms }
        }
        Denied::Token(fault) => Refusal::BadToken(fault.text()),
        Denied::OtherUser => Refusal::BadToken(OTHER_USER),
        Denied::Blocked { retry_ms: Some(retry_ms) } => Refusal::TooEarly { text: BLOCKED, retry_ms },
        Denied::Blocked { retry_ms: None } => Refusal::BadToken(BLOCKED),
        Denied::NotReady => Refusal::Unavailable { retry_ms: NOT_READY_RETRY_MS },
        Denied::TooManyOfUser => Refusal::BadToken(
            "limits.connections_per_user is reached; close another connection of this user first",
        ),
        Denied::KeysTooNew { retry_ms } => Refusal::TooEarly { text: KEYS_TOO_NEW, retry_ms },
        Denied::Unchecked { retry_ms, reference: _ } => Refusal::Unchecked { retry_ms },
        Denied::TooManyWaiting | Denied::QueueFull => Refusal::Queue,
    }
}
