//! The thread that does the requests of the relay.

use super::super::connection::StoreConnection;
use super::super::timing::GLANCE;
use super::group::Group;
use super::reads::DuePlace;
use crate::job::relay::{RelayAnswer, RelayRequest, RelayWork};
use crate::store::RelayEnds;
use crate::store::relay::REQUESTS_AT_ONCE;
use crossbeam_channel::{Receiver, Sender, never, select};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Between two looks at the connection while nothing is asked.
const IDLE: Duration = Duration::from_secs(1);

pub(super) struct RelayWorker {
    pub(super) connection: StoreConnection,
    pub(super) ends: RelayEnds,
    /// This process, as the one that has claims: a random number.
    pub(super) by: i64,
    pub(super) due_after: DuePlace,
    /// Disconnects when the store ends.
    pub(super) over: Receiver<Infallible>,
}

impl RelayWorker {
    /// Runs until the store ends. Without a request it opens no connection.
    pub(super) fn run(mut self) {
        let mut has_asked = false;
        loop {
            let first = select! {
                recv(self.over) -> over => match over {
                    Err(_) => break,
                    Ok(never) => match never {},
                },
                recv(self.ends.requests) -> request => match request {
                    Ok(request) => Some(request),
                    Err(_) => {
                        self.ends.requests = never();
                        None
                    }
                },
                default(if has_asked { self.connection.patience().clamp(GLANCE, IDLE) } else { IDLE }) => None,
            };
            has_asked |= first.is_some();
            if has_asked {
                // The connection reports a failure and tries again.
                let _ = self.connection.advance(|| {});
            }
            if let Some(first) = first {
                self.answer(first);
            }
        }
    }

    fn answer(&mut self, first: RelayRequest) {
        let rest = self.ends.requests.try_iter().take(REQUESTS_AT_ONCE - 1);
        let (works, replies): (Vec<RelayWork>, Vec<Sender<RelayAnswer>>) =
            std::iter::once(first).chain(rest).map(|request| (request.work, request.reply)).unzip();
        let answers = if self.connection.is_up() { self.run_group(&works) } else { Vec::new() };
        let answers = answers.into_iter().chain(std::iter::repeat_with(|| RelayAnswer::Unavailable));
        for (reply, answer) in replies.into_iter().zip(answers) {
            // One who does not wait any more asks again.
            let _ = reply.try_send(answer);
        }
    }

    fn run_group(&mut self, works: &[RelayWork]) -> Vec<RelayAnswer> {
        let table = self.ends.routes.current();
        let mut group = Group {
            connection: &mut self.connection,
            table: &table,
            by: self.by,
            due_after: &mut self.due_after,
        };
        catch_unwind(AssertUnwindSafe(|| group.run(works))).unwrap_or_else(|_| {
            tracing::error!("the relay's part of the store panicked");
            Vec::new()
        })
    }
}
