//! The table of settings: add one here, and file, variable, listing and reference have it.

use super::setting::{Bounds, Form, Place, Setting, Words};
use super::url::UrlKind;
use super::{ProxyProtocol, limit};
use crate::health::snapshot::AdmissionMode;
use crate::log::{Format, Level};

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
        .doc("Address of the listener. Without auth it must be loopback."),
    Setting::of("server.reactors", Place::U32(Bounds::to(256).or_zero("one per core"), |c| &mut c.server.reactors))
        .flag("--reactors")
        .doc("Reactor threads."),
    Setting::of("server.pin_reactors", Place::Switch(|c| &mut c.server.pin_reactors))
        .doc("Keep each reactor on one core. Only for a machine of its own."),
    Setting::of("server.echo", Place::Switch(|c| &mut c.server.echo))
        .flag("--echo")
        .doc("Serve `/echo`: the same upgrade and limits, each message sent back."),
    Setting::of("server.origins", Place::List(Form::Origin, |c| &mut c.server.origins))
        .doc("Origins of web pages that may connect, beside pages of the same host."),
    Setting::of("server.hosts", Place::List(Form::Host, |c| &mut c.server.hosts))
        .doc("Without auth: `Host` names accepted beside `localhost`, `127.0.0.1` and `[::1]`."),
    Setting::of("server.trusted_proxies", Place::Networks(|c| &mut c.server.trusted_proxies))
        .doc("Networks whose proxies are believed when they tell a client's address."),
    Setting::of(
        "server.proxy_protocol",
        Place::Word(Words {
            words: &["off", "required"],
            write: |c, at| c.server.proxy_protocol = PROXY_PROTOCOLS.get(at).copied().unwrap_or_default(),
            read: |c| position(&PROXY_PROTOCOLS, &c.server.proxy_protocol),
        }),
    )
    .doc("Whether every connection starts with a PROXY v2 header. Needs `server.trusted_proxies`."),
    Setting::of("server.source_address", Place::Ip(|c| &mut c.server.source_address))
        .doc("Address of this machine that connections to the store, the bus and every other dependency leave from. Without one the system chooses."),
    Setting::of("server.instance", Place::Text(Form::Name, |c| &mut c.server.instance))
        .doc("Name of this instance. Without one: the host's name and the process id."),
    Setting::of("tls.certificate", Place::File(|c| &mut c.tls.certificate))
        .doc("PEM file with the gateway's certificate and, behind it, those that signed it. With `tls.key` the listener speaks TLS, and nothing else. Read again by SIGHUP."),
    Setting::of("tls.key", Place::File(|c| &mut c.tls.key))
        .doc("PEM file with the certificate's private key: PKCS#8, PKCS#1 or SEC1, without a passphrase."),
    Setting::of("store.url", Place::Url(UrlKind::Store, |c| &mut c.store.url))
        .doc("Which store: a PostgreSQL database, or without one (or `sqlite:`) the embedded SQLite. Better in `SEAWALL_STORE_URL` than in a file."),
    Setting::of("store.data", Place::Folder(|c| &mut c.store.data))
        .flag("--data")
        .doc("Folder of the SQLite store, and of `admin.token`. Made if it is missing; one process at a time."),
    Setting::of("bus.url", Place::Url(UrlKind::Bus, |c| &mut c.bus.url))
        .doc("The Redis that carries publications between instances. Without one every instance is alone. Better in `SEAWALL_BUS_URL` than in a file."),
    Setting::of("bus.prefix", Place::Text(Form::Name, |c| &mut c.bus.prefix))
        .doc("Begins the names of its channels in Redis. Without one: `seawall`. Two systems that share a Redis need one each."),
    Setting::of(
        "retention.publications",
        Place::U64(Bounds::to(1_000_000_000_000).or_zero("unbounded"), |c| &mut c.retention.publications),
    )
    .doc("Publications kept in each channel."),
    Setting::of(
        "retention.age_ms",
        Place::Millis(Bounds::to(3_650 * 86_400_000).from(1_000).or_zero("forever"), |c| &mut c.retention.age),
    )
    .doc("Age at which a publication goes."),
    Setting::of("auth.secret", Place::SharedSecret)
        .doc("One HS256 key, short for an entry of `[[auth.keys]]`. Better in `SEAWALL_AUTH_SECRET` than in a file."),
    Setting::of("auth.audience", Place::Text(Form::Any, |c| &mut c.auth.audience))
        .doc("What a token's `aud` must contain. Without one it is not checked."),
    Setting::of("auth.issuer", Place::Text(Form::Any, |c| &mut c.auth.issuer))
        .doc("What a token's `iss` must be. Without one it is not checked."),
    Setting::of("auth.leeway_ms", Place::Millis(Bounds::to(300_000).from(0), |c| &mut c.auth.leeway))
        .doc("How far clocks may differ when `exp` and `nbf` are checked."),
    Setting::of("auth.timeout_ms", Place::Millis(Bounds::to(3_000).from(50), |c| &mut c.auth.timeout))
        .doc("Of one call to the auth service: an introspection, or a fetch of its key set."),
    Setting::of("auth.introspection_url", Place::Url(UrlKind::Http, |c| &mut c.auth.introspection.url))
        .doc("Where tokens that no key knows are asked about (RFC 7662)."),
    Setting::of("auth.client_id", Place::Text(Form::Any, |c| &mut c.auth.introspection.client_id))
        .doc("Who asks there. Sent with `auth.client_secret` as HTTP Basic."),
    Setting::of("auth.client_secret", Place::Secret(|c| &mut c.auth.introspection.client_secret))
        .doc("The secret of `auth.client_id`; without one it is sent as a bearer token. Better in `SEAWALL_AUTH_CLIENT_SECRET` than in a file."),
    Setting::of("auth.introspection_user", Place::Text(Form::Any, |c| &mut c.auth.introspection.user))
        .doc("Member of the answer that names the user. Without one: `sub`."),
    Setting::of("auth.introspection_channels", Place::Text(Form::Any, |c| &mut c.auth.introspection.channels))
        .doc("Member of the answer that says who may do what, in the form of the claim `channels`. Without one: `channels`."),
    Setting::of(
        "auth.waiting",
        Place::U32(Bounds::to(65_536).from(16), |c| &mut c.auth.waiting),
    )
    .doc("Connections that may wait for the auth service at once; over it 1013."),
    Setting::of(
        "auth.cache_entries",
        Place::U32(Bounds::to(1_000_000).from(16), |c| &mut c.auth.introspection.cache_entries),
    )
    .doc("Good answers that are remembered; a quarter as many bad ones beside them."),
    Setting::of(
        "auth.cache_bytes",
        Place::U64(Bounds::to(1 << 30).from(64 << 10), |c| &mut c.auth.introspection.cache_bytes),
    )
    .doc("Memory of all good answers, about."),
    Setting::of("auth.cache_ms", Place::Millis(Bounds::to(3_600_000).from(0), |c| &mut c.auth.introspection.cache))
        .doc("How long a good answer is used without asking again. While the auth service is down it is used until the token expires."),
    Setting::of(
        "auth.cache_refused_ms",
        Place::Millis(Bounds::to(60_000).from(0), |c| &mut c.auth.introspection.cache_refused),
    )
    .doc("How long a bad answer is."),
    Setting::of("auth.jwks_url", Place::Url(UrlKind::Http, |c| &mut c.auth.jwks.url))
        .doc("Where the issuer publishes its keys (RFC 7517)."),
    Setting::of(
        "auth.jwks_refresh_ms",
        Place::Millis(Bounds::to(86_400_000).from(1_000), |c| &mut c.auth.jwks.refresh),
    )
    .doc("Between two fetches of the key set."),
    Setting::of("auth.jwks_pause_ms", Place::Millis(Bounds::to(600_000).from(100), |c| &mut c.auth.jwks.pause))
        .doc("Least time between two fetches that tokens with an unknown `kid` cause."),
    Setting::of(
        "health.admission",
        Place::Word(Words {
            words: &["enforce", "observe"],
            write: |c, at| c.health.admission = ADMISSIONS.get(at).copied().unwrap_or_default(),
            read: |c| position(&ADMISSIONS, &c.health.admission),
        }),
    )
    .doc("While a critical dependency is down: `enforce` refuses new connections and says why; `observe` lets them in and counts."),
    Setting::of("admin.listen", Place::AddressOrOff(|c| &mut c.admin.listen))
        .doc("Address of the listener for operators, plain HTTP; `off`: none. Left at its default and taken: a warning, and none. Said and taken: no start."),
    Setting::of("admin.token", Place::Bearer(|c| &mut c.admin.token))
        .doc("What operators send as `Authorization: Bearer`. Without one it is made at the first start: the file `admin.token` in `store.data`. Better in `SEAWALL_ADMIN_TOKEN` than in a file."),
    Setting::of(
        "log.format",
        Place::Word(Words {
            words: &["text", "json"],
            write: |c, at| c.log.format = FORMATS.get(at).copied().unwrap_or_default(),
            read: |c| position(&FORMATS, &c.log.format),
        }),
    )
    .flag("--log-format")
    .doc("Form of the log's lines, on stderr."),
    Setting::of(
        "log.level",
        Place::Word(Words {
            words: &["error", "warn", "info", "debug"],
            write: |c, at| c.log.level = LEVELS.get(at).copied().unwrap_or_default(),
            read: |c| position(&LEVELS, &c.log.level),
        }),
    )
    .flag("--log-level")
    .doc("Least important level that is logged."),
];

/// The sections, in the order they are listed, and what each is about.
pub const SECTIONS: [(&str, &str); 10] = [
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
