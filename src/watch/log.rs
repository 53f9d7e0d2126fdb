//! Log lines about dependencies and about the gateway itself.

use crate::health::board::{Event, What};

/// Logs one line per change with all that is known: refusals name the outage, and this line explains it.
pub(super) fn log(event: &Event) {
    let Event { dependency, criticality, what } = event;
    let criticality = criticality.as_str();
    match what {
        What::Down { reference, cause } => tracing::error!(
            %dependency, criticality, %reference, fault = cause.fault.as_str(), cause = %cause.text, look_at = cause.look_at,
            "dependency down"
        ),
        What::Recovered { reference, lasted, to } => tracing::info!(
            %dependency, criticality, %reference, lasted_ms = lasted.as_millis() as u64, state = to.as_str(),
            "dependency recovered"
        ),
        What::Became { from, to } => {
            tracing::info!(%dependency, criticality, from = from.as_str(), state = to.as_str(), "dependency state changed");
        }
        What::Breaker { of, from, to } => {
            tracing::info!(%dependency, of = of.as_str(), ?from, ?to, "breaker state changed");
        }
        What::Forced(to) => tracing::warn!(%dependency, ?to, "dependency forced by operator"),
        What::Released => tracing::info!(%dependency, "forced state ended"),
    }
}

/// Logs the gateway's own events. Recovery is logged only if an outage was logged before it.
pub(super) fn log_own(event: &Event) {
    match &event.what {
        What::Down { reference, cause } => tracing::error!(
            %reference, fault = cause.fault.as_str(), cause = %cause.text, look_at = cause.look_at,
            "gateway degraded"
        ),
        What::Recovered { reference, lasted, to: _ } => {
            tracing::info!(%reference, lasted_ms = lasted.as_millis() as u64, "gateway recovered");
        }
        What::Became { .. } | What::Breaker { .. } | What::Forced(_) | What::Released => {}
    }
}
