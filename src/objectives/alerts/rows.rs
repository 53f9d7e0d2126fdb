//! Incidents, notices and silences in `slo.db`. A notice is a row before anything is sent.

use super::super::report_rows::StoredReport;
use crate::alert::incident::Incident;
use crate::alert::key::{AlertKey, AlertSeverity};
use crate::alert::notice::{AlertNotice, NoticeEvent};
use crate::alert::order::NoticeFate;
use crate::alert::silence::{COUNTED_MAX, Silence};
use crate::job::shared_alerts::{AlertChanges, StoredAlertRows};
use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::mem;

/// Incidents that are kept.
const INCIDENTS_KEPT: u64 = 10_000;
/// Notices that are kept after they were sent or given up.
const NOTICES_KEPT: u64 = 10_000;
/// Closed incidents that are read at the start.
const CLOSED_READ: usize = 100;
/// Notices that were given up and can be sent again.
pub(super) const DEAD_KEPT: usize = 200;
/// The time in which critical incidents make a storm, in milliseconds.
const STORM_MS: u64 = 3_600_000;

pub(in crate::objectives) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS incidents (number INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notices (id INTEGER PRIMARY KEY, fate TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS notices_by_fate ON notices (fate) WHERE fate IN ('waiting', 'dead');
CREATE TABLE IF NOT EXISTS silences (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, last INTEGER NOT NULL);
";

/// A silence that is over has no row, and its number is not used again.
const NUMBER_USED: &str =
    "INSERT INTO numbers VALUES ('silence', ?1) ON CONFLICT (name) DO UPDATE SET last = max(last, ?1)";

/// The rows that a process goes on with.
#[derive(Debug, Default)]
pub(super) struct StoredAlerts {
    /// The greatest numbers so far.
    pub(super) incident: u64,
    pub(super) notice: u64,
    pub(super) silence: u64,
    pub(super) open: Vec<Incident>,
    /// The newest first.
    pub(super) closed: Vec<Incident>,
    pub(super) waiting: Vec<AlertNotice>,
    pub(super) dead: Vec<AlertNotice>,
    /// The begin of the last week that another instance reported.
    pub(super) reported_ms: u64,
    pub(super) silences: Vec<Silence>,
}

impl StoredAlerts {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<StoredAlerts> {
        let greatest = |text: &str| {
            connection
                .query_row(text, [], |row| row.get::<_, i64>(0))
                .map(|it| u64::try_from(it).unwrap_or(0))
        };
        let closed =
            format!("SELECT body FROM incidents WHERE open = 0 ORDER BY number DESC LIMIT {CLOSED_READ}");
        let dead = format!("SELECT body FROM notices WHERE fate = 'dead' ORDER BY id DESC LIMIT {DEAD_KEPT}");
        let mut closed: Vec<Incident> = bodies(connection, &closed)?;
        // An end that could not be written has no time.
        closed.retain(|incident| incident.end.is_some());
        Ok(StoredAlerts {
            incident: greatest("SELECT coalesce(max(number), 0) FROM incidents")?,
            notice: greatest("SELECT coalesce(max(id), 0) FROM notices")?,
            silence: greatest("SELECT coalesce(max(last), 0) FROM numbers WHERE name = 'silence'")?,
            open: bodies(connection, "SELECT body FROM incidents WHERE open = 1 ORDER BY number")?,
            closed,
            waiting: bodies(connection, "SELECT body FROM notices WHERE fate = 'waiting' ORDER BY id")?,
            dead: bodies(connection, &dead)?,
            reported_ms: 0,
            silences: bodies(connection, "SELECT body FROM silences ORDER BY number")?,
        })
    }

    /// Reads the rows that instances share.
    pub(super) fn of(rows: &StoredAlertRows) -> StoredAlerts {
        let mut stored = StoredAlerts {
            incident: rows.incident,
            notice: rows.notice,
            open: read_all(&rows.open),
            closed: read_all(&rows.closed),
            waiting: read_all(&rows.waiting),
            dead: read_all(&rows.dead),
            reported_ms: 0,
            silences: read_all(&rows.silences),
            silence: 0,
        };
        let reports: Vec<AlertNotice> = read_all(rows.report.as_slice());
        stored.reported_ms = reports.first().map_or(0, |notice| notice.content.since_ms);
        stored.silence = stored.silences.iter().map(|silence: &Silence| silence.number).max().unwrap_or(0);
        stored.closed.retain(|incident| incident.end.is_some());
        stored.open.iter_mut().chain(&mut stored.closed).for_each(|incident| incident.is_unshared = false);
        stored
    }

    /// Keeps what only this instance knows. The rest is in the store, for the leader.
    pub(super) fn keep_unshared(&mut self) {
        self.open.retain(|incident| incident.is_unshared);
        let unshared = self.open.iter().chain(&self.closed).filter(|incident| incident.is_unshared);
        let kept: Vec<u64> = unshared.map(|incident| incident.number).collect();
        self.waiting.retain(|notice| kept.contains(&notice.content.incident));
    }

    /// Takes the notices out that wait although their incidents are not open, and for whose ends nothing waits either. `open` has the
    /// numbers and alerts of the open incidents.
    pub(super) fn take_without_incident(&mut self, open: &[(u64, AlertKey)]) -> Vec<AlertNotice> {
        let ends = self.waiting.iter().map(|it| &it.content).filter(|it| it.event == NoticeEvent::Ended);
        let ends: Vec<u64> = ends.map(|content| content.incident).collect();
        let is_known = |number| ends.contains(&number) || open.iter().any(|(known, _)| *known == number);
        self.take_waiting(|AlertNotice { content, .. }| {
            content.event != NoticeEvent::Reported && !is_known(content.incident)
        })
    }

    /// Takes the ends out that would end a newer incident of the same alert, which may have been sent before they were read.
    pub(super) fn take_late_ends(&mut self, open: &[(u64, AlertKey)]) -> Vec<AlertNotice> {
        self.take_waiting(|AlertNotice { content, .. }| {
            content.event == NoticeEvent::Ended && open.iter().any(|(_, key)| *key == content.key)
        })
    }

    fn take_waiting(&mut self, fits: impl Fn(&AlertNotice) -> bool) -> Vec<AlertNotice> {
        let (taken, kept) = mem::take(&mut self.waiting).into_iter().partition(fits);
        self.waiting = kept;
        taken
    }

    /// The critical incidents of the last hour that were sent: times and numbers.
    pub(super) fn recent(&self, now_ms: u64) -> Vec<(u64, u64)> {
        let sent = |incident: &Incident| {
            let critical = incident.notified.iter().filter(|it| it.severity == AlertSeverity::Critical);
            let at = critical.map(|notified| notified.at_ms).min()?;
            let is_recent = at + STORM_MS > now_ms;
            is_recent.then_some((at, incident.number))
        };
        self.open.iter().chain(&self.closed).filter_map(sent).collect()
    }
}

/// The fate of the rows that were there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum EarlierRows {
    #[default]
    Kept,
    /// They are from before a time in which nothing could be written: none is open, waits, or silences any more.
    Superseded,
}

/// The bodies that a query finds. One that cannot be read, because a newer version wrote it, is left out.
fn bodies<T: DeserializeOwned>(connection: &Connection, text: &str) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare(text)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut found = Vec::new();
    for row in rows {
        found.extend(serde_json::from_str(&row?).ok());
    }
    Ok(found)
}

/// The values of these texts. One that cannot be read is left out.
fn read_all<T: DeserializeOwned>(texts: &[String]) -> Vec<T> {
    texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
}

/// Changes that are written at once.
#[derive(Debug, Default)]
pub(super) struct AlertWrites {
    pub(super) incidents: Vec<Incident>,
    pub(super) notices: Vec<(AlertNotice, NoticeFate)>,
    pub(super) silences: Vec<Silence>,
    pub(super) silences_over: Vec<u64>,
    pub(super) reports: Vec<StoredReport>,
    pub(super) earlier: EarlierRows,
}

impl AlertWrites {
    pub(super) fn is_empty(&self) -> bool {
        self.incidents.is_empty()
            && self.notices.is_empty()
            && self.silences.is_empty()
            && self.silences_over.is_empty()
            && self.reports.is_empty()
            && self.earlier == EarlierRows::Kept
    }

    /// The same for the rows that instances share: the last version of each.
    pub(super) fn shared(&self) -> AlertChanges {
        let incidents: BTreeMap<u64, &Incident> = self.incidents.iter().map(|it| (it.number, it)).collect();
        let notices: BTreeMap<u64, _> = self.notices.iter().map(|(it, fate)| (it.id, (it, fate))).collect();
        let silences: BTreeMap<u64, &Silence> = self.silences.iter().map(|it| (it.number, it)).collect();
        AlertChanges {
            replaces: false,
            incidents: incidents.into_iter().map(|(at, it)| (at, it.end.is_none(), json(it))).collect(),
            notices: notices.into_iter().map(|(at, (it, fate))| (at, fate.as_str(), json(it))).collect(),
            silences: silences.into_iter().map(|(at, it)| (at, json(it))).collect(),
            silences_over: self.silences_over.clone(),
        }
    }

    /// Writes them in one transaction.
    pub(super) fn write(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        if self.earlier == EarlierRows::Superseded {
            transaction.execute(
                "UPDATE notices SET fate = ? WHERE fate = 'waiting'",
                [NoticeFate::Merged.as_str()],
            )?;
            transaction.execute("UPDATE incidents SET open = 0 WHERE open = 1", [])?;
            transaction.execute("DELETE FROM silences", [])?;
        }
        for incident in &self.incidents {
            let row = params![signed(incident.number), incident.end.is_none(), json(incident)];
            transaction.prepare_cached("INSERT OR REPLACE INTO incidents VALUES (?, ?, ?)")?.execute(row)?;
        }
        for (notice, fate) in &self.notices {
            let row = params![signed(notice.id), fate.as_str(), json(notice)];
            transaction.prepare_cached("INSERT OR REPLACE INTO notices VALUES (?, ?, ?)")?.execute(row)?;
        }
        for silence in &self.silences {
            let row = params![signed(silence.number), json(silence)];
            transaction.prepare_cached("INSERT OR REPLACE INTO silences VALUES (?, ?)")?.execute(row)?;
            if silence.number < COUNTED_MAX {
                transaction.execute(NUMBER_USED, [signed(silence.number)])?;
            }
        }
        for number in &self.silences_over {
            transaction.execute("DELETE FROM silences WHERE number = ?", [signed(*number)])?;
        }
        for report in &self.reports {
            report.insert(&transaction)?;
        }
        transaction.commit()
    }
}

/// Deletes the oldest rows that are over.
pub(in crate::objectives) fn forget_old(connection: &Connection) -> rusqlite::Result<()> {
    let bound = |table: &str, id: &str, kept: u64, over: &str| {
        let last = format!("SELECT {id} FROM {table} ORDER BY {id} DESC LIMIT 1 OFFSET {kept}");
        let text = format!("DELETE FROM {table} WHERE {over} AND {id} <= ({last})");
        connection.execute(&text, [])
    };
    bound("incidents", "number", INCIDENTS_KEPT, "open = 0")?;
    bound("notices", "id", NOTICES_KEPT, "fate <> 'waiting'")?;
    Ok(())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
