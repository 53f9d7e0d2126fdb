//! Orders of this process: how they are made, learned and carried out, and which instances have done so.
//!
//! The store's thread and the bus bring orders. Each first changes the restrictions, which the auth worker reads at the check of a
//! token, and then the log, which the reactors read once a turn. Threads that wait for an order wait here; reactors never do.

use super::bus::{Bus, InstanceNote};
pub use super::order_gap::{OrderGap, end_by};
pub use super::order_log::{LoggedOrder, ORDERS_KEPT, OrderLog, OrderReader, StoredOrder};
pub use super::order_report::{InstanceProgress, OrderReport};
pub use super::order_request::{OrderFault, OrderRequest};
use super::wake::wake;
use super::{Mailbox, instance_orders::InstanceOrders};
use crate::clock::{Moment, Now};
use crate::cluster::order::ClusterOrder;
use crate::cluster::order_counts::OrderCounters;
use crate::cluster::restrictions::{Block, Restriction, Restrictions};
use crate::id::{OrderId, TokenStamp, UserName};
use crate::wire::json;
use arc_swap::{ArcSwap, ArcSwapOption, Cache};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex, RwLock};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Requests that wait for the store.
const REQUESTS: usize = 64;
/// The wait for room among them.
const ROOM_TIMEOUT: Duration = Duration::from_millis(500);
/// The wait for the commit of an order, less than the time in which a backend expects its answer.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(4_500);
/// A commit begins within this time or not at all: an order that its requester takes for failed would surprise a user who has
/// signed in again since. It leaves time for the commit itself.
const BEGIN_TIMEOUT: Duration = Duration::from_millis(3_500);
/// The wait for all instances to carry an order out.
const DONE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two looks at the reactors while a thread waits for them.
const GLANCE: Duration = Duration::from_millis(2);

/// The source of the time, the same as the reactors'.
pub type BoardClock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The parts of a process that orders concern.
pub struct OrderParts {
    /// The name of this instance.
    pub instance: Arc<str>,
    pub mailboxes: Arc<[Mailbox]>,
    /// The way to the other instances; `None` if there is no bus.
    pub bus: Option<Bus>,
    pub counters: Arc<OrderCounters>,
    pub clock: BoardClock,
}

/// The orders of this process.
pub struct OrderBoard {
    parts: OrderParts,
    /// Of the parts, until the process ends.
    bus: ArcSwapOption<Bus>,
    log: Arc<ArcSwap<OrderLog>>,
    /// Locked for writing while orders are taken, so that they are taken one after the other.
    restrictions: RwLock<Restrictions>,
    others: Mutex<InstanceOrders>,
    /// Notified when another instance has done an order.
    changed: Condvar,
    requests: Sender<OrderRequest>,
    /// Set when an order was heard of that does not follow the last one.
    behind: AtomicBool,
    /// The beginning of the last reading of the store that gave all orders: a [`Moment`] in microseconds.
    read: AtomicU64,
}

impl fmt::Debug for OrderBoard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OrderBoard").finish_non_exhaustive()
    }
}

impl OrderBoard {
    /// A board without orders, and the requests for its store.
    pub fn new(mut parts: OrderParts) -> (Arc<OrderBoard>, Receiver<OrderRequest>) {
        let (requests, inbox) = bounded(REQUESTS);
        let bus = ArcSwapOption::from_pointee(parts.bus.take());
        let board = OrderBoard {
            parts,
            bus,
            log: Arc::default(),
            restrictions: RwLock::default(),
            others: Mutex::default(),
            changed: Condvar::new(),
            requests,
            behind: AtomicBool::new(false),
            read: AtomicU64::new(0),
        };
        (Arc::new(board), inbox)
    }

    /// A board for a store or a reactor that nothing else uses.
    pub fn alone(mailboxes: Arc<[Mailbox]>) -> (Arc<OrderBoard>, Receiver<OrderRequest>) {
        OrderBoard::new(OrderParts {
            instance: Arc::from("alone"),
            mailboxes,
            bus: None,
            counters: Arc::default(),
            clock: Arc::new(Now::default),
        })
    }

    /// Gives up the way to the other instances: the thread that sends ends when all have.
    pub fn leave_bus(&self) {
        self.bus.store(None);
    }

    /// The way to each reactor.
    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.parts.mailboxes
    }

    /// A reader of the log for one reactor.
    pub fn reader(&self) -> OrderReader {
        Cache::new(Arc::clone(&self.log))
    }

    /// The newest orders.
    pub fn log(&self) -> Arc<OrderLog> {
        self.log.load_full()
    }

    /// The reason to refuse a token, and the last order that was considered; `None` until the store has been read.
    pub fn judge(&self, user: &UserName, stamp: TokenStamp) -> Option<(OrderId, Option<Restriction>)> {
        let now = (self.parts.clock)().at;
        let restrictions = self.restrictions.read();
        restrictions.as_of().map(|as_of| (as_of, restrictions.refuse(user, stamp, now)))
    }

    fn block_of(&self, user: &UserName) -> Option<Block> {
        let now = (self.parts.clock)().at;
        self.restrictions.read().block_of(user, now).cloned()
    }

    /// True if the user is blocked now.
    pub fn is_blocked(&self, user: &UserName) -> bool {
        self.block_of(user).is_some()
    }

    /// The block of a user as JSON, for applications and operators.
    pub fn describe_block(&self, user: &UserName) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        json::object(&mut out, |out| {
            json::text(out, "user", user.as_str());
            let block = self.block_of(user);
            json::truth(out, "blocked", block.is_some());
            if let Some(block) = block {
                if let Some(until) = block.order.until_unix_ms {
                    json::integer(out, "until", until);
                }
                json::text(out, "reason", &block.order.reason);
                json::integer(out, "made", block.made_unix_ms);
            }
        });
        out.push(b'\n');
        out
    }

    /// True once the store has been read.
    pub fn is_read(&self) -> bool {
        self.restrictions.read().as_of().is_some()
    }

    /// Takes what the store holds at the start: restrictions, as orders, and the orders of the last hour, which earlier processes
    /// carried out. `last` is the last order of the store.
    pub fn begin(&self, restrictions: &[StoredOrder], orders: &[StoredOrder], last: OrderId) {
        let now = self.now();
        let mut current = self.restrictions.write();
        *current = Restrictions::of(restrictions.iter().filter_map(known_order), last, now);
        self.count(&current);
        let newest = orders.get(orders.len().saturating_sub(ORDERS_KEPT)..).unwrap_or_default();
        let logged = newest.iter().filter_map(|stored| {
            let made = now - stored.age();
            Some(Arc::new(LoggedOrder::new(stored, stored.order.clone()?, made, 0)))
        });
        self.log.store(Arc::new(OrderLog::new(last, logged.collect())));
    }

    /// Takes what the store holds when orders may be missing: it is read for the first time while reactors run already, or orders
    /// after the last known one have been deleted. The reactors carry out the orders that exist, and compare all sessions with
    /// the restrictions. Of more than [`ORDERS_KEPT`] orders only the newest are carried out.
    pub fn catch_up(&self, restrictions: &[StoredOrder], orders: &[StoredOrder], last: OrderId) {
        let now = self.now();
        let mut current = self.restrictions.write();
        let log = self.log.load_full();
        if current.as_of().is_some_and(|as_of| as_of >= last) {
            return;
        }
        let missed = orders.get(orders.partition_point(|order| order.id <= log.last)..).unwrap_or_default();
        let room = ORDERS_KEPT.saturating_sub(log.undone());
        let newest = missed.get(missed.len().saturating_sub(room)..).unwrap_or_default();
        let taken: Vec<_> = newest.iter().filter_map(|stored| self.logged(stored, now)).collect();
        *current = Restrictions::of(restrictions.iter().filter_map(known_order), last, now);
        self.count(&current);
        if log.last < last {
            tracing::info!(after = log.last.0, last = last.0, carried_out = taken.len(), "orders caught up");
            let gap = OrderGap::new(log.done(), last, current.clone(), self.parts.mailboxes.len());
            self.log.store(Arc::new(log.after_gap(gap, taken)));
        }
        drop(current);
        self.parts.mailboxes.iter().for_each(wake);
    }

    /// An order to be carried out, unless this version does not know its kind. It was made after the last reading of the store
    /// that lacked it began: its age alone would be too large after this machine was suspended, because monotonic clocks may
    /// not run meanwhile.
    fn logged(&self, stored: &StoredOrder, now: Moment) -> Option<Arc<LoggedOrder>> {
        let Some(order) = &stored.order else {
            tracing::warn!(order = stored.id.0, "order of a newer version ignored");
            return None;
        };
        self.parts.counters.take(order.kind());
        let made = (now - stored.age()).max(Moment::from_micros(self.read.load(Ordering::Relaxed)));
        let reactors = self.parts.mailboxes.len();
        Some(Arc::new(LoggedOrder::new(stored, order.clone(), made, reactors)))
    }

    /// The time by which orders are measured.
    pub fn now(&self) -> Moment {
        (self.parts.clock)().at
    }

    /// Notes that all orders are taken that the store held when a reading began at `asked`.
    pub fn note_read(&self, asked: Moment) {
        self.read.fetch_max(asked.micros(), Ordering::Relaxed);
    }

    /// Takes orders that follow the last one, in order; earlier ones are skipped. Takes none while too many are not carried out.
    pub fn take(&self, orders: &[StoredOrder]) {
        let now = self.now();
        let mut restrictions = self.restrictions.write();
        let Some(mut last) = restrictions.as_of() else { return };
        let log = self.log.load_full();
        let mut room = ORDERS_KEPT.saturating_sub(log.undone());
        let mut taken = Vec::new();
        let known = last;
        for stored in orders.iter().filter(|stored| stored.id > known) {
            if room == 0 {
                self.behind.store(true, Ordering::Relaxed);
                break;
            }
            room -= 1;
            last = stored.id;
            if let Some((order, made_unix_ms, store_unix_ms)) = known_order(stored) {
                restrictions.apply(order, made_unix_ms, store_unix_ms, now);
            }
            taken.extend(self.logged(stored, now));
        }
        if last == known {
            return;
        }
        restrictions.note(last);
        self.count(&restrictions);
        // While the restrictions are locked: the next order must find this log.
        self.log.store(Arc::new(log.with(last, taken)));
        drop(restrictions);
        self.parts.mailboxes.iter().for_each(wake);
    }

    /// Takes an order of the bus, if it follows the last one. Otherwise the store is asked soon.
    pub fn hear(&self, order: StoredOrder, previous: OrderId) {
        let last = self.log.load().last;
        if previous == last {
            self.take(&[order]);
        } else if order.id > last {
            self.behind.store(true, Ordering::Relaxed);
        }
    }

    /// True once after an order was heard of that is not known.
    pub fn take_behind(&self) -> bool {
        self.behind.swap(false, Ordering::Relaxed)
    }

    /// Forgets the restrictions that have ended. Call it about once a minute.
    pub fn sweep(&self) {
        let now = (self.parts.clock)().at;
        let mut restrictions = self.restrictions.write();
        restrictions.sweep(now);
        self.count(&restrictions);
    }

    /// Announces an order of this instance to the others.
    pub fn announce(&self, id: OrderId, previous: OrderId) {
        if let (Some(bus), Some(order)) = (self.bus.load().as_deref(), self.log.load().find(id)) {
            bus.note(InstanceNote::Made { order: Arc::clone(order), previous });
        }
    }

    /// Notes that the last reactor has carried an order out, and lets the other instances know.
    pub fn finished(&self, order: &LoggedOrder) {
        self.parts.counters.lag.fetch_sub(1, Ordering::Relaxed);
        if let Some(bus) = self.bus.load().as_deref() {
            bus.note(InstanceNote::Done { id: order.id, closed: order.closed() });
        }
    }

    /// Takes the word of another instance that it has carried an order out.
    pub fn hear_done(&self, origin: u64, id: OrderId, closed: u64) {
        self.others.lock().done(origin, id, Some(closed));
        self.changed.notify_all();
    }

    /// The other instances that the store lists: process, name, last order done, and the age of the row. `as_of` is the newest
    /// order that was known when the reading began.
    pub fn see(&self, rows: impl IntoIterator<Item = (u64, Arc<str>, OrderId, Duration)>, as_of: OrderId) {
        self.others.lock().see(rows, as_of);
        self.changed.notify_all();
    }

    /// Notes that the store belongs to this process alone.
    pub fn see_no_others(&self) {
        self.see([], OrderId(u64::MAX));
    }

    /// Has an order committed, and waits until all instances have carried it out, or for a second.
    #[allow(clippy::disallowed_methods, reason = "threads that wait own the time of their waits")]
    pub fn place(&self, order: ClusterOrder, by: &str) -> Result<OrderReport, OrderFault> {
        let (reply, committed) = bounded(1);
        let request = OrderRequest { order, by: by.into(), deadline: Instant::now() + BEGIN_TIMEOUT, reply };
        self.requests.send_timeout(request, ROOM_TIMEOUT).map_err(|_| OrderFault::Overloaded)?;
        let id = committed.recv_timeout(COMMIT_TIMEOUT).map_err(|_| OrderFault::Unconfirmed)??;
        self.wait(id).ok_or(OrderFault::Unconfirmed)
    }

    /// Waits until all instances have carried an order out, or for a second.
    #[allow(clippy::disallowed_methods, reason = "threads that wait own the time of their waits")]
    fn wait(&self, id: OrderId) -> Option<OrderReport> {
        let deadline = Instant::now() + DONE_TIMEOUT;
        loop {
            let report = self.report(id)?;
            if !report.is_awaited() || Instant::now() >= deadline {
                return Some(report);
            }
            // Reactors finish without a notification, because they hold no locks.
            self.changed.wait_for(&mut self.others.lock(), GLANCE);
        }
    }

    /// The progress of an order; `None` if it is not known, or too old.
    pub fn report(&self, id: OrderId) -> Option<OrderReport> {
        let order = Arc::clone(self.log.load().find(id)?);
        let done = order.is_done();
        let own = InstanceProgress {
            name: Arc::clone(&self.parts.instance),
            done,
            closed: order.closed_in_all(),
            is_awaited: !done,
        };
        let (others, listing) = {
            let others = self.others.lock();
            (others.reports(id), others.listing(id))
        };
        Some(OrderReport { order, instances: std::iter::once(own).chain(others).collect(), listing })
    }

    fn count(&self, restrictions: &Restrictions) {
        let (blocks, revocations) = restrictions.counts();
        self.parts.counters.blocks.store(blocks as u64, Ordering::Relaxed);
        self.parts.counters.revocations.store(revocations as u64, Ordering::Relaxed);
    }
}

/// The order, when it was made, and when it was read, if this version knows its kind.
fn known_order(stored: &StoredOrder) -> Option<(&ClusterOrder, u64, u64)> {
    stored.order.as_ref().map(|order| (order, stored.made_unix_ms, stored.store_unix_ms))
}

#[cfg(test)]
mod tests;
