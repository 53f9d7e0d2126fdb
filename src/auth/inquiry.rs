//! Tokens that the keys at hand cannot judge: who waits for which answer, and what is answered when none comes.
//!
//! The configured keys come first, then the issuer's, then earlier answers of the auth service, then the service itself. One call
//! about a token serves every connection that presents it meanwhile. A waiter is answered by the call, by an outage, or when its
//! time is over. A call that fails while no outage is known is made again, so that one lost connection refuses no client. Old
//! answers are used only while an outage is known: a full waiting room is no outage.

mod asking;
mod keys;
mod reach;
mod room;
mod waiter;

pub use asking::Question;
pub use reach::Reach;
pub use waiter::{Judgement, Rejection, WAIT_MAX, Waiter};

use super::key::KeyChanges;
use super::key_set::KeySet;
use super::known::{CacheBounds, Found, Person, TokenCache, TokenHash};
use super::recent::Recent;
use super::token::{Claims, Judged, TokenFault, TokenForm, Verifier};
use super::token_pattern::TokenPattern;
use crate::clock::{Moment, Now};
use asking::{Asking, TokenFlight};
use keys::{Fetch, Keys};
use room::{CallQueue, RoomEntry, TokenHistory, WaitingRoom};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time between two ticks that do anything.
pub const TICK: Duration = Duration::from_millis(20);
/// Refused signatures that are remembered.
const REFUSED_MAX: usize = 4_096;

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
    /// A salt for the hashes of tokens.
    pub salt: [u8; 16],
}

/// The settings of introspection.
pub struct IntrospectionSettings {
    /// The bounds of remembered answers.
    pub bounds: CacheBounds,
    /// The form of the service's tokens; `None`: any.
    pub pattern: Option<TokenPattern>,
    /// Calls that are made at once.
    pub callers: usize,
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

/// See the module. Without a service it knows only the configured keys, and no connection waits.
pub struct Inquiry<W> {
    verifier: Arc<Verifier>,
    keys: Keys<W>,
    /// Tokens that the keys at hand refused for good.
    refused: Recent<Judged>,
    salt: [u8; 16],
    asking: Option<Asking<W>>,
    room: WaitingRoom,
    /// Waiters that made room for others.
    displaced: Vec<Judgement<W>>,
    tally: InquiryTally,
    ticked: Option<Moment>,
}

impl<W> Inquiry<W> {
    /// Knows no answer yet.
    pub fn new(settings: InquirySettings) -> Inquiry<W> {
        let InquirySettings { verifier, waiting_max, introspection, key_set_pause, salt } = settings;
        let asking = introspection.map(|settings| Asking {
            known: TokenCache::new(settings.bounds),
            pattern: settings.pattern,
            calls: CallQueue::new(settings.callers),
            flights: HashMap::new(),
        });
        let (set, parked) = (Arc::default(), Vec::new());
        let keys = Keys { set, pause: key_set_pause, last: None, fetch: Fetch::No, parked };
        Inquiry {
            verifier,
            keys,
            refused: Recent::new(REFUSED_MAX, usize::MAX),
            salt,
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
        let Inquiry { mut asking, keys, salt, .. } = before;
        if answers == EarlierAnswers::Keep {
            if self.keys.pause.is_some() {
                (self.keys.set, self.keys.last) = (keys.set, keys.last);
            }
            if let (Some(own), Some(before)) = (&mut self.asking, &mut asking) {
                std::mem::swap(&mut own.known, &mut before.known);
                self.salt = salt;
            }
        }
        let asked = asking.into_iter().flat_map(|asking| asking.flights.into_values());
        let asked = asked.flat_map(|TokenFlight { token, waiters, .. }| {
            waiters.into_iter().map(move |waiter| (Box::from(&*token), waiter))
        });
        keys.parked.into_iter().chain(asked).collect()
    }

    /// The differences of a fetched key set to the present one; `None` if there are none, or no keys yet.
    pub fn changes_by(&self, fetched: &KeySet) -> Option<KeyChanges> {
        let present = &self.keys.set;
        if present.is_empty() { None } else { KeyChanges::between(present.keys(), fetched.keys()) }
    }

    /// The differences of the configured keys to those of an earlier inquiry; `None` if there are none.
    pub fn changes_since(&self, before: &Inquiry<W>) -> Option<KeyChanges> {
        self.verifier.changes_since(&before.verifier)
    }

    /// The judgement of the keys at hand. That a signature was refused is remembered, because finding it out again costs as
    /// much as a good token.
    pub fn check(&mut self, token: &str, now: Now) -> Judged {
        if !self.refused.is_empty()
            && let Some(judged) = self.refused.find(&TokenHash::of(token, &self.salt))
        {
            return judged.clone();
        }
        let judged = self.verifier.judge(token, &self.keys.set, now.unix_ms);
        if let Judged::Settled(Err(TokenFault::BadSignature))
        | Judged::Open { fault: TokenFault::BadSignature, .. } = judged
        {
            self.refused.insert(TokenHash::of(token, &self.salt), judged.clone(), 0);
        }
        judged
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
                    (false, true) => self.park((token, waiter), now, reach),
                    (true | false, _) => Some((waiter, Err(Rejection::Token(fault)))),
                }
            }
        }
    }

    /// Keeps a token until newer keys are there. The issuer may have published its key since the last fetch, so it is not refused
    /// before the next one.
    fn park(
        &mut self,
        (token, waiter): (Box<str>, Waiter<W>),
        now: Now,
        reach: Reach,
    ) -> Option<Judgement<W>> {
        if reach == Reach::Down {
            return Some((waiter, Err(Rejection::Unchecked)));
        }
        if let Some(due) = self.keys.next_fetch(now.at).filter(|due| *due >= waiter.until) {
            return Some((waiter, Err(Rejection::KeysTooNew(due.since(now.at)))));
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
        let hash = TokenHash::of(&token, &self.salt);
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
            Ok(waiter) => {
                self.tally.cache_misses += 1;
                let joined =
                    self.asking.as_mut().is_some_and(|asking| asking.ask(hash, &token, history, waiter));
                self.tally.joined += u64::from(joined);
            }
            Err(waiter) => return Some((waiter, Err(Rejection::TooManyWaiting))),
        }
        None
    }

    /// Gives a waiter a place, or returns it. A waiter that goes for it is among the displaced.
    fn enter(&mut self, history: TokenHistory, waiter: Waiter<W>) -> Result<Waiter<W>, Waiter<W>> {
        let longest = match self.room.enter(history, &waiter.party) {
            RoomEntry::Granted => return Ok(waiter),
            RoomEntry::InsteadOf(longest) => longest,
            RoomEntry::Full => {
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
            // It will be valid, so the answer is not kept.
            Some(Err(fault @ TokenFault::NotYetValid { .. })) => Err(Rejection::Token(fault)),
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

    /// Takes the result of a fetch that began at `began`; `None` if it brought no key set. A token that came later and whose key
    /// is not in the set waits for the next fetch. One that came before is refused, and again without a wait until then.
    pub fn keys_fetched(
        &mut self,
        fetched: Option<Arc<KeySet>>,
        began: Moment,
        now: Now,
    ) -> Vec<Judgement<W>> {
        self.keys.fetch = Fetch::No;
        self.keys.last = Some(now.at);
        let Some(set) = fetched else { return Vec::new() };
        self.keys.set = set;
        self.refused.clear();
        let mut judgements = Vec::new();
        for (token, waiter) in std::mem::take(&mut self.keys.parked) {
            let outcome = match self.verifier.judge(&token, &self.keys.set, now.unix_ms) {
                Judged::Settled(claims) => claims.map(Person::from),
                Judged::Open { fault, .. } if waiter.came_before(began) => {
                    let hash = TokenHash::of(&token, &self.salt);
                    self.refused.insert(hash, Judged::Settled(Err(fault)), 0);
                    Err(fault)
                }
                Judged::Open { .. } => {
                    self.keys.parked.push((token, waiter));
                    continue;
                }
            };
            self.room.leave(TokenHistory::Unknown, &waiter.party);
            judgements.push((waiter, outcome.map_err(Rejection::Token)));
        }
        judgements
    }

    /// Answers the waiters that an outage or the end of their time leaves without a call, and makes failed calls again. It looks
    /// at every waiter, so it does nothing within [`TICK`] of the last time.
    pub fn tick(&mut self, now: Now, reach: Reach) -> Vec<Judgement<W>> {
        if self.ticked.is_some_and(|last| now.at.since(last) < TICK) {
            return Vec::new();
        }
        self.ticked = Some(now.at);
        if !self.keys.parked.is_empty() {
            self.keys.want(now.at);
        }
        let parked = self.keys.parked.extract_if(.., |(_, waiter)| waiter.is_over(now.at, reach));
        let mut judgements: Vec<Judgement<W>> =
            parked.map(|(_, waiter)| (waiter, Err(Rejection::Unchecked))).collect();
        judgements.iter().for_each(|(waiter, _)| self.room.leave(TokenHistory::Unknown, &waiter.party));
        let Some(asking) = &mut self.asking else { return judgements };
        for (history, waiter, outcome) in asking.expire(now, reach) {
            self.room.leave(history, &waiter.party);
            self.tally.cache_stale += u64::from(outcome.is_ok());
            judgements.push((waiter, outcome));
        }
        asking.call_again(now.at);
        judgements
    }
}

/// True if a text can be an access token at all (RFC 6749 appendix A.12). Others are not worth a call, and a service may
/// stumble over them.
fn is_plain(token: &str) -> bool {
    token.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests;
