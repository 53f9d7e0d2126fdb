//! The mistakes in a configuration, worded so that an operator can correct them without looking anything up.
//!
//! No fault holds a secret: a rejected value is hidden before a fault is made of it, and a syntax error carries no source
//! text.

use super::alert_fault::AlertFault;
use super::certificate::CertificateFault;
use super::origin::ValueOrigin;
use super::relay_fault::RelayFault;
use super::secret_file::{SecretFile, SecretFileFault};
use crate::auth::key::{KeyFault, KeyProblem};
use crate::log::Format;
use crate::net::target::TargetError;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Every mistake, in the order of reading: file, variables, flags, contradictions.
#[derive(Debug)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
    /// The format of the log, as far as the sources say it.
    pub log_format: Format,
}

#[derive(Debug)]
pub struct Problem {
    pub origin: ValueOrigin,
    /// The setting (`limits.frame_bytes`); empty if the fault is the file's or the variable's as a whole.
    pub key: String,
    pub fault: ConfigFault,
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct ProblemList {
    pub(super) problems: Vec<Problem>,
    /// The files that a setting with a secret was read from.
    pub(super) secret_files: Vec<SecretFile>,
    /// Settings with a rejected value: the configuration still holds the value from before, so contradictions with it are
    /// not reported.
    refused: BTreeSet<&'static str>,
}

impl ProblemList {
    pub(super) fn add(&mut self, origin: ValueOrigin, key: impl Into<String>, fault: ConfigFault) {
        self.problems.push(Problem { origin, key: key.into(), fault });
    }

    pub(super) fn refuse(&mut self, setting: &'static str) {
        self.refused.insert(setting);
    }

    /// True exactly when no value of these settings was rejected.
    pub(super) fn accepted(&self, settings: &[&str]) -> bool {
        settings.iter().all(|setting| !self.refused.contains(setting))
    }
}

/// A value that is accepted, but probably not meant.
#[derive(Clone, Debug)]
pub struct ConfigWarning {
    pub origin: ValueOrigin,
    /// The setting.
    pub key: String,
    pub text: String,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigWarning { origin, key, text } = self;
        write!(f, "{origin}: {key}: {text}")
    }
}

#[derive(Debug)]
pub enum ConfigFault {
    /// The value has the wrong type, is out of bounds, or is not one of the accepted words.
    NotAccepted {
        /// The value as given, shortened; secrets are hidden.
        value: String,
        /// The accepted values, with bounds.
        expected: String,
    },
    /// An element of a list is not accepted.
    Element {
        /// Counted from 1.
        place: usize,
        /// The element as given, shortened.
        value: String,
        /// The accepted values of the list.
        expected: String,
    },
    /// An address that cannot be used, with what to write instead.
    Address(TargetError),
    /// Keys that cannot be used together.
    Keys(KeyFault),
    /// The folder is something else.
    NotAFolder {
        path: PathBuf,
    },
    /// No setting has this name.
    Unknown {
        /// The name that was probably meant, in the form of its source.
        nearest: Option<String>,
    },
    /// The name of a section has a value.
    NotASection,
    /// The setting cannot be given by a variable.
    OnlyInFile,
    /// The text is not TOML.
    Syntax {
        /// The parser's message, without the source.
        message: String,
        /// Counted from 1, in characters.
        column: usize,
    },
    /// A file with a secret cannot be used.
    SecretFile(SecretFileFault),
    Unreadable {
        path: PathBuf,
        error: io::Error,
    },
    /// The value of a variable is not UTF-8.
    NotUtf8,
    /// The value is smaller than other settings require.
    TooSmall {
        value: u64,
        /// The least value, and the settings that require it.
        least: String,
        reason: &'static str,
    },
    Certificate(CertificateFault),
    /// Auth is off and the address is not loopback.
    OpenToNetwork {
        listen: String,
    },
    /// A PROXY header is required, but no network may send one.
    NoTrustedProxy,
    /// A bus is set, but the store is embedded and has one instance.
    BusWithoutSharedStore,
    /// A successor is allowed, but the store is embedded and has one owner.
    TakeoverOfEmbeddedStore,
    /// The disk of the store is watched, but it is the server's.
    DiskOfServer,
    /// Token checks are set, but auth is off.
    AuthOff,
    /// `*` in `server.origins` without auth: any web page could read and write.
    OpenToPages,
    /// Keys would be fetched, or the gateway's secret sent, over a network and unencrypted.
    Unencrypted,
    Api(ApiFault),
    Alert(AlertFault),
    Relay(RelayFault),
    /// Two keys have the same name.
    SameKid {
        kid: String,
    },
    /// A required value is missing.
    Missing {
        /// The accepted values.
        expected: String,
    },
    /// A key has no material, or more than one.
    Material {
        /// The fields that the algorithm accepts.
        expected: &'static str,
        /// The fields that were given.
        found: Vec<&'static str>,
    },
    /// A private key where a public one belongs.
    PrivateKey,
    /// The algorithm of the key cannot use it.
    UnusableKey(KeyProblem),
    /// Two dependencies have the same name.
    SameName {
        name: String,
    },
    /// A dependency has the name of this process in reports.
    OwnName,
    /// Another setting holds the address of this dependency.
    SetElsewhere {
        setting: &'static str,
    },
    /// The value has no effect without another setting.
    NeedsSetting {
        setting: &'static str,
    },
    /// A dependency of this kind has no such field.
    NotOfKind {
        kind: &'static str,
    },
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => writeln!(f, "seawall: the configuration has an error")?,
            count => writeln!(f, "seawall: the configuration has {count} errors")?,
        }
        self.problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { origin, key, fault } = self;
        write!(f, "{origin}: ")?;
        match (key.is_empty(), fault.value()) {
            (true, _) => write!(f, "{fault}"),
            (false, Some(value)) => write!(f, "{key} = {value}: {fault}"),
            (false, None) => write!(f, "{key}: {fault}"),
        }
    }
}

impl ConfigFault {
    pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ConfigFault {
        |error| ConfigFault::Unreadable { path: path.to_owned(), error }
    }

    /// The wrong value as TOML, if one value is wrong.
    fn value(&self) -> Option<String> {
        if let ConfigFault::NotAccepted { value, .. } = self {
            Some(value.clone())
        } else if let ConfigFault::TooSmall { value, .. } = self {
            Some(value.to_string())
        } else if let ConfigFault::OpenToNetwork { listen } = self {
            Some(format!("\"{listen}\""))
        } else {
            None
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigFault::NotAccepted { expected, .. } => write!(f, "must be {expected}"),
            ConfigFault::Element { place, value, expected } => {
                write!(f, "element {place} is {value}: must be {expected}")
            }
            ConfigFault::Address(fault) => fault.fmt(f),
            ConfigFault::Keys(fault) => fault.fmt(f),
            ConfigFault::NotAFolder { path } => {
                write!(f, "{} is not a folder: move it away, or name another folder", path.display())
            }
            ConfigFault::Unknown { nearest: Some(nearest) } => write!(f, "unknown; did you mean {nearest}?"),
            ConfigFault::Unknown { nearest: None } => {
                f.write_str("unknown; `seawall check-config` lists every setting")
            }
            ConfigFault::NotASection => f.write_str("is a section: write its keys below its name in brackets"),
            ConfigFault::OnlyInFile => f.write_str(
                "cannot be set by a variable: use [[auth.keys]] in a file, or SEAWALL_AUTH_SECRET for one HS256 key",
            ),
            ConfigFault::Api(fault) => fault.fmt(f),
            ConfigFault::Alert(fault) => fault.fmt(f),
            ConfigFault::Relay(fault) => fault.fmt(f),
            ConfigFault::Syntax { message, column } => write!(f, "column {column}: {message}"),
            ConfigFault::Unreadable { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            ConfigFault::SecretFile(fault) => fault.fmt(f),
            ConfigFault::Certificate(fault) => fault.fmt(f),
            ConfigFault::NotUtf8 => f.write_str("the value is not UTF-8: set it to UTF-8 text"),
            ConfigFault::TooSmall { least, reason, .. } => write!(f, "must be at least {least}, because {reason}"),
            ConfigFault::OpenToNetwork { .. } => f.write_str(
                "auth is off, so anyone who can reach this address could read and write everything: configure a key \
                 ([[auth.keys]] or SEAWALL_AUTH_SECRET) or an auth service (auth.introspection_url or auth.jwks_url), or \
                 listen on loopback (127.0.0.1 or [::1])",
            ),
            ConfigFault::NoTrustedProxy => f.write_str(
                "needs server.trusted_proxies: list the networks whose PROXY headers are trusted, or set \
                 server.proxy_protocol to \"off\"",
            ),
            ConfigFault::BusWithoutSharedStore => f.write_str(
                "has no effect with the embedded store, which only one instance can use: set store.url to a PostgreSQL \
                 database that all instances share, or remove bus.url",
            ),
            ConfigFault::TakeoverOfEmbeddedStore => f.write_str(
                "needs PostgreSQL as the store, because the embedded store has one owner and a successor can start only \
                 after this process exits: set store.url, or set server.takeover to false",
            ),
            ConfigFault::DiskOfServer => f.write_str(DISK_OF_SERVER),
            ConfigFault::OpenToPages => f.write_str(OPEN_TO_PAGES),
            ConfigFault::Unencrypted => f.write_str(UNENCRYPTED),
            ConfigFault::AuthOff => f.write_str(
                "has no effect while auth is off: add [[auth.keys]], auth.secret, auth.jwks_url or \
                 auth.introspection_url, or remove it",
            ),
            ConfigFault::SameKid { kid } => {
                write!(f, "another key already has kid \"{kid}\": give each key its own")
            }
            ConfigFault::Missing { expected } => write!(f, "is missing: must be {expected}"),
            ConfigFault::Material { expected, found } => write_material(f, expected, found),
            ConfigFault::PrivateKey => f.write_str(
                "is a private key: give the public key; only the issuer of the tokens should have the private one",
            ),
            ConfigFault::UnusableKey(problem) => f.write_str(problem.text()),
            ConfigFault::SameName { name } => {
                write!(f, "another dependency is already named \"{name}\": give each its own name")
            }
            ConfigFault::OwnName => f.write_str(OWN_NAME),
            ConfigFault::SetElsewhere { setting } => write!(f, "is set by {setting}: remove it here"),
            ConfigFault::NeedsSetting { setting } => {
                write!(f, "has no effect without {setting}: set {setting} too, or remove this")
            }
            ConfigFault::NotOfKind { kind } => write!(f, "does not apply to kind \"{kind}\": remove it"),
        }
    }
}

/// A fault of the settings of the server API.
#[derive(Debug)]
pub enum ApiFault {
    /// Its keys are tables, which a variable cannot hold.
    OnlyInFile,
    SameName {
        name: String,
    },
    SameSecret,
    NoKey,
    /// Tokens are to be accepted, and no configured key verifies them.
    NoTokenKey,
}

impl fmt::Display for ApiFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiFault::OnlyInFile => {
                f.write_str("cannot be set by a variable: use [[api.keys]] in a file, with secret_file")
            }
            ApiFault::SameName { name } => {
                write!(f, "another key of the API already has the name \"{name}\": give each its own")
            }
            ApiFault::SameSecret => f.write_str("another key of the API has the same secret: give each its own"),
            ApiFault::NoKey => f.write_str(
                "needs a key: add [[api.keys]] with name, secret_file, rights and channels, or api.audience, or set it to \"off\"",
            ),
            ApiFault::NoTokenKey => {
                f.write_str("needs a key that verifies the tokens: add [[auth.keys]] or auth.jwks_url")
            }
        }
    }
}

const OPEN_TO_PAGES: &str =
    "\"*\" would let every web page read and write while auth is off; name the origins, or configure auth";

const OWN_NAME: &str = "\"gateway\" is the name of this process in reports: choose another name";

const UNENCRYPTED: &str = "would cross the network unencrypted, where the keys can be replaced and the secret be read: use \
                           https, or set server.insecure_ok if every network on the way is trusted";

const DISK_OF_SERVER: &str = "does not work with PostgreSQL, because a client of the database cannot see the free space of its disk: \
                              remove it, set retention.bytes, and watch the disk of the server";

fn write_material(f: &mut fmt::Formatter<'_>, expected: &str, found: &[&str]) -> fmt::Result {
    if found.is_empty() {
        write!(f, "has no key: give {expected}")
    } else {
        write!(f, "has {}: give exactly {expected}", found.join(" and "))
    }
}
