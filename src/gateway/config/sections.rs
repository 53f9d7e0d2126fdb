//! The effective configuration: one struct for each section of the file.

use super::alert::AlertSection;
use super::api::ApiSection;
use super::auth::AuthSection;
use super::certificate::TlsIdentity;
use super::dependency::DependencyConfig;
use super::error::ConfigWarning;
use super::flag::FlagConfig;
use super::origin::Origins;
use super::relay::RelayConfig;
use super::url::Url;
use super::value::Secret;
use crate::cluster::spread::RebalanceSettings;
use crate::drain::Plan;
use crate::health::snapshot::AdmissionMode;
use crate::limits::Limits;
use crate::log;
use crate::relay::route::AnswerMode;
use crate::slo::calendar::{ReportZone, WeekTime};
use crate::slo::{Counting, Objective};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Every value is within its bounds, and no two contradict each other.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub server: ServerSection,
    pub tls: TlsSection,
    pub store: StoreSection,
    pub bus: BusSection,
    pub limits: Limits,
    pub retention: RetentionSection,
    pub auth: AuthSection,
    pub health: HealthSection,
    pub admin: AdminSection,
    pub api: ApiSection,
    pub presence: PresenceSection,
    pub streams: StreamsSection,
    pub clients: ClientsSection,
    pub registry: RegistrySection,
    pub cluster: RebalanceSettings,
    pub drain: Plan,
    pub slo: SloSection,
    pub alert: AlertSection,
    /// `[[dependency]]`, and the dependencies that settings imply; no two have the same name.
    pub dependencies: Vec<DependencyConfig>,
    /// `[[flag]]`; no two have the same name.
    pub flags: Vec<FlagConfig>,
    /// `[[relay]]`, in the order of the file; no two have the same name.
    pub relays: Vec<RelayConfig>,
    pub log: LogSection,
    pub origins: Origins,
    /// Values that are accepted, but probably not meant.
    pub warnings: Vec<ConfigWarning>,
}

#[derive(Clone, Debug)]
pub struct ServerSection {
    /// Loopback unless auth is on.
    pub listen: SocketAddr,
    /// 0: one per core.
    pub reactors: u32,
    pub pin_reactors: bool,
    pub echo: bool,
    /// The page accepts a token in its link.
    pub link_tokens: bool,
    /// Accepted in addition to the `Host`'s own origin: lower case, without a trailing slash.
    pub origins: Vec<String>,
    /// Accepted in addition to loopback's names while auth is off: lower case, without a port.
    pub hosts: Vec<String>,
    /// Networks whose proxies are trusted to name a client's address.
    pub trusted_proxies: Vec<IpNet>,
    pub proxy_protocol: ProxyProtocol,
    pub takeover: bool,
    /// Every network is trusted, so what crosses one unencrypted is neither refused nor warned of.
    pub insecure_ok: bool,
    /// `None`: the system chooses the address of outgoing connections.
    pub source_address: Option<IpAddr>,
    /// `None`: the name is random.
    pub instance: Option<String>,
}

impl Default for ServerSection {
    fn default() -> ServerSection {
        ServerSection {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            reactors: 0,
            pin_reactors: false,
            echo: false,
            link_tokens: true,
            origins: Vec::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            takeover: false,
            insecure_ok: false,
            source_address: None,
            instance: None,
        }
    }
}

/// Use of PROXY protocol v2 headers (haproxy.org, `proxy-protocol.txt`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    #[default]
    Off,
    /// Every connection starts with a header and comes from `trusted_proxies`.
    Required,
}

/// The listener is encrypted exactly when there is an identity.
#[derive(Clone, Debug, Default)]
pub struct TlsSection {
    /// Seconds for which browsers use TLS only; 0: no such rule.
    pub hsts_max_age_s: u32,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The content of the two files; set exactly when both are.
    pub identity: Option<TlsIdentity>,
}

#[derive(Clone, Debug)]
pub struct StoreSection {
    /// A PostgreSQL database; `None` or `sqlite:` is the embedded store in `data`.
    pub url: Option<Url>,
    pub data: PathBuf,
    /// Free bytes on the disk of the embedded store below which publications are refused; 0: off.
    pub free_bytes_min: u64,
}

impl Default for StoreSection {
    fn default() -> StoreSection {
        StoreSection { url: None, data: PathBuf::from("data"), free_bytes_min: 1 << 30 }
    }
}

impl StoreSection {
    /// The PostgreSQL database that is the store; `None`: the store is embedded.
    pub fn postgres(&self) -> Option<&Url> {
        self.url.as_ref().filter(|url| url.scheme() != "sqlite")
    }
}

#[derive(Clone, Debug, Default)]
pub struct BusSection {
    /// `None`: this instance is the only one.
    pub url: Option<Url>,
    /// Prefix of the channels in Redis; `None`: `seawall`.
    pub prefix: Option<String>,
}

impl BusSection {
    /// The prefix of the channels in Redis.
    pub fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("seawall")
    }
}

/// A publication is deleted as soon as it exceeds one of the bounds.
#[derive(Clone, Debug)]
pub struct RetentionSection {
    /// Publications kept in each channel; 0: unbounded.
    pub publications: u64,
    /// Zero: forever.
    pub age: Duration,
    /// Bytes in use in the embedded store; 0: unbounded.
    pub bytes: u64,
}

impl Default for RetentionSection {
    fn default() -> RetentionSection {
        RetentionSection { publications: 100_000, age: Duration::from_secs(90 * 24 * 60 * 60), bytes: 0 }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct HealthSection {
    pub admission: AdmissionMode,
}

#[derive(Clone, Debug)]
pub struct AdminSection {
    /// `None`: no admin listener.
    pub listen: Option<SocketAddr>,
    /// `None`: the token file in `store.data`, which the first start creates.
    pub token: Option<Secret>,
    /// Accepted as `Host` in addition to loopback's names: lower case, without a port.
    pub hosts: Vec<String>,
    /// The address for operators elsewhere; `None`: unknown.
    pub url: Option<String>,
}

impl Default for AdminSection {
    fn default() -> AdminSection {
        AdminSection {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8081))),
            token: None,
            hosts: Vec::new(),
            url: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamsSection {
    /// Begins are accepted.
    pub enabled: bool,
    /// The time between two commits of pieces.
    pub rollup: Duration,
    /// The silence of a producer that ends a stream.
    pub idle: Duration,
    /// The time without a producer that ends a stream.
    pub orphan: Duration,
    /// The time that a cancelled stream has to end.
    pub cancel: Duration,
    pub life: Duration,
    pub open_per_channel: u32,
    pub events_per_stream: u32,
    /// Bytes of one stream that may wait for their commit.
    pub window_bytes: u32,
    /// The same for all streams together.
    pub pending_bytes: u64,
    /// The text of all open streams.
    pub memory_bytes: u64,
}

impl Default for StreamsSection {
    fn default() -> StreamsSection {
        StreamsSection {
            enabled: true,
            rollup: Duration::from_millis(40),
            idle: Duration::from_secs(30),
            orphan: Duration::from_secs(10),
            cancel: Duration::from_secs(5),
            life: Duration::from_secs(600),
            open_per_channel: 16,
            events_per_stream: 256,
            window_bytes: 64 << 10,
            pending_bytes: 16 << 20,
            memory_bytes: 64 << 20,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientsSection {
    /// Reports of errors are counted.
    pub reports: bool,
}

impl Default for ClientsSection {
    fn default() -> ClientsSection {
        ClientsSection { reports: true }
    }
}

#[derive(Clone, Debug)]
pub struct RegistrySection {
    /// Users are registered in Redis.
    pub users: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceSection {
    pub enabled: bool,
    /// How long a member stays after a lost connection.
    pub grace: Duration,
    /// Members above which a roster is counted.
    pub members: u32,
    /// Rosters that one connection uses.
    pub channels: u32,
    /// Commands of one user that use rosters, per second. 0: any number.
    pub commands_per_s: u32,
    /// The memory of other instances' members.
    pub views_bytes: u64,
}

impl Default for RegistrySection {
    fn default() -> RegistrySection {
        RegistrySection { users: true }
    }
}

impl Default for PresenceSection {
    fn default() -> PresenceSection {
        PresenceSection {
            enabled: true,
            grace: Duration::from_secs(10),
            members: 1_000,
            channels: 32,
            commands_per_s: 50,
            views_bytes: 64 << 20,
        }
    }
}

/// The objectives; `None` for one that is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloSection {
    pub enabled: bool,
    /// The time between two looks of the canary; `None`: it depends on the listener. Zero: there is no canary.
    pub canary: Option<Duration>,
    pub timezone: ReportZone,
    pub report_at: Option<WeekTime>,
    pub connection: Option<Objective>,
    pub delivery: Option<Objective>,
    pub latency: Option<Objective>,
    pub health: Option<Objective>,
    pub explained: Option<Objective>,
    pub recovery: Option<Objective>,
    pub answers: Option<Objective>,
    pub promptness: Option<Objective>,
    /// The time within which the first piece of an answer is good.
    pub prompt: Duration,
}

impl Config {
    /// The objectives to judge, by name. Those of answers need a route that has some.
    pub fn objectives(&self) -> Vec<(&'static str, Objective)> {
        let has_answers = self.relays.iter().any(|relay| relay.route.answers == AnswerMode::Stored);
        let of_answers = [("answers", self.slo.answers), ("promptness", self.slo.promptness)];
        let of_answers = of_answers.into_iter().filter_map(|(name, objective)| Some((name, objective?)));
        self.slo.objectives().into_iter().chain(of_answers.filter(|_| has_answers)).collect()
    }
}

impl SloSection {
    /// The objectives that do not depend on a relay, by name.
    fn objectives(&self) -> Vec<(&'static str, Objective)> {
        let all = [
            ("connection", self.connection),
            ("delivery", self.delivery),
            ("latency", self.latency),
            ("health", self.health),
            ("explained", self.explained),
            ("recovery", self.recovery),
        ];
        all.into_iter().filter_map(|(name, objective)| Some((name, objective?))).collect()
    }
}

impl Default for SloSection {
    fn default() -> SloSection {
        let promised = |allowed_ppm, period_days| {
            Some(Objective { allowed_ppm, period_days, counting: Counting::Events })
        };
        SloSection {
            enabled: true,
            canary: None,
            timezone: ReportZone::default(),
            report_at: WeekTime::parse("Mon 09:00"),
            connection: promised(5_000, 30),
            delivery: promised(1_000, 7),
            latency: promised(50_000, 1),
            health: promised(500, 30),
            explained: promised(1_000, 30),
            recovery: promised(10_000, 7),
            answers: promised(10_000, 7),
            promptness: promised(50_000, 1),
            prompt: Duration::from_secs(10),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct LogSection {
    pub format: log::Format,
    pub level: log::LogLevel,
}
