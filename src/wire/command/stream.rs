//! The commands about streams.

use super::arguments::{self, Arguments, Complaint, Path, elements, shortened, wrong_type};
use crate::id::{ChannelName, INTEGER_MAX, Offset};
use crate::wire::scan::{JsonKind, Raw, Scanner};
use crate::wire::stream::{
    EVENT_DATA_BYTES_MAX, EventKeep, EventKind, Generation, KnownStream, Piece, Position, StreamEnd,
    StreamOptions,
};

/// The shortest and the longest `idle_ms`: a tenth of a second and an hour.
pub const IDLE_MS: (u32, u32) = (100, 3_600_000);

/// The streams that a client may name with what it has of them: as many as a channel can have open.
pub const KNOWN_STREAMS_MAX: usize = 256;

/// The arguments of `append`.
pub(super) const APPEND_READS: &[&str] = &["channel", "offset", "gen", "at", "text", "event"];
/// Those of `end`.
pub(super) const END_READS: &[&str] = &["channel", "offset", "gen", "at", "state", "data"];
/// Those of `restart` and `cancel`.
pub(super) const NAME_READS: &[&str] = &["channel", "offset"];
/// Those of `stream`.
pub(super) const READ_READS: &[&str] = &["channel", "offset", "gen", "after"];

/// The arguments of `append`.
#[derive(Debug, PartialEq)]
pub struct AppendPiece {
    pub channel: ChannelName,
    /// The begin of the stream.
    pub offset: Offset,
    /// `None`: the newest.
    pub generation: Option<Generation>,
    /// `None`: after what there is.
    pub at: Option<Position>,
    pub piece: Piece,
}

/// The arguments of `end`.
#[derive(Debug, PartialEq)]
pub struct EndStream<'a> {
    pub channel: ChannelName,
    /// The begin of the stream.
    pub offset: Offset,
    /// `None`: the newest.
    pub generation: Option<Generation>,
    /// `None`: after what there is.
    pub at: Option<Position>,
    /// [`StreamEnd::Completed`], [`StreamEnd::Failed`] or [`StreamEnd::Cancelled`].
    pub end: StreamEnd,
    /// JSON in place of the text, byte for byte as received.
    pub data: Option<&'a str>,
}

/// Reads `channel` and `offset`.
pub(super) fn name(arguments: &Arguments<'_>) -> Result<(ChannelName, Offset), Complaint> {
    let channel = arguments.required("channel", arguments::channel)?;
    Ok((channel, Offset(arguments.required("offset", arguments::integer(1))?)))
}

pub(super) fn append(arguments: &Arguments<'_>) -> Result<AppendPiece, Complaint> {
    let (channel, offset) = name(arguments)?;
    let (generation, at) = place(arguments)?;
    Ok(AppendPiece { channel, offset, generation, at, piece: piece(arguments)? })
}

pub(super) fn piece(arguments: &Arguments<'_>) -> Result<Piece, Complaint> {
    arguments.either("text", "event")?;
    let text = arguments.optional("text", arguments::string)?;
    let event = arguments.optional("event", event)?;
    Ok(match text {
        Some(text) if !text.is_empty() => Piece::Text(text.into_owned().into_boxed_str()),
        Some(_) | None => event.unwrap_or(Piece::Alive),
    })
}

pub(super) fn end<'a>(arguments: &Arguments<'a>) -> Result<EndStream<'a>, Complaint> {
    let (channel, offset) = name(arguments)?;
    let (generation, at) = place(arguments)?;
    let end = arguments.required("state", end_state)?;
    let data = arguments.optional("data", arguments::json)?;
    Ok(EndStream { channel, offset, generation, at, end, data })
}

/// Reads what a client has of a stream: nothing, if it names no generation.
pub(super) fn known(arguments: &Arguments<'_>) -> Result<Option<(Generation, Position)>, Complaint> {
    let generation = arguments.optional("gen", number(0))?.unwrap_or_default();
    let after = arguments.optional("after", number(0))?.unwrap_or_default();
    Ok((generation > 0).then_some((Generation(generation), Position(after))))
}

/// Reads `{"59":[1,1200],…}`: by the offset of its begin, the generation and the position that a client has of each stream.
#[cold]
pub(super) fn known_streams(path: Path, raw: Raw<'_>) -> Result<Box<[KnownStream]>, Complaint> {
    if raw.kind != JsonKind::Object {
        return Err(wrong_type(
            path,
            "an object of streams, each with [gen,next] under its offset",
            raw.kind,
        ));
    }
    let mut members = Vec::new();
    Scanner::new(raw.text)
        .object(|scanner, name| {
            members.push((name, scanner.value()?));
            Ok(())
        })
        .map_err(|broken| Complaint::malformed(broken.to_string()))?;
    if members.len() > KNOWN_STREAMS_MAX {
        let message =
            format!("{path} names {} streams; at most {KNOWN_STREAMS_MAX} are allowed", members.len());
        return Err(Complaint::too_large(message));
    }
    let mut streams = Vec::with_capacity(members.len());
    for (name, value) in members {
        streams.push(known_stream(path, &name, value)?);
    }
    streams.sort_unstable_by_key(|stream| stream.offset);
    match streams.iter().zip(streams.iter().skip(1)).find(|(one, next)| one.offset == next.offset) {
        Some((twice, _)) => {
            let message = format!("{path} names the stream {} twice; name it once", twice.offset);
            Err(Complaint::malformed(message))
        }
        None => Ok(streams.into()),
    }
}

fn known_stream(path: Path, name: &str, value: Raw<'_>) -> Result<KnownStream, Complaint> {
    let wanted = || {
        let (name, got) = (shortened(name), shortened(value.text));
        Complaint::malformed(format!(
            "{path} must have [gen,next] under the offset of each stream, as in {{\"59\":[1,1200]}}, got {got} under {name}"
        ))
    };
    let whole = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| is_plain && *number <= INTEGER_MAX)
    };
    let offset = whole(name).filter(|offset| *offset > 0).ok_or_else(wanted)?;
    if value.kind != JsonKind::Array {
        return Err(wanted());
    }
    let numbers: Option<Vec<u32>> =
        elements(value)?.iter().map(|raw| whole(raw.text)?.try_into().ok()).collect();
    match numbers.as_deref() {
        Some(&[generation, next]) if generation > 0 => Ok(KnownStream {
            offset: Offset(offset),
            generation: Generation(generation),
            next: Position(next),
        }),
        Some(_) | None => Err(wanted()),
    }
}

/// Reads the `stream` of a `publish`.
#[cold]
pub(super) fn options(path: Path, raw: Raw<'_>) -> Result<Box<StreamOptions>, Complaint> {
    if raw.kind != JsonKind::Object {
        return Err(wrong_type(path, "an object, which may hold for, idle_ms and events", raw.kind));
    }
    let arguments = Arguments::read(raw, "publish.stream", &["for", "idle_ms", "events"])?;
    Ok(Box::new(StreamOptions {
        asker: arguments.optional("for", arguments::user)?,
        idle_ms: arguments.optional("idle_ms", idle)?,
        events: arguments.optional("events", keep)?.unwrap_or_default(),
        answer: None,
    }))
}

pub(super) fn place(arguments: &Arguments<'_>) -> Result<(Option<Generation>, Option<Position>), Complaint> {
    let generation = arguments.optional("gen", number(1))?.map(Generation);
    Ok((generation, arguments.optional("at", number(0))?.map(Position)))
}

/// `{"type":…,"data":…}`
fn event(path: Path, raw: Raw<'_>) -> Result<Piece, Complaint> {
    if raw.kind != JsonKind::Object {
        return Err(wrong_type(path, "an object of type and data", raw.kind));
    }
    let arguments = Arguments::read(raw, "append.event", &["type", "data"])?;
    let kind = arguments.required("type", event_kind)?;
    let data = arguments.optional("data", event_data)?.unwrap_or("null");
    Ok(Piece::Event { kind, data: Box::from(data) })
}

fn event_kind(path: Path, raw: Raw<'_>) -> Result<EventKind, Complaint> {
    let text = arguments::string(path, raw)?;
    EventKind::parse(&text)
        .ok_or_else(|| Complaint::malformed(format!("{path} must have {}", EventKind::RULE)))
}

fn event_data<'a>(path: Path, raw: Raw<'a>) -> Result<&'a str, Complaint> {
    if raw.text.len() > EVENT_DATA_BYTES_MAX {
        let bytes = raw.text.len();
        let message = format!("{path} has {bytes} bytes of JSON; at most {EVENT_DATA_BYTES_MAX} are allowed");
        return Err(Complaint::too_large(message));
    }
    Ok(raw.text)
}

pub(super) fn end_state(path: Path, raw: Raw<'_>) -> Result<StreamEnd, Complaint> {
    match &*arguments::string(path, raw)? {
        "completed" => Ok(StreamEnd::Completed),
        "failed" => Ok(StreamEnd::Failed),
        "cancelled" => Ok(StreamEnd::Cancelled),
        _ => Err(Complaint::malformed(format!("{path} must be \"completed\", \"failed\" or \"cancelled\""))),
    }
}

fn idle(path: Path, raw: Raw<'_>) -> Result<u32, Complaint> {
    let (least, most) = IDLE_MS;
    let value = number(0)(path, raw)?;
    if !(least..=most).contains(&value) {
        let message = format!("{path} must be {least} to {most} milliseconds, got {value}; or omit it");
        return Err(Complaint::malformed(message));
    }
    Ok(value)
}

fn keep(path: Path, raw: Raw<'_>) -> Result<EventKeep, Complaint> {
    let text = arguments::string(path, raw)?;
    EventKeep::parse(&text)
        .ok_or_else(|| Complaint::malformed(format!("{path} must be \"drop\" or \"keep\"")))
}

/// A number of at least `least` that fits in 32 bits.
fn number(least: u64) -> impl Fn(Path, Raw<'_>) -> Result<u32, Complaint> {
    move |path, raw| {
        let value = arguments::integer(least)(path, raw)?;
        u32::try_from(value).map_err(|_| {
            let wanted = format!("a whole number from {least} to {}", u32::MAX);
            Complaint::malformed(format!("{path} must be {wanted}, got {value}"))
        })
    }
}
