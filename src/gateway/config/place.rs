//! The place of a setting in [`Config`]: its type, its bounds and its field; how a value gets in and out.

use super::Config;
use super::key::{AuthKey, KeySource, SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret};
use super::parse::{self, Raw, quoted};
use super::source::Origin;
use super::url::{Url, UrlKind};
use crate::worker::admin::BEARER_BYTES;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Its type, its bounds and its field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    U32(Bounds, fn(&mut Config) -> &mut u32),
    U64(Bounds, fn(&mut Config) -> &mut u64),
    Millis(Bounds, fn(&mut Config) -> &mut Duration),
    Switch(fn(&mut Config) -> &mut bool),
    Address(fn(&mut Config) -> &mut SocketAddr),
    Ip(fn(&mut Config) -> &mut Option<IpAddr>),
    /// An address, or "off".
    AddressOrOff(fn(&mut Config) -> &mut Option<SocketAddr>),
    Folder(fn(&mut Config) -> &mut PathBuf),
    /// The path of a file, or an empty text.
    File(fn(&mut Config) -> &mut Option<PathBuf>),
    Text(Form, fn(&mut Config) -> &mut Option<String>),
    Url(UrlKind, fn(&mut Config) -> &mut Option<Url>),
    List(Form, fn(&mut Config) -> &mut Vec<String>),
    Networks(fn(&mut Config) -> &mut Vec<IpNet>),
    Word(Words),
    /// `auth.secret`: a key of its own in `auth.keys`.
    SharedSecret,
    /// A text that is never shown.
    Secret(fn(&mut Config) -> &mut Option<Secret>),
    /// What a caller shows as `Authorization: Bearer`.
    Bearer(fn(&mut Config) -> &mut Option<Secret>),
}

/// Smallest and largest number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    min: u64,
    max: u64,
    /// What 0 means, where it stands outside of the bounds.
    zero: Option<&'static str>,
}

/// What a text must look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Any,
    Name,
    Origin,
    Host,
}

/// A choice of words, each standing at the place of its meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) words: &'static [&'static str],
    pub(super) write: fn(&mut Config, usize),
    pub(super) read: fn(&Config) -> usize,
}

/// A value as the listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As TOML.
    Value(String),
    /// It has none.
    Unset,
    /// It is a secret.
    Hidden,
}

impl Bounds {
    pub(super) const fn to(max: u64) -> Bounds {
        Bounds { min: 1, max, zero: None }
    }

    pub(super) const fn from(self, min: u64) -> Bounds {
        Bounds { min, ..self }
    }

    pub(super) const fn or_zero(self, meaning: &'static str) -> Bounds {
        Bounds { zero: Some(meaning), ..self }
    }

    fn admit(self, value: i128) -> Option<u64> {
        let value = u64::try_from(value).ok()?;
        ((self.min..=self.max).contains(&value) || (value == 0 && self.zero.is_some())).then_some(value)
    }

    fn expected(self) -> String {
        let Bounds { min, max, zero } = self;
        match zero {
            Some(meaning) => format!("0 ({meaning}), or {min} to {max}"),
            None => format!("{min} to {max}"),
        }
    }
}

impl Form {
    fn read(self, text: &str) -> Option<String> {
        match self {
            Form::Any => Some(text.to_owned()),
            Form::Name => parse::name(text),
            Form::Origin => parse::origin(text),
            Form::Host => parse::host(text),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Form::Any => "text",
            Form::Name => "1 to 64 letters, digits, dots, dashes and underscores",
            Form::Origin => "origins like \"https://chat.example.com\", without a path",
            Form::Host => "host names like \"chat.local\", without a port",
        }
    }
}

impl Place {
    pub(super) const fn bounded(mut self, bounds: Bounds) -> Place {
        match &mut self {
            Place::U32(own, _) | Place::U64(own, _) | Place::Millis(own, _) => *own = bounds,
            Place::Switch(_)
            | Place::Address(_)
            | Place::Ip(_)
            | Place::Folder(_)
            | Place::File(_)
            | Place::Text(..)
            | Place::Url(..)
            | Place::List(..)
            | Place::Networks(_)
            | Place::AddressOrOff(_)
            | Place::Word(_)
            | Place::SharedSecret
            | Place::Bearer(_)
            | Place::Secret(_) => panic!("only a number has bounds"),
        }
        self
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self, Place::U32(..) | Place::U64(..) | Place::Millis(..))
    }

    /// What it accepts, to be read after "must be".
    pub(super) fn expected(self) -> String {
        match self {
            Place::U32(bounds, _) | Place::U64(bounds, _) | Place::Millis(bounds, _) => bounds.expected(),
            Place::Switch(_) => "true or false".into(),
            Place::Address(_) => "an IP address with a port, like \"127.0.0.1:8080\"".into(),
            Place::Ip(_) => "an IP address of this machine, like \"10.0.0.7\" or \"fd00::7\"".into(),
            Place::AddressOrOff(_) => "an IP address with a port, like \"127.0.0.1:8081\", or \"off\"".into(),
            Place::Folder(_) => "the path of a folder".into(),
            Place::File(_) => "the path of a file".into(),
            Place::Text(form, _) => form.expected().into(),
            Place::Url(kind, _) => kind.expected().into(),
            Place::List(form, _) => format!("a list of {}", form.expected()),
            Place::Networks(_) => "a list of networks like \"10.0.0.0/8\"".into(),
            Place::Word(words) => one_of(words.words),
            Place::Secret(_) => format!("text of at most {SECRET_BYTES_MAX} bytes"),
            Place::SharedSecret => format!("text of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"),
            Place::Bearer(_) => {
                format!("{} to {} letters, digits and -._~+/=", BEARER_BYTES.start(), BEARER_BYTES.end())
            }
        }
    }

    /// Takes a value, or nothing where it is not accepted.
    pub(super) fn write(self, config: &mut Config, raw: &Raw, origin: &Origin) -> Option<()> {
        match self {
            Place::U32(bounds, field) => {
                *field(config) = u32::try_from(bounds.admit(raw.integer()?)?).ok()?;
            }
            Place::U64(bounds, field) => *field(config) = bounds.admit(raw.integer()?)?,
            Place::Millis(bounds, field) => {
                *field(config) = Duration::from_millis(bounds.admit(raw.integer()?)?);
            }
            Place::Switch(field) => *field(config) = raw.switch()?,
            Place::Address(field) => *field(config) = parse::address(raw.text()?)?,
            Place::Ip(field) => match raw.text()? {
                "" => *field(config) = None,
                text => *field(config) = Some(parse::source(text)?),
            },
            Place::AddressOrOff(field) => match raw.text()?.trim() {
                "off" => *field(config) = None,
                text => *field(config) = Some(parse::address(text)?),
            },
            Place::Folder(field) => {
                *field(config) = raw.text().filter(|path| !path.is_empty()).map(PathBuf::from)?;
            }
            Place::File(field) => {
                *field(config) = Some(raw.text()?).filter(|path| !path.is_empty()).map(PathBuf::from);
            }
            // An empty text unsets: a variable must be able to undo what a file says.
            Place::Text(form, field) => match raw.text()? {
                "" => *field(config) = None,
                text => *field(config) = Some(form.read(text)?),
            },
            Place::Url(kind, field) => match raw.text()? {
                "" => *field(config) = None,
                text => *field(config) = Some(Url::read(text, kind)?),
            },
            Place::List(form, field) => {
                *field(config) =
                    raw.items()?.into_iter().map(|item| form.read(item)).collect::<Option<_>>()?;
            }
            Place::Networks(field) => {
                *field(config) = raw.items()?.into_iter().map(network).collect::<Option<_>>()?;
            }
            Place::Word(words) => {
                let word = raw.text()?;
                (words.write)(config, words.words.iter().position(|candidate| *candidate == word)?);
            }
            Place::Secret(field) => match raw.text()? {
                "" => *field(config) = None,
                text => *field(config) = Some(Secret::read(text)?),
            },
            Place::SharedSecret => {
                let key = AuthKey::shared(raw.text()?, origin)?;
                config.auth.keys.retain(|key| key.source != KeySource::Shorthand);
                config.auth.keys.push(key);
            }
            Place::Bearer(field) => match raw.text()? {
                "" => *field(config) = None,
                text => *field(config) = Some(Secret::bearer(text)?),
            },
        }
        Some(())
    }

    /// The value it has. (The field is reached by a mutable reference, so the caller brings a copy.)
    pub(super) fn show(self, config: &mut Config) -> Shown {
        Shown::Value(match self {
            Place::U32(_, field) => field(config).to_string(),
            Place::U64(_, field) => field(config).to_string(),
            Place::Millis(_, field) => field(config).as_millis().to_string(),
            Place::Switch(field) => field(config).to_string(),
            Place::Address(field) => quoted(&field(config).to_string()),
            Place::Ip(field) => match field(config) {
                Some(address) => quoted(&address.to_string()),
                None => return Shown::Unset,
            },
            Place::AddressOrOff(field) => match field(config) {
                Some(address) => quoted(&address.to_string()),
                None => quoted("off"),
            },
            Place::Folder(field) => quoted(&field(config).to_string_lossy()),
            Place::File(field) => match field(config) {
                Some(path) => quoted(&path.to_string_lossy()),
                None => return Shown::Unset,
            },
            Place::Text(_, field) => match field(config) {
                Some(text) => quoted(text),
                None => return Shown::Unset,
            },
            Place::Url(_, field) => match field(config) {
                Some(url) => quoted(&url.to_string()),
                None => return Shown::Unset,
            },
            Place::List(_, field) => list(field(config).iter().map(|item| quoted(item))),
            Place::Networks(field) => list(field(config).iter().map(|network| quoted(&network.to_string()))),
            Place::Word(words) => quoted(words.words.get((words.read)(config)).copied().unwrap_or_default()),
            Place::Secret(field) => {
                return if field(config).is_some() { Shown::Hidden } else { Shown::Unset };
            }
            Place::SharedSecret => {
                let given = config.auth.keys.iter().any(|key| key.source == KeySource::Shorthand);
                return if given { Shown::Hidden } else { Shown::Unset };
            }
            Place::Bearer(field) => {
                return if field(config).is_some() { Shown::Hidden } else { Shown::Unset };
            }
        })
    }
}

/// A network, or an address as a network of one.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address)))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// `"text" or "json"`.
pub(super) fn one_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}
