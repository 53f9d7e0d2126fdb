//! The whole engine: bytes become a sequence of operations on clients, workers and time around a real
//! [`Engine`](seawall::engine::Engine).
//!
//! The first byte chooses the bounds; each further operation is one byte and its arguments, and a turn unless its highest bit
//! is set. Commands, completions, failures, losses, time, slow sockets, outages, the drain and ends come in any order.
//! Checked: the engine's own invariants after each turn; each `id` is answered once; a client sees every log without a gap or a
//! duplicate, except where `lag` says so; nothing comes after a close; the bytes that wait for a client are bounded; once all
//! faults end, every client has everything, and a newcomer gets nothing that was erased; after the last connection the engine
//! is empty, and every counted connection is released once.

mod script;
mod shell;
mod store;
mod view;
mod workers;
mod world;

use script::Script;
use std::collections::BTreeMap;
use world::World;

/// Bytes of an input that count.
const INPUT_BYTES_MAX: usize = 2_048;

/// See the module.
pub fn check(bytes: &[u8]) {
    let Some(mut world) = play(bytes) else { return };
    world.settle();
    world.assert_nothing_erased_is_kept();
    world.end();
}

/// Counts each outcome that an input reaches before its faults end. The corpus must reach all of them.
pub fn reached(bytes: &[u8]) -> BTreeMap<String, u64> {
    play(bytes).map(|world| world.reached()).unwrap_or_default()
}

fn play(bytes: &[u8]) -> Option<World> {
    let (bounds, rest) = bytes[..bytes.len().min(INPUT_BYTES_MAX)].split_first()?;
    let mut script = Script::new(rest);
    let mut world = World::new(*bounds);
    while script.operate(&mut world) {}
    Some(world)
}
