//! The state that the threads of the server API share.

use super::tokens::TokenCheck;
use crate::auth::api_key::{ApiKey, ApiKeys};
use crate::auth::api_meters::{ApiMeters, ApiUse};
use crate::clock::{Moment, Now};
use crate::job::callers::Callers;
use crate::job::directory::UserDirectory;
use crate::job::orders::OrderBoard;
use crate::job::places::Places;
use crate::job::registry::ClusterBoard;
use crate::job::{Mailbox, Outlook, Queues};
use crate::metrics::api::ApiCounters;
use crate::metrics::vitals::Vitals;
use crate::session::StreamsMode;
use crate::wire::api::body::ApiBounds;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::request::HeadLimits;
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;

/// The name of the store among the dependencies.
pub(super) const STORE: &str = "store";

/// The settings that a reload may change.
#[derive(Clone, Debug)]
pub struct ApiPolicy {
    pub keys: ApiKeys,
    /// Of `api.audience`; `None`: tokens are not accepted.
    pub tokens: Option<Arc<TokenCheck>>,
    /// Of `api.tls`; `None`: plain HTTP.
    pub secured: Option<Arc<ServerConfig>>,
    pub bounds: ApiBounds,
    /// `api.body_bytes`
    pub body_bytes: usize,
    pub head_limits: HeadLimits,
    /// From the first byte of a head to its last.
    pub head_timeout: Duration,
    /// `streams.enabled`
    pub streams: StreamsMode,
    /// `streams.idle_ms`: the longest silence of a body of commands.
    pub idle: Duration,
}

/// The parts of the server.
pub(super) struct ApiServer<C> {
    pub(super) shared: Arc<ApiShared>,
    /// `api.connections`
    pub(super) connections: usize,
    pub(super) callers: Arc<Callers>,
    pub(super) mailboxes: Arc<[Mailbox]>,
    pub(super) outlook: Arc<Outlook>,
    pub(super) cluster: Arc<ClusterBoard>,
    pub(super) directory: UserDirectory,
    pub(super) orders: Arc<OrderBoard>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) counters: Arc<ApiCounters>,
    pub(super) clock: C,
}

/// The parts that change while it runs.
pub(super) struct ApiShared {
    pub(super) policy: ArcSwap<ApiPolicy>,
    /// `None`: the process ends.
    pub(super) queues: ArcSwapOption<Queues>,
    /// Appends in the store's queue.
    pub(super) in_flight: Arc<Places>,
    /// Bytes of bodies.
    pub(super) bodies: Arc<Places>,
    pub(super) meters: Mutex<ApiMeters>,
    /// Bodies of commands that are read while they arrive. Half of the connections stay for other requests.
    pub(super) open_bodies: Arc<Places>,
}

impl ApiPolicy {
    /// The backends that share the places.
    pub(super) fn backends(&self) -> usize {
        // Tokens are from any number.
        self.keys.count() + if self.tokens.is_some() { 2 } else { 0 }
    }
}

impl ApiShared {
    /// Applies a changed configuration to the next request.
    pub(super) fn revise(&self, policy: ApiPolicy) {
        self.in_flight.divide(policy.backends());
        self.bodies.divide(policy.backends());
        self.open_bodies.divide(policy.backends());
        self.policy.store(Arc::new(policy));
    }
}

impl<C: Fn() -> Now> ApiServer<C> {
    /// The queues of the workers, unless the process ends.
    pub(super) fn queues(&self) -> Result<Arc<Queues>, ApiProblem> {
        self.shared.queues.load_full().ok_or_else(draining)
    }

    pub(super) fn now(&self) -> Moment {
        (self.clock)().at
    }

    /// Counts the use of a key's rate, or refuses the request.
    pub(super) fn admit(&self, key: &ApiKey, use_of: ApiUse) -> Result<(), ApiProblem> {
        self.shared.meters.lock().admit(key, use_of, self.now()).map_err(|wait| {
            let bound = match use_of {
                ApiUse::Publications(_) => "publishes_per_s",
                ApiUse::Signal => "signals_per_s",
                ApiUse::Order => "100 orders a second",
                ApiUse::Users(_) => "10000 users a second",
            };
            let detail = format!("the key {:?} has used up its {bound}; nothing was done", key.name());
            ApiProblem::passing(ProblemCode::RateLimited, detail, retry_ms(wait))
        })
    }

    /// Refuses a request at once while the store is down: its queue would fill with what is answered late.
    /// `consequence` says what did not happen.
    pub(super) fn check_store(&self, consequence: &str) -> Result<(), ApiProblem> {
        let snapshot = self.outlook.snapshot();
        let Some(outage) = snapshot.outage_of(STORE) else { return Ok(()) };
        let retry_ms = outage.retry_ms(self.now(), fastrand::f32());
        Err(ApiProblem {
            dependency: Some(STORE),
            reference: Some(outage.reference().to_string()),
            ..ApiProblem::passing(
                ProblemCode::Unavailable,
                format!("the store is down; {consequence}"),
                retry_ms,
            )
        })
    }
}

/// The problem with a request at a process that ends.
pub(super) fn draining() -> ApiProblem {
    ApiProblem::passing(ProblemCode::Draining, "this instance ends; repeat the request at another", 1_000)
}

/// A wait in whole milliseconds, rounded up.
pub(super) fn retry_ms(wait: Duration) -> u32 {
    u32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX)
}
