//! The part of an address that names several servers: Sentinels, or nodes of a cluster. The crate `url` knows no such address.
//!
//! No error of this file repeats a part of the address: it may be a part of a password.

use super::server::{RedisLogin, RedisServer};
use crate::net::address::{TargetError, decoded, error};
use crate::net::peer::PeerAddress;
use std::net::Ipv6Addr;
use zeroize::Zeroizing;

/// The most servers of an address.
pub(super) const HOSTS_MAX: usize = 16;

pub(super) const NO_FRAGMENT: &str =
    "nothing may follow # in a redis address: certificates are always checked; leave it out";

/// The words of errors about one kind of servers.
pub(super) struct HostKind {
    noun: &'static str,
    /// The form of an address.
    pub(super) form: &'static str,
    /// The port that may be left out.
    port: &'static str,
}

pub(super) const SENTINEL: HostKind = HostKind {
    noun: "Sentinel",
    form: "redis+sentinel://user:password@host:26379,host:26379/MASTER/0",
    port: "26379",
};
pub(super) const CLUSTER: HostKind =
    HostKind { noun: "node", form: "redis+cluster://user:password@host:6379,host:6379", port: "6379" };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostTls {
    Off,
    On,
}

impl HostTls {
    /// A server; with TLS its certificate must be valid for the host.
    pub(super) fn server(self, host: String, port: u16) -> RedisServer {
        let tls = (self == HostTls::On).then(|| host.clone());
        RedisServer { peer: PeerAddress::Tcp { host, port }, tls }
    }
}

/// The parts of an address behind its scheme, not yet decoded.
pub(super) struct SeveralHosts<'a> {
    pub(super) login: &'a str,
    pub(super) hosts: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

impl SeveralHosts<'_> {
    pub(super) fn split(rest: &str) -> Result<SeveralHosts<'_>, TargetError> {
        if rest.contains('#') {
            return error(NO_FRAGMENT);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        Ok(SeveralHosts { login, hosts, path, query })
    }
}

pub(super) fn login_of(text: &str) -> RedisLogin {
    let (user, password) = text.split_once(':').map_or((text, None), |(user, word)| (user, Some(word)));
    let password = password.map(|password| Zeroizing::new(decoded(password)));
    RedisLogin { user: (!user.is_empty()).then(|| decoded(user)), password }
}

pub(super) fn servers(hosts: &str, kind: &HostKind, tls: HostTls) -> Result<Vec<RedisServer>, TargetError> {
    let count = hosts.split(',').count();
    if count > HOSTS_MAX {
        let noun = kind.noun;
        return error(format!("the address names {count} {noun}s; {HOSTS_MAX} are the most: name fewer"));
    }
    hosts.split(',').enumerate().map(|(index, text)| server(text, index + 1, kind, tls)).collect()
}

/// One server, the `number`th of the address.
fn server(text: &str, number: usize, kind: &HostKind, tls: HostTls) -> Result<RedisServer, TargetError> {
    let HostKind { noun, form, port: usual } = kind;
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => {
            (format!("[{host}]"), port.strip_prefix(':').or(port.is_empty().then_some(*usual)))
        }
        Some(_) => (String::new(), None),
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, usual));
            (host.to_owned(), Some(port))
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return error(format!("{noun} {number} of the address has no valid host; write {form}"));
    }
    let Some(port) = port.and_then(|port| port.parse().ok()).filter(|port| *port > 0) else {
        return error(format!(
            "the port of {noun} {number} of the address must be a number from 1 to 65535; write {form}"
        ));
    };
    Ok(tls.server(host, port))
}
