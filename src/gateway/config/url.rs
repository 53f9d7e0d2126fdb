//! URLs of dependencies. No log, error or listing shows their secrets.

use std::fmt;
use zeroize::Zeroizing;

/// Printed in place of a secret.
pub(super) const HIDDEN: &str = "(hidden)";
/// A longer URL is a mistake.
const URL_BYTES_MAX: usize = 2_048;

/// A URL: a scheme, `://`, an authority, then path and query. `Debug` and `Display` hide the password and every query
/// parameter that looks like a secret.
/// It is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Zeroizing<String>);

/// The service that a URL leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UrlKind {
    Store,
    Bus,
    Postgres,
    Http,
}

impl UrlKind {
    const fn schemes(self) -> &'static [&'static str] {
        match self {
            UrlKind::Store | UrlKind::Postgres => &["postgres", "postgresql"],
            UrlKind::Bus => {
                &["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"]
            }
            UrlKind::Http => &["http", "https"],
        }
    }

    /// The accepted form, to be read after "must be".
    pub(super) const fn expected(self) -> &'static str {
        match self {
            UrlKind::Store => "\"sqlite:\" or a URL like \"postgres://user:password@host/database\"",
            UrlKind::Postgres => "a URL like \"postgres://user:password@host/database\"",
            UrlKind::Bus => {
                "a URL like \"redis://:password@host:6379\", \"rediss://host\", \"redis+sentinel://host:26379,host:26379/MASTER\" or \"redis+cluster://host:6379,host:6379\""
            }
            UrlKind::Http => "a URL like \"https://host/path\"",
        }
    }

    /// [`UrlKind::expected`], with the remedy that the rejected text suggests.
    pub(super) fn expected_instead_of(self, text: &str) -> String {
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        let (authority, after) = rest.split_at(authority_end(rest));
        if authority.matches('@').count() > 1 || after.contains('@') {
            return format!(
                "{}; percent-encode @, /, ? and # in its user and password (@ is %40)",
                self.expected()
            );
        }
        self.expected().into()
    }
}

impl Url {
    /// Reads a URL of this kind; `None` if it is malformed or its parts are ambiguous.
    pub(super) fn read(text: &str, kind: UrlKind) -> Option<Url> {
        if text == "sqlite:" && kind == UrlKind::Store {
            return Some(Url(text.to_owned().into()));
        }
        let (scheme, rest) = text.split_once("://")?;
        let known = kind.schemes().contains(&scheme);
        let plain = text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        let (authority, after) = rest.split_at(authority_end(rest));
        // A second `@`, or one after the authority, suggests a password that is not percent-encoded: part of it would
        // be mistaken for something else and shown.
        let unambiguous = authority.matches('@').count() <= 1 && !after.contains('@');
        // The placeholder of a listing is not a password.
        let whole = known && plain && unambiguous && !authority.is_empty() && !text.contains(HIDDEN);
        whole.then(|| Url(text.to_owned().into()))
    }

    /// The whole URL, with its secrets: for the driver that connects.
    pub fn whole(&self) -> &str {
        &self.0
    }

    /// The authority of an address of HTTP; `None`: it is no such address.
    fn authority(&self) -> Option<http::uri::Authority> {
        self.0.parse::<http::Uri>().ok()?.into_parts().authority
    }

    /// True exactly when the address of HTTP has a user or a password.
    pub(super) fn has_user(&self) -> bool {
        self.authority().is_some_and(|authority| authority.as_str().contains('@'))
    }

    /// The host of an address of HTTP with its port.
    pub(super) fn host_and_port(&self) -> Option<String> {
        let authority = self.authority()?;
        let usual = if self.scheme() == "https" { 443 } else { 80 };
        Some(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(usual)))
    }

    /// `postgres` for `postgres://…`.
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// The part of a malformed URL that an error may show: its scheme, if it looks like one.
    pub(super) fn hint(text: &str) -> String {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let plain =
            scheme.len() <= 16 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
        if plain && !scheme.is_empty() {
            return format!("\"{scheme}://…\"");
        }
        format!("({} bytes, hidden)", text.len())
    }
}

fn authority_end(rest: &str) -> usize {
    rest.find(['/', '?', '#']).unwrap_or(rest.len())
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str(&self.0) };
        let (authority, after) = rest.split_at(authority_end(rest));
        write!(f, "{scheme}://")?;
        match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), user, host)) {
            Some((Some((user, _)), _, host)) => write!(f, "{user}:{HIDDEN}@{host}")?,
            Some((None, user, host)) => write!(f, "{user}@{host}")?,
            None => f.write_str(authority)?,
        }
        let (path, query) = after.split_once('?').map_or((after, None), |(path, query)| (path, Some(query)));
        f.write_str(path)?;
        let Some(query) = query else { return Ok(()) };
        for (place, pair) in query.split('&').enumerate() {
            f.write_str(if place == 0 { "?" } else { "&" })?;
            match pair.split_once('=') {
                Some((name, _)) if is_secret(name) => write!(f, "{name}={HIDDEN}")?,
                Some(_) | None => f.write_str(pair)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// True exactly when the name of a parameter suggests a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "pwd", "secret", "token", "key", "auth", "sig"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn displayed_url_has_no_password_and_an_ambiguous_one_is_rejected() {
        let shown = |text| Url::read(text, UrlKind::Store).map(|url| url.to_string());
        for (given, expected) in [
            ("postgres://chat:hunter2@db:5433/chat", "postgres://chat:(hidden)@db:5433/chat"),
            ("postgresql://db/chat?password=hunter2&x=1", "postgresql://db/chat?password=(hidden)&x=1"),
            ("postgres://chat@db", "postgres://chat@db"),
            ("postgres://[::1]:5432", "postgres://[::1]:5432"),
            ("sqlite:", "sqlite:"),
        ] {
            assert_eq!(shown(given).as_deref(), Some(expected));
        }
        for wrong in [
            "postgres://",
            "postgres:/db",
            "mysql://db",
            "postgres://chat:hun/ter2@db",
            "postgres://chat:hun@ter2@db",
            "postgres://chat:(hidden)@db",
            "postgres://d b",
            "",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn password_is_never_displayed(before in "[a-z:@/?#&=%+]{0,6}", after in "[a-z:@/?#&=%+]{0,6}", scheme in "postgres|redis|redis[+]sentinel|redis[+]cluster|http") {
            let text = format!("{scheme}://user:{before}HUNTER2{after}@host/path?password={before}HUNTER2");
            prop_assert!(!Url::hint(&text).contains("HUNTER2"));
            for kind in [UrlKind::Store, UrlKind::Bus, UrlKind::Http] {
                // Text after an `&` in a value is another parameter.
                let read = Url::read(&text, kind).filter(|_| !before.contains('&'));
                let shown = read.map(|url| format!("{url} {url:?}")).unwrap_or_default();
                prop_assert!(!shown.contains("HUNTER2"), "{}", shown);
            }
        }
    }
}
