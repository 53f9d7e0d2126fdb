//! What one look at a dependency found: a probe's result, or what work met. The probes write it, the health floor judges it.

use super::definition::Use;
use std::time::Duration;

/// Why a dependency did not do what it was asked. The kind is for judging and for metrics; the cause's words are for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing listens there, or it refuses the connection.
    Refused,
    /// The name does not resolve, or no route leads there.
    Unreachable,
    /// The connection ended in the middle of a call.
    Reset,
    /// No answer in time.
    Timeout,
    /// It speaks something else, or garbles it.
    Protocol,
    /// TLS failed: the certificate, the name or the version.
    Tls,
    /// It does not accept the credentials.
    Credentials,
    /// It is a standby or a replica: it reads only.
    Standby,
    /// It takes no writes by its configuration.
    ReadOnly,
    /// Its disk is full.
    DiskFull,
    /// Its memory is full.
    MemoryFull,
    /// It has no connection left for us.
    ConnectionLimit,
    /// It is starting, loading or stopping.
    NotReady,
    /// What we need in it is not there: a table, a right, a version.
    Schema,
    /// Commands work, but what is published does not arrive.
    Delivery,
    /// It answered with a status that is not the one expected.
    Status,
    /// It answered, but the field asked for is missing or not the one expected.
    Field,
    /// Any other error it reports of itself.
    Internal,
}

/// A fault in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The kind.
    pub fault: Fault,
    /// What happened, for the log and the admin listener: at most [`CAUSE_BYTES`]. It may name addresses; it is never shown to
    /// the public.
    pub text: String,
    /// What an operator looks at first, as a sentence.
    pub look_at: &'static str,
}

/// The longest text of a cause, in bytes: a server's error message is somebody else's and has no bound of its own.
pub const CAUSE_BYTES: usize = 300;

impl Cause {
    /// A cause whose text is cut to its bound, at a character's edge.
    pub fn new(fault: Fault, text: impl Into<String>, look_at: &'static str) -> Cause {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(CAUSE_BYTES));
        Cause { fault, text, look_at }
    }
}

/// What work met with a dependency, for whoever watches it.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A connection was made, or could not be, or was lost.
    Connection(Finding),
    /// A call of this use was answered, or the dependency failed it, and how long that took. What a client caused is no evidence.
    Call(Use, Result<(), Cause>, Duration),
}

/// One look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How long it took.
    pub latency: Duration,
    /// `Ok` may carry a warning that changes no state: connections nearly used up, a replica that lags.
    pub result: Result<Option<String>, Cause>,
}
