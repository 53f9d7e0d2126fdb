//! Places that requests share, first come, first served: for appends in the store's queue, and for bytes of bodies.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Instant;

/// A bounded number of places.
#[derive(Debug)]
pub(super) struct Places {
    bound: usize,
    state: Mutex<PlacesState>,
    freed: Condvar,
}

#[derive(Debug)]
struct PlacesState {
    free: usize,
    /// The numbers of the waiting requests, in the order of arrival.
    waiting: VecDeque<u64>,
    numbers: u64,
}

/// Places that are taken; dropping frees them.
#[derive(Debug)]
pub(super) struct TakenPlaces<'a> {
    places: &'a Places,
    count: usize,
}

impl Places {
    pub(super) fn new(bound: usize) -> Places {
        let state = PlacesState { free: bound, waiting: VecDeque::new(), numbers: 0 };
        Places { bound, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// The places in use.
    pub(super) fn in_use(&self) -> usize {
        self.bound - self.state.lock().free
    }

    /// Takes this many, or all if it is more than there are. Waits for earlier requests, and until enough are free; `None` at the
    /// deadline.
    pub(super) fn take(&self, count: usize, deadline: Instant) -> Option<TakenPlaces<'_>> {
        let count = count.min(self.bound);
        let mut state = self.state.lock();
        let number = state.numbers;
        state.numbers += 1;
        state.waiting.push_back(number);
        while state.waiting.front() != Some(&number) || state.free < count {
            if self.freed.wait_until(&mut state, deadline).timed_out() {
                state.waiting.retain(|waiting| *waiting != number);
                // The next may have waited for this one alone.
                self.freed.notify_all();
                return None;
            }
        }
        state.waiting.pop_front();
        state.free -= count;
        self.freed.notify_all();
        Some(TakenPlaces { places: self, count })
    }
}

impl Drop for TakenPlaces<'_> {
    fn drop(&mut self) {
        self.places.state.lock().free += self.count;
        self.places.freed.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test waits on a clock")]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn large_request_is_not_overtaken_by_small_ones() {
        let places = Arc::new(Places::new(4));
        let held = places.take(3, Instant::now()).expect("free");
        assert_eq!(places.in_use(), 3);
        let (order, came) = channel();
        let waiting: Vec<_> = [4, 1]
            .into_iter()
            .enumerate()
            .map(|(at, count)| {
                let (places, order) = (Arc::clone(&places), order.clone());
                let thread = std::thread::spawn({
                    let places = Arc::clone(&places);
                    move || {
                        let taken = places.take(count, Instant::now() + SOON);
                        order.send((count, taken.is_some())).expect("the test waits");
                    }
                });
                while places.state.lock().waiting.len() <= at {
                    std::thread::yield_now();
                }
                thread
            })
            .collect();
        drop(held);
        assert_eq!(came.recv_timeout(SOON), Ok((4, true)));
        assert_eq!(came.recv_timeout(SOON), Ok((1, true)));
        waiting.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(places.in_use(), 0);
    }

    #[test]
    fn wait_ends_at_the_deadline_and_lets_the_next_pass() {
        let places = Places::new(2);
        let held = places.take(1, Instant::now()).expect("free");
        assert!(places.take(2, Instant::now()).is_none());
        let other = places.take(1, Instant::now() + SOON);
        assert!(other.is_some() && places.take(9, Instant::now()).is_none());
        drop((held, other));
        assert!(places.take(9, Instant::now()).is_some(), "more than there are means all");
    }
}
