//! The state of rebalancing, readable by all threads without a lock: what is wanted, what the thread `rebalance` does, and what became
//! of the clients that were asked to move.

use super::Cell;
use crate::clock::Moment;
use crate::cluster::spread::{Moves, RebalanceMode, RebalanceSettings, SpreadState};
use crate::wire::stats::RebalanceStats;
use arc_swap::ArcSwap;
use std::ops::Add as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// A round that an operator orders lasts this long. A hundredth of the connections a second moves all of them in less.
pub const ROUND: Duration = Duration::from_secs(15 * 60);

/// The part of one reactor.
#[derive(Debug, Default)]
pub struct ReactorMoves {
    /// Clients that were asked.
    pub asked: Cell,
    /// Clients that were asked, and neither left nor stayed.
    pub waiting: Cell,
    /// Clients that left after they were asked.
    pub moved: Cell,
    /// Clients that did not leave in time.
    pub stayed: Cell,
    /// Clients that arrived here while this instance asked others to move, although they asked for another instance.
    pub returned: Cell,
}

impl ReactorMoves {
    fn read(&self) -> Moves {
        Moves {
            asked: self.asked.read(),
            waiting: self.waiting.read(),
            moved: self.moved.read(),
            stayed: self.stayed.read(),
            returned: self.returned.read(),
        }
    }
}

/// A round that an operator ordered.
#[derive(Clone, Copy, Debug, Default)]
struct OrderedRound {
    within_percent: u32,
    until: Moment,
}

/// The state; see the module.
#[derive(Debug)]
pub struct Rebalance {
    /// Indexed by reactor.
    pub reactors: Vec<ReactorMoves>,
    settings: ArcSwap<RebalanceSettings>,
    ordered: ArcSwap<OrderedRound>,
    orders: AtomicU64,
    state: AtomicU8,
}

impl Rebalance {
    /// Creates the state of a process with `reactors` reactors, in which nothing is wanted.
    pub fn new(reactors: usize) -> Rebalance {
        Rebalance {
            reactors: (0..reactors).map(|_| ReactorMoves::default()).collect(),
            settings: ArcSwap::default(),
            ordered: ArcSwap::default(),
            orders: AtomicU64::new(0),
            state: AtomicU8::new(SpreadState::Even as u8),
        }
    }

    /// Replaces the settings.
    pub fn revise(&self, settings: RebalanceSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// Begins a round of [`ROUND`] at all instances, and returns its `within_percent`: the given one, or that of the settings.
    pub fn order(&self, within_percent: Option<u32>, now: Moment) -> u32 {
        let within_percent = self.wanted_percent(within_percent);
        self.ordered.store(Arc::new(OrderedRound { within_percent, until: now + ROUND }));
        self.orders.fetch_add(1, Ordering::Release);
        within_percent
    }

    /// The given distance from the mean in percent, or that of the settings.
    pub fn wanted_percent(&self, within_percent: Option<u32>) -> u32 {
        within_percent.unwrap_or(self.settings.load().within_percent)
    }

    /// The number of orders so far.
    pub fn orders(&self) -> u64 {
        self.orders.load(Ordering::Acquire)
    }

    /// The wanted distance from the mean in percent, by an order or by the settings; `None`: clients stay where they are.
    pub fn within_percent(&self, now: Moment) -> Option<u32> {
        let auto = match **self.settings.load() {
            RebalanceSettings { mode: RebalanceMode::Off, .. } => None,
            RebalanceSettings { mode: RebalanceMode::Auto, within_percent } => Some(within_percent),
        };
        self.ordered_within(now).or(auto)
    }

    fn ordered_within(&self, now: Moment) -> Option<u32> {
        let ordered = self.ordered.load();
        (now < ordered.until).then_some(ordered.within_percent)
    }

    /// Notes what the thread does. Only the thread may call it.
    pub fn note(&self, state: SpreadState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// The moves of all reactors.
    pub fn moves(&self) -> Moves {
        self.reactors.iter().map(ReactorMoves::read).fold(Moves::default(), Moves::add)
    }

    /// The report for the other instances and for operators. An ordered round is in it, so that all instances take part.
    pub fn stats(&self, now: Moment) -> RebalanceStats {
        let Moves { moved, stayed, returned, .. } = self.moves();
        let state = SpreadState::ALL.get(usize::from(self.state.load(Ordering::Relaxed)));
        let left = self.ordered.load().until.since(now);
        RebalanceStats {
            state: state.copied().unwrap_or_default().as_str().to_owned(),
            ordered_percent: self.ordered_within(now),
            ordered_s: u32::try_from(left.as_secs()).unwrap_or(0),
            moved,
            stayed,
            returned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_for_a_round_and_goes_before_the_settings() {
        let rebalance = Rebalance::new(1);
        let at = |s: u64| Moment::from_micros(s * 1_000_000);
        assert_eq!((rebalance.within_percent(at(1)), rebalance.orders()), (None, 0));
        assert_eq!(rebalance.order(None, at(10)), 10, "the setting's default");
        assert_eq!(rebalance.order(Some(5), at(10)), 5);
        assert_eq!((rebalance.within_percent(at(909)), rebalance.orders()), (Some(5), 2));
        assert_eq!(
            (rebalance.stats(at(100)).ordered_percent, rebalance.stats(at(100)).ordered_s),
            (Some(5), 810)
        );
        assert_eq!(
            (rebalance.within_percent(at(910)), rebalance.stats(at(910)).ordered_percent),
            (None, None)
        );
        rebalance.revise(RebalanceSettings { mode: RebalanceMode::Auto, within_percent: 20 });
        assert_eq!(
            (rebalance.within_percent(at(10)), rebalance.within_percent(at(910))),
            (Some(5), Some(20))
        );
        assert_eq!(rebalance.stats(at(910)).ordered_percent, None, "others follow their own settings");
    }

    #[test]
    fn every_state_survives_the_atomic() {
        let rebalance = Rebalance::new(1);
        for state in SpreadState::ALL {
            rebalance.note(state);
            assert_eq!(rebalance.stats(Moment::ZERO).state, state.as_str());
        }
    }
}
