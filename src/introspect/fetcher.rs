//! The thread that keeps the issuer's key set: it fetches at the start, periodically, and when a token names an unknown key.
//!
//! A failed fetch changes nothing: the present keys stay in use. While an outage of the service is known it is not called; it
//! is called at once when it is back.

use super::service::{Caller, Clock, KeySetSource, ServiceNews, add, outage};
use crate::auth::key_set::KeySet;
use crate::auth::trust::TrustMark;
use crate::backoff::spread;
use crate::job::issuer_keys::IssuerKeys;
use crate::net::deadline::now;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;

/// How often to check whether the service is back.
const LOOK: Duration = Duration::from_millis(100);
/// The pause between two attempts while no outage is known.
const RETRY: Duration = Duration::from_millis(500);
/// The same during an outage, which may concern only other requests to the service.
const RETRY_IN_OUTAGE: Duration = Duration::from_secs(15);
/// The jitter of the pause between two fetches, so that instances do not fetch at the same time.
const SPREAD_PERCENT: u8 = 10;

/// Starts `key-set`. It ends when the sender of requests is gone.
pub(super) fn start(
    caller: Caller,
    source: &KeySetSource,
    issuer_keys: Arc<IssuerKeys>,
    wishes: Receiver<()>,
    clock: Clock,
) -> io::Result<()> {
    let KeySetSource { mark, refresh, .. } = *source;
    let fetcher = Fetcher { caller, issuer_keys, mark, refresh, wishes, last: None, failing: false };
    Builder::new().name("key-set".into()).spawn(move || fetcher.run(&clock)).map(|_| ())
}

struct Fetcher {
    caller: Caller,
    issuer_keys: Arc<IssuerKeys>,
    /// The address of the key set.
    mark: TrustMark,
    refresh: Duration,
    wishes: Receiver<()>,
    /// Keys of the last successful fetch, and entries in it that should not be public.
    last: Option<(usize, usize)>,
    failing: bool,
}

impl Fetcher {
    fn run(mut self, clock: &Clock) {
        let mut random = fastrand::Rng::new();
        loop {
            let began = clock().at;
            let fetched = self.fetch().map(Arc::new);
            if fetched.is_some() {
                self.caller.counters.key_set_unix_ms.store(clock().unix_ms, Ordering::Relaxed);
            }
            let got_one = fetched.is_some();
            self.issuer_keys.fetched(self.mark, fetched.clone(), began, clock().at);
            // Wishes that came during the fetch come again after the pause. Not later: after the news, each is one for another fetch.
            while self.wishes.try_recv().is_ok() {}
            if self.caller.news.send(ServiceNews::Keys(fetched, began)).is_err() {
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
                    tracing::warn!(fault, %cause, look_at, kept, "key set fetch failed");
                }
                None
            }
        }
    }

    /// Logs what is new.
    fn tell_success(&mut self, set: &KeySet) {
        self.caller.counters.key_set_keys.store(set.len() as u64, Ordering::Relaxed);
        let (keys, passed_over, exposed) = (set.len(), set.passed_over, set.exposed);
        let was_failing = std::mem::replace(&mut self.failing, false);
        let is_new = self.last.replace((keys, exposed)) != Some((keys, exposed));
        if is_new || was_failing {
            tracing::info!(keys, passed_over, "key set in use");
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

    /// Waits until another attempt is worthwhile.
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
