//! The secrets of `[[relay]]`: in the file itself, in a variable, or in a file of their own.

use super::error::ConfigFault;
use super::raw::{RawValue, TableReader};
use super::relay_fault::RelayFault;
use super::secret_file::{self, SecretFile};
use super::url::HIDDEN;
use crate::wire::webhook::WebhookKey;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Secrets of a route: two suffice to change one, and each costs every request a signature.
const SECRETS_MAX: usize = 4;
/// A file that holds a secret is shorter.
const SECRET_FILE_BYTES_MAX: usize = 4 << 10;
const FIELD: &str = "secrets";

/// The place of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelaySecret {
    /// In the table itself.
    Inline,
    /// In an environment variable.
    Variable(String),
    /// In a file of its own.
    File(PathBuf),
}

impl fmt::Display for RelaySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelaySecret::Inline => f.write_str(HIDDEN),
            RelaySecret::Variable(name) => write!(f, "env:{name}"),
            RelaySecret::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Reads the field `secrets`. `None` if one of them cannot be used; all mistakes are reported.
pub(super) fn read(
    reader: &mut TableReader<'_>,
    variables: &[(OsString, OsString)],
) -> Option<(Vec<RelaySecret>, Vec<WebhookKey>)> {
    let expected = format!("a list of 1 to {SECRETS_MAX} secrets, \"env:VARIABLE\" or \"file:PATH\"");
    let given: Vec<Zeroizing<String>> = reader.required(FIELD, &expected, |raw| {
        let RawValue::List(items) = raw else { return None };
        let texts = items.iter().map(|item| Some(Zeroizing::new(item.text()?.to_owned())));
        texts.collect::<Option<Vec<_>>>().filter(|texts| (1..=SECRETS_MAX).contains(&texts.len()))
    })?;
    let (mut places, mut keys) = (Vec::new(), Vec::new());
    for (at, text) in given.iter().enumerate() {
        match resolve(reader, at + 1, text, variables) {
            Ok((_, key)) if keys.contains(&key) => {
                fault(reader, ConfigFault::Relay(RelayFault::SameSecret { place: at + 1 }));
            }
            Ok((place, key)) => {
                places.push(place);
                keys.push(key);
            }
            Err(wrong) => fault(reader, wrong),
        }
    }
    (keys.len() == given.len()).then_some((places, keys))
}

fn fault(reader: &mut TableReader<'_>, fault: ConfigFault) {
    reader.fault(reader.origin_of(FIELD), FIELD, fault);
}

fn resolve(
    reader: &mut TableReader<'_>,
    place: usize,
    text: &str,
    variables: &[(OsString, OsString)],
) -> Result<(RelaySecret, WebhookKey), ConfigFault> {
    let key = |text: &str| WebhookKey::parse(text).ok_or(ConfigFault::Relay(RelayFault::Secret { place }));
    if let Some(name) = text.strip_prefix("env:") {
        let found = variables.iter().find(|(known, value)| known == name && !value.is_empty());
        let (_, value) =
            found.ok_or_else(|| ConfigFault::Relay(RelayFault::NoVariable { name: name.to_owned() }))?;
        return Ok((RelaySecret::Variable(name.to_owned()), key(value.to_str().unwrap_or_default().trim())?));
    }
    if let Some(path) = text.strip_prefix("file:") {
        let path = PathBuf::from(path);
        let (name, origin) = ("relay.secrets".into(), reader.origin_of(FIELD));
        reader.report.secret_files.push(SecretFile { key: name, origin, path: path.clone() });
        let read = secret_file::read(&path, SECRET_FILE_BYTES_MAX).map_err(ConfigFault::unreadable(&path))?;
        return Ok((RelaySecret::File(path), key(&read)?));
    }
    Ok((RelaySecret::Inline, key(text)?))
}
