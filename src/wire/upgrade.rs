//! The server's half of the opening handshake (RFC 6455 section 4.2), without I/O.
//!
//! A browser shows nothing of a refused handshake, neither status nor body. So faults of a well-meaning page (a bad
//! token, another version of the protocol, a site that is not configured) are carried past the upgrade, where a `bye` can
//! report them. Only a request that is not a valid handshake is refused here.

use crate::wire::fault::{Handshake, HttpFault};
use crate::wire::fields::{self, Field, Fields};
use crate::wire::origin::{HostRule, Scheme, admits_origin};
use crate::wire::request::{Head, Route, Version};
use std::str::from_utf8;

/// The subprotocol that this server supports.
pub const SUBPROTOCOL: &str = "seawall.v1";
/// The prefix of a subprotocol's version.
const VERSION_PREFIX: &str = "seawall.v";
/// The prefix of a subprotocol that carries a token.
const TOKEN_PREFIX: &str = "seawall.token.";

/// The rules for opening a connection.
#[derive(Clone, Copy, Debug)]
pub struct UpgradePolicy<'a> {
    /// `server.origins`: the origins of other sites whose pages may connect.
    pub origins: &'a [String],
    pub hosts: HostRule<'a>,
    pub scheme: Scheme,
}

/// A valid handshake, to be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// `Sec-WebSocket-Accept`: 28 bytes of base64.
    pub accept: String,
    /// The version of the protocol that the client wants.
    pub version: OfferedVersion<'a>,
    /// The token of the upgrade request, unchecked; otherwise `connect` may carry one.
    pub token: Option<&'a str>,
    pub site: Site<'a>,
}

/// The site of the page that asks for an upgrade, as `Host` and `Origin` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site<'a> {
    Admitted,
    /// The upgrade is completed only to say that this gateway does not answer to the `Host`.
    ForeignHost,
    /// The upgrade is completed only to say that pages of this origin may not connect.
    ForeignOrigin(&'a [u8]),
}

/// The protocol version among the client's subprotocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferedVersion<'a> {
    /// `seawall.v1`, which is echoed.
    V1Named,
    /// No subprotocol: v1, and nothing is echoed. Always the case on `/echo`.
    NotNamed,
    /// Another `seawall.v…`, which is echoed so that the session can send `bye` and close with 4505.
    Unsupported(&'a str),
}

/// Checks the host of a request for the routes that expose chat: `/`, `/ws` and `/echo`.
pub fn admit_host(head: &Head<'_>, hosts: HostRule<'_>) -> Result<(), HttpFault> {
    if hosts.admits(head.host) { Ok(()) } else { Err(HttpFault::HostForbidden) }
}

/// Checks a request to `/ws` or `/echo`; any other route is refused.
///
/// Includes the checks of [`Head::serve`] and [`admit_host`].
pub fn check<'a>(head: &Head<'a>, policy: &UpgradePolicy<'_>) -> Result<Upgrade<'a>, HttpFault> {
    head.serve()?;
    let host = admit_host(head, policy.hosts);
    // The host comes first: a page that came by another name learns of no other fault.
    let upgrade = handshake(head, policy).map_err(|fault| host.err().unwrap_or(fault))?;
    Ok(if host.is_err() { Upgrade { site: Site::ForeignHost, ..upgrade } } else { upgrade })
}

fn handshake<'a>(head: &Head<'a>, policy: &UpgradePolicy<'_>) -> Result<Upgrade<'a>, HttpFault> {
    let fields = &head.fields;
    // RFC 9110 section 7.8: Upgrade in HTTP/1.0 is ignored.
    if !fields.upgrade_websocket || head.version == Version::Http10 {
        return Err(HttpFault::UpgradeRequired);
    }
    if !fields.connection_upgrade {
        return Err(HttpFault::Handshake(Handshake::Connection));
    }
    match fields.version {
        Field::Once(b"13") => {}
        Field::Once(_) => return Err(HttpFault::UpgradeVersion),
        Field::Absent => return Err(HttpFault::Handshake(Handshake::VersionMissing)),
        Field::Repeated => return Err(HttpFault::Handshake(Handshake::VersionRepeated)),
    }
    let key = key(fields)?;
    let site = site(head, policy)?;
    let (version, token) = match head.route {
        Route::Ws => chat(head)?,
        Route::Echo => (OfferedVersion::NotNamed, None),
        Route::Page(_)
        | Route::Health
        | Route::Live
        | Route::Ready
        | Route::Dependencies
        | Route::Metrics
        | Route::Unknown => return Err(HttpFault::UnknownPath),
    };
    Ok(Upgrade { accept: tungstenite::handshake::derive_accept_key(key), version, token, site })
}

/// The key: 16 bytes in base64. Its last digit may have any low bits, as in RFC 6455's own example (section 4.1), so
/// only its form is checked.
fn key<'a>(fields: &Fields<'a>) -> Result<&'a [u8], HttpFault> {
    let key = match fields.key {
        Field::Once(key) => key,
        Field::Absent => return Err(HttpFault::Handshake(Handshake::KeyMissing)),
        Field::Repeated => return Err(HttpFault::Handshake(Handshake::KeyRepeated)),
    };
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    match key.strip_suffix(b"==") {
        Some(digits) if digits.len() == 22 && digits.iter().all(digit) => Ok(key),
        Some(_) | None => Err(HttpFault::Handshake(Handshake::KeyInvalid)),
    }
}

/// A request without `Origin` is not from a browser; tokens protect against those.
fn site<'a>(head: &Head<'a>, policy: &UpgradePolicy<'_>) -> Result<Site<'a>, HttpFault> {
    match head.fields.origin {
        Field::Absent => Ok(Site::Admitted),
        Field::Once(origin) if admits_origin(origin, head.host, policy.origins, policy.scheme) => {
            Ok(Site::Admitted)
        }
        Field::Once(origin) => Ok(Site::ForeignOrigin(origin)),
        Field::Repeated => Err(HttpFault::Handshake(Handshake::OriginRepeated)),
    }
}

/// The version and the token of a chat connection.
fn chat<'a>(head: &Head<'a>) -> Result<(OfferedVersion<'a>, Option<&'a str>), HttpFault> {
    let mut offer = OfferedProtocols::default();
    match head.fields.protocol {
        Field::Absent => {}
        Field::Once(value) => offer.add(value)?,
        Field::Repeated => {
            for value in head.values("sec-websocket-protocol") {
                offer.add(value)?;
            }
        }
    }
    let bearer = bearer(head.fields.authorization)?;
    Ok((offer.version(head.fields.protocol)?, bearer.or(offer.token)))
}

/// The token of `Authorization: Bearer …` of a plain request, if it has a valid one.
pub fn bearer_of<'a>(head: &Head<'a>) -> Option<&'a str> {
    bearer(head.fields.authorization).ok().flatten()
}

/// The token of `Authorization: Bearer …` (RFC 6750 section 2.1). Other schemes are ignored, because they may be for
/// a proxy.
fn bearer(authorization: Field<'_>) -> Result<Option<&str>, HttpFault> {
    let value = match authorization {
        Field::Absent => return Ok(None),
        Field::Once(value) => value,
        Field::Repeated => return Err(HttpFault::Handshake(Handshake::AuthorizationRepeated)),
    };
    let (scheme, token) = value.split_at(value.iter().position(|b| *b == b' ').unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let token = token.trim_ascii();
    match from_utf8(token) {
        Ok(text) if token.iter().all(u8::is_ascii_graphic) => Ok(Some(text)),
        Ok(_) | Err(_) => Err(HttpFault::Handshake(Handshake::AuthorizationInvalid)),
    }
}

/// The subprotocols read so far.
#[derive(Default)]
struct OfferedProtocols<'a> {
    v1: bool,
    other: Option<&'a str>,
    token: Option<&'a str>,
}

impl<'a> OfferedProtocols<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), HttpFault> {
        let invalid = HttpFault::Handshake(Handshake::SubprotocolInvalid);
        for member in fields::members(line) {
            if !fields::is_token(member) {
                return Err(invalid);
            }
            let name = from_utf8(member).map_err(|_| invalid)?;
            if name == SUBPROTOCOL {
                self.v1 = true;
            } else if name.starts_with(VERSION_PREFIX) {
                self.other = self.other.or(Some(name));
            } else if let Some(token) = name.strip_prefix(TOKEN_PREFIX)
                && self.token.replace(token).is_some()
            {
                return Err(HttpFault::Handshake(Handshake::TokenRepeated));
            }
        }
        Ok(())
    }

    fn version(&self, field: Field<'_>) -> Result<OfferedVersion<'a>, HttpFault> {
        match (self.v1, self.other) {
            (true, _) => Ok(OfferedVersion::V1Named),
            (false, Some(other)) => Ok(OfferedVersion::Unsupported(other)),
            (false, None) if field.is_absent() => Ok(OfferedVersion::NotNamed),
            (false, None) => Err(HttpFault::Handshake(Handshake::SubprotocolUnknown)),
        }
    }
}

#[cfg(test)]
mod tests;
