//! Raw values of the sources, and how they become typed ones.
//!
//! A file has types; a variable and a flag have text only, which takes the type of its setting.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Characters of a value that a message repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// A value as a source gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// A TOML integer.
    Integer(i128),
    /// A TOML boolean.
    Switch(bool),
    /// A TOML string.
    Text(String),
    /// A TOML array.
    List(Vec<Raw>),
    /// Any other TOML value, by the name of its type.
    Other(&'static str),
    /// The text of a variable or flag.
    Plain(String),
}

impl Raw {
    /// As a message repeats it: TOML, shortened.
    pub(super) fn shown(&self) -> String {
        match self {
            Raw::Integer(value) => value.to_string(),
            Raw::Switch(value) => value.to_string(),
            Raw::Text(text) => shortened(&quoted(text)),
            Raw::Plain(text) if self.integer().is_some() => text.trim().to_owned(),
            Raw::Plain(text) => shortened(&quoted(text)),
            Raw::List(items) => {
                shortened(&format!("[{}]", items.iter().map(Raw::shown).collect::<Vec<_>>().join(", ")))
            }
            Raw::Other(kind) => format!("({kind})"),
        }
    }

    /// What a message says of a secret in its place.
    pub(super) fn hidden(&self) -> String {
        match self {
            Raw::Text(text) | Raw::Plain(text) => format!("({} bytes, hidden)", text.len()),
            Raw::Integer(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => "(hidden)".into(),
        }
    }

    pub(super) fn integer(&self) -> Option<i128> {
        match self {
            Raw::Integer(value) => Some(*value),
            Raw::Plain(text) => text.trim().replace('_', "").parse().ok(),
            Raw::Switch(_) | Raw::Text(_) | Raw::List(_) | Raw::Other(_) => None,
        }
    }

    pub(super) fn switch(&self) -> Option<bool> {
        match self {
            Raw::Switch(value) => Some(*value),
            Raw::Plain(text) => text.trim().parse().ok(),
            Raw::Integer(_) | Raw::Text(_) | Raw::List(_) | Raw::Other(_) => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) | Raw::Plain(text) => Some(text),
            Raw::Integer(_) | Raw::Switch(_) | Raw::List(_) | Raw::Other(_) => None,
        }
    }

    /// The items of a list; plain text is split at its commas.
    pub(super) fn items(&self) -> Option<Vec<&str>> {
        match self {
            Raw::List(items) => items.iter().map(Raw::text).collect(),
            Raw::Plain(text) => {
                Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
            }
            Raw::Integer(_) | Raw::Switch(_) | Raw::Text(_) | Raw::Other(_) => None,
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A TOML basic string on one line. JSON's escapes are TOML's, save that TOML also escapes DEL.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// An origin (RFC 6454 section 6.2) in the form browsers send it: `https://host` or `https://host:port`,
/// lower case.
pub(super) fn origin(text: &str) -> Option<String> {
    let (scheme, authority) = text.split_once("://")?;
    let scheme_is_plain =
        scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    let authority: http::uri::Authority = authority.parse().ok()?;
    let whole = scheme_is_plain && !scheme.is_empty() && !authority.as_str().contains('@');
    whole.then(|| text.to_ascii_lowercase())
}

/// A host name without its port, lower case.
pub(super) fn host(text: &str) -> Option<String> {
    let authority: http::uri::Authority = text.parse().ok()?;
    (authority.host() == text).then(|| text.to_ascii_lowercase())
}

/// An address with a port.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    text.trim().parse().ok()
}

/// An address that a connection can leave from: one machine's.
pub(super) fn source(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.trim().trim_matches(['[', ']']).parse().ok()?;
    let address = address.to_canonical();
    let of_one = !address.is_unspecified() && !address.is_multicast() && address != Ipv4Addr::BROADCAST;
    of_one.then_some(address)
}

/// A name that fits in a log line and a metric: 1–64 letters, digits, `.`, `_`, `-`.
pub(super) fn name(text: &str) -> Option<String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_nothing_more() {
        assert_eq!(origin("https://Chat.example.com:444").as_deref(), Some("https://chat.example.com:444"));
        for wrong in ["chat.example.com", "https://a/b", "https://a/", "https://u@a", "://a", "null", "*", ""]
        {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_host_has_no_port() {
        assert_eq!(host("Chat.local").as_deref(), Some("chat.local"));
        assert_eq!(host("[::1]").as_deref(), Some("[::1]"));
        for wrong in ["chat.local:80", "http://chat.local", "u@chat.local", ""] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_long_value_is_shortened_between_characters() {
        let shown = Raw::Text("é".repeat(100)).shown();
        assert_eq!(shown.chars().filter(|letter| *letter == 'é').count(), SHOWN_CHARS_MAX - 1);
    }
}
