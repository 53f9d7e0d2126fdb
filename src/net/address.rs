//! Addresses of Redis, HTTP and TCP services, read from text.
//!
//! An address may carry a password. No error of this file repeats one.

use super::peer::PeerAddress;
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use url::Url;

/// The reason why an address is invalid, and what to write instead. It never repeats the address, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError(String);

impl std::fmt::Display for TargetError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TargetError {}

pub(super) fn error<T>(text: impl Into<String>) -> Result<T, TargetError> {
    Err(TargetError(text.into()))
}

#[derive(Clone)]
pub(crate) struct RedisTarget {
    pub(crate) peer: PeerAddress,
    pub(crate) tls: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
}

#[derive(Clone)]
pub(crate) struct HttpTarget {
    /// Without user and password.
    pub(crate) url: Url,
    pub(crate) peer: PeerAddress,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) expect: Expect,
}

impl HttpTarget {
    /// See [`Target::is_exposed`](super::target::Target::is_exposed).
    pub(crate) fn is_exposed(&self) -> bool {
        self.url.scheme() != "https" && !self.peer.is_local()
    }
}

/// The answer that an HTTP service must give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// The expected status; any 2xx if absent.
    pub status: Option<u16>,
    /// A dotted path into a JSON body and the value expected there, as text: `("checks.0.state", "up")`.
    pub field: Option<(String, String)>,
}

pub(super) fn redis(address: &str) -> Result<(RedisTarget, Vec<String>), TargetError> {
    const FORM: &str =
        "a redis address is written redis://user:password@host:port/0, rediss:// for TLS, or unix:///path";
    let Ok(url) = Url::parse(address) else { return error(FORM) };
    let (user, password) = credentials(&url);
    let (peer, tls) = match (url.scheme(), url.host_str()) {
        ("unix" | "redis+unix", _) => (PeerAddress::Unix(PathBuf::from(decoded(url.path()))), None),
        ("redis", Some(host)) => {
            (PeerAddress::Tcp { host: host.into(), port: url.port().unwrap_or(6379) }, None)
        }
        ("rediss", Some(host)) => {
            (PeerAddress::Tcp { host: host.into(), port: url.port().unwrap_or(6379) }, Some(host.to_string()))
        }
        _ => return error(FORM),
    };
    let number = match &peer {
        PeerAddress::Unix(_) => "",
        PeerAddress::Tcp { .. } => url.path().trim_matches('/'),
    };
    let database = if number.is_empty() { Ok(0) } else { number.parse() };
    let Ok(database) = database else {
        return error("the path of a redis address is the number of a database: redis://host:6379/0");
    };
    if let Some((name, _)) = url.query_pairs().next() {
        return error(unknown_word(&name));
    }
    if url.fragment().is_some() {
        return error(
            "nothing may follow # in a redis address: certificates are always checked; leave it out",
        );
    }
    let secrets = password.clone().into_iter().collect();
    Ok((RedisTarget { peer, tls, user, password, database }, secrets))
}

/// The sentence about a parameter of a redis address; none is understood, and ignoring one could send a password unencrypted or
/// to another server.
fn unknown_word(name: &str) -> String {
    let remedy = match name {
        "ssl" | "tls" | "ssl_cert_reqs" => "write rediss:// for TLS; the certificate is always checked",
        "sentinel" | "sentinelMasterId" | "master" => {
            "name the server itself, because Sentinel is not supported"
        }
        "db" => "write the number of the database as the path: redis://host:6379/0",
        _ => "leave it out",
    };
    // A longer name could hold a part of a password.
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let shown = if plain && (1..=32).contains(&name.len()) { format!("`{name}`") } else { "(hidden)".into() };
    format!("the parameter {shown} is not understood: {remedy}")
}

pub(crate) fn http(address: &str) -> Result<(HttpTarget, Vec<String>), TargetError> {
    const FORM: &str = "an http address is written http://host:port/path or https://host/path";
    let Ok(mut url) = Url::parse(address) else { return error(FORM) };
    let (true, Some(host), Some(port)) =
        (matches!(url.scheme(), "http" | "https"), url.host_str(), url.port_or_known_default())
    else {
        return error(FORM);
    };
    let peer = PeerAddress::Tcp { host: host.to_string(), port };
    let (user, password) = credentials(&url);
    // A key is often in the query.
    let secrets = password.clone().into_iter().chain(url.query_pairs().map(|(_, value)| value.into_owned()));
    let secrets = secrets.filter(|secret| secret.len() >= SECRET_BYTES_MIN).collect();
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    if cleared.is_err() {
        return error(FORM);
    }
    url.set_fragment(None);
    let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
    Ok((HttpTarget { url, peer, user, password, expect: Expect::default() }, secrets))
}

/// A query value shorter than this is not treated as a secret, because masking it would mutilate the text around it.
const SECRET_BYTES_MIN: usize = 6;

/// The peer, and the name its certificate must be valid for if the address asks for TLS.
pub(super) fn tcp(address: &str) -> Result<(PeerAddress, Option<String>), TargetError> {
    const FORM: &str =
        "a tcp address is written host:port, or tls://host:port to check the certificate as well";
    let (rest, tls) = match address.split_once("://") {
        None => (address, false),
        Some(("tcp", rest)) => (rest, false),
        Some(("tls", rest)) => (rest, true),
        Some(_) => return error(FORM),
    };
    let Some((host, Ok(port))) = rest.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) else {
        return error(FORM);
    };
    if host.is_empty() || host.contains(['/', '@']) {
        return error(FORM);
    }
    let peer = PeerAddress::Tcp { host: host.into(), port };
    Ok((peer, tls.then(|| host.to_string())))
}

fn credentials(url: &Url) -> (Option<String>, Option<String>) {
    let user = (!url.username().is_empty()).then(|| decoded(url.username()));
    (user, url.password().map(decoded))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_of_a_redis_address_is_named_with_a_remedy() {
        let fault = |address: &str| redis(address).map(drop).expect_err(address).to_string();
        for (address, words) in [
            ("redis://h?ssl=true", "the parameter `ssl` is not understood: write rediss://"),
            ("redis://h:6379?sentinel=mymaster", "Sentinel is not supported"),
            ("redis://h/0?protocol=resp3", "the parameter `protocol` is not understood: leave it out"),
            ("redis://h?db=1", "as the path"),
            ("rediss://h/#insecure", "certificates are always checked"),
            ("redis://h/abc", "the number of a database"),
            ("redis://n1:6379,n2:6379", "is written"),
            ("redis://h?hunter2%20hunter2=1", "(hidden)"),
        ] {
            assert!(fault(address).contains(words), "{address}: {}", fault(address));
        }
        assert!(redis("rediss://default:pw@h:6380/2").is_ok());
    }
}
