//! Opening a store: files of other programs, of other versions, and of another process.

use super::super::connection::{self, FILE_NAME};
use super::super::{SqliteConfig, SqliteOpenError, SqliteRoom, SqliteStore, new_epoch, noted_schema, schema};
use super::support::{KEEP_ALL, Shelf, append};
use crate::id::{Epoch, Offset};
use crate::job::Attempt;
use crate::store::Retention;
use crate::stream::StreamSettings;
use std::path::Path;

fn config(data: &Path) -> SqliteConfig {
    SqliteConfig {
        data: data.to_owned(),
        retention: Retention { publications: 0, age: None },
        channels_max: 10,
        edits_max: 100,
        room: SqliteRoom::default(),
        readers: 1,
        streams: StreamSettings::default(),
    }
}

#[test]
fn epoch_stays_until_it_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("made/on/the/way");
    assert!(matches!(new_epoch(&data), Err(SqliteOpenError::Missing { .. })));
    let epoch = SqliteStore::open(config(&data)).expect("a new store").epoch();
    assert_eq!(SqliteStore::open(config(&data)).expect("the same store").epoch(), epoch);
    let (old, new) = new_epoch(&data).expect("another epoch");
    assert!(old == epoch && new != epoch);
    assert_eq!(SqliteStore::open(config(&data)).expect("the same store").epoch(), new);
}

#[test]
fn owned_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let _owner = SqliteStore::open(config(folder.path())).expect("a new store");
    assert!(matches!(SqliteStore::open(config(folder.path())), Err(SqliteOpenError::Locked { .. })));
    assert!(matches!(new_epoch(folder.path()), Err(SqliteOpenError::Locked { .. })));
}

#[test]
fn newer_file_is_refused_with_both_versions_and_left_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(SqliteStore::open(config(folder.path())).expect("a new store"));
    let file = connection::writer(&folder.path().join(FILE_NAME)).expect("the file");
    file.execute_batch("PRAGMA user_version = 99").expect("a newer version");
    let refused = SqliteStore::open(config(folder.path())).expect_err("too new");
    assert!(matches!(refused, SqliteOpenError::Newer { found: 99, known: schema::VERSION, .. }));
    let said = refused.to_string();
    assert!(said.contains("99") && said.contains(&schema::VERSION.to_string()), "{said}");
}

/// A store that a newer program migrated: what it added, and the oldest version that may use it.
fn newer_file(oldest: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    drop(SqliteStore::open(config(folder.path())).expect("a new store"));
    let file = connection::writer(&folder.path().join(FILE_NAME)).expect("the file");
    file.execute_batch(&format!(
        "CREATE TABLE added (x INTEGER NOT NULL) STRICT;
         ALTER TABLE channels ADD COLUMN added INTEGER NOT NULL DEFAULT 7;
         INSERT OR REPLACE INTO meta VALUES ('schema', 99), ('oldest', {oldest});
         PRAGMA user_version = {oldest}"
    ))
    .expect("a newer version");
    folder
}

#[test]
fn newer_file_is_refused_if_this_version_is_below_the_oldest() {
    let folder = newer_file(schema::VERSION + 1);
    let refused = SqliteStore::open(config(folder.path())).expect_err("too new");
    assert!(matches!(refused, SqliteOpenError::Newer { found: 99, known: schema::VERSION, .. }));
    assert!(matches!(new_epoch(folder.path()), Err(SqliteOpenError::Newer { .. })));
    let noted = noted_schema(folder.path()).expect("read").expect("a store");
    assert_eq!((noted.version, noted.oldest), (99, schema::VERSION + 1));
}

#[test]
fn newer_file_is_used_and_keeps_its_version_if_this_one_is_not_below_the_oldest() {
    let folder = newer_file(schema::VERSION);
    let mut shelf = Shelf::new(KEEP_ALL);
    shelf.log.close();
    std::fs::copy(folder.path().join(FILE_NAME), shelf.path()).expect("a copy");
    shelf.reopen();
    assert_eq!(shelf.offset(append("c", "ann", Some("k"), "1"), 10), 1);
    let added: i64 =
        shelf.log.raw().query_row("SELECT added FROM channels", [], |row| row.get(0)).expect("a row");
    assert_eq!(added, 7);
    drop(SqliteStore::open(config(folder.path())).expect("used"));
    let noted = noted_schema(folder.path()).expect("read").expect("a store");
    assert_eq!((noted.version, noted.oldest), (99, schema::VERSION));
}

/// The tables and indexes of a file, with their columns.
fn parts(file: &rusqlite::Connection) -> Vec<String> {
    let sql = "SELECT m.name || '.' || coalesce(c.name, '') || ' ' || coalesce(c.type, '')
               FROM sqlite_schema m LEFT JOIN pragma_table_info(m.name) c";
    let mut statement = file.prepare(sql).expect("SQL");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

#[test]
fn migrations_since_the_oldest_version_only_add_and_leave_its_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE_NAME);
    let mut file = connection::writer(&path).expect("a file");
    schema::migrate_to(&mut file, schema::OLDEST).expect("the oldest version");
    let before = parts(&file);
    let noted = schema::noted(&file).expect("read");
    assert_eq!((noted.version, noted.oldest), (schema::OLDEST, schema::OLDEST));
    for _ in 0..2 {
        schema::migrate(&mut file).expect("this version");
        let after = parts(&file);
        assert!(before.iter().all(|part| after.contains(part)), "{before:?} {after:?}");
        let number: u32 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a number");
        assert_eq!(number, schema::OLDEST, "earlier programs compare it");
        let noted = schema::noted(&file).expect("read");
        assert_eq!((noted.version, noted.oldest), (schema::VERSION, schema::OLDEST));
        // As the first programs with a third migration left it.
        let old = format!(
            "DELETE FROM meta WHERE name IN ('schema', 'oldest'); PRAGMA user_version = {}",
            schema::VERSION
        );
        file.execute_batch(&old).expect("an older note");
    }
}

#[test]
fn file_that_is_no_store_is_refused_with_advice() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE_NAME);
    std::fs::write(&path, "a text of more than a hundred bytes, ".repeat(10)).expect("a file");
    assert!(matches!(SqliteStore::open(config(folder.path())), Err(SqliteOpenError::NotADatabase { .. })));
    std::fs::remove_file(&path).expect("no file");
    let other = connection::writer(&path).expect("a database");
    other.execute_batch("CREATE TABLE theirs (x)").expect("a table");
    assert!(matches!(SqliteStore::open(config(folder.path())), Err(SqliteOpenError::NotOurs { .. })));
    let blocked = folder.path().join("a-file");
    std::fs::write(&blocked, "").expect("a file");
    let refused = SqliteStore::open(config(&blocked)).expect_err("not a folder");
    assert!(matches!(refused, SqliteOpenError::Folder { .. }), "{refused}");
}

#[test]
fn a_store_of_version_1_is_brought_forward_with_its_rows_and_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE_NAME);
    let mut old = connection::writer(&path).expect("a file");
    schema::migrate_to(&mut old, 1).expect("version 1");
    old.execute_batch(
        "INSERT INTO meta VALUES ('epoch', 7);
         INSERT INTO channels VALUES (3, 'c', 5, 4, 50), (4, 'empty', 2, 3, 20);
         INSERT INTO publications VALUES
             ((3 << 39) | 4, 'ann', 'k4', 40, 0, NULL, NULL, '\"four\"'),
             ((3 << 39) | 5, 'ann', 'k5', 50, 1, (3 << 39) | 4, NULL, '\"five\"');",
    )
    .expect("rows");
    drop(old);
    let mut shelf = Shelf::new(KEEP_ALL);
    shelf.log.close();
    std::fs::copy(&path, shelf.path()).expect("a copy");
    shelf.reopen();
    assert_eq!(shelf.log.epoch(), Epoch(7));
    let all = shelf.all("c");
    assert_eq!(
        (&all[0]["data"], &all[1]["data"], &all[1]["edits"]),
        (&"four".into(), &"five".into(), &4.into())
    );
    let again = shelf.append(
        &[
            append("c", "ann", Some("k4"), "\"four\""),
            super::support::changing(super::support::edit(4), append("c", "ann", Some("k5"), "\"five\"")),
        ],
        60,
    );
    for (outcome, offset) in again.iter().zip([4, 5]) {
        let outcome = outcome.as_ref().expect("known");
        assert_eq!((outcome.offset, outcome.attempt), (Offset(offset), Attempt::Repeat));
    }
    assert_eq!(shelf.offset(append("c", "ann", None, "6"), 60), 6);
    assert_eq!(shelf.offset(append("empty", "ann", None, "3"), 60), 3);
    let oldest: i64 = shelf
        .log
        .raw()
        .query_row("SELECT oldest FROM channels WHERE name = 'c'", [], |row| row.get(0))
        .expect("a time");
    assert_eq!(oldest, 40);
}
