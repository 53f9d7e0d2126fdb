//! The state that the threads of the server API share.

use super::places::Places;
use crate::auth::api_key::ApiKeys;
use crate::clock::{Moment, Now};
use crate::job::bus::Bus;
use crate::job::callers::Callers;
use crate::job::{Mailbox, Outlook, Queues};
use crate::metrics::api::ApiCounters;
use crate::wire::api::body::ApiBounds;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::request::HeadLimits;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::sync::Arc;
use std::time::Duration;

/// The name of the store among the dependencies.
pub(super) const STORE: &str = "store";

/// The settings that a reload may change.
#[derive(Clone, Debug)]
pub struct ApiPolicy {
    pub keys: ApiKeys,
    pub bounds: ApiBounds,
    /// `api.body_bytes`
    pub body_bytes: usize,
    pub head_limits: HeadLimits,
    /// From the first byte of a head to its last.
    pub head_timeout: Duration,
}

/// The parts of the server.
pub(super) struct ApiServer<C> {
    pub(super) shared: Arc<ApiShared>,
    pub(super) in_flight: Places,
    pub(super) in_flight_max: usize,
    pub(super) bodies: Places,
    pub(super) callers: Arc<Callers>,
    pub(super) mailboxes: Arc<[Mailbox]>,
    pub(super) bus: Option<Bus>,
    pub(super) outlook: Arc<Outlook>,
    pub(super) counters: Arc<ApiCounters>,
    pub(super) clock: C,
}

/// The parts that change while it runs.
pub(super) struct ApiShared {
    pub(super) policy: ArcSwap<ApiPolicy>,
    /// `None`: the process ends.
    pub(super) queues: ArcSwapOption<Queues>,
}

impl<C: Fn() -> Now> ApiServer<C> {
    /// The queues of the workers, unless the process ends.
    pub(super) fn queues(&self) -> Result<Arc<Queues>, ApiProblem> {
        self.shared.queues.load_full().ok_or_else(|| {
            ApiProblem::passing(
                ProblemCode::Draining,
                "this instance ends; repeat the request at another",
                1_000,
            )
        })
    }

    pub(super) fn now(&self) -> Moment {
        (self.clock)().at
    }

    /// Refuses a request at once while the store is down: its queue would fill with what is answered late.
    pub(super) fn check_store(&self) -> Result<(), ApiProblem> {
        let snapshot = self.outlook.snapshot();
        let Some(outage) = snapshot.outage_of(STORE) else { return Ok(()) };
        let retry_ms = outage.retry_ms(self.now(), fastrand::f32());
        Err(ApiProblem {
            dependency: Some(STORE),
            reference: Some(outage.reference().to_string()),
            ..ApiProblem::passing(ProblemCode::Unavailable, "the store is down; nothing was stored", retry_ms)
        })
    }
}
