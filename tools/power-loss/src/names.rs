//! The log of names: every creation, renaming and removal, in order.
//!
//! A line has an operation, a folder, an inode, a second folder and a name. `+` gives a name to a file, `d` creates a
//! folder, `>` renames (the name is `old/new`), and `-` removes.

use std::collections::BTreeMap;

/// The names in each folder, by the folder's inode, with the inodes they name.
pub(crate) type NameTree = BTreeMap<u64, BTreeMap<String, u64>>;

/// One line of the log.
struct Change<'a> {
    operation: &'a str,
    folder: u64,
    inode: u64,
    target: u64,
    name: &'a str,
}

impl Change<'_> {
    fn parse(line: &str) -> Option<Change<'_>> {
        let mut words = line.splitn(5, ' ');
        let operation = words.next()?;
        let mut number = || words.next()?.parse().ok();
        let (folder, inode, target) = (number()?, number()?, number()?);
        Some(Change { operation, folder, inode, target, name: words.next()? })
    }
}

/// The offsets of the ends of all lines and of the start: the points at which a journal can stop.
pub(crate) fn ends(log: &str) -> Vec<u64> {
    std::iter::once(0).chain(log.match_indices('\n').map(|(at, _)| at as u64 + 1)).collect()
}

/// The names on the disk: in each folder those up to its durable length, and in all folders those up to `written`.
pub(crate) fn replay(log: &str, durable: &BTreeMap<u64, u64>, written: u64) -> NameTree {
    let mut names = NameTree::new();
    let mut end = 0;
    for line in log.split_inclusive('\n') {
        end += line.len() as u64;
        // The last line may be incomplete if its writer was killed.
        let Some(change) = line.strip_suffix('\n').and_then(Change::parse) else { continue };
        let holds = |folder| end <= durable.get(&folder).copied().unwrap_or(0).max(written);
        apply(&mut names, &change, holds);
    }
    names
}

fn apply(names: &mut NameTree, change: &Change<'_>, holds: impl Fn(u64) -> bool) {
    let &Change { operation, folder, inode, target, name } = change;
    match operation {
        "d" => {
            // The inode number may have belonged to another folder before.
            names.insert(inode, BTreeMap::new());
            if holds(folder) {
                names.entry(folder).or_default().insert(name.to_owned(), inode);
            }
        }
        "+" if holds(folder) => {
            names.entry(folder).or_default().insert(name.to_owned(), inode);
        }
        "-" if holds(folder) => {
            names.entry(folder).or_default().remove(name);
        }
        ">" => {
            let (old, new) = name.split_once('/').unwrap_or((name, name));
            if holds(folder) {
                names.entry(folder).or_default().remove(old);
            }
            if holds(target) {
                names.entry(target).or_default().insert(new.to_owned(), inode);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "+ 1 10 0 a\nd 1 2 0 sub\n+ 2 11 0 b\n> 1 10 1 a/c\n- 2 0 0 b\n";

    fn listed(durable: &[(u64, u64)], written: u64) -> Vec<(u64, String, u64)> {
        let names = replay(LOG, &durable.iter().copied().collect(), written);
        let flat = names
            .into_iter()
            .flat_map(|(folder, names)| names.into_iter().map(move |(name, inode)| (folder, name, inode)));
        flat.collect()
    }

    fn row(folder: u64, name: &str, inode: u64) -> (u64, String, u64) {
        (folder, name.into(), inode)
    }

    #[test]
    fn unsynced_names_are_lost() {
        assert_eq!(listed(&[], 0), []);
        assert_eq!(listed(&[(1, 11)], 0), [row(1, "a", 10)]);
    }

    #[test]
    fn each_folder_has_its_own_durable_names() {
        let all = LOG.len() as u64;
        assert_eq!(listed(&[(1, all)], 0), [row(1, "c", 10), row(1, "sub", 2)]);
        assert_eq!(listed(&[(1, 23), (2, 34)], 0), [row(1, "a", 10), row(1, "sub", 2), row(2, "b", 11)]);
        assert_eq!(listed(&[(2, all)], 0), []);
    }

    #[test]
    fn journal_stops_between_changes_and_keeps_a_renamed_file() {
        for written in ends(LOG) {
            let found = listed(&[], written);
            let named = found.iter().filter(|(_, _, inode)| *inode == 10).count();
            assert_eq!(named, usize::from(written >= 11), "{written}: {found:?}");
        }
    }

    #[test]
    fn incomplete_last_line_is_ignored() {
        let names = replay("+ 1 10 0 a\n+ 1 11 0 lon", &BTreeMap::new(), 1_000);
        assert_eq!(names[&1].len(), 1);
    }
}
