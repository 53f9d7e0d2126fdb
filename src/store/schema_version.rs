//! Which programs may use which store.
//!
//! A schema version is a number of migrations. Migrations only add, so a program can use a store that has more of them than it
//! knows: two releases run on one store during an upgrade, and the older one again after it is rolled back. A store therefore
//! notes two numbers: the migrations it has had (`schema`), and the lowest version whose program may use it (`oldest`).
//!
//! Programs from before this rule know only one number, `version`, and refuse a store where it is higher than their own. It is
//! kept equal to `oldest`, so the last of them can use the store as well.

/// The numbers that a store notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSchema {
    /// The migrations it has had.
    pub version: u32,
    /// The lowest version whose program may use it.
    pub oldest: u32,
    /// False in a store that only programs from before this rule have migrated.
    pub(super) is_noted: bool,
}

impl StoreSchema {
    /// Reads the noted numbers. `version` is the one that programs from before this rule read; 0 in an empty store.
    pub(crate) fn of(version: u32, schema: Option<u32>, oldest: Option<u32>) -> StoreSchema {
        StoreSchema {
            version: schema.unwrap_or(0).max(version),
            oldest: oldest.unwrap_or(0).max(version),
            is_noted: schema.is_some() && oldest.is_some(),
        }
    }

    /// Compares the store with a program of schema version `known`.
    pub fn fit(self, known: u32) -> Fit {
        if self.oldest > known {
            Fit::TooNew
        } else if self.version > known {
            Fit::Newer
        } else if self.version < known || !self.is_noted {
            Fit::Older
        } else {
            Fit::Same
        }
    }
}

/// How a store and a program fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The program migrates the store.
    Older,
    Same,
    /// A newer program migrated the store, and this program may use it as it is.
    Newer,
    /// This program must not use the store.
    TooNew,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_refused_only_below_the_oldest() {
        let store = StoreSchema::of(3, Some(7), Some(3));
        assert_eq!([2, 3, 6, 7, 8].map(|known| store.fit(known)), {
            [Fit::TooNew, Fit::Newer, Fit::Newer, Fit::Same, Fit::Older]
        });
        let store = StoreSchema::of(5, Some(7), Some(5));
        assert_eq!([4, 5].map(|known| store.fit(known)), [Fit::TooNew, Fit::Newer]);
    }

    #[test]
    fn store_without_the_note_is_refused_by_older_programs_and_migrated_by_others() {
        let store = StoreSchema::of(3, None, None);
        assert_eq!([2, 3, 4].map(|known| store.fit(known)), [Fit::TooNew, Fit::Older, Fit::Older]);
        assert_eq!(StoreSchema::of(0, None, None).fit(4), Fit::Older);
    }

    #[test]
    fn any_higher_number_is_believed() {
        assert_eq!(StoreSchema::of(99, Some(4), Some(3)).fit(4), Fit::TooNew);
        assert_eq!(StoreSchema::of(3, Some(4), Some(99)).fit(4), Fit::TooNew);
        assert_eq!(StoreSchema::of(3, Some(99), Some(3)).fit(4), Fit::Newer);
    }
}
