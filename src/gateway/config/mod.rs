//! What the operator decides, and where each decision came from.
//!
//! Four layers, each over the one before: defaults, a TOML file, `SEAWALL_*` variables, flags. One table of
//! [settings](table) drives all of them, the listing of `check-config`, the reference in
//! `docs/configuration.md` and `seawall.example.toml`. Whatever is wrong is reported at once, with its key,
//! value, bound and origin: an operator should need one attempt, not one for each mistake.

pub mod auth;
pub mod certificate;
mod contradiction;
pub mod dependency;
pub mod error;
mod file;
pub mod key;
mod limit;
mod nearest;
mod parse;
pub mod place;
pub mod print;
pub mod ready_made;
#[cfg(test)]
mod reference;
pub mod renewal;
pub mod setting;
pub mod source;
pub mod table;
pub mod tls;
pub mod url;
mod variable;

use crate::drain::Plan;
use crate::health::snapshot::AdmissionMode;
use crate::limits::Limits;
use crate::log;
use auth::AuthConfig;
use dependency::DependencyConfig;
use error::{ConfigError, Fault, Problem};
use ipnet::IpNet;
use key::Secret;
use parse::Raw;
use setting::Setting;
use source::{Origin, Origins, Sources};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tls::TlsConfig;
use url::Url;

/// The effective configuration. Every value is within its bounds and none contradicts another.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[tls]`
    pub tls: TlsConfig,
    /// `[store]`
    pub store: StoreConfig,
    /// `[bus]`
    pub bus: BusConfig,
    /// `[limits]`
    pub limits: Limits,
    /// `[retention]`
    pub retention: Retention,
    /// `[auth]`
    pub auth: AuthConfig,
    /// `[health]`
    pub health: HealthConfig,
    /// `[admin]`
    pub admin: AdminConfig,
    /// `[drain]`
    pub drain: Plan,
    /// `[[dependency]]`, and what `store.url` and `bus.url` imply; no two have the same name.
    pub dependencies: Vec<DependencyConfig>,
    /// `[log]`
    pub log: LogConfig,
    /// Where each value came from.
    pub origins: Origins,
}

/// `[server]`: where it listens and whom it believes.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address of the listener. Without auth it is always loopback.
    pub listen: SocketAddr,
    /// Reactor threads; 0: one per core.
    pub reactors: u32,
    /// Whether each reactor stays on one core.
    pub pin_reactors: bool,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// Accepted `Origin`s beside the `Host`'s own: lower case, without a trailing slash.
    pub origins: Vec<String>,
    /// Accepted `Host` names beside loopback's when auth is off: lower case, without a port.
    pub hosts: Vec<String>,
    /// Networks whose proxies may tell a client's address.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections start with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Whether a successor may listen at the same address.
    pub takeover: bool,
    /// Address that outgoing connections leave from; `None`: the system chooses.
    pub source_address: Option<IpAddr>,
    /// Name of this instance; `None`: one is made of the host's name and the process id.
    pub instance: Option<String>,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            reactors: 0,
            pin_reactors: false,
            echo: false,
            origins: Vec::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            takeover: false,
            source_address: None,
            instance: None,
        }
    }
}

/// Whether connections start with a PROXY protocol v2 header (haproxy.org, `proxy-protocol.txt`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None does.
    #[default]
    Off,
    /// All do, and all come from `trusted_proxies`.
    Required,
}

/// `[store]`: where publications are kept.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `None` or `sqlite:`, both the embedded store in `data`; or a PostgreSQL database.
    pub url: Option<Url>,
    /// Folder of the embedded store.
    pub data: PathBuf,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig { url: None, data: PathBuf::from("data") }
    }
}

impl StoreConfig {
    /// The PostgreSQL database that is the store; `None`: the embedded store is.
    pub fn postgres(&self) -> Option<&Url> {
        self.url.as_ref().filter(|url| url.scheme() != "sqlite")
    }
}

/// `[bus]`: how instances reach each other.
#[derive(Clone, Debug, Default)]
pub struct BusConfig {
    /// The Redis that carries publications; `None`: every instance is alone.
    pub url: Option<Url>,
    /// Begins the names of its channels in Redis; `None`: `seawall`.
    pub prefix: Option<String>,
}

/// `[retention]`: how long publications are kept. Whichever bound is reached first counts.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Publications kept in each channel; 0: unbounded.
    pub publications: u64,
    /// Age at which a publication goes; zero: never.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { publications: 100_000, age: Duration::from_secs(90 * 24 * 60 * 60) }
    }
}

/// `[health]`: what follows from what is known of the dependencies.
#[derive(Clone, Copy, Debug, Default)]
pub struct HealthConfig {
    /// Whether people are refused while a critical dependency is down.
    pub admission: AdmissionMode,
}

/// `[admin]`: the listener for operators.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Its address; `None`: there is none.
    pub listen: Option<SocketAddr>,
    /// What operators show; `None`: one that is made at the first start, in `store.data`.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        AdminConfig { listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8081))), token: None }
    }
}

/// `[log]`: what is logged, to stderr.
#[derive(Clone, Debug, Default)]
pub struct LogConfig {
    /// The form of a line.
    pub format: log::Format,
    /// The least important level.
    pub level: log::Level,
}

/// Reads all sources and checks the whole. On failure it names everything that is wrong.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    Draft::read(sources).finish()
}

/// Reads one text as if it were the whole of a file at `path`, with no variables and no flags. Files that
/// the text names are read.
pub fn load_text(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let mut draft = Draft::default();
    file::take(&mut draft, path, text);
    draft.finish()
}

/// A configuration that is being read.
#[derive(Default)]
struct Draft {
    config: Config,
    problems: Vec<Problem>,
    /// Tables of `[[dependency]]`, not yet understood.
    entries: Vec<dependency::Entry>,
    /// Settings of which a value was refused: what stands in `config` is not what was meant, so it
    /// contradicts nothing.
    refused: BTreeSet<&'static str>,
}

impl Draft {
    fn read(sources: &Sources) -> Draft {
        let mut draft = Draft::default();
        file::read(&mut draft, &sources.file);
        variable::read(&mut draft, &sources.variables);
        for flag in &sources.flags {
            if let Some(setting) = table::by_flag(flag.name) {
                draft.take(setting, &Raw::Plain(flag.value.clone()), Origin::Flag(flag.name));
            }
        }
        draft
    }

    fn finish(mut self) -> Result<Config, ConfigError> {
        contradiction::find(&mut self);
        dependency::resolve(&mut self);
        tls::read(&mut self);
        if self.problems.is_empty() { Ok(self.config) } else { Err(ConfigError { problems: self.problems }) }
    }

    fn take(&mut self, setting: &'static Setting, raw: &Raw, origin: Origin) {
        match setting.write(&mut self.config, raw, &origin) {
            Ok(()) => self.config.origins.note(setting.name, origin),
            Err(fault) => {
                self.refused.insert(setting.name);
                self.report(origin, setting.name, fault);
            }
        }
    }

    fn report(&mut self, origin: Origin, key: impl Into<String>, fault: Fault) {
        self.problems.push(Problem { origin, key: key.into(), fault });
    }
}
