//! Addresses of HTTP and TCP services, read from text, and what all addresses share.
//!
//! An address may carry a password. No error of this file repeats one.

use super::peer::PeerAddress;
use percent_encoding::percent_decode_str;
use url::Url;
use zeroize::Zeroizing;

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
pub(crate) struct HttpTarget {
    /// Without user and password.
    pub(crate) url: Url,
    pub(crate) peer: PeerAddress,
    pub(crate) user: String,
    pub(crate) password: Zeroizing<String>,
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

pub(crate) fn http(address: &str) -> Result<(HttpTarget, Vec<Zeroizing<String>>), TargetError> {
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
    let secrets = password
        .clone()
        .into_iter()
        .chain(url.query_pairs().map(|(_, value)| Zeroizing::new(value.into_owned())));
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

pub(super) fn credentials(url: &Url) -> (Option<String>, Option<Zeroizing<String>>) {
    let user = (!url.username().is_empty()).then(|| decoded(url.username()));
    (user, url.password().map(|password| Zeroizing::new(decoded(password))))
}

pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
