//! Ends: each stream has one, at the end of its text.

use super::super::super::read::page_of;
use super::super::{look, touch};
use super::support::{Store, begin, end, ends, fence, fence_at, id, restart, restarts, row, rows, write};
use crate::id::{Offset, ReactorId};
use crate::job::{Form, PageRequest, Span, Ticket};
use crate::store::columns::integer;
use crate::stream::{EndFate, Loaded, RowFate, StoredEndFate, Touched};
use crate::wire::stream::StreamEnd;
use postgres_types::Type;

fn completed(edit: u64) -> EndFate {
    EndFate { end: StreamEnd::Completed, edit: Offset(edit) }
}

#[test]
fn stream_ends_exactly_once() {
    let mut store = Store::start();
    let mut other = store.connect();
    let stream = store.begin("c");
    store.flush(&rows([row(&stream, 1, 0, "Hello")]));
    let last = ends([end(&stream, fence(1, 5))]);
    let fates = store.flush(&last).ends;
    assert_eq!(fates, [StoredEndFate::Stored(completed(2), super::support::NOW_MS)]);
    assert_eq!(store.marks("c"), "1:0:1 2:1:2");
    // Another instance, which has not seen it: at the end, before it, and after what it takes for more text.
    for late in [fence(1, 5), fence(1, 0), fence(2, 0)] {
        let fates = write(&mut other, &ends([end(&stream, late)])).expect("the flush commits").fates;
        assert_eq!(fates.ends, [StoredEndFate::Ended(completed(2))], "{late:?}");
    }
    for at in [0, 5] {
        let fates = write(&mut other, &rows([row(&stream, 1, at, "x")])).expect("the flush commits").fates;
        assert_eq!(fates.rows, [RowFate::Lost], "{at}");
    }
    assert_eq!(store.marks("c"), "1:0:1 2:1:2");
    assert!(
        matches!(store.load(&stream), Loaded::Ended(fate, Some(super::support::NOW_MS)) if fate == completed(2))
    );
    assert_eq!(look(&mut store.connection, std::slice::from_ref(&stream)).expect("a look"), [None]);
    assert_eq!(touch(&mut store.connection, &[stream]).expect("a call"), [None]);
    let never = store.flush(&ends([end(&id("c", 70), fence(1, 0))])).ends;
    let deleted = EndFate { end: StreamEnd::Deleted, edit: Offset(70) };
    assert_eq!(never, [StoredEndFate::Ended(deleted)], "nothing is known of it");
    assert!(matches!(store.load(&id("c", 70)), Loaded::Absent));
}

#[test]
fn end_is_moved_if_the_stream_is_not_as_the_writer_knows_it() {
    let mut store = Store::start();
    let stream = store.begin("c");
    let touched = store.open(&stream).touched;
    store.flush(&rows([row(&stream, 1, 0, "Hello")]));
    for late in [fence(1, 0), fence(1, 3), fence(1, 9), fence(2, 0), fence_at(1, 5, Touched(touched.0 - 1))] {
        assert_eq!(store.flush(&ends([end(&stream, late)])).ends, [StoredEndFate::Moved], "{late:?}");
    }
    // A living producer of another instance.
    let alive = touch(&mut store.connection, std::slice::from_ref(&stream)).expect("a call");
    assert_ne!(alive, [Some(touched)]);
    assert_eq!(store.flush(&ends([end(&stream, fence_at(1, 5, touched))])).ends, [StoredEndFate::Moved]);
    // A row and an end of one stream in one flush: the end is tried again.
    let mut both = rows([row(&stream, 1, 0, "Hullo")]);
    both.ends.push(end(&stream, fence(1, 5 + 5)));
    let fates = store.flush(&both);
    assert_eq!((&*fates.rows, &*fates.ends), (&[RowFate::Lost][..], &[StoredEndFate::Moved][..]));
    assert_eq!(store.text(&stream), (1, "Hello".to_owned()));
    let known = alive[0].expect("it is open");
    let fates = store.flush(&ends([end(&stream, fence_at(1, 5, known))])).ends;
    assert!(matches!(fates[..], [StoredEndFate::Stored(..)]), "{fates:?}");
}

#[test]
fn ends_of_one_flush_follow_each_other() {
    let mut store = Store::start();
    let streams: Vec<_> = ["b", "a", "b", "b"].into_iter().map(|channel| store.begin(channel)).collect();
    store.flush(&restarts([restart(&streams[3], 1)]));
    store.flush(&rows([row(&streams[0], 1, 0, "zero"), row(&streams[3], 2, 0, "three")]));
    let fates = store.flush(&ends([
        end(&streams[3], fence(2, 5)),
        end(&streams[1], fence(1, 0)),
        end(&streams[2], fence(1, 7)),
        end(&streams[0], fence(1, 4)),
    ]));
    let edits: Vec<_> = fates
        .ends
        .iter()
        .map(|fate| match fate {
            StoredEndFate::Stored(fate, _) => Some(fate.edit.0),
            StoredEndFate::Moved | StoredEndFate::Ended(_) => None,
        })
        .collect();
    assert_eq!(edits, [Some(4), Some(2), None, Some(5)]);
    assert_eq!(store.marks("b"), "1:0:1 2:0:1 3:0:1 4:1:2 5:1:2");
    let heads = "SELECT string_agg(name || head, ' ' ORDER BY name) FROM seawall.channels";
    assert_eq!(store.sql(heads), "a2 b5");
}

#[test]
fn stream_outlives_its_begin() {
    let mut store = Store::start();
    let stream = store.begin("c");
    store.flush(&rows([row(&stream, 1, 0, "Hello")]));
    store.sql("SELECT * FROM seawall.cut_number(ARRAY['c'], 0, 100)");
    assert_eq!(&*store.open(&stream).stream.begun, "null");
    // An empty channel is removed, unless a stream is open in it.
    let removed = || store.sql("SELECT removed FROM seawall.remove_empty(0, 9223372036854775807, 10, 65536)");
    assert_eq!(removed(), "0");
    let fates = store.flush(&ends([end(&stream, fence(1, 5))])).ends;
    assert_eq!(fates, [StoredEndFate::Stored(completed(2), super::support::NOW_MS)]);
    let oldest = "SELECT floor || ' ' || head || ' ' || oldest FROM seawall.channels";
    assert_eq!(store.sql(oldest), format!("2 2 {}", super::support::NOW_MS), "retention finds the edit");
    store.sql("SELECT * FROM seawall.cut_number(ARRAY['c'], 0, 100)");
    let removed = store.sql("SELECT removed FROM seawall.remove_empty(0, 9223372036854775807, 10, 65536)");
    assert_eq!(removed, "1");
    assert!(matches!(store.load(&stream), Loaded::Absent));
}

#[test]
fn page_has_marks_and_says_if_streams_are_open() {
    let mut store = Store::start();
    let stream = store.begin("c");
    let read = |store: &mut Store| {
        let request = PageRequest {
            ticket: Ticket { reactor: ReactorId(0), request: 1 },
            channel: stream.channel.clone(),
            span: Span::After(Offset::ZERO),
            limit: 10,
            bytes_max: 10_000,
            form: Form::Json,
        };
        let rows = store.connection.query(
            super::super::super::read::PAGE,
            &[
                (&"c", Type::TEXT),
                (&0_i64, Type::INT8),
                (&i64::MAX, Type::INT8),
                (&false, Type::BOOL),
                (&integer(10), Type::INT8),
                (&integer(10_000), Type::INT8),
            ],
        );
        let page = page_of(&request, &rows.expect("a page")).expect("a page");
        (page.has_streams, String::from_utf8(page.body).expect("text"))
    };
    let (has_streams, body) = read(&mut store);
    assert!(has_streams && body.contains(r#""stream":"begun""#), "{body}");
    store.flush(&ends([end(&stream, fence(1, 0))]));
    let (has_streams, body) = read(&mut store);
    assert!(!has_streams && body.contains(r#""stream":"completed""#), "{body}");
    let none = store.commit(&[begin("c", Some("k"), "1"), super::support::plain("c", None, "2")]);
    assert!(none.iter().all(|settled| settled.outcome.is_ok()));
    assert!(read(&mut store).0);
}
