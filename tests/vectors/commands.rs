//! `commands.json`: valid commands, and the errors for invalid ones.

use super::{names_differ, read};
use seawall::id::{ChannelName, Epoch, Key, PresenceState, UserName};
use seawall::wire::command::{
    AppendPiece, ClientReport, Command, CommandBounds, CommandFault, CommandFrame, Content, Entrance,
    HistoryRange, Publish, ReportedError, RosterUse, StartAt, Subscribe, WatchDetail, parse,
};
use seawall::wire::stream::{Generation, KnownStream, Piece, Position};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    about: String,
    bounds: BoundsValue,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundsValue {
    json_depth: u32,
    subscriptions: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub text: String,
    pub request: Option<Value>,
    error: Option<ErrorValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorValue {
    code: String,
    id: Option<u64>,
    says: String,
}

#[test]
fn frame_is_parsed_as_in_the_examples() {
    let file: File = read("commands.json");
    assert!(!file.about.is_empty());
    names_differ(file.cases.iter().map(|case| case.name.as_str()));
    let bounds =
        CommandBounds { json_depth: file.bounds.json_depth, subscriptions: file.bounds.subscriptions };
    let (mut verbs, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for case in &file.cases {
        let name = &case.name;
        match (parse(&case.text, bounds), &case.request, &case.error) {
            (Ok(request), Some(wanted), None) => {
                assert_eq!(&described(&request), wanted, "{name}");
                verbs.extend(wanted.as_object().unwrap().keys().filter(|key| *key != "id").cloned());
            }
            (Err(rejected), None, Some(wanted)) => {
                assert_eq!(code(rejected.fault), wanted.code, "{name}: {}", rejected.message);
                assert_eq!(rejected.id.map(|id| id.0), wanted.id, "{name}: {}", rejected.message);
                assert!(rejected.message.contains(&wanted.says), "{name}: {}", rejected.message);
                codes.insert(wanted.code.clone());
            }
            (got, _, _) => panic!("{name}: {got:?}"),
        }
    }
    let every = [
        "absent",
        "append",
        "cancel",
        "connect",
        "end",
        "history",
        "presence",
        "present",
        "publish",
        "refresh",
        "report",
        "restart",
        "signal",
        "stream",
        "subscribe",
        "unsubscribe",
    ];
    assert_eq!(Vec::from_iter(verbs), every, "every command has an example");
    assert_eq!(Vec::from_iter(codes), ["malformed", "too_large", "unknown_command"]);
}

const fn code(fault: CommandFault) -> &'static str {
    match fault {
        CommandFault::Malformed => "malformed",
        CommandFault::UnknownCommand => "unknown_command",
        CommandFault::TooLarge => "too_large",
    }
}

/// Adds what the client has of open streams, if it names any.
fn describe_streams(value: &mut Value, streams: &[KnownStream]) {
    if !streams.is_empty() {
        let list = streams.iter().map(|known| json!([known.offset.0, known.generation.0, known.next.0]));
        value["streams"] = list.collect();
    }
}

/// Adds the use of the roster, unless there is none.
fn describe_roster(value: &mut Value, roster: &RosterUse) {
    if let Entrance::Inside(state) = &roster.present {
        value["present"] = json!({ "state": state.as_ref().map(PresenceState::as_str) });
    }
    match roster.watch {
        Some(WatchDetail::Members) => value["watch"] = json!("members"),
        Some(WatchDetail::Count) => value["watch"] = json!("count"),
        None => {}
    }
}

fn described(request: &CommandFrame<'_>) -> Value {
    let (verb, arguments) = match &request.command {
        Command::Connect(connect) => {
            let cursor = |cursor: &seawall::wire::command::Cursor| {
                let epoch = epoch(cursor.epoch);
                let mut value =
                    json!({ "channel": name(&cursor.channel), "epoch": epoch, "offset": cursor.offset.0 });
                describe_streams(&mut value, &cursor.streams);
                describe_roster(&mut value, &cursor.roster);
                value
            };
            let recover: Vec<_> = connect.recover.iter().map(cursor).collect();
            ("connect", json!({ "token": connect.token, "client": connect.client, "recover": recover }))
        }
        Command::Refresh { token } => ("refresh", json!({ "token": token })),
        Command::Subscribe(Subscribe { channel, from, streams, roster }) => {
            let from = match from {
                StartAt::Now => json!("now"),
                StartAt::After { epoch: of, offset } => {
                    json!({ "after": { "epoch": epoch(*of), "offset": offset.0 } })
                }
                StartAt::Last(last) => json!({ "last": last }),
            };
            let mut value = json!({ "channel": name(channel), "from": from });
            describe_streams(&mut value, streams);
            describe_roster(&mut value, roster);
            ("subscribe", value)
        }
        Command::Present { channel, state } => {
            let state = state.as_ref().map(PresenceState::as_str);
            ("present", json!({ "channel": name(channel), "state": state }))
        }
        Command::Absent { channel } => ("absent", json!({ "channel": name(channel) })),
        Command::Presence { channel, after, limit } => {
            let after = after.as_ref().map(UserName::as_str);
            ("presence", json!({ "channel": name(channel), "after": after, "limit": limit }))
        }
        Command::Report(report) => ("report", report_value(report)),
        Command::Unsubscribe { channel } => ("unsubscribe", json!({ "channel": name(channel) })),
        Command::Publish(publish) => ("publish", described_publish(publish)),
        Command::History { channel, range, limit } => {
            let (side, offset) = match range {
                HistoryRange::Before(offset) => ("before", offset),
                HistoryRange::After(offset) => ("after", offset),
            };
            ("history", json!({ "channel": name(channel), side: offset.0, "limit": limit }))
        }
        Command::Signal { channel, data } => {
            ("signal", json!({ "channel": name(channel), "data_text": data }))
        }
        Command::Append(_)
        | Command::Restart { .. }
        | Command::End(_)
        | Command::CancelStream { .. }
        | Command::ReadStream { .. } => described_stream(&request.command),
    };
    json!({ "id": request.id.map(|id| id.0), verb: arguments })
}

fn described_stream(command: &Command<'_>) -> (&'static str, Value) {
    match command {
        Command::Append(append) => ("append", append_value(append)),
        Command::Restart { channel, offset } => {
            ("restart", json!({ "channel": name(channel), "offset": offset.0 }))
        }
        Command::End(end) => {
            let mut value = json!({
                "channel": name(&end.channel), "offset": end.offset.0, "state": end.end.word(), "data_text": end.data,
            });
            place(&mut value, end.generation, end.at);
            ("end", value)
        }
        Command::CancelStream { channel, offset } => {
            ("cancel", json!({ "channel": name(channel), "offset": offset.0 }))
        }
        Command::ReadStream { channel, offset, known } => {
            let known = known.map(|(generation, after)| json!([generation.0, after.0]));
            ("stream", json!({ "channel": name(channel), "offset": offset.0, "known": known }))
        }
        _ => unreachable!("a command about a stream"),
    }
}

fn described_publish(publish: &Publish<'_>) -> Value {
    let channel = name(&publish.channel);
    let mut publish_value = json!({ "channel": channel, "key": publish.key.as_ref().map(Key::as_str) });
    let data = match publish.content {
        Content::Original(data) => data,
        Content::Edit(original, data) => {
            publish_value["edits"] = original.0.into();
            data
        }
        Content::Delete(original, data) => {
            publish_value["deletes"] = original.0.into();
            data
        }
    };
    publish_value["data_text"] = data.into();
    if let Some(options) = &publish.stream {
        let asker = options.asker.as_ref().map(UserName::as_str);
        publish_value["stream"] =
            json!({ "for": asker, "idle_ms": options.idle_ms, "events": options.events.word() });
    }
    publish_value
}

fn append_value(append: &AppendPiece) -> Value {
    let mut value = json!({ "channel": name(&append.channel), "offset": append.offset.0 });
    place(&mut value, append.generation, append.at);
    match &append.piece {
        Piece::Text(text) => value["text"] = (**text).into(),
        Piece::Event { kind, data } => {
            value["event"] = json!({ "type": kind.as_str(), "data_text": data });
        }
        Piece::Alive => {}
    }
    value
}

fn place(value: &mut Value, generation: Option<Generation>, at: Option<Position>) {
    value["gen"] = json!(generation.map(|generation| generation.0));
    value["at"] = json!(at.map(|at| at.0));
}

fn report_value(report: &ClientReport<'_>) -> Value {
    let error = |error: &ReportedError<'_>| {
        let context: serde_json::Map<String, Value> =
            error.context.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
        json!({
            "name": error.name, "message": error.message, "stack": error.stack, "component": error.component,
            "level": error.level.as_str(), "count": error.count, "context": context,
        })
    };
    json!({ "errors": report.errors.iter().map(error).collect::<Vec<_>>(), "dropped": report.dropped })
}

fn name(channel: &ChannelName) -> &str {
    channel.as_str()
}

fn epoch(epoch: Option<Epoch>) -> Option<String> {
    epoch.map(|epoch| epoch.to_string())
}
