//! A connection that waits for a judgement, and what it is answered.

use super::reach::Reach;
use crate::auth::known::Person;
use crate::auth::party::Party;
use crate::auth::token::TokenFault;
use crate::clock::Moment;
use std::time::Duration;

/// How long a token may wait: less than `limits::REPLY_TIMEOUT`, so that the auth worker answers and not the reactor's deadline.
pub const WAIT_MAX: Duration = Duration::from_millis(4_000);

/// A connection that waits for a judgement.
pub struct Waiter<W> {
    /// Whom to answer.
    pub asker: W,
    /// Whose share of the waiting room it takes.
    pub(super) party: Party,
    pub(super) until: Moment,
}

impl<W> Waiter<W> {
    /// Its time begins now.
    pub fn new(asker: W, party: Party, now: Moment) -> Waiter<W> {
        Waiter { asker, party, until: now + WAIT_MAX }
    }

    /// True exactly when it came before `moment`.
    pub(super) fn came_before(&self, moment: Moment) -> bool {
        self.until <= moment + WAIT_MAX
    }

    /// True exactly when it is answered without a call.
    pub(super) fn is_over(&self, now: Moment, reach: Reach) -> bool {
        reach == Reach::Down || self.until <= now
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The token itself is at fault.
    Token(TokenFault),
    /// The auth service did not answer, so that nothing is known about the token.
    Unchecked,
    /// As many connections as allowed wait already.
    TooManyWaiting,
    /// No key at hand has the token's name, and newer keys are not fetched before this time has passed.
    KeysTooNew(Duration),
}

/// The answer to one waiter.
pub type Judgement<W> = (Waiter<W>, Result<Person, Rejection>);
