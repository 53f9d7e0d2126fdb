//! The issuer's keys for the threads of the server API. A thread of the auth worker fetches them, periodically and on request.

use crate::auth::key_set::KeySet;
use crate::auth::trust::TrustMark;
use crate::clock::Moment;
use crossbeam_channel::Sender;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The time that a fetch takes, for advice when to come back.
const FETCH_TIME: Duration = Duration::from_millis(500);

/// The thread that fetches a key set.
#[derive(Clone, Debug)]
pub struct KeySetFetches {
    /// The address of the key set.
    pub mark: TrustMark,
    /// Requests a fetch. The thread ends with the last sender.
    pub requests: Sender<()>,
    /// The shortest time between two fetches that are requested.
    pub pause: Duration,
}

/// The last key set that was fetched.
#[derive(Clone, Debug, Default)]
pub struct FetchedKeys {
    pub set: Arc<KeySet>,
    /// When its fetch began; `None`: none was fetched.
    pub began: Option<Moment>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct IssuerKeys(Mutex<IssuerState>);

#[derive(Debug, Default)]
struct IssuerState {
    /// `None`: no key set is fetched.
    fetches: Option<KeySetFetches>,
    keys: FetchedKeys,
    /// When the last fetch ended, whatever it brought.
    ended: Option<Moment>,
}

impl IssuerState {
    /// The thread that fetches the key set of this address.
    fn fetches_of(&self, mark: TrustMark) -> Option<&KeySetFetches> {
        self.fetches.as_ref().filter(|fetches| fetches.mark == mark)
    }
}

impl IssuerKeys {
    /// Takes keys from this thread from now on. Those of another address are forgotten.
    pub fn follow(&self, fetches: Option<KeySetFetches>) {
        let mut state = self.0.lock();
        let is_same = fetches.as_ref().is_some_and(|fetches| state.fetches_of(fetches.mark).is_some());
        if !is_same {
            *state = IssuerState::default();
        }
        state.fetches = fetches;
    }

    /// Takes the result of a fetch; `None` if it brought no key set. One of a thread that was replaced is dropped.
    pub fn fetched(&self, mark: TrustMark, set: Option<Arc<KeySet>>, began: Moment, ended: Moment) {
        let mut state = self.0.lock();
        if state.fetches_of(mark).is_none() {
            return;
        }
        state.ended = Some(ended);
        if let Some(set) = set {
            state.keys = FetchedKeys { set, began: Some(began) };
        }
    }

    /// The keys of this address.
    pub fn of(&self, mark: TrustMark) -> FetchedKeys {
        let state = self.0.lock();
        state.fetches_of(mark).map(|_| state.keys.clone()).unwrap_or_default()
    }

    /// Has the keys of this address fetched, unless that was just done. Returns the time after which newer ones are there.
    pub fn request(&self, mark: TrustMark, now: Moment) -> Duration {
        let state = self.0.lock();
        let Some(fetches) = state.fetches_of(mark) else { return FETCH_TIME };
        let rest = state.ended.map_or(Duration::ZERO, |ended| (ended + fetches.pause).since(now));
        if rest.is_zero() {
            // Full: a fetch is about to begin.
            let _ = fetches.requests.try_send(());
        }
        rest + FETCH_TIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    #[test]
    fn keys_are_those_of_the_address_that_is_followed() {
        let (keys, (requests, _taken)) = (IssuerKeys::default(), bounded(1));
        let [one, other] = ["one", "other"].map(TrustMark::of);
        let fetches =
            |mark| KeySetFetches { mark, requests: requests.clone(), pause: Duration::from_secs(5) };
        keys.fetched(one, Some(Arc::default()), at(1), at(2));
        assert_eq!(keys.of(one).began, None, "it is not followed");
        keys.follow(Some(fetches(one)));
        keys.fetched(one, Some(Arc::default()), at(1), at(2));
        keys.fetched(one, None, at(3), at(4));
        assert_eq!(
            (keys.of(one).began, keys.of(other).began),
            (Some(at(1)), None),
            "a failed fetch changes nothing"
        );
        keys.follow(Some(fetches(one)));
        assert_eq!(keys.of(one).began, Some(at(1)), "another thread fetches the same");
        keys.follow(Some(fetches(other)));
        keys.fetched(one, Some(Arc::default()), at(5), at(6));
        assert_eq!((keys.of(one).began, keys.of(other).began), (None, None));
    }

    #[test]
    fn requests_respect_the_pause() {
        let (keys, (requests, taken)) = (IssuerKeys::default(), bounded(1));
        let mark = TrustMark::of("one");
        assert_eq!(keys.request(mark, at(0)), FETCH_TIME, "nothing is fetched");
        keys.follow(Some(KeySetFetches { mark, requests, pause: Duration::from_secs(5) }));
        keys.request(mark, at(0));
        assert!(taken.try_recv().is_ok(), "the first fetch has not ended");
        keys.fetched(mark, None, at(0), at(1_000));
        assert_eq!(keys.request(mark, at(2_000)), Duration::from_secs(4) + FETCH_TIME);
        assert!(taken.try_recv().is_err());
        assert_eq!(keys.request(mark, at(6_000)), FETCH_TIME);
        assert!(taken.try_recv().is_ok());
    }
}
