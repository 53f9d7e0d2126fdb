//! Addresses of channels: over TLS, except to this machine.

use crate::net::address::http;
use crate::net::peer::PeerAddress;

/// An address that may be used.
#[derive(Debug)]
pub struct NoticeAddress {
    pub(super) url: String,
    pub(super) peer: PeerAddress,
}

/// Why an address is refused. It does not repeat the address, which is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeAddressFault {
    /// It is no address of an HTTP service.
    Form,
    /// It would cross a network unencrypted.
    Exposed,
    /// It leads to the metadata service of a cloud.
    Metadata,
}

impl NoticeAddressFault {
    pub const fn as_str(self) -> &'static str {
        match self {
            NoticeAddressFault::Form => {
                "write it like https://host/path, without user, blanks and backslashes"
            }
            NoticeAddressFault::Exposed => {
                "use https://, because notices cross the network; http:// is for this machine alone"
            }
            NoticeAddressFault::Metadata => {
                "it leads to the metadata service of a cloud, which takes no notices"
            }
        }
    }
}

/// Names of metadata services.
const METADATA: [&str; 3] = ["metadata.google.internal", "metadata", "instance-data"];

/// Reads an address. Resolves no name and opens nothing.
pub fn parse(text: &str) -> Result<NoticeAddress, NoticeAddressFault> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let (target, _) = http(text).map_err(|_| NoticeAddressFault::Form)?;
    if !is_plain || !target.user.is_empty() || !target.password.is_empty() {
        return Err(NoticeAddressFault::Form);
    }
    if target.is_exposed() {
        return Err(NoticeAddressFault::Exposed);
    }
    let host = target.url.host_str().unwrap_or_default().trim_end_matches('.');
    if METADATA.contains(&host) {
        return Err(NoticeAddressFault::Metadata);
    }
    Ok(NoticeAddress { url: target.url.to_string(), peer: target.peer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_without_encryption_is_for_this_machine_alone() {
        for right in
            ["https://hooks.example/T/B/x", "http://127.0.0.1:9/", "http://localhost/x", "http://[::1]:1/"]
        {
            assert!(parse(right).is_ok(), "{right}");
        }
        for (wrong, fault) in [
            ("http://hooks.example/x", NoticeAddressFault::Exposed),
            ("http://10.0.0.7/x", NoticeAddressFault::Exposed),
            ("https://", NoticeAddressFault::Form),
            ("https:\\\\hooks.example", NoticeAddressFault::Form),
            ("https://hooks.example/a b", NoticeAddressFault::Form),
            ("https://user:password@hooks.example/", NoticeAddressFault::Form),
            ("hooks.example", NoticeAddressFault::Form),
            ("", NoticeAddressFault::Form),
            ("https://metadata.google.internal/x", NoticeAddressFault::Metadata),
        ] {
            assert_eq!(parse(wrong).err(), Some(fault), "{wrong}");
        }
    }
}
