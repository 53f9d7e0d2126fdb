//! Orders in the file: committed by the thread that writes, together with what they change in the tables of blocks, revocations and
//! erasures.

use super::log::{BatchFault, Log};
use super::user_erasures;
use crate::cluster::order::{BlockOrder, ClusterOrder, RevokeOrder, RevokedTokens};
use crate::cluster::restrictions::RESTRICTIONS_MAX;
use crate::id::{OrderId, UserName};
use crate::job::orders::{ORDERS_KEPT, OrderBoard, OrderFault, OrderRequest, StoredOrder};
use crate::store::columns::{integer, natural};
use crate::store::loaded_orders::{LoadedOrders, restriction};
use crate::store::retention::Rest;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// How long an order is kept, in milliseconds.
const AGE_MAX_MS: u64 = 3_600_000;
/// Rows that one sweep deletes of a table, because appends wait meanwhile.
const SWEEP_ROWS: u32 = 1_000;

/// The kinds in `revocations`.
const ONE_TOKEN: i64 = 0;
const TOKENS_OF_USER: i64 = 1;

/// Reads the tables at the start.
pub(super) fn load(connection: &Connection, now_ms: u64) -> rusqlite::Result<LoadedOrders> {
    let last: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM orders", [], |row| row.get(0))?;
    let first = OrderId(natural((last - ORDERS_KEPT as i64).max(0)));
    let orders = orders_after(connection, first, now_ms)?;
    let mut restrictions = blocks(connection, now_ms)?;
    restrictions.extend(revocations(connection, now_ms)?);
    Ok(LoadedOrders { restrictions, orders, last: OrderId(natural(last)) })
}

fn orders_after(connection: &Connection, last: OrderId, now_ms: u64) -> rusqlite::Result<Vec<StoredOrder>> {
    let mut statement =
        connection.prepare_cached("SELECT id, kind, args, made, by FROM orders WHERE id > ?1 ORDER BY id")?;
    let order = |row: &Row<'_>| {
        let (kind, args) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
        Ok(StoredOrder {
            id: OrderId(natural(row.get(0)?)),
            order: ClusterOrder::stored(kind, args),
            made_unix_ms: natural(row.get(3)?),
            store_unix_ms: now_ms,
            by: row.get_ref(4)?.as_str()?.into(),
        })
    };
    statement.query_map([integer(last.0)], order)?.collect()
}

fn blocks(connection: &Connection, now_ms: u64) -> rusqlite::Result<Vec<StoredOrder>> {
    let mut statement = connection
        .prepare("SELECT user_name, until, reason, made FROM blocks WHERE until IS NULL OR until > ?1")?;
    let block = |row: &Row<'_>| {
        let user = UserName::parse(row.get_ref(0)?.as_str()?).ok();
        let until_unix_ms = row.get::<_, Option<i64>>(1)?.map(natural);
        let reason: Box<str> = row.get_ref(2)?.as_str()?.into();
        let order = user.map(|user| ClusterOrder::Block(BlockOrder { user, until_unix_ms, reason }));
        Ok(restriction(order, natural(row.get(3)?), now_ms))
    };
    statement.query_map([integer(now_ms)], block)?.collect()
}

fn revocations(connection: &Connection, now_ms: u64) -> rusqlite::Result<Vec<StoredOrder>> {
    let mut statement =
        connection.prepare("SELECT kind, name, issued_before, until FROM revocations WHERE until > ?1")?;
    let revocation = |row: &Row<'_>| {
        let name = row.get_ref(1)?.as_str()?;
        let before = row.get::<_, Option<i64>>(2)?.map_or(0, natural);
        let tokens = match row.get::<_, i64>(0)? {
            ONE_TOKEN => Some(RevokedTokens::One(name.into())),
            _ => UserName::parse(name).ok().map(|user| RevokedTokens::IssuedBefore(user, before)),
        };
        let until_unix_ms = natural(row.get(3)?);
        let order = tokens.map(|tokens| ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms }));
        Ok(restriction(order, 0, now_ms))
    };
    statement.query_map([integer(now_ms)], revocation)?.collect()
}

impl Log {
    /// Commits an order, lets the board take it, and answers.
    pub(super) fn place_order(&mut self, request: OrderRequest, board: &OrderBoard, now_ms: u64) {
        let is_full = board.log().undone() >= ORDERS_KEPT / 2;
        let placed = match is_full || request.is_late() {
            true => Err(OrderFault::Overloaded),
            false => self
                .read_orders(board, now_ms)
                .and_then(|()| self.commit_order(&request.order, &request.by, now_ms)),
        };
        let OrderRequest { order, by, reply, .. } = request;
        if let Ok(id) = placed {
            let order = Some(order);
            board.take(&[StoredOrder { id, order, made_unix_ms: now_ms, store_unix_ms: now_ms, by }]);
        }
        // The requester may have given up.
        let _ = reply.try_send(placed);
    }

    /// Takes orders whose commit reported a failure, but which the file has after all.
    pub(super) fn read_orders(&mut self, board: &OrderBoard, now_ms: u64) -> Result<(), OrderFault> {
        let last = board.log().last;
        let read = self.connection().and_then(|connection| orders_after(connection, last, now_ms));
        match read {
            Ok(orders) => board.take(&orders),
            Err(error) => {
                self.recover(&BatchFault::NotStored(error));
                return Err(OrderFault::Unavailable);
            }
        }
        Ok(())
    }

    fn commit_order(&mut self, order: &ClusterOrder, by: &str, now_ms: u64) -> Result<OrderId, OrderFault> {
        let committed = self.transaction(|connection| {
            if !change(connection, order, by, now_ms)? {
                return Ok(None);
            }
            connection
                .prepare_cached("INSERT INTO orders (kind, args, made, by) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![order.kind().word(), order.args(), integer(now_ms), by])?;
            Ok(Some(OrderId(natural(connection.last_insert_rowid()))))
        });
        match committed {
            Ok(id) => id.ok_or_else(|| OrderFault::too_many(order.kind())),
            Err(fault) => {
                self.recover(&fault);
                let (BatchFault::NotStored(error) | BatchFault::Unknown(error)) = &fault;
                tracing::warn!(cause = %error, "order not committed");
                Err(match fault {
                    BatchFault::NotStored(_) => OrderFault::Unavailable,
                    BatchFault::Unknown(_) => OrderFault::Unconfirmed,
                })
            }
        }
    }

    /// Deletes restrictions that have ended, and orders of more than an hour ago except the last one, some at a time. Call it about
    /// once a minute, and again while there is a rest.
    pub(super) fn sweep_orders(&mut self, now_ms: u64) -> Result<Rest, BatchFault> {
        let (now, old) = (integer(now_ms), integer(now_ms.saturating_sub(AGE_MAX_MS)));
        let swept = self.transaction(|connection| {
            let mut rest = Rest::None;
            for (sql, before) in [
                ("DELETE FROM blocks WHERE user_name IN (SELECT user_name FROM blocks WHERE until < ?1 LIMIT ?2)", now),
                (
                    "DELETE FROM revocations WHERE (kind, name) IN
                         (SELECT kind, name FROM revocations WHERE until < ?1 LIMIT ?2)",
                    now,
                ),
                (
                    "DELETE FROM orders WHERE id IN (SELECT id FROM orders
                         WHERE made < ?1 AND id < (SELECT max(id) FROM orders) ORDER BY id LIMIT ?2)",
                    old,
                ),
            ] {
                if connection.prepare_cached(sql)?.execute(params![before, SWEEP_ROWS])? >= SWEEP_ROWS as usize {
                    rest = Rest::Some;
                }
            }
            Ok(rest)
        });
        swept.inspect_err(|fault| self.recover(fault))
    }
}

/// Changes the tables of restrictions. False: there is no room for another.
fn change(connection: &Connection, order: &ClusterOrder, by: &str, now_ms: u64) -> rusqlite::Result<bool> {
    match order {
        ClusterOrder::Disconnect(_) | ClusterOrder::Erased => Ok(true),
        ClusterOrder::Block(BlockOrder { user, until_unix_ms, reason }) => {
            let until = until_unix_ms.map(integer);
            let known = "SELECT 1 FROM blocks WHERE user_name = ?1";
            let known: Option<i64> =
                connection.query_row(known, [user.as_str()], |row| row.get(0)).optional()?;
            if known.is_none() && !has_room(connection, "blocks", by)? {
                return Ok(false);
            }
            connection
                .prepare_cached(
                    "INSERT INTO blocks (user_name, until, reason, made, by) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (user_name) DO UPDATE
                         SET until = excluded.until, reason = excluded.reason, made = excluded.made",
                )?
                .execute(params![user.as_str(), until, reason, integer(now_ms), by])?;
            Ok(true)
        }
        ClusterOrder::Unblock(user) => {
            connection.prepare_cached("DELETE FROM blocks WHERE user_name = ?1")?.execute([user.as_str()])?;
            Ok(true)
        }
        ClusterOrder::Erase(user) => {
            if !user_erasures::is_begun(connection, user)? && !has_room(connection, "user_erasures", by)? {
                return Ok(false);
            }
            connection
                .prepare_cached("UPDATE blocks SET reason = '' WHERE user_name = ?1")?
                .execute([user.as_str()])?;
            user_erasures::begin(connection, user, by, now_ms)?;
            Ok(true)
        }
        ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms }) => {
            let (kind, name, before) = match tokens {
                RevokedTokens::One(jti) => (ONE_TOKEN, &**jti, None),
                RevokedTokens::IssuedBefore(user, unix_ms) => {
                    (TOKENS_OF_USER, user.as_str(), Some(integer(*unix_ms)))
                }
            };
            let known = "SELECT 1 FROM revocations WHERE kind = ?1 AND name = ?2";
            let known: Option<i64> =
                connection.query_row(known, params![kind, name], |row| row.get(0)).optional()?;
            if known.is_none() && !has_room(connection, "revocations", by)? {
                return Ok(false);
            }
            connection
                .prepare_cached(
                    "INSERT INTO revocations (kind, name, issued_before, until, by) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (kind, name) DO UPDATE SET issued_before = max(issued_before, excluded.issued_before),
                         until = max(until, excluded.until)",
                )?
                .execute(params![kind, name, before, integer(*until_unix_ms), by])?;
            Ok(true)
        }
    }
}

/// True if the table takes another row of this author, of whom it takes half as many as of all. Reads one row an author, because
/// publications wait meanwhile.
fn has_room(connection: &Connection, list: &str, by: &str) -> rusqlite::Result<bool> {
    let mut shares = connection.prepare_cached("SELECT by = ?2, count FROM shares WHERE list = ?1")?;
    let mut rows = shares.query([list, by])?;
    let (mut all, mut own) = (0, 0);
    while let Some(row) = rows.next()? {
        let count: u32 = row.get(1)?;
        all += count;
        own += if row.get(0)? { count } else { 0 };
    }
    Ok(all < RESTRICTIONS_MAX && own < RESTRICTIONS_MAX / 2)
}
