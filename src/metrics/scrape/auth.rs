//! Metrics of authentication and of the auth service.

use super::sheet::Sheet;
use super::values::{Scrape, read};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::time::Duration;

impl Scrape {
    pub(super) fn auth(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let auth = &self.auth;
        sheet.counter("tokens_checked", "Tokens checked, valid or not", read(&auth.tokens_checked))?;
        let faults: Vec<_> =
            auth.token_faults().map(|(fault, total)| ([("fault", fault.word())], total)).collect();
        let faults = faults.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled("tokens_refused", "Tokens refused, by fault", MetricType::Counter, faults)?;
        sheet.counter(
            "tokens_other_user",
            "Token refreshes refused because the token belongs to another user",
            read(&auth.other_user),
        )?;
        sheet.counter(
            "users_too_many",
            "Connections refused because the user has too many",
            read(&auth.too_many_of_user),
        )?;
        sheet.counter(
            "users_blocked",
            "Tokens refused because their user is blocked",
            read(&auth.blocked),
        )?;
        sheet.counter(
            "addresses_checked",
            "Client addresses checked against the bounds for one address",
            read(&auth.addresses_checked),
        )?;
        let turned_away = [
            ([("reason", "too_many")], read(&auth.addresses_too_many)),
            ([("reason", "too_fast")], read(&auth.addresses_too_fast)),
        ];
        let turned_away = turned_away.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled(
            "addresses_refused",
            "Connections refused because of their address, by reason",
            MetricType::Counter,
            turned_away,
        )?;
        sheet.counter(
            "auth_panics",
            "Token checks that panicked (each is also counted as malformed)",
            read(&auth.panics),
        )?;
        sheet.gauge("users", "Users with open connections", read(&auth.users))?;
        sheet.gauge("addresses", "Client addresses tracked", read(&auth.addresses))
    }

    pub(super) fn auth_service(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let service = &self.auth.service;
        let made = read(&service.introspections);
        sheet.counter("introspections", "Token introspection calls made to the auth service", made)?;
        let failed = read(&service.introspections_failed);
        sheet.counter("introspections_failed", "Introspection calls that got no usable answer", failed)?;
        sheet.counter_seconds(
            "introspection_seconds",
            "Total duration of introspection calls, in seconds",
            Duration::from_micros(read(&service.introspection_us)),
        )?;
        let joined = read(&service.joined);
        sheet.counter(
            "introspections_joined",
            "Tokens that shared an introspection call of another connection",
            joined,
        )?;
        let found = [
            ([("found", "fresh")], read(&service.cache_hits)),
            ([("found", "stale_used")], read(&service.cache_stale)),
            ([("found", "nothing")], read(&service.cache_misses)),
        ];
        let help = "Lookups in the cache of introspection results, by result";
        let found = found.iter().map(|(labels, total)| (&labels[..], *total));
        sheet.labelled("introspection_cache", help, MetricType::Counter, found)?;
        sheet.counter(
            "tokens_unjudged",
            "Tokens that could not be verified because the auth service was unavailable",
            read(&service.unjudged),
        )?;
        let over = read(&service.too_many_waiting);
        sheet.counter("tokens_too_many_waiting", "Tokens refused because auth.waiting was reached", over)?;
        sheet.gauge("tokens_waiting", "Tokens waiting for the auth service", read(&service.waiting))?;
        let entries = read(&service.cache_entries);
        sheet.gauge("introspection_cache_entries", "Introspection results in the cache", entries)?;
        let bytes = read(&service.cache_bytes);
        sheet.gauge(
            "introspection_cache_bytes",
            "Approximate size of the cached positive results, in bytes",
            bytes,
        )?;
        let fetches = read(&service.key_set_fetches);
        sheet.counter("key_set_fetches", "Attempts to fetch the issuer's key set", fetches)?;
        let failures = read(&service.key_set_failures);
        sheet.counter("key_set_failures", "Attempts to fetch the key set that failed", failures)?;
        sheet.gauge("key_set_keys", "Keys in the issuer's key set in use", read(&service.key_set_keys))?;
        let fetched = read(&service.key_set_unix_ms) / 1_000;
        sheet.gauge(
            "key_set_timestamp_seconds",
            "Unix time of the last successful key set fetch, in seconds; 0 if never",
            fetched,
        )
    }
}
