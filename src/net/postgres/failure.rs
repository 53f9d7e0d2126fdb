//! The errors of a call.

use crate::health::finding::Fault;
use crate::net::trouble::Trouble;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::ErrorResponseBody;

/// An error that the server reports.
#[derive(Clone, Debug, Default)]
pub struct ServerError {
    /// `ERROR` rolls the transaction back; any other severity ends the connection.
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    pub message: String,
}

impl ServerError {
    pub(super) fn of(body: &ErrorResponseBody) -> ServerError {
        let mut error = ServerError::default();
        let mut fields = body.fields();
        while let Ok(Some(field)) = fields.next() {
            let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => error.code = text(),
                b'M' => error.message = text(),
                // Localized; `V` is the same in English, sent by servers since 9.6.
                b'S' if error.severity.is_empty() => error.severity = text(),
                b'V' => error.severity = text(),
                _ => {}
            }
        }
        error
    }

    /// A value that cannot be encoded, reported as `invalid_parameter_value`. Nothing was sent to the server.
    pub(super) fn of_value(error: &dyn std::fmt::Display) -> ServerError {
        let message = format!("a parameter cannot be encoded: {error}");
        ServerError { severity: "ERROR".into(), code: "22023".into(), message }
    }

    /// The kind of fault, by SQLSTATE (PostgreSQL documentation, appendix A).
    pub fn fault(&self) -> Fault {
        match (self.code.get(..2).unwrap_or_default(), self.code.as_str()) {
            (_, "53100") => Fault::DiskFull,
            (_, "53200") => Fault::MemoryFull,
            (_, "53300") => Fault::ConnectionLimit,
            (_, "57P01" | "57P02" | "57P03") => Fault::NotReady,
            (_, "57014" | "55P03") => Fault::Timeout,
            (_, "25006") => Fault::ReadOnly,
            (_, "3D000" | "57P04") | ("3F" | "42", _) => Fault::Schema,
            (_, "08P01") => Fault::Protocol,
            // Idle for longer than the server allows, or connection lost.
            (_, "57P05") | ("08", _) => Fault::Reset,
            ("28", _) => Fault::Credentials,
            (_, _) => Fault::Internal,
        }
    }

    /// True exactly when the transaction is rolled back and the connection survives.
    pub fn is_of_statement(&self) -> bool {
        self.severity == "ERROR"
    }
}

/// The failure of a call.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The server reported an error.
    Server(ServerError),
    /// The connection failed, or an answer broke the protocol.
    Line(Trouble),
}

impl Failure {
    /// True exactly when the deadline passed without an answer.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Failure::Line(Trouble { fault: Fault::Timeout, .. }))
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Line(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_the_server_are_told_apart_by_their_code() {
        for (code, fault) in [
            ("53100", Fault::DiskFull),
            ("53300", Fault::ConnectionLimit),
            ("57P03", Fault::NotReady),
            ("57014", Fault::Timeout),
            ("25006", Fault::ReadOnly),
            ("28P01", Fault::Credentials),
            ("08006", Fault::Reset),
            ("42501", Fault::Schema),
            ("3D000", Fault::Schema),
            ("58030", Fault::Internal),
            ("", Fault::Internal),
        ] {
            assert_eq!(ServerError { code: code.into(), ..ServerError::default() }.fault(), fault, "{code}");
        }
    }
}
