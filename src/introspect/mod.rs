//! The auth worker: checks tokens, counts connections, asks an introspection service and fetches key sets.
//!
//! An RSA signature takes tens of microseconds, which a reactor with thousands of sockets cannot spare, and a bound across
//! reactors needs one place that counts. The thread `auth` does both. If an auth service is used, threads of its own wait for
//! it, and `auth` keeps the connections that wait for them.

mod fetcher;
mod identities;
mod judge;
mod report;
pub mod service;
mod user_reports;

use self::identities::anonymous;
use self::judge::{Asker, TokenJudge, Verdict};
pub use self::service::Clock;
use self::service::{AuthService, ServiceNews};
use self::user_reports::UserReports;
use crate::auth::canary_pass::CanaryPass;
use crate::auth::census::{AddressDecision, Census, UserDecision};
use crate::auth::check_queue::CheckQueue;
pub use crate::auth::inquiry::EarlierAnswers;
use crate::auth::inquiry::{TICK, Waiter};
use crate::auth::known::Person;
use crate::auth::party::Party;
use crate::auth::token::{Judged, TokenFault, Verifier};
use crate::auth::token_trace::TokenTrace;
use crate::auth::trust::{TokenOrigin, TokenSource, TrustEdition};
use crate::clock::{Moment, Now};
use crate::cluster::own_users::UserCount;
use crate::cluster::restrictions::Restriction;
use crate::id::{OrderId, TokenStamp, UserName};
use crate::job::issuer_keys::IssuerKeys;
use crate::job::orders::OrderBoard;
use crate::job::registry::RegistrySender;
use crate::job::users::{OwnLookup, unix_s};
use crate::job::{AddressDenied, AuthJob, Completion, Counted, Denied, Identity, Mailbox, Occasion, Ticket};
use crate::limits::AUTH_QUEUE;
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

/// Tokens checked before the reactors are woken and new jobs are taken: the first of a burst should not wait for the last.
const CHECKS_MAX: usize = 16;
/// Jobs taken at once. Taking a check only queues it.
const JOBS_MAX: usize = AUTH_QUEUE;

#[derive(Debug)]
pub struct RunningAuth {
    thread: JoinHandle<()>,
    renewals: Sender<AuthRenewal>,
}

/// A change while the thread runs.
pub enum AuthRenewal {
    /// Replaces the keys and the service. Waiting tokens are judged by the new ones.
    Trust(Box<TokenTrust>, EarlierAnswers),
    /// Changes the bounds: connections per user, connections per address, and the rate of an address.
    Bounds(u32, u32, Option<Rate>),
}

impl RunningAuth {
    /// A sender of changes.
    pub fn renewals(&self) -> Sender<AuthRenewal> {
        self.renewals.clone()
    }

    /// Waits for its end, which comes once every sender of its queue is gone. An error is a panic.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Changes that may wait for the thread; they are as rare as reloads.
const RENEWALS: usize = 4;

/// The longest wait while no connection waits for a judgement.
const REST: Duration = Duration::from_secs(60);

/// The keys and the service that judge tokens.
pub struct TokenTrust {
    /// Judges by the configured keys.
    pub verifier: Verifier,
    /// The service to ask, if there is one.
    pub service: Option<AuthService>,
    /// Keeps the key set for the server API.
    pub issuer_keys: Arc<IssuerKeys>,
    pub edition: TrustEdition,
}

/// The queues and counters that the auth worker shares with the rest of the process.
pub struct AuthEnds {
    /// The way to each reactor, by its id.
    pub mailboxes: Arc<[Mailbox]>,
    pub jobs: Receiver<AuthJob>,
    pub counters: Arc<AuthCounters>,
    /// Knows the blocked users and revoked tokens.
    pub orders: Arc<OrderBoard>,
    /// The registry of users; `None` if there is none.
    pub registry: Option<RegistrySender>,
    /// Knows the canary of this process; `None` if there is none.
    pub canary: Option<Arc<CanaryPass>>,
}

/// Starts the thread `auth` and the threads that call its service. Without trust, auth is
/// off: every token is that of `anonymous`, who may do everything.
pub fn start(
    trust: Option<TokenTrust>,
    census: Census,
    clock: Clock,
    ends: AuthEnds,
) -> io::Result<RunningAuth> {
    let AuthEnds { mailboxes, jobs, counters, orders, registry, canary } = ends;
    let (judge, news, edition) = match trust {
        Some(TokenTrust { verifier, service, issuer_keys, edition }) => {
            let (judge, news) =
                TokenJudge::start(verifier, service.as_ref(), &issuer_keys, &counters.service, &clock)?;
            (Some(judge), news, edition)
        }
        None => (None, never(), TrustEdition::default()),
    };
    let to_wake = vec![false; mailboxes.len()];
    let (renewals, renewed) = bounded(RENEWALS);
    let checks = CheckQueue::new(AUTH_QUEUE);
    let reports = UserReports::new(registry);
    let mut worker = AuthWorker {
        judge,
        news,
        edition,
        checks,
        census,
        reports,
        counters,
        mailboxes,
        to_wake,
        orders,
        canary,
    };
    let body = move || worker.serve(&jobs, renewed, &clock);
    let thread = std::thread::Builder::new().name("auth".into()).spawn(body)?;
    Ok(RunningAuth { thread, renewals })
}

struct AuthWorker {
    judge: Option<TokenJudge>,
    /// Results of the calling threads.
    news: Receiver<ServiceNews>,
    /// That of the judge.
    edition: TrustEdition,
    /// Tokens that wait for their check.
    checks: CheckQueue<(Box<str>, Waiter<Asker>)>,
    census: Census,
    reports: UserReports,
    counters: Arc<AuthCounters>,
    mailboxes: Arc<[Mailbox]>,
    /// Reactors that were answered but not yet woken.
    to_wake: Vec<bool>,
    orders: Arc<OrderBoard>,
    canary: Option<Arc<CanaryPass>>,
}

impl AuthWorker {
    /// Takes jobs until all senders are gone, in batches: one clock reading and one wake per reactor each.
    fn serve(&mut self, jobs: &Receiver<AuthJob>, mut renewed: Receiver<AuthRenewal>, clock: &Clock) {
        loop {
            let wait = match &self.judge {
                _ if !self.checks.is_empty() => Duration::ZERO,
                Some(judge) if judge.is_waited_for() => TICK,
                Some(_) | None => self.reports.wait().unwrap_or(REST),
            };
            select! {
                recv(jobs) -> job => {
                    let Ok(first) = job else { return };
                    let now = clock();
                    for job in std::iter::once(first).chain(jobs.try_iter().take(JOBS_MAX - 1)) {
                        self.handle(job, now);
                    }
                }
                recv(renewed) -> renewal => match renewal {
                    Ok(renewal) => self.renew(renewal, clock),
                    Err(_) => renewed = never(),
                },
                recv(self.news) -> heard => match heard {
                    Ok(heard) => self.inquire(clock(), |judge, now| judge.hear(heard, now)),
                    // The calling threads are gone: waiting tokens are answered when their time is over.
                    Err(_) => self.news = never(),
                },
                default(wait) => {}
            }
            let now = clock();
            for _ in 0..CHECKS_MAX {
                let Some((token, waiter)) = self.checks.pop() else { break };
                self.check(token, waiter, now);
            }
            self.inquire(now, TokenJudge::tick);
            self.wake();
            self.reports.send(&self.census, now);
        }
    }

    fn inquire(&mut self, now: Now, step: impl FnOnce(&mut TokenJudge, Now) -> Vec<Verdict>) {
        let Some(judge) = &mut self.judge else { return };
        for judgement in step(judge, now) {
            self.judged(judgement, now.at);
        }
    }

    fn renew(&mut self, renewal: AuthRenewal, clock: &Clock) {
        let (TokenTrust { verifier, service, issuer_keys, edition }, answers) = match renewal {
            AuthRenewal::Trust(trust, answers) => (*trust, answers),
            AuthRenewal::Bounds(per_user, per_address, rate) => {
                return self.census.bound(per_user, per_address, rate);
            }
        };
        match TokenJudge::start(verifier, service.as_ref(), &issuer_keys, &self.counters.service, clock) {
            Ok((mut judge, news)) => {
                let waiting = match self.judge.take() {
                    Some(before) => judge.succeed(before, answers),
                    None => Vec::new(),
                };
                (self.judge, self.news, self.edition) = (Some(judge), news, edition);
                let now = clock();
                for (token, waiter) in waiting {
                    self.check(token, waiter, now);
                }
            }
            Err(error) => {
                tracing::error!(%error, "auth service threads could not start")
            }
        }
    }

    fn check(&mut self, token: Box<str>, mut waiter: Waiter<Asker>, now: Now) {
        let pass = self.canary.as_ref().filter(|pass| pass.admits(&token, waiter.asker.address));
        if let Some(pass) = pass {
            // It is refused when every user is.
            let as_of = self.unrestricted(&pass.user, TokenStamp::default());
            let outcome = as_of.map(|as_of| identities::of_canary(pass, self.edition, as_of));
            return self.answer(
                waiter.asker.ticket,
                Completion::TokenChecked { ticket: waiter.asker.ticket, outcome },
            );
        }
        let judgement = match &mut self.judge {
            Some(judge) => {
                let judged = unwinding(&self.counters, || judge.check(&token, now));
                waiter.asker.trace = TokenTrace::of(&token, &judged);
                judge.judge(judged, token, waiter, now)
            }
            None => Some((waiter.asker, Ok(anonymous()))),
        };
        if let Some(judgement) = judgement {
            self.judged(judgement, now.at);
        }
    }

    fn wake(&mut self) {
        for (mailbox, should_wake) in self.mailboxes.iter().zip(&mut self.to_wake) {
            if std::mem::take(should_wake) && mailbox.wake().is_err() {
                add_one(&self.counters.wakes_failed);
            }
        }
        self.counters.users.store(self.census.users() as u64, Ordering::Relaxed);
        self.counters.addresses.store(self.census.addresses() as u64, Ordering::Relaxed);
    }

    fn handle(&mut self, job: AuthJob, now: Now) {
        match job {
            AuthJob::CheckToken { ticket, token, occasion, address } => {
                let party = party(&occasion, address);
                let kept = self.judge.as_ref().is_some_and(TokenJudge::is_recheck_on);
                let kept = kept.then(|| Arc::from(&*token));
                let asker = Asker { ticket, occasion, token: kept, address, trace: TokenTrace::default() };
                let waiter = Waiter::new(asker, party.clone(), now.at);
                if let Some((_, Waiter { asker, .. })) = self.checks.push(party, (token, waiter)) {
                    self.judged((asker, Err(Denied::QueueFull)), now.at);
                }
            }
            AuthJob::AdmitAddress { ticket, address } => {
                let outcome = self.arrive(address, now.at);
                self.answer(ticket, Completion::AddressChecked { ticket, address, outcome });
            }
            AuthJob::ReleaseUser { user } => {
                self.census.leave_user(&user);
                self.reports.note(&user);
            }
            AuthJob::LookUpUsers(lookup) => self.look_up(*lookup, now),
            AuthJob::ReportAllUsers => self.reports.want_recount(),
            AuthJob::ReleaseAddress { address } => self.census.depart(address),
        }
    }

    /// Answers how many connections users have here.
    fn look_up(&self, mut lookup: OwnLookup, now: Now) {
        let users = std::mem::take(&mut lookup.lookup.users).into_iter();
        let counts = users.map(|user| {
            let (connections, since_s) = self.census.connections(&user);
            UserCount { user, connections, since_unix_s: unix_s(since_s, now) }
        });
        let counts = counts.collect();
        lookup.answer(counts);
    }

    fn answer(&mut self, ticket: Ticket, answer: Completion) {
        let reactor = usize::from(ticket.reactor.0);
        if let (Some(mailbox), Some(should_wake)) =
            (self.mailboxes.get(reactor), self.to_wake.get_mut(reactor))
        {
            mailbox.answer(answer);
            *should_wake = true;
        }
    }

    fn judged(&mut self, (asker, judged): Verdict, now: Moment) {
        let Asker { ticket, occasion, token, address, mut trace } = asker;
        let outcome = judged.and_then(|person| {
            trace.user = Some(person.user.clone());
            self.admit(person, &occasion, token, now)
        });
        if let Err(denied) = &outcome {
            report::denied(*denied, &occasion, trace, address);
        }
        self.count(outcome.as_ref().err());
        self.answer(ticket, Completion::TokenChecked { ticket, outcome });
    }

    fn count(&self, denied: Option<&Denied>) {
        add_one(&self.counters.tokens_checked);
        match denied {
            // Unchecked tokens are counted where that is found.
            None
            | Some(
                Denied::Unchecked { .. }
                | Denied::KeysTooNew { .. }
                | Denied::TooManyWaiting
                | Denied::NotReady,
            ) => {}
            Some(Denied::QueueFull) => add_one(&self.counters.service.too_many_waiting),
            Some(Denied::Token(fault)) => self.counters.count_fault(*fault),
            Some(Denied::OtherUser) => add_one(&self.counters.other_user),
            Some(Denied::TooManyOfUser) => add_one(&self.counters.too_many_of_user),
            Some(Denied::Blocked { .. }) => add_one(&self.counters.blocked),
        }
    }

    fn admit(
        &mut self,
        person: Person,
        occasion: &Occasion,
        token: Option<Arc<str>>,
        now: Moment,
    ) -> Result<Identity, Denied> {
        let as_of = self.unrestricted(&person.user, person.stamp)?;
        let counted = match occasion {
            Occasion::Connect => match self.census.enter_user(&person.user, now) {
                UserDecision::Granted => {
                    self.reports.note(&person.user);
                    Counted::Yes
                }
                UserDecision::TooMany => return Err(Denied::TooManyOfUser),
            },
            Occasion::Refresh(same) | Occasion::Recheck(same) if *same == person.user => Counted::No,
            Occasion::Refresh(_) | Occasion::Recheck(_) => return Err(Denied::OtherUser),
        };
        let account = self.census.account(&person.user);
        // Only the service can say that a token is no longer good.
        let is_introspected =
            matches!(person.origin, Some(TokenOrigin { source: TokenSource::Service(_), .. }));
        let (token, edition) = (token.filter(|_| is_introspected), self.edition);
        Ok(Identity { counted, account, token, edition, as_of, ..identities::of(person) })
    }

    /// Refuses blocked users and revoked tokens. Returns the last order that was considered.
    fn unrestricted(&self, user: &UserName, stamp: TokenStamp) -> Result<OrderId, Denied> {
        match self.orders.judge(user, stamp) {
            Some((as_of, None)) => Ok(as_of),
            Some((_, Some(Restriction::Blocked { retry_ms }))) => Err(Denied::Blocked { retry_ms }),
            Some((_, Some(Restriction::Revoked))) => Err(Denied::Token(TokenFault::Revoked)),
            None => Err(Denied::NotReady),
        }
    }

    fn arrive(&mut self, address: IpAddr, now: Moment) -> Result<(), AddressDenied> {
        add_one(&self.counters.addresses_checked);
        match self.census.arrive(address, now) {
            AddressDecision::Granted => Ok(()),
            AddressDecision::TooMany => {
                add_one(&self.counters.addresses_too_many);
                report::over_limit("limits.connections_per_address", None, address);
                Err(AddressDenied::TooMany)
            }
            AddressDecision::TooFast(wait) => {
                add_one(&self.counters.addresses_too_fast);
                report::over_limit("limits.handshakes_per_s", None, address);
                Err(AddressDenied::TooFast { retry_ms: whole_milliseconds(wait) })
            }
        }
    }
}

/// The party whose share a token check takes.
fn party(occasion: &Occasion, address: IpAddr) -> Party {
    match occasion {
        Occasion::Connect => Party::of(address),
        Occasion::Refresh(user) | Occasion::Recheck(user) => Party::User(user.clone()),
    }
}

/// Runs a check so that a panic in a library costs one token and not the worker. Unwinding loses no state: a check only reads
/// the keys.
fn unwinding(counters: &AuthCounters, check: impl FnOnce() -> Judged) -> Judged {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| {
        add_one(&counters.panics);
        Judged::Settled(Err(TokenFault::Malformed))
    })
}

fn add_one(cell: &AtomicU64) {
    cell.fetch_add(1, Ordering::Relaxed);
}

/// Rounds up, so that a client that waits this long is not refused again.
fn whole_milliseconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
