//! The session without a reactor.

mod commands;
mod rates;
mod reports;
mod streams;
mod tokens;

use super::outcome::{AppendError, Appended, Attempt, CancelAuthority, Counted, Denied, Identity, Occasion};
use super::*;
use crate::auth::account::Account;
use crate::auth::permission::Permissions;
use crate::auth::token::TokenFault;
use crate::auth::trust::{TokenOrigin, TokenSource, TrustEdition, TrustMark, TrustRules};
use crate::clock::{Moment, Now};
use crate::flag::Flags;
use crate::hub::{LogPage, Need, Slot};
use crate::id::{ChannelName, CommandId, Epoch, InstanceName, UserName};
use crate::limits::{
    BAD_REFRESHES_MAX, Limits, MALFORMED_MAX, PUBLISH_OVERHEAD_BYTES, RATE_LIMITED_MAX, REPLY_TIMEOUT,
};
use crate::rate::address_meters::AddressMeters;
use crate::wire::push::LogPosition;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A session with its surroundings, without a reactor.
struct Bench {
    session: Session,
    policy: Policy,
    hub: Hub,
    now: Now,
    effects: Vec<Effect>,
    address: Option<IpAddr>,
    rosters: AddressMeters,
    flags: Flags,
}

const START: Now = Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_000_000 };

impl Bench {
    fn new(auth: AuthMode, limits: &Limits) -> Bench {
        Bench {
            session: Session::new(None),
            policy: Policy::new(limits, auth, InstanceName(Arc::from("gw"))),
            hub: Hub::new(10, 1 << 20, ahash::RandomState::with_seeds(1, 2, 3, 4)),
            now: START,
            effects: Vec::new(),
            address: Some(IpAddr::from([10, 0, 0, 1])),
            rosters: AddressMeters::default(),
            flags: Flags::default(),
        }
    }

    fn connected(limits: &Limits) -> Bench {
        let mut bench = Bench::new(AuthMode::Off, limits);
        let frames = bench.say(r#"{"id":1,"connect":{}}"#);
        assert!(frames[0].get("connected").is_some());
        bench
    }

    /// Calls the session and returns the frames for the peer as JSON. Its effects stay in `effects`.
    fn call(&mut self, act: impl FnOnce(&mut Session, &mut Context<'_>)) -> Vec<Value> {
        let mut out = Vec::new();
        self.effects.clear();
        let mut refused = Vec::new();
        let mut cx = Context {
            now: self.now,
            asked: self.now.at,
            policy: &self.policy,
            hub: &mut self.hub,
            slot: Slot(0),
            address: AddressShare { address: self.address, rosters: &mut self.rosters, times: 2 },
            connection: 7,
            status: r#"{"revision":1,"level":"ok","dependencies":[],"lost":[]}"#,
            flags: &self.flags,
            waiting_bytes: 0,
            out: &mut out,
            effects: &mut self.effects,
            refused: &mut refused,
        };
        act(&mut self.session, &mut cx);
        frames(&out)
    }

    fn say(&mut self, text: &str) -> Vec<Value> {
        self.call(|session, cx| session.text(text, cx))
    }

    fn answer_positions(&mut self, head: u64) -> Vec<Value> {
        let position = LogPosition { epoch: Epoch(1), head: Offset(head), floor: Offset(1) };
        let mut seen = Vec::new();
        for need in self.hub.take_needs() {
            let Need::Position(id) = need else { continue };
            for (subscription, decision) in self.hub.position_read(id, Some(LogPage::bare(position))) {
                seen.extend(self.call(|session, cx| session.opened(subscription, decision, cx)));
            }
        }
        seen
    }

    fn closed_with(&self) -> Option<u16> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Close(reason) | Effect::Deny(reason) => Some(reason.code()),
            _ => None,
        })
    }
}

/// The text frames in the bytes written to a peer.
fn frames(mut bytes: &[u8]) -> Vec<Value> {
    let mut frames = Vec::new();
    while let [0x81, length, rest @ ..] = bytes {
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            short => (usize::from(*short), rest),
        };
        frames.push(serde_json::from_slice(&rest[..length]).expect("JSON"));
        bytes = &rest[length..];
    }
    frames
}

fn error_code(frames: &[Value]) -> Option<&str> {
    frames.first()?["error"]["code"].as_str()
}

fn identity(user: &str) -> Identity {
    let user = UserName::parse(user).expect("valid");
    Identity {
        expires_unix_ms: Some(START.unix_ms + 60_000),
        counted: Counted::Yes,
        ..Identity::new(user, Arc::new(Permissions::everything()))
    }
}

/// A session of a user with an account, as the auth worker grants it.
fn signed_in(limits: &Limits, account: &Arc<Account>) -> Bench {
    let mut bench = Bench::new(AuthMode::Required, limits);
    bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    let identity = Identity { account: Some(Arc::clone(account)), ..identity("ann") };
    let frames = bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity)), cx));
    assert!(frames[0].get("connected").is_some(), "{frames:?}");
    bench
}

/// A session of `ann`, who may do on every channel what `rights` say.
fn signed_in_with(rights: &[&str]) -> Bench {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    let identity = Identity { permissions: on_all_channels(rights), ..identity("ann") };
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity)), cx));
    bench
}

fn on_all_channels(rights: &[&str]) -> Arc<Permissions> {
    let claim = serde_json::json!([{"pattern": "*", "rights": rights}]).to_string();
    Arc::new(Permissions::from_claim(&claim).expect("valid"))
}
