//! The server's half of the opening handshake (RFC 6455 section 4.2), without I/O.
//!
//! A browser shows its user nothing of a refused handshake, neither status nor body. So what a page may do
//! wrong with good will (a bad token, another version of the protocol) is carried into the session, which
//! can say it; only what is no handshake, or comes from a stranger's page, is refused here.

use crate::wire::fault::{Handshake, HttpFault};
use crate::wire::fields::{self, Field, Fields};
use crate::wire::origin::{HostRule, Scheme, admits_origin};
use crate::wire::request::{Head, Route, Version};
use std::str::from_utf8;

/// The subprotocol this server speaks.
pub const SUBPROTOCOL: &str = "seawall.v1";
/// Before the version in a subprotocol's name.
const VERSION_PREFIX: &str = "seawall.v";
/// Before the token in a subprotocol that carries one.
const TOKEN_PREFIX: &str = "seawall.token.";

/// Who may open a connection.
#[derive(Clone, Copy, Debug)]
pub struct UpgradePolicy<'a> {
    /// `server.origins`: pages of other sites that may.
    pub origins: &'a [String],
    /// Which hosts are answered to.
    pub hosts: HostRule<'a>,
    /// How the peer reached us.
    pub scheme: Scheme,
}

/// A handshake to be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// `Sec-WebSocket-Accept`: 28 bytes of base64.
    pub accept: String,
    /// Which version of the protocol the client wants.
    pub version: Offered<'a>,
    /// The token the upgrade carried, unchecked; `connect` may still bring one.
    pub token: Option<&'a str>,
}

/// What the client's subprotocols say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered<'a> {
    /// `seawall.v1`, which is echoed.
    V1Named,
    /// None: v1, and nothing is echoed. Always so on `/echo`.
    NotNamed,
    /// Another `seawall.v…`: echoed, so that the session can say `bye` and close with 4505.
    Unsupported(&'a str),
}

/// Whether the routes that show chat (`/`, `/ws`, `/echo`) answer to this head's host.
pub fn admit_host(head: &Head<'_>, hosts: HostRule<'_>) -> Result<(), HttpFault> {
    if hosts.admits(head.host) { Ok(()) } else { Err(HttpFault::HostForbidden) }
}

/// Checks a request to `/ws` or `/echo`; any other route is refused.
///
/// Includes [`Head::serve`] and [`admit_host`]: nothing else need be asked of the head.
pub fn check<'a>(head: &Head<'a>, policy: &UpgradePolicy<'_>) -> Result<Upgrade<'a>, HttpFault> {
    head.serve()?;
    admit_host(head, policy.hosts)?;
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
    check_origin(head, policy)?;
    let (version, token) = match head.route {
        Route::Ws => chat(head)?,
        Route::Echo => (Offered::NotNamed, None),
        Route::Page(_)
        | Route::Health
        | Route::Live
        | Route::Ready
        | Route::Dependencies
        | Route::Metrics
        | Route::Unknown => return Err(HttpFault::UnknownPath),
    };
    Ok(Upgrade { accept: tungstenite::handshake::derive_accept_key(key), version, token })
}

/// The key: 16 bytes in base64. Its last character may have any low bits, as in RFC 6455's own example
/// (section 4.1), so it is checked by shape.
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

/// No `Origin` is no browser: those are kept out by tokens, not by this.
fn check_origin(head: &Head<'_>, policy: &UpgradePolicy<'_>) -> Result<(), HttpFault> {
    match head.fields.origin {
        Field::Absent => Ok(()),
        Field::Once(origin) if admits_origin(origin, head.host, policy.origins, policy.scheme) => Ok(()),
        Field::Once(_) => Err(HttpFault::OriginForbidden),
        Field::Repeated => Err(HttpFault::Handshake(Handshake::OriginRepeated)),
    }
}

/// Version and token of a chat connection.
fn chat<'a>(head: &Head<'a>) -> Result<(Offered<'a>, Option<&'a str>), HttpFault> {
    let mut offer = Offer::default();
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

/// `Authorization: Bearer …` (RFC 6750 section 2.1). Another scheme is somebody else's: a proxy's password, say.
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

/// The subprotocols seen so far.
#[derive(Default)]
struct Offer<'a> {
    v1: bool,
    other: Option<&'a str>,
    token: Option<&'a str>,
}

impl<'a> Offer<'a> {
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

    fn version(&self, field: Field<'_>) -> Result<Offered<'a>, HttpFault> {
        match (self.v1, self.other) {
            (true, _) => Ok(Offered::V1Named),
            (false, Some(other)) => Ok(Offered::Unsupported(other)),
            (false, None) if field.is_absent() => Ok(Offered::NotNamed),
            (false, None) => Err(HttpFault::Handshake(Handshake::SubprotocolUnknown)),
        }
    }
}

#[cfg(test)]
mod tests;
