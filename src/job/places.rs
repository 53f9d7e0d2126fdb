//! Waiting for places that parties share ([`PlaceTable`]): for appends in the store's queue, and for bytes of bodies.

use crate::admission::places::PlaceTable;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A bounded number of places.
#[derive(Debug)]
pub struct Places {
    table: Mutex<PlaceTable<Arc<str>>>,
    freed: Condvar,
    /// The places in use, for metrics.
    gauge: Arc<AtomicU64>,
}

/// Places that a party holds; dropping frees them.
#[derive(Debug)]
pub struct TakenPlaces {
    places: Arc<Places>,
    party: Arc<str>,
    count: usize,
}

impl Places {
    /// Free places; `gauge` shows how many are in use.
    pub fn new(bound: usize, gauge: Arc<AtomicU64>) -> Arc<Places> {
        Arc::new(Places { table: Mutex::new(PlaceTable::new(bound)), freed: Condvar::new(), gauge })
    }

    /// The places in use.
    pub fn in_use(&self) -> u64 {
        self.gauge.load(Ordering::Relaxed)
    }

    /// Waits until none is in use, at most until the deadline.
    pub fn wait_until_free(&self, deadline: Instant) {
        let mut table = self.table.lock();
        while table.in_use() > 0 && !self.freed.wait_until(&mut table, deadline).timed_out() {}
    }

    /// The places that one party may hold.
    pub fn share(&self) -> usize {
        self.table.lock().share()
    }

    /// Changes the share to that of this many parties.
    pub fn divide(&self, parties: usize) {
        self.table.lock().divide(parties);
        self.freed.notify_all();
    }

    /// Takes this many, or a whole share if that is less. Waits until they are free and it is the party's turn; `None` at the
    /// deadline.
    pub fn take(
        places: &Arc<Places>,
        party: &Arc<str>,
        count: usize,
        deadline: Instant,
    ) -> Option<TakenPlaces> {
        let mut table = places.table.lock();
        let number = table.ask(Arc::clone(party), count);
        loop {
            if let Some(count) = table.take(number) {
                places.gauge.store(table.in_use() as u64, Ordering::Relaxed);
                places.freed.notify_all();
                return Some(TakenPlaces { places: Arc::clone(places), party: Arc::clone(party), count });
            }
            if places.freed.wait_until(&mut table, deadline).timed_out() {
                table.withdraw(number);
                // The next may have waited for this one alone.
                places.freed.notify_all();
                return None;
            }
        }
    }
}

impl TakenPlaces {
    /// Frees all but this many.
    pub fn keep(&mut self, count: usize) {
        let freed = self.count.saturating_sub(count);
        self.count -= freed;
        let mut table = self.places.table.lock();
        table.free(&self.party, freed);
        self.places.gauge.store(table.in_use() as u64, Ordering::Relaxed);
        self.places.freed.notify_all();
    }

    /// The places that are left.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for TakenPlaces {
    fn drop(&mut self) {
        self.keep(0);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test waits on a clock")]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn request_waits_until_places_are_freed() {
        let (places, party) = (Places::new(4, Arc::default()), Arc::from("a"));
        let mut held = Places::take(&places, &party, 3, Instant::now()).expect("free");
        let (done, came) = channel();
        let waiting = {
            let (places, party) = (Arc::clone(&places), Arc::clone(&party));
            std::thread::spawn(move || done.send(Places::take(&places, &party, 4, Instant::now() + SOON)))
        };
        held.keep(1);
        assert_eq!((held.count(), places.in_use() >= 1), (1, true));
        drop(held);
        let taken = came.recv_timeout(SOON).expect("an answer").expect("places");
        waiting.join().expect("no panic").expect("sent");
        assert_eq!((taken.count(), places.in_use()), (4, 4));
        drop(taken);
        assert_eq!(places.in_use(), 0);
    }

    #[test]
    fn wait_ends_at_the_deadline_and_lets_the_next_pass() {
        let (places, party) = (Places::new(2, Arc::default()), Arc::from("a"));
        let take = |count| Places::take(&places, &party, count, Instant::now());
        let held = take(1).expect("free");
        assert!(take(2).is_none());
        let other = take(1);
        assert!(other.is_some() && take(9).is_none());
        drop((held, other));
        assert!(take(9).is_some(), "more than there are means all");
    }
}
