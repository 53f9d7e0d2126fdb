//! A failure of a look before it becomes a cause: its kind and its text.
//!
//! It travels inside `std::io::Error` through libraries that know no other error, and is taken out again on the other side.

use crate::health::finding::{Cause, Fault};
use rustls::CertificateError;
use std::io;
use std::net::IpAddr;
use zeroize::Zeroizing;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub fault: Fault,
    pub text: String,
}

impl Trouble {
    pub(crate) fn new(fault: Fault, text: impl Into<String>) -> Trouble {
        Trouble { fault, text: text.into() }
    }

    /// The trouble behind an error met while doing `what`, as in "no answer from db:5432".
    pub(crate) fn of_io(what: &str, error: &io::Error) -> Trouble {
        use io::ErrorKind as K;
        if let Some(inside) = error.get_ref() {
            if let Some(trouble) = inside.downcast_ref::<Trouble>() {
                return trouble.clone();
            }
            if let Some(tls) = inside.downcast_ref::<rustls::Error>() {
                let text = format!("TLS with {what} failed: {tls}{}", advice(tls));
                return Trouble::new(Fault::Tls, text);
            }
        }
        match error.kind() {
            K::TimedOut | K::WouldBlock => {
                Trouble::new(Fault::Timeout, format!("no answer from {what} in time"))
            }
            K::ConnectionRefused | K::NotFound => {
                Trouble::new(Fault::Refused, format!("{what} refuses the connection: {error}"))
            }
            K::HostUnreachable
            | K::NetworkUnreachable
            | K::NetworkDown
            | K::AddrNotAvailable
            | K::PermissionDenied => {
                Trouble::new(Fault::Unreachable, format!("{what} cannot be reached: {error}"))
            }
            K::ConnectionReset
            | K::ConnectionAborted
            | K::BrokenPipe
            | K::UnexpectedEof
            | K::NotConnected => {
                Trouble::new(Fault::Reset, format!("{what} ended the connection in the middle of a call"))
            }
            K::InvalidData | K::InvalidInput => {
                Trouble::new(Fault::Protocol, format!("{what} answers with something else: {error}"))
            }
            _ => Trouble::new(Fault::Internal, format!("{what}: {error}")),
        }
    }

    /// The connection cannot leave from the configured address.
    pub(crate) fn of_source(source: IpAddr, error: &io::Error) -> Trouble {
        let text = match error.kind() {
            io::ErrorKind::AddrNotAvailable => format!(
                "cannot leave from {source}, which is no address of this machine: set server.source_address to one that is, or to nothing"
            ),
            _ => format!("cannot leave from {source} (server.source_address): {error}"),
        };
        Trouble::new(Fault::Unreachable, text)
    }

    /// All addresses of the peer are of another family than the source address.
    pub(crate) fn no_route(what: &str) -> Trouble {
        let text = format!("{what} has no address of the family (IPv4 or IPv6) of server.source_address");
        Trouble::new(Fault::Unreachable, text)
    }

    /// A PostgreSQL server has no TLS, and the address requires it.
    pub(crate) fn no_tls(what: &str) -> Trouble {
        let text = format!(
            "{what} speaks no TLS, and sslmode demands it: set ssl=on and a certificate on the server, or sslmode=prefer or disable in the address"
        );
        Trouble::new(Fault::Tls, text)
    }

    /// Wraps it for a library that passes on only `io::Error`.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match self.fault {
            Fault::Timeout => io::ErrorKind::TimedOut,
            Fault::Reset => io::ErrorKind::ConnectionReset,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// Adds the advice for its kind. Any part of `secrets` in the text is masked, because a server may echo what it was sent.
    pub(crate) fn into_cause(self, look_at: &'static str, secrets: &[Zeroizing<String>]) -> Cause {
        let mut text: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret.as_str(), "***");
        }
        Cause::new(self.fault, text, look_at)
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Trouble {}

/// Advice about a rejected certificate; empty if the error says it all.
fn advice(error: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(error) = error else { return "" };
    match error {
        CertificateError::UnknownIssuer => "; name the file of the authority that signed it",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "; connect by a name that is in it (subjectAltName), or give the server one with this name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "; give the server a new one, and look at this machine's clock"
        }
        // An error of webpki that rustls has no name for.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "; give the server a certificate of its own (CA:FALSE), signed by the authority"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_survives_inside_an_io_error() {
        for fault in [Fault::Timeout, Fault::Tls, Fault::Reset] {
            let trouble = Trouble::new(fault, "words");
            assert_eq!(Trouble::of_io("x", &trouble.clone().into_io()), trouble);
        }
    }

    #[test]
    fn secret_echoed_by_a_server_is_masked() {
        let trouble = Trouble::new(Fault::Protocol, "what is\n'hunter2'?");
        let cause = trouble.into_cause("", &[Zeroizing::new("hunter2".into()), Zeroizing::default()]);
        assert_eq!(cause.text, "what is '***'?");
    }
}
