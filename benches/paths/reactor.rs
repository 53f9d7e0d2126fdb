//! The timers and slots of the engine, which are private to it: compiled in from there.

#[allow(dead_code, unused_imports, reason = "a path needs the name of a slot alone")]
#[path = "../../src/engine/slots.rs"]
mod slots;
#[allow(dead_code, reason = "not every method is a path")]
#[path = "../../src/engine/timers.rs"]
mod timers;

pub use slots::SlotId;
pub use timers::{Scheduled, Timers};
