//! The table of settings: add one here, and file, variable, listing and reference have it.

use super::place::{Bounds, Form, Place, Words};
use super::setting::Setting;
use super::url::UrlKind;
use super::{ProxyProtocol, limit};
use crate::health::snapshot::AdmissionMode;
use crate::log::{Format, Level};

/// No drain lasts longer.
const DAY_MS: u64 = 86_400_000;

const FORMATS: [Format; 2] = [Format::Text, Format::Json];
const LEVELS: [Level; 4] = [Level::Error, Level::Warn, Level::Info, Level::Debug];
const ADMISSIONS: [AdmissionMode; 2] = [AdmissionMode::Enforce, AdmissionMode::Observe];
const PROXY_PROTOCOLS: [ProxyProtocol; 2] = [ProxyProtocol::Off, ProxyProtocol::Required];

/// The place of `value` among all of its type.
fn position<T: PartialEq>(all: &[T], value: &T) -> usize {
    all.iter().position(|candidate| candidate == value).unwrap_or(0)
}

/// All settings but `[limits]`, in the order they are listed.
const GENERAL: &[Setting] = &[
    Setting::of("server.listen", Place::Address(|c| &mut c.server.listen))
        .flag("--listen")
        .doc("Address of the listener. Without auth it must be loopback.").at_restart(),
    Setting::of("server.reactors", Place::U32(Bounds::to(256).or_zero("one per core"), |c| &mut c.server.reactors))
        .flag("--reactors")
        .doc("Reactor threads.").at_restart(),
    Setting::of("server.pin_reactors", Place::Switch(|c| &mut c.server.pin_reactors))
        .doc("Keep each reactor on one core. Only for a machine of its own.").at_restart(),
    Setting::of("server.echo", Place::Switch(|c| &mut c.server.echo))
        .flag("--echo")
        .doc("Serve `/echo`: the same upgrade and limits, each message sent back.").at_reload(),
    Setting::of("server.origins", Place::List(Form::Origin, |c| &mut c.server.origins))
        .doc("Origins of web pages that may connect, beside pages of the same host.").at_reload(),
    Setting::of("server.hosts", Place::List(Form::Host, |c| &mut c.server.hosts))
        .doc("Without auth: `Host` names accepted beside `localhost`, `127.0.0.1` and `[::1]`.").at_reload(),
    Setting::of("server.trusted_proxies", Place::Networks(|c| &mut c.server.trusted_proxies))
        .doc("Networks whose proxies are believed when they tell a client's address.").at_reload(),
    Setting::of(
        "server.proxy_protocol",
        Place::Word(Words {
            words: &["off", "required"],
            write: |c, at| c.server.proxy_protocol = PROXY_PROTOCOLS.get(at).copied().unwrap_or_default(),
            read: |c| position(&PROXY_PROTOCOLS, &c.server.proxy_protocol),
        }),
    )
    .doc("Whether every connection starts with a PROXY v2 header. Needs `server.trusted_proxies`.").at_reload(),
    Setting::of("server.takeover", Place::Switch(|c| &mut c.server.takeover))
        .doc("Whether a second process of the same user on this machine may listen at the same address, so that it takes over while this one drains. Both need it. PostgreSQL only: an embedded store has one owner.")
        .at_restart(),
    Setting::of("server.source_address", Place::Ip(|c| &mut c.server.source_address))
        .doc("Address of this machine that connections to the store, the bus and every other dependency leave from. Without one the system chooses.").at_restart(),
    Setting::of("server.instance", Place::Text(Form::Name, |c| &mut c.server.instance))
        .doc("Name of this instance. Without one: the host's name and the process id.").at_restart(),
    Setting::of("tls.certificate", Place::File(|c| &mut c.tls.certificate))
        .doc("PEM file with the gateway's certificate and, behind it, those that signed it. With `tls.key` the listener speaks TLS, and nothing else. Both files are read again by SIGHUP.").at_reload(),
    Setting::of("tls.key", Place::File(|c| &mut c.tls.key))
        .doc("PEM file with the certificate's private key: PKCS#8, PKCS#1 or SEC1, without a passphrase.").at_reload(),
    Setting::of("store.url", Place::Url(UrlKind::Store, |c| &mut c.store.url))
        .doc("Which store: a PostgreSQL database, or without one (or `sqlite:`) the embedded SQLite. Better in `SEAWALL_STORE_URL` than in a file.").at_restart(),
    Setting::of("store.data", Place::Folder(|c| &mut c.store.data))
        .flag("--data")
        .doc("Folder of the SQLite store, and of `admin.token`. Made if it is missing; one process at a time.").at_restart(),
    Setting::of("bus.url", Place::Url(UrlKind::Bus, |c| &mut c.bus.url))
        .doc("The Redis that carries publications between instances. Without one every instance is alone. Better in `SEAWALL_BUS_URL` than in a file.").at_restart(),
    Setting::of("bus.prefix", Place::Text(Form::Name, |c| &mut c.bus.prefix))
        .doc("Begins the names of its channels in Redis. Without one: `seawall`. Two systems that share a Redis need one each.").at_restart(),
    Setting::of(
        "retention.publications",
        Place::U64(Bounds::to(1_000_000_000_000).or_zero("unbounded"), |c| &mut c.retention.publications),
    )
    .doc("Publications kept in each channel.").at_restart(),
    Setting::of(
        "retention.age_ms",
        Place::Millis(Bounds::to(3_650 * 86_400_000).from(1_000).or_zero("forever"), |c| &mut c.retention.age),
    )
    .doc("Age at which a publication goes.").at_restart(),
    Setting::of("auth.secret", Place::SharedSecret)
        .doc("One HS256 key, short for an entry of `[[auth.keys]]`. Better in `SEAWALL_AUTH_SECRET` than in a file.").at_reload(),
    Setting::of("auth.audience", Place::Text(Form::Any, |c| &mut c.auth.audience))
        .doc("What a token's `aud` must contain. Without one it is not checked.").at_reload(),
    Setting::of("auth.issuer", Place::Text(Form::Any, |c| &mut c.auth.issuer))
        .doc("What a token's `iss` must be. Without one it is not checked.").at_reload(),
    Setting::of("auth.leeway_ms", Place::Millis(Bounds::to(300_000).from(0), |c| &mut c.auth.leeway))
        .doc("How far clocks may differ when `exp` and `nbf` are checked.").at_reload(),
    Setting::of("auth.timeout_ms", Place::Millis(Bounds::to(3_000).from(50), |c| &mut c.auth.timeout))
        .doc("Of one call to the auth service: an introspection, or a fetch of its key set.").at_reload(),
    Setting::of("auth.introspection_url", Place::Url(UrlKind::Http, |c| &mut c.auth.introspection.url))
        .doc("Where tokens that no key knows are asked about (RFC 7662).").at_reload(),
    Setting::of("auth.client_id", Place::Text(Form::Any, |c| &mut c.auth.introspection.client_id))
        .doc("Who asks there. Sent with `auth.client_secret` as HTTP Basic.").at_reload(),
    Setting::of("auth.client_secret", Place::Secret(|c| &mut c.auth.introspection.client_secret))
        .doc("The secret of `auth.client_id`; without one it is sent as a bearer token. Better in `SEAWALL_AUTH_CLIENT_SECRET` than in a file.").at_reload(),
    Setting::of("auth.introspection_user", Place::Text(Form::Any, |c| &mut c.auth.introspection.user))
        .doc("Member of the answer that names the user. Without one: `sub`.").at_reload(),
    Setting::of("auth.introspection_channels", Place::Text(Form::Any, |c| &mut c.auth.introspection.channels))
        .doc("Member of the answer that says who may do what, in the form of the claim `channels`. Without one: `channels`.").at_reload(),
    Setting::of(
        "auth.waiting",
        Place::U32(Bounds::to(65_536).from(16), |c| &mut c.auth.waiting),
    )
    .doc("Connections that may wait for the auth service at once; over it 1013.").at_reload(),
    Setting::of(
        "auth.cache_entries",
        Place::U32(Bounds::to(1_000_000).from(16), |c| &mut c.auth.introspection.cache_entries),
    )
    .doc("Good answers that are remembered; a quarter as many bad ones beside them.").at_reload(),
    Setting::of(
        "auth.cache_bytes",
        Place::U64(Bounds::to(1 << 30).from(64 << 10), |c| &mut c.auth.introspection.cache_bytes),
    )
    .doc("Memory of all good answers, about.").at_reload(),
    Setting::of("auth.cache_ms", Place::Millis(Bounds::to(3_600_000).from(0), |c| &mut c.auth.introspection.cache))
        .doc("How long a good answer is used without asking again. While the auth service is down it is used until the token expires.").at_reload(),
    Setting::of(
        "auth.cache_refused_ms",
        Place::Millis(Bounds::to(60_000).from(0), |c| &mut c.auth.introspection.cache_refused),
    )
    .doc("How long a bad answer is.").at_reload(),
    Setting::of("auth.jwks_url", Place::Url(UrlKind::Http, |c| &mut c.auth.jwks.url))
        .doc("Where the issuer publishes its keys (RFC 7517).").at_reload(),
    Setting::of(
        "auth.jwks_refresh_ms",
        Place::Millis(Bounds::to(86_400_000).from(1_000), |c| &mut c.auth.jwks.refresh),
    )
    .doc("Between two fetches of the key set.").at_reload(),
    Setting::of("auth.jwks_pause_ms", Place::Millis(Bounds::to(600_000).from(100), |c| &mut c.auth.jwks.pause))
        .doc("Least time between two fetches that tokens with an unknown `kid` cause.").at_reload(),
    Setting::of(
        "health.admission",
        Place::Word(Words {
            words: &["enforce", "observe"],
            write: |c, at| c.health.admission = ADMISSIONS.get(at).copied().unwrap_or_default(),
            read: |c| position(&ADMISSIONS, &c.health.admission),
        }),
    )
    .doc("While a critical dependency is down: `enforce` refuses new connections and says why; `observe` lets them in and counts.").at_reload(),
    Setting::of("admin.listen", Place::AddressOrOff(|c| &mut c.admin.listen))
        .doc("Address of the listener for operators, plain HTTP; `off`: none. Left at its default and taken: a warning, and none. Said and taken: no start.").at_restart(),
    Setting::of("admin.token", Place::Bearer(|c| &mut c.admin.token))
        .doc("What operators send as `Authorization: Bearer`. Without one it is made at the first start: the file `admin.token` in `store.data`. Better in `SEAWALL_ADMIN_TOKEN` than in a file.").at_restart(),
    Setting::of("drain.accept_ms", Place::Millis(Bounds::to(DAY_MS).from(0), |c| &mut c.drain.accept))
        .doc("From the signal on: so long it accepts, while `/health/ready` is 503 already. Longer than a load balancer takes to notice.").at_reload(),
    Setting::of("drain.spread_ms", Place::Millis(Bounds::to(DAY_MS).from(0), |c| &mut c.drain.spread))
        .doc("From there on: so long the slots are spread in which clients move.").at_reload(),
    Setting::of("drain.close_ms", Place::Millis(Bounds::to(DAY_MS), |c| &mut c.drain.close))
        .doc("From the signal on: who is still here then gets `bye` and close 1012.").at_reload(),
    Setting::of("drain.exit_ms", Place::Millis(Bounds::to(DAY_MS), |c| &mut c.drain.exit))
        .doc("From the signal on: the process is gone by then. Below what gives it: Kubernetes' `terminationGracePeriodSeconds`, systemd's `TimeoutStopSec`.").at_reload(),
    Setting::of("drain.return_ms", Place::Millis(Bounds::to(600_000).from(0), |c| &mut c.drain.returns))
        .doc("Who was closed is told to come back within so long, spread evenly.").at_reload(),
    Setting::of(
        "log.format",
        Place::Word(Words {
            words: &["text", "json"],
            write: |c, at| c.log.format = FORMATS.get(at).copied().unwrap_or_default(),
            read: |c| position(&FORMATS, &c.log.format),
        }),
    )
    .flag("--log-format")
    .doc("Form of the log's lines, on stderr.").at_restart(),
    Setting::of(
        "log.level",
        Place::Word(Words {
            words: &["error", "warn", "info", "debug"],
            write: |c, at| c.log.level = LEVELS.get(at).copied().unwrap_or_default(),
            read: |c| position(&LEVELS, &c.log.level),
        }),
    )
    .flag("--log-level")
    .doc("Least important level that is logged.").at_reload(),
];

/// The sections, in the order they are listed, and what each is about.
pub const SECTIONS: [(&str, &str); 11] = [
    ("server", "Where it listens and whom it believes."),
    ("tls", "Encryption of the listener: on exactly when both are set."),
    ("store", "Where publications are kept."),
    ("bus", "How instances reach each other."),
    ("limits", "What a peer may cost. Sizes are bytes, durations milliseconds, rates per second."),
    ("retention", "How long publications are kept: whichever bound is reached first counts."),
    (
        "auth",
        "Whose tokens are believed. Auth is on exactly when there is a key, or an auth service: `introspection_url` or `jwks_url`.",
    ),
    ("health", "What follows from what is known of the dependencies."),
    ("admin", "The listener for operators: what the public one hides, and what they may do."),
    ("drain", "How it ends: clients move to another instance first. See docs/operations.md."),
    ("log", "What is logged, to stderr."),
];

/// Every setting; those of one section stand together.
pub fn all() -> impl Iterator<Item = &'static Setting> + Clone {
    GENERAL.iter().chain(limit::LIMITS)
}

/// The settings of one section.
pub fn of_section(section: &str) -> impl Iterator<Item = &'static Setting> {
    all().filter(move |setting| setting.section() == section)
}

/// The setting of this full name.
pub fn by_name(name: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.name == name)
}

/// The setting of this flag.
pub fn by_flag(flag: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.flag == Some(flag))
}
