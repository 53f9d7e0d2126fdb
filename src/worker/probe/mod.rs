//! What looks at dependencies: one [`Probe`] each, on a thread that may wait.
//!
//! **The deadline.** [`Probe::look`] returns by its timeout, whatever the other side does: all bytes go through [`line`](super::line), where
//! each wait is bounded by what is left of the whole look, and names resolve on a thread of their own. No look leaves a thread
//! behind, so none needs to be abandoned; the one exception is a name server that is silent (one thread a probe, see [`resolve`](super::line::resolve)).
//!
//! **What it costs.** A kept connection: PostgreSQL three round trips, Redis two, HTTP one. Every [`LOOKS_PER_CONNECTION`]th look
//! opens its connection anew, so that "cannot connect any more" is seen within that many intervals while a hundred instances,
//! looking every two seconds, open five connections a second together. A failed look always ends its connection. A kept connection
//! that was reset or sent away between two looks is no fault: the same look tries once on a new one, and its result counts.
//!
//! **Source address.** The drivers `postgres` and `redis` cannot bind one; as codecs over [`line`](super::line) they need not.

pub(in crate::worker) mod advice;
mod clickhouse;
pub mod doctor;
mod http;
mod postgres;
mod redis;
pub mod table;
pub mod target;
mod tcp;

use self::http::Browser;
use self::target::{Service, Target};
use crate::health::finding::{Fault, Finding};
use crate::worker::bus::Monitor;
use crate::worker::line::trouble::Trouble;
use crate::worker::line::{Dialer, Peer, now};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Looks before a connection is opened anew.
pub const LOOKS_PER_CONNECTION: u32 = 10;

/// Looks at one dependency. It belongs to one thread.
#[derive(Debug)]
pub struct Probe {
    target: Target,
    instance: String,
    dialer: Arc<Mutex<Dialer>>,
    looks: u32,
    kept: Kept,
    delivery: Option<Arc<Monitor>>,
}

/// What is kept from one look to the next.
#[derive(Debug)]
enum Kept {
    Nothing,
    Postgres(Box<postgres::Session>),
    Redis(Box<redis::Session>),
    Http(Browser),
}

/// Of a look's connection: a kept one may have been reset while nobody looked.
#[derive(Clone, Copy, Debug)]
enum Age {
    Kept,
    New,
}

impl Probe {
    /// `instance` names this process: what is written for a look is written under it. Nothing is opened yet.
    pub fn new(target: Target, instance: &str) -> Probe {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.:-".contains(c) { c } else { '_' };
        let dialer = target.dialer();
        Probe {
            target,
            delivery: None,
            instance: instance.chars().map(plain).collect(),
            dialer: Arc::new(Mutex::new(dialer)),
            looks: 0,
            kept: Kept::Nothing,
        }
    }

    /// It is a bus: beside answering it must deliver.
    pub fn with_delivery(mut self, monitor: Arc<Monitor>) -> Probe {
        self.delivery = Some(monitor);
        self
    }

    /// What is looked at.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Ends the kept connection: the next look opens one.
    pub fn forget(&mut self) {
        self.kept = Kept::Nothing;
    }

    /// Looks once, and returns by `timeout` (measured to add less than 100 ms).
    pub fn look(&mut self, timeout: Duration) -> Finding {
        let started = now();
        let kind = self.target.kind();
        let answers = self.look_until(started + timeout).map_err(|trouble| {
            let look_at = advice::look_at(kind, trouble.fault);
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
        if self.looks.is_multiple_of(LOOKS_PER_CONNECTION) {
            self.kept = Kept::Nothing;
        }
        self.looks = self.looks.wrapping_add(1);
        let age = if matches!(self.kept, Kept::Nothing) { Age::New } else { Age::Kept };
        match (self.look_once(deadline), age) {
            (Err(Trouble { fault: Fault::Reset | Fault::NotReady, .. }), Age::Kept) => {
                self.look_once(deadline)
            }
            (result, _) => result,
        }
    }

    /// What was kept is put back only after success.
    fn look_once(&mut self, deadline: Instant) -> Result<Option<String>, Trouble> {
        let kept = std::mem::replace(&mut self.kept, Kept::Nothing);
        let (warning, kept) = match &self.target.service {
            Service::Postgres(target) => {
                let dialer = &mut self.dialer.lock();
                let kept = if let Kept::Postgres(session) = kept { Some(session) } else { None };
                let (warning, session) = postgres::look(dialer, target, &self.instance, kept, deadline)?;
                (warning, Kept::Postgres(session))
            }
            Service::Redis(target) => {
                let dialer = &mut self.dialer.lock();
                let kept = if let Kept::Redis(session) = kept { Some(session) } else { None };
                let (warning, session) = redis::look(dialer, target, &self.instance, kept, deadline)?;
                (warning, Kept::Redis(session))
            }
            Service::Http(target) => {
                let browser = self.browser(kept);
                (http::look(&browser, target, deadline)?, Kept::Http(browser))
            }
            Service::Clickhouse(target) => {
                let browser = self.browser(kept);
                (clickhouse::look(&browser, target, deadline)?, Kept::Http(browser))
            }
            Service::Tcp { peer, tls } => {
                tcp::look(&mut self.dialer.lock(), peer, tls.as_deref(), deadline)?;
                (None, Kept::Nothing)
            }
        };
        self.kept = kept;
        Ok(warning)
    }

    fn browser(&self, kept: Kept) -> Browser {
        if let Kept::Http(browser) = kept { browser } else { Browser::new(self.dialer.clone()) }
    }
}

/// A peer and the deadline of the look at it.
fn in_time(peer: &Peer, deadline: Instant) -> Result<(), Trouble> {
    if now() < deadline {
        return Ok(());
    }
    Err(Trouble::new(Fault::Timeout, format!("no answer from {peer} in time")))
}
