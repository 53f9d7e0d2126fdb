//! Commands: parsing text to values, and a `publish` through its session.

use super::paths::command::{DecodePublish, ParseHistory, ParsePublish, ParseSubscribe};
use super::paths::session::PublishToEffect;
use super::time;
use criterion::Criterion;

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    time::<ParsePublish>(&mut group, "publish");
    time::<ParseSubscribe>(&mut group, "subscribe");
    time::<ParseHistory>(&mut group, "history");
    time::<DecodePublish>(&mut group, "publish out of its frame");
    group.finish();
    publish_to_effect(criterion);
}

/// A session holds at most as many unanswered commands as a `u16` counts, so a new one is created now and then.
fn publish_to_effect(criterion: &mut Criterion) {
    use super::paths::Path;
    use criterion::BatchSize;
    criterion.bench_function("command/publish to effect", |bencher| {
        bencher.iter_batched_ref(PublishToEffect::prepare, |path| path.once(), BatchSize::SmallInput);
    });
}
