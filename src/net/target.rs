//! The target of a probe: plain data parsed from strings, with errors that say what to write instead.
//!
//! Addresses may carry passwords. Neither `Debug` nor an error of this file ever shows one.

use super::address::{self, HttpTarget, error};
pub use super::address::{Expect, TargetError};
use super::auth_endpoint::Endpoint;
use super::dial::Dialer;
use super::peer::PeerAddress;
use super::postgres::{AddressError, PostgresAddress};
use super::redis::RedisTarget;
use super::redis::address as redis_address;
use super::tls::{Check, TlsTrust};
use crate::follow::slot_map::NodeAddress;
pub use crate::health::definition::DependencyKind;
use std::net::IpAddr;
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(Clone)]
pub struct Target {
    pub(crate) service: TargetService,
    pub(crate) source: Option<IpAddr>,
    pub(crate) ca_file: Option<PathBuf>,
    secrets: Vec<Zeroizing<String>>,
}

#[derive(Clone)]
pub(crate) enum TargetService {
    Postgres(PostgresTarget),
    Redis(RedisTarget),
    Http(HttpTarget),
    Clickhouse(HttpTarget),
    Tcp { peer: PeerAddress, tls: Option<String> },
    Auth(AuthTarget),
}

/// The endpoints of an auth service; at least one.
#[derive(Clone)]
pub(crate) struct AuthTarget {
    pub(crate) introspection: Option<Endpoint>,
    pub(crate) key_set: Option<Endpoint>,
}

#[derive(Clone)]
pub(crate) struct PostgresTarget {
    pub(crate) address: PostgresAddress,
    pub(crate) tables: Vec<String>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Target({} {})", self.kind().as_str(), self.address())
    }
}

impl Target {
    /// Reads an address of this kind. Resolves no name and opens nothing.
    pub fn parse(kind: DependencyKind, address: &str) -> Result<Target, TargetError> {
        let (service, secrets) = match kind {
            DependencyKind::Postgres => postgres(address)?,
            DependencyKind::Redis => redis_address::parse(address)
                .map(|(target, secrets)| (TargetService::Redis(target), secrets))?,
            DependencyKind::Http => {
                address::http(address).map(|(target, secrets)| (TargetService::Http(target), secrets))?
            }
            DependencyKind::Clickhouse => address::http(address)
                .map(|(target, secrets)| (TargetService::Clickhouse(target), secrets))?,
            DependencyKind::Tcp => {
                address::tcp(address).map(|(peer, tls)| (TargetService::Tcp { peer, tls }, Vec::new()))?
            }
            DependencyKind::Gateway => return error("this process is not looked at over a network"),
        };
        Ok(Target { service, source: None, ca_file: None, secrets })
    }

    /// An auth service, probed the way it is used: by introspecting a token, fetching the key set, or both.
    pub fn auth_service(introspection: Option<Endpoint>, key_set: Option<Endpoint>) -> Target {
        let endpoints = introspection.iter().chain(&key_set);
        let secrets = endpoints.flat_map(|endpoint| endpoint.secrets().iter().cloned()).collect();
        let service = TargetService::Auth(AuthTarget { introspection, key_set });
        Target { service, source: None, ca_file: None, secrets }
    }

    /// Connections leave from this address; `None`: the system chooses.
    pub fn with_source(mut self, source: Option<IpAddr>) -> Target {
        self.source = source;
        self
    }

    /// Trusts the authorities in this file (PEM) instead of the system's. A PostgreSQL address names its file itself
    /// (`sslrootcert`).
    pub fn with_ca_file(mut self, file: PathBuf) -> Target {
        self.ca_file = Some(file);
        self
    }

    /// PostgreSQL tables to read in each look, `name` or `schema.name`.
    pub fn with_tables(mut self, tables: &[&str]) -> Result<Target, TargetError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
        if let Some(bad) = tables.iter().find(|name| name.is_empty() || !name.chars().all(plain)) {
            return error(format!("{bad:?} is no table's name here: a-z, 0-9, _ and one dot after a schema"));
        }
        let TargetService::Postgres(target) = &mut self.service else {
            return error(format!("tables are read in postgres, not in {}", self.kind().as_str()));
        };
        target.tables = tables.iter().map(|name| name.to_string()).collect();
        Ok(self)
    }

    /// The answer that an HTTP service must give.
    pub fn with_expect(mut self, expect: Expect) -> Result<Target, TargetError> {
        if let Some(status) = expect.status.filter(|status| !(100..600).contains(status)) {
            return error(format!("the expected status is {status}; it must be in 100 to 599"));
        }
        if expect.field.as_ref().is_some_and(|(path, _)| path.split('.').any(str::is_empty)) {
            return error("the field's path is empty or has an empty part; write it like checks.0.state");
        }
        let TargetService::Http(target) = &mut self.service else {
            return error(format!("an expected answer is for http, not for {}", self.kind().as_str()));
        };
        target.expect = expect;
        Ok(self)
    }

    /// The parameters of the address that have no effect here.
    pub fn unused(&self) -> &[&'static str] {
        match &self.service {
            TargetService::Postgres(target) => target.address.unused(),
            TargetService::Redis(_)
            | TargetService::Http(_)
            | TargetService::Clickhouse(_)
            | TargetService::Tcp { .. }
            | TargetService::Auth(_) => &[],
        }
    }

    /// True exactly when a network can read or change what is exchanged with it: it is on another machine, and the connection
    /// is not encrypted or the server's name is not checked. What is sent to a bare TCP port is no secret.
    pub fn is_exposed(&self) -> bool {
        match &self.service {
            TargetService::Postgres(target) => {
                target.address.check() != Check::Name
                    && !target.address.peers().iter().all(PeerAddress::is_local)
            }
            TargetService::Redis(target) => target.is_exposed(),
            TargetService::Http(target) | TargetService::Clickhouse(target) => target.is_exposed(),
            TargetService::Auth(AuthTarget { introspection, key_set }) => {
                introspection.iter().chain(key_set).any(Endpoint::is_exposed)
            }
            TargetService::Tcp { .. } => false,
        }
    }

    /// Reads the files that the address names, as the first connection does.
    pub fn check_files(&self) -> Result<(), TargetError> {
        let TargetService::Postgres(target) = &self.service else { return Ok(()) };
        target.address.trust().check_file().or_else(|trouble| error(trouble.text))
    }

    /// The protocol.
    pub fn kind(&self) -> DependencyKind {
        match &self.service {
            TargetService::Postgres(_) => DependencyKind::Postgres,
            TargetService::Redis(_) => DependencyKind::Redis,
            TargetService::Http(_) | TargetService::Auth(_) => DependencyKind::Http,
            TargetService::Clickhouse(_) => DependencyKind::Clickhouse,
            TargetService::Tcp { .. } => DependencyKind::Tcp,
        }
    }

    /// Host and port, or the path of a socket: the part of the address that may be logged. Behind Sentinels, the master's name too; of a
    /// cluster, the nodes that the address names.
    pub fn address(&self) -> String {
        match &self.service {
            TargetService::Postgres(target) => {
                target.address.peers().iter().map(PeerAddress::to_string).collect::<Vec<_>>().join(",")
            }
            TargetService::Redis(target) => target.to_string(),
            TargetService::Tcp { peer, .. } => peer.to_string(),
            TargetService::Http(target) | TargetService::Clickhouse(target) => target.peer.to_string(),
            TargetService::Auth(AuthTarget { introspection, key_set }) => {
                introspection.iter().chain(key_set).map(Endpoint::address).collect::<Vec<_>>().join(",")
            }
        }
    }

    /// A dialer for connections to it.
    pub(crate) fn dialer(&self) -> Dialer {
        let trust = match &self.service {
            TargetService::Postgres(target) => target.address.trust(),
            TargetService::Redis(_)
            | TargetService::Http(_)
            | TargetService::Clickhouse(_)
            | TargetService::Tcp { .. }
            | TargetService::Auth(_) => TlsTrust::new(self.ca_file.clone()),
        };
        Dialer::new(self.source, trust)
    }

    /// The target if it is a Redis.
    pub(crate) fn redis(&self) -> Option<&RedisTarget> {
        match &self.service {
            TargetService::Redis(target) => Some(target),
            TargetService::Postgres(_)
            | TargetService::Http(_)
            | TargetService::Clickhouse(_)
            | TargetService::Tcp { .. }
            | TargetService::Auth(_) => None,
        }
    }

    /// True exactly if it is a Redis Cluster.
    pub fn is_cluster(&self) -> bool {
        self.redis().is_some_and(|target| target.cluster_nodes().is_some())
    }

    /// The kind of Redis, as reports name it; empty if it is none.
    pub fn redis_kind(&self) -> &'static str {
        self.redis().map_or("", RedisTarget::kind)
    }

    /// One node of the cluster, reached and trusted like the target; the target itself if it is no cluster.
    pub(crate) fn at(&self, node: &NodeAddress) -> Target {
        let service = match self.redis() {
            Some(target) => TargetService::Redis(target.at(node)),
            None => self.service.clone(),
        };
        Target { service, ..self.clone() }
    }

    pub(crate) fn secrets(&self) -> &[Zeroizing<String>] {
        &self.secrets
    }
}

fn postgres(address: &str) -> Result<(TargetService, Vec<Zeroizing<String>>), TargetError> {
    const FORM: &str =
        "a postgres address names a host and a user: postgres://user:password@host:port/database";
    let address = match PostgresAddress::parse(address) {
        Ok(address) => address,
        Err(AddressError::Form(fault)) => {
            return error(format!("{fault}; {}", FORM.replace("names", "is written with")));
        }
        Err(other) => return error(other.to_string()),
    };
    if address.peers().is_empty() || address.user.is_none() {
        return error(FORM);
    }
    let secrets =
        address.password.as_ref().map(|it| Zeroizing::new(String::from_utf8_lossy(it).into_owned()));
    let target = PostgresTarget { address, tables: Vec::new() };
    Ok((TargetService::Postgres(target), secrets.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_shown_without_its_secrets() {
        let written = [
            (DependencyKind::Postgres, "postgres://seawall:hunter22@db:5433/chat", "db:5433"),
            (DependencyKind::Postgres, "host=a,b user=seawall password=hunter22", "a:5432,b:5432"),
            (DependencyKind::Postgres, "host=/run/pg user=s port=1", "/run/pg/.s.PGSQL.1"),
            (DependencyKind::Redis, "rediss://:hunter22@cache", "cache:6379"),
            (DependencyKind::Redis, "unix:///run/redis.sock", "/run/redis.sock"),
            (
                DependencyKind::Redis,
                "redis+sentinel://:hunter22@a,b:5/chat?sentinel_password=hunter22",
                "a:26379,b:5/chat",
            ),
            (DependencyKind::Redis, "redis+cluster://:hunter22@a,b:5", "a:6379,b:5"),
            (DependencyKind::Http, "https://me:hunter22@api.example/v1?key=hunter22", "api.example:443"),
            (DependencyKind::Clickhouse, "http://[::1]:8123", "[::1]:8123"),
            (DependencyKind::Tcp, "tls://mail:465", "mail:465"),
        ];
        for (kind, address, shown) in written {
            let target = Target::parse(kind, address).unwrap_or_else(|error| panic!("{address}: {error}"));
            assert_eq!(target.address(), shown);
            assert!(!format!("{target:?}").contains("hunter22"));
            assert_eq!(target.kind(), kind);
        }
    }

    #[test]
    fn address_on_another_machine_is_exposed_unless_its_server_is_verified() {
        for (kind, address, exposed) in [
            (DependencyKind::Postgres, "postgres://s@db/chat", true),
            (DependencyKind::Postgres, "postgres://s@db/chat?sslmode=require", true),
            (DependencyKind::Postgres, "postgres://s@db/chat?sslmode=verify-full", false),
            (DependencyKind::Postgres, "postgres://s@127.0.0.1/chat", false),
            (DependencyKind::Postgres, "postgres://s@localhost,db/chat", true),
            (DependencyKind::Postgres, "host=/run/pg user=s", false),
            (DependencyKind::Redis, "redis://:pw@cache", true),
            (DependencyKind::Redis, "rediss://:pw@cache", false),
            (DependencyKind::Redis, "redis://[::1]:7000", false),
            (DependencyKind::Redis, "unix:///run/redis.sock", false),
            (DependencyKind::Http, "http://api.example/", true),
            (DependencyKind::Http, "http://localhost:8000/", false),
            (DependencyKind::Http, "https://api.example/", false),
            (DependencyKind::Tcp, "mail:25", false),
        ] {
            let target = Target::parse(kind, address).unwrap_or_else(|error| panic!("{address}: {error}"));
            assert_eq!(target.is_exposed(), exposed, "{address}");
        }
    }

    #[test]
    fn bad_address_is_answered_with_the_right_form_and_never_repeated() {
        let bad = [
            (DependencyKind::Postgres, "postgres://hunter22"),
            (DependencyKind::Postgres, "nonsense hunter22"),
            (DependencyKind::Redis, "http://:hunter22@x"),
            (DependencyKind::Redis, "redis://:hunter22@x/zero"),
            (DependencyKind::Http, "redis://hunter22@x"),
            (DependencyKind::Clickhouse, "hunter22"),
            (DependencyKind::Tcp, "hunter22"),
            (DependencyKind::Tcp, "ftp://hunter22:1"),
            (DependencyKind::Tcp, "hunter22:99999"),
        ];
        for (kind, address) in bad {
            let error = Target::parse(kind, address).expect_err(address).to_string();
            assert!(
                error.contains("written") || error.contains("names") || error.contains("number"),
                "{error}"
            );
            assert!(!error.contains("hunter22"), "{error}");
        }
    }

    #[test]
    fn option_that_does_not_fit_the_kind_is_refused() {
        let tcp = Target::parse(DependencyKind::Tcp, "a:1").expect("an address");
        assert!(tcp.clone().with_tables(&["x"]).is_err());
        assert!(tcp.with_expect(Expect::default()).is_err());
        let store = Target::parse(DependencyKind::Postgres, "postgres://a@b/c").expect("an address");
        assert!(store.clone().with_tables(&["x; drop table y"]).is_err());
        assert!(store.with_tables(&["chat.log"]).is_ok());
        let web = Target::parse(DependencyKind::Http, "http://a/").expect("an address");
        let expect = Expect { status: Some(99), field: None };
        assert!(web.clone().with_expect(expect).is_err());
        assert!(web.with_expect(Expect { status: None, field: Some(("a..b".into(), "1".into())) }).is_err());
    }
}
