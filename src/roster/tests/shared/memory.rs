//! The memory of views.

use super::*;

#[test]
fn views_over_their_memory_have_numbers_alone() {
    let mut pair = Pair::new(1_000, 0);
    for name in 0..30 {
        pair.handle(0, present(name, &format!("u{name}"), None));
    }
    pair.pass(1_000);
    pair.handle(1, watch(WatchDetail::Members));
    pair.pass(500);
    assert_eq!(pair.rosters[1].sizes().views_bytes, 0);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["counted"], page.get("members")), (&30.into(), &true.into(), None));
    pair.rosters[1].bound(SharingBounds { views_bytes: 1 << 20 });
    pair.pass(11_000);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!(
        (Watcher::list(&page, "members").len(), page.get("counted")),
        (30, None),
        "there is room again"
    );
}

#[test]
fn largest_view_keeps_numbers_alone_and_the_others_their_members() {
    let mut pair = Pair::new(1_000, 4_096);
    pair.handle(1, watch(WatchDetail::Members));
    pair.handle(0, present(1, "ann", None));
    pair.pass(1_000);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!(Watcher::list(&page, "members").len(), 1, "{page}");
    for name in 2..200 {
        pair.handle(0, present(name, &format!("u{name}"), None));
    }
    pair.pass(11_000);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["counted"], page.get("members")), (&199.into(), &true.into(), None));
}

#[test]
fn views_for_pages_are_bounded_and_a_watcher_has_one_in_addition() {
    let mut sharing = SharedRosters::new(incarnation(0), SharingBounds { views_bytes: 1 << 20 });
    let of = |n: usize| ChannelName::parse(&format!("c.{n}")).expect("a name");
    let note = |sharing: &mut SharedRosters, watchers, ms| {
        sharing.note_roster(&of(VIEWS_FOR_PAGES_MAX), watchers, Vec::new(), now(ms).at);
    };
    let views = |sharing: &SharedRosters| sharing.sizes().0;
    (0..=VIEWS_FOR_PAGES_MAX).for_each(|n| sharing.open_for_page(&of(n), now(1_000).at));
    assert_eq!(views(&sharing), VIEWS_FOR_PAGES_MAX);
    note(&mut sharing, Watchers::Some, 2_000);
    assert_eq!(views(&sharing), VIEWS_FOR_PAGES_MAX + 1);
    // Views are closed 30 s after their last page, and make room.
    assert!(sharing.close_unused(&of(0), now(30_999).at).is_none());
    assert!(sharing.close_unused(&of(0), now(31_000).at).is_some());
    sharing.open_for_page(&of(0), now(31_000).at);
    sharing.open_for_page(&of(VIEWS_FOR_PAGES_MAX + 1), now(31_000).at);
    assert_eq!(views(&sharing), VIEWS_FOR_PAGES_MAX + 1);
    note(&mut sharing, Watchers::None, 32_000);
    assert!(sharing.close_unused(&of(VIEWS_FOR_PAGES_MAX), now(62_000).at).is_some());
    sharing.close_unused(&of(1), now(62_000).at);
    sharing.open_for_page(&of(VIEWS_FOR_PAGES_MAX + 1), now(62_000).at);
    assert_eq!(views(&sharing), VIEWS_FOR_PAGES_MAX);
}
