//! Exact counts of connections per user and per address, the rate of new connections per address, and the accounts of users.
//!
//! One thread owns the census, so a count is a plain number and a bound is never exceeded, however many reactors ask.
//! Each granted connection must be released with `leave_user` or `depart`; refused ones must not.
//!
//! An IPv6 address is counted by its /64 prefix, because one home or one machine controls all addresses in it. An
//! IPv4 address in IPv6 notation is counted as that IPv4 address.

use super::account::Account;
use crate::clock::Moment;
use crate::id::UserName;
use crate::rate::{Meter, Rate};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// The minimum of arrivals between two sweeps. More frequent sweeps would free too little to be worth their time.
const SWEEP_ARRIVALS_MIN: usize = 1_024;

/// The decision on one more connection of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserDecision {
    /// Granted. `leave_user` releases it.
    Granted,
    /// The user has the maximum number of connections.
    TooMany,
}

/// The decision on one more connection of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressDecision {
    /// Granted. `depart` releases it.
    Granted,
    /// The address has the maximum number of connections.
    TooMany,
    /// The address opened too many connections in a short time. The next one is granted after this wait.
    TooFast(Duration),
}

/// The number of connections of each user and address.
///
/// Invariants: a user or an address is present while it has connections or a meter of it is not at rest, and at most until
/// the next sweep after that. A sweep runs after as many arrivals as the previous sweep left entries, so each arrival pays for
/// a fixed part of one.
#[derive(Debug)]
pub struct Census {
    per_user: u32,
    per_address: u32,
    address_rate: Option<Rate>,
    users: HashMap<UserName, User>,
    users_connected: usize,
    entries_until_sweep: usize,
    addresses: HashMap<IpAddr, Address>,
    arrivals_until_sweep: usize,
}

#[derive(Debug, Default)]
struct User {
    connections: u32,
    /// The first of the connections, in whole seconds of the monotonic clock.
    since_s: u32,
    account: Arc<Account>,
}

#[derive(Debug, Default)]
struct Address {
    connections: u32,
    meter: Meter,
}

impl Census {
    /// Creates an empty census. `per_user` and `per_address` bound the simultaneous connections; 0 disables a bound.
    pub fn new(per_user: u32, per_address: u32, address_rate: Option<Rate>) -> Census {
        Census {
            per_user,
            per_address,
            address_rate,
            users: HashMap::new(),
            users_connected: 0,
            entries_until_sweep: SWEEP_ARRIVALS_MIN,
            addresses: HashMap::new(),
            arrivals_until_sweep: SWEEP_ARRIVALS_MIN,
        }
    }

    /// Changes the bounds. Existing connections stay even if over the new bound; new ones are refused until there is
    /// room.
    pub fn bound(&mut self, per_user: u32, per_address: u32, address_rate: Option<Rate>) {
        (self.per_user, self.per_address, self.address_rate) = (per_user, per_address, address_rate);
    }

    /// Counts one more connection of `user` at `now`. `anonymous` represents any number of people, so it is never counted.
    pub fn enter_user(&mut self, user: &UserName, now: Moment) -> UserDecision {
        if *user == UserName::anonymous() {
            return UserDecision::Granted;
        }
        self.sweep_users_if_due(now);
        // Connections are counted even without a bound, because a reload may set one.
        let counted = self.users.entry(user.clone()).or_default();
        if self.per_user != 0 && counted.connections >= self.per_user {
            return UserDecision::TooMany;
        }
        if counted.connections == 0 {
            self.users_connected += 1;
            counted.since_s = u32::try_from(now.micros() / 1_000_000).unwrap_or(u32::MAX);
        }
        counted.connections += 1;
        UserDecision::Granted
    }

    /// The connections of a user, and the first of them in whole seconds of the monotonic clock.
    pub fn connections(&self, user: &UserName) -> (u32, u32) {
        self.users.get(user).map_or((0, 0), |user| (user.connections, user.since_s))
    }

    /// The same of all users who have connections.
    pub fn connected(&self) -> impl Iterator<Item = (&UserName, u32, u32)> {
        let connected = self.users.iter().filter(|(_, user)| user.connections > 0);
        connected.map(|(name, user)| (name, user.connections, user.since_s))
    }

    /// The account of a counted user.
    pub fn account(&self, user: &UserName) -> Option<Arc<Account>> {
        self.users.get(user).map(|user| Arc::clone(&user.account))
    }

    /// Releases a connection that was granted to `user`. Does nothing if there is none. The account stays until it is at rest:
    /// otherwise a reconnect would grant another burst.
    pub fn leave_user(&mut self, user: &UserName) {
        let Some(counted) = self.users.get_mut(user).filter(|user| user.connections > 0) else { return };
        counted.connections -= 1;
        self.users_connected -= usize::from(counted.connections == 0);
    }

    /// Counts one more connection of `address` at `now`. A refused connection consumes nothing.
    pub fn arrive(&mut self, address: IpAddr, now: Moment) -> AddressDecision {
        if self.per_address == 0 && self.address_rate.is_none() {
            return AddressDecision::Granted;
        }
        self.sweep_if_due(now);
        let counted = self.addresses.entry(place(address)).or_default();
        if self.per_address != 0 && counted.connections >= self.per_address {
            return AddressDecision::TooMany;
        }
        if let Some(Err(wait)) = self.address_rate.map(|rate| counted.meter.admit(rate, now)) {
            return AddressDecision::TooFast(wait);
        }
        counted.connections = counted.connections.saturating_add(1);
        AddressDecision::Granted
    }

    /// Releases a connection that was granted to `address`. Does nothing if there is none.
    pub fn depart(&mut self, address: IpAddr) {
        let place = place(address);
        let Some(counted) = self.addresses.get_mut(&place) else { return };
        counted.connections = counted.connections.saturating_sub(1);
        if counted.connections == 0 && self.address_rate.is_none() {
            self.addresses.remove(&place);
        }
    }

    /// The number of users with counted connections.
    pub fn users(&self) -> usize {
        self.users_connected
    }

    /// The number of tracked addresses: those with connections, and those with a meter that may not be at rest.
    pub fn addresses(&self) -> usize {
        self.addresses.len()
    }

    fn sweep_users_if_due(&mut self, now: Moment) {
        if self.entries_until_sweep > 0 {
            self.entries_until_sweep -= 1;
            return;
        }
        self.users.retain(|_, user| user.connections > 0 || !user.account.at_rest(now));
        self.entries_until_sweep = self.users.len().max(SWEEP_ARRIVALS_MIN);
        if self.users.capacity() / 4 > self.users.len().max(SWEEP_ARRIVALS_MIN) {
            self.users.shrink_to_fit();
        }
    }

    fn sweep_if_due(&mut self, now: Moment) {
        if self.arrivals_until_sweep > 0 {
            self.arrivals_until_sweep -= 1;
            return;
        }
        self.addresses.retain(|_, address| address.connections > 0 || !address.meter.at_rest(now));
        self.arrivals_until_sweep = self.addresses.len().max(SWEEP_ARRIVALS_MIN);
        if self.addresses.capacity() / 4 > self.addresses.len().max(SWEEP_ARRIVALS_MIN) {
            self.addresses.shrink_to_fit();
        }
    }
}

/// The address under which an address is counted.
pub fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(name: &str) -> UserName {
        UserName::parse(name).expect("a user name")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn user_at_the_bound_is_refused_until_a_connection_is_released() {
        let mut census = Census::new(2, 0, None);
        assert_eq!(census.enter_user(&user("ann"), Moment::ZERO), UserDecision::Granted);
        assert_eq!(census.enter_user(&user("ann"), Moment::ZERO), UserDecision::Granted);
        assert_eq!(census.enter_user(&user("ann"), Moment::ZERO), UserDecision::TooMany);
        assert_eq!(census.enter_user(&user("bob"), Moment::ZERO), UserDecision::Granted);
        census.leave_user(&user("ann"));
        assert_eq!(census.enter_user(&user("ann"), Moment::ZERO), UserDecision::Granted);
        assert_eq!(census.enter_user(&user("ann"), Moment::ZERO), UserDecision::TooMany);
    }

    #[test]
    fn connected_users_are_listed_with_the_moment_of_their_first_connection() {
        let mut census = Census::new(0, 0, None);
        let at = |s: u64| Moment::from_micros(s * 1_000_000);
        for (name, second) in [("ann", 5), ("ann", 9), ("bob", 7)] {
            census.enter_user(&user(name), at(second));
        }
        census.leave_user(&user("bob"));
        assert_eq!(census.connected().collect::<Vec<_>>(), [(&user("ann"), 2, 5)]);
        assert_eq!(census.connections(&user("bob")).0, 0);
        census.enter_user(&user("bob"), at(11));
        assert_eq!(census.connections(&user("bob")), (1, 11));
        assert_eq!(census.connections(&user("eve")), (0, 0));
    }

    #[test]
    fn anonymous_is_never_counted_and_zero_disables_a_bound() {
        let mut census = Census::new(1, 0, None);
        assert!(
            (0..50).all(|_| census.enter_user(&UserName::anonymous(), Moment::ZERO) == UserDecision::Granted)
        );
        let mut off = Census::new(0, 0, None);
        assert!((0..50).all(|_| off.enter_user(&user("ann"), Moment::ZERO) == UserDecision::Granted));
        assert!((0..50).all(|_| off.arrive(address("192.0.2.1"), Moment::ZERO) == AddressDecision::Granted));
        (0..50).for_each(|_| off.leave_user(&user("ann")));
        off.depart(address("192.0.2.1"));
        assert_eq!((census.users(), off.users(), off.addresses()), (0, 0, 0));
    }

    #[test]
    fn connections_opened_without_a_bound_count_against_a_later_one() {
        let mut census = Census::new(0, 0, None);
        assert!((0..3).all(|_| census.enter_user(&user("ann"), Moment::ZERO) == UserDecision::Granted));
        census.bound(2, 0, None);
        assert_eq!(census.enter_user(&user("ann"), Moment::ZERO), UserDecision::TooMany);
        census.leave_user(&user("ann"));
        assert_eq!(census.enter_user(&user("ann"), Moment::ZERO), UserDecision::TooMany);
        census.leave_user(&user("ann"));
        assert_eq!(census.enter_user(&user("ann"), Moment::ZERO), UserDecision::Granted);
    }

    #[test]
    fn account_outlives_the_connections_until_it_is_at_rest() {
        let mut census = Census::new(0, 0, None);
        let rate = Rate::new(1, 2).expect("on");
        for _ in 0..2 {
            assert_eq!(census.enter_user(&user("ann"), Moment::ZERO), UserDecision::Granted);
            let account = census.account(&user("ann")).expect("counted");
            assert!(account.publishes.admit(rate, Moment::ZERO).is_ok());
            census.leave_user(&user("ann"));
        }
        census.enter_user(&user("ann"), Moment::ZERO);
        let account = census.account(&user("ann")).expect("counted");
        assert!(account.publishes.admit(rate, Moment::ZERO).is_err(), "a reconnect grants no other burst");
        census.leave_user(&user("ann"));
        let later = Moment::from_micros(1 << 40);
        for n in 0..50_000 {
            census.enter_user(&user(&n.to_string()), later);
            census.leave_user(&user(&n.to_string()));
            assert!(census.users.len() <= 2 * SWEEP_ARRIVALS_MIN + 2, "{} after {n}", census.users.len());
        }
        assert!(census.account(&user("ann")).is_none());
    }

    #[test]
    fn slash_64_is_one_address_and_mapped_addresses_are_ipv4() {
        let mut census = Census::new(0, 1, None);
        assert_eq!(census.arrive(address("2001:db8::1"), Moment::ZERO), AddressDecision::Granted);
        assert_eq!(census.arrive(address("2001:db8::ffff:1:2:3"), Moment::ZERO), AddressDecision::TooMany);
        assert_eq!(census.arrive(address("2001:db8:0:1::1"), Moment::ZERO), AddressDecision::Granted);
        assert_eq!(census.arrive(address("192.0.2.1"), Moment::ZERO), AddressDecision::Granted);
        assert_eq!(census.arrive(address("::ffff:192.0.2.1"), Moment::ZERO), AddressDecision::TooMany);
        assert_eq!(census.arrive(address("192.0.2.2"), Moment::ZERO), AddressDecision::Granted);
        census.depart(address("2001:db8::abcd"));
        assert_eq!(census.arrive(address("2001:db8::1"), Moment::ZERO), AddressDecision::Granted);
    }

    #[test]
    fn rate_of_an_address_outlives_its_connections() {
        let mut census = Census::new(0, 1, Rate::new(1, 2));
        let home = address("192.0.2.1");
        for _ in 0..2 {
            assert_eq!(census.arrive(home, Moment::ZERO), AddressDecision::Granted);
            assert_eq!(
                census.arrive(home, Moment::ZERO),
                AddressDecision::TooMany,
                "a refused connection consumes nothing of the rate"
            );
            census.depart(home);
        }
        let wait = Duration::from_secs(1);
        assert_eq!(census.arrive(home, Moment::ZERO), AddressDecision::TooFast(wait));
        assert_eq!(census.arrive(home, Moment::ZERO + wait), AddressDecision::Granted);
    }

    #[test]
    fn addresses_at_rest_are_forgotten_but_connected_ones_are_kept() {
        let mut census = Census::new(0, 2, Rate::new(1, 1));
        let stays = address("192.0.2.1");
        assert_eq!(census.arrive(stays, Moment::ZERO), AddressDecision::Granted);
        for n in 0..50_000u32 {
            let passing = IpAddr::V4((0x0A00_0000 + n).into());
            let now = Moment::from_micros(u64::from(n) * 10_000);
            assert_eq!(census.arrive(passing, now), AddressDecision::Granted);
            census.depart(passing);
            assert!(census.addresses() <= 2 * SWEEP_ARRIVALS_MIN, "{} after {n}", census.addresses());
        }
        let later = Moment::from_micros(1 << 40);
        assert_eq!(census.arrive(stays, later), AddressDecision::Granted);
        assert_eq!(census.arrive(stays, later + Duration::from_secs(2)), AddressDecision::TooMany);
    }

    #[test]
    fn address_is_forgotten_with_its_last_connection_if_there_is_no_rate() {
        let mut census = Census::new(0, 9, None);
        census.arrive(address("192.0.2.1"), Moment::ZERO);
        census.arrive(address("192.0.2.1"), Moment::ZERO);
        census.depart(address("192.0.2.1"));
        assert_eq!(census.addresses(), 1);
        census.depart(address("192.0.2.1"));
        assert_eq!(census.addresses(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(u8),
        Leave(u8),
        Arrive(u8),
        Depart(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let who = 0..4u8;
        prop_oneof![
            who.clone().prop_map(Step::Enter),
            who.clone().prop_map(Step::Leave),
            who.clone().prop_map(Step::Arrive),
            who.prop_map(Step::Depart),
        ]
    }

    proptest! {
        #[test]
        fn census_agrees_with_lists_of_connections(
            steps in prop::collection::vec(step(), 0..200),
            per_user in 0..4u32,
            per_address in 0..4u32,
        ) {
            let mut census = Census::new(per_user, per_address, None);
            let (mut users, mut addresses) = (Vec::new(), Vec::new());
            let room = |list: &[u8], who: u8, most: u32| {
                most == 0 || (list.iter().filter(|one| **one == who).count() as u32) < most
            };
            let remove = |list: &mut Vec<u8>, who: u8| {
                if let Some(at) = list.iter().position(|one| *one == who) { list.swap_remove(at); }
            };
            for step in steps {
                match step {
                    Step::Enter(who) => {
                        let granted = census.enter_user(&user(&who.to_string()), Moment::ZERO) == UserDecision::Granted;
                        prop_assert_eq!(granted, room(&users, who, per_user));
                        if granted { users.push(who); }
                    }
                    Step::Leave(who) => {
                        census.leave_user(&user(&who.to_string()));
                        remove(&mut users, who);
                    }
                    Step::Arrive(who) => {
                        let granted = census.arrive(IpAddr::from([192, 0, 2, who]), Moment::ZERO) == AddressDecision::Granted;
                        prop_assert_eq!(granted, room(&addresses, who, per_address));
                        if granted { addresses.push(who); }
                    }
                    Step::Depart(who) => {
                        census.depart(IpAddr::from([192, 0, 2, who]));
                        remove(&mut addresses, who);
                    }
                }
                users.sort_unstable();
                let mut distinct = users.clone();
                distinct.dedup();
                prop_assert_eq!(census.users(), distinct.len());
            }
        }
    }
}
