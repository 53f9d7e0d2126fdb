//! The server's messages, parsed as strictly as the generator needs to check them.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One message. Unknown keys are ignored, as the protocol requires.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// The reply to `connect`.
    Connected { id: u64 },
    /// The reply to `subscribe`.
    Subscribed { id: u64, channel: &'a str, head: u64 },
    /// The reply to `publish`.
    Published { id: u64, channel: &'a str, key: Option<&'a str>, offset: u64, duplicate: bool },
    /// The refusal of a command.
    Error { id: Option<u64>, code: &'a str },
    /// A pushed publication.
    Publication { channel: &'a str, offset: u64, key: Option<&'a str>, data: &'a str },
    /// A pushed publication that ends a stream: an edit of its begin.
    StreamEnd { channel: &'a str, begin: u64, data: &'a str },
    /// Pushed text of a stream, with its positions. It has escapes if it is not borrowed.
    Stream { channel: &'a str, offset: u64, at: u64, text: Cow<'a, str>, next: u64 },
    /// A pushed state of a stream, without text.
    StreamState { channel: &'a str },
    /// The acknowledgement of everything below `next`.
    Appended { channel: &'a str, offset: u64, next: u64 },
    /// The reply to `end`.
    Ended { id: u64 },
    /// The reply to `present`.
    Present { id: u64 },
    /// A pushed frame of a roster, or with `id` the reply to `presence`.
    Presence { id: Option<u64>, users: u32, refresh_ms: Option<u64> },
    /// A pushed signal.
    Signal { channel: &'a str, data: &'a str },
    /// The end of a replay.
    Synced { channel: &'a str, offset: u64 },
    /// Publications were skipped.
    Lag,
    /// The server is about to close the connection.
    Bye { code: u64, retry_ms: Option<u64> },
    /// The server is shutting down.
    Drain,
    /// A beat: nothing to check.
    Beat,
    /// A status: nothing to check.
    News,
    /// Any other message.
    Unknown,
}

#[derive(Deserialize)]
struct Any<'a> {
    id: Option<u64>,
    connected: Option<Nothing>,
    #[serde(borrow)]
    subscribed: Option<Position<'a>>,
    #[serde(borrow)]
    published: Option<Published<'a>>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
    #[serde(borrow)]
    publication: Option<Publication<'a>>,
    #[serde(borrow)]
    stream: Option<StreamPiece<'a>>,
    #[serde(borrow)]
    appended: Option<Reached<'a>>,
    ended: Option<Nothing>,
    #[serde(borrow)]
    signal: Option<Signal<'a>>,
    #[serde(borrow)]
    synced: Option<Synced<'a>>,
    present: Option<Nothing>,
    presence: Option<Roster>,
    lag: Option<Nothing>,
    bye: Option<Bye>,
    drain: Option<Nothing>,
    beat: Option<Nothing>,
    status: Option<Nothing>,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Position<'a> {
    channel: &'a str,
    head: u64,
}

#[derive(Deserialize)]
struct Synced<'a> {
    channel: &'a str,
    offset: u64,
}

#[derive(Deserialize)]
struct Published<'a> {
    channel: &'a str,
    key: Option<&'a str>,
    offset: u64,
    duplicate: bool,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    code: &'a str,
}

#[derive(Deserialize)]
struct Publication<'a> {
    channel: &'a str,
    offset: u64,
    key: Option<&'a str>,
    edits: Option<u64>,
    stream: Option<&'a str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct StreamPiece<'a> {
    channel: &'a str,
    offset: u64,
    at: Option<u64>,
    /// Empty if it is absent.
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Reached<'a> {
    channel: &'a str,
    offset: u64,
    next: u64,
}

#[derive(Deserialize)]
struct Signal<'a> {
    channel: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Roster {
    users: u32,
    refresh_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Bye {
    code: u64,
    retry_ms: Option<u64>,
}

/// Parses a text frame; `None` if it is not a message of the protocol.
pub(crate) fn read(text: &[u8]) -> Option<Message<'_>> {
    let any: Any<'_> = serde_json::from_slice(text).ok()?;
    let id = any.id;
    let message = if let Some(publication) = any.publication {
        let Publication { channel, offset, key, edits, stream, data } = publication;
        match (edits, stream) {
            (Some(begin), Some(_)) => Message::StreamEnd { channel, begin, data: data.get() },
            _ => Message::Publication { channel, offset, key, data: data.get() },
        }
    } else if let Some(StreamPiece { channel, offset, at, text, next }) = any.stream {
        match at.zip(next) {
            Some((at, next)) => Message::Stream { channel, offset, at, text, next },
            None => Message::StreamState { channel },
        }
    } else if let Some(Reached { channel, offset, next }) = any.appended {
        Message::Appended { channel, offset, next }
    } else if let Some(Nothing {}) = any.ended {
        Message::Ended { id: id? }
    } else if let Some(Published { channel, key, offset, duplicate }) = any.published {
        Message::Published { id: id?, channel, key, offset, duplicate }
    } else if let Some(Signal { channel, data }) = any.signal {
        Message::Signal { channel, data: data.get() }
    } else if let Some(Refusal { code }) = any.error {
        Message::Error { id, code }
    } else if let Some(Nothing {}) = any.connected {
        Message::Connected { id: id? }
    } else if let Some(Position { channel, head }) = any.subscribed {
        Message::Subscribed { id: id?, channel, head }
    } else if let Some(Synced { channel, offset }) = any.synced {
        Message::Synced { channel, offset }
    } else if let Some(Roster { users, refresh_ms }) = any.presence {
        Message::Presence { id, users, refresh_ms }
    } else if let Some(Nothing {}) = any.present {
        Message::Present { id: id? }
    } else if let Some(Bye { code, retry_ms }) = any.bye {
        Message::Bye { code, retry_ms }
    } else {
        match (any.lag, any.drain, any.beat, any.status) {
            (Some(_), _, _, _) => Message::Lag,
            (None, Some(_), _, _) => Message::Drain,
            (None, None, Some(_), _) => Message::Beat,
            (None, None, None, Some(_)) => Message::News,
            (None, None, None, None) => Message::Unknown,
        }
    };
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_kind_is_recognised() {
        let text =
            br#"{"publication":{"channel":"c","offset":3,"key":"k","user":"u","time":1,"data":{"n":1}}}"#;
        assert!(matches!(
            read(text),
            Some(Message::Publication { channel: "c", offset: 3, key: Some("k"), data: "{\"n\":1}" })
        ));
        let text = br#"{"id":4,"published":{"channel":"c","key":"k","epoch":"e","offset":3,"time":1,"duplicate":true}}"#;
        assert!(matches!(read(text), Some(Message::Published { id: 4, offset: 3, duplicate: true, .. })));
        let text = br#"{"id":4,"error":{"code":"rate_limited","retry_ms":50,"message":"m"}}"#;
        assert!(matches!(read(text), Some(Message::Error { id: Some(4), code: "rate_limited" })));
        let text = br#"{"presence":{"channel":"c","revision":3,"complete":true,"users":4,"connections":5,"refresh_ms":9}}"#;
        assert!(matches!(read(text), Some(Message::Presence { id: None, users: 4, refresh_ms: Some(9) })));
        assert!(matches!(read(br#"{"id":8,"present":{"channel":"c"}}"#), Some(Message::Present { id: 8 })));
        let text = br#"{"stream":{"channel":"c","offset":5,"gen":1,"at":0,"text":"a\"","next":2}}"#;
        assert!(matches!(
            read(text),
            Some(Message::Stream { channel: "c", offset: 5, at: 0, text, next: 2 }) if text == "a\""
        ));
        let text = br#"{"stream":{"channel":"c","offset":5,"state":"processing"}}"#;
        assert!(matches!(read(text), Some(Message::StreamState { channel: "c" })));
        let text = br#"{"publication":{"channel":"c","offset":9,"edits":5,"stream":"completed","data":{"text":"a"}}}"#;
        assert!(matches!(
            read(text),
            Some(Message::StreamEnd { channel: "c", begin: 5, data: "{\"text\":\"a\"}" })
        ));
        let text = br#"{"appended":{"channel":"c","offset":5,"gen":1,"next":2}}"#;
        assert!(matches!(read(text), Some(Message::Appended { channel: "c", offset: 5, next: 2 })));
        assert!(matches!(
            read(br#"{"id":7,"ended":{"channel":"c","offset":5}}"#),
            Some(Message::Ended { id: 7 })
        ));
        assert!(matches!(read(br#"{"beat":{"revision":1,"heads":{}}}"#), Some(Message::Beat)));
        assert!(matches!(read(br#"{"status":{"level":"ok"}}"#), Some(Message::News)));
        assert!(matches!(read(br#"{"new":{}}"#), Some(Message::Unknown)));
        assert!(read(b"{").is_none());
    }
}
