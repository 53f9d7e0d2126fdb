//! The listener for operators: what the public listener hides, and actions. Plain HTTP/1.1, with a bearer token or a session of the
//! console.
//!
//! It has threads of its own and depends on no other thread: a stalled reactor or a hanging worker does not keep an operator
//! from asking whether the process lives. One thread per connection, few of them, one request each. A peer that is slow to send
//! its request gives way to the next (see [`seats`](crate::net::seats)), so no peer locks out another.

pub mod access;
pub mod alert_path;
mod alerts;
mod bodies;
pub mod client_error_path;
mod client_errors;
pub mod console;
mod exchange;
pub mod flag_path;
mod flags;
mod lookup;
mod names;
mod objectives;
mod order;
pub mod order_path;
pub mod refusal;
mod relay;
pub mod relay_links;
pub mod relay_path;
mod relay_replay;
mod relay_try;
pub mod request;
pub mod route;
pub mod slo_path;

use crate::clock::Now;
use crate::cluster::forecast::{RoundBegun, SpreadForecast};
use crate::cluster::rebalance_body::{RebalancePurpose, RebalanceWish};
use crate::drain::DrainCause;
use crate::job::admin::{AdminAction, AdminAnswer, AdminQuestion, AdminRequests};
use crate::job::alerts::AlertRequests;
use crate::job::delivery::Monitor;
use crate::job::directory::UserDirectory;
use crate::job::orders::OrderBoard;
use crate::job::presence::PresenceQueue;
use crate::job::registry::ClusterBoard;
use crate::job::slo::SloRequests;
use crate::job::{Mailbox, Outlook};
use crate::log;
use crate::log::audit::AuditEvent;
use crate::metrics::drain::Began;
use crate::metrics::rebalance::ROUND;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::net::listener;
use crate::net::seats::{Seat, Seats};
use crate::wire::request::{After, HeadLimits, Method};
use crate::wire::response::{self, ResponseOptions};
use console::Console;
use exchange::Unheard;
use refusal::AdminRefusal;
use relay_links::RelayLinks;
use request::ReceivedRequest;
use route::{AdminTask, AdminView};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a token. Even the shortest cannot be guessed if it is random.
pub const BEARER_BYTES: RangeInclusive<usize> = 32..=512;
/// Connections served at once.
const SEATS: usize = 8;

const HEALTH_TYPE: &str = "application/health+json";

/// True if the text can be a token: of an accepted length and of the characters in RFC 6750, section 2.1.
pub fn is_bearer(text: &[u8]) -> bool {
    BEARER_BYTES.contains(&text.len())
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte))
}

/// Everything the listener answers from.
pub struct Admin<C> {
    /// The token that operators present.
    pub token: Zeroizing<Vec<u8>>,
    pub requests: AdminRequests,
    /// Wakes the thread that leads a drain, after a drain was begun.
    pub waker: Arc<dyn Fn() + Send + Sync>,
    pub clock: C,
    pub outlook: Arc<Outlook>,
    /// Heartbeats and sizes.
    pub vitals: Arc<Vitals>,
    pub metrics: Arc<Metrics>,
    pub instance: Arc<str>,
    /// To the reactors, which know the sessions.
    pub mailboxes: Arc<[Mailbox]>,
    /// To the thread that owns the rosters.
    pub presence: PresenceQueue,
    /// Knows the other instances on the bus.
    pub monitor: Arc<Monitor>,
    pub cluster: Arc<ClusterBoard>,
    /// Knows where users are connected.
    pub users: UserDirectory,
    pub orders: Arc<OrderBoard>,
    /// To the thread that owns the incidents.
    pub alert_requests: AlertRequests,
    /// To the thread that owns the counts of objectives.
    pub slo_requests: SloRequests,
    pub relay: RelayLinks,
    pub head_limits: HeadLimits,
    /// From accepting to the end of the request.
    pub request_ms: u32,
    /// The state of the pages for a browser.
    pub console: Console,
}

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    /// Starts the thread that accepts, and the one that keeps the history. They end with the process: operators can still see why
    /// while that stops.
    pub fn start(self, socket: TcpListener) -> io::Result<()> {
        let seats = Seats::new(SEATS);
        let admin = Arc::new(self);
        admin.start_history()?;
        let accept = move || {
            let server = Arc::clone(&admin);
            let count = |turned_out| {
                admin.metrics.admin.turned_out.fetch_add(turned_out, Ordering::Relaxed);
            };
            let serve = move |seat: &Seat, peer| server.serve(seat, peer);
            listener::accept(&socket, &seats, "admin-peer", count, serve);
        };
        Builder::new().name("admin".into()).spawn(accept).map(|_| ())
    }

    /// Serves one connection: one request, its answer, and the end.
    fn serve(&self, seat: &Seat, peer: SocketAddr) {
        let stream: &TcpStream = seat.stream();
        let received = exchange::receive(
            stream,
            self.head_limits,
            Duration::from_millis(self.request_ms.into()),
            &self.clock,
            |head| self.authorize(head),
        );
        seat.answers();
        let mut out = Vec::with_capacity(4 << 10);
        match received {
            Ok(request) => {
                self.answer(&mut out, &request, peer);
                self.note_action(&request, status(&out), peer);
            }
            Err(Unheard::Gone) => return,
            Err(Unheard::Malformed(fault)) => {
                response::fault(&mut out, fault, Method::Get, After::Close);
            }
            Err(Unheard::Refused(method, refusal)) => {
                self.count_refusal(&refusal, peer);
                refuse(&mut out, method, &refusal);
            }
        }
        self.metrics.admin.requests.fetch_add(1, Ordering::Relaxed);
        listener::send(stream, &out, &self.clock);
        seat.waits();
        listener::linger(stream, &self.clock);
    }

    /// Counts a wrong token, session or code.
    fn count_refusal(&self, refusal: &AdminRefusal, peer: SocketAddr) {
        if refusal.is_guess() {
            self.metrics.admin.unauthorized.fetch_add(1, Ordering::Relaxed);
            log::report(AuditEvent::AdminTokenRefused { address: peer.ip() });
        }
    }

    /// The duration of the comparison reveals nothing about the token but its length.
    fn knows(&self, shown: &[u8]) -> bool {
        shown.ct_eq(&self.token).into()
    }

    fn answer(&self, out: &mut Vec<u8>, request: &ReceivedRequest, peer: SocketAddr) {
        let method = request.method;
        if self.console(out, request, peer) {
            return;
        }
        match route::wish(method, &request.path, &request.body) {
            Err(refusal) => refuse(out, method, &refusal),
            Ok(AdminTask::Show(AdminView::Metrics)) => {
                let format = request.metrics;
                let text = self.metrics.text(&self.vitals, (self.clock)().unix_ms, format);
                tell(out, method, 200, format.content_type(), &text);
            }
            Ok(AdminTask::Show(shown)) => {
                let (now, snapshot) = ((self.clock)(), self.outlook.snapshot());
                let readings = self.vitals.readings(now.at, &snapshot, &self.instance);
                let report = match shown {
                    AdminView::Live => readings.live(),
                    AdminView::Ready => readings.ready(),
                    AdminView::Summary | AdminView::Metrics => readings.summary(),
                };
                tell(out, method, report.status, HEALTH_TYPE, &report.body);
            }
            Ok(AdminTask::Cluster) => {
                tell(out, method, 200, "application/json", &self.cluster.report().json(None));
            }
            Ok(AdminTask::Settings) => {
                tell(out, method, 200, "application/json", &format!("{}\n", self.vitals.settings.read()));
            }
            Ok(AdminTask::Rebalance(wish)) => self.rebalance(out, method, wish, peer),
            Ok(AdminTask::LookUp(wanted)) => self.look_up(out, method, wanted),
            Ok(AdminTask::User(user)) => self.user(out, method, user),
            Ok(AdminTask::Presence(wish)) => match self.presence.page(wish) {
                Some(page) => {
                    tell(
                        out,
                        method,
                        200,
                        "application/json",
                        &format!("{}\n", String::from_utf8_lossy(&page)),
                    );
                }
                None => refuse(out, method, &AdminRefusal::presence_silent()),
            },
            Ok(AdminTask::Orders(question)) => self.order(out, method, question, peer),
            Ok(AdminTask::Objectives(question)) => self.objectives(out, method, question, peer),
            Ok(AdminTask::Flags(question)) => self.flags(out, method, question, peer),
            Ok(AdminTask::ClientErrors(question)) => self.client_errors(out, method, question, peer),
            Ok(AdminTask::Alerts(question)) => self.alerts(out, method, question, peer),
            Ok(AdminTask::Relay(question)) => self.relay(out, method, question, peer),
            Ok(AdminTask::Progress) => self.progress(out, method),
            Ok(AdminTask::Drain) => {
                if self.vitals.drain.begin(DrainCause::Operator, (self.clock)()) == Began::Now {
                    (self.waker)();
                    self.metrics.admin.count_action("drain");
                    tracing::info!(%peer, "drain begun by operator");
                }
                self.progress(out, method);
            }
            Ok(AdminTask::Ask(ask)) => self.ask(out, method, ask, peer),
        }
    }

    /// Begins a round in which the instances spread their connections, or forecasts one.
    fn rebalance(&self, out: &mut Vec<u8>, method: Method, wish: RebalanceWish, peer: SocketAddr) {
        let (rebalance, report) = (&self.vitals.rebalance, self.cluster.report());
        let (status, body) = match wish.purpose {
            RebalancePurpose::Forecast => {
                let within = rebalance.wanted_percent(wish.within_percent);
                (200, SpreadForecast::new(&report, within, ROUND.as_secs()).json())
            }
            RebalancePurpose::Round => {
                let within = rebalance.order(wish.within_percent, (self.clock)().at);
                self.metrics.admin.count_action("rebalance");
                tracing::info!(%peer, within_percent = within, "rebalance ordered by operator");
                (202, RoundBegun::new(&report, within, ROUND.as_secs()).json())
            }
        };
        tell(out, method, status, "application/json", &body);
    }

    /// The progress of a drain.
    fn progress(&self, out: &mut Vec<u8>, method: Method) {
        let progress = self.vitals.drain.progress((self.clock)().at, self.vitals.connections());
        tell(out, method, 200, "application/json", &progress.json());
    }

    fn ask(&self, out: &mut Vec<u8>, method: Method, ask: AdminQuestion, peer: SocketAddr) {
        let action = match &ask {
            AdminQuestion::Dependencies
            | AdminQuestion::Dependency(_)
            | AdminQuestion::Outage(_)
            | AdminQuestion::Admission => None,
            AdminQuestion::Act(AdminAction::Probe(_)) => Some("probe"),
            AdminQuestion::Act(AdminAction::Force(..)) => Some("force"),
            AdminQuestion::Act(AdminAction::Release(_)) => Some("release"),
            AdminQuestion::Act(AdminAction::Admission(_)) => Some("admission"),
        };
        let dependency = match &ask {
            AdminQuestion::Dependency(name) => Some(name.clone()),
            _ => None,
        };
        match self.requests.ask(ask, peer) {
            Some(AdminAnswer::Report(report)) => {
                if let Some(action) = action {
                    self.metrics.admin.count_action(action);
                }
                let body = match dependency {
                    Some(name) => self.with_routes(&name, report.body),
                    None => report.body,
                };
                tell(out, method, report.status, HEALTH_TYPE, &body);
            }
            Some(AdminAnswer::Unknown(known)) => {
                refuse(out, method, &AdminRefusal::unknown_dependency(&known))
            }
            Some(AdminAnswer::UnknownOutage) => refuse(out, method, &AdminRefusal::unknown_outage()),
            Some(AdminAnswer::NotHeld) => refuse(out, method, &AdminRefusal::not_held()),
            None => refuse(out, method, &AdminRefusal::no_answer()),
        }
    }
}

/// The status of an answer: the digits after `HTTP/1.1 `.
fn status(answer: &[u8]) -> u16 {
    let digits = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn tell(out: &mut Vec<u8>, method: Method, status: u16, form: &str, body: &str) {
    let options = ResponseOptions::plain(method, After::Close);
    response::answer(out, status, form, body.as_bytes(), &options);
}

fn refuse(out: &mut Vec<u8>, method: Method, refusal: &AdminRefusal) {
    let options =
        ResponseOptions { headers: &refusal.headers, ..ResponseOptions::plain(method, After::Close) };
    response::answer(out, refusal.status, "application/json", refusal.body().as_bytes(), &options);
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test measures how long an answer takes")]
mod tests;
