//! Commands: the text frames of a client.
//!
//! Checked properties: only JSON is accepted, as judged by serde_json; an `id` is answered wherever the text has one; every
//! error message is short and informative; a command written again from its parsed form parses to the same value, with
//! exactly the same bytes of `data`.

use seawall::id::{ChannelName, Epoch, Offset};
use seawall::wire::command::{
    AppendPiece, Command, CommandBounds, CommandFrame, Connect, Content, Cursor, EndStream, Entrance,
    HistoryRange, Publish, ReportedError, RosterUse, StartAt, Subscribe, WatchDetail, parse,
};
use seawall::wire::stream::{Generation, KnownStream, Piece, Position};
use serde_json::value::RawValue;
use std::fmt::Write;

const BOUNDS: CommandBounds = CommandBounds { json_depth: 8, subscriptions: 4 };
/// A message repeats at most a short piece of the peer's text.
const MESSAGE_BYTES_MAX: usize = 300;

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    match parse(text, BOUNDS) {
        Ok(request) => {
            assert!(is_json, "invalid JSON was accepted");
            let again = written(&request);
            let second = parse(&again, BOUNDS);
            assert_eq!(second.as_ref().ok(), Some(&request), "{again} after {second:?}");
        }
        Err(rejected) => {
            let message = &rejected.message;
            assert_eq!(message.starts_with("not JSON"), !is_json, "{message}");
            assert!(is_json || rejected.id.is_none());
            assert!((1..=MESSAGE_BYTES_MAX).contains(&message.len()), "{message}");
        }
    }
}

/// Writes the request as JSON, with the bytes of `data` unchanged.
fn written(request: &CommandFrame<'_>) -> String {
    let mut text = String::from("{");
    if let Some(id) = request.id {
        put(&mut text, "id", id.0);
    }
    let (name, arguments) = arguments(&request.command);
    put(&mut text, name, arguments);
    text + "}"
}

/// Appends a member. Writing to a String cannot fail.
fn put(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let comma = if text.ends_with('{') { "" } else { "," };
    let _infallible = write!(text, "{comma}\"{name}\":{value}");
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn arguments(command: &Command<'_>) -> (&'static str, String) {
    let mut text = String::from("{");
    let name = match command {
        Command::Connect(connect) => {
            put_connect(&mut text, connect);
            "connect"
        }
        Command::Refresh { token } => {
            put(&mut text, "token", string(token));
            "refresh"
        }
        Command::Subscribe(Subscribe { channel, from, streams, roster }) => {
            put(&mut text, "channel", string(channel.as_str()));
            put_from(&mut text, *from);
            put_streams(&mut text, streams);
            put_roster(&mut text, roster);
            "subscribe"
        }
        Command::Unsubscribe { channel } => {
            put(&mut text, "channel", string(channel.as_str()));
            "unsubscribe"
        }
        Command::Publish(publish) => {
            put_publish(&mut text, publish);
            "publish"
        }
        Command::History { channel, range, limit } => {
            put(&mut text, "channel", string(channel.as_str()));
            put_range(&mut text, *range);
            put(&mut text, "limit", limit);
            "history"
        }
        Command::Signal { channel, data } => {
            put(&mut text, "data", data);
            put(&mut text, "channel", string(channel.as_str()));
            "signal"
        }
        Command::Present { channel, state } => {
            put(&mut text, "channel", string(channel.as_str()));
            if let Some(state) = state {
                put(&mut text, "state", string(state.as_str()));
            }
            "present"
        }
        Command::Absent { channel } => {
            put(&mut text, "channel", string(channel.as_str()));
            "absent"
        }
        Command::Presence { channel, after, limit } => {
            put(&mut text, "channel", string(channel.as_str()));
            if let Some(after) = after {
                put(&mut text, "after", string(after.as_str()));
            }
            put(&mut text, "limit", limit);
            "presence"
        }
        Command::Report(report) => {
            put(&mut text, "dropped", report.dropped);
            let errors: Vec<String> = report.errors.iter().map(error).collect();
            put(&mut text, "errors", format!("[{}]", errors.join(",")));
            "report"
        }
        Command::Append(_)
        | Command::Restart { .. }
        | Command::End(_)
        | Command::CancelStream { .. }
        | Command::ReadStream { .. } => return stream_arguments(command),
    };
    (name, text + "}")
}

fn stream_arguments(command: &Command<'_>) -> (&'static str, String) {
    let mut text = String::from("{");
    let name = match command {
        Command::Append(append) => {
            put_append(&mut text, append);
            "append"
        }
        Command::Restart { channel, offset } => {
            put_stream(&mut text, channel, *offset);
            "restart"
        }
        Command::End(end) => {
            put_end(&mut text, end);
            "end"
        }
        Command::CancelStream { channel, offset } => {
            put_stream(&mut text, channel, *offset);
            "cancel"
        }
        Command::ReadStream { channel, offset, known } => {
            put_stream(&mut text, channel, *offset);
            if let Some((generation, after)) = known {
                put(&mut text, "gen", generation);
                put(&mut text, "after", after);
            }
            "stream"
        }
        _ => unreachable!("a command about a stream"),
    };
    (name, text + "}")
}

fn put_stream(text: &mut String, channel: &ChannelName, offset: Offset) {
    put(text, "channel", string(channel.as_str()));
    put(text, "offset", offset.0);
}

fn put_place(text: &mut String, generation: Option<Generation>, at: Option<Position>) {
    if let Some(generation) = generation {
        put(text, "gen", generation);
    }
    if let Some(at) = at {
        put(text, "at", at);
    }
}

fn put_append(text: &mut String, append: &AppendPiece) {
    let AppendPiece { channel, offset, generation, at, piece } = append;
    put_stream(text, channel, *offset);
    put_place(text, *generation, *at);
    match piece {
        Piece::Text(piece) => put(text, "text", string(piece)),
        Piece::Event { kind, data } => {
            put(text, "event", format!("{{\"type\":{},\"data\":{data}}}", string(kind.as_str())));
        }
        Piece::Alive => {}
    }
}

fn put_end(text: &mut String, end: &EndStream<'_>) {
    put_stream(text, &end.channel, end.offset);
    put_place(text, end.generation, end.at);
    put(text, "state", string(end.end.word()));
    if let Some(data) = end.data {
        put(text, "data", data);
    }
}

fn error(error: &ReportedError<'_>) -> String {
    let mut text = String::from("{");
    let texts = [
        ("name", &error.name),
        ("message", &error.message),
        ("stack", &error.stack),
        ("component", &error.component),
    ];
    for (name, value) in texts {
        put(&mut text, name, string(value));
    }
    put(&mut text, "level", string(error.level.as_str()));
    put(&mut text, "count", error.count);
    let context: Vec<String> =
        error.context.iter().map(|(key, value)| format!("{}:{}", string(key), string(value))).collect();
    put(&mut text, "context", format!("{{{}}}", context.join(",")));
    text + "}"
}

fn put_roster(text: &mut String, roster: &RosterUse) {
    match &roster.present {
        Entrance::Outside => {}
        Entrance::Inside(None) => put(text, "present", "{}"),
        Entrance::Inside(Some(state)) => {
            put(text, "present", format!("{{\"state\":{}}}", string(state.as_str())))
        }
    }
    match roster.watch {
        None => {}
        Some(WatchDetail::Members) => put(text, "watch", "\"members\""),
        Some(WatchDetail::Count) => put(text, "watch", "\"count\""),
    }
}

fn put_connect(text: &mut String, connect: &Connect<'_>) {
    if let Some(token) = &connect.token {
        put(text, "token", string(token));
    }
    if let Some(client) = &connect.client {
        put(text, "client", string(client));
    }
    let cursors = connect.recover.iter().map(|cursor| {
        let Cursor { channel, epoch, offset, streams, roster } = cursor;
        let mut entry = String::from("{");
        put(&mut entry, "channel", string(channel.as_str()));
        put(&mut entry, "epoch", epoch_text(*epoch));
        put(&mut entry, "offset", offset.0);
        put_streams(&mut entry, streams);
        put_roster(&mut entry, roster);
        entry + "}"
    });
    put(text, "recover", format!("[{}]", cursors.collect::<Vec<_>>().join(",")));
}

fn put_streams(text: &mut String, streams: &[KnownStream]) {
    let members: Vec<String> = streams
        .iter()
        .map(|stream| {
            let KnownStream { offset, generation, next } = stream;
            format!("\"{offset}\":[{generation},{next}]")
        })
        .collect();
    if !members.is_empty() {
        put(text, "streams", format!("{{{}}}", members.join(",")));
    }
}

fn put_range(text: &mut String, range: HistoryRange) {
    match range {
        HistoryRange::Before(offset) => put(text, "before", offset.0),
        HistoryRange::After(offset) => put(text, "after", offset.0),
    }
}

fn put_from(text: &mut String, from: StartAt) {
    match from {
        StartAt::Now => {}
        StartAt::Last(count) => put(text, "last", count),
        StartAt::After { epoch, offset } => {
            put(text, "recover", format!("{{\"epoch\":{},\"offset\":{}}}", epoch_text(epoch), offset.0));
        }
    }
}

fn put_publish(text: &mut String, publish: &Publish<'_>) {
    put(text, "channel", string(publish.channel.as_str()));
    if let Some(key) = &publish.key {
        put(text, "key", string(key.as_str()));
    }
    match publish.content {
        Content::Original(data) => put(text, "data", data),
        Content::Edit(target, data) => {
            put(text, "edits", target.0);
            put(text, "data", data);
        }
        Content::Delete(target, data) => {
            put(text, "deletes", target.0);
            put(text, "data", data);
        }
    }
    if let Some(options) = &publish.stream {
        let mut stream = String::from("{");
        if let Some(asker) = &options.asker {
            put(&mut stream, "for", string(asker.as_str()));
        }
        if let Some(idle_ms) = options.idle_ms {
            put(&mut stream, "idle_ms", idle_ms);
        }
        put(&mut stream, "events", string(options.events.word()));
        put(text, "stream", stream + "}");
    }
}

/// The text of an epoch. For `None` it is a text that is not a valid epoch.
fn epoch_text(epoch: Option<Epoch>) -> String {
    epoch.map_or_else(|| "\"none\\n\"".to_owned(), |epoch| format!("\"{epoch}\""))
}
