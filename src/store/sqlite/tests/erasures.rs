//! Searches for what erased users wrote, a slice at a time.

use super::super::user_search::{SearchWork, UserSlice};
use super::super::user_searches::UserSearches;
use super::order_support::{MINUTE, block, board, place, user};
use super::support::{KEEP_ALL, Shelf, append};
use crate::cluster::order::ClusterOrder;
use crate::job::orders::OrderFault;
use crate::metrics::store::StoreCounters;
use crate::store::columns::natural;
use std::sync::atomic::Ordering;

/// After the pause before a search.
const LATER_MS: u64 = 10_005;

fn erase(shelf: &mut Shelf, name: &str, by: &str) {
    place(shelf, &board(), ClusterOrder::Erase(user(name)), by, MINUTE).expect("placed");
}

/// Does one slice.
fn advance(shelf: &mut Shelf, searches: &mut UserSearches, now_ms: u64) -> Option<UserSlice> {
    let slice = searches.next(&mut shelf.log, now_ms).expect("it reads")?;
    for delete in &slice.deletes {
        shelf.append(std::slice::from_ref(delete), now_ms);
    }
    let copy = UserSlice { by: slice.by.clone(), work: slice.work.clone(), deletes: Vec::new() };
    searches.finish(&mut shelf.log, slice, now_ms).expect("it commits");
    Some(copy)
}

fn begin_round(shelf: &mut Shelf, searches: &mut UserSearches, now_ms: u64) -> (u64, u64) {
    let counters = StoreCounters::default();
    searches.begin_round(&mut shelf.log, now_ms, &counters).expect("it reads");
    (counters.erasures_unfinished.load(Ordering::Relaxed), counters.erasure_age_ms.load(Ordering::Relaxed))
}

fn count(shelf: &mut Shelf, sql: &str) -> u64 {
    shelf.log.raw().query_row(sql, [], |row| row.get(0).map(natural)).expect("a number")
}

#[test]
fn keys_of_one_channel_are_deleted_in_slices() {
    let mut shelf = Shelf::new(KEEP_ALL);
    shelf.offset(append("c", "ann", Some("k"), "1"), 1);
    let more = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
        INSERT INTO keys SELECT channel, user, key || n, offset, time, digest FROM keys, n";
    shelf.log.raw().execute_batch(more).expect("inserted");
    erase(&mut shelf, "ann", "test");
    let mut searches = UserSearches::default();
    begin_round(&mut shelf, &mut searches, LATER_MS);
    let mut most = 0;
    while let Some(slice) = advance(&mut shelf, &mut searches, LATER_MS) {
        if let SearchWork::Keys { keys, .. } = slice.work {
            most = most.max(keys.len());
        }
    }
    assert_eq!((most, count(&mut shelf, "SELECT count(*) FROM keys")), (512, 0));
    assert_eq!(count(&mut shelf, "SELECT count(*) FROM user_erasures"), 0);
}

#[test]
fn search_is_for_all_users_of_its_requester_and_waits_until_publications_are_settled() {
    let mut shelf = Shelf::new(KEEP_ALL);
    for n in 0..300 {
        shelf.offset(append("c", &format!("u{n}"), None, "1"), 1);
        erase(&mut shelf, &format!("u{n}"), "one");
    }
    let mut searches = UserSearches::default();
    assert_eq!(begin_round(&mut shelf, &mut searches, 9_000), (300, 8_995));
    assert!(
        advance(&mut shelf, &mut searches, 9_000).is_none(),
        "what was taken before may still be committed"
    );
    let mut scans = 0;
    for _ in 0..4 {
        begin_round(&mut shelf, &mut searches, LATER_MS);
        while let Some(slice) = advance(&mut shelf, &mut searches, LATER_MS) {
            scans += u64::from(matches!(slice.work, SearchWork::Begin(_)));
        }
    }
    assert_eq!((scans, begin_round(&mut shelf, &mut searches, LATER_MS)), (1, (0, 0)));
    assert!(shelf.all("c").iter().all(|one| one["user"] == "erased"));
    assert_eq!(count(&mut shelf, "SELECT count(*) FROM orders WHERE kind = 'erased'"), 1);
}

#[test]
fn requesters_take_turns_and_deletes_of_a_round_are_bounded() {
    let mut shelf = Shelf::new(KEEP_ALL);
    for _ in 0..1_000 {
        shelf.offset(append("c", "ann", None, "1"), 1);
    }
    shelf.offset(append("d", "bob", None, "1"), 1);
    erase(&mut shelf, "ann", "one");
    erase(&mut shelf, "bob", "other");
    let mut searches = UserSearches::default();
    begin_round(&mut shelf, &mut searches, LATER_MS);
    while advance(&mut shelf, &mut searches, LATER_MS).is_some() {}
    assert_eq!(count(&mut shelf, "SELECT count(*) FROM publications WHERE kind = 2"), 256);
    assert_eq!(shelf.all("d")[0]["user"], "erased", "it did not wait for all of the first");
    let unfinished = "SELECT count(*) FROM publications WHERE user = 'ann'";
    for _ in 0..8 {
        begin_round(&mut shelf, &mut searches, LATER_MS);
        while advance(&mut shelf, &mut searches, LATER_MS).is_some() {}
    }
    assert_eq!(count(&mut shelf, unfinished), 0);
}

#[test]
fn share_of_an_author_is_counted_as_rows_come_and_go() {
    let (mut shelf, board) = (Shelf::new(KEEP_ALL), board());
    for _ in 0..2 {
        // The second time changes the rows.
        for name in ["a", "b", "c"] {
            place(&mut shelf, &board, block(name), "one", MINUTE).expect("placed");
        }
    }
    place(&mut shelf, &board, block("d"), "other", MINUTE).expect("placed");
    let shares =
        "SELECT group_concat(by || count) FROM (SELECT * FROM shares WHERE list = 'blocks' ORDER BY by)";
    let shares = |shelf: &mut Shelf| -> Option<String> {
        shelf.log.raw().query_row(shares, [], |row| row.get(0)).expect("a text")
    };
    assert_eq!(shares(&mut shelf).as_deref(), Some("one3,other1"));
    for name in ["a", "d"] {
        place(&mut shelf, &board, ClusterOrder::Unblock(user(name)), "other", MINUTE).expect("placed");
    }
    assert_eq!(shares(&mut shelf).as_deref(), Some("one2"));
    shelf.log.raw().execute("UPDATE shares SET count = 50000", []).expect("changed");
    assert_eq!(place(&mut shelf, &board, block("e"), "one", MINUTE), Err(OrderFault::TooManyBlocks));
    place(&mut shelf, &board, block("e"), "other", MINUTE).expect("a share of its own");
}
