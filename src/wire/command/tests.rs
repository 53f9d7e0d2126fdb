use super::*;
use crate::id::{ChannelName, CommandId, INTEGER_MAX, Key, Offset, UserName};
use crate::wire::stream::{EventKeep, Generation, Piece, Position, StreamOptions};
use proptest::prelude::*;
use serde_json::value::RawValue;

const BOUNDS: CommandBounds = CommandBounds { json_depth: 32, subscriptions: 128 };

fn parsed(text: &str) -> Command<'_> {
    parse(text, BOUNDS).unwrap_or_else(|rejected| panic!("{rejected:?}")).command
}

fn refused(text: &str) -> Rejected {
    match parse(text, BOUNDS) {
        Ok(request) => panic!("{text} was accepted: {request:?}"),
        Err(rejected) => rejected,
    }
}

fn says(text: &str, fault: CommandFault, words: &str) -> Option<CommandId> {
    let rejected = refused(text);
    assert_eq!(rejected.fault, fault, "{text}: {}", rejected.message);
    assert!(rejected.message.contains(words), "{text}: {}", rejected.message);
    rejected.id
}

fn room() -> ChannelName {
    ChannelName::parse("room").unwrap()
}

#[test]
fn data_is_a_slice_of_the_received_bytes() {
    let data = " { \"a\" : [1.0e+2, \"\\u0000\\ud800é\", 1e999, -0] , \"a\":2 } ";
    let text = format!(r#"{{"id":1,"publish":{{"data":{data},"channel":"room"}}}}"#);
    let Command::Publish(publish) = parsed(&text) else { panic!("a publish") };
    let Content::Original(kept) = publish.content else { panic!("an original") };
    assert_eq!(kept, data.trim());
    let start = text.as_ptr() as usize;
    assert!((start..start + text.len()).contains(&(kept.as_ptr() as usize)), "it is a slice, not a copy");
}

#[test]
fn names_and_strings_may_be_written_with_escapes() {
    let text = r#"{"\u0069d":1,"publi\u0073h":{"channel":"\u0072oom","data":1}}"#;
    let Command::Publish(publish) = parsed(text) else { panic!("a publish") };
    assert_eq!(publish.channel, room());
}

#[test]
fn too_deep_frame_is_refused_with_its_id_wherever_that_is() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let text = format!(r#"{{"publish":{{"channel":"room","data":{deep}}},"id":7}}"#);
    assert_eq!(says(&text, CommandFault::Malformed, "limits.json_depth is 32"), Some(CommandId(7)));
    assert!(refused(&text).message.contains("100002 levels"));
    assert_eq!(says(&"[".repeat(100_000), CommandFault::Malformed, "not JSON"), None);
}

#[test]
fn frame_object_counts_as_the_first_level() {
    let bounds = CommandBounds { json_depth: 3, subscriptions: 1 };
    let text = |data| format!(r#"{{"id":1,"publish":{{"channel":"room","data":{data}}}}}"#);
    assert!(parse(&text("[1]"), bounds).is_ok());
    assert!(parse(&text("[[]]"), bounds).is_err());
}

#[test]
fn one_cursor_over_the_bound_is_refused_with_the_bound() {
    let entry = |number| format!(r#"{{"channel":"c{number}","epoch":"0","offset":1}}"#);
    let text = |count| {
        let entries: Vec<_> = (0..count).map(entry).collect();
        format!(r#"{{"id":1,"connect":{{"recover":[{}]}}}}"#, entries.join(","))
    };
    assert!(parse(&text(128), BOUNDS).is_ok());
    assert_eq!(says(&text(129), CommandFault::TooLarge, "limits.subscriptions is 128"), Some(CommandId(1)));
}

#[test]
fn token_over_its_bound_is_too_large() {
    let text = |bytes| format!(r#"{{"id":1,"refresh":{{"token":"{}"}}}}"#, "t".repeat(bytes));
    assert!(parse(&text(TOKEN_BYTES_MAX), BOUNDS).is_ok());
    says(&text(TOKEN_BYTES_MAX + 1), CommandFault::TooLarge, "refresh.token has 8193 bytes");
}

#[test]
fn client_name_is_cut_between_characters() {
    for (name, kept) in [("x".repeat(65), 64), (format!("{}é", "x".repeat(63)), 63), ("é".repeat(32), 64)] {
        let text = format!(r#"{{"id":1,"connect":{{"client":"{name}"}}}}"#);
        let Command::Connect(connect) = parsed(&text) else { panic!("a connect") };
        assert_eq!(connect.client.unwrap(), name[..kept]);
    }
}

#[test]
fn long_number_or_name_is_shortened_in_the_message() {
    let number = "9".repeat(5_000);
    let rejected = refused(&format!(r#"{{"id":{number},"unsubscribe":{{"channel":"room"}}}}"#));
    assert!(rejected.message.len() < 200, "{}", rejected.message);
    let name = "é".repeat(5_000);
    let rejected = refused(&format!(r#"{{"id":1,"{name}":1}}"#));
    assert!(rejected.message.len() < 200, "{}", rejected.message);
    assert_eq!(rejected.fault, CommandFault::UnknownCommand);
}

#[test]
fn history_without_a_range_begins_at_the_newest() {
    let text = r#"{"id":1,"history":{"channel":"room"}}"#;
    let range = HistoryRange::Before(Offset(INTEGER_MAX));
    assert_eq!(parsed(text), Command::History { channel: room(), range, limit: HISTORY_LIMIT_DEFAULT });
}

/// Whole frames of valid and invalid pieces, which a fuzzer would need long to find.
fn nearly_a_command() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "1",
        "0",
        "1.0",
        "-1",
        "9007199254740992",
        "null",
        "true",
        "\"room\"",
        "\"$x\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "[]",
        "{}",
        "[1]",
        "[{}]",
        "{\"epoch\":\"0\",\"offset\":1}",
        "{\"type\":\"usage\",\"data\":[7]}",
        "\"completed\"",
        "7",
        "\"\"",
        "nope",
        "{",
        "[{\"channel\":\"a\",\"epoch\":\"0\",\"offset\":1}]",
    ]);
    let name = prop::sample::select(vec![
        "channel", "key", "data", "edits", "deletes", "token", "client", "recover", "last", "before",
        "after", "limit", "offset", "gen", "at", "text", "event", "state", "stream", "other",
    ]);
    let verb = prop::sample::select(vec![
        "connect",
        "refresh",
        "subscribe",
        "unsubscribe",
        "publish",
        "history",
        "signal",
        "append",
        "restart",
        "end",
        "cancel",
        "stream",
        "dance",
        "id",
    ]);
    let arguments = prop::collection::vec((name, value.clone()), 0..5).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    });
    let argument = prop_oneof![4 => arguments, 1 => value.prop_map(str::to_owned)];
    prop::collection::vec((verb, argument), 0..3).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{\"id\":5,{}}}", members.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn parse_never_panics_and_accepts_only_json(text in prop_oneof![any::<String>(), nearly_a_command()]) {
        let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
        match parse(&text, BOUNDS) {
            Ok(_) => prop_assert!(is_json),
            Err(rejected) => {
                prop_assert_eq!(rejected.message.starts_with("not JSON"), !is_json, "{}", rejected.message);
                prop_assert!(is_json || rejected.id.is_none());
            }
        }
    }

    #[test]
    fn frames_written_by_serde_json_are_accepted_with_their_data_unchanged(
        id in 1..=INTEGER_MAX,
        channel in "[A-Za-z0-9_.:-]{1,128}",
        key in prop::option::of("[!-~]{1,64}"),
        data in any::<String>(),
        pretty in any::<bool>(),
    ) {
        let mut arguments = serde_json::json!({ "channel": channel, "data": [data] });
        if let Some(key) = &key {
            arguments["key"] = key.clone().into();
        }
        let frame = serde_json::json!({ "id": id, "publish": arguments });
        let text = if pretty { serde_json::to_string_pretty(&frame) } else { serde_json::to_string(&frame) };
        let text = text.unwrap();
        let request = parse(&text, BOUNDS).unwrap();
        prop_assert_eq!(request.id, Some(CommandId(id)));
        let Command::Publish(publish) = request.command else { panic!("a publish") };
        prop_assert_eq!(publish.channel.as_str(), channel);
        prop_assert_eq!(publish.key.as_ref().map(Key::as_str), key.as_deref());
        let Content::Original(kept) = publish.content else { panic!("an original") };
        prop_assert!(text.contains(kept));
        prop_assert_eq!(serde_json::from_str::<Vec<String>>(kept).unwrap(), vec![data]);
    }

    #[test]
    fn text_of_an_append_is_what_serde_json_wrote(
        text in any::<String>(),
        at in prop::option::of(any::<u32>()),
        generation in prop::option::of(1u32..),
        id in prop::option::of(1..=INTEGER_MAX),
    ) {
        let mut append = serde_json::json!({ "channel": "room", "offset": 59, "text": text });
        if let Some(at) = at {
            append["at"] = at.into();
        }
        if let Some(generation) = generation {
            append["gen"] = generation.into();
        }
        let mut frame = serde_json::json!({ "append": append });
        if let Some(id) = id {
            frame["id"] = id.into();
        }
        let frame = frame.to_string();
        let request = parse(&frame, BOUNDS).unwrap();
        prop_assert_eq!(request.id, id.map(CommandId));
        let piece = if text.is_empty() { Piece::Alive } else { Piece::Text(text.into()) };
        let (channel, offset) = (room(), Offset(59));
        let (generation, at) = (generation.map(Generation), at.map(Position));
        let wanted = AppendPiece { channel, offset, generation, at, piece };
        prop_assert_eq!(request.command, Command::Append(Box::new(wanted)));
    }
}

#[test]
fn event_has_at_most_4_kib_of_data() {
    let text = |bytes: usize| {
        let data = "x".repeat(bytes - 2);
        format!(r#"{{"append":{{"channel":"room","offset":59,"event":{{"type":"usage","data":"{data}"}}}}}}"#)
    };
    assert!(parse(&text(4_096), BOUNDS).is_ok());
    says(&text(4_097), CommandFault::TooLarge, "append.event.data has 4097 bytes of JSON; at most 4096");
}

#[test]
fn stream_of_a_publish_is_read_only_with_an_original() {
    let text = |more: &str| {
        format!(
            r#"{{"id":1,"publish":{{"channel":"room","data":1,"stream":{{"for":"u\u00e9","events":"keep"}}{more}}}}}"#
        )
    };
    let plain = text("");
    let Command::Publish(publish) = parsed(&plain) else { panic!("a publish") };
    let asker = UserName::parse("u\u{e9}").ok();
    let options = StreamOptions { asker, idle_ms: None, events: EventKeep::Keep, answer: None };
    assert_eq!(publish.stream.as_deref(), Some(&options));
    for more in [r#","edits":7"#, r#","deletes":7"#] {
        says(&text(more), CommandFault::Malformed, "an edit or a delete cannot");
    }
}
