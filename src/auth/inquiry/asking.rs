//! The tokens that the service is asked about, and its earlier answers.

use super::reach::Reach;
use super::room::{CallQueue, TokenHistory};
use super::waiter::{Rejection, Waiter};
use crate::auth::known::{Found, Person, TokenCache, TokenHash};
use crate::auth::party::Party;
use crate::auth::token_pattern::TokenPattern;
use crate::clock::{Moment, Now};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The pause between a failed call and the next about the same token; it doubles.
const RETRY: Duration = Duration::from_millis(250);
/// A token for the service to judge.
#[derive(Clone, Debug)]
pub struct Question {
    /// Names the answer.
    pub hash: TokenHash,
    /// The token.
    pub token: Arc<str>,
}

/// The introspection of tokens.
pub(super) struct Asking<W> {
    pub(super) known: TokenCache,
    pub(super) pattern: Option<TokenPattern>,
    pub(super) calls: CallQueue,
    pub(super) flights: HashMap<TokenHash, TokenFlight<W>>,
}

/// A token that the service is asked about.
pub(super) struct TokenFlight<W> {
    pub(super) token: Arc<str>,
    pub(super) history: TokenHistory,
    /// The party of the call: that of the first waiter.
    pub(super) party: Party,
    pub(super) waiters: Vec<Waiter<W>>,
    pub(super) call: FlightCall,
    pub(super) pause: Duration,
}

/// The state of the call about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlightCall {
    /// It waits for a caller.
    Queued,
    /// A caller makes it.
    UnderWay,
    /// It failed, and is made again at this time.
    Again(Moment),
}

impl<W> Asking<W> {
    /// Adds a waiter to the call about its token. True if another connection caused the call.
    pub(super) fn ask(
        &mut self,
        hash: TokenHash,
        token: &str,
        history: TokenHistory,
        waiter: Waiter<W>,
    ) -> bool {
        if let Some(flight) = self.flights.get_mut(&hash) {
            flight.waiters.push(waiter);
            return true;
        }
        let party = waiter.party.clone();
        self.calls.push(history, party.clone(), hash);
        let (token, waiters) = (Arc::from(token), vec![waiter]);
        let flight = TokenFlight { token, history, party, waiters, call: FlightCall::Queued, pause: RETRY };
        self.flights.insert(hash, flight);
        false
    }

    /// Takes the waiters that are over, each with its answer: an old one if there is an outage.
    pub(super) fn expire(
        &mut self,
        now: Now,
        reach: Reach,
    ) -> Vec<(TokenHistory, Waiter<W>, Result<Person, Rejection>)> {
        let mut expired = Vec::new();
        for (hash, flight) in &mut self.flights {
            let waiters: Vec<Waiter<W>> =
                flight.waiters.extract_if(.., |waiter| waiter.is_over(now.at, reach)).collect();
            if waiters.is_empty() {
                continue;
            }
            let outcome = match self.known.find(hash, now) {
                Found::Stale(person) if reach.is_outage() => Ok(person),
                Found::Fresh(person) => Ok(person),
                Found::Stale(_) | Found::Recognised | Found::Refused(_) | Found::Nothing => {
                    Err(Rejection::Unchecked)
                }
            };
            let answered = waiters.into_iter().map(|waiter| (flight.history, waiter, outcome.clone()));
            expired.extend(answered);
            if flight.waiters.is_empty() && flight.call == FlightCall::Queued {
                self.calls.remove(flight.history, &flight.party, hash);
            }
        }
        // A call under way keeps its flight, so that no second call about the same token is made.
        self.flights.retain(|_, flight| !flight.waiters.is_empty() || flight.call == FlightCall::UnderWay);
        expired
    }

    /// Queues the failed calls whose pause is over.
    pub(super) fn call_again(&mut self, now: Moment) {
        for (hash, flight) in &mut self.flights {
            if let FlightCall::Again(again) = flight.call
                && again <= now
            {
                flight.call = FlightCall::Queued;
                self.calls.push(flight.history, flight.party.clone(), *hash);
            }
        }
    }

    pub(super) fn take_calls(&mut self) -> Vec<Question> {
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
    pub(super) fn rest(&mut self, hash: &TokenHash, now: Moment) {
        if let Some(flight) = self.flights.get_mut(hash) {
            flight.call = FlightCall::Again(now + flight.pause);
            flight.pause *= 2;
        }
    }

    /// Takes the newest waiter of a party with a token of this history.
    pub(super) fn newest(&mut self, history: TokenHistory, party: &Party) -> Option<Waiter<W>> {
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
