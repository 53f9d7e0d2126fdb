//! The keys of the server API: what an application backend may do.
//!
//! A key is known by its SHA-256 alone, so that neither memory nor the duration of a comparison reveals it. A backend may present a
//! token instead, which makes a key for as long as it is valid.

use super::permission::{ClaimFault, Patterns};
use crate::id::{ChannelName, TokenStamp, UserName};
use crate::rate::Rate;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// The beginning of the author of what a key publishes; its name follows.
pub const AUTHOR_PREFIX: &str = "$api:";

/// A right of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiRight {
    /// To publish.
    Publish,
    /// To send signals.
    Signal,
    /// To read channels and their logs.
    History,
    /// To edit and delete publications of others.
    Moderate,
    /// To read rosters.
    Presence,
    /// To see the instances and their load.
    Cluster,
    /// To see where users are connected.
    Users,
    /// To end sessions.
    Disconnect,
    /// To block users and revoke tokens.
    Block,
    /// To spread connections over the instances.
    Rebalance,
    /// To remove what users wrote.
    Erase,
    /// To begin, write and end streams.
    Stream,
}

impl ApiRight {
    pub const ALL: [ApiRight; 12] = [
        ApiRight::Publish,
        ApiRight::Signal,
        ApiRight::History,
        ApiRight::Moderate,
        ApiRight::Presence,
        ApiRight::Cluster,
        ApiRight::Users,
        ApiRight::Disconnect,
        ApiRight::Block,
        ApiRight::Rebalance,
        ApiRight::Erase,
        ApiRight::Stream,
    ];

    /// The word in `rights`.
    pub const fn name(self) -> &'static str {
        match self {
            ApiRight::Publish => "publish",
            ApiRight::Signal => "signal",
            ApiRight::History => "history",
            ApiRight::Moderate => "moderate",
            ApiRight::Presence => "presence",
            ApiRight::Cluster => "cluster",
            ApiRight::Users => "users",
            ApiRight::Disconnect => "disconnect",
            ApiRight::Block => "block",
            ApiRight::Rebalance => "rebalance",
            ApiRight::Erase => "erase",
            ApiRight::Stream => "stream",
        }
    }

    pub fn parse(name: &str) -> Option<ApiRight> {
        ApiRight::ALL.into_iter().find(|right| right.name() == name)
    }
}

/// The authors that requests may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorship {
    /// The key itself is the author.
    Own,
    /// A request may name any user.
    AnyUser,
}

/// The rates of a key; `None`: no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiRates {
    pub publishes: Option<Rate>,
    pub signals: Option<Rate>,
    pub orders: Option<Rate>,
    pub lookups: Option<Rate>,
}

impl ApiRates {
    /// The signals of a key without a rate of its own. Each goes to every instance and is encoded for every subscriber.
    pub const SIGNALS_PER_S: u32 = 1_000;

    /// Orders of a key: disconnects, blocks, revocations and erasures. Each is a commit, and every instance examines all its sessions.
    pub const ORDERS_PER_S: u32 = 100;

    /// Users that a key looks up. All keys share the registry's queue and its connection to Redis.
    pub const LOOKUPS_PER_S: u32 = 10_000;

    /// Rates per second, as many at once after a pause of a second. 0 is no bound.
    pub fn new(publishes_per_s: u32, signals_per_s: u32) -> ApiRates {
        let rate = |per_s| Rate::new(per_s, per_s);
        ApiRates {
            publishes: rate(publishes_per_s),
            signals: rate(signals_per_s),
            orders: rate(ApiRates::ORDERS_PER_S),
            lookups: rate(ApiRates::LOOKUPS_PER_S),
        }
    }
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    name: Arc<str>,
    party: Arc<str>,
    /// `None`: a token made the key.
    digest: Option<[u8; 32]>,
    /// Of the token that made the key.
    stamp: Option<TokenStamp>,
    rights: Vec<ApiRight>,
    channels: Patterns,
    authorship: Authorship,
    author: UserName,
    rates: ApiRates,
}

impl ApiKey {
    /// `name` has a form that makes `$api:NAME` a user name.
    pub fn new(
        name: &str,
        secret: &[u8],
        rights: Vec<ApiRight>,
        channels: &[String],
        authorship: Authorship,
        rates: ApiRates,
    ) -> Result<ApiKey, ClaimFault> {
        let key = ApiKey::of_token(name, rights, channels, authorship, rates)?;
        Ok(ApiKey { party: Arc::clone(&key.name), digest: Some(Sha256::digest(secret).into()), ..key })
    }

    /// The key that a token makes. Its author is that of a key of the same name, and its shares are its own.
    pub fn of_token(
        name: &str,
        rights: Vec<ApiRight>,
        channels: &[String],
        authorship: Authorship,
        rates: ApiRates,
    ) -> Result<ApiKey, ClaimFault> {
        let author = UserName::parse(&format!("{AUTHOR_PREFIX}{name}")).map_err(|_| ClaimFault::Shape)?;
        let (name, party) = (Arc::from(name), Arc::from(format!("token:{name}")));
        let channels = Patterns::parse(channels)?;
        Ok(ApiKey { name, party, digest: None, stamp: None, rights, channels, authorship, author, rates })
    }

    /// The same with the facts by which the token can be revoked.
    pub fn stamped(self, stamp: TokenStamp) -> ApiKey {
        ApiKey { stamp: Some(stamp), ..self }
    }

    /// The user that a revocation names, and the facts about the token; `None` if no token made the key.
    pub fn revocable(&self) -> Option<(&UserName, TokenStamp)> {
        self.stamp.map(|stamp| (&self.author, stamp))
    }

    /// The name, for logs.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The party that shares bounds with others. No two keys have the same, and no token has that of a key.
    pub fn party(&self) -> &Arc<str> {
        &self.party
    }

    /// True if both have the same secret.
    pub fn has_secret_of(&self, other: &ApiKey) -> bool {
        self.digest.is_some() && self.digest == other.digest
    }

    pub fn rates(&self) -> ApiRates {
        self.rates
    }

    /// True if the key has this right at all.
    pub fn has(&self, right: ApiRight) -> bool {
        self.rights.contains(&right)
    }

    /// True if the key may use its rights on this channel.
    pub fn covers(&self, channel: &ChannelName) -> bool {
        self.channels.match_any(channel)
    }

    /// The author of a publication for which a request names `user`; `None` if it may name none.
    pub fn author(&self, user: Option<UserName>) -> Option<UserName> {
        match (user, self.authorship) {
            (None, _) => Some(self.author.clone()),
            (Some(user), Authorship::AnyUser) => Some(user),
            (Some(_), Authorship::Own) => None,
        }
    }
}

/// All keys.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(Vec<Arc<ApiKey>>);

impl ApiKeys {
    pub fn new(keys: Vec<ApiKey>) -> ApiKeys {
        ApiKeys(keys.into_iter().map(Arc::new).collect())
    }

    /// The number of keys.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The key with this secret. The duration does not depend on how much of a key was guessed.
    pub fn find(&self, secret: &[u8]) -> Option<Arc<ApiKey>> {
        let digest: [u8; 32] = Sha256::digest(secret).into();
        let has_digest = |key: &&Arc<ApiKey>| key.digest.is_some_and(|own| bool::from(own.ct_eq(&digest)));
        self.0.iter().find(has_digest).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, secret: &[u8], channels: &[&str], authorship: Authorship) -> ApiKey {
        let channels: Vec<String> = channels.iter().map(|pattern| (*pattern).to_owned()).collect();
        let rates = ApiRates::new(0, 0);
        ApiKey::new(name, secret, vec![ApiRight::Publish], &channels, authorship, rates).expect("a key")
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).expect("a name")
    }

    #[test]
    fn key_is_found_by_its_whole_secret() {
        let keys = ApiKeys::new(vec![
            key("one", b"first", &["*"], Authorship::Own),
            key("two", b"second", &["*"], Authorship::Own),
        ]);
        assert_eq!(keys.find(b"second").map(|key| key.name().to_string()).as_deref(), Some("two"));
        assert!(keys.find(b"secon").is_none() && keys.find(b"").is_none());
    }

    #[test]
    fn key_covers_its_channels_and_names_authors_only_if_it_may() {
        let own = key("shop", b"x", &["room.*", "*"], Authorship::Own);
        assert!(own.covers(&channel("room.1")) && !own.covers(&channel("$user:ann")));
        assert!(own.has(ApiRight::Publish) && !own.has(ApiRight::Moderate));
        assert_eq!(own.author(None).expect("itself").as_str(), "$api:shop");
        assert_eq!(own.author(UserName::parse("ann").ok()), None);
        let any = key("shop", b"x", &["$user:*"], Authorship::AnyUser);
        assert!(any.covers(&channel("$user:ann")) && !any.covers(&channel("room.1")));
        assert_eq!(any.author(UserName::parse("ann").ok()).expect("ann").as_str(), "ann");
    }
}
