//! Calls to the auth service, made by threads of the auth worker.
//!
//! `introspect-N` ask about tokens, a few at a time; `key-set` keeps the issuer's keys. They wait for the network so that the
//! thread that checks tokens need not. They keep no state: answers go to that thread, and evidence goes to the watch thread.

use crate::auth::introspection::{self, ClaimNames};
use crate::auth::key_set::KeySet;
use crate::auth::known::{CacheBounds, TokenHash};
use crate::auth::token::{Claims, TokenFault, Verifier};
use crate::auth::token_pattern::TokenPattern;
use crate::auth::trust::TrustMark;
use crate::clock::{Moment, Now};
use crate::health::advice::look_at;
use crate::health::definition::{DependencyKind, Use};
use crate::health::finding::{Cause, Evidence, Fault};
use crate::health::snapshot::{AdmissionMode, Snapshot};
use crate::health::template::Template;
use crate::job::known_token::KnownToken;
use crate::job::{EvidenceSender, Outlook, SnapshotReader};
use crate::metrics::auth::ServiceCounters;
use crate::net::auth_endpoint::{Blame, Endpoint, FailedRequest};
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::http_client::HttpClient;
use crate::net::tls;
use crate::net::trouble::Trouble;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

pub const AUTH: &str = "auth";
/// Simultaneous introspections: enough for thousands per second if an answer takes a millisecond.
pub(super) const CALLERS: usize = 4;

/// The settings of an auth service.
#[derive(Clone)]
pub struct AuthService {
    /// `None`: tokens are not introspected.
    pub introspection: Option<Introspection>,
    /// `None`: only configured keys are used.
    pub key_set: Option<KeySetSource>,
    /// The address that calls leave from; `None`: the system chooses.
    pub source: Option<IpAddr>,
    /// The timeout of one call.
    pub timeout: Duration,
    /// The number of connections that may wait for it at once.
    pub waiting: usize,
    /// The known state of the service: it is not called while it is down.
    pub outlook: Arc<Outlook>,
    /// Where results of calls are reported.
    pub evidence: Option<EvidenceSender>,
    /// Keeps the last active token for the probe, if tokens are checked again.
    pub known_token: Arc<KnownToken>,
}

/// Introspection of tokens (RFC 7662).
#[derive(Clone)]
pub struct Introspection {
    pub endpoint: Endpoint,
    /// The claims that name the user and the permissions.
    pub names: ClaimNames,
    /// The bounds of remembered answers.
    pub bounds: CacheBounds,
    /// The form of the service's tokens; `None`: any.
    pub pattern: Option<TokenPattern>,
    pub recheck: RecheckMode,
}

/// The repeated check of the tokens of open sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecheckMode {
    /// A token is asked about once.
    Off,
    /// Sessions keep their token and have it checked again.
    On,
}

/// A key set that is fetched.
#[derive(Clone)]
pub struct KeySetSource {
    pub endpoint: Endpoint,
    /// Its address.
    pub mark: TrustMark,
    /// The time between two fetches.
    pub refresh: Duration,
    /// The shortest time between two fetches caused by unknown keys.
    pub pause: Duration,
}

/// A token to ask about.
pub(super) struct Call {
    pub(super) hash: TokenHash,
    pub(super) token: Arc<str>,
    /// After this no connection waits for the answer, so the call is skipped.
    pub(super) until: Instant,
}

/// A result of a calling thread.
pub(super) enum ServiceNews {
    /// The service's answer about a token; `None`: it was not asked, or did not answer.
    Judged(TokenHash, Option<Result<Claims, TokenFault>>),
    /// The key set and the start of its fetch; `None`: the fetch failed.
    Keys(Option<Arc<KeySet>>, Moment),
}

/// The outage of the auth service in mode `enforce`. In mode `observe` the service is called all the same.
pub(super) fn outage(snapshot: &Snapshot) -> Option<&Arc<Template>> {
    match snapshot.mode {
        AdmissionMode::Enforce => snapshot.outage_of(AUTH),
        AdmissionMode::Observe => None,
    }
}

pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The part that all calling threads have.
pub(super) struct Caller {
    pub(super) endpoint: Endpoint,
    browser: HttpClient,
    timeout: Duration,
    pub(super) snapshot: SnapshotReader,
    evidence: Option<EvidenceSender>,
    pub(super) counters: Arc<ServiceCounters>,
    pub(super) news: Sender<ServiceNews>,
}

impl Caller {
    pub(super) fn new(
        service: &AuthService,
        endpoint: &Endpoint,
        counters: &Arc<ServiceCounters>,
        news: &Sender<ServiceNews>,
    ) -> Caller {
        let (source, trust) = (service.source, tls::TlsTrust::new(None));
        let dialer = Dialer::new(source, trust);
        Caller {
            endpoint: endpoint.clone(),
            browser: HttpClient::new(Arc::new(Mutex::new(dialer))),
            timeout: service.timeout,
            snapshot: service.outlook.reader(),
            evidence: service.evidence.clone(),
            counters: Arc::clone(counters),
            news: news.clone(),
        }
    }

    /// Makes a call and reports its result to the watch thread. A kept connection may have been closed meanwhile; that alone is
    /// no fault.
    pub(super) fn call<T>(
        &self,
        ask: impl Fn(&HttpClient, Instant) -> Result<T, FailedRequest>,
    ) -> Result<(T, Duration), (Cause, Duration)> {
        let began = now();
        let deadline = began + self.timeout;
        let once = || {
            catch_unwind(AssertUnwindSafe(|| ask(&self.browser, deadline))).unwrap_or_else(|_| {
                Err(self.endpoint.trouble(Fault::Internal, "could not be asked: the call panicked").into())
            })
        };
        let asked = match once() {
            Err(FailedRequest { trouble: Trouble { fault: Fault::Reset, .. }, .. }) => once(),
            asked => asked,
        };
        let took = now().saturating_duration_since(began);
        match asked {
            Ok(answer) => {
                self.tell(Ok(()), took);
                Ok((answer, took))
            }
            Err(FailedRequest { trouble, blame }) => {
                let look_at = look_at(DependencyKind::Http, trouble.fault);
                let cause = trouble.into_cause(look_at, self.endpoint.secrets());
                if blame == Blame::Service {
                    self.tell(Err(cause.clone()), took);
                }
                Err((cause, took))
            }
        }
    }

    fn tell(&self, result: Result<(), Cause>, took: Duration) {
        if let Some(evidence) = &self.evidence {
            evidence.tell(Evidence::Call(Use::Call, result, took));
        }
    }
}

/// Asks about tokens, one at a time: the thread `introspect-N`. It ends when the senders of its calls are gone.
pub(super) struct Introspector {
    pub(super) caller: Caller,
    pub(super) calls: Receiver<Call>,
    pub(super) names: ClaimNames,
    pub(super) verifier: Arc<Verifier>,
    pub(super) clock: Clock,
    pub(super) recheck: RecheckMode,
    pub(super) known_token: Arc<KnownToken>,
}

impl Introspector {
    pub(super) fn start(mut self, number: usize) -> io::Result<()> {
        let body = move || {
            while let Ok(call) = self.calls.recv() {
                let judged = self.introspect(&call);
                if self.caller.news.send(ServiceNews::Judged(call.hash, judged)).is_err() {
                    return;
                }
            }
        };
        Builder::new().name(format!("introspect-{number}")).spawn(body).map(drop)
    }

    fn introspect(&mut self, call: &Call) -> Option<Result<Claims, TokenFault>> {
        let caller = &mut self.caller;
        if now() >= call.until || outage(caller.snapshot.load()).is_some() {
            return None;
        }
        let asked = caller.call(|client, deadline| {
            let body = caller.endpoint.introspect(client, &call.token, deadline)?;
            introspection::read(&body, &self.names, &self.verifier, (self.clock)().unix_ms)
                .map_err(|no_answer| caller.endpoint.trouble(Fault::Field, no_answer.text()).into())
        });
        let counters = &caller.counters;
        add(&counters.introspections, 1);
        let took = match &asked {
            Ok((_, took)) => took,
            Err((cause, took)) => {
                add(&counters.introspections_failed, 1);
                tracing::debug!(fault = cause.fault.as_str(), cause = %cause.text, "introspection failed");
                took
            }
        };
        add(&counters.introspection_us, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let judged = asked.ok().map(|(judged, _)| judged);
        match (&judged, self.recheck) {
            (Some(Ok(_)), RecheckMode::On) => self.known_token.set(Arc::clone(&call.token)),
            (Some(Ok(_)), RecheckMode::Off) | (Some(Err(_)) | None, _) => {}
        }
        judged
    }
}

pub(super) fn add(cell: &AtomicU64, count: u64) {
    cell.fetch_add(count, Ordering::Relaxed);
}
