//! Orders of this process: how they are made, learned and carried out, and which instances have done so.
//!
//! The store's thread and the bus bring orders. Each first changes the restrictions, which the auth worker reads at the check of a
//! token, and then the log, which the reactors read once a turn. Threads that wait for an order wait here; reactors never do.

use super::bus::{Bus, OrderNote};
pub use super::order_log::{LoggedOrder, ORDERS_KEPT, OrderLog, OrderReader, StoredOrder};
pub use super::order_report::{InstanceProgress, OrderReport};
use super::wake::wake;
use super::{Mailbox, instance_orders::InstanceOrders};
use crate::clock::Now;
use crate::cluster::order::ClusterOrder;
use crate::cluster::order_counts::OrderCounters;
use crate::cluster::restrictions::{Block, Restriction, Restrictions};
use crate::id::{OrderId, TokenStamp, UserName};
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::json;
use arc_swap::{ArcSwap, ArcSwapOption, Cache};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex, RwLock};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Requests that wait for the store.
const REQUESTS: usize = 64;
/// The wait for room among them.
const ROOM_TIMEOUT: Duration = Duration::from_millis(500);
/// The wait for the commit of an order, less than the time in which a backend expects its answer.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(4_500);
/// The wait for all instances to carry an order out.
const DONE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two looks at the reactors while a thread waits for them.
const GLANCE: Duration = Duration::from_millis(2);

/// A request to commit an order, and the way back.
#[derive(Debug)]
pub struct OrderRequest {
    pub order: ClusterOrder,
    /// The key or operator that gives it.
    pub by: Box<str>,
    pub reply: Sender<Result<OrderId, OrderFault>>,
}

/// The reason why an order was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderFault {
    /// As many blocks or revocations exist as may.
    TooMany,
    /// Nothing was stored.
    Unavailable,
    /// Nothing was stored, because too many orders wait.
    Overloaded,
    /// The order may or may not have been stored.
    Unconfirmed,
}

impl OrderFault {
    /// The answer to the application or operator that gave the order.
    pub fn problem(self) -> ApiProblem {
        match self {
            OrderFault::TooMany => ApiProblem::lasting(
                ProblemCode::TooMany,
                "100000 blocks, or as many revocations, exist already; remove some, or give them an until",
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
    pub fn mailboxes(&self) -> &Arc<[Mailbox]> {
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
        let now = (self.parts.clock)().at;
        let mut current = self.restrictions.write();
        *current = Restrictions::default();
        for stored in restrictions {
            if let Some(order) = &stored.order {
                current.apply(order, stored.made_unix_ms, stored.store_unix_ms, now);
            }
        }
        current.note(last);
        self.count(&current);
        let newest = orders.get(orders.len().saturating_sub(ORDERS_KEPT)..).unwrap_or_default();
        let logged = newest
            .iter()
            .filter_map(|stored| Some(Arc::new(LoggedOrder::new(stored, stored.order.clone()?, now, 0))));
        self.log.store(Arc::new(OrderLog::new(last, logged.collect())));
    }

    /// Takes orders that follow the last one, in order; earlier ones are skipped. Takes none while too many are not carried out.
    pub fn take(&self, orders: &[StoredOrder]) {
        let now = (self.parts.clock)().at;
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
            match &stored.order {
                Some(order) => {
                    restrictions.apply(order, stored.made_unix_ms, stored.store_unix_ms, now);
                    self.parts.counters.take(order.kind());
                    let reactors = self.parts.mailboxes.len();
                    taken.push(Arc::new(LoggedOrder::new(stored, order.clone(), now, reactors)));
                }
                None => tracing::warn!(order = stored.id.0, "order of a newer version ignored"),
            }
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
            bus.order(OrderNote::Made { order: Arc::clone(order), previous });
        }
    }

    /// Notes that the last reactor has carried an order out, and lets the other instances know.
    pub fn finished(&self, order: &LoggedOrder) {
        self.parts.counters.lag.fetch_sub(1, Ordering::Relaxed);
        if let Some(bus) = self.bus.load().as_deref() {
            bus.order(OrderNote::Done { id: order.id, closed: order.closed() });
        }
    }

    /// Takes the word of another instance that it has carried an order out.
    pub fn hear_done(&self, origin: u64, id: OrderId, closed: u64) {
        self.others.lock().done(origin, id, Some(closed));
        self.changed.notify_all();
    }

    /// The other instances that the store lists: process, name, last order done, and the age of the row.
    pub fn see(&self, rows: impl IntoIterator<Item = (u64, Arc<str>, OrderId, Duration)>) {
        let now = (self.parts.clock)().at;
        self.others.lock().see(rows, now);
        self.changed.notify_all();
    }

    /// Has an order committed, and waits until all instances have carried it out, or for a second.
    pub fn place(&self, order: ClusterOrder, by: &str) -> Result<OrderReport, OrderFault> {
        let (reply, committed) = bounded(1);
        let request = OrderRequest { order, by: by.into(), reply };
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
            if report.is_complete() || Instant::now() >= deadline {
                return Some(report);
            }
            // Reactors finish without a notification, because they hold no locks.
            self.changed.wait_for(&mut self.others.lock(), GLANCE);
        }
    }

    /// The progress of an order; `None` if it is not known, or too old.
    pub fn report(&self, id: OrderId) -> Option<OrderReport> {
        let order = Arc::clone(self.log.load().find(id)?);
        let now = (self.parts.clock)().at;
        let own = InstanceProgress {
            name: Arc::clone(&self.parts.instance),
            done: order.is_done(),
            closed: order.is_done().then(|| order.closed()),
        };
        let others = self.others.lock().reports(id, now);
        Some(OrderReport { order, instances: std::iter::once(own).chain(others).collect() })
    }

    fn count(&self, restrictions: &Restrictions) {
        let (blocks, revocations) = restrictions.counts();
        self.parts.counters.blocks.store(blocks as u64, Ordering::Relaxed);
        self.parts.counters.revocations.store(revocations as u64, Ordering::Relaxed);
    }
}
