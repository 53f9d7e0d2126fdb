//! Links and sessions of the console. No clock and no randomness: both are passed in.
//!
//! A link is a code that works once, within a minute. It becomes a session: a key that the page sends with every request. Of both
//! only the SHA-256 is kept, so a copy of the memory opens nothing that is not open already. A restart ends all of them.

use crate::admin::access::{Scope, SessionId};
use crate::clock::Moment;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::time::Duration;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Links that are kept, used ones included. One more replaces the oldest.
pub const LINKS_MAX: usize = 8;
/// The time within which a link works.
pub const LINK_FOR: Duration = Duration::from_secs(60);
/// Sessions at a time. One more ends the one that has been idle for the longest.
pub const SESSIONS_MAX: usize = 32;
/// The longest time of a session.
pub const SESSION_FOR: Duration = Duration::from_secs(8 * 3_600);
/// The longest time without a request.
pub const IDLE_FOR: Duration = Duration::from_secs(30 * 60);
/// Wrong codes and keys a second that are answered with the reason. Right ones are always accepted: a peer without one must not be
/// able to lock out an operator, and 32 random bytes cannot be guessed.
pub const WRONG_MAX: u32 = 5;
/// Random bytes of a code or a key.
pub const RANDOM_BYTES: usize = 32;

/// Random bytes for one code or key.
pub type Random = Zeroizing<[u8; RANDOM_BYTES]>;

/// A code or key for the browser, in base64url.
pub type Secret = Zeroizing<String>;

type Hash = [u8; 32];

/// Why a code or a key opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFault {
    /// The link was used before.
    Used,
    /// The link is older than [`LINK_FOR`].
    Expired,
    /// No such link is known: it is mistyped, was replaced, or the gateway has started again.
    UnknownLink,
    /// The session is over, or the gateway has started again.
    Over,
    /// It is wrong, and there were [`WRONG_MAX`] others in this second.
    TooMany,
}

/// Links and sessions, all bounded.
#[derive(Debug, Default)]
pub struct Sessions {
    links: Vec<LoginLink>,
    sessions: Vec<LoginSession>,
    /// The second of the last wrong code or key, and how many there were in it.
    wrong: (u64, u32),
}

#[derive(Debug)]
struct LoginLink {
    hash: Hash,
    scope: Scope,
    begun: Moment,
    is_used: bool,
}

#[derive(Debug)]
struct LoginSession {
    hash: Hash,
    scope: Scope,
    begun: Moment,
    used: Moment,
}

impl Sessions {
    /// Makes the code of a link.
    pub fn link(&mut self, scope: Scope, random: &Random, now: Moment) -> Secret {
        let code = encoded(random);
        if self.links.len() >= LINKS_MAX {
            self.links.remove(0);
        }
        self.links.push(LoginLink { hash: hash(code.as_bytes()), scope, begun: now, is_used: false });
        code
    }

    /// Opens a session for a code.
    pub fn exchange(
        &mut self,
        code: &[u8],
        random: &Random,
        now: Moment,
    ) -> Result<(Secret, Scope), LoginFault> {
        let wanted = hash(code);
        let link = self.links.iter_mut().find(|link| is_same(&link.hash, &wanted));
        let fault = match link {
            None => LoginFault::UnknownLink,
            Some(link) if link.is_used => LoginFault::Used,
            Some(link) if now.since(link.begun) >= LINK_FOR => LoginFault::Expired,
            Some(link) => {
                link.is_used = true;
                let scope = link.scope;
                return Ok((self.open(scope, random, now), scope));
            }
        };
        Err(self.wrong(fault, now))
    }

    /// Opens a session, and returns its key.
    pub fn open(&mut self, scope: Scope, random: &Random, now: Moment) -> Secret {
        let key = encoded(random);
        self.sessions.retain(|session| session.is_open(now));
        if self.sessions.len() >= SESSIONS_MAX {
            let idle = self.sessions.iter().enumerate().min_by_key(|(_, session)| session.used);
            if let Some((at, _)) = idle {
                self.sessions.remove(at);
            }
        }
        self.sessions.push(LoginSession { hash: hash(key.as_bytes()), scope, begun: now, used: now });
        key
    }

    /// The scope and the id of an open session. Its idle time begins again.
    pub fn check(&mut self, key: &[u8], now: Moment) -> Result<(Scope, SessionId), LoginFault> {
        let wanted = hash(key);
        let session = self.sessions.iter_mut().find(|session| is_same(&session.hash, &wanted));
        match session.filter(|session| session.is_open(now)) {
            Some(session) => {
                session.used = now;
                Ok((session.scope, SessionId(session.hash)))
            }
            None => Err(self.wrong(LoginFault::Over, now)),
        }
    }

    /// Ends a session.
    pub fn end(&mut self, id: &SessionId) {
        self.sessions.retain(|session| session.hash != id.0);
    }

    /// Counts a wrong code or key, and returns the answer to it.
    fn wrong(&mut self, fault: LoginFault, now: Moment) -> LoginFault {
        let second = now.micros() / 1_000_000;
        let before = if self.wrong.0 == second { self.wrong.1 } else { 0 };
        self.wrong = (second, before.saturating_add(1));
        if before < WRONG_MAX { fault } else { LoginFault::TooMany }
    }
}

impl LoginSession {
    fn is_open(&self, now: Moment) -> bool {
        now.since(self.begun) < SESSION_FOR && now.since(self.used) < IDLE_FOR
    }
}

fn encoded(random: &Random) -> Secret {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()))
}

fn hash(text: &[u8]) -> Hash {
    Sha256::digest(text).into()
}

fn is_same(known: &Hash, wanted: &Hash) -> bool {
    known.ct_eq(wanted).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(3_600_000_000 + seconds * 1_000_000)
    }

    fn random(number: u64) -> Random {
        let mut bytes = [7; RANDOM_BYTES];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Zeroizing::new(bytes)
    }

    #[test]
    fn link_works_once_and_for_a_minute() {
        let mut sessions = Sessions::default();
        let code = sessions.link(Scope::Read, &random(1), at(0));
        let late = sessions.link(Scope::Operate, &random(2), at(0));
        let (key, scope) = sessions.exchange(code.as_bytes(), &random(3), at(59)).expect("in time");
        assert_eq!((scope, key.len()), (Scope::Read, 43));
        let again = sessions.exchange(code.as_bytes(), &random(4), at(59));
        assert_eq!(again.expect_err("used"), LoginFault::Used);
        let late = sessions.exchange(late.as_bytes(), &random(5), at(60));
        assert_eq!(late.expect_err("late"), LoginFault::Expired);
        let unknown = sessions.exchange(b"nonsense", &random(6), at(60));
        assert_eq!(unknown.expect_err("unknown"), LoginFault::UnknownLink);
        assert_eq!(sessions.check(key.as_bytes(), at(60)).expect("open").0, Scope::Read);
        assert_eq!(sessions.check(code.as_bytes(), at(60)), Err(LoginFault::Over), "a code is no key");
    }

    #[test]
    fn ninth_link_replaces_the_oldest() {
        let mut sessions = Sessions::default();
        let codes: Vec<_> = (0..9).map(|n| sessions.link(Scope::Operate, &random(n), at(n))).collect();
        let first = sessions.exchange(codes[0].as_bytes(), &random(10), at(9));
        assert_eq!(first.expect_err("replaced"), LoginFault::UnknownLink);
        assert!(sessions.exchange(codes[1].as_bytes(), &random(11), at(9)).is_ok());
    }

    #[test]
    fn session_ends_when_idle_after_eight_hours_and_by_order() {
        let mut sessions = Sessions::default();
        let idle = sessions.open(Scope::Operate, &random(1), at(0));
        let used = sessions.open(Scope::Operate, &random(2), at(0));
        for minute in 1..480 {
            assert!(sessions.check(used.as_bytes(), at(minute * 60)).is_ok(), "{minute}");
            assert_eq!(sessions.sessions.len(), 2);
        }
        assert_eq!(sessions.check(idle.as_bytes(), at(480 * 60 - 2)), Err(LoginFault::Over));
        assert_eq!(sessions.check(used.as_bytes(), at(480 * 60)), Err(LoginFault::Over));
        let other = sessions.open(Scope::Operate, &random(3), at(30_000));
        let (_, id) = sessions.check(other.as_bytes(), at(30_000)).expect("open");
        assert_eq!(id.to_string().len(), 6);
        let mut alike = id.0;
        alike[31] ^= 1;
        sessions.end(&SessionId(alike));
        assert!(sessions.check(other.as_bytes(), at(30_000)).is_ok(), "the log shows both alike");
        sessions.end(&id);
        assert_eq!(sessions.check(other.as_bytes(), at(30_000)), Err(LoginFault::Over));
    }

    #[test]
    fn sixth_wrong_key_of_a_second_is_limited_and_a_right_one_is_not() {
        let mut sessions = Sessions::default();
        let good = sessions.open(Scope::Operate, &random(1), at(0));
        let code = sessions.link(Scope::Operate, &random(2), at(0));
        for _ in 0..WRONG_MAX {
            assert_eq!(sessions.check(b"wrong", at(1)), Err(LoginFault::Over));
        }
        assert_eq!(sessions.check(b"wrong", at(1)), Err(LoginFault::TooMany));
        assert!(sessions.check(good.as_bytes(), at(1)).is_ok(), "no peer locks out a session");
        assert!(sessions.exchange(code.as_bytes(), &random(3), at(1)).is_ok(), "nor a link");
        assert_eq!(sessions.check(b"wrong", at(2)), Err(LoginFault::Over), "the next second");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_opened_the_bounds_hold_and_only_keys_open(
            steps in prop::collection::vec((0_u8..3, 0_u64..4_000), 1..200),
        ) {
            let (mut sessions, mut now, mut codes) = (Sessions::default(), 0, Vec::new());
            for (number, (step, wait)) in steps.into_iter().enumerate() {
                now += wait;
                let bytes = random(number as u64);
                match step {
                    0 => codes.push((sessions.link(Scope::Read, &bytes, at(now)), now)),
                    1 => {
                        let key = sessions.open(Scope::Operate, &bytes, at(now));
                        prop_assert!(sessions.check(key.as_bytes(), at(now)).is_ok());
                    }
                    _ => if let Some((code, begun)) = codes.pop() {
                        let opened = sessions.exchange(code.as_bytes(), &bytes, at(now)).is_ok();
                        prop_assert!(!opened || now - begun < LINK_FOR.as_secs());
                    },
                }
                prop_assert!(sessions.links.len() <= LINKS_MAX && sessions.sessions.len() <= SESSIONS_MAX);
            }
        }
    }
}
