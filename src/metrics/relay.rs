//! Counters of the relay, for each route.

use super::duration::DurationHistogram;
use super::store::bump;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The outcome of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The backend has the publication.
    Taken,
    /// The response asks for another time.
    Asked,
    /// The backend failed.
    Failed,
    /// There was no response in time, or no connection.
    Unreached,
    /// The backend will never take it.
    Refused,
    /// Status 410: the route pauses.
    Gone,
}

impl RequestOutcome {
    pub const ALL: [RequestOutcome; 6] = [
        RequestOutcome::Taken,
        RequestOutcome::Asked,
        RequestOutcome::Failed,
        RequestOutcome::Unreached,
        RequestOutcome::Refused,
        RequestOutcome::Gone,
    ];

    /// The label `outcome`.
    pub const fn word(self) -> &'static str {
        match self {
            RequestOutcome::Taken => "taken",
            RequestOutcome::Asked => "asked",
            RequestOutcome::Failed => "failed",
            RequestOutcome::Unreached => "unreached",
            RequestOutcome::Refused => "refused",
            RequestOutcome::Gone => "gone",
        }
    }
}

/// One route: totals since the start, and what is now.
#[derive(Debug)]
pub struct RouteMeter {
    pub name: Arc<str>,
    requests: [AtomicU64; RequestOutcome::ALL.len()],
    /// From the begin of a request to the head of its response.
    pub request_seconds: DurationHistogram,
    /// From a publication's commit, by the wall clock, to the begin of its first request.
    pub wait_seconds: DurationHistogram,
    /// Requests and responses in progress.
    pub inflight: AtomicU64,
    /// Publications given up here: refused by the backend, and not taken in time.
    pub dead_refused: AtomicU64,
    pub dead_not_delivered: AtomicU64,
    /// Responses with a body that could not be read to its end.
    pub broken_bodies: AtomicU64,
    /// Requests that say that an answer was cancelled: not sent, because too many waited or all tries failed.
    pub cancels_dropped: AtomicU64,
    /// True while the backend is gone (410). Set by the relay; ended by an operator, or a reload.
    pub is_paused: AtomicBool,
    /// By the store, every ten seconds: channels that wait, the commit of the oldest publication that waits (Unix milliseconds, 0 if
    /// none waits), and dead letters.
    pub waiting: AtomicU64,
    pub oldest_ms: AtomicU64,
    pub dead_letters: AtomicU64,
}

impl RouteMeter {
    fn new(name: Arc<str>) -> RouteMeter {
        RouteMeter {
            name,
            requests: Default::default(),
            request_seconds: DurationHistogram::default(),
            wait_seconds: DurationHistogram::default(),
            inflight: AtomicU64::new(0),
            dead_refused: AtomicU64::new(0),
            dead_not_delivered: AtomicU64::new(0),
            broken_bodies: AtomicU64::new(0),
            cancels_dropped: AtomicU64::new(0),
            is_paused: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
            oldest_ms: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
        }
    }

    pub fn count(&self, outcome: RequestOutcome) {
        let place = RequestOutcome::ALL.iter().position(|each| *each == outcome);
        if let Some(cell) = place.and_then(|place| self.requests.get(place)) {
            bump(cell);
        }
    }

    /// The requests, by outcome.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        RequestOutcome::ALL.into_iter().map(RequestOutcome::word).zip(self.requests.iter().map(read))
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }
}

/// The meters of the routes of the configuration.
#[derive(Debug, Default)]
pub struct RelayMeters {
    routes: ArcSwap<Vec<Arc<RouteMeter>>>,
}

impl RelayMeters {
    /// The routes are these from now on. A route keeps its numbers under its name, and is not paused any more.
    pub fn renew<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>) {
        let kept = self.all();
        let routes = names.map(|name| {
            let known = kept.iter().find(|meter| meter.name == *name);
            known.map_or_else(|| Arc::new(RouteMeter::new(Arc::clone(name))), Arc::clone)
        });
        let routes: Vec<_> = routes.collect();
        self.routes.store(Arc::new(routes));
        self.resume();
    }

    /// Ends the pauses of all routes.
    pub fn resume(&self) {
        for meter in self.routes.load().iter() {
            meter.is_paused.store(false, Ordering::Relaxed);
        }
    }

    /// In the order of the configuration.
    pub fn all(&self) -> Arc<Vec<Arc<RouteMeter>>> {
        self.routes.load_full()
    }

    pub fn of(&self, name: &str) -> Option<Arc<RouteMeter>> {
        self.routes.load().iter().find(|meter| *meter.name == *name).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_keeps_its_numbers_and_loses_its_pause_in_a_reload() {
        let (one, two, three): (Arc<str>, Arc<str>, Arc<str>) = ("one".into(), "two".into(), "three".into());
        let meters = RelayMeters::default();
        meters.renew([&one, &two].into_iter());
        let meter = meters.of("two").expect("a route");
        meter.count(RequestOutcome::Gone);
        meter.is_paused.store(true, Ordering::Relaxed);
        meters.renew([&two, &three].into_iter());
        let meter = meters.of("two").expect("a route");
        assert!(!meter.is_paused() && meter.requests().any(|counted| counted == ("gone", 1)));
        assert!(meters.of("one").is_none() && meters.all().len() == 2);
    }
}
