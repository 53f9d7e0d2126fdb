//! `seawall store`: what operators do with a store, whether or not a gateway runs.

use super::backing;
use super::config::Config;
use super::output;
use crate::store::{Fit, StoreSchema};
use rustix::fs::Mode;
use std::process::ExitCode;

/// Gives every log of the store a new epoch, as is needed after a restore.
pub(super) fn new_epoch(config: Config) -> ExitCode {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    match backing::new_epoch(&config) {
        Ok((old, new)) => output::print(&format!(
            "epoch {old} replaced by {new}: clients with an older cursor will read the logs again\n"
        )),
        Err(error) => failed(&error),
    }
}

/// Prints the schema version of the store, of this program, and the oldest that may use the store. Changes nothing. The exit
/// code is 1 if this program must not use the store.
pub(super) fn version(config: Config) -> ExitCode {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    match backing::schema(&config) {
        Ok((found, known)) => {
            let printed = output::print(&describe(&backing::describe(&config), found, known));
            match found.map(|found| found.fit(known)) {
                Some(Fit::TooNew) => ExitCode::FAILURE,
                None | Some(Fit::Older | Fit::Same | Fit::Newer) => printed,
            }
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &str) -> ExitCode {
    output::fail(error);
    ExitCode::FAILURE
}

fn describe(store: &str, found: Option<StoreSchema>, known: u32) -> String {
    let Some(found) = found else {
        return format!(
            "store    {store}\nfound    none\nprogram  {known}\nThe first start creates the store.\n"
        );
    };
    let StoreSchema { version, oldest, .. } = found;
    let verdict = match found.fit(known) {
        Fit::Older if version < known => {
            format!("The next start of this program migrates the store to schema version {known}.")
        }
        Fit::Older | Fit::Same => "This program uses the store as it is.".to_owned(),
        Fit::Newer => "A newer Seawall migrated the store. This program can use it.".to_owned(),
        Fit::TooNew => format!(
            "This program must not use the store: run a Seawall of schema version {oldest} or later, or restore a backup."
        ),
    };
    format!("store    {store}\nfound    {version}\nprogram  {known}\noldest   {oldest}\n{verdict}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_printed_with_a_verdict() {
        let text = |schema, oldest, known| {
            describe("data (SQLite)", Some(StoreSchema::of(2, Some(schema), Some(oldest))), known)
        };
        assert_eq!(
            text(4, 2, 3),
            "store    data (SQLite)\nfound    4\nprogram  3\noldest   2\n\
             A newer Seawall migrated the store. This program can use it.\n"
        );
        assert!(
            text(3, 2, 4)
                .ends_with("The next start of this program migrates the store to schema version 4.\n")
        );
        assert!(text(4, 2, 4).ends_with("This program uses the store as it is.\n"));
        assert!(text(6, 4, 3).contains("must not use the store: run a Seawall of schema version 4 or later"));
        assert!(describe("data (SQLite)", None, 4).contains("found    none\n"));
    }
}
