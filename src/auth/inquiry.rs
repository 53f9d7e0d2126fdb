//! Tokens that the keys at hand cannot judge: who waits for which answer, and what is answered when none comes.
//!
//! The configured keys come first, then the issuer's, then earlier answers of the auth service, then the service itself. One call
//! about a token serves every connection that presents it meanwhile. A waiter is answered by the call, by an outage, or when its
//! time is over. A call that fails while no outage is known is made again, so that one lost connection refuses no client. Old
//! answers are used only while an outage is known: a full waiting room is no outage.

mod room;
mod waiter;

pub use waiter::{Judgement, Rejection, WAIT_MAX, Waiter};

use super::key_set::KeySet;
use super::known::{CacheBounds, Found, Person, TokenCache, TokenHash};
use super::party::Party;
use super::token::{Claims, Judged, TokenFault, TokenForm, Verifier};
use super::token_pattern::TokenPattern;
use crate::clock::{Moment, Now};
use room::{CallQueue, Entry, TokenHistory, WaitingRoom};
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
    /// An outage is known, and calls are made all the same.
    Observed,
    /// No outage is known.
    Up,
}

impl Reach {
    /// True exactly while an old answer may be used.
    fn is_outage(self) -> bool {
        match self {
            Reach::Down | Reach::Observed => true,
            Reach::Up => false,
        }
    }
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
    /// `None` if no service is asked.
    pub introspection: Option<IntrospectionSettings>,
    /// The shortest time between two fetches that unknown keys cause; `None` if no key set is fetched.
    pub key_set_pause: Option<Duration>,
}

/// The settings of introspection.
pub struct IntrospectionSettings {
    /// The bounds of remembered answers.
    pub bounds: CacheBounds,
    /// The form of the service's tokens; `None`: any.
    pub pattern: Option<TokenPattern>,
    /// Calls that are made at once.
    pub callers: usize,
    /// A salt for the hashes of tokens.
    pub salt: [u8; 16],
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
    room: WaitingRoom,
    /// Waiters that made room for others.
    displaced: Vec<Judgement<W>>,
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
    pattern: Option<TokenPattern>,
    salt: [u8; 16],
    calls: CallQueue,
    flights: HashMap<TokenHash, TokenFlight<W>>,
}

/// A token that the service is asked about.
struct TokenFlight<W> {
    token: Arc<str>,
    history: TokenHistory,
    /// The party of the call: that of the first waiter.
    party: Party,
    waiters: Vec<Waiter<W>>,
    call: FlightCall,
    pause: Duration,
}

/// The state of the call about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlightCall {
    /// It waits for a caller.
    Queued,
    /// A caller makes it.
    UnderWay,
    /// It failed, and is made again at this time.
    Again(Moment),
}

impl<W> Inquiry<W> {
    /// Knows no answer yet.
    pub fn new(settings: InquirySettings) -> Inquiry<W> {
        let InquirySettings { verifier, waiting_max, introspection, key_set_pause } = settings;
        let asking = introspection.map(|settings| Asking {
            known: TokenCache::new(settings.bounds),
            pattern: settings.pattern,
            salt: settings.salt,
            calls: CallQueue::new(settings.callers),
            flights: HashMap::new(),
        });
        let (set, parked) = (KeySet::default(), Vec::new());
        let keys = Keys { set, pause: key_set_pause, last: None, fetch: Fetch::No, parked };
        Inquiry {
            verifier,
            keys,
            asking,
            room: WaitingRoom::new(waiting_max),
            displaced: Vec::new(),
            tally: InquiryTally::default(),
            ticked: None,
        }
    }

    /// True exactly while a connection waits, so that [`Inquiry::tick`] has to be called often.
    pub fn is_waited_for(&self) -> bool {
        self.room.waiting() > 0
    }

    /// Connections that wait.
    pub fn waiting(&self) -> usize {
        self.room.waiting()
    }

    /// Remembered answers, and about how many bytes the good ones take.
    pub fn remembered(&self) -> (usize, usize) {
        self.asking.as_ref().map_or((0, 0), |asking| (asking.known.len(), asking.known.bytes()))
    }

    /// The calls to make now. Each must be answered with [`Inquiry::answered`].
    pub fn take_calls(&mut self, reach: Reach) -> Vec<Question> {
        match (&mut self.asking, reach) {
            (Some(asking), Reach::Up | Reach::Observed) => asking.take_calls(),
            (Some(_), Reach::Down) | (None, _) => Vec::new(),
        }
    }

    /// The waiters that made room for others since the last call.
    pub fn take_displaced(&mut self) -> Vec<Judgement<W>> {
        std::mem::take(&mut self.displaced)
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
        match self.enter(TokenHistory::Unknown, waiter) {
            Ok(waiter) => self.keys.parked.push((token, waiter)),
            Err(waiter) => return Some((waiter, Err(Rejection::TooManyWaiting))),
        }
        None
    }

    fn ask(&mut self, token: Box<str>, waiter: Waiter<W>, now: Now, reach: Reach) -> Option<Judgement<W>> {
        let asking = self.asking.as_mut()?;
        if asking.pattern.as_ref().is_some_and(|pattern| !pattern.matches(&token)) {
            return Some((waiter, Err(Rejection::Token(TokenFault::OtherForm))));
        }
        let hash = TokenHash::of(&token, &asking.salt);
        let history = match asking.known.find(&hash, now) {
            Found::Fresh(person) => {
                self.tally.cache_hits += 1;
                return Some((waiter, Ok(person)));
            }
            Found::Refused(fault) => {
                self.tally.cache_hits += 1;
                return Some((waiter, Err(Rejection::Token(fault))));
            }
            Found::Stale(person) if reach == Reach::Down => {
                self.tally.cache_stale += 1;
                return Some((waiter, Ok(person)));
            }
            Found::Stale(_) | Found::Recognised => TokenHistory::Good,
            Found::Nothing => TokenHistory::Unknown,
        };
        if reach == Reach::Down {
            return Some((waiter, Err(Rejection::Unchecked)));
        }
        match self.enter(history, waiter) {
            Ok(waiter) => self.join_or_call(hash, &token, history, waiter),
            Err(waiter) => return Some((waiter, Err(Rejection::TooManyWaiting))),
        }
        None
    }

    /// Gives a waiter a place, or returns it. A waiter that goes for it is among the displaced.
    fn enter(&mut self, history: TokenHistory, waiter: Waiter<W>) -> Result<Waiter<W>, Waiter<W>> {
        let longest = match self.room.enter(history, &waiter.party) {
            Entry::Granted => return Ok(waiter),
            Entry::InsteadOf(longest) => longest,
            Entry::Full => {
                self.tally.too_many_waiting += 1;
                return Err(waiter);
            }
        };
        let newest = match self.asking.as_mut().and_then(|asking| asking.newest(history, &longest)) {
            Some(newest) => Some(newest),
            None => self.keys.newest(&longest),
        };
        if let Some(newest) = newest {
            self.room.leave(history, &longest);
            self.tally.too_many_waiting += 1;
            self.displaced.push((newest, Err(Rejection::TooManyWaiting)));
        }
        Ok(waiter)
    }

    /// Adds a waiter to the call about its token.
    fn join_or_call(&mut self, hash: TokenHash, token: &str, history: TokenHistory, waiter: Waiter<W>) {
        let Some(asking) = &mut self.asking else { return };
        self.tally.cache_misses += 1;
        if let Some(flight) = asking.flights.get_mut(&hash) {
            self.tally.joined += 1;
            flight.waiters.push(waiter);
            return;
        }
        let party = waiter.party.clone();
        asking.calls.push(history, party.clone(), hash);
        let (token, waiters) = (Arc::from(token), vec![waiter]);
        let flight = TokenFlight { token, history, party, waiters, call: FlightCall::Queued, pause: RETRY };
        asking.flights.insert(hash, flight);
    }

    /// Takes the service's answer about a token; `None` if it gave none.
    pub fn answered(
        &mut self,
        hash: TokenHash,
        answer: Option<Result<Claims, TokenFault>>,
        now: Now,
        reach: Reach,
    ) -> Vec<Judgement<W>> {
        let Some(asking) = &mut self.asking else { return Vec::new() };
        if let Some(flight) = asking.flights.get(&hash) {
            asking.calls.end(flight.history);
        }
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
            None => match asking.known.find(&hash, now) {
                // A person still known does not wait for another attempt.
                Found::Stale(person) if reach.is_outage() => {
                    self.tally.cache_stale += 1;
                    Ok(person)
                }
                Found::Fresh(person) => Ok(person),
                Found::Refused(fault) => Err(Rejection::Token(fault)),
                Found::Stale(_) | Found::Recognised | Found::Nothing => {
                    asking.rest(&hash, now.at);
                    return Vec::new();
                }
            },
        };
        let Some(TokenFlight { history, waiters, .. }) = asking.flights.remove(&hash) else {
            return Vec::new();
        };
        waiters.iter().for_each(|waiter| self.room.leave(history, &waiter.party));
        waiters.into_iter().map(|waiter| (waiter, outcome.clone())).collect()
    }

    /// Takes the result of a fetch; `None` if it brought no key set.
    pub fn keys_fetched(&mut self, fetched: Option<KeySet>, now: Now) -> Vec<Judgement<W>> {
        self.keys.fetch = Fetch::No;
        self.keys.last = Some((now.at, fetched.is_some()));
        let Some(set) = fetched else { return Vec::new() };
        self.keys.set = set;
        let parked = std::mem::take(&mut self.keys.parked);
        let judge = |(token, waiter): (Box<str>, Waiter<W>)| {
            self.room.leave(TokenHistory::Unknown, &waiter.party);
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
        let parked = self.keys.parked.extract_if(.., |(_, waiter)| is_over(waiter));
        let mut judgements: Vec<Judgement<W>> =
            parked.map(|(_, waiter)| (waiter, Err(Rejection::Unchecked))).collect();
        judgements.iter().for_each(|(waiter, _)| self.room.leave(TokenHistory::Unknown, &waiter.party));
        let Some(Asking { known, flights, calls, .. }) = &mut self.asking else { return judgements };
        for (hash, flight) in flights.iter_mut() {
            let waiters: Vec<Waiter<W>> = flight.waiters.extract_if(.., |waiter| is_over(waiter)).collect();
            if !waiters.is_empty() {
                waiters.iter().for_each(|waiter| self.room.leave(flight.history, &waiter.party));
                let outcome = match known.find(hash, now) {
                    Found::Fresh(person) => Ok(person),
                    Found::Stale(person) if reach.is_outage() => {
                        self.tally.cache_stale += waiters.len() as u64;
                        Ok(person)
                    }
                    Found::Stale(_) | Found::Recognised | Found::Refused(_) | Found::Nothing => {
                        Err(Rejection::Unchecked)
                    }
                };
                judgements.extend(waiters.into_iter().map(|waiter| (waiter, outcome.clone())));
            }
            match flight.call {
                FlightCall::Again(again) if again <= now.at && !flight.waiters.is_empty() => {
                    flight.call = FlightCall::Queued;
                    calls.push(flight.history, flight.party.clone(), *hash);
                }
                FlightCall::Queued if flight.waiters.is_empty() => {
                    calls.remove(flight.history, &flight.party, hash);
                }
                FlightCall::Again(_) | FlightCall::Queued | FlightCall::UnderWay => {}
            }
        }
        // A call under way keeps its flight, so that no second call about the same token is made.
        flights.retain(|_, flight| !flight.waiters.is_empty() || flight.call == FlightCall::UnderWay);
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

    /// Takes the newest waiter of a party.
    fn newest(&mut self, party: &Party) -> Option<Waiter<W>> {
        let place = self.parked.iter().rposition(|(_, waiter)| waiter.party == *party)?;
        Some(self.parked.remove(place).1)
    }
}

impl<W> Asking<W> {
    fn take_calls(&mut self) -> Vec<Question> {
        let mut questions = Vec::new();
        while let Some((history, hash)) = self.calls.start() {
            let Some(flight) = self.flights.get_mut(&hash) else {
                self.calls.end(history);
                continue;
            };
            flight.call = FlightCall::UnderWay;
            questions.push(Question { hash, token: Arc::clone(&flight.token) });
        }
        questions
    }

    /// Makes the call about a token again after a pause.
    fn rest(&mut self, hash: &TokenHash, now: Moment) {
        if let Some(flight) = self.flights.get_mut(hash) {
            flight.call = FlightCall::Again(now + flight.pause);
            flight.pause *= 2;
        }
    }

    /// Takes the newest waiter of a party with a token of this history.
    fn newest(&mut self, history: TokenHistory, party: &Party) -> Option<Waiter<W>> {
        let of_history = self.flights.iter().filter(|(_, flight)| flight.history == history);
        let (hash, place, _) = of_history
            .filter_map(|(hash, flight)| {
                let place = flight.waiters.iter().rposition(|waiter| waiter.party == *party)?;
                Some((*hash, place, flight.waiters.get(place)?.until))
            })
            .max_by_key(|(hash, _, until)| (*until, *hash))?;
        let flight = self.flights.get_mut(&hash)?;
        let waiter = flight.waiters.remove(place);
        if flight.waiters.is_empty() && flight.call == FlightCall::Queued {
            self.calls.remove(flight.history, &flight.party, &hash);
            self.flights.remove(&hash);
        }
        Some(waiter)
    }
}

/// True if a text can be an access token at all (RFC 6749 appendix A.12). Others are not worth a call, and a service may
/// stumble over them.
fn is_plain(token: &str) -> bool {
    token.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests;
