//! The share of a turn that connected clients keep in a storm, by figures of the simulation's own.

use seawall::clock::Moment;
use std::time::Duration;

/// The most that arriving connections may take of a turn: as much as the others took in the last one, within these bounds.
const LEAST: Duration = Duration::from_micros(500);
const MOST: Duration = Duration::from_millis(5);
/// The same while clients publish.
const MOST_WHILE_PUBLISHING: Duration = Duration::from_micros(250);
const PUBLISHING: Duration = Duration::from_millis(200);

/// The time that arriving connections are allowed in the next turn.
#[derive(Debug, Default)]
pub struct Share {
    others: Duration,
    published: Option<Moment>,
}

impl Share {
    /// A turn ended in which all other work took `others`.
    pub fn turned(&mut self, others: Duration) {
        self.others = others;
    }

    pub fn published(&mut self, now: Moment) {
        self.published = Some(now);
    }

    /// The last connection that was read may take a turn past its slice, and no more.
    pub fn check(&self, now: Moment, spent: Duration, one: Duration) {
        let publishing = self.published.is_some_and(|at| now.since(at) < PUBLISHING);
        let most = if publishing { MOST_WHILE_PUBLISHING } else { self.others.clamp(LEAST, MOST) };
        assert!(spent < most + one, "{spent:?} of a turn for arriving connections, {most:?} are theirs");
    }
}
