//! Admission of requests: from the head alone, before a body is read.

use super::commands;
use super::exchange::{ApiHead, ContentType, DeclaredBody, Sender};
use super::publish::BUSY_RETRY_MS;
use super::route::{self, ApiEndpoint, Routed, Unrouted};
use super::server::{ApiPolicy, ApiServer, STORE, retry_ms};
use super::tokens::BackendRefusal;
use crate::admission::places::share;
use crate::auth::api_key::{ApiKey, ApiRight};
use crate::auth::backend_token::BackendFault;
use crate::auth::token::TokenFault;
use crate::clock::Now;
use crate::cluster::restrictions::Restriction;
use crate::job::places::{Places, TakenPlaces};
use crate::log;
use crate::log::audit::AuditEvent;
use crate::net::deadline;
use crate::net::seats::{Seat, SeatShare};
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::request::Method;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The name of the auth service among the dependencies.
const AUTH: &str = "auth";
/// How long a request waits until its body fits among the bodies in work.
const BODIES_TIMEOUT: Duration = Duration::from_secs(4);

/// A request that is served.
pub(super) struct Admitted {
    pub(super) routed: Routed,
    /// `None` if the path needs none.
    pub(super) key: Option<Arc<ApiKey>>,
    /// The bytes of the body.
    pub(super) length: usize,
}

/// The judgement of a good token by the orders.
enum Revocation {
    None,
    Revoked,
}

/// A request that was refused before its body was read.
pub(super) struct Refused {
    pub(super) endpoint: &'static str,
    pub(super) problem: ApiProblem,
    pub(super) allow: Option<Box<str>>,
}

impl<C: Fn() -> Now> ApiServer<C> {
    /// Decides from the head whether the request is served, and how long its body is.
    pub(super) fn admitted(
        &self,
        seat: &Seat,
        head: &ApiHead,
        policy: &ApiPolicy,
        peer: SocketAddr,
    ) -> Result<Admitted, Refused> {
        let unknown = |(problem, allow): Unrouted| {
            let allow = allow.map(String::into_boxed_str);
            Refused { endpoint: "unknown", problem, allow }
        };
        if head.sender == Sender::Page {
            let detail = "web pages may not use the server API; let your backend send the request";
            return Err(unknown((ApiProblem::lasting(ProblemCode::Forbidden, detail), None)));
        }
        let routed = route::route(head.method, &head.path).map_err(unknown)?;
        let refused = |problem| Refused { endpoint: routed.endpoint.word(), problem, allow: None };
        let key = match routed.rights {
            [] => None,
            rights => Some(self.caller(seat, head, rights, policy, peer).map_err(refused)?),
        };
        let length = match routed.endpoint {
            ApiEndpoint::Commands => commands::accepts(head).map(|()| 0),
            _ => self.length(head, policy),
        };
        let length = length.map_err(refused)?;
        Ok(Admitted { routed, key, length })
    }

    /// The key of the request, if it has one of these rights and its share of the connections has room.
    fn caller(
        &self,
        seat: &Seat,
        head: &ApiHead,
        rights: &[ApiRight],
        policy: &ApiPolicy,
        peer: SocketAddr,
    ) -> Result<Arc<ApiKey>, ApiProblem> {
        let key = self.authenticated(head, policy, peer.ip())?;
        if !rights.iter().any(|right| key.has(*right)) {
            let rights: Vec<&str> = rights.iter().map(|right| right.name()).collect();
            let detail = format!("the key {:?} lacks the right {}", key.name(), rights.join(" or "));
            return Err(ApiProblem::lasting(ProblemCode::Forbidden, detail));
        }
        let share = share(self.connections, policy.backends());
        match seat.serves(key.party(), share) {
            SeatShare::Room => Ok(key),
            SeatShare::UsedUp => {
                let detail = format!(
                    "the key {:?} has {share} requests in progress, its share of api.connections; repeat the request",
                    key.name()
                );
                Err(ApiProblem::passing(ProblemCode::Overloaded, detail, BUSY_RETRY_MS))
            }
        }
    }

    /// The key whose secret the request has, or that its token makes.
    pub(super) fn authenticated(
        &self,
        head: &ApiHead,
        policy: &ApiPolicy,
        from: IpAddr,
    ) -> Result<Arc<ApiKey>, ApiProblem> {
        let secret = head.bearer.as_deref();
        if let Some(key) = secret.and_then(|secret| policy.keys.find(secret)) {
            return Ok(key);
        }
        // A token has dots; a wrong secret without them costs no more than its comparison.
        let token = secret.filter(|secret| secret.contains(&b'.')).zip(policy.tokens.as_ref());
        let refusal = match token.map(|(token, check)| check.check(token, from, (self.clock)())) {
            Some(Ok(key)) => match self.unrevoked(&key)? {
                Revocation::None => return Ok(key),
                Revocation::Revoked => Some(BackendFault::Token(TokenFault::Revoked)),
            },
            Some(Err(BackendRefusal::Wait(wait))) => {
                let detail = "too many bad tokens came from this address; this one was not looked at";
                return Err(ApiProblem::passing(ProblemCode::RateLimited, detail, retry_ms(wait)));
            }
            Some(Err(BackendRefusal::NewerKeys(wait))) => {
                let detail = "no key at hand signed the token; newer keys of auth.jwks_url are fetched, so repeat the request";
                return Err(ApiProblem {
                    dependency: Some(AUTH),
                    ..ApiProblem::passing(ProblemCode::Unavailable, detail, retry_ms(wait))
                });
            }
            Some(Err(BackendRefusal::Bad(fault))) => Some(fault),
            None => None,
        };
        self.counters.unauthorized.fetch_add(1, Ordering::Relaxed);
        log::report(AuditEvent::ApiKeyRefused { address: from });
        let detail: Cow<'static, str> = match (refusal, &policy.tokens) {
            (Some(fault), _) => fault.text().into(),
            (None, Some(_)) => {
                "send the header Authorization: Bearer with a secret of [[api.keys]] or a token for api.audience".into()
            }
            (None, None) => "send the header Authorization: Bearer with a secret of [[api.keys]]".into(),
        };
        Err(ApiProblem::lasting(ProblemCode::Unauthorized, detail))
    }

    /// Compares the token that made a key with the revocations, at each request because it is verified only once.
    fn unrevoked(&self, key: &ApiKey) -> Result<Revocation, ApiProblem> {
        let Some((user, stamp)) = key.revocable() else { return Ok(Revocation::None) };
        match self.orders.judge(user, stamp) {
            Some((_, None)) => Ok(Revocation::None),
            Some((_, Some(Restriction::Blocked { .. } | Restriction::Revoked))) => Ok(Revocation::Revoked),
            None => Err(ApiProblem {
                dependency: Some(STORE),
                ..ApiProblem::passing(
                    ProblemCode::Unavailable,
                    "the revocations of tokens have not been read from the store yet; nothing was done",
                    1_000,
                )
            }),
        }
    }

    /// Waits until the body fits among those in work. One that is larger than the key's share counts as the share.
    pub(super) fn room_for_body(&self, admitted: &Admitted) -> Result<Option<TakenPlaces>, ApiProblem> {
        let (Some(key), 1..) = (&admitted.key, admitted.length) else { return Ok(None) };
        let deadline = deadline::now() + BODIES_TIMEOUT;
        let taken = Places::take(&self.shared.bodies, key.party(), admitted.length, deadline);
        let busy = || {
            let detail = "too many bodies are in work; repeat the request";
            ApiProblem::passing(ProblemCode::Overloaded, detail, 1_000)
        };
        taken.map(Some).ok_or_else(busy)
    }

    /// The length of the body, which a POST needs.
    fn length(&self, head: &ApiHead, policy: &ApiPolicy) -> Result<usize, ApiProblem> {
        match (head.method, head.body) {
            (Method::Post | Method::Put, DeclaredBody::None) => {
                Err(ApiProblem::lasting(ProblemCode::Malformed, "the body is empty; send a JSON object"))
            }
            (_, DeclaredBody::None) => Ok(0),
            (Method::Get | Method::Head, DeclaredBody::Bytes(_)) => Err(ApiProblem::lasting(
                ProblemCode::Malformed,
                "a GET takes no body; put names into the path",
            )),
            (_, DeclaredBody::Chunked | DeclaredBody::Unknown) => Err(ApiProblem::lasting(
                ProblemCode::LengthRequired,
                "send Content-Length; chunked bodies are not taken",
            )),
            (_, DeclaredBody::Bytes(length)) if length > policy.body_bytes => {
                let most = policy.body_bytes;
                let detail =
                    format!("the body has over {most} bytes (api.body_bytes); send several requests");
                Err(ApiProblem::lasting(ProblemCode::TooLarge, detail))
            }
            (_, DeclaredBody::Bytes(_)) if head.content != ContentType::Json => Err(ApiProblem::lasting(
                ProblemCode::UnsupportedType,
                "send the header Content-Type: application/json",
            )),
            (_, DeclaredBody::Bytes(length)) => Ok(length),
        }
    }
}
