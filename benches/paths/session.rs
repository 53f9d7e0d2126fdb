//! One session, driven as a reactor drives it.

use super::command::PUBLISH;
use super::{Path, text_frame};
use seawall::auth::permission::Permissions;
use seawall::clock::{Moment, Now};
use seawall::flag::Flags;
use seawall::health::snapshot::Snapshot;
use seawall::hub::{Hub, Slot};
use seawall::id::{CommandId, InstanceName, UserName};
use seawall::limits::Limits;
use seawall::rate::address_meters::AddressMeters;
use seawall::roster::Departure;
use seawall::session::outcome::{Counted, Identity};
use seawall::session::{AddressShare, AuthMode, Context, Effect, Policy, Session};
use seawall::wire::frames::{Decoder, Frame, FrameLimits, Input};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Everything a reactor provides to its sessions.
pub struct Surroundings {
    now: Now,
    policy: Policy,
    hub: Hub,
    rosters: AddressMeters,
    snapshot: Snapshot,
    flags: Flags,
    frame_limits: FrameLimits,
    pub out: Vec<u8>,
    /// The effects for the reactor to perform.
    pub effects: Vec<Effect>,
}

impl Surroundings {
    /// Uses default limits. Commands are never answered, so as many may be pending as the counter holds.
    pub fn new(auth: AuthMode) -> Surroundings {
        let limits = Limits { pending: u32::from(u16::MAX), ..Limits::default() };
        Surroundings {
            now: Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_763_770_000_123 },
            policy: Policy::new(&limits, auth, InstanceName(Arc::from("gw-1"))),
            hub: Hub::new(10, 1 << 20, ahash::RandomState::with_seeds(1, 2, 3, 4)),
            rosters: AddressMeters::default(),
            snapshot: Snapshot::ok(),
            flags: Flags::default(),
            frame_limits: FrameLimits::from(&limits),
            out: Vec::with_capacity(4 << 10),
            effects: Vec::with_capacity(16),
        }
    }

    fn call(&mut self, session: &mut Session, act: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let mut refused = Vec::new();
        let mut cx = Context {
            now: self.now,
            asked: self.now.at,
            policy: &self.policy,
            hub: &mut self.hub,
            slot: Slot(0),
            address: AddressShare { address: Some(ADDRESS), rosters: &mut self.rosters, times: 8 },
            connection: 0x5f3a_9c01_0001_0000,
            status: &self.snapshot.status,
            flags: &self.flags,
            waiting_bytes: 0,
            out: &mut self.out,
            effects: &mut self.effects,
            refused: &mut refused,
        };
        act(session, &mut cx);
        assert!(refused.is_empty());
    }

    /// Decodes the frames in `bytes` and passes them to the session. Time advances, so that no rate limit is exceeded.
    pub fn receive(&mut self, session: &mut Session, decoder: &mut Decoder, bytes: &mut [u8]) {
        self.now.at = self.now.at + Duration::from_millis(50);
        let mut input = Input::new(bytes);
        while let Frame::Text(text) = decoder.next(&mut input, self.frame_limits, self.now.at) {
            self.call(session, |session, cx| session.text(text, cx));
        }
    }

    pub fn end(&mut self, session: &mut Session) {
        self.call(session, |session, cx| session.end(Departure::Lost, cx));
    }
}

/// Takes a `publish` from its frame to the append effect.
pub struct PublishToEffect {
    surroundings: Surroundings,
    session: Session,
    decoder: Decoder,
    bytes: Vec<u8>,
}

impl Path for PublishToEffect {
    fn prepare() -> PublishToEffect {
        let mut surroundings = Surroundings::new(AuthMode::Off);
        let mut session = Session::new(None);
        let mut decoder = Decoder::default();
        surroundings.receive(&mut session, &mut decoder, &mut text_frame(r#"{"id":1,"connect":{}}"#));
        assert!(session.is_open());
        PublishToEffect { surroundings, session, decoder, bytes: text_frame(PUBLISH) }
    }

    fn once(&mut self) {
        self.surroundings.receive(&mut self.session, &mut self.decoder, black_box(&mut self.bytes));
        assert!(matches!(self.surroundings.effects.pop(), Some(Effect::Append(_))));
    }
}

/// From `connect` with a token to `connected` and the end of the session, without the check of the token.
pub struct SignIn {
    surroundings: Surroundings,
    identity: Identity,
    connect: Vec<u8>,
}

impl Path for SignIn {
    fn prepare() -> SignIn {
        let user = UserName::parse("alice@example.com").expect("a name");
        let identity = Identity {
            expires_unix_ms: Some(1_763_780_000_000),
            counted: Counted::Yes,
            account: Some(Arc::default()),
            ..Identity::new(user, Arc::new(Permissions::everything()))
        };
        let connect = text_frame(r#"{"id":1,"connect":{"client":"seawall-js/1.0","token":"e30.e30.e30"}}"#);
        SignIn { surroundings: Surroundings::new(AuthMode::Required), identity, connect }
    }

    fn once(&mut self) {
        let SignIn { surroundings, identity, connect } = self;
        surroundings.out.clear();
        let mut session = Session::new(None);
        surroundings.receive(&mut session, &mut Decoder::default(), black_box(connect));
        assert!(matches!(surroundings.effects.pop(), Some(Effect::CheckToken { .. })));
        let identity = identity.clone();
        surroundings.call(&mut session, |session, cx| {
            session.token_checked(CommandId(1), Some(Ok(identity)), cx);
        });
        assert!(session.is_open() && !surroundings.out.is_empty());
        surroundings.end(&mut session);
        surroundings.effects.clear();
    }
}
