//! Times the hot paths with criterion: `cargo bench -p seawall-benches --bench timing`, optionally with part of a name after `--`.
//!
//! Times vary between machines and hours, so the gate counts instructions instead (`tools/instructions`). Some paths are
//! timed and not counted: the store, which waits, and the refusals of an outage.

mod codec;
mod command;
mod encoding;
mod fan_out;
mod handshake;
mod outbox;
#[path = "../paths/mod.rs"]
mod paths;
mod store;
mod verdict;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use paths::Path;
// The reactor's files included by `paths` use `crate::clock`.
use seawall::clock;
use std::time::Duration;

fn time<P: Path>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    let mut path = P::prepare();
    group.bench_function(name, |bencher| bencher.iter(|| path.once()));
}

fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = paths_timed;
    config = short();
    targets = codec::all, command::all, encoding::all, fan_out::all, handshake::all, outbox::all, verdict::all,
        store::all
}
criterion_main!(paths_timed);
