//! Addresses of Redis, read from text: one server, the Sentinels that know the master, or nodes of a cluster.
//!
//! An address may carry passwords. No error of this file repeats one.

use super::hosts::{CLUSTER, HostTls, NO_FRAGMENT, SENTINEL, SeveralHosts, login_of, servers};
use super::server::{RedisLogin, RedisServer};
use crate::follow::slot_map::NodeAddress;
use crate::net::address::{TargetError, credentials, decoded, error};
use crate::net::peer::PeerAddress;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

/// The timeout of one Sentinel, and of one node that is asked for the slots.
pub(super) const SEARCH_TIMEOUT: Duration = Duration::from_millis(500);
/// Silent Sentinels or nodes that one dial waits for: the threads that dial have other work. The next dial goes on with others.
pub(super) const SILENT_MAX: usize = 2;
/// The longest name of a master, in bytes.
const MASTER_BYTES_MAX: usize = 128;

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
    Cluster(ClusterNodes),
}

/// The Sentinels that know where a master is.
#[derive(Clone)]
pub(super) struct Sentinels {
    /// At least one.
    pub(super) servers: Vec<RedisServer>,
    /// The name of the master, as the Sentinels know it.
    pub(super) master: String,
    pub(super) login: RedisLogin,
    /// The place of the Sentinel that is asked first: the one that named the master last, so that a silent one delays one dial only,
    /// or the next after a search that failed.
    pub(super) first: Arc<AtomicUsize>,
}

/// Nodes of a cluster. They know all others.
#[derive(Clone)]
pub(super) struct ClusterNodes {
    /// At least one.
    pub(super) servers: Vec<RedisServer>,
    pub(super) tls: HostTls,
}

impl RedisTarget {
    /// The nodes that the address names, if it is that of a cluster.
    pub(crate) fn cluster_nodes(&self) -> Option<Vec<NodeAddress>> {
        let RedisPlace::Cluster(nodes) = &self.place else { return None };
        let address = |server: &RedisServer| match &server.peer {
            PeerAddress::Tcp { host, port } => Some(NodeAddress { host: host.as_str().into(), port: *port }),
            PeerAddress::Unix(_) => None,
        };
        Some(nodes.servers.iter().filter_map(address).collect())
    }

    /// One node of the cluster, as a server; the target itself if it is no cluster.
    pub(crate) fn at(&self, node: &NodeAddress) -> RedisTarget {
        let RedisPlace::Cluster(nodes) = &self.place else { return self.clone() };
        let server = nodes.tls.server(node.host.to_string(), node.port);
        RedisTarget { place: RedisPlace::Server(server), ..self.clone() }
    }

    /// The kind of Redis, as reports name it.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.place {
            RedisPlace::Server(_) => "standalone",
            RedisPlace::Sentinels(_) => "sentinel",
            RedisPlace::Cluster(_) => "cluster",
        }
    }

    /// The longest time that finding the server may add to a dial: that of two silent Sentinels or nodes of a cluster.
    pub(crate) fn search_max(&self) -> Duration {
        match &self.place {
            RedisPlace::Server(_) => Duration::ZERO,
            RedisPlace::Sentinels(Sentinels { servers, .. }) => {
                SEARCH_TIMEOUT * servers.len().min(SILENT_MAX) as u32
            }
            // They know of more nodes than the address names.
            RedisPlace::Cluster(_) => SEARCH_TIMEOUT * SILENT_MAX as u32,
        }
    }

    /// See [`Target::is_exposed`](crate::net::target::Target::is_exposed).
    pub(crate) fn is_exposed(&self) -> bool {
        self.servers().iter().any(|server| server.tls.is_none() && !server.peer.is_local())
    }

    fn servers(&self) -> &[RedisServer] {
        match &self.place {
            RedisPlace::Server(server) => std::slice::from_ref(server),
            RedisPlace::Sentinels(Sentinels { servers, .. })
            | RedisPlace::Cluster(ClusterNodes { servers, .. }) => servers,
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
            RedisPlace::Server(_) | RedisPlace::Cluster(_) => Ok(()),
            RedisPlace::Sentinels(Sentinels { master, .. }) => write!(formatter, "/{master}"),
        }
    }
}

/// Reads an address. Returns its secrets as well.
pub(in crate::net) fn parse(address: &str) -> Result<(RedisTarget, Vec<Zeroizing<String>>), TargetError> {
    match address.split_once("://") {
        Some(("redis+sentinel", rest)) => sentinels(rest, HostTls::Off),
        Some(("rediss+sentinel", rest)) => sentinels(rest, HostTls::On),
        Some(("redis+cluster", rest)) => cluster(rest, HostTls::Off),
        Some(("rediss+cluster", rest)) => cluster(rest, HostTls::On),
        Some(_) | None => server(address),
    }
}

fn server(address: &str) -> Result<(RedisTarget, Vec<Zeroizing<String>>), TargetError> {
    const FORM: &str = "a redis address is written redis://user:password@host:port/0, rediss:// for TLS, unix:///path, \
                        redis+sentinel://host:port,host:port/MASTER, or redis+cluster://host:port,host:port";
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

fn sentinels(rest: &str, tls: HostTls) -> Result<(RedisTarget, Vec<Zeroizing<String>>), TargetError> {
    let SeveralHosts { login, hosts, path, query } = SeveralHosts::split(rest)?;
    let login = login_of(login);
    let servers = servers(hosts, &SENTINEL, tls)?;
    let (master, database) = master(path)?;
    let sentinel_login = sentinel_login(query)?;
    let secrets = [&login.password, &sentinel_login.password].into_iter().flatten().cloned().collect();
    let place =
        RedisPlace::Sentinels(Sentinels { servers, master, login: sentinel_login, first: Arc::default() });
    Ok((RedisTarget { place, login, database }, secrets))
}

fn cluster(rest: &str, tls: HostTls) -> Result<(RedisTarget, Vec<Zeroizing<String>>), TargetError> {
    let SeveralHosts { login, hosts, path, query } = SeveralHosts::split(rest)?;
    if let Some((name, _)) = form_urlencoded::parse(query.as_bytes()).next() {
        return error(unknown_word(&name));
    }
    let (login, servers) = (login_of(login), servers(hosts, &CLUSTER, tls)?);
    if !matches!(path, "" | "0") {
        return error(format!(
            "a Redis Cluster has no databases: leave out the path; write {}",
            CLUSTER.form
        ));
    }
    let secrets = login.password.clone().into_iter().collect();
    let place = RedisPlace::Cluster(ClusterNodes { servers, tls });
    Ok((RedisTarget { place, login, database: 0 }, secrets))
}

/// The master's name and the number of the database.
fn master(path: &str) -> Result<(String, u32), TargetError> {
    let (name, number) =
        path.trim_end_matches('/').split_once('/').unwrap_or((path.trim_end_matches('/'), "0"));
    let name = decoded(name);
    if name.is_empty() {
        return error(format!(
            "the path must name the master as the Sentinels know it; write {}",
            SENTINEL.form
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
            "only the number of a database may follow the master's name in the path; write {}",
            SENTINEL.form
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
    use super::super::hosts::HOSTS_MAX;
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
        let many = vec!["h"; HOSTS_MAX + 1].join(",");
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
    fn wrong_part_of_a_cluster_address_is_named_without_its_text() {
        for (address, words) in [
            ("redis+cluster://a:hunter2@", "node 1 of the address has no valid host"),
            ("redis+cluster://h1,,h3", "node 2 of the address has no valid host"),
            ("redis+cluster://h1,h2:hunter2", "the port of node 2 of the address"),
            ("redis+cluster://h1/1", "a Redis Cluster has no databases: leave out the path"),
            ("redis+cluster://h1/hunter2", "a Redis Cluster has no databases"),
            ("redis+cluster://h1?ssl=hunter2", "the parameter `ssl` is not understood: write rediss"),
            ("redis+cluster://h1#hunter2", "nothing may follow #"),
        ] {
            assert!(fault(address).contains(words), "{address}: {}", fault(address));
            assert!(!fault(address).contains("hunter2"), "{address}: {}", fault(address));
        }
    }

    #[test]
    fn cluster_address_gives_nodes_that_become_servers() {
        let (target, secrets) = parse("rediss+cluster://chat:p%40ss@h1,[::1]:7000/0").expect("valid");
        assert_eq!(target.to_string(), "h1:6379,[::1]:7000");
        assert_eq!(secrets.len(), 1);
        let nodes = target.cluster_nodes().expect("a cluster");
        assert_eq!(nodes.len(), 2);
        let other = target.at(&NodeAddress { host: "h9".into(), port: 7 });
        assert_eq!((other.to_string(), other.cluster_nodes()), ("h9:7".into(), None));
        let RedisPlace::Server(server) = &other.place else { panic!("a server") };
        assert_eq!((server.tls.as_deref(), other.login.user.as_deref()), (Some("h9"), Some("chat")));
    }

    #[test]
    fn sentinel_address_gives_servers_master_database_and_both_logins() {
        let address = "rediss+sentinel://chat:p%40ss@h1,h2:26380,[::1]:7/my%2Dmaster/3?sentinel_user=s&sentinel_password=a%26b";
        let (target, secrets) = parse(address).expect("valid");
        assert_eq!(target.to_string(), "h1:26379,h2:26380,[::1]:7/my-master");
        assert_eq!((target.database, target.search_max()), (3, SEARCH_TIMEOUT * 2));
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
