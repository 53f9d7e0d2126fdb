//! The listener's TLS: what rustls is told, and the certificate's end.

use super::config::certificate::{Identity, date, ending};
use crate::metrics::scrape::Metrics;
use crate::reactor::Clock;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use std::sync::Arc;
use std::time::Duration;

/// Between two warnings of the same end.
const WARN_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
/// Tickets for a new connection: one for the next, and one more for when that fails.
const TICKETS: usize = 2;

/// Makes what reactors encrypt with, for the connections that begin from now on.
///
/// Tickets of `before`, if it is given, are still honoured: a certificate that is replaced costs nobody a full handshake.
/// Their keys live in this process, are changed every six hours, and end with it.
pub(super) fn secured(
    identity: Option<&Identity>,
    before: Option<&Arc<ServerConfig>>,
) -> Result<Option<Arc<ServerConfig>>, String> {
    let Some(identity) = identity else { return Ok(None) };
    let failed = |error| format!("TLS cannot be set up: {error}");
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified))));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    config.ticketer = match before {
        Some(before) => Arc::clone(&before.ticketer),
        None => aws_lc_rs::Ticketer::new().map_err(failed)?,
    };
    Ok(Some(Arc::new(config)))
}

/// Tells the log and the metrics of the certificate that is served from now on; `now` in Unix seconds.
pub(super) fn announce(identity: &Identity, metrics: &Metrics, now: u64) {
    metrics.tls.set_not_after(identity.validity.not_after);
    tracing::info!(until = date(identity.validity.not_after), "serving TLS");
    for warning in identity.warnings(now) {
        tracing::warn!("{warning}");
    }
}

/// Looks, once a day, whether the served certificate ends soon.
pub(super) struct Reminder {
    metrics: Arc<Metrics>,
    clock: Clock,
    next_unix_s: u64,
}

impl Reminder {
    /// The first look is a day from now: [`announce`] has just looked.
    pub(super) fn new(metrics: &Arc<Metrics>, clock: Clock) -> Reminder {
        let next_unix_s = clock.read().unix_ms / 1_000 + WARN_PERIOD.as_secs();
        Reminder { metrics: Arc::clone(metrics), clock, next_unix_s }
    }

    pub(super) fn look(&mut self) {
        let now = self.clock.read().unix_ms / 1_000;
        if now < self.next_unix_s {
            return;
        }
        self.next_unix_s = now + WARN_PERIOD.as_secs();
        if let Some(warning) = self.metrics.tls.not_after().and_then(|end| ending(end, now)) {
            tracing::warn!("{warning}");
        }
    }
}
