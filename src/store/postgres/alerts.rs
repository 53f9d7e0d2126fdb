//! Incidents and notices of all instances: what the thread `store-slo` writes and reads for the leader.

use super::connection::StoreConnection;
use super::fault::CallFault;
use crate::job::shared_alerts::{
    AlertChanges, AlertsAnswer, AlertsCall, AlertsEnds, LeaderTerm, StoredAlertRows,
};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::store::columns::{integer, natural};
use postgres_types::Type;

/// Closed incidents, and notices that were given up, that a leader reads.
const OVER_READ: i64 = 200;
/// Incidents and notices that are kept after they are over.
const OVER_KEPT: i64 = 10_000;

/// The calls of the leader.
pub(super) struct AlertsWorker<'a> {
    pub(super) ends: &'a AlertsEnds,
    /// This process, as the duty names it.
    pub(super) origin: u64,
}

impl AlertsWorker<'_> {
    /// Carries a call out, and answers it.
    pub(super) fn answer(&self, connection: &mut StoreConnection, call: &AlertsCall) {
        // The connection reports a failure and tries again.
        let _ = connection.advance(|| {});
        let answer = match call {
            AlertsCall::Lead => self.lead(connection),
            AlertsCall::Write(term, changes) => self.write(connection, *term, changes),
        };
        if let Err(fault) = &answer {
            tracing::debug!(cause = %fault.cause.text, "alerts not shared");
        }
        // The thread `slo` may have ended meanwhile.
        let _ = self.ends.answers.try_send(answer.ok());
    }

    fn lead(&self, connection: &mut StoreConnection) -> Result<AlertsAnswer, CallFault> {
        let held = connection.query(
            "SELECT term FROM seawall.duties
             WHERE name = 'leader' AND origin = $1 AND until > pg_catalog.clock_timestamp()",
            &[(&self.origin.cast_signed(), Type::INT8)],
        )?;
        let Some(row) = held.first() else { return Ok(AlertsAnswer::Deposed) };
        let term = LeaderTerm(garbled(row.try_get(0))?);
        let greatest = connection.query(
            "SELECT coalesce((SELECT max(number) FROM seawall.incidents), 0),
                    coalesce((SELECT max(id) FROM seawall.notices), 0)",
            &[],
        )?;
        let greatest = greatest.first().ok_or_else(CallFault::incomplete)?;
        let mut bodies = |text: &str| -> Result<Vec<String>, CallFault> {
            let rows = connection.query(text, &[(&OVER_READ, Type::INT8)])?;
            let read = |row: &Row| -> Result<String, Trouble> { Ok(row.try_get::<&str>(0)?.to_owned()) };
            garbled(rows.iter().map(read).collect())
        };
        let rows = StoredAlertRows {
            incident: natural(garbled(greatest.try_get(0))?),
            notice: natural(garbled(greatest.try_get(1))?),
            open: bodies("SELECT body FROM seawall.incidents WHERE open ORDER BY number LIMIT 5 * $1")?,
            closed: bodies(
                "SELECT body FROM seawall.incidents WHERE NOT open ORDER BY number DESC LIMIT $1",
            )?,
            waiting: bodies(
                "SELECT body FROM seawall.notices WHERE fate = 'waiting' ORDER BY id LIMIT 50 * $1",
            )?,
            dead: bodies("SELECT body FROM seawall.notices WHERE fate = 'dead' ORDER BY id DESC LIMIT $1")?,
            silences: bodies("SELECT body FROM seawall.silences ORDER BY number LIMIT $1")?,
            report: bodies(
                r#"SELECT body FROM seawall.notices WHERE strpos(body, '"event":"reported"') > 0
                   ORDER BY id DESC LIMIT least($1, 1)"#,
            )?
            .pop(),
        };
        Ok(AlertsAnswer::Leads(term, Box::new(rows)))
    }

    fn write(
        &self,
        connection: &mut StoreConnection,
        LeaderTerm(term): LeaderTerm,
        changes: &AlertChanges,
    ) -> Result<AlertsAnswer, CallFault> {
        let AlertChanges { replaces, incidents, notices, silences, silences_over } = changes;
        let numbers: Vec<i64> = incidents.iter().map(|(number, ..)| integer(*number)).collect();
        let opens: Vec<bool> = incidents.iter().map(|(_, is_open, _)| *is_open).collect();
        let incident_bodies: Vec<&str> = incidents.iter().map(|(_, _, body)| &**body).collect();
        let ids: Vec<i64> = notices.iter().map(|(id, ..)| integer(*id)).collect();
        let fates: Vec<&str> = notices.iter().map(|(_, fate, _)| *fate).collect();
        let notice_bodies: Vec<&str> = notices.iter().map(|(_, _, body)| &**body).collect();
        let silence_numbers: Vec<i64> = silences.iter().map(|(number, _)| integer(*number)).collect();
        let silence_bodies: Vec<&str> = silences.iter().map(|(_, body)| &**body).collect();
        let over: Vec<i64> = silences_over.iter().map(|number| integer(*number)).collect();
        let rows = connection.query(
            "SELECT seawall.write_alerts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &[
                (&self.origin.cast_signed(), Type::INT8),
                (&term, Type::INT8),
                (replaces, Type::BOOL),
                (&numbers, Type::INT8_ARRAY),
                (&opens, Type::BOOL_ARRAY),
                (&incident_bodies, Type::TEXT_ARRAY),
                (&ids, Type::INT8_ARRAY),
                (&fates, Type::TEXT_ARRAY),
                (&notice_bodies, Type::TEXT_ARRAY),
                (&silence_numbers, Type::INT8_ARRAY),
                (&silence_bodies, Type::TEXT_ARRAY),
                (&over, Type::INT8_ARRAY),
            ],
        )?;
        let row = rows.first().ok_or_else(CallFault::incomplete)?;
        let is_written = garbled(row.try_get::<bool>(0))?;
        Ok(if is_written { AlertsAnswer::Written } else { AlertsAnswer::Deposed })
    }
}

/// Deletes the oldest incidents and notices that are over.
pub(super) fn sweep(connection: &mut StoreConnection) -> Result<(), CallFault> {
    for (table, number, over) in [("incidents", "number", "NOT open"), ("notices", "id", "fate <> 'waiting'")]
    {
        connection.query(
            &format!(
                "WITH deleted AS (
                     DELETE FROM seawall.{table} WHERE {over} AND {number} <= (
                         SELECT {number} FROM seawall.{table} ORDER BY {number} DESC LIMIT 1 OFFSET $1)
                     RETURNING 1)
                 SELECT count(*) FROM deleted"
            ),
            &[(&OVER_KEPT, Type::INT8)],
        )?;
    }
    Ok(())
}

fn garbled<T>(read: Result<T, Trouble>) -> Result<T, CallFault> {
    read.map_err(|error| CallFault::garbled(&error))
}
