//! The auth worker: one thread that checks tokens and keeps the census of connections.
//!
//! An RSA signature takes tens of microseconds, which a reactor with thousands of sockets cannot spare,
//! and a bound that holds across reactors needs one place that counts. This thread is both. Where an auth service
//! is asked, threads of their own wait for it, and this one keeps who waits for them.

pub mod endpoint;
mod fetcher;
mod inquiry;
pub mod service;

use self::inquiry::{Inquiry, Judgement, TICK, Waiter};
use self::service::{News, Service};
use crate::auth::census::{Arrival, Census, Entry};
use crate::auth::known::Person;
use crate::auth::permission::Permissions;
use crate::auth::token::{Judged, TokenFault, Verifier};
use crate::clock::{Moment, Now};
use crate::id::UserName;
use crate::job::{AddressDenied, Admit, Completion, Counted, Denied, Identity, Mailbox, Occasion, Ticket};
use crate::metrics::auth::AuthCounters;
use crate::rate::Rate;
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Jobs handled before the reactors are rung: the first of a burst should not wait for the last.
const BATCH_MAX: usize = 64;

/// The running thread.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<()>,
    renewals: Sender<Renewal>,
}

/// What changes while the thread runs.
pub enum Renewal {
    /// Others are believed from here on. Who waits is judged by them.
    Trust(Box<Trust>, Answers),
    /// Other bounds hold from here on: of each user's connections, of each address's, and of its rate.
    Bounds(u32, u32, Option<Rate>),
}

/// What an auth service said before its settings changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// It would say the same: its keys and its answers stay in use.
    Keep,
    /// Whether it would is not known.
    Forget,
}

impl Running {
    /// A way to tell the thread of a change.
    pub fn renewals(&self) -> Sender<Renewal> {
        self.renewals.clone()
    }

    /// Waits for its end, which comes once every sender of its queue is gone. An error is a panic.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }

    /// True exactly when it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Changes that wait for the thread; they are as rare as reloads.
const RENEWALS: usize = 4;

/// Reads the process's clock.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The longest wait for news while nobody waits for a judgement.
const REST: Duration = Duration::from_secs(60);

/// Whose tokens are believed.
pub struct Trust {
    /// By keys.
    pub verifier: Verifier,
    /// And by a service that is asked, if there is one.
    pub service: Option<Service>,
}

/// Starts the thread `auth`, and those that call its service. `mailboxes` are in the order of their reactors'
/// ids. Without trust auth is off, and every token is that of `anonymous`, who may do everything.
pub fn start(
    trust: Option<Trust>,
    census: Census,
    mailboxes: Arc<[Mailbox]>,
    jobs: Receiver<Admit>,
    counters: Arc<AuthCounters>,
    clock: Clock,
) -> io::Result<Running> {
    let (inquiry, news) = match trust {
        Some(Trust { verifier, service }) => {
            let (inquiry, news) = Inquiry::start(verifier, service.as_ref(), &counters.service, &clock)?;
            (Some(inquiry), news)
        }
        None => (None, never()),
    };
    let to_ring = vec![false; mailboxes.len()];
    let (renewals, renewed) = bounded(RENEWALS);
    let mut desk = Desk { inquiry, news, census, counters, mailboxes, to_ring };
    let body = move || desk.serve(&jobs, renewed, &clock);
    let thread = std::thread::Builder::new().name("auth".into()).spawn(body)?;
    Ok(Running { thread, renewals })
}

struct Desk {
    inquiry: Option<Inquiry>,
    /// What the threads that call bring back.
    news: Receiver<News>,
    census: Census,
    counters: Arc<AuthCounters>,
    mailboxes: Arc<[Mailbox]>,
    /// Reactors that were answered and not yet woken.
    to_ring: Vec<bool>,
}

impl Desk {
    /// Takes jobs until all senders are gone, in batches: one look at the clock and one ring a reactor each.
    fn serve(&mut self, jobs: &Receiver<Admit>, mut renewed: Receiver<Renewal>, clock: &Clock) {
        loop {
            let wait = match &self.inquiry {
                Some(inquiry) if inquiry.is_waited_for() => TICK,
                Some(_) | None => REST,
            };
            select! {
                recv(jobs) -> job => {
                    let Ok(first) = job else { return };
                    let now = clock();
                    for job in std::iter::once(first).chain(jobs.try_iter().take(BATCH_MAX - 1)) {
                        self.handle(job, now);
                    }
                }
                recv(renewed) -> renewal => match renewal {
                    Ok(renewal) => self.renew(renewal, clock),
                    Err(_) => renewed = never(),
                },
                recv(self.news) -> heard => match heard {
                    Ok(heard) => self.inquire(clock(), |inquiry, now| inquiry.hear(heard, now)),
                    // The threads that call are gone: who waits is answered when their time is over.
                    Err(_) => self.news = never(),
                },
                default(wait) => {}
            }
            self.inquire(clock(), Inquiry::tick);
            self.ring();
        }
    }

    fn inquire(&mut self, now: Now, step: impl FnOnce(&mut Inquiry, Now) -> Vec<Judgement>) {
        let Some(inquiry) = &mut self.inquiry else { return };
        for judgement in step(inquiry, now) {
            self.judged(judgement);
        }
    }

    fn renew(&mut self, renewal: Renewal, clock: &Clock) {
        let (Trust { verifier, service }, answers) = match renewal {
            Renewal::Trust(trust, answers) => (*trust, answers),
            Renewal::Bounds(per_user, per_address, rate) => {
                return self.census.bound(per_user, per_address, rate);
            }
        };
        match Inquiry::start(verifier, service.as_ref(), &self.counters.service, clock) {
            Ok((mut inquiry, news)) => {
                let waiting = match self.inquiry.take() {
                    Some(before) => inquiry.succeed(before, answers),
                    None => Vec::new(),
                };
                (self.inquiry, self.news) = (Some(inquiry), news);
                let now = clock();
                for (token, waiter) in waiting {
                    self.check(token, waiter, now);
                }
            }
            Err(error) => {
                tracing::error!(%error, "no threads to ask the auth service: it is asked as before")
            }
        }
    }

    fn check(&mut self, token: Box<str>, waiter: Waiter, now: Now) {
        let judgement = match &mut self.inquiry {
            Some(inquiry) => {
                let judged = unwinding(&self.counters, || inquiry.check(&token, now));
                inquiry.judge(judged, token, waiter, now)
            }
            None => Some((waiter, Ok(everybody()))),
        };
        if let Some(judgement) = judgement {
            self.judged(judgement);
        }
    }

    fn ring(&mut self) {
        for (mailbox, ring) in self.mailboxes.iter().zip(&mut self.to_ring) {
            if std::mem::take(ring) && mailbox.ring().is_err() {
                add_one(&self.counters.rings_failed);
            }
        }
        self.counters.users.store(self.census.users() as u64, Ordering::Relaxed);
        self.counters.addresses.store(self.census.addresses() as u64, Ordering::Relaxed);
    }

    fn handle(&mut self, job: Admit, now: Now) {
        match job {
            Admit::Token { ticket, token, occasion } => {
                let waiter = Waiter::new(ticket, occasion, now.at);
                self.check(token, waiter, now);
            }
            Admit::Address { ticket, address } => {
                let outcome = self.arrive(address, now.at);
                self.answer(ticket, Completion::AddressChecked { ticket, address, outcome });
            }
            Admit::Leave { user } => self.census.leave_user(&user),
            Admit::Depart { address } => self.census.depart(address),
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Completion) {
        let reactor = usize::from(ticket.reactor.0);
        if let (Some(mailbox), Some(ring)) = (self.mailboxes.get(reactor), self.to_ring.get_mut(reactor)) {
            mailbox.answer(answer);
            *ring = true;
        }
    }

    fn judged(&mut self, (waiter, judged): Judgement) {
        let Waiter { ticket, occasion, .. } = waiter;
        let outcome = judged.and_then(|person| self.admit(person, &occasion));
        self.count(outcome.as_ref().err());
        self.answer(ticket, Completion::TokenChecked { ticket, outcome });
    }

    fn count(&self, denied: Option<&Denied>) {
        add_one(&self.counters.tokens_checked);
        match denied {
            // What nobody could judge is counted where that is found.
            None | Some(Denied::Unjudged { .. } | Denied::TooManyWaiting) => {}
            Some(Denied::Token(fault)) => self.counters.count_fault(*fault),
            Some(Denied::OtherUser) => add_one(&self.counters.other_user),
            Some(Denied::TooManyOfUser) => add_one(&self.counters.too_many_of_user),
        }
    }

    fn admit(&mut self, person: Person, occasion: &Occasion) -> Result<Identity, Denied> {
        let Person { user, permissions, expires_unix_ms } = person;
        let counted = match occasion {
            Occasion::Connect => match self.census.enter_user(&user) {
                Entry::Granted => Counted::Yes,
                Entry::TooMany => return Err(Denied::TooManyOfUser),
            },
            Occasion::Refresh(same) if *same == user => Counted::No,
            Occasion::Refresh(_) => return Err(Denied::OtherUser),
        };
        Ok(Identity { user, permissions, expires_unix_ms, counted })
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

/// A panic in a library must cost one token and not everybody's way in. What unwinds here holds no state: a
/// check only reads the keys.
fn unwinding(counters: &AuthCounters, check: impl FnOnce() -> Judged) -> Judged {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| {
        add_one(&counters.panics);
        Judged::Settled(Err(TokenFault::Malformed))
    })
}

fn everybody() -> Person {
    let permissions = Arc::new(Permissions::everything());
    Person { user: UserName::anonymous(), permissions, expires_unix_ms: None }
}

fn add_one(cell: &AtomicU64) {
    cell.fetch_add(1, Ordering::Relaxed);
}

/// Rounded up, so that who waits as told is not refused again.
fn whole_milliseconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
