//! TLS of the client listener: the rustls configuration, and warnings before the certificate expires.

use super::config::certificate::{TlsIdentity, date, expiry_warning};
use super::config::sections::TlsSection;
use crate::metrics::scrape::Metrics;
use crate::reactor::Clock;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use std::sync::Arc;
use std::time::Duration;

/// Time between two warnings about the same certificate.
const WARN_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
/// Tickets for a new connection: one for the next connection, and a spare if that fails.
const TICKETS: usize = 2;

/// Builds the rustls configuration for new connections; `None` without an identity.
///
/// Tickets of `before` stay valid, so replacing a certificate costs no client a full handshake. Their keys exist only in this
/// process and change every six hours.
pub(super) fn secured(
    identity: Option<&TlsIdentity>,
    before: Option<&Arc<ServerConfig>>,
) -> Result<Option<Arc<ServerConfig>>, String> {
    let Some(identity) = identity else { return Ok(None) };
    let failed = |error| format!("cannot set up TLS: {error}");
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

/// Puts the certificate that is served from now on, if there is one, into the log and the metrics; `now` in Unix seconds.
pub(super) fn announce(tls: &TlsSection, metrics: &Metrics, now: u64) {
    let Some(identity) = &tls.identity else { return };
    metrics.tls.set_not_after(identity.validity.not_after);
    tracing::info!(certificate_expires = date(identity.validity.not_after), "serving TLS");
    for warning in identity.warnings(now) {
        tracing::warn!(warning, "certificate needs attention");
    }
}

/// Warns once a day if the served certificate expires soon.
pub(super) struct Reminder {
    metrics: Arc<Metrics>,
    clock: Clock,
    next_unix_s: u64,
}

impl Reminder {
    /// The first check is in a day, because [`announce`] has just warned.
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
        if let Some(warning) = self.metrics.tls.not_after().and_then(|end| expiry_warning(end, now)) {
            tracing::warn!(warning, "certificate needs attention");
        }
    }
}
