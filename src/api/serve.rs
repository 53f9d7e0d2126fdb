//! Connections: a request is admitted by its head, read, carried out and answered.

use super::exchange::{ApiHead, ContentType, DeclaredBody, Exchange, NoRequest, Sender};
use super::publish::{HeaderKey, Outcome};
use super::read::HistoryPart;
use super::route::{self, ApiEndpoint, Routed};
use super::server::{ApiPolicy, ApiServer};
use crate::auth::api_key::ApiKey;
use crate::clock::{Moment, Now};
use crate::log;
use crate::log::audit::AuditEvent;
use crate::net::deadline;
use crate::net::seats::Seat;
use crate::wire::api::answer::{self, ResultsWriter};
use crate::wire::api::body;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::json;
use crate::wire::request::{After, Method};
use crate::wire::response::{self, ResponseOptions};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a request waits until its body fits among the bodies in work.
const BODIES_TIMEOUT: Duration = Duration::from_secs(4);

const JSON_TYPE: &str = "application/json";
const PROBLEM_TYPE: &str = "application/problem+json";
/// The description of the API, which is served as it is.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// An answer.
struct ApiAnswer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl ApiAnswer {
    fn json(body: Vec<u8>) -> ApiAnswer {
        ApiAnswer { status: 200, content_type: JSON_TYPE, body, headers: Vec::new() }
    }

    fn problem(problem: &ApiProblem) -> ApiAnswer {
        let mut body = Vec::with_capacity(256);
        problem.body(&mut body);
        let retry = problem.retry_after_s().map(|seconds| ("Retry-After", seconds.to_string()));
        let challenge = (problem.code == ProblemCode::Unauthorized)
            .then(|| ("WWW-Authenticate", "Bearer realm=\"seawall\"".to_owned()));
        let headers = retry.into_iter().chain(challenge).collect();
        ApiAnswer { status: problem.code.status(), content_type: PROBLEM_TYPE, body, headers }
    }
}

/// The request that an answer is for.
#[derive(Clone, Copy)]
struct AnsweredRequest {
    method: Method,
    endpoint: &'static str,
    /// When its last byte had come.
    begun: Moment,
}

/// A request that was refused before its body was read.
struct Refused {
    endpoint: &'static str,
    problem: ApiProblem,
    allow: Option<&'static str>,
}

impl<C: Fn() -> Now> ApiServer<C> {
    /// Serves one connection: requests and answers in turn, until one side ends it.
    pub(super) fn serve(&self, seat: &Seat, peer: SocketAddr) {
        let stream: &TcpStream = seat.stream();
        let policy = self.shared.policy.load_full();
        let mut exchange = Exchange::new(stream, &self.clock, policy.head_limits, policy.head_timeout);
        loop {
            let head = match exchange.head() {
                Ok(head) => head,
                Err(NoRequest::Gone) => return,
                Err(NoRequest::Malformed(fault)) => {
                    seat.answers();
                    let mut out = Vec::with_capacity(512);
                    response::fault(&mut out, fault, Method::Get, After::Close);
                    self.counters.answered("unknown", fault.status(), Duration::ZERO);
                    exchange.send(&out);
                    break;
                }
            };
            seat.answers();
            if self.exchange_one(seat.index(), &mut exchange, &head, peer) == After::Close {
                break;
            }
            seat.waits();
        }
        seat.waits();
        exchange.linger();
    }

    /// Reads the rest of a request and answers it.
    fn exchange_one(
        &self,
        seat: usize,
        exchange: &mut Exchange<'_, C>,
        head: &ApiHead,
        peer: SocketAddr,
    ) -> After {
        let policy = self.shared.policy.load_full();
        let begun = self.now();
        let of = |endpoint| AnsweredRequest { method: head.method, endpoint, begun };
        let unread = if head.body == DeclaredBody::None { head.after } else { After::Close };
        let admitted = match self.admit(head, &policy, peer) {
            Ok(admitted) => admitted,
            Err(Refused { endpoint, problem, allow }) => {
                let mut answer = ApiAnswer::problem(&problem);
                answer.headers.extend(allow.map(|methods| ("Allow", methods.to_owned())));
                // A body that is not read would be taken for the next request.
                if unread == After::KeepAlive && exchange.body(head, 0).is_err() {
                    return After::Close;
                }
                return self.send(exchange, of(endpoint), answer, unread);
            }
        };
        let endpoint = admitted.routed.endpoint.word();
        let Some(_bytes) = self.bodies.take(admitted.length, deadline::now() + BODIES_TIMEOUT) else {
            let detail = "too many bodies are in work; repeat the request";
            let problem = ApiProblem::passing(ProblemCode::Overloaded, detail, 1_000);
            return self.send(exchange, of(endpoint), ApiAnswer::problem(&problem), After::Close);
        };
        let received = match exchange.body(head, admitted.length) {
            Ok(received) => received,
            Err(None) => return After::Close,
            Err(Some(problem)) => {
                let answer = ApiAnswer::problem(&problem);
                return self.send(exchange, of(endpoint), answer, After::Close);
            }
        };
        let begun = self.now();
        let answer = self.answer(seat, head, &admitted, &received, &policy);
        let answer = answer.unwrap_or_else(|problem| ApiAnswer::problem(&problem));
        self.send(exchange, AnsweredRequest { begun, ..of(endpoint) }, answer, head.after)
    }

    /// Decides from the head whether the request is served, and how long its body is.
    fn admit(&self, head: &ApiHead, policy: &ApiPolicy, peer: SocketAddr) -> Result<Admitted, Refused> {
        let refused = |endpoint, code, detail: String| Refused {
            endpoint,
            problem: ApiProblem::lasting(code, detail),
            allow: None,
        };
        let unknown = "unknown";
        if head.sender == Sender::Page {
            let detail = "web pages may not use the server API; let your backend send the request";
            return Err(refused(unknown, ProblemCode::Forbidden, detail.into()));
        }
        let routed = route::route(head.method, &head.path).map_err(|(problem, allow)| Refused {
            endpoint: unknown,
            problem,
            allow,
        })?;
        let endpoint = routed.endpoint.word();
        let key = match routed.right {
            None => None,
            Some(right) => {
                let found = head.bearer.as_deref().and_then(|secret| policy.keys.find(secret));
                let key = found.ok_or_else(|| {
                    self.counters.unauthorized.fetch_add(1, Ordering::Relaxed);
                    log::report(AuditEvent::ApiKeyRefused { address: peer.ip() });
                    let detail = "send the header Authorization: Bearer with a secret of [[api.keys]]";
                    refused(endpoint, ProblemCode::Unauthorized, detail.into())
                })?;
                if !key.has(right) {
                    let detail = format!("the key {:?} lacks the right {}", key.name(), right.name());
                    return Err(refused(endpoint, ProblemCode::Forbidden, detail));
                }
                Some(key)
            }
        };
        let length =
            self.length(head, policy).map_err(|problem| Refused { endpoint, problem, allow: None })?;
        Ok(Admitted { routed, key, length })
    }

    /// The length of the body, which a POST needs.
    fn length(&self, head: &ApiHead, policy: &ApiPolicy) -> Result<usize, ApiProblem> {
        match (head.method, head.body) {
            (Method::Post, DeclaredBody::None) => {
                Err(ApiProblem::lasting(ProblemCode::Malformed, "the body is empty; send a JSON object"))
            }
            (_, DeclaredBody::None) => Ok(0),
            (_, DeclaredBody::Unknown) => Err(ApiProblem::lasting(
                ProblemCode::LengthRequired,
                "send Content-Length; chunked bodies are not taken",
            )),
            (_, DeclaredBody::Bytes(length)) if length > policy.body_bytes => {
                let most = policy.body_bytes;
                let detail =
                    format!("the body has over {most} bytes (api.body_bytes); send several requests");
                Err(ApiProblem::lasting(ProblemCode::TooLarge, detail))
            }
            (_, DeclaredBody::Bytes(_)) if head.content == ContentType::Other => Err(ApiProblem::lasting(
                ProblemCode::UnsupportedType,
                "send the header Content-Type: application/json",
            )),
            (_, DeclaredBody::Bytes(length)) => Ok(length),
        }
    }

    fn answer(
        &self,
        seat: usize,
        head: &ApiHead,
        admitted: &Admitted,
        received: &[u8],
        policy: &ApiPolicy,
    ) -> Result<ApiAnswer, ApiProblem> {
        let Admitted { routed, key, .. } = admitted;
        let channel = routed.channel.clone();
        // Only the description needs no key.
        let Some(key) = key else { return Ok(ApiAnswer::json(OPENAPI.as_bytes().to_vec())) };
        let text = std::str::from_utf8(received)
            .map_err(|_| ApiProblem::lasting(ProblemCode::Malformed, "the body is not UTF-8"))?;
        let bounds = policy.bounds;
        match routed.endpoint {
            ApiEndpoint::Publish | ApiEndpoint::UserPublish => {
                let item = body::publish(text, channel, bounds)?;
                let header = head.key.as_deref().map_or(HeaderKey::None, HeaderKey::Whole);
                let mut outcomes = self.publish(seat, key, vec![item], &header)?;
                outcomes.pop().ok_or_else(no_outcome).and_then(|outcome| single(&outcome, routed.endpoint))
            }
            ApiEndpoint::Batch | ApiEndpoint::Broadcast => {
                let items = match routed.endpoint {
                    ApiEndpoint::Batch => body::batch(text, bounds)?,
                    _ => body::broadcast(text, bounds)?,
                };
                let header = head.key.as_deref().map_or(HeaderKey::None, HeaderKey::Numbered);
                Ok(ApiAnswer::json(results(&self.publish(seat, key, items, &header)?)))
            }
            ApiEndpoint::Signal | ApiEndpoint::UserSignal => {
                let signal = body::signal(text, channel, bounds)?;
                self.signal(key, signal)?;
                let mut body = Vec::new();
                json::object(&mut body, |out| {
                    if routed.endpoint == ApiEndpoint::UserSignal {
                        answer::online(out);
                    }
                });
                Ok(ApiAnswer { status: 202, ..ApiAnswer::json(body) })
            }
            ApiEndpoint::Channel | ApiEndpoint::History => {
                let channel = channel.ok_or_else(no_outcome)?;
                if !key.covers(&channel) {
                    let detail = format!("the key {:?} has no pattern that matches {channel}", key.name());
                    return Err(ApiProblem::lasting(ProblemCode::Forbidden, detail));
                }
                let part = match routed.endpoint {
                    ApiEndpoint::History => HistoryPart::of(&head.query)?,
                    _ => HistoryPart::POSITION,
                };
                let page = self.page(seat, channel.clone(), part)?;
                let mut body = Vec::with_capacity(page.body.len() + 256);
                match routed.endpoint {
                    ApiEndpoint::History => answer::history(&mut body, &channel, page.position, &page.body),
                    _ => answer::channel(&mut body, page.position),
                }
                Ok(ApiAnswer::json(body))
            }
            ApiEndpoint::OpenApi => Ok(ApiAnswer::json(OPENAPI.as_bytes().to_vec())),
        }
    }

    fn send(
        &self,
        exchange: &Exchange<'_, C>,
        of: AnsweredRequest,
        answer: ApiAnswer,
        after: After,
    ) -> After {
        let AnsweredRequest { method, endpoint, begun } = of;
        let ApiAnswer { status, content_type, body, headers } = answer;
        self.counters.answered(endpoint, status, self.now().since(begun));
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let options = ResponseOptions { headers: &headers, ..ResponseOptions::plain(method, after) };
        // Head and body in one write: the second packet would wait for the acknowledgement of the first.
        let mut out = Vec::with_capacity(body.len() + 256);
        response::answer(&mut out, status, content_type, &body, &options);
        if exchange.send(&out) { after } else { After::Close }
    }
}

/// A request that is served.
struct Admitted {
    routed: Routed,
    /// `None` if the path needs none.
    key: Option<Arc<ApiKey>>,
    /// The bytes of the body.
    length: usize,
}

/// The answer to a single publication.
fn single(outcome: &Outcome, endpoint: ApiEndpoint) -> Result<ApiAnswer, ApiProblem> {
    let published = outcome.published().map_err(Clone::clone)?;
    let mut body = Vec::with_capacity(160);
    match endpoint {
        ApiEndpoint::UserPublish => answer::published_to_user(&mut body, &published),
        _ => answer::published(&mut body, &published),
    }
    body.push(b'\n');
    Ok(ApiAnswer::json(body))
}

/// The answer to several publications.
fn results(outcomes: &[Outcome]) -> Vec<u8> {
    let mut results = ResultsWriter::new(outcomes.len());
    for outcome in outcomes {
        match outcome.published() {
            Ok(published) => results.published(&published),
            Err(problem) => results.failed(problem),
        }
    }
    results.end()
}

/// Not reached: each item has an outcome, and each path with a name a channel.
fn no_outcome() -> ApiProblem {
    ApiProblem::lasting(ProblemCode::NotFound, "no such path; see /v1/openapi.json")
}
