//! `connect`: who is it, what did they have, and `connected`.

use super::member::Member;
use super::outcome::{Counted, Denied, Identity, Occasion, UNANSWERED};
use super::policy::AuthMode;
use super::{Context, Effect, Held, Refusal, Session, Stage};
use crate::auth::permission::Right;
use crate::auth::token::TokenFault;
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::hub::{Decision, SubscriptionId};
use crate::id::{ChannelName, CommandId};
use crate::limits::REPLY_TIMEOUT;
use crate::wire::command::{Connect, Cursor, From};
use crate::wire::push::{self, Because, Connected, LogPosition, Recovered, Recovery};

/// When to subscribe again where a log could not be read, in milliseconds.
const RECOVER_RETRY_MS: u32 = 2_000;
/// When to come back while the auth worker does not answer, in milliseconds.
const AUTH_RETRY_MS: u32 = 2_000;
/// When to come back while too many tokens wait, in milliseconds: each is answered within seconds.
const WAITING_RETRY_MS: u32 = 2_000;
/// When to come back where a user has too many connections, in milliseconds: one has to end first.
const USER_RETRY_MS: u32 = 15_000;

const OTHER_USER: &str = "the token is another user's";

/// The subscriptions of `connect` on their way.
#[derive(Debug)]
pub(super) struct Restoring {
    id: CommandId,
    /// Without all positions by then, `connected` says which are not known.
    pub(super) answer_by: Moment,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    channel: ChannelName,
    subscription: Option<SubscriptionId>,
    state: EntryState,
}

#[derive(Clone, Copy, Debug)]
enum EntryState {
    Asked,
    Answered { log: Option<LogPosition>, outcome: Recovery },
}

const UNAVAILABLE: EntryState = EntryState::Answered {
    log: None,
    outcome: Recovery::Not(Because::Unavailable { retry_ms: RECOVER_RETRY_MS }),
};

impl Entry {
    fn answer(&mut self, decision: Option<Decision>) {
        self.state = match decision {
            Some(decision) => {
                EntryState::Answered { log: Some(decision.position), outcome: decision.outcome }
            }
            None => UNAVAILABLE,
        };
    }
}

impl Session {
    pub(super) fn connect(&mut self, id: CommandId, connect: Connect<'_>, cx: &mut Context<'_>) {
        match cx.policy.auth {
            AuthMode::Off => {
                let member = Member::anonymous(cx.policy);
                self.restore((id, cx.asked), member, connect.recover, Held::default(), cx);
            }
            AuthMode::Required => {
                let token = self.token.take().or_else(|| connect.token.map(|token| Box::from(&*token)));
                match token {
                    None => cx.close(CloseReason::Unauthenticated(TokenFault::Missing.text())),
                    Some(token) => {
                        cx.effects.push(Effect::CheckToken {
                            token,
                            occasion: Occasion::Connect,
                            id,
                            asked: cx.asked,
                        });
                        let recover = connect.recover;
                        self.stage =
                            Stage::AwaitingToken { id, asked: cx.asked, recover, held: Held::default() };
                    }
                }
            }
        }
    }

    /// The auth worker answered; `None` when it did not in time.
    pub fn token_checked(
        &mut self,
        id: CommandId,
        outcome: Option<Result<Identity, Denied>>,
        cx: &mut Context<'_>,
    ) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::AwaitingToken { id, asked, recover, held } => match outcome {
                Some(Ok(identity)) => {
                    self.restore((id, asked), Member::new(identity), recover, held, cx);
                }
                Some(Err(denied)) => cx.close(close_reason(denied)),
                None => cx.close(CloseReason::Unavailable {
                    dependency: "auth".into(),
                    retry_ms: AUTH_RETRY_MS,
                    reference: "auth-worker".into(),
                }),
            },
            Stage::Open(mut member) => {
                match outcome {
                    Some(Ok(identity)) => member.refreshed(id, identity, cx),
                    Some(Err(denied)) => {
                        member.pending = member.pending.saturating_sub(1);
                        cx.refuse(Some(id), &refusal(denied));
                    }
                    None => {
                        member.pending = member.pending.saturating_sub(1);
                        cx.refuse(Some(id), &Refusal::Queue);
                    }
                }
                self.stage = Stage::Open(member);
            }
            Stage::Over => {
                // Granted to a connection that is gone meanwhile: count it off again. (A refresh was not
                // counted, and who connected was counted off at the end.)
                if let Some(Ok(identity)) = outcome
                    && identity.counted == Counted::Yes
                {
                    cx.effects.push(Effect::Leave(identity.user));
                }
            }
            stage @ (Stage::AwaitingConnect | Stage::AwaitingPositions { .. }) => self.stage = stage,
        }
    }

    /// Registers what the client had, and says `connected` once all positions are known.
    fn restore(
        &mut self,
        (id, asked): (CommandId, Moment),
        mut member: Member,
        recover: Vec<Cursor>,
        held: Held,
        cx: &mut Context<'_>,
    ) {
        let answer_by = asked + REPLY_TIMEOUT;
        let entries = recover.into_iter().map(|cursor| open_entry(&mut member, cursor, cx)).collect();
        self.stage = Stage::AwaitingPositions {
            member: Box::new(member),
            restoring: Restoring { id, answer_by, entries },
            held,
        };
        self.open_if_restored(cx);
    }

    /// Where a subscription begins is decided; with `None` its log could not be read.
    pub fn opened(&mut self, subscription: SubscriptionId, decision: Option<Decision>, cx: &mut Context<'_>) {
        match &mut self.stage {
            Stage::Open(member) => member.opened(subscription, decision, cx),
            Stage::AwaitingPositions { member, restoring, .. } => {
                let entry =
                    restoring.entries.iter_mut().find(|entry| entry.subscription == Some(subscription));
                if let Some(entry) = entry {
                    entry.answer(decision);
                }
                if decision.is_none() {
                    member.drop_subscription(subscription, cx);
                }
                self.open_if_restored(cx);
            }
            Stage::AwaitingConnect | Stage::AwaitingToken { .. } | Stage::Over => {}
        }
    }

    /// What is still not known when its time is over is told as `unavailable`.
    pub(super) fn expire_openings(&mut self, cx: &mut Context<'_>) {
        match &mut self.stage {
            Stage::Open(member) => member.expire_openings(cx),
            Stage::AwaitingPositions { member, restoring, .. } if restoring.answer_by <= cx.now.at => {
                for entry in &mut restoring.entries {
                    if let (EntryState::Asked, Some(subscription)) = (entry.state, entry.subscription) {
                        member.drop_subscription(subscription, cx);
                        entry.answer(None);
                    }
                }
                self.open_if_restored(cx);
            }
            Stage::AwaitingConnect
            | Stage::AwaitingToken { .. }
            | Stage::AwaitingPositions { .. }
            | Stage::Over => {}
        }
    }

    fn open_if_restored(&mut self, cx: &mut Context<'_>) {
        let Stage::AwaitingPositions { restoring, .. } = &self.stage else { return };
        if restoring.entries.iter().any(|entry| matches!(entry.state, EntryState::Asked)) {
            return;
        }
        let Stage::AwaitingPositions { member, restoring, held } =
            std::mem::replace(&mut self.stage, Stage::Over)
        else {
            return;
        };
        write_connected(&member, &restoring, cx);
        cx.effects.extend(member.subscriptions.iter().copied().map(Effect::Replay));
        self.stage = Stage::Open(member);
        self.release(held, cx);
    }
}

fn open_entry(member: &mut Member, cursor: Cursor, cx: &mut Context<'_>) -> Entry {
    let Cursor { channel, epoch, offset } = cursor;
    let mut entry = Entry { channel, subscription: None, state: EntryState::Asked };
    if !member.permissions.allow(Right::Subscribe, &entry.channel) {
        entry.state = EntryState::Answered { log: None, outcome: Recovery::Not(Because::Forbidden) };
        return entry;
    }
    match cx.hub.open(&entry.channel, cx.slot, From::After { epoch, offset }) {
        Ok((subscription, decision)) => {
            member.subscriptions.push(subscription);
            entry.subscription = Some(subscription);
            if decision.is_some() {
                entry.answer(decision);
            }
        }
        Err(crate::hub::OpenRefused::TooManyChannels) => entry.state = UNAVAILABLE,
    }
    entry
}

fn write_connected(member: &Member, restoring: &Restoring, cx: &mut Context<'_>) {
    let recovered: Vec<Recovered<'_>> = restoring
        .entries
        .iter()
        .filter_map(|entry| match entry.state {
            EntryState::Answered { log, outcome } => {
                Some(Recovered { channel: &entry.channel, log, outcome })
            }
            EntryState::Asked => None,
        })
        .collect();
    let limits = &cx.policy.limits;
    let connected = Connected {
        connection: &format!("{:x}", cx.connection),
        instance: &cx.policy.instance.0,
        user: member.user.as_str(),
        ping_ms: limits.ping_ms,
        stable_ms: limits.stable_ms,
        limits: cx.policy.told,
        expires: member.expires(cx.now),
        status: cx.status,
        recovered: &recovered,
    };
    push::connected(cx.out, restoring.id, &connected);
}

fn close_reason(denied: Denied) -> CloseReason {
    match denied {
        Denied::Token(fault) => CloseReason::Unauthenticated(fault.text()),
        Denied::OtherUser => CloseReason::Unauthenticated(OTHER_USER),
        Denied::TooManyOfUser => {
            CloseReason::OverCapacity { bound: "limits.connections_per_user", retry_ms: USER_RETRY_MS }
        }
        Denied::Unjudged { retry_ms, reference } => CloseReason::Unavailable {
            dependency: "auth".into(),
            retry_ms,
            reference: reference.map_or_else(|| UNANSWERED.into(), |reference| reference.to_string()),
        },
        Denied::TooManyWaiting => {
            CloseReason::OverCapacity { bound: "auth.waiting", retry_ms: WAITING_RETRY_MS }
        }
    }
}

/// The same for a refresh: the session goes on.
fn refusal(denied: Denied) -> Refusal<'static> {
    match denied {
        Denied::Token(fault) => Refusal::BadToken(fault.text()),
        Denied::OtherUser => Refusal::BadToken(OTHER_USER),
        Denied::TooManyOfUser => Refusal::BadToken("limits.connections_per_user is reached"),
        Denied::Unjudged { retry_ms, reference: _ } => Refusal::Unjudged { retry_ms },
        Denied::TooManyWaiting => Refusal::Queue,
    }
}
