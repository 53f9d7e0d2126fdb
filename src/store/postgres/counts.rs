//! The thread `store-slo`: it writes what this instance counted for its objectives, and reads what the others did.
//!
//! It also writes and reads the alerts of the leader, and reads rows of the past for reports. It has a connection of its own, so that nothing
//! that holds these tables up delays messages or the renewal of the leader's duty.

use super::alerts::{self, AlertsWorker};
use super::connection::StoreConnection;
use super::exclusions;
use super::fault::CallFault;
use super::past;
use crate::job::shared_counts::{
    CountsAnswer, CountsCall, CountsEnds, QuarterWork, ROWS_READ, RowPlace, SharedRun,
};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::slo::calendar::QUARTER_MS;
use crate::slo::counts_row;
use crate::slo::deployment::first_quarter_read;
use crate::slo::minute_row::MinuteRow;
use crate::slo::run_counts::AllCounts;
use crate::slo::scoreboard::Measured;
use crate::store::columns::{integer, natural};
use crossbeam_channel::select;
use postgres_types::Type;
use std::sync::Arc;

/// Rows that one statement deletes.
const SWEEP_ROWS: i64 = 2_000;
/// A sweep ends after this many statements that each found as many, and goes on a quarter of an hour later.
const SWEEPS_MAX: usize = 50;

pub(super) struct CountsWorker {
    pub(super) connection: StoreConnection,
    pub(super) ends: CountsEnds,
    /// This process, as the duty of the leader names it.
    pub(super) origin: u64,
}

impl CountsWorker {
    /// Runs until the thread `slo` has ended.
    pub(super) fn run(mut self) {
        let (calls, alert_calls) = (self.ends.calls.clone(), self.ends.alerts.calls.clone());
        let questions = self.ends.questions.calls.clone();
        loop {
            select! {
                recv(calls) -> call => match call {
                    Ok(call) => self.answer(&call),
                    Err(_) => return,
                },
                recv(alert_calls) -> call => match call {
                    Ok(call) => {
                        let worker = AlertsWorker { ends: &self.ends.alerts, origin: self.origin };
                        worker.answer(&mut self.connection, &call);
                    }
                    Err(_) => return,
                },
                recv(questions) -> question => match question {
                    Ok(question) => past::answer(&mut self.connection, &self.ends.questions, &question),
                    Err(_) => return,
                },
                default(self.connection.patience()) => {
                    let _ = self.connection.advance(|| {});
                }
            }
        }
    }

    fn answer(&mut self, call: &CountsCall) {
        // The connection reports a failure and tries again.
        let _ = self.connection.advance(|| {});
        let answer = self.carry_out(call);
        if let Err(fault) = &answer {
            tracing::debug!(cause = %fault.cause.text, "counts not shared");
        }
        // The thread `slo` may have ended meanwhile.
        let _ = self.ends.answers.try_send(answer.ok());
    }

    fn carry_out(&mut self, call: &CountsCall) -> Result<CountsAnswer, CallFault> {
        let mut answer = CountsAnswer { store_ms: self.write(call)?, ..CountsAnswer::default() };
        let now = answer.store_ms / QUARTER_MS;
        match &call.quarters {
            QuarterWork::None => {}
            QuarterWork::Turn { closed, days } => {
                self.close(closed)?;
                answer.measured = Some(self.measured(*days)?);
                // Counts are shared although old rows stay: the next quarter of an hour tries again.
                if let Err(fault) = self.sweep() {
                    tracing::debug!(cause = %fault.cause.text, "old counts not deleted");
                }
            }
            QuarterWork::Read { days } => {
                let first = first_quarter_read(now, *days);
                answer.quarters = past::quarters(&mut self.connection, &(first..now + 1))?;
                answer.measured = Some(self.measured(*days)?);
            }
        }
        answer.rows = self.changed(call.after)?;
        answer.runs = self.runs()?;
        answer.exclusions = exclusions::share(&mut self.connection, &call.exclusions)?;
        Ok(answer)
    }

    fn write(&mut self, call: &CountsCall) -> Result<u64, CallFault> {
        let runs: Vec<i64> = call.rows.iter().map(|row| row.run).collect();
        let minutes: Vec<i64> = call.rows.iter().map(|row| integer(row.minute)).collect();
        let counts: Vec<String> = call.rows.iter().map(|row| row.counts.text()).collect();
        let rows = self.connection.query(
            "SELECT seawall.share_counts($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                (&call.run, Type::INT8),
                (&&*call.instance, Type::TEXT),
                (&integer(call.sessions), Type::INT8),
                (&call.end.as_str(), Type::TEXT),
                (&call.killed, Type::INT8_ARRAY),
                (&runs, Type::INT8_ARRAY),
                (&minutes, Type::INT8_ARRAY),
                (&counts, Type::TEXT_ARRAY),
            ],
        )?;
        let row = rows.first().ok_or_else(CallFault::incomplete)?;
        garbled(row.try_get::<i64>(0)).map(natural)
    }

    fn changed(&mut self, after: RowPlace) -> Result<Vec<(RowPlace, MinuteRow)>, CallFault> {
        let rows = self.connection.read(
            "SELECT run, minute, counts::text, (pg_catalog.date_part('epoch', changed) * 1000000)::bigint
             FROM seawall.slo_rows
             WHERE (changed, minute, run) >
                 (timestamptz 'epoch' + $1::bigint * interval '1 microsecond', $2::bigint, $3::bigint)
             ORDER BY changed, minute, run LIMIT $4",
            &[
                (&integer(after.changed_us), Type::INT8),
                (&integer(after.minute), Type::INT8),
                (&after.run, Type::INT8),
                (&(ROWS_READ as i64), Type::INT8),
            ],
        )?;
        let read = |row: &Row| -> Result<(RowPlace, MinuteRow), Trouble> {
            let (run, minute) = (row.try_get(0)?, natural(row.try_get(1)?));
            let place = RowPlace { changed_us: natural(row.try_get(3)?), minute, run };
            Ok((place, MinuteRow::read(row.try_get(2)?)))
        };
        garbled(rows.iter().map(read).collect())
    }

    fn runs(&mut self) -> Result<Vec<SharedRun>, CallFault> {
        let rows = self.connection.read(
            "SELECT run, instance, ended <> '',
                    (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - last) * 1000)::bigint
             FROM seawall.slo_runs
             WHERE last > pg_catalog.clock_timestamp() - interval '15 minutes' ORDER BY last DESC LIMIT 1000",
            &[],
        )?;
        let read = |row: &Row| -> Result<SharedRun, Trouble> {
            Ok(SharedRun {
                run: row.try_get(0)?,
                instance: Arc::from(row.try_get::<&str>(1)?),
                is_over: row.try_get(2)?,
                age_ms: natural(row.try_get(3)?),
            })
        };
        garbled(rows.iter().map(read).collect())
    }

    /// Every instance closes the same quarters with the same sums, so the first one is enough.
    fn close(&mut self, closed: &[(u64, AllCounts)]) -> Result<(), CallFault> {
        let quarters: Vec<i64> = closed.iter().map(|(quarter, _)| integer(*quarter)).collect();
        let counts: Vec<String> = closed.iter().map(|(_, counts)| counts_row::text_of(counts)).collect();
        if closed.is_empty() {
            return Ok(());
        }
        self.connection.query(
            "INSERT INTO seawall.slo_quarters (quarter, counts)
             SELECT closed.quarter, closed.counts::jsonb FROM unnest($1, $2) AS closed (quarter, counts)
             ON CONFLICT (quarter) DO NOTHING",
            &[(&quarters, Type::INT8_ARRAY), (&counts, Type::TEXT_ARRAY)],
        )?;
        Ok(())
    }

    /// The time since the first run of the last days, and the part of it in which any run went on.
    fn measured(&mut self, days: u32) -> Result<Measured, CallFault> {
        let rows = self.connection.read(
            "WITH run AS (
                 SELECT greatest(began, pg_catalog.clock_timestamp() - $1::bigint * interval '1 day') AS began, last
                 FROM seawall.slo_runs WHERE last > pg_catalog.clock_timestamp() - $1::bigint * interval '1 day'),
             gap AS (
                 SELECT began, last,
                     greatest(began, max(last) OVER (ORDER BY began, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS after
                 FROM run)
             SELECT coalesce(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - min(began)), 0)::bigint,
                    coalesce(pg_catalog.date_part('epoch', sum(greatest(last - after, interval '0 seconds'))), 0)::bigint
             FROM gap",
            &[(&i64::from(days), Type::INT8)],
        )?;
        let row = rows.first().ok_or_else(CallFault::incomplete)?;
        let (known_s, up_s) = (garbled(row.try_get::<i64>(0))?, garbled(row.try_get::<i64>(1))?);
        Ok(Measured { known_s: natural(known_s), up_s: natural(up_s) })
    }

    /// Deletes rows of more than four days ago, runs, quarters and exclusions of more than a hundred, and weeks of more than 800.
    fn sweep(&mut self) -> Result<(), CallFault> {
        let epoch = "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())";
        let old = [
            ("slo_rows", format!("minute < {epoch} / 60 - 5760")),
            ("slo_quarters", format!("quarter < {epoch} / 900 - 9600")),
            ("slo_exclusions", format!("until_ms < ({epoch} - 8640000) * 1000")),
            ("slo_weeks", format!("from_ms < ({epoch} - 69120000) * 1000")),
            ("slo_runs", "last < pg_catalog.clock_timestamp() - interval '100 days'".to_owned()),
        ];
        for (table, condition) in old {
            for _ in 0..SWEEPS_MAX {
                let rows = self.connection.query(
                    &format!(
                        "WITH deleted AS (
                             DELETE FROM seawall.{table} WHERE ctid = ANY (ARRAY(
                                 SELECT ctid FROM seawall.{table} WHERE {condition} LIMIT $1)) AND {condition}
                             RETURNING 1)
                         SELECT count(*) FROM deleted"
                    ),
                    &[(&SWEEP_ROWS, Type::INT8)],
                )?;
                let count = garbled(rows.first().map_or(Ok(0), |row| row.try_get::<i64>(0)))?;
                if count <= SWEEP_ROWS / 2 {
                    break;
                }
            }
        }
        alerts::sweep(&mut self.connection)
    }
}

fn garbled<T>(read: Result<T, Trouble>) -> Result<T, CallFault> {
    read.map_err(|error| CallFault::garbled(&error))
}
