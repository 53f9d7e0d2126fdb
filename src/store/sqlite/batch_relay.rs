//! The publications of an open transaction that are to be relayed.

use crate::id::ChannelName;
use crate::job::Append;
use crate::relay::route::{RelayRoute, RouteTable};
use crate::store::relay::answering_route;
use crate::wire::publication::Published;

/// The relay's part of a transaction.
pub(super) struct BatchRelay<'a> {
    /// `None`: there are no routes.
    pub(super) table: Option<&'a RouteTable>,
    pub(super) changes: RelayChanges,
}

/// The publications of a transaction that are to be relayed.
#[derive(Debug, Default)]
pub(crate) struct RelayChanges {
    /// Their channels.
    pub(crate) channels: Vec<ChannelName>,
    /// The begins of their answers.
    pub(crate) answers: Vec<Published>,
}

/// A place in a transaction.
#[derive(Clone, Copy)]
pub(super) struct RelayMark {
    channels: usize,
    answers: usize,
}

impl<'a> BatchRelay<'a> {
    pub(super) fn new(table: Option<&'a RouteTable>) -> BatchRelay<'a> {
        BatchRelay { table, changes: RelayChanges::default() }
    }

    /// True if there are no routes.
    pub(super) fn is_off(&self) -> bool {
        self.table.is_none()
    }

    /// The route of an append whose answer begins in the same transaction.
    pub(super) fn answering(&self, job: &Append) -> Option<&'a RelayRoute> {
        answering_route(self.table, job)
    }

    pub(super) fn mark(&self) -> RelayMark {
        RelayMark { channels: self.changes.channels.len(), answers: self.changes.answers.len() }
    }

    /// Goes back to a mark: what came after it is undone.
    pub(super) fn undo(&mut self, mark: RelayMark) {
        self.changes.channels.truncate(mark.channels);
        self.changes.answers.truncate(mark.answers);
    }
}
