//! Log lines about dependencies and about the gateway itself.

use crate::health::board::{Event, HealthEventKind};
use crate::health::definition::Criticality;

/// Logs one line per change with all that is known: refusals name the outage, and this line explains it. An outage has two
/// lines at info, its begin and its end, and breakers and workers log at debug.
pub(super) fn log(event: &Event) {
    let Event { dependency, criticality, what } = event;
    let is_optional = *criticality == Criticality::Optional;
    let criticality = criticality.as_str();
    match what {
        // Service continues without it.
        HealthEventKind::Down { reference, cause } if is_optional => tracing::warn!(
            %dependency, criticality, %reference, fault = cause.fault.as_str(), cause = %cause.text, look_at = cause.look_at,
            "dependency down"
        ),
        HealthEventKind::Down { reference, cause } => tracing::error!(
            %dependency, criticality, %reference, fault = cause.fault.as_str(), cause = %cause.text, look_at = cause.look_at,
            "dependency down"
        ),
        HealthEventKind::Recovered { reference, lasted, to } => tracing::info!(
            %dependency, criticality, %reference, lasted_ms = lasted.as_millis() as u64, state = to.as_str(),
            "dependency recovered"
        ),
        HealthEventKind::Became { from, to } => {
            tracing::info!(%dependency, criticality, from = from.as_str(), state = to.as_str(), "dependency state changed");
        }
        HealthEventKind::Breaker { of, from, to } => {
            tracing::debug!(%dependency, of = of.as_str(), ?from, ?to, "breaker state changed");
        }
        HealthEventKind::Forced(to) => tracing::warn!(%dependency, ?to, "dependency forced by operator"),
        HealthEventKind::Released => tracing::info!(%dependency, "forced state ended"),
    }
}

/// Logs the gateway's own events. Recovery is logged only if an outage was logged before it.
pub(super) fn log_own(event: &Event) {
    match &event.what {
        HealthEventKind::Down { reference, cause } => tracing::error!(
            %reference, fault = cause.fault.as_str(), cause = %cause.text, look_at = cause.look_at,
            "gateway degraded"
        ),
        HealthEventKind::Recovered { reference, lasted, to: _ } => {
            tracing::info!(%reference, lasted_ms = lasted.as_millis() as u64, "gateway recovered");
        }
        HealthEventKind::Became { .. }
        | HealthEventKind::Breaker { .. }
        | HealthEventKind::Forced(_)
        | HealthEventKind::Released => {}
    }
}
