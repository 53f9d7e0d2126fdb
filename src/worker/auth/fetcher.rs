//! Keeps the issuer's keys: fetched at the start, then again and again, and when somebody shows a key that is new.
//!
//! A fetch that brings none changes nothing: the keys at hand stay in use. While the service is known to be down it is left alone,
//! and asked at once when it is back.

use super::service::{Caller, KeySetSource, News, add, outage};
use crate::auth::key_set::KeySet;
use crate::backoff::spread;
use crate::worker::line::now;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;

/// Between two looks at whether the service is back.
const LOOK: Duration = Duration::from_millis(100);
/// Between two attempts while no outage is known.
const RETRY: Duration = Duration::from_millis(500);
/// The same during an outage: it may be another question of the service that fails.
const RETRY_IN_OUTAGE: Duration = Duration::from_secs(15);
/// By how much the pause between two fetches is spread, so that instances do not fetch as one.
const SPREAD_PERCENT: u8 = 10;

/// Starts `key-set`. It ends when the wishes' sender is gone.
pub(super) fn start(
    caller: Caller,
    source: &KeySetSource,
    wishes: Receiver<()>,
    unix_ms: impl Fn() -> u64 + Send + 'static,
) -> io::Result<()> {
    let fetcher = Fetcher { caller, refresh: source.refresh, wishes, last: None, failing: false };
    Builder::new().name("key-set".into()).spawn(move || fetcher.run(unix_ms)).map(|_| ())
}

struct Fetcher {
    caller: Caller,
    refresh: Duration,
    wishes: Receiver<()>,
    /// Keys of the last good fetch, and how many of its entries nobody should publish.
    last: Option<(usize, usize)>,
    failing: bool,
}

impl Fetcher {
    fn run(mut self, unix_ms: impl Fn() -> u64) {
        let mut random = fastrand::Rng::new();
        loop {
            let fetched = self.fetch();
            if fetched.is_some() {
                self.caller.counters.key_set_unix_ms.store(unix_ms(), Ordering::Relaxed);
            }
            let got_one = fetched.is_some();
            if self.caller.news.send(News::Keys(fetched)).is_err() {
                return;
            }
            let waited = match got_one {
                true => self.rest(spread(self.refresh, SPREAD_PERCENT, random.f32())),
                false => self.wait_for_the_service(),
            };
            if waited.is_break() {
                return;
            }
        }
    }

    fn fetch(&mut self) -> Option<KeySet> {
        add(&self.caller.counters.key_set_fetches, 1);
        let endpoint = &self.caller.endpoint;
        let fetched =
            self.caller.call(|browser, deadline| endpoint.key_set(browser, deadline).map_err(Into::into));
        match fetched {
            Ok((set, _)) => {
                self.tell_success(&set);
                Some(set)
            }
            Err((cause, _)) => {
                add(&self.caller.counters.key_set_failures, 1);
                if !std::mem::replace(&mut self.failing, true) {
                    let kept = self.last.map_or(0, |(keys, _)| keys);
                    let (fault, cause, look_at) = (cause.fault.as_str(), cause.text, cause.look_at);
                    tracing::warn!(fault, %cause, look_at, kept, "no key set: the keys at hand stay in use");
                }
                None
            }
        }
    }

    /// Says so where something is new.
    fn tell_success(&mut self, set: &KeySet) {
        self.caller.counters.key_set_keys.store(set.len() as u64, Ordering::Relaxed);
        let (keys, passed_over, exposed) = (set.len(), set.passed_over, set.exposed);
        let was_failing = std::mem::replace(&mut self.failing, false);
        let is_new = self.last.replace((keys, exposed)) != Some((keys, exposed));
        if is_new || was_failing {
            tracing::info!(keys, passed_over, "the issuer's key set is in use");
        }
        if is_new && exposed > 0 {
            tracing::warn!(
                exposed,
                "the key set publishes secret or private keys, which are not used: the issuer should replace them"
            );
        }
    }

    fn rest(&self, pause: Duration) -> ControlFlow<()> {
        match self.wishes.recv_timeout(pause) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
            Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
        }
    }

    /// Until a next attempt is worth while.
    fn wait_for_the_service(&mut self) -> ControlFlow<()> {
        let began = now();
        let mut was_down = false;
        loop {
            match self.wishes.recv_timeout(LOOK) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            }
            let is_down = outage(self.caller.snapshot.load()).is_some();
            let pause = if is_down { RETRY_IN_OUTAGE } else { RETRY };
            if (was_down && !is_down) || now().saturating_duration_since(began) >= pause {
                return ControlFlow::Continue(());
            }
            was_down |= is_down;
        }
    }
}
