use super::*;
use crate::id::UserName;
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::{Generation, Position, StreamId, StreamMark, StreamState, WholeStream};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Checks the frame's header against its length and returns the payload.
fn payload(frame: &[u8]) -> &[u8] {
    let length = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let payload = &frame[length..];
    let mut again = Vec::new();
    server_frame::write(&mut again, Opcode::Text, payload);
    assert_eq!(again, frame, "one complete frame");
    payload
}

fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut out = b"before".to_vec();
    write(&mut out);
    let value = serde_json::from_slice(payload(&out[6..])).expect("valid JSON");
    assert_eq!(&out[..6], b"before");
    value
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::None),
        any::<u64>().prop_map(|offset| Change::Edits(Offset(offset))),
        any::<u64>().prop_map(|offset| Change::Deletes(Offset(offset))),
    ]
}

proptest! {
    #[test]
    fn publication_with_any_content_reads_back(
        offset in any::<u64>(),
        key in prop::option::of(any::<String>()),
        user in any::<String>(),
        data in any::<String>(),
        change in change(),
        deleted_by in prop::option::of(any::<u64>()),
    ) {
        let text = serde_json::to_string(&data).unwrap();
        let stored = Stored {
            offset: Offset(offset),
            key: key.as_deref(),
            user: &user,
            time_ms: offset,
            change,
            stream: StreamMark::None,
            deleted_by: deleted_by.map(Offset),
            data: &text,
        };
        let mut wanted = json!({ "channel": "c1", "offset": offset, "user": user, "time": offset, "data": data });
        if let Some(key) = &key {
            wanted["key"] = key.clone().into();
        }
        match change {
            Change::None => (),
            Change::Edits(original) => wanted["edits"] = original.0.into(),
            Change::Deletes(original) => wanted["deletes"] = original.0.into(),
        }
        if let Some(deletion) = deleted_by {
            wanted["deleted_by"] = deletion.into();
        }
        let push = encoded(|out| publication(out, &name("c1"), &stored));
        prop_assert_eq!(&push, &json!({ "publication": wanted }));
        let mut body = Vec::new();
        publication_body(&mut body, &name("c1"), &stored);
        prop_assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), wanted.clone());
        let log = LogPosition { epoch: Epoch(36), head: Offset(offset), floor: Offset(1) };
        let page = encoded(|out| history(out, CommandId(1), &name("c1"), log, &body));
        prop_assert_eq!(&page["history"]["publications"], &json!([wanted]));
        prop_assert_eq!(&page["history"]["epoch"], "10");
    }

    #[test]
    fn text_from_outside_is_escaped_in_every_frame(text in any::<String>()) {
        let error_frame = CommandError {
            code: ErrorCode::Unavailable,
            dependency: Some(&text),
            retry_ms: Some(u32::MAX),
            message: &text,
        };
        let wanted = json!({ "error": {
            "code": "unavailable", "dependency": text, "retry_ms": u32::MAX, "message": text,
        }});
        prop_assert_eq!(encoded(|out| error(out, None, &error_frame)), wanted);
        let reason = CloseReason::Unavailable {
            dependency: text.clone(),
            retry_ms: 1,
            reference: text.clone(),
            message: text.as_str().into(),
        };
        let said = encoded(|out| bye(out, &reason));
        prop_assert_eq!(&said["bye"]["dependency"], &text);
        prop_assert_eq!(&said["bye"]["reference"], &text);
        prop_assert_eq!(said["bye"]["message"].as_str().unwrap_or_default(), &text);
        let said = encoded(|out| signal(out, &name("c1"), &text, "[null]"));
        prop_assert_eq!(&said["signal"]["user"], &text);
        let said = encoded(|out| drain(out, &text, 1, 2, Some(&text)));
        prop_assert_eq!(&said["drain"]["reason"], &text);
        prop_assert_eq!(&said["drain"]["to"], &text);
    }

    #[test]
    fn beat_holds_every_head(heads in prop::collection::btree_map("[a-z.:_-]{1,9}", any::<u64>(), 0..9)) {
        let names: Vec<_> = heads.iter().map(|(text, head)| (name(text), Offset(*head))).collect();
        let said = encoded(|out| beat(out, 8, names.iter().map(|(channel, head)| (channel, *head))));
        prop_assert_eq!(said, json!({ "beat": { "revision": 8, "heads": heads } }));
    }
}

fn stream() -> StreamId {
    StreamId { channel: ChannelName::parse("c1").expect("valid"), offset: Offset(59) }
}

proptest! {
    #[test]
    fn reply_to_stream_is_its_frame_with_the_id(text in "\\PC{0,400}|(\\{\"stream\":){0,9000}", id in 1u64..1 << 53) {
        let object = json!({"channel": "c1", "offset": 59, "gen": 1, "at": 0, "text": text, "next": 5, "state": "paused"});
        let mut frame = Vec::new();
        server_frame::write(&mut frame, Opcode::Text, json!({"stream": object}).to_string().as_bytes());
        let (generation, next) = (Generation(1), Position(5));
        let whole = WholeStream { id: stream(), generation, next, state: StreamState::Paused, frame: frame.into() };
        let mut out = Vec::new();
        stream_read(&mut out, CommandId(id), &whole);
        let reply: Value = serde_json::from_slice(payload(&out)).expect("JSON");
        prop_assert_eq!(reply, json!({"id": id, "stream": object}));
    }

    #[test]
    fn cancel_names_any_user(name in "\\PC{1,30}") {
        let Ok(user) = UserName::parse(&name) else { return Ok(()) };
        let mut out = Vec::new();
        cancel(&mut out, &stream(), Generation(2), &user, 5_000);
        let wanted = json!({"channel": "c1", "offset": 59, "gen": 2, "user": name, "end_ms": 5000});
        prop_assert_eq!(serde_json::from_slice::<Value>(payload(&out)).expect("JSON"), json!({"cancel": wanted}));
    }
}
