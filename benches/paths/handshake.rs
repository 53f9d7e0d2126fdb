//! From a browser's request to `connected`.

use super::availability::AvailabilityVerdict;
use super::bounds::HandshakeVerdict;
use super::session::Surroundings;
use super::{Path, text_frame};
use seawall::limits::Limits;
use seawall::session::{AuthMode, Session};
use seawall::wire::frames::Decoder;
use seawall::wire::origin::{HostRule, Scheme};
use seawall::wire::request::{self, HeadLimits, Parsed};
use seawall::wire::response;
use seawall::wire::upgrade::{self, UpgradePolicy};
use std::hint::black_box;

const HEAD: &[u8] = include_bytes!("../../tests/corpus/head/complete-browser-upgrade");
const POLICY: UpgradePolicy<'static> =
    UpgradePolicy { origins: &[], hosts: HostRule::LoopbackOr(&[]), scheme: Scheme::Either };

/// Parses and checks the head, and writes the 101.
pub struct Upgrade {
    limits: HeadLimits,
    response: Vec<u8>,
}

impl Path for Upgrade {
    fn prepare() -> Upgrade {
        Upgrade { limits: HeadLimits::from(&Limits::default()), response: Vec::with_capacity(192) }
    }

    fn once(&mut self) {
        self.response.clear();
        match request::parse(black_box(HEAD), self.limits) {
            Parsed::Complete(head) => {
                let upgrade = upgrade::check(&head, &POLICY).expect("a browser's request");
                response::switching(&mut self.response, &upgrade);
            }
            other @ (Parsed::Partial | Parsed::Refused(_)) => panic!("{other:?}"),
        }
        black_box(&self.response);
    }
}

/// The upgrade, the verdicts, and the session up to `connected`. Without `WATCHED` the dependencies are not checked; the
/// difference is the cost of that.
pub struct Handshake<const WATCHED: bool> {
    upgrade: Upgrade,
    availability: AvailabilityVerdict,
    verdict: HandshakeVerdict,
    surroundings: Surroundings,
    connect: Vec<u8>,
}

impl<const WATCHED: bool> Path for Handshake<WATCHED> {
    fn prepare() -> Handshake<WATCHED> {
        Handshake {
            upgrade: Upgrade::prepare(),
            availability: AvailabilityVerdict::prepare(),
            verdict: HandshakeVerdict::prepare(),
            surroundings: Surroundings::new(AuthMode::Off),
            connect: text_frame(r#"{"id":1,"connect":{"client":"seawall-js/1.0"}}"#),
        }
    }

    fn once(&mut self) {
        self.upgrade.once();
        if WATCHED {
            self.availability.once();
        }
        self.verdict.once();
        let mut session = Session::new(None);
        self.surroundings.out.clear();
        self.surroundings.receive(&mut session, &mut Decoder::default(), black_box(&mut self.connect));
        assert!(session.is_open() && !self.surroundings.out.is_empty());
        self.surroundings.end(&mut session);
    }
}
