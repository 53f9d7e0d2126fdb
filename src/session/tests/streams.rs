//! The rights, the rates and the answers of commands about streams.

use super::*;
use crate::session::policy::{StreamPolicy, StreamsMode};
use crate::wire::stream::{
    Generation, Piece, Position, ProducerNotice, StreamEnd, StreamFault, StreamId, StreamOutcome,
};

const BEGIN: &str = r#"{"id":2,"publish":{"channel":"c","data":{},"stream":{"for":"u1","events":"keep"}}}"#;
const APPEND: &str = r#"{"append":{"channel":"c","offset":5,"gen":1,"at":0,"text":"Hello"}}"#;

fn stream() -> StreamId {
    StreamId { channel: ChannelName::parse("c").expect("valid"), offset: Offset(5) }
}

fn command(bench: &Bench) -> Option<&StreamEffect> {
    bench.effects.iter().find_map(|effect| match effect {
        Effect::Stream(effect) => Some(&**effect),
        _ => None,
    })
}

#[test]
fn begin_needs_both_rights_and_a_store_that_keeps_streams() {
    for (rights, code) in [
        (&["stream"][..], Some("forbidden")),
        (&["publish"], Some("forbidden")),
        (&["publish", "stream"], None),
    ] {
        let mut bench = signed_in_with(rights);
        let frames = bench.say(BEGIN);
        assert_eq!(error_code(&frames), code, "{rights:?}");
        let begun = bench.effects.iter().any(|effect| match effect {
            Effect::Append(append) => append.stream.is_some(),
            _ => false,
        });
        assert_eq!(begun, code.is_none(), "{rights:?}");
    }
    let mut bench = Bench::connected(&Limits::default());
    let off = StreamPolicy { mode: StreamsMode::Off, ..StreamPolicy::default() };
    bench.policy = bench.policy.clone().with_streams(off);
    let frames = bench.say(BEGIN);
    assert_eq!(error_code(&frames), Some("forbidden"));
    let message = frames[0]["error"]["message"].as_str();
    assert!(message.is_some_and(|text| text.contains("streams.enabled")), "{frames:?}");
    bench.say(r#"{"id":3,"publish":{"channel":"c","data":{}}}"#);
    assert!(matches!(bench.effects[..], [Effect::Append(_)]), "publishing goes on");
}

#[test]
fn writing_needs_the_right_stream_and_cancelling_needs_none() {
    let writes = [
        APPEND,
        r#"{"id":3,"restart":{"channel":"c","offset":5}}"#,
        r#"{"id":4,"end":{"channel":"c","offset":5,"state":"completed"}}"#,
    ];
    let mut reader = signed_in_with(&["subscribe", "publish"]);
    for text in writes {
        let frames = reader.say(text);
        assert_eq!(error_code(&frames), Some("forbidden"), "{text}");
        let error = &frames[0]["error"];
        assert_eq!((error["channel"].as_str(), error["offset"].as_u64()), (Some("c"), Some(5)), "{text}");
        assert!(command(&reader).is_none());
    }
    let mut writer = signed_in_with(&["stream"]);
    for text in writes {
        assert!(writer.say(text).is_empty(), "{text}");
        assert!(command(&writer).is_some_and(|effect| effect.stream == stream()), "{text}");
    }
    for (rights, wanted) in [
        (&["subscribe"][..], CancelAuthority::Reader),
        (&["stream"], CancelAuthority::Reader),
        (&["moderate"], CancelAuthority::Moderator),
        (&["publish"], CancelAuthority::Outsider),
    ] {
        let mut bench = signed_in_with(rights);
        bench.say(r#"{"id":3,"cancel":{"channel":"c","offset":5}}"#);
        let found = command(&bench).map(|effect| &effect.command);
        assert_eq!(found, Some(&StreamCommand::Cancel { authority: wanted }), "{rights:?}");
    }
    let mut stranger = signed_in_with(&["stream"]);
    let frames = stranger.say(r#"{"id":3,"stream":{"channel":"c","offset":5}}"#);
    assert_eq!(error_code(&frames), Some("forbidden"), "reading needs subscribe");
}

#[test]
fn pieces_have_a_rate_of_their_own() {
    let limits =
        Limits { commands_per_s: 1, commands_burst: 1, stream_appends_per_s: 2, ..Limits::default() };
    let mut bench = Bench::connected(&limits);
    for _ in 0..4 {
        assert!(bench.say(APPEND).is_empty(), "two seconds' worth at once");
    }
    let frames = bench.say(APPEND);
    let error = &frames[0]["error"];
    assert_eq!((error["code"].as_str(), error["offset"].as_u64()), (Some("rate_limited"), Some(5)));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("limits.stream_appends_per_s")));
    let limits = Limits { stream_bytes_per_s: 1_000, ..Limits::default() };
    let mut bench = Bench::connected(&limits);
    let long = format!(r#"{{"append":{{"channel":"c","offset":5,"text":"{}"}}}}"#, "x".repeat(2_500));
    assert!(bench.say(&long).is_empty());
    let frames = bench.say(&long);
    assert!(
        frames[0]["error"]["message"].as_str().is_some_and(|text| text.contains("limits.stream_bytes_per_s"))
    );
}

#[test]
fn append_with_an_id_takes_a_place_and_one_without_takes_none() {
    let mut bench = Bench::connected(&Limits { pending: 1, ..Limits::default() });
    bench.say(APPEND);
    let with_id = r#"{"id":3,"append":{"channel":"c","offset":5}}"#;
    bench.say(with_id);
    let alive = command(&bench).map(|effect| &effect.command);
    let wanted = StreamCommand::Append { generation: None, at: None, piece: Piece::Alive };
    assert_eq!(alive, Some(&wanted));
    assert_eq!(error_code(&bench.say(&with_id.replace('3', "4"))), Some("overloaded"));
    let outcome = StreamOutcome::Appended { generation: Generation(1), next: Position(5) };
    let frames = bench.call(|session, cx| {
        session.stream_answered(CommandId(3), &stream(), &StreamReply::Outcome(outcome), cx);
    });
    assert_eq!(frames[0]["appended"]["next"], 5);
    assert!(bench.say(with_id).is_empty(), "its place is free again");
}

#[test]
fn refusals_say_how_to_go_on() {
    let mut bench = Bench::connected(&Limits::default());
    let table = [
        (StreamFault::Stale { generation: Generation(3) }, "stale", "gen", 3),
        (StreamFault::Gap { next: Position(7) }, "gap", "next", 7),
        (StreamFault::Diverged { next: Position(7) }, "diverged", "next", 7),
        (StreamFault::AlreadyEnded { end: StreamEnd::Failed, edit: Offset(9) }, "ended", "edit", 9),
        (StreamFault::TooLarge, "too_large", "offset", 5),
        (StreamFault::NotFound, "not_found", "offset", 5),
        (StreamFault::NotAuthor, "forbidden", "offset", 5),
        (StreamFault::Overloaded { retry_ms: 70 }, "overloaded", "retry_ms", 70),
        (StreamFault::ChannelFull { retry_ms: 70 }, "overloaded", "retry_ms", 70),
        (StreamFault::NoGeneration, "malformed", "offset", 5),
    ];
    for (fault, code, member, value) in table {
        let notice = ProducerNotice::Refused { id: stream(), fault };
        let frames = bench.call(|session, cx| session.notify_producer(&notice, cx));
        assert_eq!((error_code(&frames), frames[0]["error"][member].as_u64()), (Some(code), Some(value)));
        assert!(frames[0].get("id").is_none());
    }
}

#[test]
fn user_without_a_right_on_the_channel_does_not_learn_of_its_streams() {
    for (rights, code) in [(&["present"][..], "not_found"), (&["subscribe"], "forbidden")] {
        let mut bench = signed_in_with(rights);
        bench.say(r#"{"id":3,"cancel":{"channel":"c","offset":5}}"#);
        let reply = StreamReply::Outcome(StreamOutcome::Refused(StreamFault::NotAuthor));
        let frames = bench.call(|session, cx| session.stream_answered(CommandId(3), &stream(), &reply, cx));
        assert_eq!(error_code(&frames), Some(code), "{rights:?}");
    }
}
