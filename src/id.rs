//! Names and identifiers: newtypes, so that no two can be confused.

pub mod pattern;

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

/// Longest channel name, in bytes: it travels in every publication.
pub const CHANNEL_BYTES_MAX: usize = 128;
/// Longest idempotency key, in bytes: room for a UUID or a ULID with a prefix.
pub const KEY_BYTES_MAX: usize = 64;
/// Longest `state` of a member of a roster, in bytes.
pub const STATE_BYTES_MAX: usize = 32;
/// Longest user name (`sub` of a token), in bytes.
pub const USER_BYTES_MAX: usize = 128;
/// The largest command id and offset: 2^53 − 1, the largest integer that a browser represents exactly.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The reason why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    Empty,
    TooLong,
    /// The name has a character outside its alphabet.
    Alphabet,
    /// The channel name starts with `$`, but not with [`PERSONAL_PREFIX`]: it is reserved for the gateway.
    Reserved,
}

/// The beginning of the names of personal channels; more follows.
pub const PERSONAL_PREFIX: &str = "$user:";
/// The beginning of the names of the canaries' channels; more follows.
pub const CANARY_PREFIX: &str = "$seawall.canary.";

/// A channel's name: 1–128 bytes of `[A-Za-z0-9_.:-]`, of which [`PERSONAL_PREFIX`] may be the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// The rule, for messages to people.
    pub const RULE: &str =
        "1 to 128 bytes of A-Z, a-z, 0-9, '_', '.', ':' and '-', or '$user:' and more of them";

    /// Checks length and alphabet.
    pub fn parse(text: &str) -> Result<ChannelName, NameFault> {
        ChannelName::check(text).map(|()| ChannelName(Arc::from(text)))
    }

    /// The same check, without keeping the name.
    pub fn check(text: &str) -> Result<(), NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > CHANNEL_BYTES_MAX {
            return Err(NameFault::TooLong);
        }
        if text.bytes().all(is_of_channel) { Ok(()) } else { ChannelName::check_personal(text) }
    }

    /// Checks a name with another character than those of most names.
    #[cold]
    fn check_personal(text: &str) -> Result<(), NameFault> {
        if !text.starts_with('$') {
            return Err(NameFault::Alphabet);
        }
        let free = text.strip_prefix(PERSONAL_PREFIX).ok_or(NameFault::Reserved)?;
        if free.is_empty() {
            return Err(NameFault::Empty);
        }
        if free.bytes().all(is_of_channel) { Ok(()) } else { Err(NameFault::Alphabet) }
    }

    /// The channel of the canary of this name. Characters that channel names cannot have are replaced.
    pub fn of_canary(name: &str) -> ChannelName {
        let plain = |letter: char| match u8::try_from(letter) {
            Ok(byte) if is_of_channel(byte) => letter,
            Ok(_) | Err(_) => '_',
        };
        let name = CANARY_PREFIX.chars().chain(name.chars().map(plain)).take(CHANNEL_BYTES_MAX);
        ChannelName(Arc::from(name.collect::<String>()))
    }

    /// Accepts the channel of a canary as well. Only its canary has a right on it.
    #[inline]
    pub fn parse_any(text: &str) -> Result<ChannelName, NameFault> {
        match ChannelName::check(text) {
            Ok(()) => Ok(ChannelName(Arc::from(text))),
            Err(fault) => ChannelName::parse_canary(text, fault),
        }
    }

    /// The channel of a canary, or the fault of a name that is none of a client's.
    #[cold]
    fn parse_canary(text: &str, fault: NameFault) -> Result<ChannelName, NameFault> {
        if is_of_canary(text) { Ok(ChannelName(Arc::from(text))) } else { Err(fault) }
    }

    /// True if it is the channel of a canary.
    #[inline]
    pub fn is_of_canary(&self) -> bool {
        self.is_personal() && is_of_canary(&self.0)
    }

    /// True if it is the personal channel of a user, or that of a canary.
    #[inline]
    pub fn is_personal(&self) -> bool {
        self.0.as_bytes().first() == Some(&b'$')
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The alphabet of channel names by byte: every command with a channel looks up each of its bytes.
static IS_OF_CHANNEL: [bool; 256] = {
    let mut alphabet = [false; 256];
    let mut byte = 0;
    while byte < alphabet.len() {
        let letter = byte as u8;
        alphabet[byte] = letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'.' | b':' | b'-');
        byte += 1;
    }
    alphabet
};

fn is_of_canary(text: &str) -> bool {
    let free = text.strip_prefix(CANARY_PREFIX);
    text.len() <= CHANNEL_BYTES_MAX
        && free.is_some_and(|free| !free.is_empty() && free.bytes().all(is_of_channel))
}

#[inline]
fn is_of_channel(byte: u8) -> bool {
    IS_OF_CHANNEL[usize::from(byte)]
}

impl std::borrow::Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const CANARY_USER: &str = "$canary";

/// The user of a connection: the `sub` of its token, or `anonymous`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Arc<str>);

impl UserName {
    /// The rule, for messages to people.
    pub const RULE: &str = "1 to 128 bytes without control characters";

    /// Checks the length and refuses control characters. Any other text is escaped when it is sent.
    pub fn parse(text: &str) -> Result<UserName, NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > USER_BYTES_MAX {
            return Err(NameFault::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(NameFault::Alphabet);
        }
        Ok(UserName(Arc::from(text)))
    }

    /// The user of the canary. No token can name it, because `$` begins none of their users.
    pub fn canary() -> UserName {
        UserName(Arc::from(CANARY_USER))
    }

    /// True for the user of the canary.
    #[inline]
    pub fn is_canary(&self) -> bool {
        self.0.len() == CANARY_USER.len() && &*self.0 == CANARY_USER
    }

    /// The user of every session if auth is off.
    pub fn anonymous() -> UserName {
        UserName(Arc::from("anonymous"))
    }

    /// True for the user of every session if auth is off.
    pub fn is_anonymous(&self) -> bool {
        &*self.0 == "anonymous"
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An idempotency key: 1–64 bytes of visible ASCII (0x21–0x7E), made by the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// Checks length and alphabet.
    pub fn parse(text: &str) -> Result<Key, NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > KEY_BYTES_MAX {
            return Err(NameFault::TooLong);
        }
        if text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Key(Box::from(text)))
        } else {
            Err(NameFault::Alphabet)
        }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A user's activity in a channel, in a word of the client: 1–32 bytes of `[a-z_-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PresenceState(Box<str>);

impl PresenceState {
    /// Checks length and alphabet.
    pub fn parse(text: &str) -> Result<PresenceState, NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > STATE_BYTES_MAX {
            return Err(NameFault::TooLong);
        }
        match text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-')) {
            true => Ok(PresenceState(Box::from(text))),
            false => Err(NameFault::Alphabet),
        }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A position in a channel's log. The first publication has offset 1; 0 is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// Before the first publication.
    pub const ZERO: Offset = Offset(0);

    /// The offset after this one.
    pub const fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a store's logs. It changes when the logs are lost or restored.
///
/// On the wire it is base 36 and opaque: a client may only compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u32);

impl Epoch {
    /// Reads what [`fmt::Display`] writes; `None` for anything else, which then matches no epoch.
    pub fn parse(text: &str) -> Option<Epoch> {
        let canonical = !text.is_empty()
            && text.len() <= 7
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
            && (text == "0" || !text.starts_with('0'));
        if canonical { u32::from_str_radix(text, 36).ok().map(Epoch) } else { None }
    }
}

impl Epoch {
    /// The digits in base 36, and the index of the first one. Every reply to a publish carries them, and the
    /// formatting machinery would cost more than the digits.
    pub fn digits(self) -> ([u8; 7], usize) {
        let mut digits = [0u8; 7];
        let mut at = digits.len();
        let mut rest = self.0;
        loop {
            at -= 1;
            digits[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
            if rest == 0 {
                return (digits, at);
            }
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, at) = self.digits();
        f.write_str(std::str::from_utf8(&digits[at..]).unwrap_or("0"))
    }
}

/// One life of an instance in the shared registry: what it wrote counts while its lease is renewed. Each doubt about what it wrote
/// raises the count, and what earlier counts wrote is ignored from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation {
    /// The process: drawn at random when it starts.
    pub origin: u64,
    /// At least 1.
    pub count: u32,
}

impl Incarnation {
    /// Parses exactly what [`Display`](fmt::Display) writes: `ORIGIN.COUNT` in base 36.
    pub fn parse(text: &str) -> Option<Incarnation> {
        let (origin, count) = text.split_once('.')?;
        let number = |digits| u64::from_str_radix(digits, 36).ok();
        let parsed = Incarnation { origin: number(origin)?, count: u32::try_from(number(count)?).ok()? };
        (parsed.count > 0 && parsed.to_string() == text).then_some(parsed)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_base_36(f, self.origin)?;
        f.write_str(".")?;
        write_base_36(f, self.count.into())
    }
}

/// Writes the digits without leading zeros; a `u64` has at most 13.
fn write_base_36(f: &mut fmt::Formatter<'_>, number: u64) -> fmt::Result {
    if number >= 36 {
        write_base_36(f, number / 36)?;
    }
    let digit = char::from_digit((number % 36) as u32, 36).unwrap_or('0');
    f.write_char(digit)
}

/// The `id` of a command, chosen by the client: 1 … 2^53 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandId(pub u64);

/// The number of a reactor, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReactorId(pub u16);

/// The connection of a stream's producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProducerId {
    pub reactor: ReactorId,
    /// A number that no other connection of the reactor has or had.
    pub connection: u64,
}

/// The number of an order to all instances; 0 is before the first. A higher number was committed later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The facts about a token by which it can be revoked, in twelve bytes, because each session keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenStamp {
    /// `iat`, whole seconds since 1970; 0 if the token has none, so that it counts as issued before any time.
    pub issued_s: u32,
    pub jti: TokenId,
}

/// A hash of the `jti` of a token (RFC 7519 section 4.1.7). All zeros: the token has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 8]);

impl TokenId {
    /// The identity of a token without `jti`, which no revocation names.
    pub const NONE: TokenId = TokenId([0; 8]);

    /// Hashes a `jti`. Only the issuer chooses it, so an accident is all that can give two tokens one hash: about one in 2^64.
    pub fn of(jti: &str) -> TokenId {
        let mut hasher = DefaultHasher::new();
        hasher.write(jti.as_bytes());
        TokenId(hasher.finish().max(1).to_le_bytes())
    }
}

/// The name of one gateway process, `gw-…`. It appears in `connected` and in logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceName(pub Arc<str>);

impl InstanceName {
    /// The first 16 bits of the names of this instance's connections (FNV-1a, folded). Two instances may share them.
    pub fn tag(name: &str) -> u16 {
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        (hash >> 16) as u16 ^ hash as u16
    }
}

#[cfg(test)]
mod tests;
