//! What is wrong with a configuration, said so that it can be put right without looking anything up.
//!
//! No fault holds a secret: [`Setting::write`](super::setting::Setting::write) hides the value before a
//! fault is made of it, and a syntax error carries no source text.

use super::certificate::CertificateFault;
use super::source::Origin;
use crate::auth::key::KeyProblem;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Everything that is wrong, in the order it was read: file, variables, flags, contradictions.
#[derive(Debug)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// Where it was said.
    pub origin: Origin,
    /// The key, as `limits.frame_bytes`; empty when the fault is the file's or the variable's as a whole.
    pub key: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug)]
pub enum Fault {
    /// The value is of the wrong type, outside its bounds, or no such word.
    NotAccepted {
        /// The value as it was given, shortened; secrets are hidden.
        value: String,
        /// What is accepted, with bounds.
        expected: String,
    },
    /// No setting has this name.
    Unknown {
        /// The name that was probably meant, in the form of its origin.
        nearest: Option<String>,
    },
    /// A section's name stands for a value.
    NotASection,
    /// It cannot be given in a variable.
    OnlyInFile,
    /// The text is no TOML.
    Syntax {
        /// What the parser says, without the source.
        message: String,
        /// Counted from 1, in characters.
        column: usize,
    },
    /// A file could not be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A variable's value is not UTF-8.
    NotUtf8,
    /// Smaller than another setting that it must hold.
    Below {
        /// Its value.
        value: u64,
        /// The other setting.
        other: &'static str,
        /// The other's value.
        other_value: u64,
        /// Where the other came from.
        other_origin: Origin,
        /// Why they belong together.
        reason: &'static str,
    },
    /// A certificate, or its key, cannot be used.
    Certificate(CertificateFault),
    /// Earlier than what has to come before it.
    TooEarly {
        /// Its value.
        value: u64,
        /// The least value.
        least: u64,
        /// What that is made of: names of settings.
        sum: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Auth is off and the address is not loopback.
    OpenToNetwork {
        /// The address.
        listen: String,
    },
    /// A PROXY header is required and nobody may send one.
    NobodyTrusted,
    /// A bus, and a store that only one instance can have.
    NobodyToReach,
    /// A successor is to take over, from a store that only one process can have.
    OneOwner,
    /// A check of tokens is configured, but no key.
    NoKey,
    /// Two keys have the same name.
    SameKid {
        /// The name.
        kid: String,
    },
    /// A value without which the rest means nothing.
    Missing {
        /// What is accepted.
        expected: String,
    },
    /// A key with no material, or with more than one.
    Material {
        /// What the algorithm takes.
        expected: &'static str,
        /// The keys that were given.
        found: Vec<&'static str>,
    },
    /// A private key where a public one belongs.
    PrivateKey,
    /// A key that its algorithm cannot be used with.
    UnusableKey(KeyProblem),
    /// Two dependencies have the same name.
    SameName {
        /// The name.
        name: String,
    },
    /// A dependency has the name that reports give this process.
    OwnName,
    /// Where it is, is said by a setting.
    SaidElsewhere {
        /// The setting.
        setting: &'static str,
    },
    /// It stands or falls with a setting that is not set.
    Needs {
        /// The setting.
        setting: &'static str,
    },
    /// It has no effect without another setting.
    NeedsSetting {
        /// The setting.
        setting: &'static str,
    },
    /// A dependency of this kind has no such key.
    NotOfKind {
        /// The kind.
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

impl Fault {
    /// The guilty value as TOML, where one value is guilty.
    fn value(&self) -> Option<String> {
        match self {
            Fault::NotAccepted { value, .. } => Some(value.clone()),
            Fault::Below { value, .. } | Fault::TooEarly { value, .. } => Some(value.to_string()),
            Fault::OpenToNetwork { listen } => Some(format!("\"{listen}\"")),
            Fault::Unknown { .. }
            | Fault::NotASection
            | Fault::OnlyInFile
            | Fault::Syntax { .. }
            | Fault::Unreadable { .. }
            | Fault::NotUtf8
            | Fault::Certificate(_)
            | Fault::NobodyTrusted
            | Fault::NobodyToReach
            | Fault::OneOwner
            | Fault::NoKey
            | Fault::SameKid { .. }
            | Fault::Missing { .. }
            | Fault::Material { .. }
            | Fault::PrivateKey
            | Fault::UnusableKey(_)
            | Fault::SameName { .. }
            | Fault::OwnName
            | Fault::SaidElsewhere { .. }
            | Fault::Needs { .. }
            | Fault::NeedsSetting { .. }
            | Fault::NotOfKind { .. } => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotAccepted { expected, .. } => write!(f, "must be {expected}"),
            Fault::Unknown { nearest: Some(nearest) } => write!(f, "unknown; did you mean {nearest}?"),
            Fault::Unknown { nearest: None } => {
                f.write_str("unknown; `seawall check-config` lists all that there is")
            }
            Fault::NotASection => f.write_str("is a section: write its keys under its name in brackets"),
            Fault::OnlyInFile => f.write_str(
                "does not fit in a variable: use [[auth.keys]] in a file, or SEAWALL_AUTH_SECRET for one HS256 key",
            ),
            Fault::Syntax { message, column } => write!(f, "column {column}: {message}"),
            Fault::Unreadable { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Fault::Certificate(fault) => fault.fmt(f),
            Fault::NotUtf8 => f.write_str("its value is not UTF-8"),
            Fault::Below { other, other_value, other_origin, reason, .. } => {
                write!(f, "must be at least {other} = {other_value} ({other_origin}), {reason}")
            }
            Fault::TooEarly { least, sum, reason, .. } => {
                write!(f, "must be at least {least} ({sum}), {reason}")
            }
            Fault::OpenToNetwork { .. } => f.write_str(
                "auth is off, so whoever reaches this address could read and write everything: \
                 configure a key ([[auth.keys]], or SEAWALL_AUTH_SECRET) or an auth service (auth.introspection_url, \
                 auth.jwks_url), or listen on loopback (127.0.0.1 or [::1])",
            ),
            Fault::NobodyTrusted => f.write_str(
                "needs server.trusted_proxies: name the networks whose PROXY headers are believed, \
                 or set server.proxy_protocol to \"off\"",
            ),
            Fault::NobodyToReach => f.write_str(
                "has no effect with the embedded store, which has one instance: set store.url to a PostgreSQL database that all \
                 instances share, or remove it",
            ),
            Fault::OneOwner => f.write_str(
                "needs PostgreSQL as the store (store.url): the embedded store has one owner, so a successor can only start \
                 when this process has left; set it to false",
            ),
            Fault::NoKey => f.write_str(
                "has no effect, since auth is off without a key: add [[auth.keys]], auth.secret, auth.jwks_url or \
                 auth.introspection_url, or remove it",
            ),
            Fault::SameKid { kid } => write!(f, "another key already has kid \"{kid}\": give each its own"),
            Fault::Missing { expected } => write!(f, "is missing: must be {expected}"),
            Fault::Material { expected, found } if found.is_empty() => write!(f, "has no key: give {expected}"),
            Fault::Material { expected, found } => {
                write!(f, "has {}: give exactly {expected}", found.join(" and "))
            }
            Fault::PrivateKey => f.write_str(
                "is a private key: give the public one; the private one belongs to who signs the tokens",
            ),
            Fault::UnusableKey(problem) => f.write_str(problem.text()),
            Fault::SameName { name } => {
                write!(f, "another dependency is already named \"{name}\": give each its own")
            }
            Fault::OwnName => {
                f.write_str("\"gateway\" is what reports call this process itself: give it another name")
            }
            Fault::SaidElsewhere { setting } => write!(f, "is said by {setting}: leave it out here"),
            Fault::Needs { setting } => {
                write!(f, "has no effect, since {setting} is not set: set it, or remove the table")
            }
            Fault::NeedsSetting { setting } => {
                write!(f, "has no effect without {setting}: set that as well, or remove this")
            }
            Fault::NotOfKind { kind } => write!(f, "is not for kind \"{kind}\": remove it"),
        }
    }
}
