//! The auth service as the auth worker's threads call it, and what they bring back.
//!
//! `introspect-N` ask about tokens, a few at a time; `key-set` keeps the issuer's keys. They wait for the network so that the thread
//! that checks tokens does not, and nothing they meet stays with them: answers go to that thread, what they met to the watch.

use super::Clock;
use super::endpoint::{Blame, Endpoint, Unanswered};
use crate::auth::introspection::{self, ClaimNames};
use crate::auth::key_set::KeySet;
use crate::auth::known::{Bounds, TokenHash};
use crate::auth::token::{Claims, TokenFault, Verifier};
use crate::health::definition::{Kind, Use};
use crate::health::finding::{Cause, Evidence, Fault};
use crate::health::snapshot::{AdmissionMode, Snapshot};
use crate::health::template::Template;
use crate::job::{Outlook, SnapshotReader, Witness};
use crate::metrics::auth::ServiceCounters;
use crate::worker::browser::Browser;
use crate::worker::line::trouble::Trouble;
use crate::worker::line::{Dialer, now, resolve, tls};
use crate::worker::probe::advice::look_at;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The name of the dependency.
pub const AUTH: &str = "auth";
/// Introspections under way at once: enough for thousands a second where an answer takes a millisecond.
const CALLERS: usize = 4;

/// What is asked of an auth service.
#[derive(Clone)]
pub struct Service {
    /// Asking about tokens; `None`: nobody is asked.
    pub introspection: Option<Introspection>,
    /// The issuer's keys; `None`: only configured ones are used.
    pub key_set: Option<KeySetSource>,
    /// The address that calls leave from; `None`: the system chooses.
    pub source: Option<IpAddr>,
    /// Of one call.
    pub timeout: Duration,
    /// Connections that may wait for it at once.
    pub waiting: usize,
    /// What is known of it: nobody is called while it is down.
    pub outlook: Arc<Outlook>,
    /// Who is told what calls meet.
    pub witness: Option<Witness>,
}

/// See [`Service`].
#[derive(Clone)]
pub struct Introspection {
    /// Where.
    pub endpoint: Endpoint,
    /// Who it is and what they may do.
    pub names: ClaimNames,
    /// What is remembered.
    pub bounds: Bounds,
}

/// See [`Service`].
#[derive(Clone)]
pub struct KeySetSource {
    /// Where.
    pub endpoint: Endpoint,
    /// Between two fetches.
    pub refresh: Duration,
    /// At least this long between two that unknown keys cause.
    pub pause: Duration,
}

/// A token to be asked about.
pub(super) struct Call {
    pub(super) hash: TokenHash,
    pub(super) token: Arc<str>,
    /// Later it is not asked any more: nobody waits.
    pub(super) until: Instant,
}

/// What the threads bring back.
pub(super) enum News {
    /// What the service says of a token; `None`: it was not asked, or did not answer.
    Judged(TokenHash, Option<Result<Claims, TokenFault>>),
    /// The key set, or that there is none to be had.
    Keys(Option<KeySet>),
}

/// The outage of the auth service, where verdicts are carried out. Where they are doubted, it is called all the same.
pub(super) fn outage(snapshot: &Snapshot) -> Option<&Arc<Template>> {
    match snapshot.mode {
        AdmissionMode::Enforce => snapshot.outage_of(AUTH),
        AdmissionMode::Observe => None,
    }
}

/// What each thread has.
pub(super) struct Caller {
    pub(super) endpoint: Endpoint,
    browser: Browser,
    timeout: Duration,
    pub(super) snapshot: SnapshotReader,
    witness: Option<Witness>,
    pub(super) counters: Arc<ServiceCounters>,
    pub(super) news: Sender<News>,
}

impl Caller {
    pub(super) fn new(
        service: &Service,
        endpoint: &Endpoint,
        counters: &Arc<ServiceCounters>,
        news: &Sender<News>,
    ) -> Caller {
        let (source, trust) = (service.source, tls::Trust::new(None));
        let dialer = Dialer { source, trust, resolver: resolve::Resolver::default() };
        Caller {
            endpoint: endpoint.clone(),
            browser: Browser::new(Arc::new(Mutex::new(dialer))),
            timeout: service.timeout,
            snapshot: service.outlook.reader(),
            witness: service.witness.clone(),
            counters: Arc::clone(counters),
            news: news.clone(),
        }
    }

    /// Calls, and tells the watch. A kept connection may have been closed meanwhile: that alone is no fault.
    pub(super) fn call<T>(
        &self,
        ask: impl Fn(&Browser, Instant) -> Result<T, Unanswered>,
    ) -> Result<(T, Duration), (Cause, Duration)> {
        let began = now();
        let deadline = began + self.timeout;
        let once = || {
            catch_unwind(AssertUnwindSafe(|| ask(&self.browser, deadline))).unwrap_or_else(|_| {
                Err(self.endpoint.trouble(Fault::Internal, "could not be asked: the call panicked").into())
            })
        };
        let asked = match once() {
            Err(Unanswered { trouble: Trouble { fault: Fault::Reset, .. }, .. }) => once(),
            asked => asked,
        };
        let took = now().saturating_duration_since(began);
        match asked {
            Ok(answer) => {
                self.tell(Ok(()), took);
                Ok((answer, took))
            }
            Err(Unanswered { trouble, blame }) => {
                let look_at = look_at(Kind::Http, trouble.fault);
                let cause = trouble.into_cause(look_at, self.endpoint.secrets());
                if blame == Blame::Service {
                    self.tell(Err(cause.clone()), took);
                }
                Err((cause, took))
            }
        }
    }

    fn tell(&self, result: Result<(), Cause>, took: Duration) {
        if let Some(witness) = &self.witness {
            witness.tell(Evidence::Call(Use::Call, result, took));
        }
    }
}

/// Starts `introspect-N`. They end when the calls' sender is gone.
pub(super) fn start_callers(
    service: &Service,
    introspection: &Introspection,
    (verifier, clock): (&Arc<Verifier>, &Clock),
    (calls, news): (&Receiver<Call>, &Sender<News>),
    counters: &Arc<ServiceCounters>,
) -> io::Result<()> {
    for number in 0..CALLERS {
        let mut caller = Caller::new(service, &introspection.endpoint, counters, news);
        let (calls, names) = (calls.clone(), introspection.names.clone());
        let (verifier, clock) = (Arc::clone(verifier), Arc::clone(clock));
        let body = move || {
            for call in calls {
                let judged = introspect(&mut caller, &call, &names, &verifier, &clock);
                if caller.news.send(News::Judged(call.hash, judged)).is_err() {
                    return;
                }
            }
        };
        Builder::new().name(format!("introspect-{number}")).spawn(body)?;
    }
    Ok(())
}

fn introspect(
    caller: &mut Caller,
    call: &Call,
    names: &ClaimNames,
    verifier: &Verifier,
    clock: &Clock,
) -> Option<Result<Claims, TokenFault>> {
    if now() >= call.until || outage(caller.snapshot.load()).is_some() {
        return None;
    }
    let asked = caller.call(|browser, deadline| {
        let body = caller.endpoint.introspect(browser, &call.token, deadline)?;
        introspection::read(&body, names, verifier, clock().unix_ms)
            .map_err(|no_answer| caller.endpoint.trouble(Fault::Field, no_answer.text()).into())
    });
    let counters = &caller.counters;
    add(&counters.introspections, 1);
    let took = match &asked {
        Ok((_, took)) => took,
        Err((cause, took)) => {
            add(&counters.introspections_failed, 1);
            tracing::debug!(fault = cause.fault.as_str(), cause = %cause.text, "an introspection failed");
            took
        }
    };
    add(&counters.introspection_us, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    asked.ok().map(|(judged, _)| judged)
}

pub(super) fn add(cell: &AtomicU64, count: u64) {
    cell.fetch_add(count, Ordering::Relaxed);
}
