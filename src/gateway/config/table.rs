//! The table of settings: one row for each. File, variables, flags, listing, reload and reference all follow from it.
//!
//! A row reads: name, the field if its path differs from the name, the flag if there is one, default, accepted values, when a
//! change applies, and help. The type is that of the field in [`Config`]. The default is that of `Config::default`; a
//! test compares the two.
//!
//! [`Config`]: super::sections::Config

pub use super::section_list::SECTIONS;
use super::setting::{Applies, Setting};
use super::url::UrlKind;
use super::value::{
    Accepts::{
        self, Address, AddressOrOff, Bearer, File, Folder, Networks, ObjectiveOrOff, Secret, SharedSecret,
        SourceAddress, Switch, Text, Texts, Word,
    },
    SettingValue, TextForm, between, zero_or,
};
use super::words::{
    ADMISSION_MODES, ALERT_MODES, EXPIRY_RULES, FORMATS, LEVELS, PROXY_PROTOCOLS, REBALANCE_MODES,
};
use crate::limits::OUTSTANDING_MAX;

/// Ten years, the longest retention.
const RETENTION_MS_MAX: u64 = 3_650 * DAY_MS;
/// No drain lasts longer.
const DAY_MS: u64 = 86_400_000;
/// No stream lives longer.
const STREAM_MS_MAX: u64 = 3_600_000;

/// The field of a setting: the path given, else the path that its name is.
macro_rules! field {
    ($config:ident, $section:ident.$key:ident) => { $config.$section.$key };
    ($config:ident, $section:ident.$key:ident, $($field:ident).+) => { $config.$($field).+ };
}

macro_rules! settings {
    ($($section:ident.$key:ident $(as $($field:ident).+)? $([$flag:literal])? = $default:tt, $accepts:expr, $applies:ident: $help:literal;)+) => {
        /// In the order of the listing; the settings of one section are together.
        const SETTINGS: &[Setting] = &[$(Setting {
            name: concat!(stringify!($section), ".", stringify!($key)),
            section: stringify!($section),
            key: stringify!($key),
            flag: [$(Some($flag),)? None][0],
            default: stringify!($default),
            accepts: $accepts,
            applies: Applies::$applies,
            help: $help,
            write: |config, raw, accepts| {
                field!(config, $section.$key $(, $($field).+)?) = SettingValue::read(raw, accepts)?;
                Some(())
            },
            show: |config, accepts| field!(config, $section.$key $(, $($field).+)?).show(accepts),
            same: |one, other| {
                field!(one, $section.$key $(, $($field).+)?) == field!(other, $section.$key $(, $($field).+)?)
            },
            copy: |from, to| {
                field!(to, $section.$key $(, $($field).+)?).clone_from(&field!(from, $section.$key $(, $($field).+)?));
            },
        }),+];
    };
}

settings! {
    server.listen ["--listen"] = "127.0.0.1:8080", Address, Restart:
        "The address of the client listener. It must be loopback unless auth is on.";
    server.reactors ["--reactors"] = 0, zero_or("one per core", 1, 256), Restart:
        "The number of reactor threads.";
    server.pin_reactors = false, Switch, Restart:
        "Pins each reactor to one core. Use it only if nothing else runs on the machine.";
    server.echo ["--echo"] = false, Switch, Reload:
        "Serves `/echo`, which sends each message back. The upgrade and the limits are those of `/ws`.";
    server.link_tokens = true, Switch, Reload:
        "Lets a link sign in to the page at `/` with `#token=…`. A tab that has another token asks first. `false`: such tokens are \
         ignored.";
    server.origins = [], Texts(TextForm::Origin), Reload:
        "Origins of web pages that may connect, in addition to pages of the same host. `https://*.example.com` is every host below \
         the domain, `http://localhost:*` every port, `*` every site (only with auth on).";
    server.hosts = [], Texts(TextForm::Host), Reload:
        "`Host` names that are accepted while auth is off, in addition to `localhost`, `127.0.0.1` and `[::1]`.";
    server.trusted_proxies = [], Networks, Reload:
        "Networks of proxies that are trusted to name a client's address.";
    server.proxy_protocol = "off", Word(PROXY_PROTOCOLS), Reload:
        "`required`: every connection must start with a PROXY protocol v2 header. Needs `server.trusted_proxies`.";
    server.takeover = false, Switch, Restart:
        "Lets a second process of the same user on this machine listen at the same address, so that it can take over while this one drains. Both processes need it. PostgreSQL only, because an embedded store has one owner.";
    server.insecure_ok = false, Switch, Restart:
        "Accepts, without a warning, that tokens, passwords and messages cross networks unencrypted or go to servers whose certificate is not checked. Set it only if every network on the way is trusted.";
    server.source_address = none, SourceAddress, Restart:
        "The address of this machine from which connections to the store, the bus and every other dependency are made. Default: the system chooses.";
    server.instance = none, Text(TextForm::Name), Restart:
        "The name of this instance. Default: a random one at each start.";

    tls.certificate = none, File, Reload:
        "A PEM file with the gateway's certificate, followed by its issuers. With `tls.key` set, the listener accepts only TLS. SIGHUP reads both files again.";
    tls.key = none, File, Reload:
        "A PEM file with the certificate's private key: PKCS#8, PKCS#1 or SEC1, without a passphrase.";

    tls.hsts_max_age_s = 0, zero_or("off", 60, 63_072_000), Reload:
        "Seconds for which a browser that got an answer over TLS refuses plain HTTP to this host name (`Strict-Transport-Security`). It applies to every port and program of the host name and outlasts the gateway, so it is off until you set it; 31536000 is a year.";

    store.url = none, Accepts::Url(UrlKind::Store), Restart:
        "A PostgreSQL database to use as the store. Default, and with `sqlite:`: the embedded SQLite store. Prefer `SEAWALL_STORE_URL` to a file.";
    store.data ["--data"] = "data", Folder, Restart:
        "The folder of the SQLite store and of `admin.token`. It is created if it is missing. Only one process can use it at a time.";
    store.free_bytes_min = 1073741824, zero_or("off", 1 << 20, 1 << 40), Restart:
        "Free bytes on the disk of the SQLite store, or 5 % of the disk if that is less, below which publications are refused (`unavailable`), so that deletes and retention still have room. Not with PostgreSQL, whose disk a client cannot see.";

    bus.url = none, Accepts::Url(UrlKind::Bus), Restart:
        "The Redis that carries publications between instances. Without it, each instance delivers only its own. With `redis+sentinel://` the Sentinels are asked where the master is; with `redis+cluster://` the masters of a Redis Cluster (7.0 or newer) share the work. Prefer `SEAWALL_BUS_URL` to a file.";
    bus.prefix = none, Text(TextForm::Name), Restart:
        "The prefix of the channel names in Redis. Default: `seawall`. Two systems that share a Redis need different prefixes.";

    limits.connections = 0, zero_or("as many as descriptors allow", 1, 10_000_000), Reload:
        "Concurrent connections. Further ones get `bye` and close 1013.";
    limits.memory_bytes = 0, zero_or("nine tenths of what the machine or the control group allows", 64 << 20, 16 << 40), Reload:
        "Resident memory above which new connections are refused with 1013.";
    limits.frame_bytes = 65536, between(125, 16 << 20), Reload:
        "Payload of one frame. A larger frame gets close 1009.";
    limits.message_bytes = 65536, between(125, 16 << 20), Reload:
        "Payload of one message, all its fragments together. A larger message gets close 1009.";
    limits.fragments = 1024, between(1, 1_048_576), Reload:
        "Frames of one message. A message of more frames gets close 1009.";
    limits.message_ms = 30000, between(100, 600_000), Reload:
        "Time from the first byte of a message to its last. A slower message gets close 4408.";
    limits.control_frames_per_s = 20, zero_or("off", 1, 100_000), Reload:
        "Pings and pongs per second from one peer. More get close 4429.";
    limits.control_frames_burst = 50, between(1, 1_000_000), Reload:
        "Pings and pongs that a peer may send at once after a pause.";
    limits.head_bytes = 16384, between(1_024, 65_536), Reload:
        "Request line and headers together. A larger head gets HTTP 431.";
    limits.headers = 64, between(16, 256), Reload:
        "Header lines of one request. More get HTTP 431.";
    limits.uri_bytes = 2048, between(64, 65_536), Reload:
        "The request target. A longer one gets HTTP 414.";
    limits.head_ms = 5000, between(100, 120_000), Reload:
        "Time from accept to a complete request head. A slower client gets HTTP 408.";
    limits.connect_ms = 10000, between(100, 300_000), Reload:
        "Time from the upgrade to `connect`. A slower client gets close 4408.";
    limits.keep_alive_ms = 15000, between(100, 600_000), Reload:
        "Idle time after which a kept-alive plain HTTP connection is closed.";
    limits.json_depth = 32, between(4, 128), Reload:
        "Nesting of JSON in a command. Deeper commands get error `malformed`.";
    limits.publishes_per_s = 20, zero_or("off", 1, 1_000_000), Reload:
        "Publishes per second of one user, all connections together; of one connection if auth is off. More get error `rate_limited`.";
    limits.publishes_burst = 40, between(1, 1_000_000), Reload:
        "Publishes that a user may send at once after a pause.";
    limits.publishes_per_s_claimed = 0, zero_or("no claim counts", 1, 1_000_000), Reload:
        "Publishes per second up to which the claim `publishes_per_s` of a token lifts those of its user, with two seconds' worth at once and bytes in proportion.";
    limits.publish_bytes_per_s = 196608, zero_or("off", 1_024, 1 << 30), Reload:
        "Bytes per second that one user may publish, all connections together, with 256 bytes for each publication. More get error `rate_limited`. Does not apply if auth is off.";
    limits.publish_bytes_burst = 4194304, between(1_024, 1 << 30), Reload:
        "Bytes that a user may publish at once after a pause.";
    limits.refreshes_per_minute = 6, zero_or("off", 1, 60_000), Reload:
        "Refreshes per minute of one user, all connections together. More get error `rate_limited`.";
    limits.refreshes_burst = 3, between(1, 1_000_000), Reload:
        "Refreshes that a user may send at once after a pause.";
    limits.signals_per_s = 10, zero_or("off", 1, 1_000_000), Reload:
        "Signals per second of one user, all connections together; of one connection if auth is off. More get error `rate_limited`.";
    limits.signals_burst = 20, between(1, 1_000_000), Reload:
        "Signals that a user may send at once after a pause.";
    limits.signal_bytes = 4096, between(16, 16 << 20), Reload:
        "Bytes of one signal's data. Longer signals get error `too_large`.";
    limits.read_bytes_per_s = 4194304, zero_or("off", 65_536, 1 << 30), Reload:
        "Bytes per second of `history` pages, pages of `presence` and replayed publications sent to one user, all connections together; to one connection if auth is off. Over it, `history`, `presence` and `subscribe` get error `rate_limited`.";
    limits.read_bytes_burst = 33554432, between(1 << 20, 1 << 30), Reload:
        "Bytes of the log that a user may read at once after a pause.";
    limits.commands_per_s = 100, zero_or("off", 1, 1_000_000), Reload:
        "All other commands per second of one connection. More get error `rate_limited`.";
    limits.commands_burst = 300, between(1, 1_000_000), Reload:
        "Other commands that a connection may send at once after a pause.";
    limits.stream_appends_per_s = 10000, zero_or("off", 1, 1_000_000), Reload:
        "`append` commands per second of one connection, with two seconds' worth at once after a pause. More get error `rate_limited`.";
    limits.stream_bytes_per_s = 8388608, zero_or("off", 1_024, 1 << 30), Reload:
        "Bytes per second of those commands, with two seconds' worth at once after a pause. More get error `rate_limited`.";
    limits.subscriptions = 128, between(1, 100_000), Reload:
        "Channels that one connection may subscribe to. More get error `too_large`.";
    limits.pending = 64, between(1, OUTSTANDING_MAX as u64), Reload:
        "Commands of one connection that may wait for a reply. More get error `overloaded`.";
    limits.outbox_bytes = 262144, between(4_096, 64 << 20), Reload:
        "Bytes queued for one connection above which publications are skipped and read from the log later (lag).";
    limits.outbox_bytes_hard = 1048576, between(4_096, 256 << 20), Reload:
        "Bytes queued for one connection above which the gateway stops reading from it.";
    limits.outbox_bytes_total = 1073741824, between(1 << 20, 1 << 40), Reload:
        "Bytes queued for all connections together. Above it, the replays of stalled connections pause, then those of the user with the most bytes get close 4408.";
    limits.inbound_bytes_total = 268435456, between(1 << 20, 1 << 40), Reload:
        "Bytes of requests and messages that have begun and not ended, all connections together. Above it, the connection with the largest gets `bye` and close 1013: first one that is not `connected`, then one of the user with the most bytes.";
    limits.tail_bytes_total = 268435456, between(64 << 10, 1 << 40), Reload:
        "Bytes of recent publications of all channels that are kept in memory for recovery. Above it, the channels with the most lose their oldest.";
    limits.stall_ms = 15000, between(100, 600_000), Reload:
        "Time after which a connection that accepts no bytes gets close 4408.";
    limits.channels = 1000000, between(1, 16_777_215), Restart:
        "Channels that the store may hold, and that one reactor may follow at once. More get error `overloaded`. The store removes channels that are empty.";
    limits.channels_per_user = 0, zero_or("a thousandth of `limits.channels`, at least 16, at most a quarter", 1, 16_777_215), Reload:
        "Channels that one user may create per hour, by publishing to them first. More get error `rate_limited`. Does not apply if auth is off.";
    limits.edits = 100, between(1, 100_000), Restart:
        "Retained edits of one publication. More get error `too_large`; deleting the publication erases them.";
    limits.connections_per_user = 32, zero_or("off", 1, 1_000_000), Reload:
        "Concurrent connections of one user, except `anonymous`. Further ones get `bye` and close 1013.";
    limits.connections_per_address = 0, zero_or("off", 1, 1_000_000), Reload:
        "Concurrent connections of one address. Further ones get HTTP 429. Off by default, because all clients behind a load balancer share its address.";
    limits.admissions_per_s = 0, zero_or("as many as the reactors measure that they can do", 1, 1_000_000), Reload:
        "Handshakes admitted per second, all reactors together. Further ones get `bye` and close 1013 with a time to return; far above the limit, HTTP 503. The largest value admits every handshake.";
    limits.handshakes_per_s = 0, zero_or("off", 1, 1_000_000), Reload:
        "New connections per second of one address, with bursts of ten times that. Further ones get HTTP 429.";
    limits.ping_ms = 25000, between(100, 3_600_000), Reload:
        "Silence after which the server pings a client, and the period of `beat`.";
    limits.pong_ms = 10000, between(100, 600_000), Reload:
        "Silence after that ping before the client gets close 4408.";
    limits.stable_ms = 10000, between(0, 3_600_000), Reload:
        "Time online after which a client may reset its backoff. Clients learn it from `connected`.";

    retention.publications = 100000, zero_or("unbounded", 1, 1_000_000_000_000), Restart:
        "Publications kept in each channel. The oldest are deleted first.";
    retention.age_ms as retention.age = 7776000000, zero_or("forever", 1_000, RETENTION_MS_MAX), Restart:
        "Age at which a publication is deleted.";
    retention.bytes = 0, zero_or("unbounded", 1 << 20, 1 << 50), Restart:
        "Bytes in use in the SQLite database, also of the pieces of streams, so choose several times `streams.memory_bytes`; with PostgreSQL, about the bytes of all publications. Over it, the oldest publications of all channels are deleted.";

    auth.secret = none, SharedSecret, Reload:
        "An HS256 key, as a short form of one `[[auth.keys]]` table. Prefer `SEAWALL_AUTH_SECRET` to a file.";
    auth.audience = none, Text(TextForm::Any), Reload:
        "The value that a token's `aud` must contain. Default: `aud` is not checked.";
    auth.issuer = none, Text(TextForm::Any), Reload:
        "The value that a token's `iss` must have. Default: `iss` is not checked.";
    auth.type as auth.token_type = none, Text(TextForm::Any), Reload:
        "The value that `typ` must have, in the header or among the claims of a signed token: `at+jwt` for access tokens by RFC 9068, `Bearer` for those of a Keycloak. An introspected token is refused if the answer names another `typ` or `token_type`. Default: `typ` is not checked.";
    auth.expiry = "optional", Word(EXPIRY_RULES), Reload:
        "`required`: a token without `exp` is refused.";
    auth.lifetime_max_ms as auth.lifetime_max = 0, zero_or("as long as `exp` says", 1_000, RETENTION_MS_MAX), Reload:
        "The longest lifetime of a token, counted from its `iat`, or from its use if it has none. After that it counts as expired.";
    auth.leeway_ms as auth.leeway = 60000, between(0, 300_000), Reload:
        "Clock difference that is allowed when `exp` and `nbf` are checked.";
    auth.timeout_ms as auth.timeout = 2000, between(50, 3_000), Reload:
        "Timeout of one call to the auth service: an introspection, or a fetch of its key set.";
    auth.introspection_url as auth.introspection.url = none, Accepts::Url(UrlKind::Http), Reload:
        "The endpoint that checks tokens which no key matches (RFC 7662).";
    auth.client_id as auth.introspection.client_id = none, Text(TextForm::Any), Reload:
        "The client id of the gateway at that endpoint, sent with `auth.client_secret` as HTTP Basic.";
    auth.client_secret as auth.introspection.client_secret = none, Secret, Reload:
        "The secret of `auth.client_id`. Without a client id it is sent as a bearer token. Prefer `SEAWALL_AUTH_CLIENT_SECRET` to a file.";
    auth.introspection_user as auth.introspection.user = none, Text(TextForm::Any), Reload:
        "The member of the introspection response that names the user. Default: `sub`.";
    auth.introspection_channels as auth.introspection.channels = none, Text(TextForm::Any), Reload:
        "The member of the introspection response that holds the user's rights, in the form of the claim `channels`. Default: `channels`.";
    auth.waiting = 1024, between(16, 65_536), Reload:
        "Connections that may wait for the auth service at once. Further ones get close 1013.";
    auth.cache_entries as auth.introspection.cache_entries = 10000, between(16, 1_000_000), Reload:
        "Positive introspection results that are cached. A quarter as many negative ones are cached in addition.";
    auth.cache_bytes as auth.introspection.cache_bytes = 16777216, between(64 << 10, 1 << 30), Reload:
        "Approximate memory for all positive introspection results.";
    auth.cache_ms as auth.introspection.cache = 60000, between(0, 3_600_000), Reload:
        "How long a positive introspection result is used without asking again.";
    auth.cache_stale_ms as auth.introspection.cache_stale = 900000, between(0, DAY_MS), Reload:
        "How long a positive introspection result is used after `auth.cache_ms` while the auth service is down, but not after the token's `exp`. 0: not at all.";
    auth.cache_refused_ms as auth.introspection.cache_refused = 5000, between(0, 60_000), Reload:
        "How long a negative introspection result is cached.";
    auth.recheck_ms as auth.introspection.recheck = 300000, zero_or("never", 1_000, DAY_MS), Reload:
        "Time between two introspections of an open session's token, while the auth service is up. A session whose token is no longer active ends with 4501. A change applies to sessions that open or refresh after it.";
    auth.token_pattern as auth.introspection.token_pattern = none, Text(TextForm::TokenPattern), Reload:
        "The form of the service's tokens: a beginning, an alphabet and a length, like `gwt_[A-Za-z0-9_-]{20,200}`. A token of another form is refused without asking the service. Default: any form.";
    auth.jwks_url as auth.jwks.url = none, Accepts::Url(UrlKind::Http), Reload:
        "The URL of the key set that the issuer publishes (RFC 7517).";
    auth.jwks_refresh_ms as auth.jwks.refresh = 300000, between(1_000, DAY_MS), Reload:
        "Time between two fetches of the key set.";
    auth.jwks_pause_ms as auth.jwks.pause = 5000, between(100, 600_000), Reload:
        "Least time between two fetches that tokens with an unknown `kid` cause.";

    health.admission = "enforce", Word(ADMISSION_MODES), Reload:
        "The effect of a critical dependency that is down: `enforce` refuses new connections and says why; `observe` admits and counts them.";

    admin.listen = "127.0.0.1:8081", AddressOrOff, Restart:
        "The address of the admin listener, plain HTTP. `off` disables it. If the default port is in use, Seawall warns and runs without it; if an address you set is in use, it refuses to start.";
    admin.token = none, Bearer, Restart:
        "The token that operators send as `Authorization: Bearer`. Default: the file `admin.token` in `store.data`, which the first start creates. Prefer `SEAWALL_ADMIN_TOKEN` to a file.";
    admin.hosts = [], Texts(TextForm::Host), Restart:
        "`Host` names that the admin listener on loopback accepts for requests with a session of the console, in addition to `localhost`, `127.0.0.1`, `[::1]`, its own address and the host of `admin.url`: those of a proxy on this machine that passes `Host` on.";
    admin.url = none, Text(TextForm::Page), Restart:
        "The address at which operators reach this admin listener, for example through a proxy with TLS. `GET /cluster` of every instance shows it, and `seawall console` prints it.";

    api.listen = "off", AddressOrOff, Restart:
        "The address of the server API. It needs a key (`[[api.keys]]`) or `api.audience`.";
    api.tls = false, Switch, Restart:
        "Serves the API with TLS, with the certificate of `[tls]`. Without it, the API is plain HTTP.";
    api.audience = none, Text(TextForm::Any), Reload:
        "The value that the `aud` of a backend's token must contain. Its signature must be by a key of `[[auth.keys]]` or of `auth.jwks_url`, and its rights are in the claim `api`. Default: tokens are not accepted.";
    api.connections = 64, between(1, 1_024), Restart:
        "Connections of backends that are served at once. An idle one gives way to a new one. With several keys, each may have half of the requests in progress.";
    api.in_flight = 1024, between(16, 2_048), Restart:
        "Publications of the API in the store's queue at once. Further ones wait up to 4 s. At most a quarter of the queue, so that clients always find room. With several keys, each may have half.";
    api.body_bytes = 4194304, between(1_024, 64 << 20), Reload:
        "Bytes of one request's body.";
    api.per_request = 1000, between(1, 10_000), Reload:
        "Publications of one request.";

    presence.enabled = true, Switch, Reload:
        "Lets clients be on the rosters of channels and watch them. It is free until a token has the rights and a client asks. `false`: they get error `forbidden`, and members stay until they leave.";
    presence.grace_ms as presence.grace = 10000, between(0, 60_000), Reload:
        "How long a user stays on a roster after a lost connection, so that a client that comes back is not seen to leave.";
    presence.members = 1000, between(0, 10_000), Reload:
        "Members of one channel above which watchers get numbers alone. They get the members again below four fifths of it.";
    presence.channels = 32, between(1, 1_000), Reload:
        "Rosters that one connection is on or watches. All connections of a user together may have eight times as many. More get error `too_large`.";
    presence.commands_per_s = 50, zero_or("off", 1, 1_000_000), Reload:
        "`present`, `absent` and `presence` commands, and `subscribe` with one of them, per second of one user, all connections together. If auth is off: of one connection, and about eight times as many of one address. Six seconds' worth may come at once. More get error `rate_limited`.";
    presence.views_bytes = 67108864, between(0, 16 << 30), Reload:
        "Memory for members at other instances, of the channels that are watched or asked for here. Over it, the largest gives numbers alone until there is room for its members again.";

    streams.enabled = true, Switch, Reload:
        "Accepts publications that begin a stream. `false`: they get error `forbidden`; streams that are open go on.";
    streams.rollup_ms as streams.rollup = 40, between(20, 200), Restart:
        "Time between two commits of pieces. Longer: fewer and larger frames.";
    streams.idle_ms as streams.idle = 30000, between(1_000, STREAM_MS_MAX), Restart:
        "Silence of a producer after which its stream ends as `interrupted`. A begin may ask for less, or for up to an hour.";
    streams.orphan_ms as streams.orphan = 10000, between(1_000, STREAM_MS_MAX), Restart:
        "Time for a producer that lost its connection to come back, before its stream ends as `interrupted`.";
    streams.cancel_ms as streams.cancel = 5000, between(100, 60_000), Restart:
        "Time for a producer to end a stream that was cancelled, before the gateway ends it.";
    streams.life_ms as streams.life = 600000, between(1_000, STREAM_MS_MAX), Restart:
        "The longest life of a stream. Then it ends as `interrupted`.";
    streams.open_per_channel = 16, between(1, 256), Restart:
        "Open streams of one channel. More get error `overloaded`.";
    streams.events_per_stream = 256, between(0, 4_096), Restart:
        "Events of one stream. More get error `too_large`.";
    streams.window_bytes = 65536, between(4_096, 1 << 20), Restart:
        "Bytes of one stream that wait for their commit, above which its producer is not read.";
    streams.pending_bytes = 16777216, between(1 << 20, 1 << 30), Restart:
        "The same for all streams together. One user has at most half of it.";
    streams.memory_bytes = 67108864, between(1 << 20, 16 << 30), Restart:
        "Text of all open streams. A begin, and a producer that goes on at this instance, get error `overloaded` above it. One user has at most half of it.";

    clients.reports = true, Switch, Reload:
        "Counts the errors of applications that clients report (`report`), in groups and in memory. `false`: they are dropped.";

    registry.users = true, Switch, Restart:
        "Registers in Redis which users are connected to this instance, so that every instance knows which are online. It needs auth and `bus.url`. `false`: an instance knows its own users alone, and answers that it is not complete while there are others.";

    cluster.rebalance as cluster.mode = "off", Word(REBALANCE_MODES), Reload:
        "`auto`: this instance asks its oldest clients to move while it has more connections than the others. No connection is closed. `off`: only when `seawall rebalance` orders it.";
    cluster.rebalance_within_percent as cluster.within_percent = 10, between(3, 100), Reload:
        "The distance from the mean number of connections that is even enough, in percent of the mean.";

    drain.accept_ms as drain.accept = 3000, between(0, DAY_MS), Reload:
        "How long connections are still accepted after the signal, while `/health/ready` already returns 503. Make it longer than your load balancer takes to notice.";
    drain.spread_ms as drain.spread = 18000, between(0, DAY_MS), Reload:
        "After `accept_ms`, clients are asked to move, at times spread evenly over this period.";
    drain.close_ms as drain.close = 23000, between(1, DAY_MS), Reload:
        "Time after the signal at which the remaining connections get `bye` and close 1012.";
    drain.exit_ms as drain.exit = 28000, between(1, DAY_MS), Reload:
        "Time after the signal by which the process exits. Keep it below the limit of its supervisor: `terminationGracePeriodSeconds` in Kubernetes, `TimeoutStopSec` in systemd.";
    drain.return_ms as drain.returns = 10000, between(0, 600_000), Reload:
        "Period over which closed clients are asked to return, spread evenly.";

    slo.enabled = true, Switch, Restart:
        "Judges objectives and keeps their counts in `slo.db` in the data folder. `false`: the counts stay in `/metrics`, and nothing else is done.";
    slo.canary_ms as slo.canary = none, zero_or("no canary", 1_000, 600_000), Restart:
        "Time between two looks of the canary, a client of the gateway's own that connects, publishes and receives. Default: `10000`, or `60000` if only loopback is listened on.";
    slo.timezone = "UTC", Text(TextForm::Zone), Restart:
        "The time zone of weeks and days in reports. Its rules are part of the program.";
    slo.report_at = "Mon 09:00", Text(TextForm::WeekTime), Restart:
        "The time at which the report of the last week is sent to the channels of `alert.info`. Empty: no report is sent.";
    slo.connection = "99.5 % over 30 d", ObjectiveOrOff, Restart:
        "The objective for attempts to connect and the time of sessions, or `off`.";
    slo.delivery = "99.9 % over 7 d", ObjectiveOrOff, Restart:
        "The objective for messages that are stored, or `off`.";
    slo.latency = "95 % over 1 d", ObjectiveOrOff, Restart:
        "The objective for replies within 2 s, or `off`.";
    slo.health = "99.95 % over 30 d", ObjectiveOrOff, Restart:
        "The objective for health reports within 1 s, or `off`.";
    slo.explained = "99.9 % over 30 d", ObjectiveOrOff, Restart:
        "The objective for sessions that end with a reason, or `off`.";
    slo.recovery = "99 % over 7 d", ObjectiveOrOff, Restart:
        "The objective for clients that are connected again within 30 s after they lost a connection, or `off`.";
    slo.answers = "99 % over 7 d", ObjectiveOrOff, Restart:
        "The objective for answers that end as completed or cancelled, or `off`. Without a `[[relay]]` that has answers there is none.";
    slo.promptness = "95 % over 1 d", ObjectiveOrOff, Restart:
        "The objective for answers whose first piece is stored within `promptness_ms`, or `off`. Without a `[[relay]]` that has answers there is none.";
    slo.promptness_ms as slo.prompt = 10000, between(100, 3_600_000), Restart:
        "The time from a question to the first piece of its answer that is good in `promptness`.";

    alert.mode = "send", Word(ALERT_MODES), Reload:
        "`send`: incidents go to the log and to all channels. `observe`: to the log alone, and only what was sent before is ended.";
    alert.deployment = none, Text(TextForm::Name), Reload:
        "The name of this deployment in the keys of incidents. Two deployments that share a channel need different ones. Default: `seawall`.";
    alert.docs_url = none, Text(TextForm::Page), Reload:
        "The address at which you serve the folder `docs`, for links to runbooks. Default: notices name the file.";
    alert.critical = ["pagerduty", "slack", "webhook"], Accepts::Channels, Reload:
        "The channels of critical incidents. One that is not configured is left out.";
    alert.warning = ["slack", "webhook"], Accepts::Channels, Reload:
        "The channels of warnings. One that is not configured is left out.";
    alert.info = ["slack", "webhook"], Accepts::Channels, Reload:
        "The channels of weekly reports. One that is not configured is left out; PagerDuty takes no reports.";
    alert.escalate = [], Accepts::Channels, Reload:
        "The channels to which a critical incident is sent again if it is not acknowledged. Default: those of `critical`. Nothing is sent again while PagerDuty has the incident, because it escalates by itself.";
    alert.escalate_ms as alert.escalate_after = 900000, between(60_000, DAY_MS), Reload:
        "Time until a critical incident is sent again. The next repeats come after an hour and then every four hours.";
    alert.slack_url = none, Secret, Reload:
        "The address of an incoming webhook of Slack. It is a secret: prefer `SEAWALL_ALERT_SLACK_URL` or `slack_url_file`.";
    alert.slack_mention = none, Text(TextForm::Any), Reload:
        "Text before a critical incident in Slack, like `<!here>`.";
    alert.pagerduty_key = none, Secret, Reload:
        "The routing key of an integration of PagerDuty with Events API v2. Prefer `SEAWALL_ALERT_PAGERDUTY_KEY` or `pagerduty_key_file`.";
    alert.pagerduty_url = none, Accepts::Url(UrlKind::Http), Reload:
        "The address of Events v2. Default: `https://events.pagerduty.com/v2/enqueue`; in the EU `https://events.eu.pagerduty.com/v2/enqueue`.";
    alert.webhook_url = none, Secret, Reload:
        "The address of a service that takes signed webhooks (Standard Webhooks 1.0). Prefer `SEAWALL_ALERT_WEBHOOK_URL` or `webhook_url_file`.";
    alert.webhook_secret = none, Secret, Reload:
        "The secret that signs them: `whsec_` and 24 to 64 random bytes in base64. Two of them, the newest first and a blank or line break between them, while you change it.";
    alert.heartbeat_url = none, Secret, Reload:
        "The address of a service that notifies you when it was not called for a while. It is called only while objectives are judged and notices get out.";
    alert.heartbeat_ms as alert.heartbeat = 60000, between(10_000, 3_600_000), Reload:
        "Time between two calls of `heartbeat_url`.";

    log.format ["--log-format"] = "text", Word(FORMATS), Restart:
        "The format of log lines.";
    log.level ["--log-level"] = "info", Word(LEVELS), Reload:
        "The least severe level that is logged.";
}

pub fn all() -> impl Iterator<Item = &'static Setting> + Clone {
    SETTINGS.iter()
}

pub fn of_section(section: &str) -> impl Iterator<Item = &'static Setting> {
    all().filter(move |setting| setting.section == section)
}

/// The setting of this full name.
pub fn by_name(name: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.name == name)
}

/// The setting whose value is in the file that a key names: `store.url` for `store.url_file`.
pub fn by_file_name(name: &str) -> Option<&'static Setting> {
    by_name(name.strip_suffix("_file")?).filter(|setting| setting.holds_secret())
}

/// The same for a variable: `SEAWALL_STORE_URL_FILE`.
pub fn by_file_variable(variable: &str) -> Option<&'static Setting> {
    let variable = variable.strip_suffix("_FILE")?;
    all().find(|setting| setting.holds_secret() && setting.variable() == variable)
}

/// The setting of this flag, given with its dashes.
pub fn by_flag(flag: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.flag == Some(flag))
}

#[cfg(test)]
mod tests;
