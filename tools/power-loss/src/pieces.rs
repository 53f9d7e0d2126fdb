//! What a file holds after a power cut: its durable content, and what of the rest happened to be written.

use crate::WrittenBack;
use fastrand::Rng;

/// A disk writes a sector whole or not at all.
const SECTOR: usize = 512;
/// What a kernel writes at once, mostly.
const PAGE: usize = 4096;

/// The content that a disk may hold of a file of which it promised `durable` and the kernel had `current`.
pub(crate) fn mix(durable: &[u8], current: &[u8], back: WrittenBack, random: &mut Rng) -> Vec<u8> {
    let share = match back {
        WrittenBack::Nothing => return durable.to_vec(),
        WrittenBack::Some => match random.u8(0..4) {
            0 => return durable.to_vec(),
            1 => return current.to_vec(),
            _ => random.f64(),
        },
    };
    let piece = if random.bool() { SECTOR } else { PAGE };
    let mut content = durable.to_vec();
    content.resize(length(durable.len(), current.len(), random), 0);
    for (at, bytes) in content.chunks_mut(piece).enumerate() {
        let from = (at * piece).min(current.len());
        let newer = &current[from..(from + bytes.len()).min(current.len())];
        if random.f64() < share {
            // Beyond the end of what the kernel has, a longer file was cut off and is zeros.
            bytes.fill(0);
            bytes[..newer.len()].copy_from_slice(newer);
        }
    }
    content
}

/// A file grows piece by piece, and shrinks at once.
fn length(durable: usize, current: usize, random: &mut Rng) -> usize {
    match random.u8(0..3) {
        0 => durable,
        1 if current > durable => durable + random.usize(0..=(current - durable) / SECTOR) * SECTOR,
        _ => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sector_is_the_old_one_or_the_new_one() {
        let (old, new) = (vec![1; 20 * SECTOR], vec![2; 24 * SECTOR]);
        let (mut torn, mut lengths) = (0, std::collections::BTreeSet::new());
        for seed in 0..200 {
            let found = mix(&old, &new, WrittenBack::Some, &mut Rng::with_seed(seed));
            lengths.insert(found.len());
            for (at, sector) in found.chunks(SECTOR).enumerate() {
                let whole = sector.iter().all(|byte| *byte == sector[0]);
                assert!(whole && (sector[0] != 0 || at >= 20), "seed {seed}: sector {at}: {sector:?}");
            }
            let new = found.iter().filter(|byte| **byte == 2).count();
            torn += usize::from(new > 0 && new < 20 * SECTOR);
        }
        assert!(torn > 50, "{torn} of 200 are torn");
        assert!(lengths.len() > 3, "{lengths:?}");
    }

    #[test]
    fn a_file_that_was_cut_off_is_long_or_short() {
        for seed in 0..50 {
            let found = mix(&[1; 5_000], &[2; 100], WrittenBack::Some, &mut Rng::with_seed(seed));
            assert!([5_000, 100].contains(&found.len()), "{}", found.len());
        }
    }

    #[test]
    fn nothing_written_back_is_what_was_promised() {
        assert_eq!(mix(b"old", b"newer", WrittenBack::Nothing, &mut Rng::with_seed(1)), b"old");
    }
}
