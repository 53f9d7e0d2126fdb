//! A proxy in front of one master of a cluster that garbles, delays or cuts: only the partitions of that master suffer.

use crate::bus::cluster::{BY_LOG, Pair, Talk, channel_at};
use crate::support::wait::{SOON, until};
use seawall_fault::{Direction, Garble, Mode, Pace};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

#[test]
fn garbled_slow_silent_or_cut_master_leaves_the_other_partitions_alone() {
    let pair = Pair::start();
    let (one, two) = (pair.gateway("gw-1"), pair.gateway("gw-2"));
    let mut talks = [0, 1, 2].map(|master: usize| Talk::on(&channel_at(master), &one, &two));
    talks.iter_mut().for_each(Talk::is_instant);
    let garble = Garble { seed: 7, every: NonZeroU32::MIN.saturating_add(39) };
    let slow = Pace { bytes_per_s: None, latency: Duration::from_millis(900) };
    for (name, mode) in [
        ("garbled", Mode::Garble(garble)),
        ("slow", Mode::Slow(slow)),
        ("stalled", Mode::Stall),
        ("half open", Mode::HalfOpen(Direction::Answers)),
        ("reset", Mode::Reset),
    ] {
        eprintln!("{name}");
        pair.cluster.proxies[1].set(mode);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(6) {
            talks[0].is_instant();
            talks[2].is_instant();
            talks[1].exchange(BY_LOG * 2);
        }
        pair.cluster.proxies[1].set(Mode::Pass);
        until(SOON * 2, "all masters deliver again", || {
            talks[1].exchange(BY_LOG * 2);
            [&one, &two].iter().all(|gateway| gateway.metric("seawall_bus_delivering") > 0.0)
        });
        talks.iter_mut().for_each(Talk::is_instant);
    }
}
