//! From a browser's request to `connected`.

use super::paths::handshake::{Handshake, Upgrade};
use super::paths::session::SignIn;
use super::time;
use criterion::Criterion;

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    time::<Upgrade>(&mut group, "head to 101");
    time::<Handshake<true>>(&mut group, "head to connected");
    time::<SignIn>(&mut group, "connect with a token to connected");
    group.finish();
}
