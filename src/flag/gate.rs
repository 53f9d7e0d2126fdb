//! Gates: the clients for which a flag may be on, by a word of `client` in `connect` and its version.

/// A gate, written as `web` or `web >=1.4.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientGate {
    /// The word before the `/`.
    word: Box<str>,
    /// The lowest version; `None`: any.
    least: Option<Version>,
}

/// The reason why a text is no gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateFault;

/// Numbers, of which missing ones are 0.
type Version = [u32; 3];

impl ClientGate {
    /// The rule, for messages.
    pub const RULE: &str =
        "a word of the client's name, or a word and its lowest version, as in \"web >=1.4.0\"";
    const BYTES_MAX: usize = 64;

    pub fn parse(text: &str) -> Result<ClientGate, GateFault> {
        let (word, least) = match text.split_once(">=") {
            Some((word, version)) => (word.trim(), Some(version_of(version.trim()).ok_or(GateFault)?)),
            None => (text.trim(), None),
        };
        let is_word = !word.is_empty()
            && word.len() <= ClientGate::BYTES_MAX
            && !word.contains([' ', '/', '<', '>', '=']);
        is_word.then(|| ClientGate { word: word.into(), least }).ok_or(GateFault)
    }

    /// True exactly if one of the client's words has this name and at least this version.
    pub fn admits(&self, client: &str) -> bool {
        client.split(' ').any(|word| {
            let (name, version) = word.split_once('/').unwrap_or((word, ""));
            *name == *self.word
                && self.least.is_none_or(|least| version_of(version).is_some_and(|version| version >= least))
        })
    }
}

impl std::fmt::Display for ClientGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.word)?;
        match self.least {
            Some([major, minor, patch]) => write!(f, " >={major}.{minor}.{patch}"),
            None => Ok(()),
        }
    }
}

/// Reads `1`, `1.4` or `1.4.0`, and what follows a `-` or `+` is left out.
fn version_of(text: &str) -> Option<Version> {
    let text = text.split(['-', '+']).next().unwrap_or_default();
    let mut version = Version::default();
    let mut parts = text.split('.');
    for number in &mut version {
        match parts.next() {
            Some(part) if part.bytes().all(|byte| byte.is_ascii_digit()) => *number = part.parse().ok()?,
            Some(_) => return None,
            None => {}
        }
    }
    (parts.next().is_none() && !text.is_empty()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_compares_the_version_of_one_word() {
        let gate = ClientGate::parse("web >= 1.4").expect("a gate");
        assert_eq!(gate.to_string(), "web >=1.4.0");
        for (client, admitted) in [
            ("seawall-js/0.2.0 web/1.4.0", true),
            ("web/1.10", true),
            ("web/2-beta.1", true),
            ("web/1.3.99", false),
            ("web", false),
            ("web/x", false),
            ("webapp/9", false),
            ("", false),
        ] {
            assert_eq!(gate.admits(client), admitted, "{client}");
        }
        assert!(ClientGate::parse("web").expect("a gate").admits("web/x"));
    }

    #[test]
    fn text_that_is_no_gate_is_refused() {
        for text in ["", " ", ">=1", "web >=", "web >=x", "web >=1.2.3.4", "two words", "web <2", "a/b"] {
            assert_eq!(ClientGate::parse(text), Err(GateFault), "{text}");
        }
    }
}
