//! Bodies of requests: JSON becomes items, or a problem that names the field.
//!
//! The whole body is read before anything is done, so a malformed item leaves nothing behind. Unknown and repeated members are
//! refused: they may change what the sender means. `data` is never looked into; it is kept byte for byte.

use super::problem::{ApiProblem, ProblemCode};
use crate::id::{ChannelName, INTEGER_MAX, KEY_BYTES_MAX, Key, Offset, USER_BYTES_MAX, UserName};
use crate::wire::command::Content;
use crate::wire::scan::{Broken, IntegerFault, JsonKind, Raw, Scanner};
use std::fmt;

/// The bounds on a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiBounds {
    /// Items, or channels of a broadcast: `api.per_request`.
    pub per_request: usize,
    /// Bytes of one `data`: `limits.frame_bytes`, as for clients.
    pub data_bytes: usize,
    /// How deep arrays and objects may nest, counting the body's own object: `limits.json_depth`.
    pub json_depth: u32,
}

/// One publication to one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiItem<'a> {
    pub channel: ChannelName,
    /// The author, if the request names one.
    pub user: Option<UserName>,
    pub key: Option<Key>,
    pub content: Content<'a>,
}

/// Data for the live subscribers of a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiSignal<'a> {
    pub channel: ChannelName,
    pub user: Option<UserName>,
    pub data: &'a str,
}

/// Reads the body of `publish`. `channel` is that of the path, if it names one.
pub fn publish<'a>(
    text: &'a str,
    channel: Option<ChannelName>,
    bounds: ApiBounds,
) -> Result<ApiItem<'a>, ApiProblem> {
    let members = whole(text, bounds)?;
    members.item(channel, bounds)
}

/// Reads the body of `batch`: `{"items":[…]}`. An item with `channels` becomes one for each of them.
pub fn batch(text: &str, bounds: ApiBounds) -> Result<Vec<ApiItem<'_>>, ApiProblem> {
    let (mut read, mut fault, mut lists) = (Vec::new(), None, 0);
    let mut scanner = Scanner::new(text);
    let scanned = scanner.object(|scanner, name| {
        if name != "items" {
            fault.get_or_insert_with(|| unknown(BodyPlace::Body, &name, "items"));
            return scanner.value().map(drop);
        }
        lists += 1;
        scanner.array(|scanner| {
            let members = Members::scan(scanner, BodyPlace::Item(read.len()))?;
            // One more than is allowed, to be refused below.
            if read.len() <= bounds.per_request {
                read.push(members);
            }
            Ok(())
        })
    });
    scanned.map_err(|broken| not_json(&broken))?;
    finish(&mut scanner, bounds)?;
    if lists > 1 {
        return Err(malformed("items is given twice; send it once"));
    }
    if let Some(problem) = fault {
        return Err(problem);
    }
    let mut items = Vec::with_capacity(read.len());
    for members in &read {
        members.check()?;
        members.items(&mut items, bounds)?;
        counted(&items, "items", bounds)?;
    }
    counted(&items, "items", bounds)?;
    Ok(items)
}

/// Reads the body of `broadcast`: one item with `channels`.
pub fn broadcast(text: &str, bounds: ApiBounds) -> Result<Vec<ApiItem<'_>>, ApiProblem> {
    let members = whole(text, bounds)?;
    if members.value(CHANNELS).is_none() {
        return Err(malformed("channels is missing; it is required"));
    }
    let mut items = Vec::new();
    members.items(&mut items, bounds)?;
    counted(&items, "channels", bounds)?;
    Ok(items)
}

/// Reads the body of `signal`. `channel` is that of the path, if it names one.
pub fn signal<'a>(
    text: &'a str,
    channel: Option<ChannelName>,
    bounds: ApiBounds,
) -> Result<ApiSignal<'a>, ApiProblem> {
    let members = whole(text, bounds)?;
    for name in [KEY, EDITS, DELETES] {
        if members.value(name).is_some() {
            return Err(unknown(BodyPlace::Body, name, "channel, data and user"));
        }
    }
    let channel = members.channel(channel)?;
    let data = members.data(bounds)?.ok_or_else(|| members.missing(DATA))?;
    Ok(ApiSignal { channel, user: members.user()?, data })
}

const CHANNEL: &str = "channel";
const CHANNELS: &str = "channels";
const DATA: &str = "data";
const KEY: &str = "key";
const USER: &str = "user";
const EDITS: &str = "edits";
const DELETES: &str = "deletes";
const NAMES: [&str; 7] = [CHANNEL, CHANNELS, DATA, KEY, USER, EDITS, DELETES];

/// The object that a member is in.
#[derive(Clone, Copy, Debug)]
enum BodyPlace {
    Body,
    Item(usize),
}

impl BodyPlace {
    fn name(self, name: impl fmt::Display) -> String {
        match self {
            BodyPlace::Body => name.to_string(),
            BodyPlace::Item(at) => format!("items[{at}].{name}"),
        }
    }

    fn object(self) -> String {
        match self {
            BodyPlace::Body => "the body".into(),
            BodyPlace::Item(at) => format!("items[{at}]"),
        }
    }
}

/// The members of one object.
struct Members<'a> {
    place: BodyPlace,
    values: [Option<Raw<'a>>; NAMES.len()],
    fault: Option<ApiProblem>,
}

impl<'a> Members<'a> {
    fn scan(scanner: &mut Scanner<'a>, place: BodyPlace) -> Result<Members<'a>, Broken> {
        let mut members = Members { place, values: [None; NAMES.len()], fault: None };
        if scanner.peek() != Some(b'{') {
            let kind = scanner.value()?.kind;
            members.fault =
                Some(malformed(format!("{} must be an object, got {}", place.object(), kind.describe())));
            return Ok(members);
        }
        let Members { values, fault, .. } = &mut members;
        scanner.object(|scanner, name| {
            let value = scanner.value()?;
            match NAMES.iter().zip(&mut *values).find(|(known, _)| **known == name) {
                Some((known, slot)) => {
                    if slot.replace(value).is_some() {
                        fault.get_or_insert_with(|| {
                            malformed(format!("{} is given twice; send it once", place.name(known)))
                        });
                    }
                }
                None => {
                    fault.get_or_insert_with(|| unknown(place, &name, &NAMES.join(", ")));
                }
            }
            Ok(())
        })?;
        Ok(members)
    }

    /// Refuses what is not an object, and unknown or repeated members.
    fn check(&self) -> Result<(), ApiProblem> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn value(&self, name: &str) -> Option<Raw<'a>> {
        NAMES.iter().zip(&self.values).find(|(known, _)| **known == name).and_then(|(_, value)| *value)
    }

    fn missing(&self, name: &'static str) -> ApiProblem {
        malformed(format!("{} is missing; it is required", self.place.name(name)))
    }

    /// The item, which is for one channel.
    fn item(&self, channel: Option<ChannelName>, bounds: ApiBounds) -> Result<ApiItem<'a>, ApiProblem> {
        if self.value(CHANNELS).is_some() {
            return Err(malformed("channels is for batch and broadcast; send channel"));
        }
        let channel = self.channel(channel)?;
        Ok(ApiItem { channel, user: self.user()?, key: self.key()?, content: self.content(bounds)? })
    }

    /// Appends an item for each channel.
    fn items(&self, items: &mut Vec<ApiItem<'a>>, bounds: ApiBounds) -> Result<(), ApiProblem> {
        let Some(list) = self.value(CHANNELS) else {
            items.push(self.item(None, bounds)?);
            return Ok(());
        };
        let name = self.place.name(CHANNELS);
        if self.value(CHANNEL).is_some() {
            return Err(malformed(format!("{} and {name} exclude each other", self.place.name(CHANNEL))));
        }
        if list.kind != JsonKind::Array {
            return Err(wrong_type(&name, "a list of channel names", list.kind));
        }
        for field in [EDITS, DELETES] {
            if self.value(field).is_some() {
                let field = self.place.name(field);
                return Err(malformed(format!("{field} needs channel: an offset belongs to one channel")));
            }
        }
        let (user, key, content) = (self.user()?, self.key()?, self.content(bounds)?);
        let (before, mut fault) = (items.len(), None);
        let scanned = Scanner::new(list.text).array(|scanner| {
            let raw = scanner.value()?;
            if fault.is_none() && items.len() - before <= bounds.per_request {
                match channel(&format!("{name}[{}]", items.len() - before), raw) {
                    Ok(channel) => {
                        items.push(ApiItem { channel, user: user.clone(), key: key.clone(), content });
                    }
                    Err(problem) => fault = Some(problem),
                }
            }
            Ok(())
        });
        scanned.map_err(|broken| not_json(&broken))?;
        if items.len() == before && fault.is_none() {
            return Err(malformed(format!("{name} is empty; name at least one channel")));
        }
        fault.map_or(Ok(()), Err)
    }

    fn channel(&self, of_path: Option<ChannelName>) -> Result<ChannelName, ApiProblem> {
        match (self.value(CHANNEL), of_path) {
            (Some(_), Some(_)) => Err(malformed("channel is that of the path; leave it out")),
            (None, Some(channel)) => Ok(channel),
            (Some(raw), None) => channel(&self.place.name(CHANNEL), raw),
            (None, None) => Err(self.missing(CHANNEL)),
        }
    }

    fn user(&self) -> Result<Option<UserName>, ApiProblem> {
        let Some(raw) = self.value(USER) else { return Ok(None) };
        let name = self.place.name(USER);
        let rule = || {
            malformed(format!(
                "{name} must be 1 to {USER_BYTES_MAX} bytes without control characters, and must not begin with '$'"
            ))
        };
        let text = raw.string().ok_or_else(|| wrong_type(&name, "a string", raw.kind))?;
        if text.starts_with('$') {
            return Err(rule());
        }
        UserName::parse(&text).map(Some).map_err(|_| rule())
    }

    fn key(&self) -> Result<Option<Key>, ApiProblem> {
        let Some(raw) = self.value(KEY) else { return Ok(None) };
        let name = self.place.name(KEY);
        let text = raw.string().ok_or_else(|| wrong_type(&name, "a string", raw.kind))?;
        key(&name, &text).map(Some)
    }

    fn data(&self, bounds: ApiBounds) -> Result<Option<&'a str>, ApiProblem> {
        let Some(raw) = self.value(DATA) else { return Ok(None) };
        if raw.text.len() > bounds.data_bytes {
            let (name, bytes, most) = (self.place.name(DATA), raw.text.len(), bounds.data_bytes);
            let detail = format!("{name} has {bytes} bytes; at most {most} are allowed (limits.frame_bytes)");
            return Err(ApiProblem::lasting(ProblemCode::TooLarge, detail));
        }
        Ok(Some(raw.text))
    }

    fn content(&self, bounds: ApiBounds) -> Result<Content<'a>, ApiProblem> {
        let data = self.data(bounds)?;
        match (self.offset(EDITS)?, self.offset(DELETES)?) {
            (Some(_), Some(_)) => {
                Err(malformed(format!("{} accepts edits or deletes, not both", self.place.object())))
            }
            (None, Some(offset)) => Ok(Content::Delete(offset, data.unwrap_or("null"))),
            (Some(offset), None) => {
                data.map(|data| Content::Edit(offset, data)).ok_or_else(|| self.missing(DATA))
            }
            (None, None) => data.map(Content::Original).ok_or_else(|| self.missing(DATA)),
        }
    }

    fn offset(&self, name: &'static str) -> Result<Option<Offset>, ApiProblem> {
        let Some(raw) = self.value(name) else { return Ok(None) };
        match (raw.kind, raw.integer()) {
            (JsonKind::Number, Ok(offset)) if offset > 0 => Ok(Some(Offset(offset))),
            (JsonKind::Number, Ok(_) | Err(IntegerFault::Form | IntegerFault::TooBig)) => {
                let name = self.place.name(name);
                Err(malformed(format!(
                    "{name} must be a whole number from 1 to {INTEGER_MAX}, in digits only"
                )))
            }
            (kind, _) => Err(wrong_type(&self.place.name(name), "a whole number", kind)),
        }
    }
}

/// Reads an idempotency key; `name` is the place it came from.
pub fn key(name: &str, text: &str) -> Result<Key, ApiProblem> {
    Key::parse(text).map_err(|_| {
        malformed(format!("{name} must be 1 to {KEY_BYTES_MAX} visible ASCII characters, without spaces"))
    })
}

fn channel(name: &str, raw: Raw<'_>) -> Result<ChannelName, ApiProblem> {
    let text = raw.string().ok_or_else(|| wrong_type(name, "a string", raw.kind))?;
    channel_name(name, &text)
}

/// Reads a channel's name; `name` is the place it came from.
pub fn channel_name(name: &str, text: &str) -> Result<ChannelName, ApiProblem> {
    ChannelName::parse(text)
        .map_err(|_| malformed(format!("{name} must be a channel name: {}", ChannelName::RULE)))
}

/// Reads a body that is one object.
fn whole(text: &str, bounds: ApiBounds) -> Result<Members<'_>, ApiProblem> {
    let mut scanner = Scanner::new(text);
    let members = Members::scan(&mut scanner, BodyPlace::Body).map_err(|broken| not_json(&broken))?;
    finish(&mut scanner, bounds)?;
    members.check()?;
    Ok(members)
}

/// Nothing but white space may follow, and nothing may be nested too deeply.
fn finish(scanner: &mut Scanner<'_>, bounds: ApiBounds) -> Result<(), ApiProblem> {
    scanner.end().map_err(|broken| not_json(&broken))?;
    if scanner.deepest() > bounds.json_depth {
        let most = bounds.json_depth;
        return Err(malformed(format!(
            "the body nests more than {most} deep (limits.json_depth); send flatter JSON"
        )));
    }
    Ok(())
}

fn counted(items: &[ApiItem<'_>], name: &str, bounds: ApiBounds) -> Result<(), ApiProblem> {
    if items.is_empty() {
        return Err(malformed(format!("{name} is missing or empty; send at least one")));
    }
    if items.len() > bounds.per_request {
        let most = bounds.per_request;
        let detail =
            format!("{name} has more than {most} publications (api.per_request); send several requests");
        return Err(ApiProblem::lasting(ProblemCode::TooLarge, detail));
    }
    Ok(())
}

fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> ApiProblem {
    ApiProblem::lasting(ProblemCode::Malformed, detail)
}

fn not_json(broken: &Broken) -> ApiProblem {
    malformed(broken.to_string())
}

fn unknown(place: BodyPlace, name: &str, known: &str) -> ApiProblem {
    let shown: String = name.chars().take(32).collect();
    malformed(format!("{} has the unknown member {shown:?}; known are {known}", place.object()))
}

fn wrong_type(name: &str, wanted: &str, got: JsonKind) -> ApiProblem {
    malformed(format!("{name} must be {wanted}, got {}", got.describe()))
}

#[cfg(test)]
mod tests;
