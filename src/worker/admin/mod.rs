//! The listener for operators: what the public one hides, and what they may do. Plain HTTP/1.1, always with a bearer token.
//!
//! It runs on threads of its own and stands on none of the others: a reactor that is stalled or a worker that hangs keeps
//! nobody from asking whether the process lives. A thread a connection, few of them, one request each; who is slow at
//! asking gives way to who comes next (see [`seats`]), so no peer keeps another out.

mod exchange;
mod route;
mod seats;

use super::watch::{Action, Answer, Ask, Desk};
use crate::clock::Now;
use crate::drain::Cause;
use crate::job::Outlook;
use crate::metrics::drain::Began;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::wire::request::{After, HeadLimits, Method};
use crate::wire::response::{self, ResponseOptions};
use exchange::{Request, Unheard};
use route::{Refusal, Shown, Wish};
use seats::{Seat, Seats};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Bytes of a token. The shortest still cannot be guessed, if it was drawn.
pub const BEARER_BYTES: RangeInclusive<usize> = 32..=512;
/// Between two tries to accept after the system gave no descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

const HEALTH_TYPE: &str = "application/health+json";
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// True exactly when the text may be a token: of a length that is accepted and of RFC 6750's characters (section 2.1).
pub fn is_bearer(text: &[u8]) -> bool {
    BEARER_BYTES.contains(&text.len())
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte))
}

/// What the listener answers from.
pub struct Admin<C> {
    /// What operators show.
    pub token: Vec<u8>,
    /// The way to the watch thread.
    pub desk: Desk,
    /// Wakes the thread that leads a drain, after one was begun.
    pub bell: Arc<dyn Fn() + Send + Sync>,
    /// Reads the process's clock.
    pub clock: C,
    /// What is known of the dependencies.
    pub outlook: Arc<Outlook>,
    /// Signs of life and sizes.
    pub vitals: Arc<Vitals>,
    /// All that is counted.
    pub metrics: Arc<Metrics>,
    /// The name of this instance.
    pub instance: Arc<str>,
    /// Bounds of a request's head.
    pub head_limits: HeadLimits,
    /// From the accept to the end of the request.
    pub request_ms: u32,
}

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    /// Starts the thread that accepts. It ends with the process: while that stops, operators can still see why.
    pub fn start(self, listener: TcpListener) -> io::Result<()> {
        let seats = Arc::new(Seats::default());
        let admin = Arc::new(self);
        Builder::new().name("admin".into()).spawn(move || admin.accept(&listener, &seats)).map(|_| ())
    }

    fn accept(self: Arc<Self>, listener: &TcpListener, seats: &Arc<Seats>) {
        loop {
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "the admin listener gets no connection");
                    std::thread::park_timeout(ACCEPT_RETRY);
                    continue;
                }
            };
            let (seat, turned_out) = Seats::take(seats, stream);
            self.metrics.admin.turned_out.fetch_add(turned_out, Ordering::Relaxed);
            let admin = Arc::clone(&self);
            let serve = move || admin.serve(&seat, peer);
            if let Err(error) = Builder::new().name("admin-peer".into()).spawn(serve) {
                tracing::warn!(%error, "cannot start a thread for an operator");
            }
        }
    }

    /// One connection: one request, its answer, and the end.
    fn serve(&self, seat: &Seat, peer: SocketAddr) {
        let stream: &TcpStream = seat.stream();
        let received = exchange::receive(
            stream,
            self.head_limits,
            Duration::from_millis(self.request_ms.into()),
            &self.clock,
            |shown| self.knows(shown),
        );
        seat.answers();
        let mut out = Vec::with_capacity(4 << 10);
        match received {
            Ok(request) => self.answer(&mut out, &request, peer),
            Err(Unheard::Gone) => return,
            Err(Unheard::Malformed(fault)) => {
                response::fault(&mut out, fault, Method::Get, After::Close);
            }
            Err(Unheard::Refused(method, refusal)) => {
                if refusal.status == 401 {
                    self.metrics.admin.unauthorized.fetch_add(1, Ordering::Relaxed);
                }
                refuse(&mut out, method, &refusal);
            }
        }
        self.metrics.admin.requests.fetch_add(1, Ordering::Relaxed);
        exchange::send(stream, &out, &self.clock);
        seat.lingers();
        exchange::linger(stream, &self.clock);
    }

    /// How long a comparison takes says nothing about the token but its length.
    fn knows(&self, shown: &[u8]) -> bool {
        shown.ct_eq(&self.token).into()
    }

    fn answer(&self, out: &mut Vec<u8>, request: &Request, peer: SocketAddr) {
        let method = request.method;
        match route::wish(method, &request.path, &request.body) {
            Err(refusal) => refuse(out, method, &refusal),
            Ok(Wish::Show(Shown::Metrics)) => {
                tell(out, method, 200, METRICS_TYPE, &self.metrics.text(&self.vitals));
            }
            Ok(Wish::Show(shown)) => {
                let (now, snapshot) = ((self.clock)(), self.outlook.snapshot());
                let readings = self.vitals.readings(now.at, &snapshot, &self.instance);
                let report = match shown {
                    Shown::Live => readings.live(),
                    Shown::Ready => readings.ready(),
                    Shown::Summary | Shown::Metrics => readings.summary(),
                };
                tell(out, method, report.status, HEALTH_TYPE, &report.body);
            }
            Ok(Wish::Progress) => self.progress(out, method),
            Ok(Wish::Drain) => {
                if self.vitals.drain.begin(Cause::Operator, (self.clock)()) == Began::Now {
                    (self.bell)();
                    self.metrics.admin.did("drain");
                    tracing::info!(%peer, "an operator began a drain");
                }
                self.progress(out, method);
            }
            Ok(Wish::Ask(ask)) => self.ask(out, method, ask, peer),
        }
    }

    /// How far a drain has come.
    fn progress(&self, out: &mut Vec<u8>, method: Method) {
        let progress = self.vitals.drain.progress((self.clock)().at, self.vitals.connections());
        tell(out, method, 200, "application/json", &progress.json());
    }

    fn ask(&self, out: &mut Vec<u8>, method: Method, ask: Ask, peer: SocketAddr) {
        let action = match &ask {
            Ask::Dependencies | Ask::Dependency(_) | Ask::Admission => None,
            Ask::Act(Action::Probe(_)) => Some("probe"),
            Ask::Act(Action::Force(..)) => Some("force"),
            Ask::Act(Action::Release(_)) => Some("release"),
            Ask::Act(Action::Admission(_)) => Some("admission"),
        };
        match self.desk.ask(ask, peer) {
            Some(Answer::Report(report)) => {
                if let Some(action) = action {
                    self.metrics.admin.did(action);
                }
                tell(out, method, report.status, HEALTH_TYPE, &report.body);
            }
            Some(Answer::Unknown(known)) => refuse(out, method, &Refusal::unknown_dependency(&known)),
            Some(Answer::NotHeld) => refuse(out, method, &Refusal::not_held()),
            None => refuse(out, method, &Refusal::no_answer()),
        }
    }
}

fn tell(out: &mut Vec<u8>, method: Method, status: u16, form: &str, body: &str) {
    let options = ResponseOptions::plain(method, After::Close);
    response::answer(out, status, form, body.as_bytes(), &options);
}

fn refuse(out: &mut Vec<u8>, method: Method, refusal: &Refusal) {
    let options =
        ResponseOptions { headers: &refusal.headers, ..ResponseOptions::plain(method, After::Close) };
    response::answer(out, refusal.status, "application/json", refusal.body().as_bytes(), &options);
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test measures how long an answer takes")]
mod tests;
