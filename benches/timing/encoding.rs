//! Replies and pushes: encoding values to frames.

use super::paths::encode::{EncodeConnected, EncodePublication, EncodePublished};
use super::time;
use criterion::Criterion;

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encoding");
    time::<EncodePublication>(&mut group, "publication");
    time::<EncodePublished>(&mut group, "published");
    time::<EncodeConnected>(&mut group, "connected");
    group.finish();
}
