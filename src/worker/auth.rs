//! The auth worker: one thread that checks tokens and keeps the census of connections.
//!
//! An RSA signature takes tens of microseconds, which a reactor with thousands of sockets cannot spare,
//! and a bound that holds across reactors needs one place that counts. This thread is both.

use crate::auth::census::{Arrival, Census, Entry};
use crate::auth::permission::Permissions;
use crate::auth::token::{Claims, TokenFault, Verifier};
use crate::clock::{Moment, Now};
use crate::id::UserName;
use crate::job::{AddressDenied, Admit, Completion, Counted, Denied, Identity, Mailbox, Occasion, Ticket};
use crate::metrics::auth::AuthCounters;
use crossbeam_channel::Receiver;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Jobs handled before the reactors are rung: the first of a burst should not wait for the last.
const BATCH_MAX: usize = 64;

/// The running thread.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<()>,
}

impl Running {
    /// Waits for its end, which comes once every sender of its queue is gone. An error is a panic.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }

    /// True exactly when it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts the thread `auth`. `mailboxes` are in the order of their reactors' ids. Without a verifier auth
/// is off, and every token is that of `anonymous`, who may do everything.
pub fn start(
    verifier: Option<Verifier>,
    census: Census,
    mailboxes: Arc<[Mailbox]>,
    jobs: Receiver<Admit>,
    counters: Arc<AuthCounters>,
) -> io::Result<Running> {
    let mut desk = Desk { verifier, census, counters };
    let body = move || desk.serve(&mailboxes, &jobs);
    let thread = std::thread::Builder::new().name("auth".into()).spawn(body)?;
    Ok(Running { thread })
}

struct Desk {
    verifier: Option<Verifier>,
    census: Census,
    counters: Arc<AuthCounters>,
}

impl Desk {
    /// Takes jobs until all senders are gone, in batches: one look at the clock and one ring a reactor each.
    fn serve(&mut self, mailboxes: &[Mailbox], jobs: &Receiver<Admit>) {
        let clock = Clock::start();
        let mut to_ring = vec![false; mailboxes.len()];
        while let Ok(first) = jobs.recv() {
            let now = clock.read();
            for job in std::iter::once(first).chain(jobs.try_iter().take(BATCH_MAX - 1)) {
                let Some((ticket, answer)) = self.handle(job, now) else { continue };
                let reactor = usize::from(ticket.reactor.0);
                if let (Some(mailbox), Some(ring)) = (mailboxes.get(reactor), to_ring.get_mut(reactor)) {
                    mailbox.answer(answer);
                    *ring = true;
                }
            }
            for (mailbox, ring) in mailboxes.iter().zip(&mut to_ring) {
                if std::mem::take(ring) && mailbox.ring().is_err() {
                    add_one(&self.counters.rings_failed);
                }
            }
            self.counters.users.store(self.census.users() as u64, Ordering::Relaxed);
            self.counters.addresses.store(self.census.addresses() as u64, Ordering::Relaxed);
        }
    }

    fn handle(&mut self, job: Admit, now: Now) -> Option<(Ticket, Completion)> {
        match job {
            Admit::Token { ticket, token, occasion } => {
                let outcome = self.admit(&token, &occasion, now.unix_ms);
                self.count(outcome.as_ref().err());
                Some((ticket, Completion::TokenChecked { ticket, outcome }))
            }
            Admit::Address { ticket, address } => {
                let outcome = self.arrive(address, now.at);
                Some((ticket, Completion::AddressChecked { ticket, address, outcome }))
            }
            Admit::Leave { user } => {
                self.census.leave_user(&user);
                None
            }
            Admit::Depart { address } => {
                self.census.depart(address);
                None
            }
        }
    }

    fn count(&self, denied: Option<&Denied>) {
        add_one(&self.counters.tokens_checked);
        match denied {
            None => {}
            Some(Denied::Token(fault)) => self.counters.count_fault(*fault),
            Some(Denied::OtherUser) => add_one(&self.counters.other_user),
            Some(Denied::TooManyOfUser) => add_one(&self.counters.too_many_of_user),
        }
    }

    fn admit(&mut self, token: &str, occasion: &Occasion, now_unix_ms: u64) -> Result<Identity, Denied> {
        let claims = match &self.verifier {
            Some(verifier) => self.unwinding(|| verifier.verify(token, now_unix_ms)),
            None => Ok(everybody()),
        };
        let Claims { user, permissions, expires_unix_ms } = claims.map_err(Denied::Token)?;
        let counted = match occasion {
            Occasion::Connect => match self.census.enter_user(&user) {
                Entry::Granted => Counted::Yes,
                Entry::TooMany => return Err(Denied::TooManyOfUser),
            },
            Occasion::Refresh(same) if *same == user => Counted::No,
            Occasion::Refresh(_) => return Err(Denied::OtherUser),
        };
        Ok(Identity { user, permissions: Arc::new(permissions), expires_unix_ms, counted })
    }

    /// A panic in a library must cost one token and not everybody's way in. What unwinds here holds no
    /// state: a check only reads the keys.
    fn unwinding(&self, check: impl FnOnce() -> Result<Claims, TokenFault>) -> Result<Claims, TokenFault> {
        catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| {
            add_one(&self.counters.panics);
            Err(TokenFault::Malformed)
        })
    }

    fn arrive(&mut self, address: IpAddr, now: Moment) -> Result<(), AddressDenied> {
        add_one(&self.counters.addresses_checked);
        match self.census.arrive(address, now) {
            Arrival::Granted => Ok(()),
            Arrival::TooMany => {
                add_one(&self.counters.addresses_too_many);
                Err(AddressDenied::TooMany)
            }
            Arrival::TooFast(wait) => {
                add_one(&self.counters.addresses_too_fast);
                Err(AddressDenied::TooFast { retry_ms: whole_milliseconds(wait) })
            }
        }
    }
}

fn everybody() -> Claims {
    let permissions = Permissions::everything();
    Claims { user: UserName::anonymous(), permissions, expires_unix_ms: None }
}

fn add_one(cell: &AtomicU64) {
    cell.fetch_add(1, Ordering::Relaxed);
}

/// Rounded up, so that who waits as told is not refused again.
fn whole_milliseconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// The worker's own clock. Its moments start at an origin of their own and never leave this thread.
struct Clock {
    origin: Instant,
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "a worker reads the clock and passes `now` down")]
    fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    #[allow(clippy::disallowed_methods, reason = "a worker reads the clock and passes `now` down")]
    fn read(&self) -> Now {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            at: Moment::ZERO + self.origin.elapsed(),
            unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests;
