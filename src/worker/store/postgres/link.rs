//! An open connection: one statement at a time, each with a deadline.

use super::connection::{GLANCE, monotonic};
use super::dial::{Again, Patience};
use super::fault::{CallFault, Fate, cause};
use crate::health::finding::{Cause, Fault};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

/// A connection that does not answer a call within this is abandoned. It is longer than the statement
/// timeout, by time for a slow commit, and leaves time for a repeat within `limits::REPLY_TIMEOUT`.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(2_800);
/// For the request to end a statement that is not answered.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(200);

/// An open connection.
pub(super) struct Link {
    runtime: Arc<Runtime>,
    client: Client,
    /// `None` once it was asked why it ended.
    driver: Option<JoinHandle<Result<(), Error>>>,
    /// For a request to cancel.
    again: Again,
    lost: bool,
}

impl Drop for Link {
    /// A driver whose query is not answered would keep the socket for as long as the server is silent.
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

impl Link {
    /// A connection whose driver runs on `runtime`.
    pub(super) fn new(
        runtime: Arc<Runtime>,
        client: Client,
        driver: JoinHandle<Result<(), Error>>,
        again: Again,
    ) -> Link {
        Link { runtime, client, driver: Some(driver), again, lost: false }
    }

    /// True exactly when it is of no use any more.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Runs one statement. Parameters and result travel in one round trip, and no prepared statement stays on
    /// the server: a pooler may give the next one to another server process.
    pub(super) fn query(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, CallFault> {
        self.query_within(CALL_TIMEOUT, sql, params)
    }

    /// Runs a statement that is given less time.
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

    /// Runs statements without parameters.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), CallFault> {
        if self.lost || self.client.is_closed() {
            return Err(self.closed_before());
        }
        let runtime = Arc::clone(&self.runtime);
        let _inside = runtime.enter();
        let answer = runtime.block_on(timeout(CALL_TIMEOUT, self.client.batch_execute(sql)));
        self.settle(answer, CALL_TIMEOUT)
    }

    /// Lets the driver see what the server sent unasked, its farewell above all.
    pub(super) fn listen(&mut self) {
        // More than one turn of the runtime: one to see the socket, one to read it.
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

    /// The end of a connection does not end its statement: a commit that hangs would keep its place on the server.
    fn cancel(&self) {
        let (end, runtime) = (monotonic() + CANCEL_TIMEOUT, Arc::clone(&self.runtime));
        let mut patience = Patience { runtime: &runtime, meanwhile: &mut || {} };
        if let Some(Ok(socket)) = self.again.socket(end, &mut patience) {
            let token = self.client.cancel_token();
            let request = token.cancel_query_raw(socket, self.again.security.clone());
            // Nobody is left to tell.
            let _ = patience.on(request, end);
        }
    }

    pub(super) fn closed_before(&mut self) -> CallFault {
        self.lost = true;
        let look_at = "the network between here and the database, and its log";
        let unsaid = || Cause::new(Fault::Reset, "the connection was closed", look_at);
        CallFault::not_sent(self.farewell().unwrap_or_else(unsaid))
    }

    /// Why the driver ended, which says more than that it did.
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
