//! The last events of a run, kept only for a run that is shown.

use seawall::clock::Now;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Events that are shown.
const EVENTS: usize = 40;
/// Characters of one.
const WIDTH: usize = 180;

#[derive(Debug, Default)]
pub struct Trace {
    events: Option<RefCell<VecDeque<String>>>,
    count: Cell<u64>,
}

impl Trace {
    /// Counts, and forgets.
    pub fn silent() -> Trace {
        Trace::default()
    }

    /// Keeps the last ones.
    pub fn kept() -> Trace {
        Trace { events: Some(RefCell::default()), count: Cell::new(0) }
    }

    pub fn note(&self, now: Now, event: impl FnOnce() -> String) {
        self.count.set(self.count.get() + 1);
        let Some(events) = &self.events else { return };
        let mut events = events.borrow_mut();
        if events.len() == EVENTS {
            events.pop_front();
        }
        let seconds = now.at.micros() as f64 / 1e6 - 3_600.0;
        // Padding says nothing.
        let text: String = event().replace("xxxxxxxx", "").chars().take(WIDTH).collect();
        events.push_back(format!("{:>6} {seconds:8.3} {text}", self.count.get()));
    }

    pub fn count(&self) -> u64 {
        self.count.get()
    }

    pub fn print(&self) {
        if let Some(events) = &self.events {
            events.borrow().iter().for_each(|event| eprintln!("{event}"));
        }
    }
}
