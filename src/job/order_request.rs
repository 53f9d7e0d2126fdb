//! The request to commit an order, and the reasons why it may fail.

use crate::cluster::order::{ClusterOrder, OrderKind};
use crate::id::OrderId;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crossbeam_channel::Sender;
use std::time::Instant;

/// A request to commit an order, and the way back.
#[derive(Debug)]
pub struct OrderRequest {
    pub order: ClusterOrder,
    /// The key or operator that gives it.
    pub by: Box<str>,
    /// The commit must begin earlier.
    pub deadline: Instant,
    pub reply: Sender<Result<OrderId, OrderFault>>,
}

impl OrderRequest {
    /// True from its deadline on: nothing may be stored.
    #[allow(clippy::disallowed_methods, reason = "requests carry a deadline of the thread that waits")]
    pub fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// The reason why an order was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderFault {
    /// As many blocks exist as may, in all or of this author.
    TooManyBlocks,
    /// The same with revocations.
    TooManyRevocations,
    /// The same with erasures that are not finished.
    TooManyErasures,
    /// Nothing was stored.
    Unavailable,
    /// Nothing was stored, because too many orders wait.
    Overloaded,
    /// The order may or may not have been stored.
    Unconfirmed,
}

impl OrderFault {
    /// The refusal of an order of this kind because its table is full.
    pub fn too_many(kind: OrderKind) -> OrderFault {
        match kind {
            OrderKind::Revoke => OrderFault::TooManyRevocations,
            OrderKind::Erase => OrderFault::TooManyErasures,
            // The other kinds have no table of their own.
            OrderKind::Disconnect | OrderKind::Block | OrderKind::Unblock | OrderKind::Erased => {
                OrderFault::TooManyBlocks
            }
        }
    }

    /// The answer to the application or operator that gave the order.
    pub fn problem(self) -> ApiProblem {
        match self {
            OrderFault::TooManyBlocks => ApiProblem::lasting(
                ProblemCode::TooMany,
                "100000 blocks exist, or 50000 by this key or by operators; unblock users, or give blocks an until",
            ),
            OrderFault::TooManyRevocations => ApiProblem::lasting(
                ProblemCode::TooMany,
                "100000 revocations exist, or 50000 by this key or by operators; wait until some have ended, and send the earliest until",
            ),
            OrderFault::TooManyErasures => ApiProblem::lasting(
                ProblemCode::TooMany,
                "100000 erasures are not finished, or 50000 by this key or by operators; wait until some are",
            ),
            OrderFault::Unavailable => ApiProblem {
                dependency: Some("store"),
                ..ApiProblem::passing(ProblemCode::Unavailable, "the store is down; nothing was done", 1_000)
            },
            OrderFault::Overloaded => ApiProblem::passing(
                ProblemCode::Overloaded,
                "too many orders wait; nothing was done; repeat the request",
                500,
            ),
            OrderFault::Unconfirmed => ApiProblem {
                dependency: Some("store"),
                ..ApiProblem::passing(
                    ProblemCode::Unconfirmed,
                    "the order may or may not have been given; a repetition does no harm",
                    1_000,
                )
            },
        }
    }
}
