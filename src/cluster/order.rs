//! Orders that every instance carries out: which sessions they end, and how.
//!
//! An order is a row of the store with a number. Instances carry orders out in the order of their numbers. Blocks and revocations
//! are kept in tables of their own as well, because they also concern sessions that do not exist yet.

use super::block_end::{end_by_block, moment_of, return_ms};
use crate::clock::Moment;
use crate::close::{CloseReason, Comeback};
use crate::id::{TokenId, TokenStamp, UserName};
use std::sync::Arc;

/// Bytes of the reason of an order.
pub const REASON_BYTES_MAX: usize = 64;
/// Connections in `except`.
pub const EXCEPT_MAX: usize = 100;
/// Bytes of a `jti`.
pub const JTI_BYTES_MAX: usize = 256;

/// The text of a session's end by [`ClusterOrder::Revoke`].
pub const REVOKED: &str = "the token was revoked; get a new one";

/// An order to all instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterOrder {
    /// Ends sessions that are older than the order.
    Disconnect(Disconnect),
    /// Ends the sessions of a user, and refuses its tokens until the block ends.
    Block(BlockOrder),
    /// Ends a block.
    Unblock(UserName),
    /// Ends the sessions with certain tokens, which are refused from then on.
    Revoke(RevokeOrder),
    /// Has the store remove what a user wrote. Ends no session.
    Erase(UserName),
    /// Has the instances drop the publications that they hold in memory: the store has finished erasures, and gives this order itself.
    Erased,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    pub user: UserName,
    /// Only the session on the connection with this name; `None`: all of the user.
    pub connection: Option<u64>,
    /// Connections whose sessions go on, at most [`EXCEPT_MAX`].
    pub except: Vec<u64>,
    /// For the client, at most [`REASON_BYTES_MAX`] bytes; empty if there is none.
    pub reason: Arc<str>,
    pub comeback: Comeback,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockOrder {
    pub user: UserName,
    /// Unix milliseconds by the clock of the store; `None`: until it is unblocked.
    pub until_unix_ms: Option<u64>,
    /// For operators, at most [`REASON_BYTES_MAX`] bytes.
    pub reason: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeOrder {
    pub tokens: RevokedTokens,
    /// The time after which none of these tokens is valid anyway: Unix milliseconds by the clock of the store.
    pub until_unix_ms: u64,
}

/// The tokens that are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokedTokens {
    /// The token with this `jti`, at most [`JTI_BYTES_MAX`] bytes.
    One(Box<str>),
    /// The tokens of a user whose `iat` is before this time, in Unix milliseconds, and those without `iat`.
    IssuedBefore(UserName, u64),
}

impl RevokedTokens {
    /// True exactly when the token of this user is among them.
    pub fn include(&self, user: &UserName, stamp: TokenStamp) -> bool {
        match self {
            RevokedTokens::One(jti) => stamp.jti == TokenId::of(jti),
            RevokedTokens::IssuedBefore(of, unix_ms) => of == user && is_before(stamp, *unix_ms),
        }
    }
}

/// True exactly when a token was issued before this time, in Unix milliseconds.
pub fn is_before(stamp: TokenStamp, unix_ms: u64) -> bool {
    u64::from(stamp.issued_s) * 1_000 < unix_ms
}

/// The kind of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKind {
    Disconnect,
    Block,
    Unblock,
    Revoke,
    Erase,
    Erased,
}

impl OrderKind {
    pub const ALL: [OrderKind; 6] = [
        OrderKind::Disconnect,
        OrderKind::Block,
        OrderKind::Unblock,
        OrderKind::Revoke,
        OrderKind::Erase,
        OrderKind::Erased,
    ];

    /// The word in the store, in metrics and in answers.
    pub const fn word(self) -> &'static str {
        match self {
            OrderKind::Disconnect => "disconnect",
            OrderKind::Block => "block",
            OrderKind::Unblock => "unblock",
            OrderKind::Revoke => "revoke",
            OrderKind::Erase => "erase",
            OrderKind::Erased => "erased",
        }
    }

    /// The index in [`OrderKind::ALL`].
    pub const fn index(self) -> usize {
        match self {
            OrderKind::Disconnect => 0,
            OrderKind::Block => 1,
            OrderKind::Unblock => 2,
            OrderKind::Revoke => 3,
            OrderKind::Erase => 4,
            OrderKind::Erased => 5,
        }
    }
}

/// When an order was made, and when it is carried out.
#[derive(Clone, Copy, Debug)]
pub struct OrderTimes {
    /// When it was made, by the clock of this process; rather later than earlier.
    pub made: Moment,
    /// The same by the clock of the store, in Unix milliseconds.
    pub made_unix_ms: u64,
    /// Now, by the clock of this process.
    pub now: Moment,
}

/// The facts about a session that orders look at.
#[derive(Clone, Copy, Debug)]
pub struct OrderedSession<'a> {
    pub user: &'a UserName,
    /// The name of its connection.
    pub connection: u64,
    /// When its `connect` was accepted.
    pub opened: Moment,
    pub stamp: TokenStamp,
}

impl ClusterOrder {
    pub fn kind(&self) -> OrderKind {
        match self {
            ClusterOrder::Disconnect(_) => OrderKind::Disconnect,
            ClusterOrder::Block(_) => OrderKind::Block,
            ClusterOrder::Unblock(_) => OrderKind::Unblock,
            ClusterOrder::Revoke(_) => OrderKind::Revoke,
            ClusterOrder::Erase(_) => OrderKind::Erase,
            ClusterOrder::Erased => OrderKind::Erased,
        }
    }

    /// The user that it is about, for logs; `None` if it names none.
    pub fn user(&self) -> Option<&UserName> {
        match self {
            ClusterOrder::Disconnect(Disconnect { user, .. })
            | ClusterOrder::Block(BlockOrder { user, .. })
            | ClusterOrder::Unblock(user)
            | ClusterOrder::Erase(user)
            | ClusterOrder::Revoke(RevokeOrder { tokens: RevokedTokens::IssuedBefore(user, _), .. }) => {
                Some(user)
            }
            ClusterOrder::Revoke(RevokeOrder { tokens: RevokedTokens::One(_), .. })
            | ClusterOrder::Erased => None,
        }
    }

    /// The reason for which the order ends this session, if it does. A session that opened after a disconnect was made has been
    /// let in since.
    pub fn ends(&self, session: &OrderedSession<'_>, times: OrderTimes) -> Option<CloseReason> {
        match self {
            ClusterOrder::Disconnect(order) => order.means(session, times.made).then(|| {
                CloseReason::Disconnected { message: Arc::clone(&order.reason), comeback: order.comeback }
            }),
            ClusterOrder::Block(block) if block.user == *session.user => {
                Some(end_by_block(block.return_ms(times)))
            }
            ClusterOrder::Revoke(order) if order.tokens.include(session.user, session.stamp) => {
                Some(CloseReason::Unauthenticated(REVOKED))
            }
            ClusterOrder::Block(_)
            | ClusterOrder::Unblock(_)
            | ClusterOrder::Revoke(_)
            | ClusterOrder::Erase(_)
            | ClusterOrder::Erased => None,
        }
    }
}

impl BlockOrder {
    /// When a client of the user should return, in milliseconds; `None`: the block has no end.
    pub fn return_ms(&self, times: OrderTimes) -> Option<u32> {
        let ends = self.until_unix_ms.map(|until| moment_of(until, times.made_unix_ms, times.made));
        return_ms(ends, times.now)
    }
}

impl Disconnect {
    fn means(&self, session: &OrderedSession<'_>, made: Moment) -> bool {
        self.user == *session.user
            && session.opened <= made
            && self.connection.is_none_or(|connection| connection == session.connection)
            && !self.except.contains(&session.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserName {
        UserName::parse(name).expect("a user name")
    }

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    const TIMES: OrderTimes = OrderTimes {
        made: Moment::from_micros(100_000),
        made_unix_ms: 1_700_000_000_000,
        now: Moment::from_micros(200_000),
    };

    fn codes(order: &ClusterOrder, sessions: &[(&str, u64, u64, TokenStamp)]) -> Vec<Option<u16>> {
        let code = |(name, connection, opened, stamp): &(&str, u64, u64, TokenStamp)| {
            let user = user(name);
            let (connection, opened, stamp) = (*connection, at(*opened), *stamp);
            let session = OrderedSession { user: &user, connection, opened, stamp };
            order.ends(&session, TIMES).map(|reason| reason.code())
        };
        sessions.iter().map(code).collect()
    }

    fn issued(issued_s: u32) -> TokenStamp {
        TokenStamp { issued_s, jti: TokenId::NONE }
    }

    #[test]
    fn disconnect_ends_older_sessions_of_the_user_except_those_it_names() {
        let order = |connection, comeback| {
            ClusterOrder::Disconnect(Disconnect {
                user: user("ann"),
                connection,
                except: vec![3],
                reason: Arc::from(""),
                comeback,
            })
        };
        let none = TokenStamp::default();
        let sessions = [
            ("ann", 1, 100, none),
            ("ann", 2, 101, none),
            ("ann", 3, 0, none),
            ("bob", 4, 0, none),
            ("ann", 5, 0, none),
        ];
        let expected = [Some(4410), None, None, None, Some(4410)];
        assert_eq!(codes(&order(None, Comeback::Welcome), &sessions), expected);
        assert_eq!(
            codes(&order(Some(5), Comeback::Unwanted), &sessions),
            [None, None, None, None, Some(4504)]
        );
    }

    #[test]
    fn block_ends_all_sessions_of_the_user_and_unblock_none() {
        let block = |until_unix_ms| {
            ClusterOrder::Block(BlockOrder { user: user("ann"), until_unix_ms, reason: "".into() })
        };
        let none = TokenStamp::default();
        let sessions = [("ann", 1, 0, none), ("ann", 2, 999, none), ("anna", 3, 0, none)];
        assert_eq!(codes(&block(None), &sessions), [Some(4503), Some(4503), None]);
        let until = block(Some(TIMES.made_unix_ms + 30_000));
        assert_eq!(codes(&until, &sessions), [Some(4403), Some(4403), None]);
        let ClusterOrder::Block(order) = &until else { panic!("{until:?}") };
        assert_eq!(order.return_ms(TIMES), Some(29_900), "of 30 s from its making, 0.1 s is over");
        assert_eq!(codes(&ClusterOrder::Unblock(user("ann")), &sessions), [None; 3]);
        assert_eq!(codes(&ClusterOrder::Erase(user("ann")), &sessions), [None; 3]);
    }

    #[test]
    fn revocation_ends_the_sessions_with_its_tokens() {
        let revoke = |tokens| ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms: 0 });
        let named = TokenStamp { issued_s: 9, jti: TokenId::of("a") };
        let other = TokenStamp { issued_s: 9, jti: TokenId::of("b") };
        let sessions =
            [("ann", 1, 0, named), ("bob", 2, 0, other), ("ann", 3, 0, issued(10)), ("ann", 4, 0, issued(0))];
        let one = revoke(RevokedTokens::One("a".into()));
        assert_eq!(codes(&one, &sessions), [Some(4501), None, None, None]);
        let before = revoke(RevokedTokens::IssuedBefore(user("ann"), 10_000));
        assert_eq!(
            codes(&before, &sessions),
            [Some(4501), None, None, Some(4501)],
            "without iat is before any time"
        );
    }
}
