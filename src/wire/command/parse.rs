//! Finds the command of a frame and reads its arguments.

use super::arguments::{self, Arguments, Complaint, Path, clamped, elements, shortened, wrong_type};
use super::previous::previous;
use super::rejected::{CommandFault, Rejected};
use super::report::report;
use super::request::{
    Command, CommandFrame, Connect, Content, Cursor, HistoryRange, Publish, StartAt, Subscribe,
};
use super::roster::{absent, presence, present, roster_use};
use super::stream::{self, APPEND_READS, END_READS, NAME_READS, READ_READS, known_streams};
use crate::id::{CommandId, Epoch, INTEGER_MAX, Offset};
use crate::limits::{HISTORY_LIMIT_MAX, REPLAY_PUBLICATIONS_MAX};
use crate::wire::scan::{Broken, JsonKind, Raw, Scanner};
use std::borrow::Cow;

/// The longest token, in bytes: a token that fits in a request head fits here.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;
/// The number of bytes of `client` that are kept.
pub const CLIENT_BYTES_MAX: usize = 64;
/// The members of a cursor that are read.
const CURSOR_READS: &[&str] = &["channel", "epoch", "offset", "streams", "present", "watch"];
/// The `limit` of a `history` without one.
pub const HISTORY_LIMIT_DEFAULT: u32 = 50;

/// The bounds of [`parse`] that an operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandBounds {
    /// `limits.json_depth`: the depth of nested arrays and objects, including the frame's own object.
    pub json_depth: u32,
    /// `limits.subscriptions`: the number of cursors in one `connect`.
    pub subscriptions: u32,
}

/// Parses one text frame.
///
/// An error carries the `id` if the text is JSON with a valid `id`, wherever in the frame it is. The first fault is
/// reported, in this order: the JSON, the `id`, the depth, the choice of command, the arguments.
pub fn parse(text: &str, bounds: CommandBounds) -> Result<CommandFrame<'_>, Rejected> {
    let anonymous = |complaint: Complaint| reject(None, complaint);
    // In place, because a frame and its arguments are some hundred bytes, and moving them cost a tenth of a parse.
    let mut frame = ParsedFrame::default();
    frame.scan(text).map_err(|broken| anonymous(Complaint::malformed(broken.to_string())))?;
    let id = frame.id().map_err(anonymous)?;
    frame.command(id, bounds).map(|command| CommandFrame { id, command }).map_err(|fault| reject(id, fault))
}

fn reject(id: Option<CommandId>, complaint: Complaint) -> Rejected {
    Rejected { id, fault: complaint.fault, message: complaint.message }
}

/// The name of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Connect,
    Refresh,
    Subscribe,
    Unsubscribe,
    Publish,
    History,
    Signal,
    Present,
    Absent,
    Presence,
    Report,
    Append,
    Restart,
    End,
    Cancel,
    Stream,
}

impl Verb {
    fn named(name: &str) -> Option<Verb> {
        match name {
            "connect" => Some(Verb::Connect),
            "refresh" => Some(Verb::Refresh),
            "subscribe" => Some(Verb::Subscribe),
            "unsubscribe" => Some(Verb::Unsubscribe),
            "publish" => Some(Verb::Publish),
            "history" => Some(Verb::History),
            "signal" => Some(Verb::Signal),
            "present" => Some(Verb::Present),
            "absent" => Some(Verb::Absent),
            "presence" => Some(Verb::Presence),
            "report" => Some(Verb::Report),
            "append" => Some(Verb::Append),
            "restart" => Some(Verb::Restart),
            "end" => Some(Verb::End),
            "cancel" => Some(Verb::Cancel),
            "stream" => Some(Verb::Stream),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Verb::Connect => "connect",
            Verb::Refresh => "refresh",
            Verb::Subscribe => "subscribe",
            Verb::Unsubscribe => "unsubscribe",
            Verb::Publish => "publish",
            Verb::History => "history",
            Verb::Signal => "signal",
            Verb::Present => "present",
            Verb::Absent => "absent",
            Verb::Presence => "presence",
            Verb::Report => "report",
            Verb::Append => "append",
            Verb::Restart => "restart",
            Verb::End => "end",
            Verb::Cancel => "cancel",
            Verb::Stream => "stream",
        }
    }

    /// The arguments that the command reads.
    const fn reads(self) -> &'static [&'static str] {
        match self {
            Verb::Connect => &["token", "client", "recover", "previous"],
            Verb::Refresh => &["token"],
            Verb::Subscribe => &["channel", "recover", "last", "streams", "present", "watch"],
            Verb::Unsubscribe | Verb::Absent => &["channel"],
            Verb::Publish => &["channel", "key", "data", "edits", "deletes", "stream"],
            Verb::History => &["channel", "before", "after", "limit"],
            Verb::Signal => &["channel", "data"],
            Verb::Present => &["channel", "state"],
            Verb::Presence => &["channel", "after", "limit"],
            Verb::Report => &["errors", "dropped"],
            Verb::Append => APPEND_READS,
            Verb::Restart | Verb::Cancel => NAME_READS,
            Verb::End => END_READS,
            Verb::Stream => READ_READS,
        }
    }
}

/// The contents of a frame that is JSON, before they are checked.
#[derive(Default)]
struct ParsedFrame<'a> {
    /// The kind of the value, if it is not an object.
    instead: Option<JsonKind>,
    id: Option<Raw<'a>>,
    /// How often `id` occurs.
    ids: u32,
    asked: Option<(Verb, Arguments<'a>)>,
    /// A second command, or the same one repeated.
    also: Option<Verb>,
    /// One key that is not a command, and the number of such keys.
    stranger: Option<Cow<'a, str>>,
    strangers: u32,
    depth: u32,
}

impl<'a> ParsedFrame<'a> {
    fn scan(&mut self, text: &'a str) -> Result<(), Broken> {
        let mut scanner = Scanner::new(text);
        if scanner.peek() == Some(b'{') {
            scanner.object(|scanner, name| self.member(scanner, name))?;
        } else {
            self.instead = Some(scanner.value()?.kind);
        }
        scanner.end()?;
        self.depth = scanner.deepest();
        Ok(())
    }

    fn member(&mut self, scanner: &mut Scanner<'a>, name: Cow<'a, str>) -> Result<(), Broken> {
        if name == "id" {
            self.id = Some(scanner.value()?);
            self.ids = self.ids.saturating_add(1);
        } else if let Some(verb) = Verb::named(&name) {
            if self.asked.is_none() {
                let none = Arguments::none(verb.as_str(), verb.reads());
                self.asked.insert((verb, none)).1.scan(scanner)?;
            } else {
                scanner.value()?;
                self.also = Some(verb);
            }
        } else {
            scanner.value()?;
            self.stranger = Some(name);
            self.strangers = self.strangers.saturating_add(1);
        }
        Ok(())
    }

    /// The id, if there is one.
    fn id(&self) -> Result<Option<CommandId>, Complaint> {
        if let Some(kind) = self.instead {
            return Err(wrong_type("a frame", "one JSON object", kind));
        }
        if self.ids > 1 {
            return Err(Complaint::malformed("id is given twice; send it once".to_owned()));
        }
        let Some(raw) = self.id else { return Ok(None) };
        let wanted = || format!("a whole number from 1 to {INTEGER_MAX}, written in digits only");
        match (raw.kind, raw.integer()) {
            (JsonKind::Number, Ok(id)) if id > 0 => Ok(Some(CommandId(id))),
            (JsonKind::Number, _) => {
                let got = shortened(raw.text);
                Err(Complaint::malformed(format!("id must be {}, got {got}", wanted())))
            }
            (kind, _) => Err(wrong_type("id", &wanted(), kind)),
        }
    }

    fn command(&self, id: Option<CommandId>, bounds: CommandBounds) -> Result<Command<'a>, Complaint> {
        if self.depth > bounds.json_depth {
            let (depth, bound) = (self.depth, bounds.json_depth);
            let message = format!(
                "the frame nests {depth} levels deep, but limits.json_depth is {bound}; send flatter data"
            );
            return Err(Complaint::malformed(message));
        }
        let (verb, arguments) = self.choice(id)?;
        if id.is_none() && !matches!(verb, Verb::Signal | Verb::Append) {
            return Err(Complaint::malformed(format!(
                "{} needs an id, because its reply repeats it",
                verb.as_str()
            )));
        }
        arguments.check()?;
        match verb {
            Verb::Connect => connect(arguments, bounds),
            Verb::Refresh => refresh(arguments),
            Verb::Subscribe => subscribe(arguments),
            Verb::Unsubscribe => unsubscribe(arguments),
            Verb::Publish => publish(arguments),
            Verb::History => history(arguments),
            Verb::Signal => signal(arguments),
            Verb::Present => present(arguments),
            Verb::Absent => absent(arguments),
            Verb::Presence => presence(arguments),
            Verb::Report => Ok(Command::Report(Box::new(report(arguments)?))),
            Verb::Append => Ok(Command::Append(Box::new(stream::append(arguments)?))),
            Verb::Restart => {
                stream::name(arguments).map(|(channel, offset)| Command::Restart { channel, offset })
            }
            Verb::End => Ok(Command::End(stream::end(arguments)?)),
            Verb::Cancel => {
                stream::name(arguments).map(|(channel, offset)| Command::CancelStream { channel, offset })
            }
            Verb::Stream => read_stream(arguments),
        }
    }

    /// The only command of the frame.
    fn choice(&self, id: Option<CommandId>) -> Result<(Verb, &Arguments<'a>), Complaint> {
        match (&self.asked, self.also, &self.stranger) {
            (Some((verb, arguments)), None, _) => Ok((*verb, arguments)),
            (Some((verb, _)), Some(also), _) if *verb == also => {
                Err(Complaint::malformed(format!("{} is given twice; send it once", verb.as_str())))
            }
            (Some((verb, _)), Some(also), _) => {
                let (one, other) = (verb.as_str(), also.as_str());
                let message =
                    format!("a frame may hold one command, got {one} and {other}; send them separately");
                Err(Complaint::malformed(message))
            }
            (None, _, Some(name)) if id.is_some() && self.strangers == 1 => {
                let message = format!("{:?} is not a command", shortened(name));
                Err(Complaint { fault: CommandFault::UnknownCommand, message })
            }
            (None, _, _) => {
                let message = "the frame has no command; send one of connect, refresh, subscribe, unsubscribe, \
                               publish, history, signal, present, absent, presence, report, append, restart, end, cancel and \
                               stream";
                Err(Complaint::malformed(message.to_owned()))
            }
        }
    }
}

fn connect<'a>(arguments: &Arguments<'a>, bounds: CommandBounds) -> Result<Command<'a>, Complaint> {
    Ok(Command::Connect(Connect {
        token: arguments.optional("token", token)?,
        client: arguments.optional("client", client)?,
        recover: arguments.optional("recover", |path, raw| cursors(path, raw, bounds))?.unwrap_or_default(),
        previous: arguments.optional("previous", previous)?.flatten(),
    }))
}

fn refresh<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    Ok(Command::Refresh { token: arguments.required("token", token)? })
}

fn subscribe<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    const LAST_MAX: u32 = REPLAY_PUBLICATIONS_MAX as u32;
    arguments.either("recover", "last")?;
    let channel = arguments.required("channel", arguments::channel)?;
    let recover = arguments.optional("recover", position)?;
    let last = arguments.optional("last", arguments::integer(0))?.map(|last| clamped(last, LAST_MAX));
    let from = match (recover, last) {
        (Some((epoch, offset)), _) => StartAt::After { epoch, offset },
        (None, None | Some(0)) => StartAt::Now,
        (None, Some(last)) => StartAt::Last(last),
    };
    let streams = arguments.optional("streams", known_streams)?.unwrap_or_default();
    Ok(Command::Subscribe(Subscribe { channel, from, streams, roster: roster_use(arguments)? }))
}

fn unsubscribe<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    Ok(Command::Unsubscribe { channel: arguments.required("channel", arguments::channel)? })
}

fn publish<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    let edits = arguments.optional("edits", arguments::integer(1))?;
    let deletes = arguments.optional("deletes", arguments::integer(1))?;
    if edits.is_some() {
        arguments.either("edits", "deletes")?;
    }
    let content = match (edits, deletes) {
        (_, Some(offset)) => {
            let data = arguments.optional("data", arguments::json)?;
            Content::Delete(Offset(offset), data.unwrap_or("null"))
        }
        (Some(offset), None) => Content::Edit(Offset(offset), arguments.required("data", arguments::json)?),
        (None, None) => Content::Original(arguments.required("data", arguments::json)?),
    };
    let channel = arguments.required("channel", arguments::channel)?;
    let key = arguments.optional("key", arguments::key)?;
    let stream = arguments.optional("stream", stream::options)?;
    if stream.is_some() && !matches!(content, Content::Original(_)) {
        let message = "publish.stream begins a stream, which an edit or a delete cannot; omit one of them";
        return Err(Complaint::malformed(message.to_owned()));
    }
    Ok(Command::Publish(Publish { channel, key, content, stream }))
}

fn read_stream<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    let (channel, offset) = stream::name(arguments)?;
    Ok(Command::ReadStream { channel, offset, known: stream::known(arguments)? })
}

fn history<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    arguments.either("before", "after")?;
    let channel = arguments.required("channel", arguments::channel)?;
    let before = arguments.optional("before", arguments::integer(0))?;
    let after = arguments.optional("after", arguments::integer(0))?;
    let range = match (before, after) {
        (_, Some(offset)) => HistoryRange::After(Offset(offset)),
        (before, None) => HistoryRange::Before(Offset(before.unwrap_or(INTEGER_MAX))),
    };
    let limit = arguments.optional("limit", arguments::integer(0))?;
    let limit = limit.map_or(HISTORY_LIMIT_DEFAULT, |limit| clamped(limit, HISTORY_LIMIT_MAX).max(1));
    Ok(Command::History { channel, range, limit })
}

fn signal<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    let channel = arguments.required("channel", arguments::channel)?;
    Ok(Command::Signal { channel, data: arguments.required("data", arguments::json)? })
}

fn token<'a>(path: Path, raw: Raw<'a>) -> Result<Cow<'a, str>, Complaint> {
    let token = arguments::string(path, raw)?;
    if token.len() > TOKEN_BYTES_MAX {
        let message = format!("{path} has {} bytes; at most {TOKEN_BYTES_MAX} are allowed", token.len());
        return Err(Complaint::too_large(message));
    }
    Ok(token)
}

fn client<'a>(path: Path, raw: Raw<'a>) -> Result<Cow<'a, str>, Complaint> {
    let client = arguments::string(path, raw)?;
    let end = client.floor_char_boundary(CLIENT_BYTES_MAX);
    Ok(match client {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or(text)),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    })
}

/// `{"epoch":…,"offset":…}`
fn position(path: Path, raw: Raw<'_>) -> Result<(Option<Epoch>, Offset), Complaint> {
    if raw.kind != JsonKind::Object {
        return Err(wrong_type(path, "an object of epoch and offset", raw.kind));
    }
    place(&Arguments::read(raw, "subscribe.recover", &["epoch", "offset"])?)
}

fn place(arguments: &Arguments<'_>) -> Result<(Option<Epoch>, Offset), Complaint> {
    let epoch = arguments.required("epoch", arguments::string)?;
    let offset = arguments.required("offset", arguments::integer(0))?;
    Ok((Epoch::parse(&epoch), Offset(offset)))
}

/// `[{"channel":…,"epoch":…,"offset":…},…]`, each channel once.
fn cursors(path: Path, raw: Raw<'_>, bounds: CommandBounds) -> Result<Vec<Cursor>, Complaint> {
    if raw.kind != JsonKind::Array {
        return Err(wrong_type(path, "an array of cursors", raw.kind));
    }
    let entries = elements(raw)?;
    if entries.len() as u64 > u64::from(bounds.subscriptions) {
        let (count, bound) = (entries.len(), bounds.subscriptions);
        let message = format!(
            "{path} has {count} entries, but limits.subscriptions is {bound}; recover fewer channels"
        );
        return Err(Complaint::too_large(message));
    }
    let cursors = entries.into_iter().map(cursor).collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<&str> = cursors.iter().map(|cursor| cursor.channel.as_str()).collect();
    names.sort_unstable();
    match names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next) {
        Some((name, _)) => {
            let message = format!("{path} names the channel {name} twice; send one cursor per channel");
            Err(Complaint::malformed(message))
        }
        None => Ok(cursors),
    }
}

fn cursor(raw: Raw<'_>) -> Result<Cursor, Complaint> {
    let arguments = Arguments::read(raw, "connect.recover[]", CURSOR_READS)?;
    let channel = arguments.required("channel", arguments::channel)?;
    let (epoch, offset) = place(&arguments)?;
    let streams = arguments.optional("streams", known_streams)?.unwrap_or_default();
    Ok(Cursor { channel, epoch, offset, streams, roster: roster_use(&arguments)? })
}
