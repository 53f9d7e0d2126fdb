//! The promises S1 to S6 of `docs/streams.md`, under random producers, commits that fail, and time.

use super::world::{Commit, PRODUCERS, World};
use crate::wire::stream::{EventKeep, StreamEnd};
use proptest::prelude::*;
use std::time::Duration;

/// One step: its kind, the producer, the stream, and a number for the rest.
type Step = (u8, u64, u64, u16);

fn run(steps: &[Step]) {
    let mut world = World::new();
    world.begin(0, EventKeep::Keep, Commit::Stored);
    for (kind, by, choice, number) in steps {
        let (by, choice, number) = (by % PRODUCERS, *choice, *number);
        let units = usize::from(number % 40);
        let events = if choice.is_multiple_of(2) { EventKeep::Keep } else { EventKeep::Drop };
        match kind % 32 {
            0 => world.begin(by, events, Commit::Stored),
            1 => world.ask(events, Commit::Stored),
            2 if number.is_multiple_of(2) => world.ask(events, Commit::Failed),
            2 => world.begin(by, events, Commit::Failed),
            3..=9 => world.append(by, choice, 0, units),
            10..=12 => world.append(by, choice, usize::from(number % 7), units),
            13 | 14 => world.append_wrongly(by, choice, number.into()),
            15 => world.restart(by, choice),
            16 => world.end(by, choice, StreamEnd::Completed),
            17 if number.is_multiple_of(2) => world.fail(choice),
            17 => world.end(by, choice, StreamEnd::Failed),
            18 => world.cancel(choice),
            19 => world.delete(choice),
            20 => world.detach(by),
            21 if number.is_multiple_of(2) => world.process(choice),
            21 => world.attach(by, choice),
            22 => world.crash(),
            23 => world.wait(Duration::from_millis(u64::from(number) % 12_000)),
            24 => world.flush(Commit::Failed, 0),
            25 => world.flush(Commit::Unknown, 0),
            26..=28 => {
                world.wait(Duration::from_millis(u64::from(number) % 60));
                world.flush(Commit::Stored, number.into());
            }
            _ => world.flush(Commit::Stored, 0),
        }
        world.check();
    }
    world.finish();
}

proptest! {
    #[test]
    fn every_promise_holds_at_each_step(
        steps in prop::collection::vec((any::<u8>(), any::<u64>(), 0u64..1_000, any::<u16>()), 0..90),
    ) {
        run(&steps);
    }
}
