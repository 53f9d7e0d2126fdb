//! Fan-out without sockets. Divide by the number of subscribers for the cost of a delivery.

use super::paths::Path;
use super::paths::fan_out::FanOut;
use super::time;
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    deliveries::<FanOut<1, 1>>(&mut group, "to 1");
    deliveries::<FanOut<100, 1>>(&mut group, "to 100");
    deliveries::<FanOut<10_000, 1>>(&mut group, "to 10,000");
    deliveries::<FanOut<10_000, 8>>(&mut group, "to 10,000, 8 in flight");
    group.finish();
}

fn deliveries<P: Path>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    group.throughput(Throughput::Elements(P::OPERATIONS.into()));
    time::<P>(group, name);
}
