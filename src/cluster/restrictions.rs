//! Blocked users and revoked tokens, as every instance holds them in memory: the store has them in tables.
//!
//! The check of a token is two or three look-ups in hash maps. The store bounds the number of blocks and of revocations, so the maps
//! are bounded as well. Ends are moments of this process, made of the time that is left by the clock of the store: the clocks of
//! two machines are never compared.

use super::block_end::{moment_of, return_ms};
use super::order::{BlockOrder, ClusterOrder, RevokeOrder, RevokedTokens, is_before};
use crate::clock::Moment;
use crate::id::{OrderId, TokenId, TokenStamp, UserName};
use std::collections::HashMap;

/// The most blocks, and the most revocations.
pub const RESTRICTIONS_MAX: u32 = 100_000;

/// A block of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub order: BlockOrder,
    /// Unix milliseconds by the clock of the store.
    pub made_unix_ms: u64,
    /// `None`: until the user is unblocked.
    pub ends: Option<Moment>,
}

/// The reason why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// The user is blocked.
    Blocked {
        /// When a client should return, in milliseconds; `None`: the block has no end.
        retry_ms: Option<u32>,
    },
    /// The token was revoked.
    Revoked,
}

/// The restrictions after an order.
#[derive(Clone, Debug, Default)]
pub struct Restrictions {
    /// The last order that is applied; `None` until the store has been read.
    as_of: Option<OrderId>,
    blocks: HashMap<UserName, Block>,
    /// Single tokens.
    tokens: HashMap<TokenId, Moment>,
    /// All tokens of a user issued before a time, in Unix milliseconds.
    users: HashMap<UserName, (u64, Moment)>,
}

impl Restrictions {
    /// The restrictions that these orders make, each with its time and the store's, where `last` is the last order of all.
    pub fn of<'a>(
        orders: impl IntoIterator<Item = (&'a ClusterOrder, u64, u64)>,
        last: OrderId,
        now: Moment,
    ) -> Restrictions {
        let mut restrictions = Restrictions::default();
        for (order, made_unix_ms, store_unix_ms) in orders {
            restrictions.apply(order, made_unix_ms, store_unix_ms, now);
        }
        restrictions.note(last);
        restrictions
    }

    /// The last order that is applied. `None`: the store has not been read, so no token can be accepted.
    pub fn as_of(&self) -> Option<OrderId> {
        self.as_of
    }

    /// Notes that everything up to this order is applied.
    pub fn note(&mut self, order: OrderId) {
        self.as_of = Some(order);
    }

    /// The reason to refuse a token of this user at `now`, if there is one.
    pub fn refuse(&self, user: &UserName, stamp: TokenStamp, now: Moment) -> Option<Restriction> {
        if let Some(block) = self.block_of(user, now) {
            return Some(Restriction::Blocked { retry_ms: return_ms(block.ends, now) });
        }
        let is_named =
            stamp.jti != TokenId::NONE && self.tokens.get(&stamp.jti).is_some_and(|ends| now < *ends);
        let is_old =
            || self.users.get(user).is_some_and(|(unix_ms, ends)| now < *ends && is_before(stamp, *unix_ms));
        (is_named || is_old()).then_some(Restriction::Revoked)
    }

    /// The block of a user, if it has not ended.
    pub fn block_of(&self, user: &UserName, now: Moment) -> Option<&Block> {
        self.blocks.get(user).filter(|block| block.ends.is_none_or(|ends| now < ends))
    }

    /// Applies an order, where it is `store_unix_ms` by the clock of the store at `now`.
    pub fn apply(&mut self, order: &ClusterOrder, made_unix_ms: u64, store_unix_ms: u64, now: Moment) {
        match order {
            ClusterOrder::Disconnect(_) | ClusterOrder::Erased => {}
            ClusterOrder::Block(order) => {
                let ends = order.until_unix_ms.map(|until| moment_of(until, store_unix_ms, now));
                let (user, order) = (order.user.clone(), order.clone());
                self.blocks.insert(user, Block { order, made_unix_ms, ends });
            }
            ClusterOrder::Unblock(user) => {
                self.blocks.remove(user);
            }
            // The block stays, without what was noted of the user.
            ClusterOrder::Erase(user) => {
                if let Some(block) = self.blocks.get_mut(user) {
                    block.order.reason = "".into();
                }
            }
            ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms }) => {
                let ends = moment_of(*until_unix_ms, store_unix_ms, now);
                // A repetition only adds, as in the store.
                match tokens {
                    RevokedTokens::One(jti) => {
                        let until = self.tokens.entry(TokenId::of(jti)).or_insert(ends);
                        *until = (*until).max(ends);
                    }
                    RevokedTokens::IssuedBefore(user, unix_ms) => {
                        let (before, until) = self.users.entry(user.clone()).or_insert((*unix_ms, ends));
                        (*before, *until) = ((*before).max(*unix_ms), (*until).max(ends));
                    }
                }
            }
        }
    }

    /// Forgets what has ended by `now`.
    pub fn sweep(&mut self, now: Moment) {
        self.blocks.retain(|_, block| block.ends.is_none_or(|ends| now < ends));
        self.tokens.retain(|_, ends| now < *ends);
        self.users.retain(|_, (_, ends)| now < *ends);
    }

    /// The number of blocks, and of revocations.
    pub fn counts(&self) -> (usize, usize) {
        (self.blocks.len(), self.tokens.len() + self.users.len())
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

    fn block(name: &str, until_unix_ms: Option<u64>) -> ClusterOrder {
        ClusterOrder::Block(BlockOrder { user: user(name), until_unix_ms, reason: "".into() })
    }

    fn revoke(tokens: RevokedTokens, until_unix_ms: u64) -> ClusterOrder {
        ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms })
    }

    const STAMP: TokenStamp = TokenStamp { issued_s: 10, jti: TokenId::NONE };

    #[test]
    fn block_lasts_until_its_end_by_the_clock_of_the_store_or_an_unblock() {
        let mut restrictions = Restrictions::default();
        // This process has run for 5 ms when it is 1,000 by the clock of the store.
        restrictions.apply(&block("ann", Some(3_000)), 990, 1_000, at(5));
        restrictions.apply(&block("bob", None), 990, 1_000, at(5));
        let refuse = |restrictions: &Restrictions, name, ms| restrictions.refuse(&user(name), STAMP, at(ms));
        let blocked = |retry_ms| Some(Restriction::Blocked { retry_ms });
        assert_eq!(refuse(&restrictions, "ann", 105), blocked(Some(1_900)));
        assert_eq!(refuse(&restrictions, "ann", 2_004), blocked(Some(1_000)));
        assert_eq!(refuse(&restrictions, "ann", 2_005), None);
        assert_eq!(refuse(&restrictions, "bob", 1_000_000), blocked(None));
        assert_eq!(refuse(&restrictions, "eve", 5), None);
        restrictions.sweep(at(2_005));
        assert_eq!(restrictions.counts(), (1, 0));
        restrictions.apply(&ClusterOrder::Unblock(user("bob")), 0, 0, at(0));
        assert_eq!((refuse(&restrictions, "bob", 0), restrictions.counts()), (None, (0, 0)));
    }

    #[test]
    fn erasure_leaves_a_block_without_its_reason() {
        let mut restrictions = Restrictions::default();
        let order = BlockOrder { user: user("ann"), until_unix_ms: None, reason: "spam".into() };
        restrictions.apply(&ClusterOrder::Block(order), 0, 0, at(0));
        restrictions.apply(&ClusterOrder::Erase(user("ann")), 0, 0, at(0));
        let block = restrictions.block_of(&user("ann"), at(0)).expect("blocked");
        assert_eq!(&*block.order.reason, "");
    }

    #[test]
    fn revoked_tokens_are_refused_and_others_of_the_user_are_not() {
        let mut restrictions = Restrictions::default();
        restrictions.apply(&revoke(RevokedTokens::One("a".into()), 1_020), 0, 1_000, at(0));
        restrictions.apply(&revoke(RevokedTokens::IssuedBefore(user("ann"), 10_001), 1_030), 0, 1_000, at(0));
        // None of them takes anything back.
        restrictions.apply(&revoke(RevokedTokens::One("a".into()), 1_010), 0, 1_000, at(0));
        restrictions.apply(&revoke(RevokedTokens::IssuedBefore(user("ann"), 5_000), 1_010), 0, 1_000, at(0));
        let refuse = |name, issued_s, jti, ms| {
            restrictions.refuse(&user(name), TokenStamp { issued_s, jti }, at(ms))
                == Some(Restriction::Revoked)
        };
        let (named, other) = (TokenId::of("a"), TokenId::of("b"));
        assert!(
            refuse("bob", 11, named, 19) && !refuse("bob", 11, named, 20) && !refuse("bob", 11, other, 0)
        );
        assert!(
            refuse("ann", 10, other, 29) && refuse("ann", 0, TokenId::NONE, 29),
            "without iat is before any time"
        );
        assert!(!refuse("ann", 11, other, 0) && !refuse("ann", 10, other, 30));
    }
}
