//! The outbox: frames that wait for a socket.

use super::paths::outbox::{OfferAndAdvance, PartialWrite};
use super::time;
use criterion::Criterion;

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("outbox");
    time::<OfferAndAdvance>(&mut group, "one run, taken whole");
    time::<PartialWrite>(&mut group, "a reply and four runs, taken in two pieces");
    group.finish();
}
