//! `pushes.json`: the server's frames, byte for byte.

use super::stream_values::{BegunValue, FaultyStreamValue, ReachedValue, end_of, mark, stream_id, whole};
use super::{names_differ, payload, read};
use seawall::id::{ChannelName, CommandId, Epoch, Offset, UserName};
use seawall::wire::presence;
use seawall::wire::publication::{Change, Stored};
use seawall::wire::push::{self, *};
use seawall::wire::reported::{ReportReply, reported};
use seawall::wire::server_frame::{self, Opcode};
use seawall::wire::stream::{Generation, StreamOutcome};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    about: String,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    value: FrameValue,
    pub text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum FrameValue {
    Connected(Box<ConnectedValue>),
    Subscribed(SubscribedValue),
    Unsubscribed {
        id: u64,
        channel: String,
    },
    SubscriptionEnded {
        channel: String,
        because: String,
    },
    Published(PublishedValue),
    History {
        id: u64,
        channel: String,
        log: LogValue,
        publications: Vec<PublicationValue>,
    },
    Refreshed {
        id: u64,
        expires: Option<u64>,
        expires_in_ms: Option<u64>,
    },
    RightsChanged {
        expires: Option<u64>,
        expires_in_ms: Option<u64>,
    },
    Publication(PublicationValue),
    Signal {
        channel: String,
        user: String,
        data_text: String,
    },
    Synced {
        channel: String,
        offset: u64,
    },
    Status {
        status_text: String,
    },
    Beat {
        revision: u64,
        heads: Vec<(String, u64)>,
    },
    Flags {
        on: Vec<String>,
    },
    Present {
        id: u64,
        channel: String,
    },
    Absent {
        id: u64,
        channel: String,
    },
    Presence {
        id: Option<u64>,
        object_text: String,
    },
    PresenceEnded {
        channel: String,
    },
    Reported {
        id: u64,
        accepted: u16,
        dropped: u16,
        next_ms: u32,
    },
    Lag {
        channel: String,
        from: u64,
        head: u64,
    },
    Drain {
        reason: String,
        slot_ms: u32,
        deadline_ms: u32,
        to: Option<String>,
    },
    Error {
        id: Option<u64>,
        code: String,
        dependency: Option<String>,
        retry_ms: Option<u32>,
        message: String,
        stream: Option<FaultyStreamValue>,
    },
    Appended(ReachedValue),
    Restarted(ReachedValue),
    Ended {
        id: u64,
        channel: String,
        offset: u64,
        edit: u64,
        state: String,
        duplicate: bool,
    },
    Cancelling {
        id: u64,
        channel: String,
        offset: u64,
    },
    Cancel {
        channel: String,
        offset: u64,
        r#gen: u32,
        user: String,
        end_ms: u32,
    },
    Stream {
        id: Option<u64>,
        object_text: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectedValue {
    id: u64,
    connection: String,
    instance: String,
    user: String,
    personal: Option<String>,
    ping_ms: u32,
    stable_ms: u32,
    limits: LimitsValue,
    expires: Option<u64>,
    expires_in_ms: Option<u64>,
    status_text: String,
    flags: Option<Vec<String>>,
    recovered: Vec<RecoveredValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsValue {
    frame_bytes: u32,
    publishes_per_s: u32,
    publishes_burst: u32,
    subscriptions: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscribedValue {
    id: u64,
    channel: String,
    log: Option<LogValue>,
    rights: Option<Vec<String>>,
    recovered: Option<bool>,
    because: Option<String>,
    retry_ms: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecoveredValue {
    channel: String,
    presence_refused: Option<String>,
    log: Option<LogValue>,
    rights: Option<Vec<String>>,
    recovered: Option<bool>,
    because: Option<String>,
    retry_ms: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogValue {
    epoch: String,
    head: u64,
    floor: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedValue {
    id: u64,
    channel: String,
    key: Option<String>,
    epoch: String,
    offset: u64,
    time: u64,
    duplicate: bool,
    stream: Option<BegunValue>,
    answer: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicationValue {
    channel: String,
    offset: u64,
    key: Option<String>,
    user: String,
    time: u64,
    edits: Option<u64>,
    deletes: Option<u64>,
    deleted_by: Option<u64>,
    stream: Option<String>,
    data_text: String,
}

#[test]
fn frame_is_encoded_as_in_the_examples() {
    let file: File = read("pushes.json");
    assert!(!file.about.is_empty());
    names_differ(file.cases.iter().map(|case| case.name.as_str()));
    let (mut kinds, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for case in &file.cases {
        let mut frame = Vec::new();
        case.value.encode(&mut frame);
        assert_eq!(payload(&frame), case.text, "{}", case.name);
        let value: serde_json::Value = serde_json::from_str(&case.text).unwrap();
        kinds.extend(value.as_object().unwrap().keys().filter(|key| *key != "id").cloned());
        if let Some(code) = value.pointer("/error/code") {
            codes.insert(code.as_str().unwrap().to_owned());
        }
    }
    let every = "absent appended beat cancel cancelling connected drain ended error flags history lag presence present \
                 publication published refreshed reported restarted signal status stream subscribed synced unsubscribed";
    assert_eq!(Vec::from_iter(kinds).join(" "), every, "every frame has an example");
    assert_eq!(codes, CODES.map(|code| code.as_str().to_owned()).into(), "every error has an example");
}

const CODES: [ErrorCode; 17] = [
    ErrorCode::Malformed,
    ErrorCode::UnknownCommand,
    ErrorCode::Unauthorized,
    ErrorCode::Forbidden,
    ErrorCode::NotSubscribed,
    ErrorCode::TooLarge,
    ErrorCode::RateLimited,
    ErrorCode::NotFound,
    ErrorCode::KeyConflict,
    ErrorCode::Unavailable,
    ErrorCode::Overloaded,
    ErrorCode::Draining,
    ErrorCode::Unconfirmed,
    ErrorCode::Stale,
    ErrorCode::Gap,
    ErrorCode::Diverged,
    ErrorCode::Ended,
];

fn end(expires: Option<u64>, expires_in_ms: Option<u64>) -> Option<push::Expires> {
    expires.zip(expires_in_ms).map(|(unix_ms, in_ms)| push::Expires { unix_ms, in_ms })
}

impl FrameValue {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            FrameValue::Connected(value) => value.encode(out),
            FrameValue::Subscribed(value) => value.encode(out),
            FrameValue::Unsubscribed { id, channel } => {
                push::unsubscribed(out, CommandId(*id), &name(channel))
            }
            FrameValue::SubscriptionEnded { channel, because } => {
                assert_eq!(because, SubscriptionEnd::Forbidden.word());
                push::subscription_ended(out, &name(channel), SubscriptionEnd::Forbidden);
            }
            FrameValue::Published(value) => value.encode(out),
            FrameValue::History { id, channel, log, publications } => {
                let mut body = Vec::new();
                for (place, publication) in publications.iter().enumerate() {
                    if place > 0 {
                        body.push(b',');
                    }
                    push::publication_body(&mut body, &name(&publication.channel), &publication.stored());
                }
                push::history(out, CommandId(*id), &name(channel), log.position(), &body);
            }
            FrameValue::Refreshed { id, expires, expires_in_ms } => {
                push::refreshed(out, CommandId(*id), end(*expires, *expires_in_ms));
            }
            FrameValue::RightsChanged { expires, expires_in_ms } => {
                push::rights_changed(out, end(*expires, *expires_in_ms));
            }
            FrameValue::Publication(value) => push::publication(out, &name(&value.channel), &value.stored()),
            FrameValue::Signal { channel, user, data_text } => {
                push::signal(out, &name(channel), user, data_text)
            }
            FrameValue::Synced { channel, offset } => push::synced(out, &name(channel), Offset(*offset)),
            FrameValue::Status { status_text } => push::status(out, status_text),
            FrameValue::Beat { revision, heads } => {
                let heads: Vec<_> = heads.iter().map(|(text, head)| (name(text), Offset(*head))).collect();
                push::beat(out, *revision, heads.iter().map(|(channel, head)| (channel, *head)));
            }
            FrameValue::Flags { on } => push::flags(out, &on.iter().map(String::as_str).collect::<Vec<_>>()),
            FrameValue::Reported { id, accepted, dropped, next_ms } => {
                let value = ReportReply { accepted: *accepted, dropped: *dropped, next_ms: *next_ms };
                reported(out, CommandId(*id), value);
            }
            FrameValue::Present { .. }
            | FrameValue::Absent { .. }
            | FrameValue::Presence { .. }
            | FrameValue::PresenceEnded { .. } => self.encode_presence(out),
            FrameValue::Lag { channel, from, head } => {
                push::lag(out, &name(channel), Offset(*from), Offset(*head));
            }
            FrameValue::Drain { reason, slot_ms, deadline_ms, to } => {
                push::drain(out, reason, *slot_ms, *deadline_ms, to.as_deref());
            }
            FrameValue::Error { id, code, dependency, retry_ms, message, stream } => {
                let code = CODES.into_iter().find(|known| known.as_str() == code).expect("an error code");
                let dependency = dependency.as_deref();
                let error = CommandError { code, dependency, retry_ms: *retry_ms, message };
                let id = id.map(CommandId);
                match stream {
                    None => push::error(out, id, &error),
                    Some(stream) => stream.encode(out, id, &error),
                }
            }
            FrameValue::Appended(_)
            | FrameValue::Restarted(_)
            | FrameValue::Ended { .. }
            | FrameValue::Cancelling { .. }
            | FrameValue::Cancel { .. }
            | FrameValue::Stream { .. } => self.encode_stream(out),
        }
    }

    fn encode_presence(&self, out: &mut Vec<u8>) {
        match self {
            FrameValue::Present { id, channel } => {
                presence::done(out, CommandId(*id), "present", &name(channel));
            }
            FrameValue::Absent { id, channel } => {
                presence::done(out, CommandId(*id), "absent", &name(channel));
            }
            FrameValue::Presence { id: None, object_text } => {
                out.extend_from_slice(&presence::push(object_text.as_bytes()));
            }
            FrameValue::Presence { id: Some(id), object_text } => {
                presence::reply(out, CommandId(*id), object_text.as_bytes());
            }
            FrameValue::PresenceEnded { channel } => presence::ended(out, &name(channel)),
            _ => unreachable!("a frame about a roster"),
        }
    }

    fn encode_stream(&self, out: &mut Vec<u8>) {
        match self {
            FrameValue::Appended(value) => {
                value.encode(out, |generation, next| StreamOutcome::Appended { generation, next })
            }
            FrameValue::Restarted(value) => {
                value.encode(out, |generation, next| StreamOutcome::Restarted { generation, next })
            }
            FrameValue::Ended { id, channel, offset, edit, state, duplicate } => {
                let outcome =
                    StreamOutcome::Ended { edit: Offset(*edit), end: end_of(state), duplicate: *duplicate };
                push::stream_answered(out, CommandId(*id), &stream_id(channel, *offset), &outcome);
            }
            FrameValue::Cancelling { id, channel, offset } => {
                let stream = stream_id(channel, *offset);
                push::stream_answered(out, CommandId(*id), &stream, &StreamOutcome::Cancelling);
            }
            FrameValue::Cancel { channel, offset, r#gen, user, end_ms } => {
                let user = UserName::parse(user).expect("a user");
                push::cancel(out, &stream_id(channel, *offset), Generation(*r#gen), &user, *end_ms);
            }
            FrameValue::Stream { id, object_text } => {
                let mut frame = Vec::new();
                server_frame::write(
                    &mut frame,
                    Opcode::Text,
                    format!("{{\"stream\":{object_text}}}").as_bytes(),
                );
                match id {
                    None => out.extend_from_slice(&frame),
                    Some(id) => push::stream_read(out, CommandId(*id), &whole(frame)),
                }
            }
            _ => unreachable!("a frame about a stream"),
        }
    }
}

impl ConnectedValue {
    fn encode(&self, out: &mut Vec<u8>) {
        let channels: Vec<_> = self.recovered.iter().map(|entry| name(&entry.channel)).collect();
        let entries = channels.iter().zip(&self.recovered).map(|(channel, entry)| Recovered {
            channel,
            log: entry.log.as_ref().map(LogValue::position),
            outcome: outcome(entry.recovered, entry.because.as_deref(), entry.retry_ms),
            roster: entry.presence_refused.as_deref(),
            rights: rights(entry.rights.as_deref()),
        });
        let flags: Option<Vec<&str>> =
            self.flags.as_ref().map(|flags| flags.iter().map(String::as_str).collect());
        let connected = Connected {
            connection: &self.connection,
            instance: &self.instance,
            user: &self.user,
            personal: self.personal.as_deref(),
            ping_ms: self.ping_ms,
            stable_ms: self.stable_ms,
            limits: ReportedLimits {
                frame_bytes: self.limits.frame_bytes,
                publishes_per_s: self.limits.publishes_per_s,
                publishes_burst: self.limits.publishes_burst,
                subscriptions: self.limits.subscriptions,
            },
            expires: end(self.expires, self.expires_in_ms),
            status: &self.status_text,
            flags: flags.as_deref(),
            recovered: &entries.collect::<Vec<_>>(),
        };
        push::connected(out, CommandId(self.id), &connected);
    }
}

fn rights(names: Option<&[String]>) -> Option<RightsText> {
    names.map(|names| RightsText::of(&serde_json::to_string(names).expect("a list")))
}

impl SubscribedValue {
    fn encode(&self, out: &mut Vec<u8>) {
        let recovered = Recovered {
            channel: &name(&self.channel),
            log: self.log.as_ref().map(LogValue::position),
            outcome: outcome(self.recovered, self.because.as_deref(), self.retry_ms),
            roster: None,
            rights: rights(self.rights.as_deref()),
        };
        push::subscribed(out, CommandId(self.id), &recovered);
    }
}

impl PublishedValue {
    fn encode(&self, out: &mut Vec<u8>) {
        let published = PublishedReply {
            channel: &name(&self.channel),
            key: self.key.as_deref(),
            epoch: Epoch::parse(&self.epoch).expect("an epoch"),
            offset: Offset(self.offset),
            time_ms: self.time,
            duplicate: self.duplicate,
            stream: self.stream.as_ref().map(BegunValue::begun),
            answer: self.answer.map(Offset),
        };
        push::published(out, CommandId(self.id), &published);
    }
}

impl PublicationValue {
    fn stored(&self) -> Stored<'_> {
        let change = match (self.edits, self.deletes) {
            (None, None) => Change::None,
            (Some(original), None) => Change::Edits(Offset(original)),
            (None, Some(original)) => Change::Deletes(Offset(original)),
            (Some(_), Some(_)) => panic!("edits and deletes"),
        };
        Stored {
            offset: Offset(self.offset),
            key: self.key.as_deref(),
            user: &self.user,
            time_ms: self.time,
            change,
            stream: mark(self.stream.as_deref()),
            deleted_by: self.deleted_by.map(Offset),
            data: &self.data_text,
        }
    }
}

impl LogValue {
    fn position(&self) -> LogPosition {
        let epoch = Epoch::parse(&self.epoch).expect("an epoch");
        LogPosition { epoch, head: Offset(self.head), floor: Offset(self.floor) }
    }
}

fn outcome(recovered: Option<bool>, because: Option<&str>, retry_ms: Option<u32>) -> RecoveryOutcome {
    match (recovered, because, retry_ms) {
        (None, None, None) => RecoveryOutcome::NotAsked,
        (Some(true), None, None) => RecoveryOutcome::Recovered,
        (None, Some("too_far"), None) => RecoveryOutcome::Not(NotRecovered::TooFar),
        (None, Some("expired"), None) => RecoveryOutcome::Not(NotRecovered::Expired),
        (None, Some("epoch_changed"), None) => RecoveryOutcome::Not(NotRecovered::EpochChanged),
        (None, Some("forbidden"), None) => RecoveryOutcome::Not(NotRecovered::Forbidden),
        (None, Some("unavailable"), Some(retry_ms)) => {
            RecoveryOutcome::Not(NotRecovered::Unavailable { retry_ms })
        }
        other => panic!("no outcome: {other:?}"),
    }
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).expect("a channel's name")
}
