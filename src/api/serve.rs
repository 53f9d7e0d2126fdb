//! Connections: a request is admitted by its head, read, carried out and answered.

use super::admit::{Admitted, Refused};
use super::commands::{CommandsEnd, CommandsRequest};
use super::exchange::{ApiHead, DeclaredBody, Exchange, NoRequest};
use super::publish::{HeaderKey, Outcome};
use super::read::HistoryPart;
use super::route::ApiEndpoint;
use super::server::{ApiPolicy, ApiServer};
use crate::auth::api_key::ApiKey;
use crate::clock::{Moment, Now};
use crate::cluster::forecast::{RoundBegun, SpreadForecast};
use crate::cluster::rebalance_body::{self, RebalancePurpose};
use crate::metrics::rebalance::ROUND;
use crate::net::seats::Seat;
use crate::net::secured::SecuredStream;
use crate::net::served::ServedStream;
use crate::wire::api::answer::{self, ResultsWriter};
use crate::wire::api::body;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::json;
use crate::wire::request::{After, Method};
use crate::wire::response::{self, ResponseOptions};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

const JSON_TYPE: &str = "application/json";
const LINES_TYPE: &str = "application/x-ndjson";
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

/// The sender of a request.
struct Requester {
    /// The seat of its thread.
    seat: usize,
    address: IpAddr,
}

impl<C: Fn() -> Now> ApiServer<C> {
    /// Serves one connection: requests and answers in turn, until one side ends it.
    pub(super) fn serve(&self, seat: &Seat, peer: SocketAddr) {
        let policy = self.shared.policy.load_full();
        let Some(stream) = self.opened(seat.stream(), &policy) else { return };
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
            if self.exchange_one(seat, &mut exchange, &head, peer) == After::Close {
                break;
            }
            seat.waits();
        }
        seat.waits();
        exchange.linger();
    }

    /// The connection, after the handshake if there is one.
    fn opened<'a>(&self, socket: &'a TcpStream, policy: &ApiPolicy) -> Option<ServedStream<'a>> {
        let Some(config) = &policy.secured else { return Some(ServedStream::Plain(socket)) };
        let deadline = self.now() + policy.head_timeout;
        let accepted = SecuredStream::accept(socket, config, deadline, &self.clock);
        if accepted.is_err() {
            self.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
        }
        accepted.ok().map(|stream| ServedStream::Secured(stream, socket))
    }

    /// Reads the rest of a request and answers it.
    fn exchange_one(
        &self,
        seat: &Seat,
        exchange: &mut Exchange<'_, C>,
        head: &ApiHead,
        peer: SocketAddr,
    ) -> After {
        let policy = self.shared.policy.load_full();
        let begun = self.now();
        let of = |endpoint| AnsweredRequest { method: head.method, endpoint, begun };
        let unread = if head.body == DeclaredBody::None { head.after } else { After::Close };
        let admitted = match self.admitted(seat, head, &policy, peer) {
            Ok(admitted) => admitted,
            Err(Refused { endpoint, problem, allow }) => {
                seat.waits();
                let mut answer = ApiAnswer::problem(&problem);
                answer.headers.extend(allow.map(|methods| ("Allow", methods.into_string())));
                // A body that is not read would be taken for the next request.
                if unread == After::KeepAlive && exchange.body(head, 0).is_err() {
                    return After::Close;
                }
                return self.send(exchange, of(endpoint), answer, unread);
            }
        };
        let endpoint = admitted.routed.endpoint.word();
        if admitted.key.is_none() {
            // A peer without a key that does not read its answers must not keep a place that a backend needs.
            seat.waits();
        }
        if let (ApiEndpoint::Commands, Some(key)) = (admitted.routed.endpoint, admitted.key.clone()) {
            let request = CommandsRequest { seat, head, key, policy: &policy, peer };
            return self.exchange_commands(exchange, of(endpoint), request);
        }
        let _bytes = match self.room_for_body(&admitted) {
            Ok(taken) => taken,
            Err(problem) => {
                return self.send(exchange, of(endpoint), ApiAnswer::problem(&problem), After::Close);
            }
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
        let from = Requester { seat: seat.index(), address: peer.ip() };
        let answer = self.answer(&from, head, &admitted, &received, &policy);
        let answer = answer.unwrap_or_else(|problem| ApiAnswer::problem(&problem));
        self.send(exchange, AnsweredRequest { begun, ..of(endpoint) }, answer, head.after)
    }

    fn answer(
        &self,
        from: &Requester,
        head: &ApiHead,
        admitted: &Admitted,
        received: &[u8],
        policy: &ApiPolicy,
    ) -> Result<ApiAnswer, ApiProblem> {
        let Admitted { routed, key, .. } = admitted;
        let (seat, channel) = (from.seat, routed.named.channel());
        // Only the description needs no key.
        let Some(key) = key else { return Ok(ApiAnswer::json(OPENAPI.as_bytes().to_vec())) };
        let text = std::str::from_utf8(received)
            .map_err(|_| ApiProblem::lasting(ProblemCode::Malformed, "the body is not UTF-8"))?;
        let bounds = policy.bounds;
        match routed.endpoint {
            ApiEndpoint::Publish | ApiEndpoint::UserPublish => {
                let item = body::publish(text, channel, bounds)?;
                let header = head.key.as_deref().map_or(HeaderKey::None, HeaderKey::Whole);
                let hint = self.begin_hint(key, routed.named.user());
                let mut outcomes = self.publish(seat, key, vec![item], &header)?;
                let outcome = outcomes.pop().ok_or_else(no_outcome)?;
                match routed.endpoint {
                    ApiEndpoint::UserPublish => personal(&outcome, self.hint(hint)),
                    _ => single(&outcome),
                }
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
                let hint = self.begin_hint(key, routed.named.user());
                self.signal(key, signal)?;
                Ok(sent(routed.endpoint, self.hint(hint)))
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
                    _ => answer::channel(&mut body, page.position, self.roster_numbers(key, channel)),
                }
                Ok(ApiAnswer::json(body))
            }
            ApiEndpoint::Presence => {
                self.presence(key, channel.ok_or_else(no_outcome)?, &head.query).map(ApiAnswer::json)
            }
            ApiEndpoint::Cluster => self.cluster(&head.query).map(ApiAnswer::json),
            ApiEndpoint::Rebalance => self.rebalance(key, text, from.address),
            ApiEndpoint::User | ApiEndpoint::UsersLookup => {
                self.users(key, routed.named.user(), text).map(ApiAnswer::json)
            }
            ApiEndpoint::Disconnect
            | ApiEndpoint::Block
            | ApiEndpoint::ShowBlock
            | ApiEndpoint::Unblock
            | ApiEndpoint::Revoke
            | ApiEndpoint::Erase
            | ApiEndpoint::Order => self.order(routed, key, text, from.address).map(ApiAnswer::json),
            ApiEndpoint::OpenApi => Ok(ApiAnswer::json(OPENAPI.as_bytes().to_vec())),
            ApiEndpoint::Commands => Err(no_outcome()),
        }
    }

    /// Carries out the commands of a body and answers them. Nothing that follows on the connection is read: a proxy
    /// that takes the body for another length would let a peer hide a request there.
    fn exchange_commands(
        &self,
        exchange: &mut Exchange<'_, C>,
        of: AnsweredRequest,
        request: CommandsRequest<'_>,
    ) -> After {
        let answer = match self.commands(exchange, request) {
            Ok(CommandsEnd::Answer(body)) => ApiAnswer { content_type: LINES_TYPE, ..ApiAnswer::json(body) },
            Ok(CommandsEnd::Sent) => {
                self.counters.answered(of.endpoint, 200, self.now().since(of.begun));
                return After::Close;
            }
            Err(None) => return After::Close,
            Err(Some(problem)) => ApiAnswer::problem(&problem),
        };
        self.send(exchange, of, answer, After::Close)
    }

    /// Begins a round in which the instances spread their connections, or forecasts one.
    fn rebalance(&self, key: &ApiKey, text: &str, address: IpAddr) -> Result<ApiAnswer, ApiProblem> {
        let (wish, rebalance) = (rebalance_body::read(text)?, &self.vitals.rebalance);
        let report = self.cluster.report();
        match wish.purpose {
            RebalancePurpose::Forecast => {
                let within = rebalance.wanted_percent(wish.within_percent);
                let forecast = SpreadForecast::new(&report, within, ROUND.as_secs());
                Ok(ApiAnswer::json(forecast.json().into_bytes()))
            }
            RebalancePurpose::Round => {
                let within_percent = rebalance.order(wish.within_percent, self.now());
                let by = format!("api:{}", key.name());
                tracing::info!(target: "audit", within_percent, by, %address, "rebalance ordered");
                let body = RoundBegun::new(&report, within_percent, ROUND.as_secs()).json().into_bytes();
                Ok(ApiAnswer { status: 202, ..ApiAnswer::json(body) })
            }
        }
    }

    fn send(
        &self,
        exchange: &mut Exchange<'_, C>,
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

/// The answer to a single publication.
fn single(outcome: &Outcome) -> Result<ApiAnswer, ApiProblem> {
    let mut body = Vec::with_capacity(160);
    answer::published(&mut body, &outcome.published().map_err(Clone::clone)?);
    body.push(b'\n');
    Ok(ApiAnswer::json(body))
}

/// The answer to a publication for a user.
fn personal(outcome: &Outcome, is_online: Option<bool>) -> Result<ApiAnswer, ApiProblem> {
    let mut body = Vec::with_capacity(176);
    answer::published_to_user(&mut body, &outcome.published().map_err(Clone::clone)?, is_online);
    body.push(b'\n');
    Ok(ApiAnswer::json(body))
}

/// The answer to a signal.
fn sent(endpoint: ApiEndpoint, is_online: Option<bool>) -> ApiAnswer {
    let mut body = Vec::new();
    json::object(&mut body, |out| {
        if endpoint == ApiEndpoint::UserSignal {
            answer::online(out, is_online);
        }
    });
    ApiAnswer { status: 202, ..ApiAnswer::json(body) }
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
