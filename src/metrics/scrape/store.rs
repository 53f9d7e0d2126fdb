//! Metrics of the store.

use super::sheet::Sheet;
use super::values::{Scrape, read};
use prometheus_client::metrics::MetricType;
use std::fmt;

impl Scrape {
    pub(super) fn store(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let store = &self.store;
        sheet.counter("store_appends", "Publications committed", read(&store.appends))?;
        sheet.counter(
            "store_duplicates",
            "Appends that repeated a known idempotency key",
            read(&store.duplicates),
        )?;
        sheet.counter("store_batches", "Batches attempted, committed or not", read(&store.batches))?;
        sheet.counter("store_unavailable", "Appends answered unavailable", read(&store.unavailable))?;
        sheet.counter("store_unconfirmed", "Appends answered unconfirmed", read(&store.unconfirmed))?;
        let refused = [
            ([("reason", "key_conflict")], read(&store.refused_key_conflict)),
            ([("reason", "not_found")], read(&store.refused_not_found)),
            ([("reason", "not_author")], read(&store.refused_not_author)),
            ([("reason", "too_many_channels")], read(&store.refused_too_many_channels)),
            ([("reason", "channel_share")], read(&store.refused_channel_share)),
            ([("reason", "may_not_create")], read(&store.refused_may_not_create)),
            ([("reason", "too_many_edits")], read(&store.refused_too_many_edits)),
            ([("reason", "stream")], read(&store.refused_stream)),
        ];
        let refused = refused.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled("store_refused", "Appends refused, by reason", MetricType::Counter, refused)?;
        sheet.counter("store_batched", "Appends in all attempted batches", read(&store.batched))?;
        sheet.counter(
            "store_keys_forgotten",
            "Expired idempotency keys deleted",
            read(&store.keys_forgotten),
        )?;
        sheet.counter(
            "store_retention_failures",
            "Retention passes that failed; they are retried",
            read(&store.retention_failures),
        )?;
        sheet.counter(
            "store_live_missed",
            "Batches that did not fit into a reactor's live lane",
            read(&store.live_missed),
        )?;
        self.store_upkeep(sheet)
    }

    fn store_retention(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let store = &self.store;
        sheet.counter(
            "store_retention_deletes",
            "Publications deleted by retention",
            read(&store.retention_deletes),
        )?;
        sheet.gauge(
            "store_free_bytes",
            "Free bytes on the disk of the embedded store; 0 with PostgreSQL",
            read(&store.free_bytes),
        )?;
        sheet.gauge(
            "store_short_of_room",
            "1 while publications are refused because the disk is nearly full, else 0",
            read(&store.short_of_room),
        )?;
        sheet.counter(
            "store_channels_removed",
            "Channels removed because they were empty and idle",
            read(&store.channels_removed),
        )?;
        sheet.gauge("store_channels", "Channels in the store", read(&store.channels))?;
        sheet.gauge("store_channels_max", "limits.channels", read(&store.channels_max))?;
        sheet.gauge(
            "store_erasures_unfinished",
            "Users whose erasure is not finished",
            read(&store.erasures_unfinished),
        )?;
        sheet.gauge(
            "store_erasure_age_seconds",
            "Age of the oldest erasure that is not finished",
            read(&store.erasure_age_ms) / 1_000,
        )?;
        sheet.gauge(
            "store_retention_rests",
            "1 while nothing is deleted by age because the wall clock is not trusted, else 0",
            read(&store.retention_rests),
        )
    }

    fn store_upkeep(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let store = &self.store;
        sheet.counter("store_reads", "Pages and channel heads read", read(&store.reads))?;
        sheet.counter("store_read_failures", "Store reads that failed", read(&store.read_failures))?;
        self.store_retention(sheet)?;
        sheet.counter(
            "store_checkpoints",
            "Checkpoints of the write-ahead log that ran",
            read(&store.checkpoints),
        )?;
        sheet.counter(
            "store_checkpoint_failures",
            "Checkpoints that failed or could not finish",
            read(&store.checkpoint_failures),
        )?;
        sheet.gauge(
            "store_wal_bytes",
            "Size of the write-ahead log in bytes at the last check",
            read(&store.wal_bytes),
        )?;
        sheet.counter(
            "store_contradictions",
            "Proofs that a log lost committed publications",
            read(&store.contradictions),
        )?;
        sheet.counter(
            "store_reconnects",
            "Lost connections to the store that were restored",
            read(&store.reconnects),
        )?;
        sheet.counter(
            "store_connections_abandoned",
            "Connections abandoned because the store did not answer in time",
            read(&store.connections_abandoned),
        )?;
        sheet.gauge("store_failing", "1 if the last write failed, else 0", read(&store.failing))?;
        sheet.histogram(
            "store_commit_seconds",
            "Time from the first statement of a batch to the end of its commit, in seconds",
            &store.commit_latency,
        )
    }
}
