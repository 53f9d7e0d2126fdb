//! Bodies of responses, cut anywhere.

use super::*;
use crate::id::Offset;
use proptest::prelude::*;

const ID: &str = "msg_AAAAAAAAAAAAAAAAAAAAAA";
const MESSAGE_BYTES: usize = 500;

fn answer() -> (StreamId, Generation) {
    let channel = ChannelName::parse("thread.7").expect("a channel");
    (StreamId { channel, offset: Offset(59) }, Generation(2))
}

/// Reads a body that arrives in these parts.
fn read(form: BodyForm, parts: &[&[u8]]) -> Result<Vec<ResponseOrder>, ResponseFault> {
    let mut reader = ResponseReader::new(form, Some(answer()), ID, MESSAGE_BYTES);
    let mut orders = Vec::new();
    let mut take = |order| {
        orders.push(order);
        Ok::<(), ResponseFault>(())
    };
    for part in parts {
        reader.push(part, &mut take)?;
    }
    reader.finish(&mut take)?;
    Ok(orders)
}

fn end(at: u32, end: StreamEnd) -> ResponseOrder {
    ResponseOrder::End { generation: Generation(2), at: Position(at), end, data: None }
}

fn text(at: u32, text: &str) -> ResponseOrder {
    let piece = Piece::Text(text.into());
    ResponseOrder::Append { generation: Generation(2), at: Position(at), piece }
}

#[test]
fn text_ends_with_its_body_and_no_text_ends_nothing() {
    let read = |parts: &[&[u8]]| read(BodyForm::Text, parts);
    let expected = vec![text(0, "Hé"), text(3, "llo"), end(6, StreamEnd::Completed)];
    assert_eq!(read(&[b"H\xC3\xA9", b"llo"]), Ok(expected));
    assert_eq!(read(&[]), Ok(Vec::new()));
    assert_eq!(read(&[b"\xC3"]), Err(ResponseFault::NotText));
    assert_eq!(read(&[b"a\xFFb"]), Err(ResponseFault::NotText));
}

#[test]
fn long_text_continues_in_the_next_part() {
    let lines = "a line of text\n".repeat(40);
    let orders = read(BodyForm::Text, &[lines.as_bytes()]).expect("text");
    let [first, go_on, second, last] = &orders[..] else { panic!("{orders:?}") };
    let ResponseOrder::Append { piece: Piece::Text(before), .. } = first else { panic!("{first:?}") };
    let ResponseOrder::Append { piece: Piece::Text(after), generation, at } = second else {
        panic!("{second:?}")
    };
    assert_eq!(
        (before.to_string() + after, *generation, *at),
        (lines.clone(), Generation::FIRST, Position::ZERO)
    );
    assert!(before.ends_with('\n') && before.len() > 300, "{before}");
    let at = Position(u32::try_from(before.len()).expect("short"));
    let key = Key::parse(&format!("{ID}_part2")).expect("a key");
    assert_eq!(*go_on, ResponseOrder::Continue { generation: Generation(2), at, key });
    let at = Position(u32::try_from(after.len()).expect("short"));
    let end = StreamEnd::Completed;
    assert_eq!(*last, ResponseOrder::End { generation: Generation::FIRST, at, end, data: None });
    // A response without end does not fill a channel.
    assert_eq!(read(BodyForm::Text, &[lines.repeat(20).as_bytes()]), Err(ResponseFault::TooManyParts));
}

#[test]
fn commands_continue_where_the_one_before_ended() {
    let body = br#"{"append":{"event":{"type":"started"}}}

{"append":{"text":"Hi"}}
{"append":{"at":1,"text":"Hi!"}}
{"publish":{"data":{"seen":true}}}
{"publish":{"channel":"log.1","key":"own","data":1}}
{"end":{"state":"completed"}}"#;
    let orders = read(BodyForm::Lines, &[body]).expect("commands");
    assert_eq!(orders[1..3], [text(1, "Hi"), text(1, "Hi!")]);
    let publish = |channel: Option<&str>, key: &str, data: &str| ResponseOrder::Publish {
        channel: channel.map(|name| ChannelName::parse(name).expect("a channel")),
        key: Key::parse(key).expect("a key"),
        data: data.into(),
    };
    assert_eq!(orders[3], publish(None, &format!("{ID}_5"), r#"{"seen":true}"#));
    assert_eq!(orders[4..], [publish(Some("log.1"), "own", "1"), end(4, StreamEnd::Completed)]);
}

#[test]
fn restart_begins_the_next_generation_at_its_beginning() {
    let body = b"{\"append\":{\"text\":\"old\"}}\n{\"restart\":{}}\n{\"append\":{\"text\":\"new\"}}\n";
    let orders = read(BodyForm::Lines, &[body]).expect("commands");
    assert_eq!(orders[..2], [text(0, "old"), ResponseOrder::Restart]);
    let piece = Piece::Text("new".into());
    let expected = ResponseOrder::Append { generation: Generation(3), at: Position::ZERO, piece };
    assert_eq!(orders[2..], [expected]);
}

#[test]
fn one_object_may_span_lines() {
    let parts: [&[u8]; 2] = [b"{\"end\":{\n\"state\":", b"\"failed\"}\n}\n"];
    assert_eq!(read(BodyForm::One, &parts), Ok(vec![end(0, StreamEnd::Failed)]));
    assert_eq!(read(BodyForm::One, &[b" \n"]), Ok(Vec::new()));
    assert_eq!(read(BodyForm::One, &[&vec![b' '; LINE_BYTES_MAX + 1]]), Err(ResponseFault::TooLong));
}

#[test]
fn garbage_and_other_streams_are_refused_by_line() {
    let fault = |line: &str| {
        let body = format!("{{\"append\":{{\"text\":\"a\"}}}}\n{line}\n");
        read(BodyForm::Lines, &[body.as_bytes()]).expect_err(line)
    };
    assert!(matches!(fault("garbage"), ResponseFault::Malformed { line: 2, .. }));
    assert!(matches!(fault(r#"{"history":{}}"#), ResponseFault::Malformed { line: 2, .. }));
    for other in [r#"{"append":{"channel":"thread.8"}}"#, r#"{"restart":{"offset":60}}"#] {
        assert_eq!(fault(other), ResponseFault::NotTheAnswer { line: 2 });
    }
    assert_eq!(fault(&"a".repeat(LINE_BYTES_MAX + 1)), ResponseFault::TooLong);
    let mut reader = ResponseReader::new(BodyForm::Lines, None, ID, MESSAGE_BYTES);
    let pushed = reader.push(b"{\"append\":{\"text\":\"a\"}}\n", |_| Ok(()));
    assert_eq!(pushed, Err(ResponseFault::NotTheAnswer { line: 1 }), "the question has no answer");
}

/// The orders with neighbouring texts joined.
fn joined(orders: Vec<ResponseOrder>) -> Vec<ResponseOrder> {
    let mut joined: Vec<ResponseOrder> = Vec::new();
    for order in orders {
        match (joined.last_mut(), order) {
            (
                Some(ResponseOrder::Append { piece: Piece::Text(before), .. }),
                ResponseOrder::Append { piece: Piece::Text(after), .. },
            ) => *before = format!("{before}{after}").into_boxed_str(),
            (_, order) => joined.push(order),
        }
    }
    joined
}

fn parts<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut from = 0;
    cuts.into_iter().map(|cut| &bytes[std::mem::replace(&mut from, cut)..cut]).collect()
}

proptest! {
    #[test]
    fn cuts_change_no_text(body in "\\PC{0,30}", cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let orders = joined(read(BodyForm::Text, &parts(body.as_bytes(), &cuts)).expect("text"));
        let length = u32::try_from(body.len()).expect("short");
        let expected = match body.is_empty() {
            true => Vec::new(),
            false => vec![text(0, &body), end(length, StreamEnd::Completed)],
        };
        prop_assert_eq!(orders, expected);
    }

    #[test]
    fn cuts_change_no_command(texts in prop::collection::vec("\\PC{1,6}", 0..5), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let line = |text: &String| serde_json::json!({"append": {"text": text}}).to_string() + "\n";
        let body: String = texts.iter().map(line).collect();
        let whole = read(BodyForm::Lines, &[body.as_bytes()]).expect("commands");
        prop_assert_eq!(whole.len(), texts.len());
        prop_assert_eq!(whole, read(BodyForm::Lines, &parts(body.as_bytes(), &cuts)).expect("commands"));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(any::<usize>(), 0..4)) {
        for form in [BodyForm::Nothing, BodyForm::Text, BodyForm::Lines, BodyForm::One] {
            let _ = read(form, &parts(&bytes, &cuts));
        }
    }
}
