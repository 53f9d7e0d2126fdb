//! Faults of `[[relay]]`. None of them shows a secret.

use std::fmt;

/// A fault of a route, or of a route and other settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayFault {
    TooMany {
        most: usize,
    },
    SameName {
        name: String,
    },
    /// Every channel that it matches has an earlier route.
    Covered {
        by: String,
        pattern: String,
    },
    /// Not a secret, and no reference to one.
    Secret {
        /// Counted from 1.
        place: usize,
    },
    SameSecret {
        place: usize,
    },
    /// A secret is in a variable that is not set.
    NoVariable {
        name: String,
    },
    /// The address has a user or a password.
    UserInUrl,
    /// Answers are streams, and streams are off.
    StreamsOff,
    /// Only an answer has an end to wait for.
    SerialWithoutAnswers,
    /// Longer than a stream may last.
    AnswerTooLong {
        life_ms: u64,
    },
    /// Longer than publications are kept.
    GiveUpTooLong {
        age_ms: u64,
    },
    /// Requests at once of all routes together.
    TooManyAtOnce {
        most: u32,
    },
    /// The dependency is not one that calls are counted for.
    NotCalled {
        name: String,
    },
    /// Routes to different services share a dependency that has no table.
    TwoServices {
        name: String,
        other: String,
    },
}

impl fmt::Display for RelayFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelayFault::TooMany { most } => write!(f, "at most {most} routes: remove some"),
            RelayFault::SameName { name } => {
                write!(f, "another route is already named \"{name}\": give each its own name")
            }
            RelayFault::Covered { by, pattern } => write!(
                f,
                "no channel reaches this route, because route \"{by}\" with pattern \"{pattern}\" comes before it: move this one up, or \
                 remove it"
            ),
            RelayFault::Secret { place } => write!(
                f,
                "element {place} must be \"whsec_\" and 24 to 64 random bytes in base64, or name such a text as \"env:VARIABLE\" or \
                 \"file:PATH\""
            ),
            RelayFault::SameSecret { place } => {
                write!(f, "element {place} is the same secret as one before it: remove it")
            }
            RelayFault::NoVariable { name } => {
                write!(f, "the variable {name} is not set: set it, or name another with \"env:VARIABLE\"")
            }
            RelayFault::UserInUrl => f.write_str(
                "has a user or a password, which no request carries: remove it; the backend verifies the signature instead",
            ),
            RelayFault::StreamsOff => {
                f.write_str("needs streams, which answers are: set streams.enabled to true, or set answers to false")
            }
            RelayFault::SerialWithoutAnswers => {
                f.write_str("waits for the end of answers, and this route has none: set answers to true, or remove serial")
            }
            RelayFault::AnswerTooLong { life_ms } => write!(
                f,
                "must be at most {life_ms} (streams.life_ms), because no answer stays open longer: lower it, or raise streams.life_ms"
            ),
            RelayFault::GiveUpTooLong { age_ms } => write!(
                f,
                "must be at most {age_ms} (retention.age_ms), because an older question is deleted: lower it, or raise retention.age_ms"
            ),
            RelayFault::TooManyAtOnce { most } => {
                write!(f, "all routes together have more than {most} requests at once: lower concurrency")
            }
            RelayFault::NotCalled { name } => write!(
                f,
                "\"{name}\" cannot be the dependency of a route: name one of kind \"http\" or \"tcp\" that no other setting uses, or leave \
                 it out for one with the name of the route"
            ),
            RelayFault::TwoServices { name, other } => write!(
                f,
                "\"{name}\" has no table, and route \"{other}\" with another host uses it too: add a [[dependency]] named \"{name}\", or \
                 give each its own"
            ),
        }
    }
}
