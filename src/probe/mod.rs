//! Probes of dependencies: one [`Probe`] each, on a thread that may wait.
//!
//! **The deadline.** [`Probe::look`] returns by its timeout, whatever the other side does: all bytes go through
//! [`line`](crate::net::line), where each wait is bounded by what is left of the whole look, and names resolve on a thread of
//! their own. A look leaves no thread behind, with one exception: a silent name server costs one thread per probe, see
//! [`resolve`](crate::net::resolve).
//!
//! **The cost.** On a kept connection: PostgreSQL three round trips, Redis two, HTTP one. Every [`LOOKS_PER_CONNECTION`]th look
//! opens a new connection, so that a server that accepts no connections is detected within that many intervals, while a hundred
//! instances that look every two seconds together open only five connections per second. A failed look always closes its
//! connection. A kept connection that was reset or closed between two looks is no fault: the look tries once more on a new one,
//! and that result counts.
//!
//! **Source address.** The drivers `postgres` and `redis` cannot bind one; as codecs over [`line`](crate::net::line) they need
//! not.

mod age;
mod auth;
mod clickhouse;
pub mod doctor;
mod http;
mod postgres;
mod redis;
pub mod table;
mod tcp;

use self::age::Age;
use crate::health::advice::look_at;
use crate::health::finding::{Fault, Finding};
use crate::job::delivery::Monitor;
use crate::job::probing::Probing;
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::http_client::HttpClient;
use crate::net::target::{Target, TargetService};
use crate::net::trouble::Trouble;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of looks per connection.
pub const LOOKS_PER_CONNECTION: u32 = 10;

/// Probes one dependency. It belongs to one thread.
#[derive(Debug)]
pub struct Probe {
    target: Target,
    instance: String,
    dialer: Arc<Mutex<Dialer>>,
    looks: u32,
    kept: KeptConnection,
    delivery: Option<Arc<Monitor>>,
}

/// The connection kept from one look to the next.
#[derive(Debug)]
enum KeptConnection {
    Nothing,
    Postgres(Box<postgres::PostgresSession>),
    Redis(Box<redis::RedisSession>),
    Http(HttpClient),
}

impl Probe {
    /// `instance` names this process: a look writes under that name. Nothing is opened yet.
    pub fn new(target: Target, instance: &str) -> Probe {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.:-".contains(c) { c } else { '_' };
        let dialer = target.dialer();
        Probe {
            target,
            delivery: None,
            instance: instance.chars().map(plain).collect(),
            dialer: Arc::new(Mutex::new(dialer)),
            looks: 0,
            kept: KeptConnection::Nothing,
        }
    }

    /// Makes it the bus: in addition to answering, it must deliver.
    pub fn with_delivery(mut self, monitor: Arc<Monitor>) -> Probe {
        self.delivery = Some(monitor);
        self
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Closes the kept connection, so that the next look opens one.
    pub fn forget(&mut self) {
        self.kept = KeptConnection::Nothing;
    }

    /// Looks once, and returns by `timeout` (measured to add less than 100 ms).
    pub fn look(&mut self, timeout: Duration) -> Finding {
        let started = now();
        let kind = self.target.kind();
        let answers = self.look_until(started + timeout).map_err(|trouble| {
            let look_at = look_at(kind, trouble.fault);
            trouble.into_cause(look_at, self.target.secrets())
        });
        let latency = now().saturating_duration_since(started);
        let result = match (&self.delivery, answers) {
            (Some(monitor), Ok(warning)) => monitor.verdict().map(|()| warning),
            (Some(monitor), Err(cause)) => {
                monitor.refuted();
                Err(cause)
            }
            (None, answers) => answers,
        };
        Finding { latency, result }
    }

    fn look_until(&mut self, deadline: Instant) -> Result<Option<String>, Trouble> {
        let mut before = KeptConnection::Nothing;
        if self.looks.is_multiple_of(LOOKS_PER_CONNECTION) {
            std::mem::swap(&mut before, &mut self.kept);
        }
        self.looks = self.looks.wrapping_add(1);
        let age = if matches!(self.kept, KeptConnection::Nothing) { Age::New } else { Age::Kept };
        match (self.look_once(deadline), age) {
            (Err(Trouble { fault: Fault::Reset | Fault::NotReady, .. }), Age::Kept) => {
                self.look_once(deadline)
            }
            // Other clients hold all other connections: the kept one goes on, and this look uses it.
            (Err(Trouble { fault: Fault::ConnectionLimit, text }), Age::New)
                if !matches!(before, KeptConnection::Nothing) =>
            {
                self.kept = before;
                let warning = self.look_once(deadline)?;
                let both = [Some(format!("no further connection is taken: {text}")), warning];
                Ok(Some(both.into_iter().flatten().collect::<Vec<_>>().join("; ")))
            }
            (result, _) => result,
        }
    }

    /// The connection is kept only after success.
    fn look_once(&mut self, deadline: Instant) -> Result<Option<String>, Trouble> {
        let kept = std::mem::replace(&mut self.kept, KeptConnection::Nothing);
        let (warning, kept) = match &self.target.service {
            TargetService::Postgres(target) => {
                let dialer = &mut self.dialer.lock();
                let kept = if let KeptConnection::Postgres(session) = kept { Some(session) } else { None };
                let (warning, session) = postgres::look(dialer, target, &self.instance, kept, deadline)?;
                (warning, KeptConnection::Postgres(session))
            }
            TargetService::Redis(target) => {
                let dialer = &mut self.dialer.lock();
                let kept = if let KeptConnection::Redis(session) = kept { Some(session) } else { None };
                let (warning, session) = redis::look(dialer, target, &self.instance, kept, deadline)?;
                (warning, KeptConnection::Redis(session))
            }
            TargetService::Http(target) => {
                let browser = self.browser(kept);
                (http::look(&browser, target, deadline)?, KeptConnection::Http(browser))
            }
            TargetService::Auth(target) => {
                let browser = self.browser(kept);
                (auth::look(&browser, target, deadline)?, KeptConnection::Http(browser))
            }
            TargetService::Clickhouse(target) => {
                let browser = self.browser(kept);
                (clickhouse::look(&browser, target, deadline)?, KeptConnection::Http(browser))
            }
            TargetService::Tcp { peer, tls } => {
                tcp::look(&mut self.dialer.lock(), peer, tls.as_deref(), deadline)?;
                (None, KeptConnection::Nothing)
            }
        };
        self.kept = kept;
        Ok(warning)
    }

    fn browser(&self, kept: KeptConnection) -> HttpClient {
        if let KeptConnection::Http(browser) = kept { browser } else { HttpClient::new(self.dialer.clone()) }
    }
}

impl Probing for Probe {
    fn look(&mut self, timeout: Duration) -> Finding {
        Probe::look(self, timeout)
    }

    fn forget(&mut self) {
        Probe::forget(self);
    }
}
