//! An open connection: one statement at a time, each with a deadline.

use super::dial::{Again, Patience};
use super::fault::{CallFault, Fate, cause};
use super::timing::{GLANCE, monotonic};
use crate::health::finding::{Cause, Fault};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

/// A call unanswered for this long abandons the connection. It is the statement timeout plus time for a slow commit, and leaves
/// time for a repeat within `limits::REPLY_TIMEOUT`.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(2_800);
/// The time for a request to cancel an unanswered statement.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(200);

pub(super) struct Link {
    runtime: Arc<Runtime>,
    client: Client,
    /// `None` after its end was read.
    driver: Option<JoinHandle<Result<(), Error>>>,
    /// The means to send a cancel request.
    again: Again,
    lost: bool,
}

impl Drop for Link {
    /// A driver whose query is unanswered would keep the socket while the server is silent.
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

impl Link {
    /// Takes a connection whose driver runs on `runtime`.
    pub(super) fn new(
        runtime: Arc<Runtime>,
        client: Client,
        driver: JoinHandle<Result<(), Error>>,
        again: Again,
    ) -> Link {
        Link { runtime, client, driver: Some(driver), again, lost: false }
    }

    /// True if the connection is no longer usable.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Runs one statement. Parameters and result travel in one round trip, and no prepared statement stays on the server: a
    /// pooler may send the next one to another server process.
    pub(super) fn query(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, CallFault> {
        self.query_within(CALL_TIMEOUT, sql, params)
    }

    /// Runs a statement with a shorter deadline.
    pub(super) fn query_within(
        &mut self,
        within: Duration,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, CallFault> {
        if self.lost || self.client.is_closed() {
            return Err(self.closed_before());
        }
        let runtime = Arc::clone(&self.runtime);
        let _inside = runtime.enter();
        let answer = runtime.block_on(timeout(within, self.client.query_typed(sql, params)));
        self.settle(answer, within)
    }

    pub(super) fn batch(&mut self, sql: &str) -> Result<(), CallFault> {
        if self.lost || self.client.is_closed() {
            return Err(self.closed_before());
        }
        let runtime = Arc::clone(&self.runtime);
        let _inside = runtime.enter();
        let answer = runtime.block_on(timeout(CALL_TIMEOUT, self.client.batch_execute(sql)));
        self.settle(answer, CALL_TIMEOUT)
    }

    /// Lets the driver read what the server sent unasked, above all its farewell.
    pub(super) fn listen(&mut self) {
        // More than one turn of the runtime: one to poll the socket, one to read it.
        for _ in 0..3 {
            self.runtime.block_on(tokio::task::yield_now());
        }
        self.lost |= self.client.is_closed() || self.driver.as_ref().is_none_or(JoinHandle::is_finished);
    }

    fn settle<T>(
        &mut self,
        answer: Result<Result<T, Error>, impl Sized>,
        within: Duration,
    ) -> Result<T, CallFault> {
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let fault = CallFault::of(&error);
                if error.as_db_error().is_none() || self.client.is_closed() {
                    self.lost = true;
                }
                if error.is_closed() {
                    return Err(CallFault { cause: self.farewell().unwrap_or(fault.cause), ..fault });
                }
                self.lost |= fault.fate == Fate::Unknown;
                Err(fault)
            }
            Err(_) => {
                self.lost = true;
                self.cancel();
                Err(CallFault::silent(within))
            }
        }
    }

    /// Cancels the statement when the connection is dropped: a hanging commit would otherwise keep its place on the server.
    fn cancel(&self) {
        let (end, runtime) = (monotonic() + CANCEL_TIMEOUT, Arc::clone(&self.runtime));
        let mut patience = Patience { runtime: &runtime, meanwhile: &mut || {} };
        if let Some(Ok(socket)) = self.again.socket(end, &mut patience) {
            let token = self.client.cancel_token();
            let request = token.cancel_query_raw(socket, self.again.security.clone());
            // The request may fail; nothing else depends on it.
            let _ = patience.on(request, end);
        }
    }

    pub(super) fn closed_before(&mut self) -> CallFault {
        self.lost = true;
        let look_at = "the network between here and the database, and its log";
        let unsaid = || Cause::new(Fault::Reset, "the connection was closed", look_at);
        CallFault::not_sent(self.farewell().unwrap_or_else(unsaid))
    }

    /// The reason why the driver ended, which says more than the fact.
    fn farewell(&mut self) -> Option<Cause> {
        let mut driver = self.driver.take()?;
        let _inside = self.runtime.enter();
        let ended = self.runtime.block_on(timeout(GLANCE, &mut driver));
        if ended.is_err() {
            driver.abort();
        }
        ended.ok()?.ok()?.err().as_ref().map(cause)
    }
}
