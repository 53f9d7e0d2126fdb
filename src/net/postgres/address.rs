//! A PostgreSQL address, read by one parser for the store and its probe, so that both connect in the same way.
//!
//! The parameters are libpq's. Those for timeouts, keepalives and the order of hosts are accepted and ignored, because the
//! workers have deadlines of their own. Parameters of other clients that change nothing here are accepted and listed, so that
//! an address can be used as a provider gives it; every other unknown parameter is an error that names it.

use super::words;
use crate::net::peer::PeerAddress;
use crate::net::tls::{Check, TlsTrust};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use zeroize::Zeroizing;

/// How strongly the address asks for a feature of the server: TLS or channel binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Requirement {
    Never,
    /// Used if the server supports it.
    #[default]
    Prefer,
    Demand,
}

/// `target_session_attrs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Access {
    #[default]
    Any,
    ReadOnly,
    ReadWrite,
    /// Not in recovery.
    Primary,
}

#[derive(Clone, Debug)]
enum HostEntry {
    Name(String),
    /// The directory of a Unix socket.
    Folder(PathBuf),
}

/// The hosts of a PostgreSQL server and the way to connect to them. It contains the password.
#[derive(Clone, Default)]
pub(crate) struct PostgresAddress {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Zeroizing<Vec<u8>>>,
    pub(super) database: Option<String>,
    /// Session options, in the form of a command line.
    pub(crate) options: Option<String>,
    pub(crate) application_name: Option<String>,
    /// `fallback_application_name`, which counts only without `application_name`.
    fallback_name: Option<String>,
    pub(super) encryption: Requirement,
    pub(super) binding: Requirement,
    pub(super) access: Access,
    hosts: Vec<HostEntry>,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    /// The file of certificate authorities; `None`: the system's authorities.
    roots: Option<PathBuf>,
    check: Check,
    /// Parameters of other clients, which have no effect here.
    unused: Vec<&'static str>,
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresAddress").field("check", &self.check).finish_non_exhaustive()
    }
}

/// A rejected address, with what to write instead. It never repeats the address.
#[derive(Debug)]
pub enum AddressError {
    /// The address cannot be parsed.
    Form(&'static str),
    /// A parameter has a value that is not accepted.
    Value(&'static str),
    /// A parameter that neither libpq nor this program knows.
    Unknown {
        /// Its name, unless that could be part of a secret.
        name: String,
        remedy: &'static str,
    },
    /// An unknown `sslmode`.
    Mode,
    /// `sslrootcert` with a mode that checks no certificate.
    RootsUnused,
    /// `sslrootcert=system` with a mode that does not check the name in the certificate.
    SystemUnchecked,
    /// TLS without asking the server first (`sslnegotiation=direct`).
    Direct,
    /// A client certificate or its key.
    Ours,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Form(text) => write!(f, "invalid connection string: {text}"),
            AddressError::Value(text) => f.write_str(text),
            AddressError::Unknown { name, remedy } => {
                write!(f, "the parameter {name} is not understood: {remedy}")
            }
            AddressError::Mode => f.write_str(
                "sslmode must be \"disable\", \"prefer\", \"require\" (encrypted, but the certificate is not checked), \"verify-ca\" or \"verify-full\"",
            ),
            AddressError::RootsUnused => f.write_str(
                "sslrootcert is for sslmode=verify-full, verify-ca or require: set one of them, or leave it out",
            ),
            AddressError::SystemUnchecked => f.write_str(
                "sslrootcert=system needs sslmode=verify-full: anybody can have a certificate of those authorities for some name",
            ),
            AddressError::Ours => f.write_str(
                "sslcert, sslkey and the like are not supported: leave them out and let the server ask for a password",
            ),
            AddressError::Direct => {
                f.write_str("sslnegotiation=direct is not supported: leave it out, the server is asked first")
            }
        }
    }
}

impl std::error::Error for AddressError {}

impl PostgresAddress {
    /// Reads an address. No name is resolved and no file is opened.
    pub(crate) fn parse(text: &str) -> Result<PostgresAddress, AddressError> {
        let mut address = PostgresAddress::default();
        let (mut mode, mut roots) = (None, None);
        for (key, value) in words::read(text).map_err(AddressError::Form)? {
            if key == "password" {
                address.password = Some(Zeroizing::new(value));
                continue;
            }
            let value =
                String::from_utf8(value).map_err(|_| AddressError::Value("a parameter is not UTF-8"))?;
            match key.as_str() {
                "sslmode" => mode = Some(value),
                "sslrootcert" => roots = Some(value).filter(|file| !file.is_empty()),
                key => address.set(key, value)?,
            }
        }
        let roots = roots.as_deref();
        (address.encryption, address.check) = match mode.as_deref() {
            Some("disable" | "prefer") if roots.is_some() => return Err(AddressError::RootsUnused),
            None if roots.is_some() => return Err(AddressError::RootsUnused),
            Some("require" | "verify-ca") if roots == Some(SYSTEM) => {
                return Err(AddressError::SystemUnchecked);
            }
            Some("disable") => (Requirement::Never, Check::Nothing),
            Some("prefer") | None => (Requirement::Prefer, Check::Nothing),
            Some("require") if roots.is_none() => (Requirement::Demand, Check::Nothing),
            // As in libpq, `require` with an authority also checks the chain.
            Some("require" | "verify-ca") => (Requirement::Demand, Check::Chain),
            Some("verify-full") => (Requirement::Demand, Check::Name),
            Some(_) => return Err(AddressError::Mode),
        };
        address.roots = roots.filter(|file| *file != SYSTEM).map(PathBuf::from);
        address.application_name = address.application_name.take().or(address.fallback_name.take());
        Ok(address)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), AddressError> {
        match key {
            "user" => self.user = Some(value),
            "dbname" => self.database = Some(value),
            "options" => self.options = Some(value),
            "application_name" => self.application_name = Some(value),
            "host" => self.hosts.extend(value.split(',').map(|host| match host.starts_with('/') {
                true => HostEntry::Folder(host.into()),
                false => HostEntry::Name(host.into()),
            })),
            "hostaddr" => self.addresses.extend(list::<IpAddr>(&value, "`hostaddr` must be an IP address")?),
            "port" => {
                let ports =
                    value.split(',').map(|port| if port.is_empty() { Ok(PORT) } else { port.parse() });
                let ports: Result<Vec<u16>, _> = ports.collect();
                self.ports.extend(
                    ports.map_err(|_| AddressError::Value("`port` must be a number from 0 to 65535"))?,
                );
            }
            "channel_binding" => {
                let known = [
                    ("disable", Requirement::Never),
                    ("prefer", Requirement::Prefer),
                    ("require", Requirement::Demand),
                ];
                self.binding =
                    choice(&value, &known, "`channel_binding` must be disable, prefer or require")?;
            }
            "target_session_attrs" => {
                let known = [
                    ("any", Access::Any),
                    ("read-only", Access::ReadOnly),
                    ("read-write", Access::ReadWrite),
                    ("primary", Access::Primary),
                ];
                let otherwise = "`target_session_attrs` must be any, primary, read-only or read-write";
                self.access = choice(&value, &known, otherwise)?;
            }
            "load_balance_hosts" => {
                choice(
                    &value,
                    &[("disable", ()), ("random", ())],
                    "`load_balance_hosts` must be disable or random",
                )?;
            }
            "sslnegotiation" if value == "postgres" => {}
            "sslnegotiation" => return Err(AddressError::Direct),
            "sslcert" | "sslkey" | "sslpassword" => return Err(AddressError::Ours),
            "connect_timeout"
            | "tcp_user_timeout"
            | "keepalives"
            | "keepalives_idle"
            | "keepalives_interval"
            | "keepalives_count"
            | "keepalives_retries" => {
                list::<i64>(&value, "timeouts and keepalives must be numbers")?;
            }
            "fallback_application_name" => self.fallback_name = Some(value),
            "client_encoding" => {
                let known = [("UTF8", ()), ("utf8", ()), ("UTF-8", ()), ("utf-8", ()), ("auto", ())];
                choice(&value, &known, "`client_encoding` must be UTF8: leave it out")?;
            }
            "gssencmode" => {
                let known = [("disable", ()), ("prefer", ())];
                choice(&value, &known, "`gssencmode` must be disable or prefer: use sslmode for encryption")?;
            }
            key => self.unused.push(unused(key)?),
        }
        Ok(())
    }

    /// The check of the server's certificate.
    pub(crate) fn check(&self) -> Check {
        self.check
    }

    /// The servers, in the order in which to try them. A `hostaddr` is dialled instead of the host at the same position.
    pub(crate) fn peers(&self) -> Vec<PeerAddress> {
        (0..self.hosts.len().max(self.addresses.len()))
            .filter_map(|place| {
                let port = self.ports.get(place).or(self.ports.first()).copied().unwrap_or(PORT);
                match (self.addresses.get(place), self.hosts.get(place)) {
                    (Some(address), _) => Some(PeerAddress::Tcp { host: address.to_string(), port }),
                    (None, Some(HostEntry::Name(host))) => {
                        Some(PeerAddress::Tcp { host: host.clone(), port })
                    }
                    (None, Some(HostEntry::Folder(folder))) => {
                        Some(PeerAddress::Unix(folder.join(format!(".s.PGSQL.{port}"))))
                    }
                    (None, None) => None,
                }
            })
            .collect()
    }

    /// The name that the certificate of the server at this position must have, if names are checked.
    pub(super) fn name(&self, place: usize) -> Option<String> {
        match self.hosts.get(place) {
            Some(HostEntry::Name(host)) => Some(host.clone()),
            Some(HostEntry::Folder(_)) => None,
            None => self.addresses.get(place).map(ToString::to_string),
        }
    }

    /// The parameters that have no effect here.
    pub(crate) fn unused(&self) -> &[&'static str] {
        &self.unused
    }

    /// The certificates that are trusted.
    pub(crate) fn trust(&self) -> TlsTrust {
        TlsTrust::of_postgres(self.roots.clone(), self.check)
    }
}

/// The value of `sslrootcert` that means the system's authorities.
const SYSTEM: &str = "system";
const PORT: u16 = 5432;
/// Parameters of poolers and other clients that have no effect here: this program keeps a fixed number of connections and
/// prepares no statements.
const UNUSED: [&str; 6] = [
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "max_idle_connection_lifetime",
    "statement_cache_size",
    "uselibpqcompat",
];
/// Parameters that would change something elsewhere, and what to write instead.
const REMEDIES: [(&str, &str); 6] = [
    ("ssl", "write sslmode=require, or sslmode=verify-full to check the certificate"),
    ("tls", "write sslmode=require, or sslmode=verify-full to check the certificate"),
    ("sslaccept", "write sslmode=require, or sslmode=verify-full to check the certificate"),
    ("schema", "leave it out, because the tables are always in the schema seawall"),
    ("currentSchema", "leave it out, because the tables are always in the schema seawall"),
    ("passfile", "leave it out and write the password into the address, or the address into a variable"),
];
/// A longer name of a parameter is a mistake that could hold a part of a password.
const NAME_BYTES_MAX: usize = 32;

/// The parameter if it has no effect; an error that names it if it is unknown.
fn unused(key: &str) -> Result<&'static str, AddressError> {
    if let Some(known) = UNUSED.into_iter().find(|known| *known == key) {
        return Ok(known);
    }
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let shown = plain && (1..=NAME_BYTES_MAX).contains(&key.len());
    let name = if shown { format!("`{key}`") } else { "(hidden)".into() };
    let remedy =
        REMEDIES.iter().find(|(known, _)| *known == key).map_or("leave it out", |(_, remedy)| remedy);
    Err(AddressError::Unknown { name, remedy })
}

fn list<T: FromStr>(value: &str, otherwise: &'static str) -> Result<Vec<T>, AddressError> {
    let all: Result<Vec<T>, _> = value.split(',').map(str::parse).collect();
    all.map_err(|_| AddressError::Value(otherwise))
}

fn choice<T: Copy>(value: &str, known: &[(&str, T)], otherwise: &'static str) -> Result<T, AddressError> {
    let found = known.iter().find(|(name, _)| *name == value).map(|(_, meaning)| *meaning);
    found.ok_or(AddressError::Value(otherwise))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(Requirement, Check, Option<PathBuf>), String> {
        let address = PostgresAddress::parse(&format!("postgres://u:p%40@db/chat{query}"));
        let address = address.map_err(|error| error.to_string())?;
        assert_eq!(
            (address.database.as_deref(), address.password.as_deref()),
            (Some("chat"), Some(&b"p@".to_vec()))
        );
        Ok((address.encryption, address.check, address.roots))
    }

    #[test]
    fn each_mode_of_libpq_means_what_it_means_there() {
        let file = Some(PathBuf::from("/etc/pg/ca file.pem"));
        let roots = "sslrootcert=/etc/pg/ca%20file.pem";
        for (query, mode, check, file) in [
            (String::new(), Requirement::Prefer, Check::Nothing, None),
            ("?sslmode=disable".into(), Requirement::Never, Check::Nothing, None),
            ("?sslmode=prefer&connect_timeout=3".into(), Requirement::Prefer, Check::Nothing, None),
            ("?connect_timeout=3&sslmode=require".into(), Requirement::Demand, Check::Nothing, None),
            (format!("?sslmode=require&{roots}"), Requirement::Demand, Check::Chain, file.clone()),
            (format!("?{roots}&sslmode=verify-ca"), Requirement::Demand, Check::Chain, file.clone()),
            (format!("?{roots}&sslmode=verify-full"), Requirement::Demand, Check::Name, file),
            ("?sslmode=verify-full".into(), Requirement::Demand, Check::Name, None),
            ("?sslmode=verify-full&sslrootcert=system".into(), Requirement::Demand, Check::Name, None),
        ] {
            assert_eq!(read(&query), Ok((mode, check, file)), "{query}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_what_to_write() {
        for (query, words) in [
            ("?sslmode=allow", "verify-full"),
            ("?sslrootcert=/ca.pem", "leave it out"),
            ("?sslmode=verify-ca&sslrootcert=system", "needs sslmode=verify-full"),
            ("?sslmode=require&sslnegotiation=direct", "leave it out"),
            ("?sslmode=require&sslcert=/mine.pem", "sslcert"),
        ] {
            let error = read(query).expect_err(query);
            assert!(error.contains(words), "{query}: {error}");
        }
    }

    #[test]
    fn parameter_without_effect_is_listed_and_an_unknown_one_is_named() {
        let taken = "postgres://u@h/d?pgbouncer=true&connection_limit=1&keepalives_count=5&keepalives_idle=30\
                     &target_session_attrs=primary&gssencmode=disable&client_encoding=UTF8&fallback_application_name=x";
        let address = PostgresAddress::parse(taken).expect("accepted");
        assert_eq!(address.unused(), ["pgbouncer", "connection_limit"]);
        assert_eq!((address.access, address.application_name.as_deref()), (Access::Primary, Some("x")));
        for (query, words) in [
            ("?foo=bar", "the parameter `foo` is not understood: leave it out"),
            ("?schema=public", "`schema` is not understood: leave it out, because"),
            ("?ssl=true", "sslmode=require"),
            ("?keepalives_count=many", "must be numbers"),
            ("?target_session_attrs=standby", "any, primary, read-only or read-write"),
            ("?gssencmode=require", "use sslmode"),
            ("?client_encoding=LATIN1", "must be UTF8"),
            ("?hunter2%20hunter2=1", "the parameter (hidden) is not understood"),
        ] {
            let error = read(query).expect_err(query);
            assert!(error.contains(words), "{query}: {error}");
        }
    }

    #[test]
    fn hosts_addresses_and_ports_belong_to_each_other_by_place() {
        let address =
            PostgresAddress::parse("host=a,b hostaddr=10.0.0.1,10.0.0.2 port=1,2 user=u").expect("it is one");
        let shown: Vec<String> = address.peers().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.1:1", "10.0.0.2:2"]);
        assert_eq!((address.name(0).as_deref(), address.name(1).as_deref()), (Some("a"), Some("b")));
        let address = PostgresAddress::parse("host=/run/pg user=u").expect("it is one");
        assert_eq!(
            (address.peers(), address.name(0)),
            (vec![PeerAddress::Unix("/run/pg/.s.PGSQL.5432".into())], None)
        );
    }
}
