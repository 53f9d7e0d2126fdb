//! The reactor's timers and slots, which are nobody's business but the reactor's: compiled in from there.

#[allow(dead_code, unused_imports, reason = "a path needs the name of a slot alone")]
#[path = "../../src/reactor/slots.rs"]
mod slots;
#[allow(dead_code, reason = "not every method is a path")]
#[path = "../../src/reactor/timers.rs"]
mod timers;

pub use slots::SlotId;
pub use timers::{Scheduled, Timers};
