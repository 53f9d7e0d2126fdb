//! How long the thread that writes leaves commands about streams in their queue.

use crossbeam_channel::{Receiver, Select};
use std::time::{Duration, Instant};

/// While commands come faster than about one in this time, they are taken together. Waking a thread costs more than a command does,
/// and the next flush is some ten times as far away.
const REST: Duration = Duration::from_millis(2);

/// How fast commands come.
#[derive(Debug, Default)]
pub(super) struct CommandPace {
    taken: Option<Instant>,
    is_fast: bool,
}

impl CommandPace {
    /// Commands waited, and are taken now.
    pub(super) fn took(&mut self, now: Instant) {
        let since = self.taken.map(|before| now.saturating_duration_since(before));
        self.is_fast = since.is_some_and(|since| since < 2 * REST);
        self.taken = Some(now);
    }

    /// None waited.
    pub(super) fn found_none(&mut self) {
        self.is_fast = false;
    }

    /// Adds the queue to the inputs that wake the thread, unless commands come fast. Returns the time after which the thread must look at it.
    pub(super) fn listen<'a, T>(&self, queue: &'a Receiver<T>, inputs: &mut Select<'a>) -> Duration {
        if self.is_fast {
            return REST;
        }
        inputs.recv(queue);
        Duration::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn commands_are_taken_together_while_they_come_fast() {
        let (mut pace, start) = (CommandPace::default(), Instant::now());
        assert!(!pace.is_fast);
        pace.took(start);
        assert!(!pace.is_fast, "the first wakes the thread");
        pace.took(start + REST / 2);
        assert!(pace.is_fast);
        pace.took(start + REST / 2 + REST);
        assert!(pace.is_fast, "a rest does not count as slow");
        pace.found_none();
        assert!(!pace.is_fast, "nothing came during the rest");
        pace.took(start + 10 * REST);
        assert!(!pace.is_fast);
    }
}
