//! Addresses of Redis, read from text: one server, or the Sentinels that know the master.
//!
//! An address may carry passwords. No error of this file repeats one.

use crate::net::address::{TargetError, credentials, decoded, error};
use crate::net::peer::PeerAddress;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

/// The timeout of one Sentinel.
pub(super) const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);
/// The most Sentinels of an address.
const SENTINELS_MAX: usize = 16;
/// The longest name of a master, in bytes.
const MASTER_BYTES_MAX: usize = 128;
/// The form of an address of Sentinels.
const SENTINEL_FORM: &str = "redis+sentinel://user:password@host:26379,host:26379/MASTER/0";

#[derive(Clone)]
pub(crate) struct RedisTarget {
    pub(super) place: RedisPlace,
    pub(super) login: RedisLogin,
    pub(super) database: u32,
}

/// Where the server is.
#[derive(Clone)]
pub(super) enum RedisPlace {
    Server(RedisServer),
    Sentinels(Sentinels),
}

#[derive(Clone)]
pub(super) struct RedisServer {
    pub(super) peer: PeerAddress,
    /// The name its certificate must be valid for; `None`: the connection is not encrypted.
    pub(super) tls: Option<String>,
}

#[derive(Clone)]
pub(super) struct RedisLogin {
    pub(super) user: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
}

/// The Sentinels that know where a master is.
#[derive(Clone)]
pub(super) struct Sentinels {
    /// 1 to [`SENTINELS_MAX`].
    pub(super) servers: Vec<RedisServer>,
    /// The name of the master, as the Sentinels know it.
    pub(super) master: String,
    pub(super) login: RedisLogin,
    /// The place of the Sentinel that named the master last. It is asked first, so that a silent one delays one dial only.
    pub(super) first: Arc<AtomicUsize>,
}

impl RedisTarget {
    /// The longest time that finding the server may add to a dial: that of all Sentinels.
    pub(crate) fn search_max(&self) -> Duration {
        match &self.place {
            RedisPlace::Server(_) => Duration::ZERO,
            RedisPlace::Sentinels(Sentinels { servers, .. }) => SENTINEL_TIMEOUT * servers.len() as u32,
        }
    }

    /// See [`Target::is_exposed`](crate::net::target::Target::is_exposed).
    pub(crate) fn is_exposed(&self) -> bool {
        self.servers().iter().any(|server| server.tls.is_none() && !server.peer.is_local())
    }

    fn servers(&self) -> &[RedisServer] {
        match &self.place {
            RedisPlace::Server(server) => std::slice::from_ref(server),
            RedisPlace::Sentinels(Sentinels { servers, .. }) => servers,
        }
    }
}

impl std::fmt::Display for RedisTarget {
    /// Without secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, server) in self.servers().iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(formatter, "{comma}{}", server.peer)?;
        }
        match &self.place {
            RedisPlace::Server(_) => Ok(()),
            RedisPlace::Sentinels(Sentinels { master, .. }) => write!(formatter, "/{master}"),
        }
    }
}

/// Reads an address. Returns its secrets as well.
pub(in crate::net) fn parse(address: &str) -> Result<(RedisTarget, Vec<Zeroizing<String>>), TargetError> {
    match address.split_once("://") {
        Some(("redis+sentinel", rest)) => sentinels(rest, SentinelTls::Off),
        Some(("rediss+sentinel", rest)) => sentinels(rest, SentinelTls::On),
        Some(_) | None => server(address),
    }
}

fn server(address: &str) -> Result<(RedisTarget, Vec<Zeroizing<String>>), TargetError> {
    const FORM: &str = "a redis address is written redis://user:password@host:port/0, rediss:// for TLS, unix:///path, or \
                        redis+sentinel://host:port,host:port/MASTER";
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
        return error(NO_FRAGMENT);
    }
    let secrets = password.clone().into_iter().collect();
    let place = RedisPlace::Server(RedisServer { peer, tls });
    Ok((RedisTarget { place, login: RedisLogin { user, password }, database }, secrets))
}

const NO_FRAGMENT: &str =
    "nothing may follow # in a redis address: certificates are always checked; leave it out";

/// The sentence about a parameter of a redis address that is not understood: ignoring one could send a password unencrypted or
/// to another server.
fn unknown_word(name: &str) -> String {
    let remedy = match name {
        "ssl" | "tls" | "ssl_cert_reqs" => "write rediss:// for TLS; the certificate is always checked",
        "sentinel" | "sentinelMasterId" | "master" => {
            "name the Sentinels and the master: redis+sentinel://host:26379/MASTER"
        }
        "db" => "write the number of the database as the path: redis://host:6379/0",
        _ => "leave it out",
    };
    // A longer name could hold a part of a password.
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let shown = if plain && (1..=32).contains(&name.len()) { format!("`{name}`") } else { "(hidden)".into() };
    format!("the parameter {shown} is not understood: {remedy}")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SentinelTls {
    Off,
    On,
}

/// Reads what follows `redis+sentinel://`. The crate `url` knows no address with several hosts.
fn sentinels(rest: &str, tls: SentinelTls) -> Result<(RedisTarget, Vec<Zeroizing<String>>), TargetError> {
    let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, after)| (rest, Some(after)));
    if fragment.is_some() {
        return error(NO_FRAGMENT);
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    let login = login_of(login.unwrap_or_default());
    let servers = servers(hosts, tls)?;
    let (master, database) = master(path)?;
    let sentinel_login = sentinel_login(query)?;
    let secrets = [&login.password, &sentinel_login.password].into_iter().flatten().cloned().collect();
    let place =
        RedisPlace::Sentinels(Sentinels { servers, master, login: sentinel_login, first: Arc::default() });
    Ok((RedisTarget { place, login, database }, secrets))
}

fn login_of(text: &str) -> RedisLogin {
    let (user, password) = text.split_once(':').map_or((text, None), |(user, word)| (user, Some(word)));
    let password = password.map(|password| Zeroizing::new(decoded(password)));
    RedisLogin { user: (!user.is_empty()).then(|| decoded(user)), password }
}

fn servers(hosts: &str, tls: SentinelTls) -> Result<Vec<RedisServer>, TargetError> {
    let count = hosts.split(',').count();
    if count > SENTINELS_MAX {
        return error(format!(
            "the address names {count} Sentinels; {SENTINELS_MAX} are the most: name fewer"
        ));
    }
    hosts.split(',').enumerate().map(|(index, text)| sentinel(text, index + 1, tls)).collect()
}

/// One Sentinel, the `number`th of the address. Its text is not repeated: it may be a part of a password.
fn sentinel(text: &str, number: usize, tls: SentinelTls) -> Result<RedisServer, TargetError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => {
            (format!("[{host}]"), port.strip_prefix(':').or(port.is_empty().then_some("26379")))
        }
        Some(_) => (String::new(), None),
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, "26379"));
            (host.to_owned(), Some(port))
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return error(format!("Sentinel {number} of the address has no valid host; write {SENTINEL_FORM}"));
    }
    let Some(port) = port.and_then(|port| port.parse().ok()).filter(|port| *port > 0) else {
        return error(format!(
            "the port of Sentinel {number} of the address must be a number from 1 to 65535; write {SENTINEL_FORM}"
        ));
    };
    let tls = (tls == SentinelTls::On).then(|| host.clone());
    Ok(RedisServer { peer: PeerAddress::Tcp { host, port }, tls })
}

/// The master's name and the number of the database.
fn master(path: &str) -> Result<(String, u32), TargetError> {
    let (name, number) =
        path.trim_end_matches('/').split_once('/').unwrap_or((path.trim_end_matches('/'), "0"));
    let name = decoded(name);
    if name.is_empty() {
        return error(format!(
            "the path must name the master as the Sentinels know it; write {SENTINEL_FORM}"
        ));
    }
    if name.len() > MASTER_BYTES_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return error(format!(
            "the master's name in the path must have at most {MASTER_BYTES_MAX} visible ASCII characters"
        ));
    }
    match number.parse() {
        Ok(database) => Ok((name, database)),
        Err(_) => error(format!(
            "only the number of a database may follow the master's name in the path; write {SENTINEL_FORM}"
        )),
    }
}

/// The user and the password of the Sentinels, which have their own.
fn sentinel_login(query: &str) -> Result<RedisLogin, TargetError> {
    let mut login = RedisLogin { user: None, password: None };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_repeated = match &*name {
            "sentinel_user" => login.user.replace(value.into_owned()).is_some(),
            "sentinel_password" => login.password.replace(Zeroizing::new(value.into_owned())).is_some(),
            _ => return error(unknown_word(&name)),
        };
        if is_repeated {
            return error(format!("the parameter `{name}` is given twice"));
        }
    }
    if login.user.is_some() && login.password.is_none() {
        return error("the parameter `sentinel_user` needs `sentinel_password`");
    }
    Ok(login)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(address: &str) -> String {
        parse(address).map(drop).expect_err(address).to_string()
    }

    #[test]
    fn parameter_of_a_redis_address_is_named_with_a_remedy() {
        for (address, words) in [
            ("redis://h?ssl=true", "the parameter `ssl` is not understood: write rediss://"),
            ("redis://h:6379?sentinel=mymaster", "redis+sentinel://"),
            ("redis://h/0?protocol=resp3", "the parameter `protocol` is not understood: leave it out"),
            ("redis://h?db=1", "as the path"),
            ("rediss://h/#insecure", "certificates are always checked"),
            ("redis://h/abc", "the number of a database"),
            ("redis://n1:6379,n2:6379", "is written"),
            ("redis://h?hunter2%20hunter2=1", "(hidden)"),
        ] {
            assert!(fault(address).contains(words), "{address}: {}", fault(address));
        }
        assert!(parse("rediss://default:pw@h:6380/2").is_ok());
    }

    #[test]
    fn wrong_part_of_a_sentinel_address_is_named_without_its_text() {
        let many = vec!["h"; SENTINELS_MAX + 1].join(",");
        for (address, words) in [
            ("redis+sentinel://a:hunter2@/m", "Sentinel 1 of the address has no valid host"),
            ("redis+sentinel://h1,,h3/m", "Sentinel 2 of the address has no valid host"),
            ("redis+sentinel://h1,h 2/m", "Sentinel 2 of the address has no valid host"),
            ("redis+sentinel://[::g]:1/m", "Sentinel 1 of the address has no valid host"),
            ("redis+sentinel://h1:26379,h2:0/m", "the port of Sentinel 2 of the address"),
            ("redis+sentinel://h1:26379,h2:hunter2/m", "the port of Sentinel 2 of the address"),
            ("redis+sentinel://[::1]hunter2/m", "the port of Sentinel 1 of the address"),
            ("redis+sentinel://h1:1", "must name the master"),
            ("redis+sentinel://h1:1//0", "must name the master"),
            ("redis+sentinel://h1:1/m%00", "visible ASCII"),
            ("redis+sentinel://h1:1/m/hunter2", "only the number of a database"),
            ("redis+sentinel://h1:1/m/1/2", "only the number of a database"),
            ("redis+sentinel://h1:1/m?password=hunter2", "the parameter `password` is not understood"),
            ("redis+sentinel://h1:1/m?sentinel_user=u", "needs `sentinel_password`"),
            ("redis+sentinel://h1:1/m?sentinel_password=a&sentinel_password=b", "is given twice"),
            ("redis+sentinel://h1:1/m#hunter2", "nothing may follow #"),
            (&format!("redis+sentinel://{many}/m"), "names 17 Sentinels; 16 are the most"),
        ] {
            assert!(fault(address).contains(words), "{address}: {}", fault(address));
            assert!(!fault(address).contains("hunter2"), "{address}: {}", fault(address));
        }
    }

    #[test]
    fn sentinel_address_gives_servers_master_database_and_both_logins() {
        let address = "rediss+sentinel://chat:p%40ss@h1,h2:26380,[::1]:7/my%2Dmaster/3?sentinel_user=s&sentinel_password=a%26b";
        let (target, secrets) = parse(address).expect("valid");
        assert_eq!(target.to_string(), "h1:26379,h2:26380,[::1]:7/my-master");
        assert_eq!((target.database, target.search_max()), (3, SENTINEL_TIMEOUT * 3));
        assert_eq!(target.login.user.as_deref(), Some("chat"));
        let secrets: Vec<&str> = secrets.iter().map(|secret| secret.as_str()).collect();
        assert_eq!(secrets, ["p@ss", "a&b"]);
        let RedisPlace::Sentinels(sentinels) = &target.place else { panic!("Sentinels") };
        assert_eq!(sentinels.login.user.as_deref(), Some("s"));
        assert_eq!(sentinels.servers[1].tls.as_deref(), Some("h2"));
        assert!(!target.is_exposed());
        let open = |address: &str| parse(address).expect("valid").0.is_exposed();
        assert!(open("redis+sentinel://127.0.0.1,h2/m") && !open("redis+sentinel://127.0.0.1,localhost/m"));
    }
}
