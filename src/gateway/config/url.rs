//! URLs of what the gateway stands on, whose secrets no log, message or listing shows.

use std::fmt;

/// Stands for what is not shown.
const HIDDEN: &str = "(hidden)";
/// A longer one is a slip of the keyboard.
const URL_BYTES_MAX: usize = 2_048;

/// A URL: a scheme, `://`, an authority, and what follows. `Debug` and `Display` hide its password and what
/// looks like a secret in its query.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

/// Where a URL may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UrlKind {
    /// A store.
    Store,
    /// A bus.
    Bus,
    /// A database of the store's kind.
    Postgres,
    /// A server that speaks HTTP.
    Http,
}

impl UrlKind {
    const fn schemes(self) -> &'static [&'static str] {
        match self {
            UrlKind::Store | UrlKind::Postgres => &["postgres", "postgresql"],
            UrlKind::Bus => &["redis", "rediss"],
            UrlKind::Http => &["http", "https"],
        }
    }

    /// To be read after "must be".
    pub(super) const fn expected(self) -> &'static str {
        match self {
            UrlKind::Store => "\"sqlite:\" or a URL like \"postgres://user:password@host/database\"",
            UrlKind::Postgres => "a URL like \"postgres://user:password@host/database\"",
            UrlKind::Bus => "a URL like \"redis://:password@host:6379\" or \"rediss://host\"",
            UrlKind::Http => "a URL like \"https://host/path\"",
        }
    }
}

impl Url {
    /// Reads a URL of this kind; `None` when it is not one, or one whose parts cannot be told apart.
    pub(super) fn read(text: &str, kind: UrlKind) -> Option<Url> {
        if text == "sqlite:" && kind == UrlKind::Store {
            return Some(Url(text.to_owned()));
        }
        let (scheme, rest) = text.split_once("://")?;
        let known = kind.schemes().contains(&scheme);
        let plain = text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        let (authority, after) = rest.split_at(authority_end(rest));
        let path = after.split(['?', '#']).next().unwrap_or_default();
        // A second `@` is one of a password that is not percent-encoded: what follows would be shown.
        let told_apart = authority.matches('@').count() <= 1 && !path.contains('@');
        // What a listing shows in place of a password is none.
        let whole = known && plain && told_apart && !authority.is_empty() && !text.contains(HIDDEN);
        whole.then(|| Url(text.to_owned()))
    }

    /// The whole, secrets included: for the driver that connects.
    pub fn whole(&self) -> &str {
        &self.0
    }

    /// `postgres` of `postgres://…`.
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// What a message may say of a text that is no URL of ours: its scheme, when it has a plausible one.
    pub(super) fn hint(text: &str) -> String {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let plain = scheme.len() <= 16 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
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

/// Whether a parameter of this name is one that nobody else should read.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "pwd", "secret", "token", "key", "auth", "sig"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_shown_has_no_password() {
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
        fn a_password_is_never_shown(text in "(postgres|redis|http)://[a-z:@/?#&=]{0,12}(:|password=)HUNTER2[a-z:@/?#&=]{0,12}") {
            for kind in [UrlKind::Store, UrlKind::Bus, UrlKind::Http] {
                let Some(url) = Url::read(&text, kind) else {
                    prop_assert!(!Url::hint(&text).contains("HUNTER2"));
                    continue;
                };
                // A password stands before the `@` or in its parameter; elsewhere the word is a path or a port.
                let authority = text.split_once("://").map_or("", |(_, rest)| rest);
                let user = authority.split(['/', '?', '#']).next().and_then(|all| all.split_once('@'));
                if user.is_some_and(|(user, _)| user.contains(":HUNTER2")) {
                    prop_assert!(!url.to_string().contains("HUNTER2"), "{url}");
                }
            }
        }
    }
}
