//! Two writers of one stream: the position is the lock.

use super::super::super::epoch::KnownEpoch;
use super::super::{load, look, read_one, read_open};
use super::support::{
    Store, fence, fence_at, id, name, restart, restarts, row, rows, state, states, text_of, user, write,
};
use crate::stream::{Loaded, RestartFate, RowFate, StateFate, Touched};
use crate::wire::stream::StreamState;

#[test]
fn row_that_does_not_follow_on_the_last_one_is_lost() {
    let mut store = Store::start();
    let mut other = store.connect();
    let stream = store.begin("c");
    assert_eq!(store.flush(&rows([row(&stream, 1, 0, "Hello")])).rows, [RowFate::Stored]);
    for (what, late) in [
        ("a stale end", row(&stream, 1, 0, "Hullo")),
        ("an overlap", row(&stream, 1, 3, "lo, world")),
        ("a hole", row(&stream, 1, 9, "world")),
        ("a generation that has not begun", row(&stream, 2, 0, "Hi")),
        ("a stream that there is not", row(&id("c", 77), 1, 0, "Hi")),
        ("a channel that there is not", row(&id("d", 1), 1, 0, "Hi")),
    ] {
        let fates = write(&mut other, &rows([late])).expect("the flush commits").fates;
        assert_eq!(fates.rows, [RowFate::Lost], "{what}");
    }
    let fates = write(&mut other, &rows([row(&stream, 1, 5, ", né")])).expect("the flush commits").fates;
    assert_eq!(fates.rows, [RowFate::Stored]);
    assert_eq!(store.text(&stream), (1, "Hello, né".to_owned()));
    // Of many rows only the lost one is named.
    let second = store.begin("d");
    let fates =
        store.flush(&rows([row(&second, 1, 0, "a"), row(&stream, 1, 0, "b"), row(&second, 1, 0, "c")]));
    assert_eq!(fates.rows[1], RowFate::Lost);
    assert_eq!(fates.rows[0], RowFate::Stored);
}

#[test]
fn restart_fences_the_generation_before_it() {
    let mut store = Store::start();
    let mut other = store.connect();
    let stream = store.begin("c");
    store.flush(&rows([row(&stream, 1, 0, "first run")]));
    let mut both = restarts([restart(&stream, 1)]);
    both.rows.push(row(&stream, 2, 0, "second"));
    let fates = store.flush(&both);
    assert_eq!((&*fates.restarts, &*fates.rows), (&[RestartFate::Stored][..], &[RowFate::Stored][..]));
    // An instance that has not seen it.
    let mut late = restarts([restart(&stream, 1)]);
    late.rows.push(row(&stream, 1, 9, " goes on"));
    let fates = write(&mut other, &late).expect("the flush commits").fates;
    assert_eq!((&*fates.restarts, &*fates.rows), (&[RestartFate::Lost][..], &[RowFate::Lost][..]));
    assert_eq!(store.text(&stream), (2, "second".to_owned()));
    assert_eq!(store.open(&stream).restarted, "first run".len() + 5, "with the head of its entry");
}

#[test]
fn state_is_refused_if_the_stream_is_not_as_the_writer_knows_it() {
    let mut store = Store::start();
    let stream = store.begin("c");
    let touched = store.open(&stream).touched;
    assert_eq!(touched, Touched(super::support::NOW_MS), "the time of the publication");
    // The fence is compared after the row of the same flush.
    let mut both = rows([row(&stream, 1, 0, "Hello")]);
    both.states.push(state(&stream, StreamState::Paused, Some(fence_at(1, 5, touched))));
    assert_eq!(store.flush(&both).states, [StateFate::Stored]);
    for late in [fence(1, 3), fence(2, 5), fence_at(1, 5, Touched(touched.0 + 1))] {
        let fates = store.flush(&states([state(&stream, StreamState::Streaming, Some(late))]));
        assert_eq!(fates.states, [StateFate::Moved], "{late:?}");
    }
    assert_eq!(store.open(&stream).stream.state, StreamState::Paused);
    // A cancel is compared with nothing, and nothing follows on it but the end.
    let cancel = || states([state(&stream, StreamState::Cancelling, None)]);
    assert_eq!(store.flush(&cancel()).states, [StateFate::Stored]);
    assert_eq!(
        store.flush(&states([state(&stream, StreamState::Streaming, None)])).states,
        [StateFate::Moved]
    );
    let open = store.open(&stream);
    assert_eq!((open.stream.state, open.canceller), (StreamState::Cancelling, Some(user("ann"))));
    assert_eq!(
        store.flush(&rows([row(&stream, 1, 5, "!")])).rows,
        [RowFate::Stored],
        "the producer may go on"
    );
}

#[test]
fn look_and_reads_have_what_is_committed() {
    let mut store = Store::start();
    let (first, second) = (store.begin("c"), store.begin("c"));
    store.begin("d");
    store.flush(&rows([row(&second, 1, 0, "two"), row(&first, 1, 0, "one")]));
    store.flush(&rows([row(&first, 1, 3, " and more")]));
    let ids = [second.clone(), id("c", 99), first.clone(), id("x", 1)];
    let seen = look(&mut store.connection, &ids).expect("a look");
    let next = |place: usize| seen[place].map(|look| (look.generation.0, look.next.0, look.state));
    assert_eq!(next(0), Some((1, 3, StreamState::Streaming)));
    assert_eq!(next(2), Some((1, 12, StreamState::Streaming)));
    assert_eq!((next(1), next(3)), (None, None));
    let epoch = KnownEpoch::default();
    let mut read =
        |channel, at_once| read_open(&mut store.connection, &epoch, &name(channel), at_once).expect("a read");
    assert_eq!((read("c", 1).len(), read("c", 2).len()), (2, 2), "some at a time");
    assert!(read("nothing", 64).is_empty());
    let open = read("c", 64);
    let texts: Vec<String> = open.iter().map(text_of).collect();
    assert_eq!(texts, ["one and more", "two"]);
    assert_eq!(open[0].stream.id, first);
    assert_eq!(&*open[0].stream.begun, r#"{"agent":"triage"}"#);
    assert_eq!((open[0].stream.author.as_str(), &open[0].stream.options.asker), ("bot", &Some(user("ann"))));
    assert_eq!(open[0].stream.options.idle_ms, Some(50_000));
    let one = read_one(&mut store.connection, &epoch, &second).expect("a read");
    assert!(matches!(one, Some(Loaded::Open(stream)) if text_of(&stream) == "two"));
}

/// Other logs may have less of a stream than its readers have seen.
#[test]
fn texts_are_not_read_from_logs_of_another_epoch() {
    let mut store = Store::start();
    let stream = store.begin("c");
    let epoch = KnownEpoch::default();
    let ids = [stream.clone()];
    assert!(load(&mut store.connection, &epoch, &ids).is_ok());
    store.sql("UPDATE seawall.meta SET value = value + 1 WHERE name = 'epoch'");
    let other = KnownEpoch::default();
    assert!(load(&mut store.connection, &other, &ids).is_ok());
    assert!(load(&mut store.connection, &epoch, &ids).is_err());
    assert!(read_one(&mut store.connection, &epoch, &stream).is_err());
    for channel in ["c", "nothing"] {
        assert!(read_open(&mut store.connection, &other, &name(channel), 64).is_ok());
        assert!(read_open(&mut store.connection, &epoch, &name(channel), 64).is_err());
    }
}
