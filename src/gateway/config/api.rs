//! `[api]` and `[[api.keys]]`: the server API and who may use it.

use super::error::{ApiFault, ConfigFault};
use super::origin::ValueOrigin;
use super::raw::{RawValue, TableReader, one_of};
use super::secret_file::{self, SecretFile};
use crate::admin::{BEARER_BYTES, is_bearer};
use crate::auth::api_key::{ApiKey, ApiRates, ApiRight, Authorship};
use crate::id::pattern::{PATTERN_BYTES_MAX, PATTERNS_MAX};
use std::net::SocketAddr;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The fields of a key, for the reference.
pub const FIELDS: [(&str, &str); 8] = [
    (
        "name",
        "The name of the backend: 1 to 64 of `A-Z a-z 0-9 _ . -`. `$api:NAME` is the author of what it publishes. Required.",
    ),
    ("secret", "The key that the backend sends as `Authorization: Bearer`: 32 to 512 bytes."),
    (
        "secret_file",
        "A file that holds the secret. A line break at its end and a byte order mark are not part of the secret.",
    ),
    (
        "rights",
        "`publish`, `signal`, `history`, `moderate`, `presence`, `cluster`, `users`, `disconnect`, `block`, `rebalance`, `erase`, `stream`. Required.",
    ),
    (
        "channels",
        "Channel patterns, as in tokens: the rights hold on these. `*` matches no personal channel; `$user:*` matches all. Required.",
    ),
    ("as_user", "`true`: requests may name the author in `user`. Default: `false`."),
    (
        "publishes_per_s",
        "Publications per second; as many at once after a pause. A request over it gets 429. Default: `0`, no bound.",
    ),
    ("signals_per_s", "The same for signals. Default: `1000`; `0` is no bound."),
];

/// A file that holds a secret is shorter.
const SECRET_FILE_BYTES_MAX: usize = 4 << 10;
/// The highest rate of a key.
const RATE_MAX: u64 = 1_000_000;
/// The longest name of a key.
const NAME_BYTES_MAX: usize = 64;

/// The server API.
#[derive(Clone, Debug)]
pub struct ApiSection {
    /// `None`: there is no API.
    pub listen: Option<SocketAddr>,
    /// TLS with the certificate of `[tls]`.
    pub tls: bool,
    /// The audience of tokens of backends; `None`: tokens are not accepted.
    pub audience: Option<String>,
    /// Connections served at once.
    pub connections: u32,
    /// Publications in the store's queue at once.
    pub in_flight: u32,
    pub body_bytes: u32,
    /// Publications of one request.
    pub per_request: u32,
    /// `[[api.keys]]`; no two have the same name or the same secret.
    pub keys: Vec<ApiKeyConfig>,
}

impl Default for ApiSection {
    fn default() -> ApiSection {
        let (connections, in_flight, body_bytes, per_request) = (64, 1_024, 4 << 20, 1_000);
        let (listen, tls, audience, keys) = (None, false, None, Vec::new());
        ApiSection { listen, tls, audience, connections, in_flight, body_bytes, per_request, keys }
    }
}

/// One table of `[[api.keys]]`.
#[derive(Clone, Debug)]
pub struct ApiKeyConfig {
    pub key: ApiKey,
    pub rights: Vec<ApiRight>,
    pub channels: Vec<String>,
    /// The file that holds the secret; `None`: its table does.
    pub file: Option<PathBuf>,
    pub authorship: Authorship,
    pub publishes_per_s: u32,
    pub signals_per_s: u32,
    pub origin: ValueOrigin,
}

impl PartialEq for ApiKeyConfig {
    /// Compares what the key means, not where it is written.
    fn eq(&self, other: &ApiKeyConfig) -> bool {
        self.key == other.key
    }
}

/// Reads one table. `None` if it has a mistake, which is then reported.
pub(super) fn read_key(reader: &mut TableReader<'_>, earlier: &[ApiKeyConfig]) -> Option<ApiKeyConfig> {
    reader.unknown_fields(&FIELDS);
    let name =
        reader.required("name", &format!("1 to {NAME_BYTES_MAX} of A-Z, a-z, 0-9, '_', '.' and '-'"), name);
    let words = one_of(&ApiRight::ALL.map(ApiRight::name));
    let rights = reader.required("rights", &format!("a list of {words}"), |raw| {
        texts(raw)?.iter().map(|word| ApiRight::parse(word)).collect::<Option<Vec<_>>>()
    });
    let patterns =
        format!("a list of 1 to {PATTERNS_MAX} channel patterns of at most {PATTERN_BYTES_MAX} bytes");
    let channels = reader.required("channels", &patterns, texts);
    let as_user = reader.take("as_user", "true or false", |raw| match raw {
        RawValue::Switch(value) => Some(*value),
        _ => None,
    });
    let authorship = if as_user == Some(true) { Authorship::AnyUser } else { Authorship::Own };
    let publishes_per_s = reader.number("publishes_per_s", 0..=RATE_MAX).unwrap_or_default();
    let signals_per_s = reader.number("signals_per_s", 0..=RATE_MAX).unwrap_or(ApiRates::SIGNALS_PER_S);
    let rates = ApiRates::new(publishes_per_s, signals_per_s);
    let secret = secret(reader);
    let (name, rights, channels, (secret, file)) = (name?, rights?, channels?, secret?);
    let Ok(key) = ApiKey::new(&name, secret.as_bytes(), rights.clone(), &channels, authorship, rates) else {
        let fault = ConfigFault::NotAccepted { value: format!("{channels:?}"), expected: patterns };
        reader.fault(reader.origin_of("channels"), "channels", fault);
        return None;
    };
    if earlier.iter().any(|other| other.key.name() == key.name()) {
        reader.fault(reader.origin_of("name"), "name", ConfigFault::Api(ApiFault::SameName { name }));
    } else if earlier.iter().any(|other| other.key.has_secret_of(&key)) {
        reader.fault(reader.origin_of("secret"), "secret", ConfigFault::Api(ApiFault::SameSecret));
    }
    let origin = reader.origin.clone();
    (reader.problems == 0).then_some(ApiKeyConfig {
        key,
        rights,
        channels,
        file,
        authorship,
        publishes_per_s,
        signals_per_s,
        origin,
    })
}

fn name(raw: &RawValue) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let is_name = |text: &&str| (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
    raw.text().filter(is_name).map(str::to_owned)
}

fn texts(raw: &RawValue) -> Option<Vec<String>> {
    let RawValue::List(items) = raw else { return None };
    let texts: Option<Vec<String>> = items.iter().map(|item| item.text().map(str::to_owned)).collect();
    texts.filter(|texts| !texts.is_empty())
}

fn secret(reader: &mut TableReader<'_>) -> Option<(Zeroizing<String>, Option<PathBuf>)> {
    let field = match (reader.has("secret"), reader.has("secret_file")) {
        (true, false) => "secret",
        (false, true) => "secret_file",
        (is_given, _) => {
            let found = if is_given { vec!["secret", "secret_file"] } else { Vec::new() };
            let expected = "one of secret and secret_file";
            reader.fault(reader.origin.clone(), "", ConfigFault::Material { expected, found });
            return None;
        }
    };
    let given = reader.text(field)?;
    let origin = reader.origin_of(field);
    let file = (field == "secret_file").then(|| PathBuf::from(&given));
    let text = match &file {
        Some(path) => secret_file::read(path, SECRET_FILE_BYTES_MAX).map_err(ConfigFault::unreadable(path)),
        None => Ok(given.into()),
    };
    if let Some(path) = &file {
        let (key, path) = ("api.keys.secret_file".into(), path.clone());
        reader.report.secret_files.push(SecretFile { key, origin: origin.clone(), path });
    }
    let text = text.and_then(|text| match is_bearer(text.as_bytes()) {
        true => Ok(text),
        false => {
            let (least, most) = (BEARER_BYTES.start(), BEARER_BYTES.end());
            let expected =
                format!("{least} to {most} bytes of A-Z, a-z, 0-9, '-', '.', '_', '~', '+', '/' and '='");
            Err(ConfigFault::NotAccepted { value: RawValue::Text(text.to_string()).hidden(), expected })
        }
    });
    text.map_err(|fault| reader.fault(origin, field, fault)).ok().map(|text| (text, file))
}
