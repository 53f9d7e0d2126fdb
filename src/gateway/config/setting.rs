//! A setting: its name, what it accepts, what it means, and its place in [`Config`].

use super::Config;
use super::error::Fault;
use super::key::{AuthKey, KeySource, SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret};
use super::parse::{self, Raw, quoted};
use super::renewal::Takes;
use super::source::Origin;
use super::url::{Url, UrlKind};
use crate::worker::admin::BEARER_BYTES;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// One setting. Everything that knows of settings reads it from here: file, variables, flags, listing,
/// reference.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Section and key: `limits.frame_bytes`.
    pub name: &'static str,
    /// What it decides, in a line or two of Markdown.
    pub doc: &'static str,
    /// The flag that sets it as well, with its dashes.
    pub flag: Option<&'static str>,
    /// When a change of it counts; `None`: not said, which a test finds.
    pub takes: Option<Takes>,
    pub(super) place: Place,
}

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

impl Setting {
    pub(super) const fn of(name: &'static str, place: Place) -> Setting {
        Setting { name, doc: "", flag: None, takes: None, place }
    }

    /// A number of `[limits]`.
    pub(super) const fn small(name: &'static str, field: fn(&mut Config) -> &mut u32) -> Setting {
        Setting::of(name, Place::U32(Bounds::to(u32::MAX as u64), field))
    }

    /// A large number of `[limits]`.
    pub(super) const fn large(name: &'static str, field: fn(&mut Config) -> &mut u64) -> Setting {
        Setting::of(name, Place::U64(Bounds::to(u64::MAX), field))
    }

    /// Sets the bounds of a number.
    pub(super) const fn bounds(self, min: u64, max: u64) -> Setting {
        self.bounded(Bounds { min, max, zero: None })
    }

    /// Sets the bounds of a number that may also be 0, and what 0 then means.
    pub(super) const fn bounds_or_zero(self, min: u64, max: u64, zero: &'static str) -> Setting {
        self.bounded(Bounds { min, max, zero: Some(zero) })
    }

    const fn bounded(mut self, bounds: Bounds) -> Setting {
        match &mut self.place {
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

    pub(super) const fn doc(mut self, doc: &'static str) -> Setting {
        self.doc = doc;
        self
    }

    pub(super) const fn flag(mut self, flag: &'static str) -> Setting {
        self.flag = Some(flag);
        self
    }

    /// `limits` of `limits.frame_bytes`.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// `frame_bytes` of `limits.frame_bytes`.
    pub fn key(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, key)| key)
    }

    /// `SEAWALL_LIMITS_FRAME_BYTES` of `limits.frame_bytes`.
    pub fn variable(&self) -> String {
        format!("SEAWALL_{}_{}", self.section(), self.key()).to_ascii_uppercase()
    }

    /// What it accepts, to be read after "must be".
    pub fn expected(&self) -> String {
        match self.place {
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

    /// Writes a value, or says why not and leaves the old one.
    pub(super) fn write(&self, config: &mut Config, raw: &Raw, origin: &Origin) -> Result<(), Fault> {
        self.accept(config, raw, origin)
            .ok_or_else(|| Fault::NotAccepted { value: self.repeated(raw), expected: self.expected_of(raw) })
    }

    /// A refused value as a message repeats it.
    fn repeated(&self, raw: &Raw) -> String {
        match (self.place, raw.text()) {
            (Place::SharedSecret | Place::Bearer(_) | Place::Secret(_), _) => raw.hidden(),
            (Place::Url(..), Some(text)) => Url::hint(text),
            _ => raw.shown(),
        }
    }

    /// [`Setting::expected`], and the type where it is the type that is wrong.
    fn expected_of(&self, raw: &Raw) -> String {
        let number = matches!(self.place, Place::U32(..) | Place::U64(..) | Place::Millis(..));
        if number && raw.integer().is_none() {
            format!("a whole number: {}", self.expected())
        } else {
            self.expected()
        }
    }

    fn accept(&self, config: &mut Config, raw: &Raw, origin: &Origin) -> Option<()> {
        match self.place {
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
    pub(super) fn show(&self, config: &mut Config) -> Shown {
        Shown::Value(match self.place {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::table;
    use proptest::prelude::*;

    fn raws() -> impl Strategy<Value = Raw> {
        let text = prop_oneof![
            any::<String>(),
            "[0-9]{1,12}",
            "[a-z.]{1,12}",
            "(10|172)\\.[0-9]{1,3}\\.0\\.0/[0-9]{1,2}",
            "https://[a-z]{1,9}(:[0-9]{1,5})?",
            "127.0.0.1:[0-9]{1,5}",
            Just("true".to_owned()),
            Just("json".to_owned()),
            Just("required".to_owned()),
        ];
        let leaf = prop_oneof![
            any::<i64>().prop_map(|value| Raw::Integer(value.into())),
            (0_i128..200_000).prop_map(Raw::Integer),
            any::<bool>().prop_map(Raw::Switch),
            text.clone().prop_map(Raw::Text),
            text.prop_map(Raw::Plain),
        ];
        leaf.prop_recursive(1, 4, 4, |item| prop::collection::vec(item, 0..4).prop_map(Raw::List))
    }

    /// A listed value as the file's reader would bring it.
    fn read_back(shown: &str) -> Raw {
        let file = format!("value = {shown}");
        let table = toml::de::DeTable::parse(&file).expect("a listed value is TOML");
        let value = table.get_ref().get("value").expect("it was written");
        super::super::file::raw(value.get_ref())
    }

    proptest! {
        #[test]
        fn a_refused_value_changes_nothing_and_an_accepted_one_survives_its_listing(raw in raws()) {
            for setting in table::all() {
                let mut config = Config::default();
                let before = setting.show(&mut config);
                let written = setting.write(&mut config, &raw, &Origin::Default);
                let after = setting.show(&mut config);
                match (written, &after) {
                    (Err(_), _) => prop_assert_eq!(&after, &before),
                    (Ok(()), Shown::Value(value)) => {
                        let mut again = Config::default();
                        let accepted = setting.write(&mut again, &read_back(value), &Origin::Default);
                        prop_assert!(accepted.is_ok(), "{} = {}", setting.name, value);
                        prop_assert_eq!(setting.show(&mut again), after);
                    }
                    (Ok(()), Shown::Unset | Shown::Hidden) => {}
                }
            }
        }

        #[test]
        fn a_number_is_accepted_exactly_in_its_bounds(value in any::<i64>(), small in -1_i64..100_000) {
            let expected = |value: i64| (125..=16 << 20).contains(&value);
            let setting = table::by_name("limits.frame_bytes").expect("it is there");
            for value in [value, small, 124, 125, 16 << 20, (16 << 20) + 1] {
                let mut config = Config::default();
                let written = setting.write(&mut config, &Raw::Integer(value.into()), &Origin::Default);
                prop_assert_eq!(written.is_ok(), expected(value));
            }
        }
    }
}
