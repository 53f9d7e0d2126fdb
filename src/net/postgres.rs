//! PostgreSQL addresses, parsed once for the store and its probe, so that both understand them in the same way.
//!
//! The terms are libpq's (`sslmode`, `sslrootcert`). The driver knows some of them and parses the rest of the address.

use super::peer::PeerAddress;
use super::tls::{Check, TlsTrust};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};

/// The statement timeout of the store's sessions, which the server enforces.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The lock timeout of the store's sessions: an append holds its locks for one commit.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_millis(1_200);

/// The startup options of a store session. The probe sends the same ones, because not every pooler accepts them.
pub(crate) fn session_options() -> String {
    format!(
        "-c statement_timeout={} -c lock_timeout={}",
        STATEMENT_TIMEOUT.as_millis(),
        LOCK_TIMEOUT.as_millis()
    )
}

/// Advice about a pooler that rejects these options; empty if the error is about something else.
pub(crate) fn startup_advice(message: &str) -> &'static str {
    if !message.contains("startup parameter") {
        return "";
    }
    "; set ignore_startup_parameters = options in pgbouncer.ini, and the timeouts by ALTER ROLE (docs/dependencies.md)"
}

/// The columns for [`weakness`], in its order.
pub(crate) const WEAKNESSES: &str =
    "current_setting('fsync'), current_setting('statement_timeout'), current_setting('lock_timeout')";

/// The reason why a working server is worse than it should be, if there is one.
pub(crate) fn weakness(fsync: &str, statement: &str, lock: &str) -> Option<String> {
    let unsafe_disk = (fsync == "off")
        .then_some("fsync is off on the server: a power cut or a crash of its machine loses or spoils what was acknowledged; set it to on");
    let no_end = (statement == "0" || lock == "0").then(|| {
        format!(
            "a pooler drops our timeouts: ALTER ROLE … SET statement_timeout = '{}ms'; ALTER ROLE … SET lock_timeout = '{}ms'",
            STATEMENT_TIMEOUT.as_millis(),
            LOCK_TIMEOUT.as_millis()
        )
    });
    let said: Vec<String> = unsafe_disk.map(str::to_owned).into_iter().chain(no_end).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    /// Encrypted if the server supports it.
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A PostgreSQL server's location and how to connect to it. It holds a secret.
#[derive(Clone)]
pub(crate) struct PostgresAddress {
    /// All that the driver reads. Its `sslmode` says whether TLS is requested and required.
    pub(crate) config: Config,
    /// The file of authorities; `None`: the system's.
    roots: Option<PathBuf>,
    check: Check,
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresAddress").field("check", &self.check).finish_non_exhaustive()
    }
}

/// The reason why an address is invalid, and what to write instead. It never repeats the address.
#[derive(Debug)]
pub enum AddressError {
    Form(tokio_postgres::Error),
    /// `sslmode` has an unknown value.
    Mode,
    /// `sslrootcert` is given with a mode that checks no certificates.
    RootsUnused,
    /// `sslrootcert=system` is given with a mode that does not check the name in the certificate.
    SystemUnchecked,
    /// TLS without the preceding request (direct negotiation).
    Direct,
    /// A client certificate or key.
    Ours,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Form(error) => write!(f, "{error}"),
            AddressError::Mode => f.write_str(
                "sslmode must be \"disable\", \"prefer\", \"require\", \"verify-ca\" or \"verify-full\"",
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
    /// Reads an address. Resolves no name and opens no file.
    pub(crate) fn parse(text: &str) -> Result<PostgresAddress, AddressError> {
        let (rest, mode, roots) = take_tls(text);
        if OURS.iter().any(|name| rest.contains(name)) {
            return Err(AddressError::Ours);
        }
        let mut config: Config = rest.parse().map_err(AddressError::Form)?;
        if config.get_ssl_negotiation() != SslNegotiation::Postgres {
            return Err(AddressError::Direct);
        }
        let mode = match mode.as_deref() {
            Some("disable") => Mode::Disable,
            Some("prefer") => Mode::Prefer,
            Some("require") => Mode::Require,
            Some("verify-ca") => Mode::VerifyCa,
            Some("verify-full") => Mode::VerifyFull,
            Some(_) => return Err(AddressError::Mode),
            // The form `host=… sslmode=…`, which the driver reads completely.
            None if config.get_ssl_mode() == SslMode::Disable => Mode::Disable,
            None if config.get_ssl_mode() == SslMode::Require => Mode::Require,
            None => Mode::Prefer,
        };
        let check = check(mode, roots.as_deref())?;
        config.ssl_mode(match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        let roots = roots.filter(|file| file != SYSTEM).map(PathBuf::from);
        Ok(PostgresAddress { config, roots, check })
    }

    /// The possible peers in the order in which to try them. An address given in addition to a host (`hostaddr`) is dialled
    /// instead of it.
    pub(crate) fn peers(&self) -> Vec<PeerAddress> {
        let (hosts, addresses) = (self.config.get_hosts(), self.config.get_hostaddrs());
        let ports = self.config.get_ports();
        (0..hosts.len().max(addresses.len()))
            .filter_map(|place| {
                let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
                match (addresses.get(place), hosts.get(place)) {
                    (Some(address), _) => Some(PeerAddress::Tcp { host: address.to_string(), port }),
                    (None, Some(Host::Tcp(host))) => Some(PeerAddress::Tcp { host: host.clone(), port }),
                    (None, Some(Host::Unix(folder))) => {
                        Some(PeerAddress::Unix(folder.join(format!(".s.PGSQL.{port}"))))
                    }
                    (None, None) => None,
                }
            })
            .collect()
    }

    /// The name that the certificate of the peer at this place must have, if names are checked.
    pub(crate) fn name(&self, place: usize) -> Option<String> {
        match self.config.get_hosts().get(place) {
            Some(Host::Tcp(host)) => Some(host.clone()),
            Some(Host::Unix(_)) => None,
            None => self.config.get_hostaddrs().get(place).map(ToString::to_string),
        }
    }

    /// The trusted authorities.
    pub(crate) fn trust(&self) -> TlsTrust {
        TlsTrust::of_postgres(self.roots.clone(), self.check)
    }
}

/// Settings of a client certificate, as they are written in a query.
const OURS: [&str; 6] = ["?sslcert=", "&sslcert=", "?sslkey=", "&sslkey=", "?sslpassword=", "&sslpassword="];

/// The value of `sslrootcert` that means the system's authorities.
const SYSTEM: &str = "system";

fn check(mode: Mode, roots: Option<&str>) -> Result<Check, AddressError> {
    match (mode, roots) {
        (Mode::Disable | Mode::Prefer, Some(_)) => Err(AddressError::RootsUnused),
        (Mode::Require | Mode::VerifyCa, Some(SYSTEM)) => Err(AddressError::SystemUnchecked),
        (Mode::Disable | Mode::Prefer | Mode::Require, None) => Ok(Check::Nothing),
        // As in libpq: naming an authority implies checking it.
        (Mode::Require, Some(_)) | (Mode::VerifyCa, _) => Ok(Check::Chain),
        (Mode::VerifyFull, _) => Ok(Check::Name),
    }
}

/// A URL without its TLS settings, and these settings.
fn take_tls(text: &str) -> (String, Option<String>, Option<String>) {
    let Some((base, query)) = text.split_once('?').filter(|(base, _)| base.contains("://")) else {
        return (text.into(), None, None);
    };
    let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
    for pair in query.split('&') {
        let decoded = |value| Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = decoded(value),
            Some(("sslrootcert", "")) => roots = None,
            Some(("sslrootcert", value)) => roots = decoded(value),
            Some(_) | None => rest.push(pair),
        }
    }
    let mark = if rest.is_empty() { "" } else { "?" };
    (format!("{base}{mark}{}", rest.join("&")), mode, roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(SslMode, Check, Option<PathBuf>), String> {
        let address = PostgresAddress::parse(&format!("postgres://u:p%40@db/chat{query}"));
        let address = address.map_err(|error| error.to_string())?;
        assert_eq!(
            (address.config.get_dbname(), address.config.get_password()),
            (Some("chat"), Some(&b"p@"[..]))
        );
        Ok((address.config.get_ssl_mode(), address.check, address.roots))
    }

    #[test]
    fn libpq_modes_mean_what_they_mean_there() {
        let file = Some(PathBuf::from("/etc/pg/ca file.pem"));
        let roots = "sslrootcert=/etc/pg/ca%20file.pem";
        for (query, mode, check, file) in [
            (String::new(), SslMode::Prefer, Check::Nothing, None),
            ("?sslmode=disable".into(), SslMode::Disable, Check::Nothing, None),
            ("?sslmode=prefer&connect_timeout=3".into(), SslMode::Prefer, Check::Nothing, None),
            ("?connect_timeout=3&sslmode=require".into(), SslMode::Require, Check::Nothing, None),
            (format!("?sslmode=require&{roots}"), SslMode::Require, Check::Chain, file.clone()),
            (format!("?{roots}&sslmode=verify-ca"), SslMode::Require, Check::Chain, file.clone()),
            (format!("?{roots}&sslmode=verify-full"), SslMode::Require, Check::Name, file),
            ("?sslmode=verify-full".into(), SslMode::Require, Check::Name, None),
            ("?sslmode=verify-full&sslrootcert=system".into(), SslMode::Require, Check::Name, None),
        ] {
            assert_eq!(read(&query), Ok((mode, check, file)), "{query}");
        }
    }

    #[test]
    fn contradictory_address_is_refused_with_advice() {
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
    fn server_is_weak_if_it_may_lose_commits_or_never_ends_a_statement() {
        assert_eq!(weakness("on", "1500ms", "1200ms"), None);
        assert!(weakness("off", "1500ms", "1200ms").is_some_and(|text| text.starts_with("fsync is off")));
        assert!(
            weakness("on", "0", "1200ms").is_some_and(|text| text.contains("statement_timeout = '1500ms'"))
        );
        assert!(
            weakness("off", "1s", "0").is_some_and(|text| text.contains("fsync") && text.contains("pooler"))
        );
    }

    #[test]
    fn hosts_addresses_and_ports_are_matched_by_place() {
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
