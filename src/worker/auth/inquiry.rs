//! Tokens that nobody here can judge at once: who waits for which answer, and what is said when none comes.
//!
//! The configured keys come first, then the issuer's, then what the service said before, then the service. One call about a token
//! serves everybody who shows it meanwhile. Who waits is answered by the call, by an outage that is seen, or when their time is
//! over; a call that fails while no outage is seen is made again, so that one lost connection refuses nobody.

use super::service::{self, AUTH, Call, News, Service, add, outage};
use super::{Answers, Clock};
use crate::auth::key_set::KeySet;
use crate::auth::known::{Found, Known, Person, TokenHash};
use crate::auth::token::{Form, Judged, TokenFault, Verifier};
use crate::clock::{Moment, Now};
use crate::job::{Denied, Occasion, SnapshotReader, Ticket, UNANSWERED};
use crate::metrics::auth::ServiceCounters;
use crate::worker::line;
use crossbeam_channel::{Receiver, Sender, bounded, never};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a token may wait: less than `limits::REPLY_TIMEOUT`, so that it is this thread that answers.
const WAIT_MAX: Duration = Duration::from_millis(4_000);
/// Between two looks at who waits.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// Between a call that failed and the next about the same token; it doubles.
const RETRY: Duration = Duration::from_millis(250);
/// When to come back where no outage is seen, in milliseconds.
const RETRY_MS: std::ops::Range<u32> = 1_000..2_000;
/// Between two lines that say so.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// Who waits for a judgement.
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) occasion: Occasion,
    until: Moment,
}

impl Waiter {
    pub(super) fn new(ticket: Ticket, occasion: Occasion, now: Moment) -> Waiter {
        Waiter { ticket, occasion, until: now + WAIT_MAX }
    }
}

/// A judgement.
pub(super) type Judgement = (Waiter, Result<Person, Denied>);

/// See the module. Without a service it knows the configured keys only, and nobody waits.
pub(super) struct Inquiry {
    verifier: Arc<Verifier>,
    keys: Keys,
    asking: Option<Asking>,
    waiting: usize,
    waiting_max: usize,
    snapshot: Option<SnapshotReader>,
    counters: Arc<ServiceCounters>,
    random: fastrand::Rng,
    complained: Option<Moment>,
    ticked: Option<Moment>,
}

/// The issuer's keys, and who waits for newer ones.
#[derive(Default)]
struct Keys {
    set: KeySet,
    source: Option<(Sender<()>, Duration)>,
    /// When the last fetch ended, and whether it brought keys.
    last: Option<(Moment, bool)>,
    wished: bool,
    parked: Vec<(Box<str>, Waiter)>,
}

struct Asking {
    known: Known,
    salt: [u8; 16],
    calls: Sender<Call>,
    flights: HashMap<TokenHash, Flight>,
}

/// A token that is asked about.
struct Flight {
    token: Arc<str>,
    waiters: Vec<Waiter>,
    /// `None`: a call is under way.
    again: Option<Moment>,
    pause: Duration,
}

impl Inquiry {
    /// Starts the threads that call, and gives the end where their news come out.
    pub(super) fn start(
        verifier: Verifier,
        service: Option<&Service>,
        counters: &Arc<ServiceCounters>,
        clock: &Clock,
    ) -> io::Result<(Inquiry, Receiver<News>)> {
        let verifier = Arc::new(verifier);
        let mut inquiry = Inquiry {
            verifier: Arc::clone(&verifier),
            keys: Keys::default(),
            asking: None,
            waiting: 0,
            waiting_max: service.map_or(0, |service| service.waiting),
            snapshot: service.map(|service| service.outlook.reader()),
            counters: Arc::clone(counters),
            random: fastrand::Rng::new(),
            complained: None,
            ticked: None,
        };
        let Some(service) = service else { return Ok((inquiry, never())) };
        let (news_in, news) = bounded(service.waiting);
        if let Some(introspection) = &service.introspection {
            let (calls, taken) = bounded(service.waiting);
            service::start_callers(service, introspection, (&verifier, clock), (&taken, &news_in), counters)?;
            let mut salt = [0; 16];
            getrandom::fill(&mut salt).map_err(io::Error::other)?;
            let known = Known::new(introspection.bounds);
            inquiry.asking = Some(Asking { known, salt, calls, flights: HashMap::new() });
        }
        if let Some(source) = &service.key_set {
            let (wishes, taken) = bounded(1);
            let caller = service::Caller::new(service, &source.endpoint, counters, &news_in);
            let clock = Arc::clone(clock);
            super::fetcher::start(caller, source, taken, move || clock().unix_ms)?;
            inquiry.keys.source = Some((wishes, source.pause));
        }
        Ok((inquiry, news))
    }

    /// True exactly while somebody waits, so that [`Inquiry::tick`] is to be called often.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting > 0
    }

    /// Takes over from another, whose threads end with this. Answers with everybody who waits there and what they showed.
    pub(super) fn succeed(&mut self, before: Inquiry, answers: Answers) -> Vec<(Box<str>, Waiter)> {
        let Inquiry { mut asking, keys, .. } = before;
        if answers == Answers::Keep {
            if self.keys.source.is_some() {
                (self.keys.set, self.keys.last) = (keys.set, keys.last);
            }
            if let (Some(own), Some(before)) = (&mut self.asking, &mut asking) {
                std::mem::swap(&mut own.known, &mut before.known);
                own.salt = before.salt;
            }
        }
        let asked = asking.into_iter().flat_map(|asking| asking.flights.into_values());
        let asked = asked.flat_map(|Flight { token, waiters, .. }| {
            waiters.into_iter().map(move |waiter| (Box::from(&*token), waiter))
        });
        keys.parked.into_iter().chain(asked).collect()
    }

    /// What the keys at hand say of a token.
    pub(super) fn check(&self, token: &str, now: Now) -> Judged {
        self.verifier.judge(token, &self.keys.set, now.unix_ms)
    }

    /// Passes on what is settled, and keeps any other token until somebody can judge it.
    pub(super) fn judge(
        &mut self,
        judged: Judged,
        token: Box<str>,
        waiter: Waiter,
        now: Now,
    ) -> Option<Judgement> {
        match judged {
            Judged::Settled(claims) => Some((waiter, claims.map(Person::from).map_err(Denied::Token))),
            Judged::Open { fault, form } => {
                let fetched = form == Form::Jwt && self.keys.source.is_some();
                if fetched {
                    self.keys.wish(now.at);
                }
                match (self.asking.is_some(), fetched) {
                    (true, _) if is_plain(&token) => self.ask(token, waiter, now),
                    (false, true) => self.park((token, waiter), fault, now),
                    (true | false, _) => Some((waiter, Err(Denied::Token(fault)))),
                }
            }
        }
    }

    /// Keeps a token until newer keys are there, or says what follows where they are as new as may be.
    fn park(&mut self, parked: (Box<str>, Waiter), fault: TokenFault, now: Now) -> Option<Judgement> {
        let is_recent = matches!(self.keys.last, Some((_, true))) && !self.keys.wished;
        let (token, waiter) = parked;
        if is_recent {
            return Some((waiter, Err(Denied::Token(fault))));
        }
        if self.is_down() {
            return Some((waiter, Err(self.unjudged(now.at))));
        }
        if self.waiting >= self.waiting_max {
            return Some((waiter, Err(self.too_many())));
        }
        self.waiting += 1;
        self.keys.parked.push((token, waiter));
        None
    }

    fn ask(&mut self, token: Box<str>, waiter: Waiter, now: Now) -> Option<Judgement> {
        let is_down = self.is_down();
        let Some(asking) = &mut self.asking else { return None };
        let hash = TokenHash::of(&token, &asking.salt);
        let stale = match asking.known.find(&hash, now) {
            Found::Fresh(person) => {
                add(&self.counters.cache_hits, 1);
                return Some((waiter, Ok(person)));
            }
            Found::Refused(fault) => {
                add(&self.counters.cache_hits, 1);
                return Some((waiter, Err(Denied::Token(fault))));
            }
            Found::Stale(person) => Some(person),
            Found::Nothing => None,
        };
        let asked = if is_down || self.waiting >= self.waiting_max {
            None
        } else {
            asking.join_or_call(hash, &token, now.at, &self.counters)
        };
        match (asked, stale) {
            (Some(flight), _) => {
                flight.waiters.push(waiter);
                self.waiting += 1;
                None
            }
            (None, Some(person)) => {
                add(&self.counters.cache_stale, 1);
                Some((waiter, Ok(person)))
            }
            (None, None) if is_down => Some((waiter, Err(self.unjudged(now.at)))),
            (None, None) => Some((waiter, Err(self.too_many()))),
        }
    }

    /// Takes what a thread brought.
    pub(super) fn hear(&mut self, news: News, now: Now) -> Vec<Judgement> {
        let judgements = match news {
            News::Judged(hash, judged) => self.landed(hash, judged.map(|it| it.map(Person::from)), now),
            News::Keys(fetched) => self.keys_came(fetched, now),
        };
        self.measure();
        judgements
    }

    fn landed(
        &mut self,
        hash: TokenHash,
        judged: Option<Result<Person, TokenFault>>,
        now: Now,
    ) -> Vec<Judgement> {
        let Some(asking) = &mut self.asking else { return Vec::new() };
        let outcome = match judged {
            Some(Ok(person)) => {
                asking.known.granted(hash, person.clone(), now);
                Ok(person)
            }
            Some(Err(fault)) => {
                asking.known.refused(hash, fault, now);
                Err(fault)
            }
            // Who was known is not kept waiting for another attempt.
            None => match asking.known.find(&hash, now) {
                Found::Fresh(person) | Found::Stale(person) => Ok(person),
                Found::Refused(fault) => Err(fault),
                Found::Nothing => {
                    if let Some(flight) = asking.flights.get_mut(&hash) {
                        flight.again = Some(now.at + flight.pause);
                        flight.pause *= 2;
                    }
                    return Vec::new();
                }
            },
        };
        let waiters = asking.flights.remove(&hash).map(|flight| flight.waiters).unwrap_or_default();
        self.waiting -= waiters.len();
        let outcome = outcome.map_err(Denied::Token);
        waiters.into_iter().map(|waiter| (waiter, outcome.clone())).collect()
    }

    fn keys_came(&mut self, fetched: Option<KeySet>, now: Now) -> Vec<Judgement> {
        self.keys.wished = false;
        self.keys.last = Some((now.at, fetched.is_some()));
        let Some(set) = fetched else { return Vec::new() };
        self.keys.set = set;
        let parked = std::mem::take(&mut self.keys.parked);
        self.waiting -= parked.len();
        let judge = |(token, waiter): (Box<str>, Waiter)| {
            let outcome = match self.verifier.judge(&token, &self.keys.set, now.unix_ms) {
                Judged::Settled(claims) => claims.map(Person::from),
                Judged::Open { fault, .. } => Err(fault),
            };
            (waiter, outcome.map_err(Denied::Token))
        };
        parked.into_iter().map(judge).collect()
    }

    /// Lets time pass: an outage or the end of their time answers who waits, and calls are made again.
    /// Called too often, it does nothing: it looks at all who wait.
    pub(super) fn tick(&mut self, now: Now) -> Vec<Judgement> {
        if self.ticked.is_some_and(|last| now.at.since(last) < TICK) {
            return Vec::new();
        }
        self.ticked = Some(now.at);
        let is_down = self.is_down();
        let is_over = |waiter: &mut Waiter| is_down || waiter.until <= now.at;
        let mut over: Vec<Waiter> = Vec::new();
        let mut judgements: Vec<Judgement> = Vec::new();
        over.extend(self.keys.parked.extract_if(.., |(_, waiter)| is_over(waiter)).map(|(_, waiter)| waiter));
        if let Some(Asking { known, flights, calls, .. }) = &mut self.asking {
            for (hash, flight) in flights.iter_mut() {
                let waiters: Vec<Waiter> = flight.waiters.extract_if(.., |waiter| is_over(waiter)).collect();
                if !waiters.is_empty() {
                    match known.find(hash, now) {
                        Found::Fresh(person) | Found::Stale(person) => {
                            judgements.extend(waiters.into_iter().map(|waiter| (waiter, Ok(person.clone()))));
                        }
                        Found::Refused(_) | Found::Nothing => over.extend(waiters),
                    }
                }
                if flight.again.is_some_and(|again| again <= now.at) && !flight.waiters.is_empty() {
                    flight.call(*hash, calls);
                }
            }
            // One under way stays, so that its token is not asked about twice at once.
            flights.retain(|_, flight| !flight.waiters.is_empty() || flight.again.is_none());
        }
        self.waiting -= over.len() + judgements.len();
        add(&self.counters.cache_stale, judgements.len() as u64);
        for waiter in over {
            let denied = self.unjudged(now.at);
            judgements.push((waiter, Err(denied)));
        }
        self.measure();
        judgements
    }

    fn is_down(&mut self) -> bool {
        self.snapshot.as_mut().is_some_and(|snapshot| outage(snapshot.load()).is_some())
    }

    /// What is said where nobody can judge: by the outage, where one is seen.
    fn unjudged(&mut self, now: Moment) -> Denied {
        add(&self.counters.unjudged, 1);
        let random = self.random.f32();
        let outage = self.snapshot.as_mut().and_then(|snapshot| snapshot.load().outage_of(AUTH).cloned());
        if let Some(outage) = outage {
            let (retry_ms, reference) = (outage.retry_ms(now, random), Some(outage.reference()));
            return Denied::Unjudged { retry_ms, reference };
        }
        if self.complained.is_none_or(|last| now.since(last) >= COMPLAINT_PAUSE) {
            self.complained = Some(now);
            tracing::warn!(
                dependency = AUTH,
                reference = UNANSWERED,
                "tokens could not be judged in time although no outage is seen: see the auth service's own log and its latency"
            );
        }
        Denied::Unjudged { retry_ms: self.random.u32(RETRY_MS), reference: None }
    }

    fn too_many(&self) -> Denied {
        add(&self.counters.too_many_waiting, 1);
        Denied::TooManyWaiting
    }

    fn measure(&self) {
        self.counters.waiting.store(self.waiting as u64, Ordering::Relaxed);
        if let Some(asking) = &self.asking {
            self.counters.cache_entries.store(asking.known.len() as u64, Ordering::Relaxed);
            self.counters.cache_bytes.store(asking.known.bytes() as u64, Ordering::Relaxed);
        }
    }
}

impl Keys {
    /// Has the key set fetched, unless that was just done or is about to be.
    fn wish(&mut self, now: Moment) {
        let Some((wishes, pause)) = &self.source else { return };
        let rested = self.last.is_some_and(|(last, _)| now.since(last) >= *pause);
        if rested && !self.wished {
            self.wished = wishes.try_send(()).is_ok();
        }
    }
}

impl Asking {
    /// The flight of this token: the one that is there, or a new one. `None`: no call can be taken.
    fn join_or_call(
        &mut self,
        hash: TokenHash,
        token: &str,
        now: Moment,
        counters: &ServiceCounters,
    ) -> Option<&mut Flight> {
        add(&counters.cache_misses, 1);
        if self.flights.contains_key(&hash) {
            add(&counters.joined, 1);
            return self.flights.get_mut(&hash);
        }
        let mut flight =
            Flight { token: Arc::from(token), waiters: Vec::new(), again: Some(now), pause: RETRY };
        flight.call(hash, &self.calls);
        if flight.again.is_some() {
            return None;
        }
        Some(self.flights.entry(hash).or_insert(flight))
    }
}

impl Flight {
    /// Makes a call, if one can be taken.
    fn call(&mut self, hash: TokenHash, calls: &Sender<Call>) {
        let call = Call { hash, token: Arc::clone(&self.token), until: line::now() + WAIT_MAX };
        if calls.try_send(call).is_ok() {
            self.again = None;
        }
    }
}

/// Whether a text can be an access token at all (RFC 6749 appendix A.12): others are not worth a call, and a
/// service may stumble over them.
fn is_plain(token: &str) -> bool {
    token.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}
