//! The subscriptions that `connect` restores, and the `connected` reply that lists them.

use super::context::Context;
use super::life::ClientText;
use super::member::Member;
use super::policy::AuthMode;
use super::returning::ReturningClient;
use super::subscribe::know_streams;
use crate::auth::permission::Right;
use crate::clock::Moment;
use crate::hub::{Decision, OpenRefused, SubscriptionId};
use crate::id::{ChannelName, CommandId};
use crate::limits::REPLY_TIMEOUT;
use crate::wire::command::{Cursor, Previous, StartAt};
use crate::wire::personal::{self, PersonalChannel};
use crate::wire::push::{self, Connected, ErrorCode, LogPosition, NotRecovered, Recovered, RecoveryOutcome};
use crate::wire::short_text::ShortText;
use std::fmt::Write as _;

/// When a client should subscribe again to a channel whose log could not be read, in milliseconds.
const RECOVER_RETRY_MS: u32 = 2_000;

/// A `connect` that has not been answered.
#[derive(Debug)]
pub(super) struct PendingConnect {
    pub(super) id: CommandId,
    /// The time at which it arrived.
    pub(super) asked: Moment,
    pub(super) recover: Vec<Cursor>,
    /// The client's name and version.
    pub(super) client: ClientText,
    /// The client's last connection.
    pub(super) previous: Option<Box<Previous>>,
}

/// The subscriptions that `connect` restores.
#[derive(Debug)]
pub(super) struct Restoring {
    id: CommandId,
    /// At this time, `connected` is sent even if some positions are unknown.
    pub(super) answer_by: Moment,
    entries: Vec<RestoredChannel>,
}

#[derive(Debug)]
struct RestoredChannel {
    channel: ChannelName,
    subscription: Option<SubscriptionId>,
    state: RestoredState,
    /// The code of the refusal to use the roster.
    roster: Option<ErrorCode>,
}

#[derive(Clone, Copy, Debug)]
enum RestoredState {
    Asked,
    Answered { log: Option<LogPosition>, outcome: RecoveryOutcome },
}

const UNAVAILABLE: RestoredState = RestoredState::Answered {
    log: None,
    outcome: RecoveryOutcome::Not(NotRecovered::Unavailable { retry_ms: RECOVER_RETRY_MS }),
};

impl Restoring {
    /// Opens a subscription for each cursor that the member may read.
    pub(super) fn open(connect: PendingConnect, member: &mut Member, cx: &mut Context<'_>) -> Restoring {
        let PendingConnect { id, asked, recover, client, previous } = connect;
        member.client = client;
        member.returning =
            previous.map(|previous| Box::new(ReturningClient { previous, asked, restored: Vec::new() }));
        let entries = recover.into_iter().map(|cursor| RestoredChannel::open(member, cursor, cx)).collect();
        Restoring { id, answer_by: asked + REPLY_TIMEOUT, entries }
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.entries.iter().any(|entry| matches!(entry.state, RestoredState::Asked))
    }

    /// Takes the start of a subscription; `None` means that its log could not be read.
    pub(super) fn opened(&mut self, subscription: SubscriptionId, decision: Option<Decision>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.subscription == Some(subscription)) {
            entry.answer(decision);
        }
    }

    /// Ends the subscriptions whose position is still unknown; `connected` reports them as `unavailable`.
    pub(super) fn expire(&mut self, member: &mut Member, cx: &mut Context<'_>) {
        for entry in &mut self.entries {
            if let (RestoredState::Asked, Some(subscription)) = (entry.state, entry.subscription) {
                member.drop_subscription(subscription, cx);
                entry.answer(None);
            }
        }
    }

    pub(super) fn write_connected(&self, member: &mut Member, cx: &mut Context<'_>) {
        let recovered: Vec<Recovered<'_>> = self
            .entries
            .iter()
            .filter_map(|entry| match entry.state {
                RestoredState::Answered { log, outcome } => {
                    let roster = entry.roster.map(ErrorCode::as_str);
                    let channel = &entry.channel;
                    let rights = log.and_then(|_| member.rights_on(channel, cx.policy));
                    Some(Recovered { channel, log, outcome, roster, rights })
                }
                RestoredState::Asked => None,
            })
            .collect();
        let flags = (!cx.flags.is_empty()).then(|| member.take_flags(cx.flags));
        let limits = &cx.policy.limits;
        let personal = match cx.policy.auth {
            AuthMode::Required => Some(personal::channel_of(&member.user)),
            AuthMode::Off => None,
        };
        let mut connection = ShortText::<16>::default();
        // 64 bits have at most 16 digits.
        let _ = write!(connection, "{:x}", cx.connection);
        let connected = Connected {
            connection: connection.as_str(),
            instance: &cx.policy.instance.0,
            user: member.user.as_str(),
            personal: personal.as_ref().map(PersonalChannel::as_str),
            ping_ms: limits.ping_ms,
            stable_ms: limits.stable_ms,
            limits: member.meters.reported(cx.policy),
            expires: member.expires(cx.now),
            status: cx.status,
            flags: flags.as_deref(),
            recovered: &recovered,
        };
        push::connected(cx.out, self.id, &connected);
    }
}

impl RestoredChannel {
    fn open(member: &mut Member, cursor: Cursor, cx: &mut Context<'_>) -> RestoredChannel {
        let Cursor { channel, epoch, offset, streams, roster } = cursor;
        let mut entry =
            RestoredChannel { channel, subscription: None, state: RestoredState::Asked, roster: None };
        if !member.has(Right::Subscribe, &entry.channel, cx.policy) {
            entry.state =
                RestoredState::Answered { log: None, outcome: RecoveryOutcome::Not(NotRecovered::Forbidden) };
            return entry;
        }
        if !member.meters.subscribe(cx.policy) {
            entry.state = UNAVAILABLE;
            return entry;
        }
        match cx.hub.open(&entry.channel, cx.slot, StartAt::After { epoch, offset }) {
            Ok((subscription, decision)) => {
                member.subscriptions.push(subscription);
                entry.subscription = Some(subscription);
                know_streams(subscription, decision, streams, cx);
                match member.refusal_of_roster(&entry.channel, &roster, cx) {
                    None => member.hold_roster(&entry.channel, roster, cx.policy),
                    Some(refusal) => entry.roster = Some(refusal.code()),
                }
                if decision.is_some() {
                    entry.answer(decision);
                }
            }
            Err(OpenRefused::TooManyChannels) => {
                member.meters.unsubscribe(1);
                entry.state = UNAVAILABLE;
            }
        }
        entry
    }

    fn answer(&mut self, decision: Option<Decision>) {
        self.state = match decision {
            Some(decision) => {
                RestoredState::Answered { log: Some(decision.position), outcome: decision.outcome }
            }
            None => UNAVAILABLE,
        };
    }
}
