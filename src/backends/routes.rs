//! The routes as the thread `relay` has them, with their senders.

use super::cancelled::RouteCancels;
use super::sender::SenderJob;
use crate::clock::Moment;
use crate::metrics::relay::{RelayMeters, RouteMeter};
use crate::relay::route::{RelayRoute, RouteTable};
use crate::relay::share::SeatShares;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::sync::Arc;

/// Jobs that wait for the senders of one route: at most one for each seat, so as many as the greatest `concurrency`.
const JOBS: usize = 512;

/// A route, and its senders.
pub(super) struct RouteSeat {
    pub(super) name: Arc<str>,
    /// `None`: the configuration has it no more.
    pub(super) route: Option<Arc<RelayRoute>>,
    pub(super) meter: Arc<RouteMeter>,
    /// The seats by the authors of publications.
    pub(super) shares: Arc<Mutex<SeatShares>>,
    pub(super) jobs: (Sender<Option<SenderJob>>, Receiver<Option<SenderJob>>),
    pub(super) cancels: RouteCancels,
    pub(super) senders: usize,
    pub(super) used: Moment,
}

impl RouteSeat {
    pub(super) fn new(route: &RelayRoute, meter: Arc<RouteMeter>) -> RouteSeat {
        let mut shares = SeatShares::default();
        shares.resize(route.concurrency);
        RouteSeat {
            name: Arc::clone(&route.name),
            route: Some(Arc::new(route.clone())),
            meter,
            shares: Arc::new(Mutex::new(shares)),
            jobs: bounded(JOBS),
            cancels: RouteCancels::default(),
            senders: 0,
            used: Moment::ZERO,
        }
    }

    /// Takes the route from a new configuration. Returns its seats.
    pub(super) fn renew(&mut self, table: &RouteTable, meters: &RelayMeters) -> u16 {
        self.route = table.named(&self.name).cloned().map(Arc::new);
        // A route that was gone for a while has a meter of its own again.
        if let Some(meter) = meters.of(&self.name) {
            self.meter = meter;
        }
        let all = self.route.as_ref().map_or(0, |route| route.concurrency);
        self.shares.lock().resize(all);
        all
    }
}
