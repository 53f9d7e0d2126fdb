//! `seawall store`: what operators do with a store, whether or not a gateway runs.

use super::backing::{self, Unsupported};
use super::config::Config;
use super::output;
use crate::store::sqlite::{Backup, Restored, StoreContent};
use crate::store::{Dropped, Fit, Selection, StoreSchema};
use rustix::fs::Mode;
use std::path::{Path, PathBuf};
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

/// Deletes the channels that `text` names, with everything in them.
pub(super) fn drop_channels(config: &Config, text: &str) -> ExitCode {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let Ok(selection) = Selection::parse(text) else {
        return failed(&format!("{text}: not a channel name, and not the beginning of one followed by *"));
    };
    match backing::drop_channels(config, &selection) {
        Ok(Dropped { channels: 0, .. }) => failed(&format!("{text}: the store has no such channel")),
        Ok(Dropped { channels, publications }) => {
            output::print(&format!("dropped {channels} channels with {publications} publications\n"))
        }
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

/// Backs the SQLite store up, and prints what the backup holds.
pub(super) fn backup(config: &Config, folder: Option<PathBuf>, keep: Option<u16>) -> ExitCode {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    match backing::backup(config, folder, keep) {
        Ok(Backup { path, content, removed }) => {
            let removed: String =
                removed.iter().map(|old| format!("removed       {}\n", old.display())).collect();
            output::print(&format!("backup        {}\n{}{removed}", path.display(), listing(&content)))
        }
        Err(unsupported) => unsupported_here(unsupported),
    }
}

/// Restores the SQLite store from a backup, and prints what it holds now.
pub(super) fn restore(config: &Config, file: &Path) -> ExitCode {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    match backing::restore(config, file) {
        Ok(Restored { content, replaced, aside }) => {
            let aside = aside.map(|folder| {
                format!("old files     {}: delete them when they are no longer needed\n", folder.display())
            });
            output::print(&format!(
                "restored      {}\n{}replaced      epoch {replaced}: clients will read the logs again\n{}",
                file.display(),
                listing(&content),
                aside.unwrap_or_default()
            ))
        }
        Err(unsupported) => unsupported_here(unsupported),
    }
}

fn listing(content: &StoreContent) -> String {
    let StoreContent { bytes, channels, publications, epoch, schema } = content;
    format!(
        "bytes         {bytes}\nchannels      {channels}\npublications  {publications}\nepoch         {epoch}\nschema        {schema}\n"
    )
}

/// Not a success even on PostgreSQL, because nothing was backed up or restored.
fn unsupported_here(unsupported: Unsupported) -> ExitCode {
    match unsupported {
        Unsupported::Failed(error) => failed(&error),
        Unsupported::Postgres(url) => failed(&format!(
            "nothing was done, because the store is in PostgreSQL. While gateways run, back it up with:
pg_dump --format=custom --schema=seawall --file=seawall.dump '{url}'
To restore, stop all gateways and run:
pg_restore --clean --if-exists --no-owner --exit-on-error --dbname='{url}' seawall.dump
seawall store new-epoch"
        )),
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
