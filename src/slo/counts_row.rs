//! The text in which counts are stored: a JSON object with an array for each part that counted anything.
//!
//! `{"publish":[100,1,2,6,16666]}`: good, bad and excluded units, slots of ten seconds with an event, and the sum of the shares of bad
//! events of these slots in parts per million. A part that only another release knows is skipped.

use super::part::{PartTotals, SloPart};
use super::run_counts::AllCounts;
use super::scoreboard::PartCounts;
use std::collections::BTreeMap;

type Cells = [u64; 5];

/// The text of these counts.
pub fn text_of(counts: &AllCounts) -> String {
    let counted =
        SloPart::ALL.into_iter().zip(counts).filter(|(_, counts)| **counts != PartCounts::default());
    let cells = |counts: &PartCounts| -> Cells {
        let PartCounts { totals: PartTotals { good, bad, excluded }, looks, bad_looks_ppm } = *counts;
        [good, bad, excluded, looks, bad_looks_ppm]
    };
    let parts: BTreeMap<&str, Cells> =
        counted.map(|(part, counts)| (part.stored_as(), cells(counts))).collect();
    serde_json::to_string(&parts).unwrap_or_default()
}

/// The counts of this text; none if it is not one of these.
pub fn read(text: &str) -> AllCounts {
    let parts: BTreeMap<String, Cells> = serde_json::from_str(text).unwrap_or_default();
    SloPart::ALL.map(|part| {
        let [good, bad, excluded, looks, bad_looks_ppm] =
            parts.get(part.stored_as()).copied().unwrap_or_default();
        PartCounts { totals: PartTotals { good, bad, excluded }, looks, bad_looks_ppm }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts_of(cells: &[Cells]) -> AllCounts {
        let mut counts = AllCounts::default();
        for (counts, [good, bad, excluded, looks, bad_looks_ppm]) in counts.iter_mut().zip(cells) {
            let totals = PartTotals { good: *good, bad: *bad, excluded: *excluded };
            *counts = PartCounts { totals, looks: *looks, bad_looks_ppm: *bad_looks_ppm };
        }
        counts
    }

    proptest! {
        #[test]
        fn text_has_all_counts(cells in prop::collection::vec(any::<Cells>(), 0..=SloPart::ALL.len())) {
            let counts = counts_of(&cells);
            prop_assert_eq!(read(&text_of(&counts)), counts);
        }

        #[test]
        fn text_that_is_cut_off_has_no_counts(cells in any::<Cells>(), cut in 0_usize..20) {
            let text = text_of(&counts_of(&[cells]));
            prop_assert_eq!(read(&text[..cut.min(text.len() - 1)]), AllCounts::default());
        }
    }

    #[test]
    fn parts_are_stored_under_different_names() {
        let mut names: Vec<&str> = SloPart::ALL.into_iter().map(SloPart::stored_as).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SloPart::ALL.len());
    }

    #[test]
    fn part_of_another_release_is_skipped() {
        let counts = read(r#"{"later":[1,2,3,4,5],"publish":[7,0,0,1,0]}"#);
        let totals: Vec<u64> = counts.iter().map(|counts| counts.totals.good).collect();
        assert_eq!((totals.iter().sum::<u64>(), counts[SloPart::Publish.index()].totals.good), (7, 7));
        assert_eq!(text_of(&AllCounts::default()), "{}");
    }
}
