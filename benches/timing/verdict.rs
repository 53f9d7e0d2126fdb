//! The bounds that every message or handshake is checked against.

use super::paths::availability::{AvailabilityVerdict, Refusal};
use super::paths::bounds::{Admit, DeadlineComesUp, DeadlineMovesLater, HandshakeVerdict};
use super::time;
use criterion::Criterion;

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verdict");
    time::<HandshakeVerdict>(&mut group, "of a handshake");
    time::<AvailabilityVerdict>(&mut group, "of the dependencies");
    time::<Refusal>(&mut group, "refused by its template");
    time::<Admit>(&mut group, "of a rate limit");
    time::<DeadlineMovesLater>(&mut group, "deadline moves later");
    time::<DeadlineComesUp>(&mut group, "deadline comes up");
    group.finish();
}
