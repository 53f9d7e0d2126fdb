//! Probes of dependencies: one [`Probe`] each, on a thread that may wait.
//!
//! **The deadline.** [`Probe::look`] returns by its timeout, whatever the other side does: all bytes go through
//! [`line`](crate::net::line), where each wait is bounded by what is left of the whole look, and names resolve on a thread of
//! their own. A look leaves no thread behind, with one exception: a silent name server costs one thread per probe, see
//! [`resolve`](crate::net::resolve).
//!
//! The store in PostgreSQL has a probe of its own, `store::postgres::StoreProbe`, which does what its workers do.
//!
//! **The cost.** On a kept connection: PostgreSQL three round trips, Redis three, as the bus four, HTTP one. Every [`LOOKS_PER_CONNECTION`]th look
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
mod redis_cluster;
pub mod table;
mod tcp;

use crate::health::advice::look_at;
use crate::health::finding::{Cause, Finding};
use crate::job::delivery::Monitor;
use crate::job::known_token::KnownToken;
use crate::job::probing::{KeptConnection, Probing};
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::http_client::HttpClient;
use crate::net::target::{Target, TargetService};
use crate::net::trouble::Trouble;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::job::probing::LOOKS_PER_CONNECTION;

/// Probes one dependency. It belongs to one thread.
#[derive(Debug)]
pub struct Probe {
    target: Target,
    instance: String,
    redis: redis::RedisNames,
    dialer: Arc<Mutex<Dialer>>,
    kept: KeptConnection<ProbeConnection>,
    delivery: Option<Arc<Monitor>>,
    known_token: Option<Arc<KnownToken>>,
}

/// The connection of a look.
#[derive(Debug)]
enum ProbeConnection {
    Postgres(Box<postgres::PostgresSession>),
    Redis(Box<redis_cluster::RedisSessions>),
    Http(HttpClient),
}

impl Probe {
    /// `instance` names this process: a look writes under that name. Nothing is opened yet.
    pub fn new(target: Target, instance: &str) -> Probe {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.:-".contains(c) { c } else { '_' };
        let dialer = target.dialer();
        let instance: String = instance.chars().map(plain).collect();
        Probe {
            target,
            delivery: None,
            known_token: None,
            redis: redis::RedisNames::of(&instance),
            instance,
            dialer: Arc::new(Mutex::new(dialer)),
            kept: KeptConnection::default(),
        }
    }

    /// Makes it publish where the bus with this prefix publishes, to a channel named like those of all chat channels, and write a
    /// hash where the registry has its own. Clients cannot use its name.
    pub fn with_bus(mut self, prefix: &str) -> Probe {
        self.redis = redis::RedisNames::of_bus(&self.instance, prefix);
        self
    }

    /// Makes it ask an auth service also about the last token that this service called active.
    pub fn with_known_token(mut self, token: Arc<KnownToken>) -> Probe {
        self.known_token = Some(token);
        self
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
        self.kept.forget();
    }

    /// Looks once, and returns by `timeout` (measured to add less than 100 ms).
    pub fn look(&mut self, timeout: Duration) -> Finding {
        let started = now();
        let deadline = started + timeout;
        let Probe { target, instance, redis, dialer, kept, delivery, known_token } = self;
        let known_token = known_token.as_ref().and_then(|token| token.get());
        let means = Means { target, instance, redis, known_token: known_token.as_deref() };
        let answers = kept.look(|connection| {
            look_once(&means, dialer, connection, deadline).map_err(|trouble| cause(target, trouble))
        });
        let latency = now().saturating_duration_since(started);
        let result = match (&delivery, answers) {
            (Some(monitor), Ok(warning)) => {
                monitor.whole_verdict().map(|part| part.map(|cause| cause.text).or(warning))
            }
            (Some(monitor), Err(cause)) => {
                monitor.refuted();
                Err(cause)
            }
            (None, answers) => answers,
        };
        Finding { latency, result }
    }
}

fn cause(target: &Target, trouble: Trouble) -> Cause {
    let look_at = look_at(target.kind(), trouble.fault);
    trouble.into_cause(look_at, target.secrets())
}

/// The parts of a look, apart from its connections.
struct Means<'a> {
    target: &'a Target,
    instance: &'a str,
    redis: &'a redis::RedisNames,
    known_token: Option<&'a str>,
}

fn look_once(
    means: &Means<'_>,
    dialer: &Arc<Mutex<Dialer>>,
    kept: Option<ProbeConnection>,
    deadline: Instant,
) -> Result<(Option<String>, Option<ProbeConnection>), Trouble> {
    let browser = |kept| match kept {
        Some(ProbeConnection::Http(browser)) => browser,
        Some(ProbeConnection::Postgres(_) | ProbeConnection::Redis(_)) | None => {
            HttpClient::new(Arc::clone(dialer))
        }
    };
    let of_http = |(warning, browser)| (warning, Some(ProbeConnection::Http(browser)));
    let Means { target, instance, redis: names, known_token } = *means;
    match &target.service {
        TargetService::Postgres(target) => {
            let kept = if let Some(ProbeConnection::Postgres(session)) = kept { Some(session) } else { None };
            let (warning, session) = postgres::look(&mut dialer.lock(), target, instance, kept, deadline)?;
            Ok((warning, Some(ProbeConnection::Postgres(session))))
        }
        TargetService::Redis(target) => {
            let kept = if let Some(ProbeConnection::Redis(session)) = kept { Some(session) } else { None };
            let (warning, session) = redis_cluster::look(&mut dialer.lock(), target, names, kept, deadline)?;
            Ok((warning, Some(ProbeConnection::Redis(session))))
        }
        TargetService::Http(target) => {
            let browser = browser(kept);
            http::look(&browser, target, deadline).map(|warning| of_http((warning, browser)))
        }
        TargetService::Auth(target) => {
            let browser = browser(kept);
            auth::look(&browser, target, known_token, deadline).map(|warning| of_http((warning, browser)))
        }
        TargetService::Clickhouse(target) => {
            let browser = browser(kept);
            clickhouse::look(&browser, target, deadline).map(|warning| of_http((warning, browser)))
        }
        TargetService::Tcp { peer, tls } => {
            tcp::look(&mut dialer.lock(), peer, tls.as_deref(), deadline)?;
            Ok((None, None))
        }
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
