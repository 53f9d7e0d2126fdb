//! Deadlines by the clock of the database, and the deletion of what has ended.

use super::super::{OpenPlace, close, find_silent, look, lost_questions, reap_parts, still_lost, touch};
use super::support::{Store, edit, end, ends, fence, plain, row, rows, state, states};
use crate::store::retention::Rest;
use crate::stream::{Loaded, SilentPart, StreamSettings};
use crate::wire::stream::{StreamId, StreamState};
use std::time::Duration;

/// Deadlines that a slow machine does not reach by itself.
fn settings() -> StreamSettings {
    StreamSettings {
        idle: Duration::from_secs(3_000),
        orphan: Duration::from_secs(1_000),
        cancel: Duration::from_secs(500),
        life: Duration::from_secs(60_000),
        ..StreamSettings::default()
    }
}

impl Store {
    /// Lets time pass for all streams.
    fn age(&self, seconds: u32) {
        self.sql(&format!(
            "UPDATE seawall.streams SET began = began - {seconds}000, since = since - {seconds}000, touched = touched - {seconds}000,
                 kept_until = kept_until - {seconds}000;
             UPDATE seawall.stream_parts SET written = written - {seconds}000"
        ));
    }

    /// The streams of which nothing was written for 500 s, in order, each with the silence that ends it, in seconds.
    fn silent(&mut self) -> Vec<(StreamId, u64)> {
        let after = Duration::from_secs(500);
        let found = find_silent(&mut self.connection, &settings(), after).expect("a sweep");
        assert_eq!((found.part, found.without_channel.len()), (SilentPart::All, 0));
        let mut streams = found.streams;
        streams.sort_by(|one, other| one.id.cmp(&other.id));
        streams.into_iter().map(|stream| (stream.id, stream.deadline.as_secs())).collect()
    }
}

#[test]
fn silent_streams_are_found_with_their_deadlines() {
    let mut store = Store::start();
    assert!(store.silent().is_empty(), "there are none");
    let [silent, paused, cancelled, patient] = ["a", "b", "c", "d"].map(|channel| store.begin(channel));
    store.sql(
        "UPDATE seawall.streams s SET idle_ms = CASE c.name WHEN 'd' THEN 6000000 END
             FROM seawall.channels c WHERE c.id = s.channel",
    );
    store.flush(&states([
        state(&paused, StreamState::Paused, None),
        state(&cancelled, StreamState::Cancelling, None),
    ]));
    assert!(store.silent().is_empty());
    store.age(800);
    // With a third of the idle time and a margin of two seconds.
    let expected = [
        (silent.clone(), 4_002),
        (paused.clone(), 1_002),
        (cancelled.clone(), 502),
        (patient.clone(), 8_002),
    ];
    assert_eq!(store.silent(), expected);
    // A piece and a sign of life are as good as each other.
    store.flush(&rows([row(&silent, 1, 0, "Hello")]));
    touch(&mut store.connection, std::slice::from_ref(&paused)).expect("a call");
    store.flush(&ends([end(&cancelled, fence(1, 0))]));
    assert_eq!(store.silent(), [(patient, 8_002)]);
    store.age(800);
    let found = find_silent(&mut store.connection, &settings(), Duration::ZERO).expect("a sweep").streams;
    let stream = found.iter().find(|stream| stream.id == silent).expect("it is silent again");
    let looks = look(&mut store.connection, &[silent, paused]).expect("looks");
    assert_eq!(Some(stream.seen), looks[0]);
    assert_eq!((stream.seen.next.0, stream.seen.state), (5, StreamState::Streaming));
}

#[test]
fn answers_are_silent_after_the_bounds_of_their_route() {
    let mut store = Store::start();
    let [accepted, processing] = ["a", "b"].map(|channel| store.begin(channel));
    store.sql(
        "UPDATE seawall.streams s SET state = CASE c.name WHEN 'a' THEN 4 ELSE 5 END, idle_ms = NULL,
                 options = '{\"answer\":{\"question\":1,\"give_up_ms\":1000000,\"answer_ms\":500000}}'
             FROM seawall.channels c WHERE c.id = s.channel",
    );
    store.age(1_050);
    assert_eq!(store.silent(), [(processing.clone(), 1_502)]);
    store.age(100);
    assert_eq!(store.silent(), [(accepted, 4_002), (processing, 1_502)]);
}

#[test]
fn time_of_a_question_is_that_of_the_database_while_no_backend_has_it() {
    let mut store = Store::start();
    let answer = store.begin("a");
    let mut asked = |state: u8| {
        store.sql(&format!(
            "UPDATE seawall.streams SET state = {state},
                 options = '{{\"answer\":{{\"question\":1,\"give_up_ms\":1000,\"answer_ms\":1000}}}}';
             UPDATE seawall.publications SET time = time - 36000000"
        ));
        let Loaded::Open(loaded) = store.load(&answer) else { panic!("it is open") };
        loaded.stream.asked.expect("it is known").as_secs()
    };
    // The clock of the instance that stored it was ten hours slow.
    assert!(asked(4) < 36_000);
    assert!(asked(5) >= 72_000, "the database has no other time of it");
}

#[test]
fn answers_whose_questions_are_gone_are_found() {
    let mut store = Store::start();
    let [retained, removed, deleted, taken] = ["a", "b", "c", "d"].map(|channel| {
        store.commit(&[plain(channel, None, "1")]);
        store.begin(channel)
    });
    store.sql(
        "UPDATE seawall.streams s SET state = CASE c.name WHEN 'd' THEN 5 ELSE 4 END
             FROM seawall.channels c WHERE c.id = s.channel;
         DELETE FROM seawall.publications p USING seawall.channels c
             WHERE c.id = p.channel AND p.\"offset\" = 1 AND c.name IN ('b', 'd');
         UPDATE seawall.publications p SET deleted_by = 3, data = NULL FROM seawall.channels c
             WHERE c.id = p.channel AND p.\"offset\" = 1 AND c.name = 'c'",
    );
    let (mut found, mut after, mut pages) = (Vec::new(), Some(OpenPlace::START), 0);
    while let Some(place) = after {
        let page = lost_questions(&mut store.connection, place, 2).expect("a page");
        found.extend(page.lost);
        (after, pages) = (page.next, pages + 1);
    }
    found.sort();
    assert_eq!(found, [removed.clone(), deleted.clone()], "not {retained:?} nor {taken:?}");
    assert_eq!(pages, 3, "two streams at once, and the end");
    let all = lost_questions(&mut store.connection, OpenPlace::START, 5).expect("a page");
    assert!(all.lost.len() == 2 && all.next.is_none());
    store.sql("UPDATE seawall.streams s SET state = 1 FROM seawall.channels c WHERE c.id = s.channel AND c.name = 'c'");
    let ids = [retained, removed.clone(), deleted, taken];
    assert_eq!(still_lost(&mut store.connection, &ids).expect("a look"), [removed]);
}

#[test]
fn sign_of_life_of_a_clock_that_was_wrong_counts_no_longer() {
    let mut store = Store::start();
    let stream = store.begin("c");
    store.sql("UPDATE seawall.streams SET touched = 9000000000000000, idle_ms = NULL");
    assert!(store.silent().is_empty());
    store.sql("UPDATE seawall.streams SET since = since - 4000000");
    assert_eq!(store.silent(), [(stream, 4_002)]);
}

#[test]
fn stream_is_found_after_the_clock_was_put_back() {
    let mut store = Store::start();
    let [silent, paused] = ["a", "b"].map(|channel| store.begin(channel));
    store.flush(&rows([row(&silent, 1, 0, "Hello")]));
    store.flush(&states([state(&paused, StreamState::Paused, None)]));
    store.sql(
        "UPDATE seawall.streams SET began = began + 86400000, since = since + 86400000, touched = touched + 86400000;
         UPDATE seawall.stream_parts SET written = written + 86400000",
    );
    assert_eq!(store.silent().len(), 2);
    store.flush(&rows([row(&silent, 1, 5, "!")]));
    touch(&mut store.connection, std::slice::from_ref(&paused)).expect("a call");
    assert!(store.silent().is_empty(), "signs of life since then count");
}

#[test]
fn stream_of_a_channel_that_an_older_program_dropped_is_closed() {
    let mut store = Store::start();
    let stream = store.begin("c");
    store.flush(&rows([row(&stream, 1, 0, "Hello")]));
    store.sql("DELETE FROM seawall.publications; DELETE FROM seawall.channels");
    store.age(700);
    let found = find_silent(&mut store.connection, &settings(), Duration::ZERO).expect("a sweep");
    assert!(found.streams.is_empty());
    close(&mut store.connection, &found.without_channel).expect("a call");
    assert_eq!(store.sql("SELECT count(*) FROM seawall.streams WHERE kept_until IS NULL"), "0");
    assert!(matches!(store.load(&stream), Loaded::Absent));
}

#[test]
fn parts_of_ended_streams_are_deleted_in_slices() {
    let mut store = Store::start();
    let [one, two, open] = ["a", "b", "c"].map(|channel| store.begin(channel));
    for at in 0..5 {
        store.flush(&rows([&one, &two, &open].map(|stream| row(stream, 1, at, "x"))));
    }
    let reap = |store: &mut Store, most: u32| {
        let reaped = reap_parts(&mut store.connection, most).expect("a slice");
        (reaped.parts, reaped.streams, reaped.rest)
    };
    store.flush(&ends([end(&one, fence(1, 5))]));
    assert_eq!(reap(&mut store, 100), (0, 0, Rest::None), "it has just ended");
    store.age(601);
    store.commit(&[edit(&two)]);
    assert_eq!(reap(&mut store, 3), (3, 0, Rest::Some));
    assert_eq!(reap(&mut store, 3), (3, 1, Rest::None), "with its mark");
    assert_eq!(store.sql("SELECT count(*) FROM seawall.stream_parts"), "11");
    store.age(601);
    assert_eq!(reap(&mut store, 100), (6, 1, Rest::None));
    assert_eq!(store.text(&open), (1, "xxxxx".to_owned()));
    assert_eq!(store.sql("SELECT count(*) FROM seawall.streams"), "1");
}

#[test]
fn slices_of_one_round_delete_more_than_is_written_in_its_time() {
    let mut store = Store::start();
    store.begin("c");
    // 200 streams of 300 parts have ended: what a thousand streams write in more than two seconds.
    store.sql(
        "INSERT INTO seawall.streams (channel, \"offset\", began, touched, since, kept_until, author, options)
             SELECT 1, n + 100, 0, 0, 0, n, 'bot', '{}' FROM generate_series(1, 200) n;
         INSERT INTO seawall.stream_parts (stream, written, gen, at, next, body)
             SELECT s.id, 0, 1, n, n + 1, 'x' FROM seawall.streams s, generate_series(0, 299) n WHERE kept_until IS NOT NULL",
    );
    let mut slices = 0;
    while reap_parts(&mut store.connection, super::super::super::retention::PARTS_MAX).expect("a slice").rest
        == Rest::Some
    {
        slices += 1;
        assert!(slices <= 40, "60,000 parts take too many slices");
    }
    assert_eq!(store.sql("SELECT count(*) FROM seawall.stream_parts"), "0");
    assert_eq!(store.sql("SELECT count(*) FROM seawall.streams"), "1");
}
