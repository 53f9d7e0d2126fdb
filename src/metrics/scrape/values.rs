//! The values of one scrape, which the other files of this folder write as metrics.

use crate::cluster::order_counts::OrderCounters;
use crate::metrics::Cell;
use crate::metrics::admin::AdminCounters;
use crate::metrics::alerts::AlertBoard;
use crate::metrics::api::ApiCounters;
use crate::metrics::auth::AuthCounters;
use crate::metrics::bus::BusCounters;
use crate::metrics::client_errors::ErrorBoard;
use crate::metrics::clients::ClientCells;
use crate::metrics::cluster::ClusterCounters;
use crate::metrics::presence::PresenceCounters;
use crate::metrics::reactor::ReactorCounters;
use crate::metrics::registry::RegistryCounters;
use crate::metrics::relay::RelayMeters;
use crate::metrics::reload::ReloadCounters;
use crate::metrics::slo::SloCells;
use crate::metrics::store::StoreCounters;
use crate::metrics::streams::StreamCounters;
use crate::metrics::tls::TlsCounters;
use crate::metrics::vitals::Vitals;
use crate::metrics::watch::WatchCounters;
use crate::slo::report::SloReport;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The cells that one scrape reads.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) reactors: Vec<Arc<ReactorCounters>>,
    pub(super) store: Arc<StoreCounters>,
    pub(super) streams: Arc<StreamCounters>,
    pub(super) auth: Arc<AuthCounters>,
    pub(super) watch: Arc<WatchCounters>,
    pub(super) admin: Arc<AdminCounters>,
    pub(super) tls: Arc<TlsCounters>,
    pub(super) reloads: Arc<ReloadCounters>,
    pub(super) presence: Arc<PresenceCounters>,
    pub(super) registry: Arc<RegistryCounters>,
    pub(super) relay: Arc<RelayMeters>,
    pub(super) orders: Arc<OrderCounters>,
    pub(super) slo: ScrapedObjectives,
    pub(super) alerts: Arc<AlertBoard>,
    pub(super) clients: Arc<ClientCells>,
    pub(super) client_errors: ErrorBoard,
    pub(super) bus: Option<Arc<BusCounters>>,
    pub(super) cluster: Arc<ClusterCounters>,
    pub(super) api: Option<Arc<ApiCounters>>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) log_dropped: u64,
    pub(super) instance: Arc<str>,
    /// In Unix milliseconds.
    pub(super) now_ms: u64,
}

/// The state of the objectives, and what the canary counted for them.
#[derive(Debug)]
pub(super) struct ScrapedObjectives {
    pub(super) report: Arc<SloReport>,
    pub(super) canary: Arc<SloCells>,
}

impl Scrape {
    pub(super) fn sum(&self, cell: impl Fn(&ReactorCounters) -> &Cell) -> u64 {
        self.reactors.iter().map(|reactor| cell(reactor).read()).sum()
    }
}

pub(super) fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}
