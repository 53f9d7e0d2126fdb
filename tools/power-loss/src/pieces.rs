//! The content of a file after a power cut: its durable content, mixed with unsynced data that happened to be written.

use crate::WrittenBack;
use fastrand::Rng;

/// The unit that a disk writes completely or not at all.
const SECTOR: usize = 512;
/// The unit that a kernel usually writes.
const PAGE: usize = 4096;

/// A possible content of a file whose durable content is `durable` and whose content in the kernel is `current`.
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
            // Past the end of `current`, the file was truncated and reads as zeros.
            bytes.fill(0);
            bytes[..newer.len()].copy_from_slice(newer);
        }
    }
    content
}

/// Chooses a length: a file grows piece by piece and shrinks at once.
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
    fn every_sector_is_completely_old_or_new() {
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
    fn truncated_file_has_its_old_or_new_length() {
        for seed in 0..50 {
            let found = mix(&[1; 5_000], &[2; 100], WrittenBack::Some, &mut Rng::with_seed(seed));
            assert!([5_000, 100].contains(&found.len()), "{}", found.len());
        }
    }

    #[test]
    fn nothing_written_back_leaves_the_durable_content() {
        assert_eq!(mix(b"old", b"newer", WrittenBack::Nothing, &mut Rng::with_seed(1)), b"old");
    }
}
