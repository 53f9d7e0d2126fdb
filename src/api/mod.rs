//! The server API: application backends publish, signal and read over HTTP (`docs/api.md`).
//!
//! It has a listener and threads of its own, one for each of few connections, which stay open. A request never touches a reactor: it
//! goes to the store's queue, of which the API may fill a part, and the thread waits for the answer. What is stored reaches clients like
//! any other publication.

mod admit;
mod commands;
mod exchange;
mod order;
mod presence;
mod publish;
mod read;
mod route;
mod serve;
mod server;
mod signal;
mod tokens;
mod users;

use crate::auth::api_meters::ApiMeters;
use crate::clock::Now;
use crate::job::callers::Callers;
use crate::job::directory::UserDirectory;
use crate::job::orders::OrderBoard;
use crate::job::places::Places;
use crate::job::registry::ClusterBoard;
use crate::job::{Mailbox, Outlook, Queues};
use crate::metrics::api::ApiCounters;
use crate::metrics::vitals::Vitals;
use crate::net::deadline::now;
use crate::net::listener;
use crate::net::seats::{Seat, Seats};
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
pub use server::ApiPolicy;
use server::{ApiServer, ApiShared};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;
pub use tokens::{BackendKeySet, TokenCheck};

/// Bytes of all bodies that are read or worked on at once.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// The wait for the ends of open bodies, which have bounds of their own.
const BODIES_END_TIMEOUT: Duration = Duration::from_secs(6);

/// The listener's parts.
pub struct Api<C> {
    pub policy: ApiPolicy,
    /// `api.connections`
    pub connections: usize,
    /// `api.in_flight`
    pub in_flight: usize,
    pub queues: Queues,
    pub callers: Arc<Callers>,
    pub mailboxes: Arc<[Mailbox]>,
    pub outlook: Arc<Outlook>,
    pub cluster: Arc<ClusterBoard>,
    pub users: UserDirectory,
    pub orders: Arc<OrderBoard>,
    /// Knows the rounds in which connections are spread.
    pub vitals: Arc<Vitals>,
    pub counters: Arc<ApiCounters>,
    pub clock: C,
}

/// A running listener.
#[derive(Clone)]
pub struct RunningApi {
    shared: Arc<ApiShared>,
    callers: Arc<Callers>,
}

impl RunningApi {
    /// Applies a changed configuration to the next request.
    pub fn revise(&self, policy: ApiPolicy) {
        self.shared.revise(policy);
    }

    /// Refuses further requests, as the process ends. Those in progress are completed. Waits for the ends of open bodies, but not for
    /// ever: their last replies say up to where each stream is stored.
    pub fn stop(&self) {
        self.shared.queues.store(None);
        self.callers.producers().wake_all();
        self.shared.open_bodies.wait_until_free(now() + BODIES_END_TIMEOUT);
    }
}

impl<C: Fn() -> Now + Send + Sync + 'static> Api<C> {
    /// Starts the thread that accepts. It ends with the process.
    pub fn start(self, socket: TcpListener) -> io::Result<RunningApi> {
        let Api {
            policy,
            connections,
            in_flight,
            queues,
            callers,
            mailboxes,
            outlook,
            cluster,
            users,
            orders,
            vitals,
            counters,
            clock,
        } = self;
        let shared = Arc::new(ApiShared {
            policy: ArcSwap::from_pointee(policy.clone()),
            queues: ArcSwapOption::from_pointee(queues),
            in_flight: Places::new(in_flight, Arc::clone(&counters.in_flight)),
            bodies: Places::new(BODIES_BYTES_MAX, Arc::clone(&counters.body_bytes)),
            meters: Mutex::new(ApiMeters::default()),
            open_bodies: Places::new((connections / 2).max(1), Arc::clone(&counters.open_bodies)),
        });
        shared.revise(policy);
        let server = Arc::new(ApiServer {
            shared: Arc::clone(&shared),
            connections: connections.max(1),
            callers: Arc::clone(&callers),
            mailboxes,
            outlook,
            cluster,
            directory: users,
            orders,
            vitals,
            counters,
            clock,
        });
        let seats = Seats::new(connections);
        let accept = move || {
            let counters = Arc::clone(&server.counters);
            let count = |turned_out| {
                counters.turned_out.fetch_add(turned_out, Ordering::Relaxed);
            };
            let serve = move |seat: &Seat, peer| server.serve(seat, peer);
            listener::accept(&socket, &seats, "api-peer", count, serve);
        };
        Builder::new().name("api".into()).spawn(accept)?;
        Ok(RunningApi { shared, callers })
    }
}
