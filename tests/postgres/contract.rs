//! The contract of a store, checked for SQLite and PostgreSQL alike.

use crate::postgres::rig::{KEEP_ALL, Rig, append, keyed, offsets, plain, publications, request};
use crate::servers::Postgres;
use crate::support::wait;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use seawall::id::Offset;
use seawall::job::{Append, AppendChange, AppendError, Attempt, Authority, Form, PageRequest, Span};
use seawall::store::Retention;
use std::cell::RefCell;
use std::time::Duration;

/// A name, the store's bounds, and the check.
type Case = (&'static str, Retention, u64, fn(&mut Rig));

const CASES: &[Case] = &[
    ("offsets of each channel start at one", KEEP_ALL, 100, offsets_count),
    ("a repeat is answered with the first offset", KEEP_ALL, 100, repeats),
    ("edits and deletes", KEEP_ALL, 100, changes),
    ("an original has a bounded number of edits", KEEP_ALL, 100, edits_bound),
    ("pages both ways keep to their bounds", KEEP_ALL, 100, pages),
    ("a channel over the bound is refused", KEEP_ALL, 3, channels_bound),
    ("any JSON comes back byte for byte", KEEP_ALL, 100, bytes),
    ("publications over the number are deleted", Retention { publications: 5, age: None }, 100, number),
    (
        "publications over the age are deleted, and offsets continue",
        Retention { publications: 0, age: Some(Duration::from_millis(300)) },
        100,
        age,
    ),
];

#[test]
fn both_stores_keep_the_same_contract() {
    let server = Postgres::start();
    for (name, retention, channels_max, case) in CASES {
        println!("{name}: sqlite");
        let mut rig = Rig::sqlite(*retention, *channels_max);
        case(&mut rig);
        rig.close();
        println!("{name}: postgres");
        server.sql("DROP SCHEMA IF EXISTS seawall CASCADE");
        let mut rig = Rig::postgres(&server, *retention, *channels_max);
        wait::until(wait::SOON, "readers and writers are up", || rig.is_connected());
        case(&mut rig);
        rig.close();
    }
}

fn edit(channel: &str, target: u64, user: &str, authority: Authority) -> Append {
    let change = AppendChange::Edit(Offset(target), authority);
    Append { change, ..append(channel, user, None, "\"edited\"") }
}

fn delete(channel: &str, target: u64, user: &str) -> Append {
    let change = AppendChange::Delete(Offset(target), Authority::Author);
    Append { change, ..append(channel, user, None, "null") }
}

fn offsets_count(rig: &mut Rig) {
    for expected in 1..=3 {
        assert_eq!(rig.offset(plain("a", "1")), expected);
        assert_eq!(rig.offset(plain("b", "1")), expected);
    }
    let at = rig.heads(&["a", "absent", "b", "a"]).expect("heads");
    assert_eq!(at, [(3, 1), (0, 1), (3, 1), (3, 1)]);
}

fn repeats(rig: &mut Rig) {
    let first = rig.append(keyed("c", "k")).expect("stored");
    let again = rig.append(keyed("c", "k")).expect("known");
    assert_eq!((first.attempt, again.attempt), (Attempt::First, Attempt::Repeat));
    assert_eq!((first.offset, first.time_ms, first.epoch), (again.offset, again.time_ms, again.epoch));
    assert_eq!(rig.append(append("c", "ann", Some("k"), "2")), Err(AppendError::KeyConflict));
    assert_eq!(rig.offset(append("c", "bob", Some("k"), "2")), 2);
    assert_eq!(rig.offset(keyed("d", "k")), 1);
    let many: Vec<u64> = (0..40).map(|n| rig.send(keyed("c", &format!("m{}", n % 4)))).collect();
    let offsets: Vec<u64> = many.into_iter().map(|at| rig.outcome(at).expect("stored").offset.0).collect();
    assert!(offsets.iter().enumerate().all(|(n, offset)| *offset == 3 + n as u64 % 4), "{offsets:?}");
}

fn changes(rig: &mut Rig) {
    for data in ["\"one\"", "\"two\""] {
        rig.offset(plain("c", data));
    }
    assert_eq!(rig.append(edit("c", 1, "bob", Authority::Author)), Err(AppendError::NotAuthor));
    assert_eq!(rig.append(edit("c", 9, "ann", Authority::Author)), Err(AppendError::NotFound));
    assert_eq!(rig.append(edit("none", 1, "ann", Authority::Author)), Err(AppendError::NotFound));
    assert_eq!(rig.offset(edit("c", 1, "bob", Authority::Moderator)), 3);
    assert_eq!(rig.append(edit("c", 3, "bob", Authority::Moderator)), Err(AppendError::NotFound));
    assert_eq!(rig.offset(delete("c", 1, "ann")), 4);
    assert_eq!(rig.append(delete("c", 1, "ann")), Err(AppendError::NotFound));
    let all = rig.all("c");
    assert_eq!(offsets(&all), [1, 2, 3, 4]);
    assert_eq!(all[0]["deleted_by"], 4);
    assert_eq!(all[2]["deleted_by"], 4);
    assert!(all[0]["data"].is_null() && all[2]["data"].is_null());
    assert_eq!(all[1]["data"], "two");
}

fn edits_bound(rig: &mut Rig) {
    rig.offset(plain("c", "\"one\""));
    rig.offset(plain("c", "\"two\""));
    let edits: Vec<u64> = (0..101).map(|_| rig.send(edit("c", 1, "ann", Authority::Author))).collect();
    let outcomes: Vec<_> = edits.into_iter().map(|sent| rig.outcome(sent).map(|_| ())).collect();
    assert!(outcomes[..100].iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(outcomes[100], Err(AppendError::TooManyEdits));
    let again = || Append { key: keyed("c", "k").key, ..edit("c", 2, "ann", Authority::Author) };
    assert_eq!(rig.offset(again()), 103, "another original has its own number");
    assert_eq!(rig.append(again()).expect("known").attempt, Attempt::Repeat);
    assert_eq!(rig.offset(delete("c", 1, "ann")), 104);
    let all = rig.all("c");
    assert!(all[2..102].iter().all(|edit| edit["data"].is_null() && edit["deleted_by"] == 104));
}

fn pages(rig: &mut Rig) {
    for n in 0..20 {
        rig.offset(plain("c", &format!("\"{n:0100}\"")));
    }
    let mut read = |span, limit, bytes_max| {
        let page = rig.page(PageRequest { limit, bytes_max, ..request("c", span) }).expect("a page");
        assert!(page.body.len() <= bytes_max || page.count == 1);
        offsets(&publications(&page))
    };
    assert_eq!(read(Span::After(Offset(3)), 4, 1 << 20), [4, 5, 6, 7]);
    assert_eq!(read(Span::Before(Offset(9)), 3, 1 << 20), [6, 7, 8]);
    assert_eq!(read(Span::Before(Offset(u64::MAX)), 2, 1 << 20), [19, 20]);
    assert_eq!(read(Span::After(Offset(u64::MAX)), 2, 1 << 20), [0u64; 0]);
    assert_eq!(read(Span::After(Offset(0)), 0, 1 << 20), [0u64; 0]);
    assert_eq!(read(Span::After(Offset(5)), 9, 1), [6]);
    assert_eq!(read(Span::Before(Offset(5)), 9, 1), [4]);
    let some = read(Span::After(Offset(0)), 20, 1_000);
    assert!(some.len() > 2 && some.len() < 9, "{some:?}");
    let frames = PageRequest { form: Form::Frames, ..request("c", Span::After(Offset(18))) };
    assert_eq!(rig.page(frames).expect("a page").count, 2);
}

fn channels_bound(rig: &mut Rig) {
    let stored = |outcome: Result<_, AppendError>| outcome.map(|_| ());
    for channel in ["a", "b", "c"] {
        assert_eq!(stored(rig.append(plain(channel, "1"))), Ok(()));
    }
    assert_eq!(stored(rig.append(plain("d", "1"))), Err(AppendError::TooManyChannels));
    assert_eq!(stored(rig.append(plain("a", "1"))), Ok(()));
    assert_eq!(rig.heads(&["a", "d"]).expect("heads"), [(2, 1), (0, 1)]);
}

fn bytes(rig: &mut Rig) {
    for (n, data) in
        [r#""\u0000 \ud800""#, "{\"a\" : [1.0e5,  \"é😀\u{7f}\"]}", "null", r#""'; DROP TABLE x --""#]
            .into_iter()
            .enumerate()
    {
        rig.offset(append("c", "zoë 😀", None, data));
        let page = rig.page(request("c", Span::After(Offset(n as u64)))).expect("a page");
        let body = String::from_utf8(page.body).expect("UTF-8");
        assert!(body.contains(data) && body.contains("zoë 😀"), "{body}");
    }
}

fn number(rig: &mut Rig) {
    for _ in 0..30 {
        rig.offset(keyed(
            "c",
            &format!("k{}", rig.counters.appends.load(std::sync::atomic::Ordering::Relaxed)),
        ));
    }
    rig.offset(plain("d", "1"));
    wait::until(wait::SOON, "the oldest are deleted", || rig.heads(&["c"]).expect("heads") == [(30, 26)]);
    assert_eq!(offsets(&rig.all("c")), [26, 27, 28, 29, 30]);
    assert_eq!(rig.append(edit("c", 25, "ann", Authority::Author)), Err(AppendError::NotFound));
    assert_eq!(rig.heads(&["d"]).expect("heads"), [(1, 1)]);
}

fn age(rig: &mut Rig) {
    for _ in 0..3 {
        rig.offset(plain("c", "1"));
    }
    wait::until(wait::SOON, "all are deleted", || rig.heads(&["c"]).expect("heads") == [(3, 4)]);
    assert_eq!(rig.all("c").len(), 0);
    assert_eq!(rig.offset(plain("c", "1")), 4);
}

#[derive(Clone, Debug)]
struct Planned {
    channel: u8,
    user: u8,
    key: Option<u8>,
    data: u8,
    change: AppendChange,
}

fn planned() -> impl Strategy<Value = Planned> {
    let authority = || prop_oneof![Just(Authority::Author), Just(Authority::Moderator)];
    let change = prop_oneof![
        4 => Just(AppendChange::Original),
        1 => (0u64..9, authority()).prop_map(|(at, who)| AppendChange::Edit(Offset(at), who)),
        1 => (0u64..9, authority()).prop_map(|(at, who)| AppendChange::Delete(Offset(at), who)),
    ];
    (0u8..5, 0u8..2, prop::option::of(0u8..5), 0u8..2, change)
        .prop_map(|(channel, user, key, data, change)| Planned { channel, user, key, data, change })
}

impl Planned {
    fn job(&self, run: u32) -> Append {
        let key = self.key.map(|key| format!("k{key}"));
        let (channel, user) = (format!("r{run}-{}", self.channel), format!("u{}", self.user));
        let data = self.data.to_string();
        Append { change: self.change, ..append(&channel, &user, key.as_deref(), &data) }
    }
}

/// Batches form by chance, and the outcome of an append must not depend on them.
#[test]
fn random_appends_have_the_same_outcome_in_both_stores() {
    let server = Postgres::start();
    let one = Rig::sqlite(KEEP_ALL, 1_000_000);
    let other = Rig::postgres_with(crate::postgres::rig::PostgresConfig {
        writers: 1,
        ..crate::postgres::rig::config(server.url(), KEEP_ALL, 1_000_000)
    })
    .ready();
    let stores = RefCell::new((one, other, 0));
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let strategy = prop::collection::vec(prop::collection::vec(planned(), 1..20), 1..8);
    let result = runner.run(&strategy, |batches| {
        let (one, other, runs) = &mut *stores.borrow_mut();
        *runs += 1;
        for batch in batches {
            let sent: Vec<_> = batch
                .iter()
                .map(|planned| (planned, one.send(planned.job(*runs)), other.send(planned.job(*runs))))
                .collect();
            for (planned, at_one, at_other) in sent {
                let plain = |outcome: crate::postgres::rig::Outcome| {
                    let late = |error: &_| {
                        matches!(error, AppendError::Unavailable { .. } | AppendError::Unconfirmed { .. })
                    };
                    assert!(!outcome.as_ref().is_err_and(late), "{}: {outcome:?}", wait::LATE);
                    outcome.map(|it| (it.offset.0, it.attempt))
                };
                let (got, expected) = (plain(other.outcome(at_other)), plain(one.outcome(at_one)));
                prop_assert_eq!(got, expected, "{:?}", planned);
            }
        }
        for channel in 0..5 {
            let content = |rig: &mut Rig| {
                let mut all = rig.all(&format!("r{runs}-{channel}"));
                for value in &mut all {
                    value["time"] = 0.into();
                }
                all
            };
            let (got, expected) = (content(other), content(one));
            prop_assert_eq!(got, expected);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
