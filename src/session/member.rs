//! The connected user of a session: name, rights, rates, subscriptions, and recent errors.

use super::context::Context;
use super::effect::Effect;
use super::held_rosters::HeldRosters;
use super::life::{ClientText, Life};
use super::meters::{Exceeded, Meters};
use super::outcome::{Counted, Identity, Occasion};
use super::policy::{AuthMode, Policy};
use super::refusal::Refusal;
use super::returning::ReturningClient;
use crate::auth::permission::{Permissions, Right};
use crate::auth::trust::TokenOrigin;
use crate::clock::{Moment, Now};
use crate::close::CloseReason;
use crate::flag::{FlagKey, FlagSet, Flags};
use crate::hub::SubscriptionId;
use crate::id::{ChannelName, CommandId, TokenStamp, UserName};
use crate::limits::{BAD_REFRESHES_MAX, MALFORMED_MAX, MISUSE_WINDOW, RATE_LIMITED_MAX};
use crate::roster::{Departure, PageWish};
use crate::wire::command::{Command, CommandFault, CommandFrame, Rejected};
use crate::wire::push::RightsText;
use crate::wire::stream::StreamId;
use crate::wire::{personal, push};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) user: UserName,
    pub(super) permissions: Arc<Permissions>,
    pub(super) expires_unix_ms: Option<u64>,
    pub(super) counted: Counted,
    pub(super) origin: Option<TokenOrigin>,
    pub(super) stamp: TokenStamp,
    pub(super) subscriptions: Vec<SubscriptionId>,
    /// Subscriptions whose reply waits for the log's position.
    pub(super) opening: Vec<Opening>,
    /// Commands that wait for a worker's answer.
    pub(super) pending: u16,
    /// The history pages among `pending`.
    pub(super) pages: u16,
    pub(super) meters: Meters,
    content_strikes: ContentStrikes,
    rate_limited: Strikes,
    /// `None`: the token is not checked again.
    pub(super) recheck: Option<Box<Recheck>>,
    /// The claim `info` of the token, which watchers of rosters see.
    pub(super) info: Option<Arc<str>>,
    /// The claims of the token that routes forward with its publications. They stay those of the token when the routes change. In a box,
    /// because most gateways forward none.
    pub(super) forwarded: Option<Box<Arc<str>>>,
    /// `None`: the member uses no roster.
    pub(super) rosters: Option<Box<HeldRosters>>,
    /// The client's name and version.
    pub(super) client: ClientText,
    /// The time at which `connect` was accepted.
    pub(super) opened: Moment,
    /// The flags that the client was sent last. Empty if it was sent none.
    pub(super) flags: FlagSet,
    /// `None`: the client named no last connection, or that was taken.
    pub(super) returning: Option<Box<ReturningClient>>,
}

/// Strikes for what commands say, not for their rate.
#[derive(Debug, Default)]
struct ContentStrikes {
    malformed: Strikes,
    bad_refreshes: Strikes,
}

/// A token that is checked again.
#[derive(Debug)]
pub(super) struct Recheck {
    pub(super) token: Arc<str>,
    /// `None`: the check is under way.
    pub(super) due: Option<Moment>,
}

/// A `subscribe` that waits for the log's position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) subscription: SubscriptionId,
    pub(super) id: CommandId,
    /// It is refused if the position is still unknown at this time.
    pub(super) answer_by: Moment,
}

/// The number of errors in the current window.
#[derive(Debug, Default)]
struct Strikes {
    since: Moment,
    count: u32,
}

impl Strikes {
    /// Counts an error. True exactly when the window now holds more than `most`.
    fn over(&mut self, most: u32, now: Moment) -> bool {
        if self.count == 0 || now.since(self.since) > MISUSE_WINDOW {
            *self = Strikes { since: now, count: 0 };
        }
        self.count += 1;
        self.count > most
    }
}

impl Member {
    pub(super) fn anonymous(policy: &Policy) -> Member {
        Member::new(Identity::new(policy.anonymous.clone(), Arc::clone(&policy.everything)))
    }

    pub(super) fn new(identity: Identity) -> Member {
        Member {
            user: identity.user,
            permissions: identity.permissions,
            expires_unix_ms: identity.expires_unix_ms,
            counted: identity.counted,
            origin: identity.origin,
            stamp: identity.stamp,
            subscriptions: Vec::new(),
            opening: Vec::new(),
            pending: 0,
            pages: 0,
            meters: Meters::new(identity.account, identity.publishes_per_s),
            content_strikes: ContentStrikes::default(),
            rate_limited: Strikes::default(),
            recheck: None,
            info: identity.info,
            forwarded: identity.forwarded.map(Box::new),
            rosters: None,
            client: ClientText::default(),
            flags: FlagSet::default(),
            returning: None,
            opened: Moment::ZERO,
        }
    }

    pub(super) fn command(&mut self, request: CommandFrame<'_>, cx: &mut Context<'_>) {
        let id = request.id;
        if let Err(exceeded) = self.meters.admit(&request.command, cx.policy, cx.now.at, &mut cx.address) {
            let piece = match request.command {
                Command::Append(append) => Some(StreamId { channel: append.channel, offset: append.offset }),
                _ => None,
            };
            self.refuse_rate(id, piece, exceeded, cx);
            return;
        }
        match (request.command, id) {
            (Command::Connect(_), id) => cx.refuse(id, &Refusal::ConnectedAlready),
            (Command::Signal { channel, data }, id) => self.signal(id, &channel, data, cx),
            (Command::Refresh { token }, Some(id)) => self.refresh(id, &token, cx),
            (Command::Subscribe(subscribe), Some(id)) => self.subscribe(id, subscribe, cx),
            (Command::Unsubscribe { channel }, Some(id)) => self.unsubscribe(id, &channel, cx),
            (Command::Publish(publish), Some(id)) => self.publish(id, publish, cx),
            (Command::History { channel, range, limit }, Some(id)) => {
                self.history(id, channel, range, limit, cx);
            }
            (Command::Present { channel, state }, Some(id)) => self.present(id, &channel, state, cx),
            (Command::Absent { channel }, Some(id)) => self.absent(id, &channel, cx),
            (Command::Presence { channel, after, limit }, Some(id)) => {
                self.presence(id, PageWish { channel, after, limit }, cx);
            }
            (Command::Report(report), Some(id)) => self.report(id, *report, cx),
            (Command::Append(append), id) => self.append_to_stream(id, *append, cx),
            (Command::Restart { channel, offset }, Some(id)) => {
                self.restart_stream(id, StreamId { channel, offset }, cx);
            }
            (Command::End(end), Some(id)) => self.end_stream(id, end, cx),
            (Command::CancelStream { channel, offset }, Some(id)) => {
                self.cancel_stream(id, StreamId { channel, offset }, cx);
            }
            (Command::ReadStream { channel, offset, known }, Some(id)) => {
                self.read_stream(id, StreamId { channel, offset }, known, cx);
            }
            // The parser rejects these without an id.
            (
                Command::Refresh { .. }
                | Command::Subscribe(_)
                | Command::Unsubscribe { .. }
                | Command::Publish(_)
                | Command::History { .. }
                | Command::Present { .. }
                | Command::Absent { .. }
                | Command::Presence { .. }
                | Command::Report(_)
                | Command::Restart { .. }
                | Command::End(_)
                | Command::CancelStream { .. }
                | Command::ReadStream { .. },
                None,
            ) => {}
        }
    }

    /// `piece`: the stream of an `append`, which the error names.
    fn refuse_rate(
        &mut self,
        id: Option<CommandId>,
        piece: Option<StreamId>,
        (rate, wait): Exceeded,
        cx: &mut Context<'_>,
    ) {
        let refusal = Refusal::Rate { rate, retry_ms: whole_ms(wait) };
        match piece {
            Some(stream) => cx.refuse_of_stream(id, &stream, &refusal),
            None => cx.refuse(id, &refusal),
        }
        if self.rate_limited.over(RATE_LIMITED_MAX, cx.now.at) {
            cx.close(CloseReason::RateLimited { bound: rate.setting(), retry_ms: 10_000 });
        }
    }

    pub(super) fn rejected(&mut self, rejected: &Rejected, cx: &mut Context<'_>) {
        cx.refuse_rejected(rejected);
        match rejected.fault {
            CommandFault::Malformed => {
                if self.content_strikes.malformed.over(MALFORMED_MAX, cx.now.at) {
                    cx.close(CloseReason::Misuse("more than 10 malformed commands in a minute"));
                }
            }
            // These cost as much as a command, so they are metered like one.
            CommandFault::UnknownCommand | CommandFault::TooLarge => {
                if let Err((rate, _)) = self.meters.admit_other(cx.policy, cx.now.at)
                    && self.rate_limited.over(RATE_LIMITED_MAX, cx.now.at)
                {
                    cx.close(CloseReason::RateLimited { bound: rate.setting(), retry_ms: 10_000 });
                }
            }
        }
    }

    /// True if the member has this right on the channel. With auth on, the personal channel of the member grants `subscribe` by itself.
    #[inline]
    pub(super) fn has(&self, right: Right, channel: &ChannelName, policy: &Policy) -> bool {
        self.permissions.allow(right, channel) || self.owns(right, channel, policy)
    }

    #[cold]
    fn owns(&self, right: Right, channel: &ChannelName, policy: &Policy) -> bool {
        match (right, policy.auth) {
            (Right::Subscribe, AuthMode::Required) => {
                channel.is_personal() && channel.as_str() == personal::channel_of(&self.user).as_str()
            }
            (Right::Subscribe, AuthMode::Off)
            | (
                Right::Publish
                | Right::Moderate
                | Right::Create
                | Right::Present
                | Right::Presence
                | Right::Stream,
                _,
            ) => false,
        }
    }

    /// The member's rights on a channel, for a client. `None` if auth is off.
    pub(super) fn rights_on(&self, channel: &ChannelName, policy: &Policy) -> Option<RightsText> {
        let listed = self.permissions.listed(channel)?;
        let owns = self.owns(Right::Subscribe, channel, policy);
        Some(if owns { listed.with(Right::Subscribe) } else { listed }.text())
    }

    /// Checks a right, and sends an error if it is missing.
    pub(super) fn may(
        &self,
        right: Right,
        channel: &ChannelName,
        id: Option<CommandId>,
        cx: &mut Context<'_>,
    ) -> bool {
        if self.has(right, channel, cx.policy) {
            return true;
        }
        cx.refuse(id, &Refusal::Forbidden(right.name()));
        false
    }

    /// Counts a command as waiting for a worker, or sends an error if `limits.pending` is reached.
    pub(super) fn reserve(&mut self, id: CommandId, cx: &mut Context<'_>) -> bool {
        if u32::from(self.pending) >= cx.policy.limits.pending {
            cx.refuse(Some(id), &Refusal::Pending);
            return false;
        }
        self.pending += 1;
        true
    }

    pub(super) fn find(&self, channel: &ChannelName, cx: &Context<'_>) -> Option<SubscriptionId> {
        self.subscriptions.iter().copied().find(|id| cx.hub.name(*id) == Some(channel))
    }

    /// Counts bytes of the log that were sent to this member.
    pub(super) fn read(&self, bytes: usize, policy: &Policy, now: Moment) {
        self.meters.read(bytes, policy, now);
    }

    /// Ends the subscriptions, leaves the rosters, and releases the user's count. Call it once.
    pub(super) fn end(&mut self, departure: Departure, cx: &mut Context<'_>) {
        self.drop_rosters(departure, cx);
        for subscription in &self.subscriptions {
            cx.hub.close(*subscription);
        }
        self.meters.unsubscribe(self.subscriptions.len());
        if self.counted == Counted::Yes {
            cx.effects.push(Effect::ReleaseUser(self.user.clone()));
        }
    }

    /// Decides which flags are on, and returns their names to be sent.
    pub(super) fn take_flags<'a>(&mut self, flags: &'a Flags) -> Vec<&'a str> {
        let key = match self.user.is_anonymous() {
            true => FlagKey::Anonymous,
            false => FlagKey::User(self.user.as_str()),
        };
        self.flags = flags.on(key, self.client.as_str());
        flags.names(self.flags).collect()
    }

    /// The facts that outlive the session.
    pub(super) fn into_life(self) -> Life {
        Life { user: self.user, client: self.client, opened: self.opened, flags: self.flags }
    }

    fn refresh(&mut self, id: CommandId, token: &str, cx: &mut Context<'_>) {
        match cx.policy.auth {
            AuthMode::Off => cx.refuse(Some(id), &Refusal::NoAuth),
            AuthMode::Required => {
                if self.reserve(id, cx) {
                    let occasion = Occasion::Refresh(self.user.clone());
                    cx.effects.push(Effect::CheckToken {
                        token: Box::from(token),
                        occasion,
                        id,
                        asked: cx.asked,
                    });
                }
            }
        }
    }

    /// The token's expiry, as sent to the client.
    pub(super) fn expires(&self, now: Now) -> Option<push::Expires> {
        self.expires_unix_ms
            .map(|unix_ms| push::Expires { unix_ms, in_ms: unix_ms.saturating_sub(now.unix_ms) })
    }

    /// Counts a refresh with a bad token.
    pub(super) fn refresh_denied(&mut self, cx: &mut Context<'_>) {
        if self.content_strikes.bad_refreshes.over(BAD_REFRESHES_MAX, cx.now.at) {
            cx.close(CloseReason::Unauthenticated("more than 5 refreshes with a bad token in a minute"));
        }
    }

    /// Takes the rights that a repeated check of the same token brought. If they differ, the client learns it, because it may
    /// subscribe again to what was refused.
    pub(super) fn replace_rights(&mut self, identity: Identity, cx: &mut Context<'_>) {
        let is_same =
            self.permissions == identity.permissions && self.expires_unix_ms == identity.expires_unix_ms;
        self.replace_identity(identity);
        if !is_same {
            push::rights_changed(cx.out, self.expires(cx.now));
        }
        self.end_forbidden(cx);
    }

    fn replace_identity(&mut self, identity: Identity) {
        self.permissions = identity.permissions;
        self.expires_unix_ms = identity.expires_unix_ms;
        self.origin = identity.origin;
        self.info = identity.info;
        self.forwarded = identity.forwarded.map(Box::new);
        self.stamp = identity.stamp;
        self.meters.claim(identity.publishes_per_s);
    }

    pub(super) fn refreshed(&mut self, id: CommandId, identity: Identity, cx: &mut Context<'_>) {
        self.pending = self.pending.saturating_sub(1);
        let token = identity.token.clone();
        self.schedule_recheck(token, cx);
        self.replace_identity(identity);
        push::refreshed(cx.out, id, self.expires(cx.now));
        // After the reply, so that a client that subscribes again after each `refreshed` does not ask for these at once.
        self.end_forbidden(cx);
    }
}

/// Milliseconds, rounded up: a client that waits exactly this long is admitted.
pub(super) fn whole_ms(wait: Duration) -> u32 {
    u32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u32::MAX)
}
