//! Tokens that the keys at hand cannot judge: who waits for which answer, and what is answered when none comes.
//!
//! The configured keys come first, then the issuer's, then earlier answers of the auth service, then the service itself. One call
//! about a token serves every connection that presents it meanwhile. A waiter is answered by the call, by an outage, or when its
//! time is over. A call that fails while no outage is known is made again, so that one lost connection refuses no client.

mod waiter;

pub use waiter::{Judgement, Rejection, WAIT_MAX, Waiter};

use super::key_set::KeySet;
use super::known::{CacheBounds, Found, Person, TokenCache, TokenHash};
use super::token::{Claims, Judged, TokenFault, TokenForm, Verifier};
use crate::clock::{Moment, Now};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time between two ticks that do anything.
pub const TICK: Duration = Duration::from_millis(20);
/// The pause between a failed call and the next about the same token; it doubles.
const RETRY: Duration = Duration::from_millis(250);

/// The state of the auth service, as its caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// An outage is known: no call is made.
    Down,
    /// Calls are answered, and this many more can be queued.
    Up {
        /// Free places in the queue of calls.
        room: usize,
    },
}

/// The fate of the answers of an auth service when its settings change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlierAnswers {
    /// It would answer the same: its keys and its answers stay in use.
    Keep,
    /// It may answer something else.
    Forget,
}

/// The settings of an inquiry.
pub struct InquirySettings {
    /// Judges by the configured keys.
    pub verifier: Arc<Verifier>,
    /// Connections that may wait at once.
    pub waiting_max: usize,
    /// The bounds of remembered answers, and a salt for their hashes; `None` if no service is asked.
    pub introspection: Option<(CacheBounds, [u8; 16])>,
    /// The shortest time between two fetches that unknown keys cause; `None` if no key set is fetched.
    pub key_set_pause: Option<Duration>,
}

/// Counts since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InquiryTally {
    /// Tokens with a fresh remembered answer.
    pub cache_hits: u64,
    /// Tokens accepted by an old answer because the service does not answer.
    pub cache_stale: u64,
    /// Tokens without a fresh remembered answer.
    pub cache_misses: u64,
    /// Tokens that joined the call of another connection.
    pub joined: u64,
    /// Tokens refused because too many wait.
    pub too_many_waiting: u64,
}

/// A token for the service to judge.
#[derive(Clone, Debug)]
pub struct Question {
    /// Names the answer.
    pub hash: TokenHash,
    /// The token.
    pub token: Arc<str>,
}

/// See the module. Without a service it knows only the configured keys, and no connection waits.
pub struct Inquiry<W> {
    verifier: Arc<Verifier>,
    keys: Keys<W>,
    asking: Option<Asking<W>>,
    waiting: usize,
    waiting_max: usize,
    tally: InquiryTally,
    ticked: Option<Moment>,
}

/// The issuer's keys, and the waiters for newer ones.
struct Keys<W> {
    set: KeySet,
    /// `None` if no key set is fetched.
    pause: Option<Duration>,
    /// When the last fetch ended, and whether it brought keys.
    last: Option<(Moment, bool)>,
    fetch: Fetch,
    parked: Vec<(Box<str>, Waiter<W>)>,
}

/// The state of a request to fetch the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetch {
    /// No.
    No,
    /// Yes, and the worker has yet to take the request.
    Wanted,
    /// Yes, and the worker has the request.
    Requested,
}

struct Asking<W> {
    known: TokenCache,
    salt: [u8; 16],
    calls: Vec<Question>,
    flights: HashMap<TokenHash, TokenFlight<W>>,
}

/// A token that the service is asked about.
struct TokenFlight<W> {
    token: Arc<str>,
    waiters: Vec<Waiter<W>>,
    /// `None`: a call is under way.
    again: Option<Moment>,
    pause: Duration,
}

impl<W> Inquiry<W> {
    /// Knows no answer yet.
    pub fn new(settings: InquirySettings) -> Inquiry<W> {
        let InquirySettings { verifier, waiting_max, introspection, key_set_pause } = settings;
        let asking = introspection.map(|(bounds, salt)| Asking {
            known: TokenCache::new(bounds),
            salt,
            calls: Vec::new(),
            flights: HashMap::new(),
        });
        let (set, parked) = (KeySet::default(), Vec::new());
        let keys = Keys { set, pause: key_set_pause, last: None, fetch: Fetch::No, parked };
        Inquiry {
            verifier,
            keys,
            asking,
            waiting: 0,
            waiting_max,
            tally: InquiryTally::default(),
            ticked: None,
        }
    }

    /// True exactly while a connection waits, so that [`Inquiry::tick`] has to be called often.
    pub fn is_waited_for(&self) -> bool {
        self.waiting > 0
    }

    /// Connections that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Remembered answers, and about how many bytes the good ones take.
    pub fn remembered(&self) -> (usize, usize) {
        self.asking.as_ref().map_or((0, 0), |asking| (asking.known.len(), asking.known.bytes()))
    }

    /// The calls to make. There is room for them, unless it was less than was said.
    pub fn take_calls(&mut self) -> Vec<Question> {
        self.asking.as_mut().map_or_else(Vec::new, |asking| std::mem::take(&mut asking.calls))
    }

    /// True when the key set should be fetched; only once for each fetch.
    pub fn take_fetch(&mut self) -> bool {
        let is_wanted = self.keys.fetch == Fetch::Wanted;
        if is_wanted {
            self.keys.fetch = Fetch::Requested;
        }
        is_wanted
    }

    /// Counts since the last call.
    pub fn take_tally(&mut self) -> InquiryTally {
        std::mem::take(&mut self.tally)
    }

    /// Takes over from an inquiry with other settings. Returns its waiters with their tokens.
    pub fn succeed(&mut self, before: Inquiry<W>, answers: EarlierAnswers) -> Vec<(Box<str>, Waiter<W>)> {
        let Inquiry { mut asking, keys, .. } = before;
        if answers == EarlierAnswers::Keep {
            if self.keys.pause.is_some() {
                (self.keys.set, self.keys.last) = (keys.set, keys.last);
            }
            if let (Some(own), Some(before)) = (&mut self.asking, &mut asking) {
                std::mem::swap(&mut own.known, &mut before.known);
                own.salt = before.salt;
            }
        }
        let asked = asking.into_iter().flat_map(|asking| asking.flights.into_values());
        let asked = asked.flat_map(|TokenFlight { token, waiters, .. }| {
            waiters.into_iter().map(move |waiter| (Box::from(&*token), waiter))
        });
        keys.parked.into_iter().chain(asked).collect()
    }

    /// The judgement of the keys at hand.
    pub fn check(&self, token: &str, now: Now) -> Judged {
        self.verifier.judge(token, &self.keys.set, now.unix_ms)
    }

    /// Answers a waiter whose token is settled, and keeps any other until its token can be judged.
    pub fn judge(
        &mut self,
        judged: Judged,
        token: Box<str>,
        waiter: Waiter<W>,
        now: Now,
        reach: Reach,
    ) -> Option<Judgement<W>> {
        match judged {
            Judged::Settled(claims) => Some((waiter, claims.map(Person::from).map_err(Rejection::Token))),
            Judged::Open { fault, form } => {
                let is_fetched = form == TokenForm::Jwt && self.keys.pause.is_some();
                if is_fetched {
                    self.keys.want(now.at);
                }
                match (self.asking.is_some(), is_fetched) {
                    (true, _) if is_plain(&token) => self.ask(token, waiter, now, reach),
                    (false, true) => self.park((token, waiter), fault, reach),
                    (true | false, _) => Some((waiter, Err(Rejection::Token(fault)))),
                }
            }
        }
    }

    /// Keeps a token until newer keys are there, or refuses it if the keys are as new as can be.
    fn park(
        &mut self,
        parked: (Box<str>, Waiter<W>),
        fault: TokenFault,
        reach: Reach,
    ) -> Option<Judgement<W>> {
        let is_recent = matches!(self.keys.last, Some((_, true))) && self.keys.fetch == Fetch::No;
        let (token, waiter) = parked;
        if is_recent {
            return Some((waiter, Err(Rejection::Token(fault))));
        }
        if reach == Reach::Down {
            return Some((waiter, Err(Rejection::Unchecked)));
        }
        if self.waiting >= self.waiting_max {
            self.tally.too_many_waiting += 1;
            return Some((waiter, Err(Rejection::TooManyWaiting)));
        }
        self.waiting += 1;
        self.keys.parked.push((token, waiter));
        None
    }

    fn ask(&mut self, token: Box<str>, waiter: Waiter<W>, now: Now, reach: Reach) -> Option<Judgement<W>> {
        let asking = self.asking.as_mut()?;
        let hash = TokenHash::of(&token, &asking.salt);
        let stale = match asking.known.find(&hash, now) {
            Found::Fresh(person) => {
                self.tally.cache_hits += 1;
                return Some((waiter, Ok(person)));
            }
            Found::Refused(fault) => {
                self.tally.cache_hits += 1;
                return Some((waiter, Err(Rejection::Token(fault))));
            }
            Found::Stale(person) => Some(person),
            Found::Nothing => None,
        };
        let flight = match reach {
            Reach::Up { room } if self.waiting < self.waiting_max => {
                asking.join_or_call(hash, &token, room, &mut self.tally)
            }
            Reach::Up { .. } | Reach::Down => None,
        };
        match (flight, stale) {
            (Some(flight), _) => {
                flight.waiters.push(waiter);
                self.waiting += 1;
                None
            }
            (None, Some(person)) => {
                self.tally.cache_stale += 1;
                Some((waiter, Ok(person)))
            }
            (None, None) if reach == Reach::Down => Some((waiter, Err(Rejection::Unchecked))),
            (None, None) => {
                self.tally.too_many_waiting += 1;
                Some((waiter, Err(Rejection::TooManyWaiting)))
            }
        }
    }

    /// Takes the service's answer about a token; `None` if it gave none.
    pub fn answered(
        &mut self,
        hash: TokenHash,
        answer: Option<Result<Claims, TokenFault>>,
        now: Now,
    ) -> Vec<Judgement<W>> {
        let Some(asking) = &mut self.asking else { return Vec::new() };
        let outcome = match answer {
            Some(Ok(claims)) => {
                let person = Person::from(claims);
                asking.known.granted(hash, person.clone(), now);
                Ok(person)
            }
            Some(Err(fault)) => {
                asking.known.refused(hash, fault, now);
                Err(Rejection::Token(fault))
            }
            // A person still known does not wait for another attempt.
            None => match asking.known.find(&hash, now) {
                Found::Fresh(person) | Found::Stale(person) => Ok(person),
                Found::Refused(fault) => Err(Rejection::Token(fault)),
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
        waiters.into_iter().map(|waiter| (waiter, outcome.clone())).collect()
    }

    /// Takes the result of a fetch; `None` if it brought no key set.
    pub fn keys_fetched(&mut self, fetched: Option<KeySet>, now: Now) -> Vec<Judgement<W>> {
        self.keys.fetch = Fetch::No;
        self.keys.last = Some((now.at, fetched.is_some()));
        let Some(set) = fetched else { return Vec::new() };
        self.keys.set = set;
        let parked = std::mem::take(&mut self.keys.parked);
        self.waiting -= parked.len();
        let judge = |(token, waiter): (Box<str>, Waiter<W>)| {
            let outcome = match self.verifier.judge(&token, &self.keys.set, now.unix_ms) {
                Judged::Settled(claims) => claims.map(Person::from),
                Judged::Open { fault, .. } => Err(fault),
            };
            (waiter, outcome.map_err(Rejection::Token))
        };
        parked.into_iter().map(judge).collect()
    }

    /// Answers the waiters that an outage or the end of their time leaves without a call, and makes failed calls again. It looks
    /// at every waiter, so it does nothing within [`TICK`] of the last time.
    pub fn tick(&mut self, now: Now, reach: Reach) -> Vec<Judgement<W>> {
        if self.ticked.is_some_and(|last| now.at.since(last) < TICK) {
            return Vec::new();
        }
        self.ticked = Some(now.at);
        let is_over = |waiter: &mut Waiter<W>| reach == Reach::Down || waiter.until <= now.at;
        let mut over: Vec<Waiter<W>> = Vec::new();
        let mut judgements: Vec<Judgement<W>> = Vec::new();
        over.extend(self.keys.parked.extract_if(.., |(_, waiter)| is_over(waiter)).map(|(_, waiter)| waiter));
        if let Some(Asking { known, flights, calls, .. }) = &mut self.asking {
            for (hash, flight) in flights.iter_mut() {
                let waiters: Vec<Waiter<W>> =
                    flight.waiters.extract_if(.., |waiter| is_over(waiter)).collect();
                if !waiters.is_empty() {
                    match known.find(hash, now) {
                        Found::Fresh(person) | Found::Stale(person) => {
                            judgements.extend(waiters.into_iter().map(|waiter| (waiter, Ok(person.clone()))));
                        }
                        Found::Refused(_) | Found::Nothing => over.extend(waiters),
                    }
                }
                if let Reach::Up { room } = reach
                    && flight.again.is_some_and(|again| again <= now.at)
                    && !flight.waiters.is_empty()
                {
                    flight.call(*hash, room, calls);
                }
            }
            // A call under way keeps its flight, so that no second call about the same token is made.
            flights.retain(|_, flight| !flight.waiters.is_empty() || flight.again.is_none());
        }
        self.waiting -= over.len() + judgements.len();
        self.tally.cache_stale += judgements.len() as u64;
        judgements.extend(over.into_iter().map(|waiter| (waiter, Err(Rejection::Unchecked))));
        judgements
    }
}

impl<W> Keys<W> {
    /// Has the key set fetched, unless that was just done or is about to be.
    fn want(&mut self, now: Moment) {
        let Some(pause) = self.pause else { return };
        let has_rested = self.last.is_some_and(|(last, _)| now.since(last) >= pause);
        if has_rested && self.fetch == Fetch::No {
            self.fetch = Fetch::Wanted;
        }
    }
}

impl<W> Asking<W> {
    /// The flight of this token: the present one, or a new one. `None`: no further call can be queued.
    fn join_or_call(
        &mut self,
        hash: TokenHash,
        token: &str,
        room: usize,
        tally: &mut InquiryTally,
    ) -> Option<&mut TokenFlight<W>> {
        tally.cache_misses += 1;
        if self.flights.contains_key(&hash) {
            tally.joined += 1;
            return self.flights.get_mut(&hash);
        }
        if self.calls.len() >= room {
            return None;
        }
        let token = Arc::from(token);
        let mut flight = TokenFlight { token, waiters: Vec::new(), again: Some(Moment::ZERO), pause: RETRY };
        flight.call(hash, room, &mut self.calls);
        Some(self.flights.entry(hash).or_insert(flight))
    }
}

impl<W> TokenFlight<W> {
    /// Makes a call if one more can be queued.
    fn call(&mut self, hash: TokenHash, room: usize, calls: &mut Vec<Question>) {
        if calls.len() < room {
            calls.push(Question { hash, token: Arc::clone(&self.token) });
            self.again = None;
        }
    }
}

/// True if a text can be an access token at all (RFC 6749 appendix A.12). Others are not worth a call, and a service may
/// stumble over them.
fn is_plain(token: &str) -> bool {
    token.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests;
