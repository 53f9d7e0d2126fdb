//! The types of settings: the values each accepts, how one is read, and how a listing shows it.

use super::raw::{RawValue, list, one_of, quoted};
use super::url::{Url, UrlKind};
use crate::admin::{BEARER_BYTES, is_bearer};
use crate::alert::channel::AlertChannel;
use crate::auth::key::SECRET_BYTES_MIN;
use crate::auth::token_pattern::TokenPattern;
use crate::slo::Objective;
use crate::slo::calendar::{ReportZone, WeekTime};
use crate::slo::tier::tiers;
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// No scheme makes longer secrets; a larger file is the wrong file.
pub(super) const SECRET_BYTES_MAX: usize = 4_096;

/// Room for a name and a path; every instance shows it in the load of this one.
const PAGE_BYTES_MAX: usize = 128;

/// Bytes that no log, error or listing shows, and that are overwritten when they are dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The values that a setting accepts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Accepts {
    /// `min` to `max`; also 0 if `zero` gives it a meaning.
    Number {
        min: u64,
        max: u64,
        zero: Option<&'static str>,
    },
    Switch,
    Address,
    AddressOrOff,
    /// An objective that some errors reach.
    ObjectiveOrOff,
    /// An address of this machine that a connection can leave from.
    SourceAddress,
    Folder,
    File,
    Text(TextForm),
    Texts(TextForm),
    Networks,
    /// Channels of incidents.
    Channels,
    Word(&'static [&'static str]),
    Url(UrlKind),
    /// A text that is never shown.
    Secret,
    /// An HS256 key.
    SharedSecret,
    /// A token that clients send as `Authorization: Bearer`.
    Bearer,
}

/// A rule for the letters of a text.
#[derive(Clone, Copy, Debug)]
pub(super) enum TextForm {
    Any,
    Name,
    Origin,
    Host,
    TokenPattern,
    /// The address of a page.
    Page,
    /// A time zone.
    Zone,
    /// A day of the week and a time.
    WeekTime,
}

pub(super) const fn between(min: u64, max: u64) -> Accepts {
    Accepts::Number { min, max, zero: None }
}

pub(super) const fn zero_or(zero: &'static str, min: u64, max: u64) -> Accepts {
    Accepts::Number { min, max, zero: Some(zero) }
}

impl Accepts {
    /// The accepted values, to be read after "must be".
    pub(super) fn expected(self) -> String {
        match self {
            Accepts::Number { min, max, zero: Some(zero) } => format!("0 ({zero}), or {min} to {max}"),
            Accepts::Number { min, max, zero: None } => format!("{min} to {max}"),
            Accepts::Switch => "true or false".into(),
            Accepts::Address => "an IP address with a port, like \"127.0.0.1:8080\"".into(),
            Accepts::AddressOrOff => "an IP address with a port, like \"127.0.0.1:8081\", or \"off\"".into(),
            Accepts::ObjectiveOrOff => {
                "a ratio of 50 to 99.9999 % and a period of 1 to 90 days, like \"99.9 % over 7 d\", with so few errors allowed \
                 that a failure can be noticed, or \"off\""
                    .into()
            }
            Accepts::SourceAddress => {
                "an IP address of this machine, like \"10.0.0.7\" or \"fd00::7\"".into()
            }
            Accepts::Folder => "the path of a folder".into(),
            Accepts::File => "the path of a file".into(),
            Accepts::Text(form) => form.expected().into(),
            Accepts::Texts(form) => format!("a list of {}", form.expected()),
            Accepts::Networks => "a list of networks like \"10.0.0.0/8\"".into(),
            Accepts::Channels => "a list of \"pagerduty\", \"slack\" and \"webhook\"".into(),
            Accepts::Word(words) => one_of(words),
            Accepts::Url(kind) => kind.expected().into(),
            Accepts::Secret => format!("text of at most {SECRET_BYTES_MAX} bytes"),
            Accepts::SharedSecret => format!("text of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"),
            Accepts::Bearer => {
                format!("{} to {} letters, digits and -._~+/=", BEARER_BYTES.start(), BEARER_BYTES.end())
            }
        }
    }

    fn number(self, raw: &RawValue) -> Option<u64> {
        let Accepts::Number { min, max, zero } = self else { return None };
        let value = u64::try_from(raw.integer()?).ok()?;
        ((min..=max).contains(&value) || (value == 0 && zero.is_some())).then_some(value)
    }

    fn form(self) -> Option<TextForm> {
        if let Accepts::Text(form) | Accepts::Texts(form) = self { Some(form) } else { None }
    }

    fn url_kind(self) -> Option<UrlKind> {
        if let Accepts::Url(kind) = self { Some(kind) } else { None }
    }

    /// The first element of a list that is not accepted, with its place counted from 1.
    pub(super) fn first_wrong(self, items: &[&str]) -> Option<(usize, String)> {
        let accepted = |item: &&str| match self {
            Accepts::Texts(form) => form.read(item).is_some(),
            Accepts::Networks => network(item).is_some(),
            Accepts::Channels => AlertChannel::parse(item).is_some(),
            Accepts::Number { .. }
            | Accepts::Switch
            | Accepts::Address
            | Accepts::AddressOrOff
            | Accepts::ObjectiveOrOff
            | Accepts::SourceAddress
            | Accepts::Folder
            | Accepts::File
            | Accepts::Text(_)
            | Accepts::Word(_)
            | Accepts::Url(_)
            | Accepts::Secret
            | Accepts::SharedSecret
            | Accepts::Bearer => true,
        };
        let place = items.iter().position(|item| !accepted(item))?;
        Some((place + 1, quoted(items.get(place)?)))
    }

    /// True exactly when `text` unsets the setting. An empty variable must be able to undo what a file sets, but an empty
    /// shared secret is an error: it would turn auth off.
    fn unsets(self, text: &str) -> bool {
        match self {
            Accepts::AddressOrOff | Accepts::ObjectiveOrOff => text.trim() == "off",
            Accepts::SharedSecret => false,
            _ => text.is_empty(),
        }
    }
}

impl TextForm {
    fn read(self, text: &str) -> Option<String> {
        match self {
            TextForm::Any => Some(text.to_owned()),
            TextForm::Name => name(text),
            TextForm::Origin => origin(text),
            TextForm::Host => host(text),
            TextForm::Page => page(text),
            TextForm::WeekTime => WeekTime::parse(text).map(|time| time.to_string()),
            TextForm::Zone => ReportZone::parse(text).map(|zone| zone.name().to_owned()),
            TextForm::TokenPattern => TokenPattern::parse(text).map(|pattern| pattern.to_string()),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            TextForm::Any => "text",
            TextForm::Name => "1 to 64 letters, digits, dots, dashes and underscores",
            TextForm::Origin => {
                "origins like \"https://chat.example.com\", \"https://*.example.com\", \"http://localhost:*\" or \"*\", \
                 without a path"
            }
            TextForm::TokenPattern => {
                "a beginning, one set of letters and one length, like \"gwt_[A-Za-z0-9_-]{20,200}\""
            }
            TextForm::Page => {
                "an address like \"https://gw-1.example.com/seawall\" of at most 128 bytes, without user, query and fragment"
            }
            TextForm::WeekTime => "a day and a time, like \"Mon 09:00\"",
            TextForm::Zone => "a time zone of the IANA database, like \"Europe/Berlin\" or \"UTC\"",
            TextForm::Host => "host names like \"chat.local\", without a port",
        }
    }
}

/// A name that fits in a log line and a metric: 1 to 64 letters, digits, `.`, `_`, `-`.
pub(super) fn name(text: &str) -> Option<String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    fits.then(|| text.to_owned())
}

/// An origin (RFC 6454 section 6.2) in the form browsers send it: `https://host` or `https://host:port`, lower case. A star is a
/// port, the first labels of a host, or the whole.
fn origin(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let (scheme, authority) = text.split_once("://")?;
    let host = authority.strip_suffix(":*");
    let authority = match host.or(authority.strip_prefix("*.")) {
        Some(rest) if rest.contains('*') || (host.is_some() && rest.contains("]:")) => return None,
        Some(rest) => rest,
        None => authority,
    };
    let scheme_is_plain =
        scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    let authority: http::uri::Authority = authority.parse().ok()?;
    let whole = scheme_is_plain
        && !scheme.is_empty()
        && !authority.as_str().contains(['@', '*'])
        && (host.is_none() || authority.port().is_none());
    whole.then(|| text.to_ascii_lowercase())
}

/// A host name without its port, lower case.
fn host(text: &str) -> Option<String> {
    let authority: http::uri::Authority = text.parse().ok()?;
    (authority.host() == text).then(|| text.to_ascii_lowercase())
}

/// The address of a page, which has no secret in it.
fn page(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let authority = rest.split('/').next().filter(|authority| !authority.is_empty())?;
    let is_plain = text.len() <= PAGE_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.contains(['@', '?', '#', '"', '\\']);
    (is_plain && authority.parse::<http::uri::Authority>().is_ok()).then(|| text.to_owned())
}

/// A value as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownValue {
    /// TOML.
    Value(String),
    Unset,
    /// The value is a secret.
    Hidden,
}

/// The type of a setting.
pub(super) trait SettingValue: Sized {
    /// Reads a value; `None` if it is not accepted.
    fn read(raw: &RawValue, accepts: Accepts) -> Option<Self>;
    fn show(&self, accepts: Accepts) -> ShownValue;
}

macro_rules! plain_values {
    ($($type:ty: |$raw:ident, $accepts:ident| $read:expr, |$value:ident| $shown:expr;)+) => {
        $(impl SettingValue for $type {
            fn read($raw: &RawValue, $accepts: Accepts) -> Option<$type> {
                $read
            }
            fn show(&self, _: Accepts) -> ShownValue {
                let $value = self;
                ShownValue::Value($shown.to_string())
            }
        })+
    };
}

plain_values! {
    u32: |raw, accepts| u32::try_from(accepts.number(raw)?).ok(), |value| value;
    u64: |raw, accepts| accepts.number(raw), |value| value;
    Duration: |raw, accepts| accepts.number(raw).map(Duration::from_millis), |value| value.as_millis();
    bool: |raw, _accepts| raw.switch(), |value| value;
    SocketAddr: |raw, accepts| TextValue::parse(raw.text()?, accepts), |value| quoted(&value.to_string());
    PathBuf: |raw, accepts| TextValue::parse(raw.text()?, accepts), |value| quoted(&value.to_string_lossy());
    ReportZone: |raw, _accepts| ReportZone::parse(raw.text()?), |value| quoted(value.name());
}

/// A value that is written as one text.
pub(super) trait TextValue: Sized {
    /// Reads a text; `None` if it is not accepted.
    fn parse(text: &str, accepts: Accepts) -> Option<Self>;
    /// The text; `None` for a secret.
    fn text(&self) -> Option<String>;
}

impl<T: TextValue> SettingValue for Option<T> {
    fn read(raw: &RawValue, accepts: Accepts) -> Option<Option<T>> {
        let text = raw.text()?;
        if accepts.unsets(text) { Some(None) } else { T::parse(text, accepts).map(Some) }
    }
    fn show(&self, accepts: Accepts) -> ShownValue {
        match self {
            Some(value) => value.text().map_or(ShownValue::Hidden, |text| ShownValue::Value(quoted(&text))),
            None if matches!(accepts, Accepts::AddressOrOff | Accepts::ObjectiveOrOff) => {
                ShownValue::Value(quoted("off"))
            }
            None => ShownValue::Unset,
        }
    }
}

impl SettingValue for Option<Duration> {
    fn read(raw: &RawValue, accepts: Accepts) -> Option<Option<Duration>> {
        if raw.text() == Some("") { Some(None) } else { Duration::read(raw, accepts).map(Some) }
    }
    fn show(&self, accepts: Accepts) -> ShownValue {
        self.map_or(ShownValue::Unset, |value| value.show(accepts))
    }
}

impl<T: TextValue> SettingValue for Vec<T> {
    fn read(raw: &RawValue, accepts: Accepts) -> Option<Vec<T>> {
        raw.items()?.into_iter().map(|item| T::parse(item, accepts)).collect()
    }
    fn show(&self, _: Accepts) -> ShownValue {
        ShownValue::Value(list(self.iter().filter_map(TextValue::text).map(|text| quoted(&text))))
    }
}

macro_rules! text_values {
    ($($type:ty: |$text:ident, $accepts:ident| $parse:expr, |$value:ident| $written:expr;)+) => {
        $(impl TextValue for $type {
            fn parse($text: &str, $accepts: Accepts) -> Option<$type> {
                $parse
            }
            fn text(&self) -> Option<String> {
                let $value = self;
                $written
            }
        })+
    };
}

text_values! {
    SocketAddr: |text, _accepts| text.trim().parse().ok(), |value| Some(value.to_string());
    IpAddr: |text, _accepts| source_address(text), |value| Some(value.to_string());
    WeekTime: |text, _accepts| WeekTime::parse(text), |value| Some(value.to_string());
    IpNet: |text, _accepts| network(text), |value| Some(value.to_string());
    AlertChannel: |text, _accepts| AlertChannel::parse(text), |value| Some(value.as_str().to_owned());
    PathBuf: |text, _accepts| (!text.is_empty()).then(|| PathBuf::from(text)), |value| Some(value.to_string_lossy().into_owned());
    String: |text, accepts| accepts.form()?.read(text), |value| Some(value.clone());
    TokenPattern: |text, _accepts| TokenPattern::parse(text), |value| Some(value.to_string());
    Url: |text, accepts| Url::read(text, accepts.url_kind()?), |value| Some(value.to_string());
    Objective: |text, _accepts| Objective::parse(text).filter(|it| tiers(it).is_ok()), |value| Some(value.to_string());
    Secret: |text, accepts| secret(text, accepts), |_value| None;
}

/// An address of one machine, from which a connection can be made.
fn source_address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.trim().trim_matches(['[', ']']).parse().ok()?;
    let address = address.to_canonical();
    let of_one = !address.is_unspecified() && !address.is_multicast() && address != Ipv4Addr::BROADCAST;
    of_one.then_some(address)
}

/// A network; an address alone is a network of one.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| IpNet::from(address)))
}

fn secret(text: &str, accepts: Accepts) -> Option<Secret> {
    let is_bearer = !matches!(accepts, Accepts::Bearer) || is_bearer(text.as_bytes());
    let is_key = !matches!(accepts, Accepts::SharedSecret) || text.len() >= SECRET_BYTES_MIN;
    (is_bearer && is_key && text.len() <= SECRET_BYTES_MAX).then(|| Secret(text.as_bytes().to_vec().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_with_more_than_scheme_and_host_is_rejected() {
        assert_eq!(origin("https://Chat.example.com:444").as_deref(), Some("https://chat.example.com:444"));
        for right in ["*", "https://*.example.com", "http://localhost:*", "https://*.example.com:8443"] {
            assert_eq!(origin(right).as_deref(), Some(right));
        }
        for wrong in [
            "chat.example.com",
            "https://a/b",
            "https://a/",
            "https://u@a",
            "://a",
            "null",
            "**",
            "https://*",
            "https://a.*.b",
            "https://*.a:*",
            "https://a:1:*",
            "https://*a.b",
            "",
        ] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn host_with_a_port_is_rejected() {
        assert_eq!(host("Chat.local").as_deref(), Some("chat.local"));
        assert_eq!(host("[::1]").as_deref(), Some("[::1]"));
        for wrong in ["chat.local:80", "http://chat.local", "u@chat.local", ""] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }
}
