//! What is looked at: plain data made of strings, with an error that says what to write instead.
//!
//! Addresses may carry passwords. Neither `Debug` nor an error of this file ever shows one.

pub use crate::health::definition::Kind;
use crate::worker::auth::endpoint::Endpoint;
use crate::worker::line::postgres::{AddressError, PostgresAddress};
use crate::worker::line::resolve::Resolver;
use crate::worker::line::tls::Trust;
use crate::worker::line::{Dialer, Peer};
use percent_encoding::percent_decode_str;
use std::net::IpAddr;
use std::path::PathBuf;
use url::Url;

/// What is wrong with an address, and what to write instead. It never repeats the address: that may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError(String);

impl std::fmt::Display for TargetError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TargetError {}

fn error<T>(text: impl Into<String>) -> Result<T, TargetError> {
    Err(TargetError(text.into()))
}

/// One thing to look at.
#[derive(Clone)]
pub struct Target {
    pub(super) service: Service,
    pub(super) source: Option<IpAddr>,
    pub(super) ca_file: Option<PathBuf>,
    secrets: Vec<String>,
}

#[derive(Clone)]
pub(super) enum Service {
    Postgres(PostgresTarget),
    Redis(RedisTarget),
    Http(HttpTarget),
    Clickhouse(HttpTarget),
    Tcp { peer: Peer, tls: Option<String> },
    Auth(AuthTarget),
}

/// The questions an auth service is asked; at least one.
#[derive(Clone)]
pub(super) struct AuthTarget {
    pub(super) introspection: Option<Endpoint>,
    pub(super) key_set: Option<Endpoint>,
}

#[derive(Clone)]
pub(super) struct PostgresTarget {
    pub(super) address: PostgresAddress,
    pub(super) tables: Vec<String>,
    pub(super) purpose: Purpose,
}

/// What a PostgreSQL server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody else's service.
    Service,
    /// Our store, which asks for more.
    Store,
}

#[derive(Clone)]
pub(in crate::worker) struct RedisTarget {
    pub(in crate::worker) peer: Peer,
    pub(in crate::worker) tls: Option<String>,
    pub(in crate::worker) user: Option<String>,
    pub(in crate::worker) password: Option<String>,
    pub(in crate::worker) database: u32,
}

#[derive(Clone)]
pub(in crate::worker) struct HttpTarget {
    /// Without user and password.
    pub(in crate::worker) url: Url,
    pub(in crate::worker) peer: Peer,
    pub(in crate::worker) user: String,
    pub(in crate::worker) password: String,
    pub(super) expect: Expect,
}

/// What an HTTP answer must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// This status; any 2xx where it is absent.
    pub status: Option<u16>,
    /// A dotted path into a JSON body and the value that must be there, as text: `("checks.0.state", "up")`.
    pub field: Option<(String, String)>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Target({} {})", self.kind().as_str(), self.address())
    }
}

impl Target {
    /// Reads an address of this kind. No name is resolved and nothing is opened.
    pub fn parse(kind: Kind, address: &str) -> Result<Target, TargetError> {
        let (service, secrets) = match kind {
            Kind::Postgres => postgres(address)?,
            Kind::Redis => redis(address)?,
            Kind::Http => http(address).map(|(target, secrets)| (Service::Http(target), secrets))?,
            Kind::Clickhouse => {
                http(address).map(|(target, secrets)| (Service::Clickhouse(target), secrets))?
            }
            Kind::Tcp => tcp(address)?,
            Kind::Gateway => return error("this process is not looked at over a network"),
        };
        Ok(Target { service, source: None, ca_file: None, secrets })
    }

    /// An auth service, looked at as it is used: tokens are asked about, its key set is fetched, or both.
    pub fn auth_service(introspection: Option<Endpoint>, key_set: Option<Endpoint>) -> Target {
        let endpoints = introspection.iter().chain(&key_set);
        let secrets = endpoints.flat_map(|endpoint| endpoint.secrets().iter().cloned()).collect();
        let service = Service::Auth(AuthTarget { introspection, key_set });
        Target { service, source: None, ca_file: None, secrets }
    }

    /// Connections leave from this address; `None`: the system chooses.
    pub fn with_source(mut self, source: Option<IpAddr>) -> Target {
        self.source = source;
        self
    }

    /// Certificates are believed that one of this file (PEM) has signed, in place of the system's authorities. An address of
    /// PostgreSQL names its file itself (`sslrootcert`).
    pub fn with_ca_file(mut self, file: PathBuf) -> Target {
        self.ca_file = Some(file);
        self
    }

    /// Tables of PostgreSQL that are read in each look, `name` or `schema.name`.
    pub fn with_tables(mut self, tables: &[&str]) -> Result<Target, TargetError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
        if let Some(bad) = tables.iter().find(|name| name.is_empty() || !name.chars().all(plain)) {
            return error(format!("{bad:?} is no table's name here: a-z, 0-9, _ and one dot after a schema"));
        }
        let Service::Postgres(target) = &mut self.service else {
            return error(format!("tables are read in postgres, not in {}", self.kind().as_str()));
        };
        target.tables = tables.iter().map(|name| name.to_string()).collect();
        Ok(self)
    }

    /// The store: these tables are read, a session begins as one of the store's, and what would make it no store is a fault.
    pub fn for_store(self, tables: &[&str]) -> Result<Target, TargetError> {
        let mut target = self.with_tables(tables)?;
        if let Service::Postgres(target) = &mut target.service {
            target.purpose = Purpose::Store;
        }
        Ok(target)
    }

    /// What the answer of an HTTP service must be.
    pub fn with_expect(mut self, expect: Expect) -> Result<Target, TargetError> {
        if let Some(status) = expect.status.filter(|status| !(100..600).contains(status)) {
            return error(format!("the expected status is {status}; it must be in 100 to 599"));
        }
        if expect.field.as_ref().is_some_and(|(path, _)| path.split('.').any(str::is_empty)) {
            return error("the field's path is empty or has an empty part; write it like checks.0.state");
        }
        let Service::Http(target) = &mut self.service else {
            return error(format!("an expected answer is for http, not for {}", self.kind().as_str()));
        };
        target.expect = expect;
        Ok(self)
    }

    /// What it speaks.
    pub fn kind(&self) -> Kind {
        match &self.service {
            Service::Postgres(_) => Kind::Postgres,
            Service::Redis(_) => Kind::Redis,
            Service::Http(_) | Service::Auth(_) => Kind::Http,
            Service::Clickhouse(_) => Kind::Clickhouse,
            Service::Tcp { .. } => Kind::Tcp,
        }
    }

    /// Host and port, or the path of a socket: what may be logged of the address.
    pub fn address(&self) -> String {
        match &self.service {
            Service::Postgres(target) => {
                target.address.peers().iter().map(Peer::to_string).collect::<Vec<_>>().join(",")
            }
            Service::Redis(RedisTarget { peer, .. }) | Service::Tcp { peer, .. } => peer.to_string(),
            Service::Http(target) | Service::Clickhouse(target) => target.peer.to_string(),
            Service::Auth(AuthTarget { introspection, key_set }) => {
                introspection.iter().chain(key_set).map(Endpoint::address).collect::<Vec<_>>().join(",")
            }
        }
    }

    /// Opens connections to it.
    pub(in crate::worker) fn dialer(&self) -> Dialer {
        let trust = match &self.service {
            Service::Postgres(target) => target.address.trust(),
            Service::Redis(_)
            | Service::Http(_)
            | Service::Clickhouse(_)
            | Service::Tcp { .. }
            | Service::Auth(_) => Trust::new(self.ca_file.clone()),
        };
        Dialer { source: self.source, trust, resolver: Resolver::default() }
    }

    /// How a Redis is spoken to; `None` when it is none.
    pub(in crate::worker) fn redis(&self) -> Option<&RedisTarget> {
        match &self.service {
            Service::Redis(target) => Some(target),
            Service::Postgres(_)
            | Service::Http(_)
            | Service::Clickhouse(_)
            | Service::Tcp { .. }
            | Service::Auth(_) => None,
        }
    }

    pub(in crate::worker) fn secrets(&self) -> &[String] {
        &self.secrets
    }
}

fn postgres(address: &str) -> Result<(Service, Vec<String>), TargetError> {
    const FORM: &str =
        "a postgres address names a host and a user: postgres://user:password@host:port/database";
    let address = match PostgresAddress::parse(address) {
        Ok(address) => address,
        Err(AddressError::Form(_)) => return error(FORM.replace("names", "is written with")),
        Err(other) => return error(other.to_string()),
    };
    if address.peers().is_empty() || address.config.get_user().is_none() {
        return error(FORM);
    }
    let secrets = address.config.get_password().map(|it| String::from_utf8_lossy(it).into_owned());
    let target = PostgresTarget { address, tables: Vec::new(), purpose: Purpose::Service };
    Ok((Service::Postgres(target), secrets.into_iter().collect()))
}

fn redis(address: &str) -> Result<(Service, Vec<String>), TargetError> {
    const FORM: &str =
        "a redis address is written redis://user:password@host:port/0, rediss:// for TLS, or unix:///path";
    let Ok(url) = Url::parse(address) else { return error(FORM) };
    let (user, password) = credentials(&url);
    let (peer, tls) = match (url.scheme(), url.host_str()) {
        ("unix" | "redis+unix", _) => (Peer::Unix(PathBuf::from(decoded(url.path()))), None),
        ("redis", Some(host)) => (Peer::Tcp { host: host.into(), port: url.port().unwrap_or(6379) }, None),
        ("rediss", Some(host)) => {
            (Peer::Tcp { host: host.into(), port: url.port().unwrap_or(6379) }, Some(host.to_string()))
        }
        _ => return error(FORM),
    };
    let number = match &peer {
        Peer::Unix(_) => "",
        Peer::Tcp { .. } => url.path().trim_matches('/'),
    };
    let database = if number.is_empty() { Ok(0) } else { number.parse() };
    let Ok(database) = database else {
        return error(
            "what follows the host in a redis address is the number of a database: redis://host:6379/0",
        );
    };
    let secrets = password.clone().into_iter().collect();
    Ok((Service::Redis(RedisTarget { peer, tls, user, password, database }), secrets))
}

pub(in crate::worker) fn http(address: &str) -> Result<(HttpTarget, Vec<String>), TargetError> {
    const FORM: &str = "an http address is written http://host:port/path or https://host/path";
    let Ok(mut url) = Url::parse(address) else { return error(FORM) };
    let (true, Some(host), Some(port)) =
        (matches!(url.scheme(), "http" | "https"), url.host_str(), url.port_or_known_default())
    else {
        return error(FORM);
    };
    let peer = Peer::Tcp { host: host.to_string(), port };
    let (user, password) = credentials(&url);
    // A key often stands in the query.
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

/// A value of a query shorter than this is no secret, and striking it out would maim the words around it.
const SECRET_BYTES_MIN: usize = 6;

fn tcp(address: &str) -> Result<(Service, Vec<String>), TargetError> {
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
    let peer = Peer::Tcp { host: host.into(), port };
    Ok((Service::Tcp { peer, tls: tls.then(|| host.to_string()) }, Vec::new()))
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
    fn an_address_is_shown_without_what_is_secret_in_it() {
        let written = [
            (Kind::Postgres, "postgres://seawall:hunter22@db:5433/chat", "db:5433"),
            (Kind::Postgres, "host=a,b user=seawall password=hunter22", "a:5432,b:5432"),
            (Kind::Postgres, "host=/run/pg user=s port=1", "/run/pg/.s.PGSQL.1"),
            (Kind::Redis, "rediss://:hunter22@cache", "cache:6379"),
            (Kind::Redis, "unix:///run/redis.sock", "/run/redis.sock"),
            (Kind::Http, "https://me:hunter22@api.example/v1?key=hunter22", "api.example:443"),
            (Kind::Clickhouse, "http://[::1]:8123", "[::1]:8123"),
            (Kind::Tcp, "tls://mail:465", "mail:465"),
        ];
        for (kind, address, shown) in written {
            let target = Target::parse(kind, address).unwrap_or_else(|error| panic!("{address}: {error}"));
            assert_eq!(target.address(), shown);
            assert!(!format!("{target:?}").contains("hunter22"));
            assert_eq!(target.kind(), kind);
        }
    }

    #[test]
    fn a_bad_address_is_answered_with_the_right_form_and_never_repeated() {
        let bad = [
            (Kind::Postgres, "postgres://hunter22"),
            (Kind::Postgres, "nonsense hunter22"),
            (Kind::Redis, "http://:hunter22@x"),
            (Kind::Redis, "redis://:hunter22@x/zero"),
            (Kind::Http, "redis://hunter22@x"),
            (Kind::Clickhouse, "hunter22"),
            (Kind::Tcp, "hunter22"),
            (Kind::Tcp, "ftp://hunter22:1"),
            (Kind::Tcp, "hunter22:99999"),
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
    fn what_does_not_fit_the_kind_is_refused() {
        let tcp = Target::parse(Kind::Tcp, "a:1").expect("an address");
        assert!(tcp.clone().with_tables(&["x"]).is_err());
        assert!(tcp.with_expect(Expect::default()).is_err());
        let store = Target::parse(Kind::Postgres, "postgres://a@b/c").expect("an address");
        assert!(store.clone().with_tables(&["x; drop table y"]).is_err());
        assert!(store.with_tables(&["chat.log"]).is_ok());
        let web = Target::parse(Kind::Http, "http://a/").expect("an address");
        let expect = Expect { status: Some(99), field: None };
        assert!(web.clone().with_expect(expect).is_err());
        assert!(web.with_expect(Expect { status: None, field: Some(("a..b".into(), "1".into())) }).is_err());
    }
}
