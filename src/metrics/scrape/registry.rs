//! Metrics of the registry of users.

use super::sheet::Sheet;
use crate::metrics::registry::RegistryCounters;
use std::fmt;
use std::time::Duration;

pub(super) fn encode(registry: &RegistryCounters, sheet: &mut Sheet<'_>) -> fmt::Result {
    sheet.gauge(
        "registry_users",
        "Users of this instance in the registry of users",
        registry.users.read(),
    )?;
    sheet.gauge("registry_waiting", "Users whose changes are not written yet", registry.waiting.read())?;
    sheet.gauge(
        "registry_complete",
        "1 while all users of this instance are written to Redis, else 0",
        registry.written.read(),
    )?;
    sheet.counter("registry_changes", "Changes of users' connections", registry.changes.read())?;
    sheet.counter("registry_flushes", "Pipelines of changes written to Redis", registry.flushes.read())?;
    sheet.counter(
        "registry_flush_failures",
        "Pipelines of changes that Redis did not take",
        registry.flush_failures.read(),
    )?;
    let took = Duration::from_micros(registry.flush_us.read());
    sheet.seconds("registry_flush_seconds", "Time of the last flush, in seconds", took)?;
    sheet.counter("registry_lookups", "Users that were looked up", registry.lookups.read())?;
    sheet.counter(
        "registry_lookups_incomplete",
        "Users looked up while not all instances were known",
        registry.lookups_incomplete.read(),
    )?;
    sheet.counter(
        "registry_recounts",
        "Times all users were counted again because more changed than the queue holds",
        registry.recounts.read(),
    )?;
    sheet.counter(
        "registry_repairs",
        "Fields that the audit found different in Redis and wrote again",
        registry.repairs.read(),
    )
}
