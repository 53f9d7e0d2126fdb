//! Open streams under other work of the store: begins, edits, deletes, erasures and dropped channels.

use super::super::super::drop_channels::drop_all;
use super::support::{
    NOW_MS, Store, begin, commit, delete, edit, end, ends, fence, id, plain, restart, restarts, row, rows,
    write,
};
use crate::id::{Key, Offset};
use crate::job::{Append, AppendError, Attempt};
use crate::store::Selection;
use crate::stream::{EndFate, Loaded, RowFate, StoredEndFate};
use crate::wire::stream::{StreamEnd, StreamFault, StreamId, StreamMark};

/// The texts of parts that are left of a channel's streams, with the ones of others.
const TEXTS: &str = "SELECT count(*) FROM seawall.stream_parts WHERE body IS NOT NULL";

fn replaced(edit: u64) -> EndFate {
    EndFate { end: StreamEnd::Replaced, edit: Offset(edit) }
}

/// An edit (1) or delete (2) by the function that the release before calls.
fn change_by_old_program(store: &Store, stream: &StreamId, kind: u8) -> String {
    store.sql(&format!(
        "SELECT status || ' ' || out_offset FROM seawall.append_bounded({NOW_MS}, 100, ARRAY['{}'], ARRAY['bot'], ARRAY[NULL::text],
            ARRAY[{kind}::smallint], ARRAY[{}::bigint], ARRAY[false], ARRAY[NULL::bytea], ARRAY['1'], 100)",
        stream.channel, stream.offset.0
    ))
}

#[test]
fn edit_of_a_begin_ends_its_stream() {
    let mut store = Store::start();
    let mut other = store.connect();
    let stream = store.begin("c");
    store.flush(&rows([row(&stream, 1, 0, "Hello")]));
    let settled = store.commit(&[edit(&stream), edit(&stream), plain("c", None, "1")]);
    let marks: Vec<StreamMark> = settled.iter().map(|settled| settled.mark).collect();
    assert_eq!(marks, [StreamMark::Ended(StreamEnd::Replaced), StreamMark::None, StreamMark::None]);
    assert_eq!(store.marks("c"), "1:0:1 2:1:6 3:1:- 4:0:-");
    assert!(matches!(store.load(&stream), Loaded::Ended(fate, Some(NOW_MS)) if fate == replaced(2)));
    let fates = write(&mut other, &rows([row(&stream, 1, 5, "x")])).expect("the flush commits").fates;
    assert_eq!(fates.rows, [RowFate::Lost]);
    let fates = write(&mut other, &ends([end(&stream, fence(1, 5))])).expect("the flush commits").fates;
    assert_eq!(fates.ends, [StoredEndFate::Ended(replaced(2))]);
    // A repeat, whose author may not have been answered, says the same.
    let second = store.begin("d");
    let keyed = || [Append { key: Some(Key::parse("k").expect("a key")), ..edit(&second) }];
    for attempt in [Attempt::First, Attempt::Repeat] {
        let settled = store.commit(&keyed()).remove(0);
        assert_eq!(settled.mark, StreamMark::Ended(StreamEnd::Replaced), "{attempt:?}");
        assert_eq!(settled.outcome.map(|appended| appended.attempt), Ok(attempt));
    }
    // An end stays as it is.
    assert_eq!(store.commit(&[edit(&stream), delete(&stream)])[1].mark, StreamMark::None);
}

#[test]
fn delete_of_a_begin_ends_its_stream_and_its_text_goes_soon() {
    let mut store = Store::start();
    let [open, ended, in_one_batch] = ["a", "b", "c"].map(|channel| store.begin(channel));
    for stream in [&open, &ended, &in_one_batch] {
        store.flush(&rows([row(stream, 1, 0, "secret")]));
    }
    store.flush(&ends([end(&ended, fence(1, 6))]));
    let kept = |store: &Store| {
        store.sql(
            "SELECT string_agg(CASE WHEN kept_until - (extract(epoch FROM clock_timestamp()) * 1000)::bigint <= 5000
                 THEN 'soon' ELSE 'later' END, ' ' ORDER BY id) FROM seawall.streams WHERE kept_until IS NOT NULL",
        )
    };
    assert_eq!(kept(&store), "later");
    let settled = store.commit(&[delete(&open), delete(&ended), edit(&in_one_batch), delete(&in_one_batch)]);
    let marks: Vec<StreamMark> = settled.iter().map(|settled| settled.mark).collect();
    let [replaced, deleted] = [StreamEnd::Replaced, StreamEnd::Deleted].map(StreamMark::Ended);
    assert_eq!(marks, [deleted, StreamMark::None, replaced, StreamMark::None]);
    assert_eq!(kept(&store), "soon soon soon");
    assert_eq!(store.marks("a"), "1:0:1 2:2:7");
    let fate = EndFate { end: StreamEnd::Deleted, edit: Offset(2) };
    assert!(matches!(store.load(&open), Loaded::Ended(found, _) if found == fate));
}

#[test]
fn program_of_the_release_before_ends_streams_as_well() {
    let mut store = Store::start();
    let mut other = store.connect();
    let [edited, deleted] = ["a", "b"].map(|channel| store.begin(channel));
    store.flush(&restarts([restart(&edited, 1)]));
    store.flush(&rows([row(&edited, 2, 0, "Hello"), row(&deleted, 1, 0, "Hello")]));
    assert_eq!(change_by_old_program(&store, &edited, 1), "0 2");
    assert_eq!(change_by_old_program(&store, &deleted, 2), "0 2");
    assert_eq!((store.marks("a"), store.marks("b")), ("1:0:1 2:1:6".into(), "1:0:1 2:2:7".into()));
    let late = rows([row(&edited, 2, 5, "x"), row(&deleted, 1, 5, "x")]);
    let fates = write(&mut other, &late).expect("the flush commits").fates;
    assert_eq!(fates.rows, [RowFate::Lost, RowFate::Lost]);
    let late = ends([end(&edited, fence(2, 5))]);
    let fates = write(&mut other, &late).expect("the flush commits").fates;
    assert_eq!(fates.ends, [StoredEndFate::Ended(replaced(2))]);
    // Its edits of other publications do what they did.
    store.commit(&[plain("a", None, "1")]);
    assert_eq!(change_by_old_program(&store, &id("a", 3), 1), "0 4");
}

#[test]
fn channel_has_a_bounded_number_of_open_streams() {
    let mut store = Store::start();
    let begins: Vec<_> = (0..65).map(|n| begin("c", Some(&format!("k{n}")), "1")).collect();
    let settled = store.commit(&begins);
    assert!(settled[..64].iter().all(|settled| settled.mark == StreamMark::Begun));
    let full = AppendError::Stream(StreamFault::ChannelFull { retry_ms: crate::store::outcome::RETRY_MS });
    assert_eq!(settled[64].outcome, Err(full.clone()));
    // A repeat is none more, and a plain publication is no stream.
    let again = store.commit(&[
        begin("c", Some("k0"), "1"),
        begin("c", Some("k0"), "2"),
        plain("c", None, "1"),
        begin("d", None, "1"),
        begin("c", Some("k99"), "1"),
    ]);
    assert_eq!(
        again[0].outcome.as_ref().map(|appended| (appended.offset, appended.attempt)),
        Ok((Offset(1), Attempt::Repeat))
    );
    assert_eq!(again[1].outcome, Err(AppendError::KeyConflict));
    assert_eq!(again[2].outcome.as_ref().map(|appended| appended.offset), Ok(Offset(65)));
    assert_eq!(again[3].mark, StreamMark::Begun);
    assert_eq!(again[4].outcome, Err(full));
    store.flush(&ends([end(&id("c", 7), fence(1, 0))]));
    assert_eq!(store.commit(&[begin("c", Some("k99"), "1")])[0].mark, StreamMark::Begun);
}

#[test]
fn begins_in_a_batch_are_numbered_with_the_publications_around_them() {
    let mut store = Store::start();
    let settled = store.commit(&[
        plain("c", Some("a"), "1"),
        begin("c", Some("b"), "2"),
        plain("d", None, "3"),
        begin("c", Some("b"), "2"),
        plain("c", Some("b"), "2"),
        edit(&id("c", 2)),
        plain("c", None, "4"),
    ]);
    let places: Vec<_> = settled
        .iter()
        .map(|settled| {
            settled.outcome.as_ref().map(|appended| (appended.offset.0, appended.attempt)).expect("stored")
        })
        .collect();
    let (first, repeat) = (Attempt::First, Attempt::Repeat);
    let expected = [(1, first), (2, first), (1, first), (2, repeat), (2, repeat), (3, first), (4, first)];
    assert_eq!(places, expected);
    assert_eq!(store.marks("c"), "1:0:- 2:0:1 3:1:6 4:0:-");
}

#[test]
fn erased_user_has_no_streams() {
    let mut store = Store::start();
    let (stream, ended) = (store.begin("c"), store.begin("c"));
    store.flush(&rows([row(&stream, 1, 0, "secret"), row(&ended, 1, 0, "secret")]));
    store.flush(&ends([end(&ended, fence(1, 6))]));
    store.sql(
        "SELECT seawall.place_order('erase', '{\"user\":\"bot\"}', 'key', 10);
         UPDATE seawall.user_erasures SET asked = asked - interval '1 hour'",
    );
    let mut slices = 0;
    while store.sql("SELECT worked FROM seawall.erase_slice('key', 1000000, 'erased', 1, 100, 100)") == "t" {
        slices += 1;
        assert!(slices < 100, "the search has no end");
    }
    let fates = store.flush(&rows([row(&stream, 1, 6, " goes on")])).rows;
    assert_eq!(fates, [RowFate::Lost]);
    assert!(matches!(store.load(&stream), Loaded::Ended(EndFate { end: StreamEnd::Deleted, .. }, _)));
    let soon = "SELECT count(*) FROM seawall.streams
        WHERE kept_until <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 5000";
    assert_eq!(store.sql(soon), "2", "their text goes");
    let named = "SELECT count(*) FROM seawall.publications WHERE author = 'bot' OR data LIKE '%text%'";
    assert_eq!(store.sql(named), "0");
}

#[test]
fn dropped_channel_has_no_streams() {
    let mut store = Store::start();
    let mut other = store.connect();
    let (stream, ended, elsewhere) = (store.begin("c"), store.begin("c"), store.begin("d"));
    store.flush(&rows([
        row(&stream, 1, 0, "secret"),
        row(&ended, 1, 0, "secret"),
        row(&elsewhere, 1, 0, "kept"),
    ]));
    store.flush(&ends([end(&ended, fence(1, 6))]));
    let selection = Selection::parse("c").expect("a selection");
    let dropped = drop_all(store.connection.link().expect("connected"), &selection).expect("dropped");
    assert_eq!((dropped.channels, dropped.publications), (1, 3));
    assert_eq!(store.sql(TEXTS), "1");
    assert_eq!(
        store.sql("SELECT count(*) FROM seawall.streams WHERE author = 'bot'"),
        "1",
        "that of the other channel"
    );
    let late = rows([row(&stream, 1, 6, "x"), row(&elsewhere, 1, 4, "x")]);
    let fates = write(&mut other, &late).expect("the flush commits").fates;
    assert_eq!(fates.rows, [RowFate::Lost, RowFate::Stored]);
    let fates = write(&mut other, &ends([end(&stream, fence(1, 6))])).expect("the flush commits").fates;
    assert_eq!(fates.ends, [StoredEndFate::Ended(EndFate { end: StreamEnd::Deleted, edit: stream.offset })]);
    assert!(matches!(store.load(&stream), Loaded::Absent));
    let settled = commit(&mut other, &[begin("c", None, "1")]).expect("the batch commits");
    assert_eq!(settled[0].mark, StreamMark::Begun, "another channel of this name");
}
