//! The thread that deletes publications over their channel's number or age, keys that no client will send again, and channels
//! that are empty, in short slices.
//!
//! Every instance does so without knowing of the others: a slice that another one did first finds nothing. Channels over their
//! number are noted by the append workers. A scan of all channels after each connect, and now and then, finds what other
//! instances left when they ended.

use super::connection::StoreConnection;
use super::due_channels::DueChannels;
use super::epoch::KnownEpoch;
use super::erase_users::UserErasures;
use super::fault::CallFault;
use super::probe_channel;
use super::relay::RelayReaper;
use super::streams::{Reaped, reap_parts};
use super::timing::{jittered, monotonic};
use super::weight::Scales;
use crate::id::{CANARY_PREFIX, ChannelName, Epoch};
use crate::metrics::store::{StoreCounters, add, bump};
use crate::metrics::streams::StreamCounters;
use crate::store::Retention;
use crate::store::clock_trust::{self, ClockTrust, Verdict};
use crate::store::columns::{integer, natural};
use crate::store::emptied::{BASE_STEP, IDLE_MIN};
use crate::store::fullness::Fullness;
use crate::store::idempotency::{KEY_AGE_MIN, SweepEnd, SweepPace};
use crate::store::large_cuts::LargeCuts;
use crate::store::retention::Rest;
use crate::store::wall_clock::WallClock;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use postgres_types::Type;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The pause between two rounds.
const ROUND_PERIOD: Duration = Duration::from_secs(1);
/// The pause between two scans of all channels.
const SCAN_PERIOD: Duration = Duration::from_secs(600);
/// Rows deleted per slice: a few milliseconds.
const SLICE_ROWS: i64 = 512;
/// Keys examined per slice while many are due: a few milliseconds.
const KEYS_MAX: u64 = 8_192;
/// Parts of streams deleted per slice: a few milliseconds. So a round deletes 131,072, twice what four instances write in a second.
pub(super) const PARTS_MAX: u32 = 2_048;
/// Empty channels examined per slice: a few milliseconds.
const EMPTIED_MAX: u64 = 2_048;
/// Slices of one duty per round; the rest waits for the next round. For keys this allows 262,144 appends/s.
const SLICES_MAX: u32 = 64;
/// Publications that are at most this much younger than the oldest one are deleted in any order, in milliseconds.
const OLDEST_SPAN_MS: i64 = 10_000;
/// A probe's channel is removed after this time without a publication.
const PROBE_IDLE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The number of channels noted at once; the next scan finds more.
const NOTED_MAX: usize = 100_000;

/// The bounds of what the store holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetainedBounds {
    pub(super) retention: Retention,
    /// `retention.bytes`; 0: no bound.
    pub(super) bytes_max: u64,
    /// `limits.channels`
    pub(super) channels_max: u64,
}

pub(super) struct RetentionWorker {
    connection: StoreConnection,
    clock: WallClock,
    retention: Retention,
    scales: Scales,
    notes: Receiver<ChannelName>,
    counters: Arc<StoreCounters>,
    of_streams: Arc<StreamCounters>,
    relay: RelayReaper,
    /// Checked each round, so that an idle gateway notices a new epoch as well.
    epoch: Arc<KnownEpoch>,
    /// In the order in which rows are locked.
    overfull: BTreeSet<String>,
    next_round: Instant,
    next_scan: Instant,
    swept: (i64, String, String),
    pace: SweepPace,
    /// The last empty channel that was examined.
    emptied: i64,
    /// `limits.channels`
    channels_max: u64,
    fullness: Fullness,
    erasures: UserErasures,
    /// The appends of this instance that `pace` knows of.
    appends: u64,
    /// `None` until the last use of the store was read.
    trust: Option<ClockTrust>,
    large_cuts: LargeCuts,
}

impl RetentionWorker {
    /// Ends when all senders of notes are gone.
    pub(super) fn new(
        connection: StoreConnection,
        clock: WallClock,
        bounds: RetainedBounds,
        notes: Receiver<ChannelName>,
        (counters, of_streams): (Arc<StoreCounters>, Arc<StreamCounters>),
        epoch: Arc<KnownEpoch>,
    ) -> RetentionWorker {
        let now = monotonic();
        RetentionWorker {
            connection,
            clock,
            retention: bounds.retention,
            scales: Scales::new(bounds.bytes_max),
            notes,
            counters,
            of_streams,
            relay: RelayReaper::new(now),
            epoch,
            overfull: BTreeSet::new(),
            next_round: now + jittered(ROUND_PERIOD),
            next_scan: now,
            swept: Default::default(),
            pace: SweepPace::default(),
            emptied: 0,
            channels_max: bounds.channels_max,
            fullness: Fullness::default(),
            erasures: UserErasures::default(),
            appends: 0,
            trust: None,
            large_cuts: LargeCuts::default(),
        }
    }

    /// Runs until all senders of notes are gone.
    pub(super) fn run(mut self) {
        loop {
            match self.notes.recv_timeout(self.next_round.saturating_duration_since(monotonic())) {
                Ok(name) => {
                    if self.overfull.len() < NOTED_MAX {
                        self.overfull.insert(name.as_str().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.round(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn round(&mut self) {
        let was_up = self.connection.is_up();
        // The connection reports a failure and tries again.
        let _ = self.connection.advance(|| {});
        if self.connection.is_up() {
            if !was_up {
                self.next_scan = monotonic();
            }
            if let Err(fault) = self.duties() {
                bump(&self.counters.retention_failures);
                tracing::debug!(cause = %fault.cause.text, "retention slice failed");
            }
            self.large_cuts.log(monotonic());
        }
        self.next_round = monotonic() + jittered(ROUND_PERIOD);
    }

    fn duties(&mut self) -> Result<(), CallFault> {
        self.look_at_meta()?;
        // A failed duty does not cost the others their turn.
        let is_scan_due = monotonic() >= self.next_scan;
        let scanned = if is_scan_due { self.scan() } else { Ok(()) };
        let number = scanned.and(self.by_number()).and(self.by_bytes());
        let number =
            number.and(self.erase_users()).and(self.by_streams()).and(self.relay.run(&mut self.connection));
        let Some(now_ms) = self.trusted_time()? else { return number };
        let number = if is_scan_due { number.and(self.remove_idle_probes(now_ms)) } else { number };
        let aged = self.by_age(now_ms);
        let keys = self.by_keys(now_ms);
        let channels = self.remove_channels(now_ms);
        number.and(aged).and(keys).and(channels)
    }

    /// Goes on with the erasures of users that no other instance works on.
    fn erase_users(&mut self) -> Result<(), CallFault> {
        self.erasures.advance(&mut self.connection, self.clock.unix_ms(), &self.counters)
    }

    /// The wall time in Unix milliseconds, unless the clock is not trusted. The database remembers for all instances when a
    /// clock was last trusted.
    fn trusted_time(&mut self) -> Result<Option<u64>, CallFault> {
        let (now, now_ms) = (monotonic(), self.clock.unix_ms());
        let mut trust = match self.trust {
            Some(trust) => trust,
            None => ClockTrust::new(self.last_use_ms()?),
        };
        let verdict = trust.look(now, now_ms);
        clock_trust::report(verdict, &self.counters);
        self.trust = Some(trust);
        if trust.note_is_due(now) {
            self.connection.query(
                "INSERT INTO seawall.meta (name, value) VALUES ('last_use', $1)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                &[(&integer(now_ms), Type::INT8)],
            )?;
            trust.noted(now);
            self.trust = Some(trust);
        }
        match verdict {
            Verdict::Trusted(_) => Ok(Some(now_ms)),
            Verdict::Doubted(..) => Ok(None),
        }
    }

    /// The wall time at which the store was last in use. If none is noted yet, it is the time of the newest publication,
    /// which is noted before publications of a wrong clock can change it.
    fn last_use_ms(&mut self) -> Result<Option<u64>, CallFault> {
        self.connection.query(
            "INSERT INTO seawall.meta (name, value)
             SELECT 'last_use', max(time) FROM seawall.channels
             WHERE left(name, 1) <> '$' AND NOT EXISTS (SELECT FROM seawall.meta WHERE name = 'last_use')
             HAVING max(time) IS NOT NULL ON CONFLICT (name) DO NOTHING",
            &[],
        )?;
        let rows = self.connection.query("SELECT value FROM seawall.meta WHERE name = 'last_use'", &[])?;
        Ok(rows.first().and_then(|row| row.try_get::<i64>(0).ok()).map(natural))
    }

    fn look_at_meta(&mut self) -> Result<(), CallFault> {
        let rows = self.connection.query(
            "SELECT max(value) FILTER (WHERE name = 'epoch'), max(value) FILTER (WHERE name = 'channels')
             FROM seawall.meta WHERE name IN ('epoch', 'channels')",
            &[],
        )?;
        let value = |at| rows.first().and_then(|row| row.try_get::<Option<i64>>(at).ok()).flatten();
        if let Some(channels) = value(1) {
            self.fullness.observe(natural(channels), self.channels_max, &self.counters);
        }
        match value(0) {
            Some(epoch) => self.epoch.meet(Epoch(epoch as u32)),
            None => Ok(()),
        }
    }

    fn by_number(&mut self) -> Result<(), CallFault> {
        for _ in 0..SLICES_MAX {
            if !self.cut_number()? {
                break;
            }
        }
        Ok(())
    }

    /// Deletes the oldest publications of all channels while they take more than `retention.bytes`.
    fn by_bytes(&mut self) -> Result<(), CallFault> {
        let mut excess = self.scales.excess(&mut self.connection)?;
        for _ in 0..SLICES_MAX {
            let Some(oldest) = self.oldest()?.filter(|_| excess > 0) else { return Ok(()) };
            let most = SLICE_ROWS.min(integer(excess));
            let removed = self.cut_before(oldest + OLDEST_SPAN_MS, most)?.0;
            if removed == 0 {
                return Ok(());
            }
            excess = excess.saturating_sub(removed);
        }
        self.scales.again();
        Ok(())
    }

    /// The time of the oldest publication.
    fn oldest(&mut self) -> Result<Option<i64>, CallFault> {
        let rows = self
            .connection
            .query("SELECT min(oldest) FROM seawall.channels WHERE oldest IS NOT NULL", &[])?;
        Ok(rows.first().and_then(|row| row.try_get::<Option<i64>>(0).ok()).flatten())
    }

    fn by_age(&mut self, now_ms: u64) -> Result<(), CallFault> {
        let Some(age) = self.retention.age else { return Ok(()) };
        for _ in 0..SLICES_MAX {
            if !self.cut_aged(before(now_ms, age))? {
                break;
            }
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<(), CallFault> {
        self.next_scan = monotonic() + jittered(SCAN_PERIOD);
        if self.retention.publications == 0 {
            return Ok(());
        }
        let rows = self.connection.query(
            "SELECT name FROM seawall.channels WHERE head - floor + 1 > $1 LIMIT $2",
            &[(&integer(self.retention.publications), Type::INT8), (&(NOTED_MAX as i64), Type::INT8)],
        )?;
        self.overfull.extend(rows.iter().filter_map(|row| row.try_get::<String>(0).ok()));
        Ok(())
    }

    /// Removes the channels of probes that have not run for a day: their instances have ended. They are not counted, so the
    /// number of channels stays.
    fn remove_idle_probes(&mut self, now_ms: u64) -> Result<(), CallFault> {
        let before = before(now_ms, PROBE_IDLE_MAX);
        self.connection
            .query(
                "WITH idle AS (
                     DELETE FROM seawall.channels
                     WHERE name >= $1 AND name < $1 || '{' AND time < $2
                     RETURNING id
                 ) DELETE FROM seawall.publications p USING idle WHERE p.channel = idle.id",
                &[(&probe_channel::PREFIX, Type::TEXT), (&before, Type::INT8)],
            )
            .map(drop)
    }

    /// Cuts the noted channels; true if more is left.
    fn cut_number(&mut self) -> Result<bool, CallFault> {
        // Those of canaries have a bound of their own. They are next to each other, because the names are sorted.
        let Some(first) = self.overfull.first() else { return Ok(false) };
        let (kept, is_canary) =
            (self.retention.publications_of_name(first), first.starts_with(CANARY_PREFIX));
        let alike = self.overfull.iter().take_while(|name| name.starts_with(CANARY_PREFIX) == is_canary);
        let names: Vec<String> = alike.take(SLICE_ROWS as usize).cloned().collect();
        let share = (SLICE_ROWS / names.len() as i64).max(1);
        let rows = self.connection.query(
            "SELECT name, removed, excess FROM seawall.cut_number($1, $2, $3)",
            &[(&names, Type::TEXT_ARRAY), (&integer(kept), Type::INT8), (&share, Type::INT8)],
        )?;
        for name in &names {
            self.overfull.remove(name);
        }
        for row in rows {
            add(&self.counters.retention_deletes, natural(row.try_get(1).unwrap_or(0)));
            if row.try_get::<i64>(2).unwrap_or(0) > 0
                && let Ok(name) = row.try_get(0)
            {
                self.overfull.insert(name);
            }
        }
        Ok(!self.overfull.is_empty())
    }

    /// Cuts the channels that hold too old publications; true if more is left.
    fn cut_aged(&mut self, before: i64) -> Result<bool, CallFault> {
        self.cut_before(before, SLICE_ROWS).map(|(_, more)| more)
    }

    /// Deletes at most `most` publications from before a time, those of the channel with the oldest one first. Returns how many
    /// it deleted, and true if more is left.
    fn cut_before(&mut self, before: i64, most: i64) -> Result<(u64, bool), CallFault> {
        let due = DueChannels::read(&mut self.connection, before, most)?;
        if due.is_empty() {
            return Ok((0, false));
        }
        let rows = self.connection.query(
            "SELECT removed, more FROM seawall.cut_aged($1, $2)",
            &[(&before, Type::INT8), (&most, Type::INT8)],
        )?;
        let Some(row) = rows.first() else { return Ok((0, false)) };
        let removed = natural(row.try_get(0).unwrap_or(0));
        let more = row.try_get(1).unwrap_or(false);
        add(&self.counters.retention_deletes, removed);
        due.note_cuts(&mut self.connection, &mut self.large_cuts)?;
        Ok((removed, more))
    }

    /// Deletes the parts of streams that have ended. The database's clock decides, which is not this one.
    fn by_streams(&mut self) -> Result<(), CallFault> {
        for _ in 0..SLICES_MAX {
            let Reaped { parts, rest, .. } = reap_parts(&mut self.connection, PARTS_MAX)?;
            add(&self.of_streams.parts_deleted, parts);
            if rest == Rest::None {
                break;
            }
        }
        Ok(())
    }

    fn by_keys(&mut self, now_ms: u64) -> Result<(), CallFault> {
        let appends = self.counters.batched.load(Ordering::Relaxed);
        self.pace.note_claims(appends.saturating_sub(self.appends));
        self.appends = appends;
        let age = self.retention.age.map_or(KEY_AGE_MIN, |age| age.max(KEY_AGE_MIN));
        let before = before(now_ms, age);
        for _ in 0..SLICES_MAX {
            if self.sweep_keys(before)? == Rest::None {
                break;
            }
        }
        Ok(())
    }

    fn remove_channels(&mut self, now_ms: u64) -> Result<(), CallFault> {
        let before = before(now_ms, IDLE_MIN);
        for _ in 0..SLICES_MAX {
            if self.remove_empty(before)? == Rest::None {
                break;
            }
        }
        Ok(())
    }

    /// Removes the idle ones of the next empty channels. Goes on while most of those examined were idle.
    fn remove_empty(&mut self, before: i64) -> Result<Rest, CallFault> {
        let rows = self.connection.query(
            "SELECT removed, examined, reached FROM seawall.remove_empty($1, $2, $3, $4)",
            &[
                (&self.emptied, Type::INT8),
                (&before, Type::INT8),
                (&(EMPTIED_MAX as i32), Type::INT4),
                (&integer(BASE_STEP), Type::INT8),
            ],
        )?;
        let Some(row) = rows.first() else { return Ok(Rest::None) };
        let count = |at| row.try_get::<i64>(at).map_or(0, natural);
        let (removed, examined) = (count(0), count(1));
        let reached = row.try_get::<Option<i64>>(2).ok().flatten();
        add(&self.counters.channels_removed, removed);
        self.emptied = reached.unwrap_or(0);
        Ok(if reached.is_some() && removed > examined / 2 { Rest::Some } else { Rest::None })
    }

    fn sweep_keys(&mut self, before: i64) -> Result<Rest, CallFault> {
        let (channel, author, key) = &self.swept;
        let count = self.pace.slice(SLICE_ROWS as u64, KEYS_MAX);
        let rows = self.connection.query(
            "SELECT forgotten, channel, author, key FROM seawall.sweep_keys($1, $2, $3, $4, $5)",
            &[
                (channel, Type::INT8),
                (author, Type::TEXT),
                (key, Type::TEXT),
                (&before, Type::INT8),
                (&(count as i32), Type::INT4),
            ],
        )?;
        let Some(row) = rows.first() else { return Ok(Rest::None) };
        let forgotten = natural(row.try_get(0).unwrap_or(0));
        add(&self.counters.keys_forgotten, forgotten);
        let at = |place| row.try_get::<Option<String>>(place).ok().flatten().unwrap_or_default();
        let channel = row.try_get::<Option<i64>>(1).ok().flatten();
        self.swept = (channel.unwrap_or(0), at(2), at(3));
        let end = if channel.is_some() { SweepEnd::OfSlice } else { SweepEnd::OfTable };
        Ok(self.pace.advance(count, forgotten, end))
    }
}

fn before(now_ms: u64, age: Duration) -> i64 {
    integer(now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
}
