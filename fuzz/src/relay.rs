//! The response of a backend of the relay: a byte for its form, a byte for its cuts, then its body.
//!
//! Checked properties: the same orders for every split, up to the first fault; `data` is JSON, as judged by serde_json; a text has all
//! bytes of the body; a fault is a short sentence.

use seawall::id::{ChannelName, Offset};
use seawall::relay::answer::BodyForm;
use seawall::relay::response::{ResponseFault, ResponseOrder, ResponseReader};
use seawall::wire::stream::{Generation, Piece, Position, StreamId};

const FORMS: [BodyForm; 4] = [BodyForm::Text, BodyForm::Lines, BodyForm::One, BodyForm::Nothing];

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let [form, cut, body @ ..] = bytes else { return };
    let form = FORMS[usize::from(*form) % FORMS.len()];
    let (whole, whole_fault) = read(form, body, body.len().max(1));
    let (parts, parts_fault) = read(form, body, usize::from(*cut).max(1));
    // Text before bytes that are none may have been read already.
    if form != BodyForm::Text || whole_fault.is_none() {
        assert_eq!(joined(&whole), joined(&parts), "the same orders however the body arrives");
    }
    assert_eq!(whole_fault.is_some(), parts_fault.is_some(), "{whole_fault:?} {parts_fault:?}");
    for fault in whole_fault.iter().chain(&parts_fault) {
        let text = fault.to_string();
        assert!((1..=600).contains(&text.len()) && !text.contains(char::is_control), "{text:?}");
    }
    whole.iter().for_each(kept);
    if form == BodyForm::Text && whole_fault.is_none() {
        assert_eq!(text(&whole).as_bytes(), body);
    }
}

/// The orders of a body that arrives in parts of this many bytes, and the fault that ended it.
fn read(form: BodyForm, body: &[u8], part: usize) -> (Vec<ResponseOrder>, Option<ResponseFault>) {
    let channel = ChannelName::parse("thread.7").expect("a channel");
    let answer = (StreamId { channel, offset: Offset(59) }, Generation(1));
    let mut reader = ResponseReader::new(form, Some(answer), "msg_AAAAAAAAAAAAAAAAAAAAAA", 2_000);
    let mut orders = Vec::new();
    let mut take = |order| {
        orders.push(order);
        Ok::<(), ResponseFault>(())
    };
    let pushed = body.chunks(part).try_for_each(|part| reader.push(part, &mut take));
    let fault = pushed.and_then(|()| reader.finish(&mut take)).err();
    (orders, fault)
}

/// The text, and all other orders as they are written for people. Text may come in any parts.
fn joined(orders: &[ResponseOrder]) -> (String, Vec<String>) {
    let others = orders.iter().filter(|order| text_of(order).is_none());
    (text(orders), others.map(|order| format!("{order:?}")).collect())
}

fn text(orders: &[ResponseOrder]) -> String {
    orders.iter().filter_map(text_of).collect()
}

fn text_of(order: &ResponseOrder) -> Option<&str> {
    match order {
        ResponseOrder::Append { piece: Piece::Text(text), .. } => Some(text),
        _ => None,
    }
}

fn kept(order: &ResponseOrder) {
    let is_json =
        |data: &str| assert!(serde_json::from_str::<&serde_json::value::RawValue>(data).is_ok(), "{data}");
    match order {
        ResponseOrder::Append { piece: Piece::Event { data, .. }, .. } => is_json(data),
        ResponseOrder::Append { piece: Piece::Text(text), .. } => assert!(!text.is_empty()),
        ResponseOrder::Append { piece: Piece::Alive, .. } | ResponseOrder::Restart => {}
        ResponseOrder::End { data, at: Position(_), .. } => data.as_deref().into_iter().for_each(is_json),
        ResponseOrder::Publish { key, data, .. } => {
            assert!(key.as_str().len() <= 64);
            is_json(data);
        }
        ResponseOrder::Continue { key, at: Position(at), .. } => assert!(*at > 0 && key.as_str().len() <= 64),
    }
}
