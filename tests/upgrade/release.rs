//! CHANGELOG.md tells operators which releases run on one store.

use seawall::store::{postgres, sqlite};

#[test]
fn changelog_lists_the_schema_versions_of_this_program() {
    let text = include_str!("../../CHANGELOG.md");
    let newest = text.split("\n## ").nth(1).expect("an entry");
    for (store, version) in [("PostgreSQL", postgres::VERSION), ("SQLite", sqlite::VERSION)] {
        let row = format!("| {store} | {version} | ");
        assert!(newest.contains(&row), "the newest entry of CHANGELOG.md lacks {row:?}");
    }
}
