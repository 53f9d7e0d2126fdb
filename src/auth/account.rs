//! The meters of one user, shared by all of the user's connections on this instance.

use crate::clock::Moment;
use crate::rate::{Rate, SharedMeter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The use of the rates that belong to a user and not to a connection. A user that opens more connections
/// gets no more.
#[derive(Debug, Default)]
pub struct Account {
    /// `limits.publishes_per_s`
    pub publishes: SharedMeter,
    /// `limits.publish_bytes_per_s`
    pub publish_bytes: SharedMeter,
    /// `limits.refreshes_per_minute`
    pub refreshes: SharedMeter,
    /// `limits.signals_per_s`
    pub signals: SharedMeter,
    /// `limits.read_bytes_per_s`
    pub read_bytes: SharedMeter,
    /// `limits.channels_per_user`
    pub channels: SharedMeter,
    /// `presence.commands_per_s`
    pub rosters: SharedMeter,
    /// Reports of errors.
    pub reports: SharedMeter,
    /// Subscriptions of all connections.
    subscriptions: AtomicU32,
    /// Rosters that all connections are on or watch.
    held_rosters: AtomicU32,
}

impl Account {
    /// True exactly when this account behaves like a new one, so that it can be dropped.
    pub fn at_rest(&self, now: Moment) -> bool {
        let Account {
            publishes,
            publish_bytes,
            refreshes,
            signals,
            read_bytes,
            channels,
            rosters,
            reports,
            subscriptions: _,
            held_rosters: _,
        } = self;
        let meters = [publishes, publish_bytes, refreshes, signals, read_bytes, channels, rosters, reports];
        meters.iter().all(|meter| meter.at_rest(now))
    }
}

impl Account {
    /// Counts a subscription, unless there are `most` already. Each that was counted must be released once.
    pub fn subscribe(&self, most: u32) -> bool {
        let next = |count: u32| (count < most).then_some(count + 1);
        self.subscriptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Releases counted subscriptions.
    pub fn unsubscribe(&self, count: u32) {
        self.subscriptions.fetch_sub(count, Ordering::Relaxed);
    }
}

/// A place of a user on a roster, or as its watcher. Dropped, it is released.
#[derive(Debug)]
pub struct RosterPlace(Arc<Account>);

impl RosterPlace {
    /// Takes a place for a user, unless all connections of the user have `most` already.
    pub fn take(account: &Arc<Account>, most: u32) -> Option<RosterPlace> {
        let next = |count: u32| (count < most).then_some(count + 1);
        account.held_rosters.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(RosterPlace(Arc::clone(account)))
    }
}

impl Drop for RosterPlace {
    fn drop(&mut self) {
        self.0.held_rosters.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A user's share of new channels at one time, for the worker that finds out whether a publication creates one.
#[derive(Clone, Debug)]
pub struct ChannelShare {
    account: Arc<Account>,
    // Small, because every append has one.
    at_s: u32,
    per_hour: u32,
}

impl ChannelShare {
    /// The share of an account that may create `per_hour` channels.
    pub fn new(account: Arc<Account>, per_hour: u32, at: Moment) -> ChannelShare {
        let at_s = u32::try_from(at.micros() / 1_000_000).unwrap_or(u32::MAX);
        ChannelShare { account, at_s, per_hour }
    }

    /// Counts one channel, or returns the wait until the user may create one.
    pub fn charge(&self) -> Result<ChannelCharge, Duration> {
        let at = Moment::from_micros(u64::from(self.at_s) * 1_000_000);
        self.account.channels.admit(Rate::per_hour(self.per_hour), at)?;
        Ok(ChannelCharge(Some(self.clone())))
    }
}

impl PartialEq for ChannelShare {
    fn eq(&self, other: &ChannelShare) -> bool {
        Arc::ptr_eq(&self.account, &other.account)
            && (self.per_hour, self.at_s) == (other.per_hour, other.at_s)
    }
}

/// A channel that was counted. Dropped, it is released: nothing was created.
#[derive(Debug)]
pub struct ChannelCharge(Option<ChannelShare>);

impl ChannelCharge {
    /// The channel was created.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for ChannelCharge {
    fn drop(&mut self) {
        if let Some(ChannelShare { account, per_hour, .. }) = &self.0 {
            account.channels.give_back(Rate::per_hour(*per_hour));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_counted_up_to_the_bound() {
        let account = Account::default();
        assert!(account.subscribe(2) && account.subscribe(2) && !account.subscribe(2));
        account.unsubscribe(1);
        assert!(account.subscribe(2) && !account.subscribe(2));
    }

    #[test]
    fn places_on_rosters_are_released_when_they_are_dropped() {
        let account = Arc::new(Account::default());
        let places = [RosterPlace::take(&account, 2), RosterPlace::take(&account, 2)];
        assert!(places.iter().all(Option::is_some) && RosterPlace::take(&account, 2).is_none());
        drop(places);
        assert!(RosterPlace::take(&account, 1).is_some());
    }

    #[test]
    fn channels_that_were_created_are_counted_and_no_others() {
        let account = Arc::new(Account::default());
        let share = |s: u64| {
            let at = Moment::from_micros(1_000_000_000 + s * 1_000_000);
            ChannelShare::new(Arc::clone(&account), 4, at)
        };
        for _ in 0..10 {
            drop(share(0).charge().expect("released each time"));
        }
        (0..4).for_each(|_| share(0).charge().expect("four an hour").keep());
        assert_eq!(share(0).charge().expect_err("a fifth"), Duration::from_secs(900));
        share(900).charge().expect("one a quarter of an hour").keep();
        assert!(share(1_799).charge().is_err());
        assert!(!account.at_rest(Moment::from_micros(2_000_000_000)));
    }
}
