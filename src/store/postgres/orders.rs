//! Orders in the store: what the thread `store-canary` commits, reads and sweeps.

use super::connection::StoreConnection;
use super::fault::{CallFault, Fate};
use super::timing::monotonic;
use crate::cluster::order::{BlockOrder, ClusterOrder, RevokeOrder, RevokedTokens};
use crate::cluster::restrictions::RESTRICTIONS_MAX;
use crate::id::{OrderId, UserName};
use crate::job::orders::{ORDERS_KEPT, OrderBoard, OrderFault, OrderRequest, StoredOrder};
use crate::job::registry::{Goodbye, InstanceRow};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::store::columns::{integer, natural};
use crate::store::loaded_orders::{LoadedOrders, restriction};
use crate::store::retention::Rest;
use crossbeam_channel::Receiver;
use postgres_types::Type;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Orders read at once.
const READ_MAX: i64 = 256;
/// Between two sweeps of what has ended.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// Rows that one statement deletes, because each has a deadline.
const SWEEP_ROWS: i64 = 10_000;

const NOW_MS: &str = "(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint";

/// The orders of one instance in the store.
pub(super) struct PostgresOrders {
    pub(super) board: Arc<OrderBoard>,
    pub(super) requests: Receiver<OrderRequest>,
    read: Option<Instant>,
    sweep_at: Instant,
}

impl PostgresOrders {
    pub(super) fn new(board: Arc<OrderBoard>, requests: Receiver<OrderRequest>) -> PostgresOrders {
        PostgresOrders { board, requests, read: None, sweep_at: monotonic() + SWEEP_PERIOD }
    }

    /// Reads the orders that other instances made, if the last time was `period` ago or more are known to exist, and deletes what
    /// has ended once a minute.
    pub(super) fn look(&mut self, connection: &mut StoreConnection, period: Duration) {
        let is_due = self.read.is_none_or(|read| read.elapsed() >= period);
        if !connection.is_up() || !(self.board.take_behind() || is_due) {
            return;
        }
        self.read = Some(monotonic());
        let looked = match self.board.is_read() {
            true => self.read_on(connection),
            false => self.catch_up(connection),
        };
        if let Err(fault) = looked {
            tracing::debug!(cause = %fault.cause.text, "orders not read");
        }
        let now = monotonic();
        if now < self.sweep_at {
            return;
        }
        self.sweep_at = now + SWEEP_PERIOD;
        self.board.sweep();
        match sweep(connection) {
            // At the next look.
            Ok(Rest::Some) => self.sweep_at = now,
            Ok(Rest::None) => {}
            Err(fault) => tracing::debug!(cause = %fault.cause.text, "orders not swept"),
        }
    }

    /// Takes the rows of all instances; `own` is this process, and `as_of` the newest order when the reading began.
    pub(super) fn see(&self, rows: &[InstanceRow], own: u64, as_of: OrderId) {
        let others = rows.iter().filter(|row| row.origin != own && row.leaving == Goodbye::NotSaid);
        let others = others.map(|row| (row.origin, Arc::clone(&row.name), OrderId(row.done), row.age));
        self.board.see(others, as_of);
    }

    fn read_on(&self, connection: &mut StoreConnection) -> Result<(), CallFault> {
        loop {
            let (asked, last) = (self.board.now(), self.board.log().last);
            let OrdersRead { orders, follow } = orders_after(connection, last, READ_MAX)?;
            if !follow && !orders.is_empty() {
                return self.catch_up(connection);
            }
            self.board.take(&orders);
            // Fewer are taken while too many are not carried out.
            if orders.last().is_some_and(|newest| self.board.log().last < newest.id) {
                return Ok(());
            }
            if (orders.len() as i64) < READ_MAX {
                self.board.note_read(asked);
                return Ok(());
            }
        }
    }

    /// Reads everything, because orders may be missing.
    fn catch_up(&self, connection: &mut StoreConnection) -> Result<(), CallFault> {
        let asked = self.board.now();
        load(connection)?.give_late(&self.board);
        self.board.note_read(asked);
        Ok(())
    }

    /// Commits an order, takes it and announces it.
    pub(super) fn place(&self, connection: &mut StoreConnection, request: OrderRequest) {
        let placed = match request.is_late() {
            true => Err(OrderFault::Overloaded),
            false => self.commit(connection, &request.order, &request.by),
        };
        // The requester may have given up.
        let _ = request.reply.try_send(placed);
    }

    fn commit(
        &self,
        connection: &mut StoreConnection,
        order: &ClusterOrder,
        by: &str,
    ) -> Result<OrderId, OrderFault> {
        if !self.board.is_read() {
            return Err(OrderFault::Unavailable);
        }
        if self.board.log().undone() >= ORDERS_KEPT / 2 {
            return Err(OrderFault::Overloaded);
        }
        let rows = connection.query(
            "SELECT number, previous FROM seawall.place_order($1, $2::text::jsonb, $3, $4)",
            &[
                (&order.kind().word(), Type::TEXT),
                (&order.args(), Type::TEXT),
                (&by, Type::TEXT),
                (&i64::from(RESTRICTIONS_MAX), Type::INT8),
            ],
        );
        let rows = rows.map_err(|fault| {
            tracing::warn!(cause = %fault.cause.text, "order not committed");
            match fault.fate {
                Fate::NotDone | Fate::Again | Fate::OfTheData => OrderFault::Unavailable,
                Fate::Unknown => OrderFault::Unconfirmed,
            }
        })?;
        let Some(row) = rows.first() else { return Err(OrderFault::too_many(order.kind())) };
        let number = |at| row.try_get::<i64>(at).map(natural).map(OrderId);
        let (Ok(id), Ok(previous)) = (number(0), number(1)) else { return Err(OrderFault::Unconfirmed) };
        // With those of other instances before it. If this fails, the next look finds it.
        if let Err(fault) = self.read_on(connection) {
            tracing::debug!(cause = %fault.cause.text, "orders not read");
        }
        self.board.announce(id, previous);
        Ok(id)
    }
}

/// Reads the restrictions, and the orders that were made before. Restrictions that are committed meanwhile have a higher number
/// than the last order, so they are read with it.
pub(super) fn load(connection: &mut StoreConnection) -> Result<LoadedOrders, CallFault> {
    let rows = connection.query("SELECT coalesce(max(id), 0) FROM seawall.orders", &[])?;
    let row = rows.first().ok_or_else(CallFault::incomplete)?;
    let last = garbled(row.try_get::<i64>(0))?;
    let first = (last - ORDERS_KEPT as i64).max(0);
    let mut orders = orders_after(connection, OrderId(natural(first)), ORDERS_KEPT as i64)?.orders;
    orders.retain(|order| order.id.0 <= natural(last));
    let mut restrictions = blocks(connection)?;
    restrictions.extend(revocations(connection)?);
    Ok(LoadedOrders { restrictions, orders, last: OrderId(natural(last)) })
}

/// Orders after a certain one.
struct OrdersRead {
    orders: Vec<StoredOrder>,
    /// No order between that one and the first of these was deleted: the sweep deletes the oldest first, and never the last.
    follow: bool,
}

fn orders_after(connection: &mut StoreConnection, last: OrderId, most: i64) -> Result<OrdersRead, CallFault> {
    // In one statement, so that no sweep comes between. The first order of all has the number 1.
    let rows = connection.read(
        &format!(
            "SELECT id, kind, args::text, by, (pg_catalog.date_part('epoch', made) * 1000)::bigint, {NOW_MS},
                    EXISTS (SELECT FROM seawall.orders AS o WHERE o.id = greatest($1, 1))
             FROM seawall.orders WHERE id > $1 ORDER BY id LIMIT $2"
        ),
        &[(&integer(last.0), Type::INT8), (&most, Type::INT8)],
    )?;
    let order = |row: &Row| -> Result<StoredOrder, Trouble> {
        Ok(StoredOrder {
            id: OrderId(natural(row.try_get(0)?)),
            order: ClusterOrder::stored(row.try_get(1)?, row.try_get(2)?),
            made_unix_ms: natural(row.try_get(4)?),
            store_unix_ms: natural(row.try_get(5)?),
            by: row.try_get::<&str>(3)?.into(),
        })
    };
    let follow = |row: &Row| row.try_get::<bool>(6);
    let follow = garbled(rows.first().map_or(Ok(true), follow))?;
    Ok(OrdersRead { orders: garbled(rows.iter().map(order).collect())?, follow })
}

fn blocks(connection: &mut StoreConnection) -> Result<Vec<StoredOrder>, CallFault> {
    let rows = connection.read(
        &format!(
            "SELECT user_name, (pg_catalog.date_part('epoch', until) * 1000)::bigint, reason,
                    (pg_catalog.date_part('epoch', made) * 1000)::bigint, {NOW_MS}
             FROM seawall.blocks WHERE until IS NULL OR until > pg_catalog.clock_timestamp()"
        ),
        &[],
    )?;
    let block = |row: &Row| -> Result<StoredOrder, Trouble> {
        let user = UserName::parse(row.try_get(0)?).ok();
        let until_unix_ms = row.try_get::<Option<i64>>(1)?.map(natural);
        let reason: Box<str> = row.try_get::<&str>(2)?.into();
        let order = user.map(|user| ClusterOrder::Block(BlockOrder { user, until_unix_ms, reason }));
        Ok(restriction(order, natural(row.try_get(3)?), natural(row.try_get(4)?)))
    };
    garbled(rows.iter().map(block).collect())
}

fn revocations(connection: &mut StoreConnection) -> Result<Vec<StoredOrder>, CallFault> {
    let rows = connection.read(
        &format!(
            "SELECT kind::bigint, name, (pg_catalog.date_part('epoch', issued_before) * 1000)::bigint,
                    (pg_catalog.date_part('epoch', until) * 1000)::bigint, {NOW_MS}
             FROM seawall.revocations WHERE until > pg_catalog.clock_timestamp()"
        ),
        &[],
    )?;
    let revocation = |row: &Row| -> Result<StoredOrder, Trouble> {
        let name: &str = row.try_get(1)?;
        let before = row.try_get::<Option<i64>>(2)?.map_or(0, natural);
        let tokens = match row.try_get::<i64>(0)? {
            0 => Some(RevokedTokens::One(name.into())),
            _ => UserName::parse(name).ok().map(|user| RevokedTokens::IssuedBefore(user, before)),
        };
        let until_unix_ms = natural(row.try_get(3)?);
        let order = tokens.map(|tokens| ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms }));
        Ok(restriction(order, 0, natural(row.try_get(4)?)))
    };
    garbled(rows.iter().map(revocation).collect())
}

/// Deletes what has ended, and orders of more than an hour ago except the last one, some at a time.
fn sweep(connection: &mut StoreConnection) -> Result<Rest, CallFault> {
    for table in ["blocks", "revocations"] {
        connection.query(
            &format!(
                "DELETE FROM seawall.{table} WHERE ctid = ANY (ARRAY(
                     SELECT ctid FROM seawall.{table} WHERE until < pg_catalog.clock_timestamp() LIMIT $1))
                     AND until < pg_catalog.clock_timestamp()"
            ),
            &[(&SWEEP_ROWS, Type::INT8)],
        )?;
    }
    let deleted = connection.query(
        "WITH deleted AS (
             DELETE FROM seawall.orders WHERE id IN (
                 SELECT id FROM seawall.orders
                 WHERE made < pg_catalog.clock_timestamp() - interval '1 hour'
                     AND id < (SELECT max(id) FROM seawall.orders)
                 ORDER BY id LIMIT $1)
             RETURNING id)
         SELECT count(*) FROM deleted",
        &[(&SWEEP_ROWS, Type::INT8)],
    )?;
    let deleted = garbled(deleted.first().map_or(Ok(0), |row| row.try_get::<i64>(0)))?;
    Ok(if deleted < SWEEP_ROWS { Rest::None } else { Rest::Some })
}

fn garbled<T>(read: Result<T, Trouble>) -> Result<T, CallFault> {
    read.map_err(|error| CallFault::garbled(&error))
}
