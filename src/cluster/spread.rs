//! The spread of connections over instances: how many clients this instance asks to move in a second, and where to.
//!
//! Every instance decides for itself, from the connection counts that all publish every few seconds. It asks while it has more than
//! its share, a hundredth of its connections a second, so that a hundred instances together cause no storm. It closes nothing: a
//! client that does not move stays.
//!
//! The counts of others are some seconds old, so an instance that is being filled looks emptier than it is. That does no harm: the
//! sum of what all have over the mean is what others lack, and the own surplus is counted now, without the clients that were asked
//! and have not left yet.

use crate::clock::Moment;
use crate::random::Random;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

/// The time between two decisions.
pub const PERIOD: Duration = Duration::from_secs(1);
/// A decision waits until the live instances have not changed for this long: clients of one that left are still arriving.
const CALM: Duration = Duration::from_secs(30);
/// The share of the own connections that is asked in a second at most.
pub(super) const STEP: f64 = 0.01;
/// An instance asks until it has this share of the mean. While another one lacks connections it asks down to the mean itself:
/// otherwise a hundred instances, each a hundredth over the mean, would leave one empty.
const ENOUGH: f64 = 1.01;
/// While turns take longer, nothing is asked: a reactor that is busy gets no more work.
pub(super) const TURN_MAX: Duration = Duration::from_millis(50);
/// Without this gain, as a share of the mean, in this time, returning clients mean that nothing leads them elsewhere.
const GAIN: f64 = 0.01;
const GAIN_WITHIN: Duration = Duration::from_secs(60);
/// The share of returned clients among the clients that were asked, over which a round without a gain ends.
const RETURNED_MAX: f64 = 0.25;

/// The condition under which clients are asked to move: `cluster.rebalance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RebalanceMode {
    /// An operator orders it.
    #[default]
    Off,
    /// The connections are uneven.
    Auto,
}

/// The settings of `[cluster]` for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebalanceSettings {
    pub mode: RebalanceMode,
    /// The distance from the mean that is even enough, in percent of it: 3 to 100.
    pub within_percent: u32,
}

impl Default for RebalanceSettings {
    fn default() -> RebalanceSettings {
        RebalanceSettings { mode: RebalanceMode::Off, within_percent: 10 }
    }
}

/// Another live instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceLoad {
    pub name: Arc<str>,
    /// Its connections, as it last published them.
    pub connections: u64,
}

/// The completeness of what is known of the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// All live instances serve, and have published their counts.
    Whole,
    /// An instance drains, is isolated or has not published a count.
    Partial,
}

/// The facts that a decision is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The own connections now.
    pub connections: u64,
    /// The other live instances, ordered by name.
    pub others: &'a [InstanceLoad],
    pub picture: Picture,
    /// The longest turn of the last seconds.
    pub longest_turn: Duration,
    pub moves: Moves,
}

/// The clients that were asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    pub asked: u64,
    /// Asked, and neither gone nor past their deadline.
    pub waiting: u64,
    /// Gone after they were asked.
    pub moved: u64,
    /// Still here at their deadline.
    pub stayed: u64,
    /// Clients that arrived here although they were asked to go elsewhere.
    pub returned: u64,
}

impl Add for Moves {
    type Output = Moves;
    fn add(self, other: Moves) -> Moves {
        Moves {
            asked: self.asked + other.asked,
            waiting: self.waiting + other.waiting,
            moved: self.moved + other.moved,
            stayed: self.stayed + other.stayed,
            returned: self.returned + other.returned,
        }
    }
}

/// The state of the spread, for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpreadState {
    /// This instance has no surplus.
    #[default]
    Even,
    /// The instances changed lately, one of them drains or is isolated, or turns are long.
    Waiting,
    /// Clients are asked to move.
    Moving,
    /// Clients come back: the load balancer neither follows hints nor counts connections. Ends with a change of the instances or
    /// with an order.
    Returning,
}

impl SpreadState {
    /// All states, in declaration order.
    pub const ALL: [SpreadState; 4] =
        [SpreadState::Even, SpreadState::Waiting, SpreadState::Moving, SpreadState::Returning];

    /// The name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            SpreadState::Even => "even",
            SpreadState::Waiting => "waiting",
            SpreadState::Moving => "moving",
            SpreadState::Returning => "returning",
        }
    }
}

/// The decisions of one instance.
#[derive(Debug)]
pub struct Spread {
    /// The names of the other instances, and since when they are these.
    names: Vec<Arc<str>>,
    since: Moment,
    state: SpreadState,
    /// The part of a client that earlier seconds left.
    credit: f64,
    /// The beginning of the time in which there must be a gain: the moment, the own share of the mean, and the moves so far.
    mark: Option<(Moment, f64, Moves)>,
}

impl Spread {
    /// Begins at `now`, without knowing any other instance.
    pub fn new(now: Moment) -> Spread {
        Spread { names: Vec::new(), since: now, state: SpreadState::Even, credit: 0.0, mark: None }
    }

    pub fn state(&self) -> SpreadState {
        self.state
    }

    /// Begins again after clients came back, because an operator asks for it.
    pub fn retry(&mut self) {
        self.mark = None;
        if self.state == SpreadState::Returning {
            self.state = SpreadState::Even;
        }
    }

    /// Decides once in a [`PERIOD`]. Returns, for each client to be asked, the instance to ask for. The counts of all are to be
    /// within this part (0.03 to 1.0) of their mean; `None`: nothing is asked, but the instances are still watched.
    pub fn decide(
        &mut self,
        now: Moment,
        sight: &Sight<'_>,
        within: Option<f64>,
        random: &mut Random,
    ) -> Vec<Arc<str>> {
        self.watch(now, sight.others);
        let Some(within) = within else {
            self.state = SpreadState::Even;
            return Vec::new();
        };
        let shares = MeanShares::of(sight.others, sight.connections, within);
        let own = sight.connections.saturating_sub(sight.moves.waiting) as f64;
        let surplus = shares.surplus(own, self.state).filter(|_| !sight.others.is_empty());
        let Some(surplus) = surplus else { return self.rest(SpreadState::Even) };
        let is_calm = now.since(self.since) >= CALM
            && sight.picture == Picture::Whole
            && sight.longest_turn <= TURN_MAX;
        if self.state == SpreadState::Returning || self.is_in_vain(now, own / shares.mean, sight.moves) {
            return self.rest(SpreadState::Returning);
        }
        if !is_calm {
            return self.rest(SpreadState::Waiting);
        }
        self.state = SpreadState::Moving;
        self.credit += surplus.min(sight.connections as f64 * STEP);
        let count = self.credit.max(0.0).floor();
        self.credit -= count;
        draw(sight.others, shares, count as usize, random)
    }

    fn watch(&mut self, now: Moment, others: &[InstanceLoad]) {
        if !self.names.iter().eq(others.iter().map(|other| &other.name)) {
            self.names = others.iter().map(|other| Arc::clone(&other.name)).collect();
            (self.since, self.mark) = (now, None);
            if self.state == SpreadState::Returning {
                self.state = SpreadState::Even;
            }
        }
    }

    fn rest(&mut self, state: SpreadState) -> Vec<Arc<str>> {
        (self.state, self.credit) = (state, 0.0);
        if state == SpreadState::Even {
            self.mark = None;
        }
        Vec::new()
    }

    /// True exactly when clients were asked for [`GAIN_WITHIN`] without a gain, and many of them came back.
    fn is_in_vain(&mut self, now: Moment, share: f64, moves: Moves) -> bool {
        let (since, before, then) = *self.mark.get_or_insert((now, share, moves));
        if now.since(since) < GAIN_WITHIN {
            return false;
        }
        let asked = moves.asked.saturating_sub(then.asked) as f64;
        let returned = moves.returned.saturating_sub(then.returned) as f64;
        self.mark = Some((now, share, moves));
        before - share < GAIN && returned > asked * RETURNED_MAX
    }
}

/// The share of each instance: the mean, and whether one lacks connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeanShares {
    pub(super) mean: f64,
    /// The distance from the mean that is even enough, as a part of it.
    within: f64,
    one_lacks: bool,
}

impl MeanShares {
    /// The shares of these instances and of another one.
    fn of(others: &[InstanceLoad], own: u64, within: f64) -> MeanShares {
        let counts = others.iter().map(|other| other.connections as f64).chain([own as f64]);
        MeanShares::among(counts, within)
    }

    /// The shares of instances with these connections.
    pub(super) fn among(counts: impl Iterator<Item = f64> + Clone, within: f64) -> MeanShares {
        let mean = counts.clone().sum::<f64>() / counts.clone().count().max(1) as f64;
        let one_lacks = counts.into_iter().any(|count| count < mean * (1.0 - within));
        MeanShares { mean, within, one_lacks }
    }

    /// The connections that an instance has over its share; `None` if it has none, or if they are even enough. A round that has
    /// begun goes on until the surplus is gone.
    pub(super) fn surplus(self, own: f64, before: SpreadState) -> Option<f64> {
        let surplus = own - self.mean * if self.one_lacks { 1.0 } else { ENOUGH };
        let is_over = self.one_lacks || own > self.mean * (1.0 + self.within);
        (surplus > 0.0 && (is_over || before == SpreadState::Moving)).then_some(surplus)
    }

    /// The connections that an instance lacks.
    pub(super) fn lack(self, count: f64) -> f64 {
        (self.mean - count).max(0.0)
    }
}

/// Draws an instance for each of `count` clients, each with a probability in proportion to the connections it lacks.
fn draw(others: &[InstanceLoad], shares: MeanShares, count: usize, random: &mut Random) -> Vec<Arc<str>> {
    let lacks = |other: &InstanceLoad| shares.lack(other.connections as f64);
    let whole: f64 = others.iter().map(lacks).sum();
    let one = |random: &mut Random| {
        let mut place = f64::from(random.f32()) * whole;
        let drawn = others.iter().find(|other| {
            place -= lacks(other);
            place < 0.0
        });
        drawn.map(|other| Arc::clone(&other.name))
    };
    (0..count).filter_map(|_| one(random)).collect()
}

#[cfg(test)]
mod tests;
