//! `[[relay]]`: the channels whose publications go to a backend, and how.
//!
//! A table is read with its file. Its dependency is found after all sources, because another table may declare it: see
//! [`relay_check`](super::relay_check).

use super::dependency::dependency_name;
use super::error::ConfigFault;
use super::origin::ValueOrigin;
use super::raw::{RawValue, TableReader, one_of, quoted};
use super::relay_fault::RelayFault;
use super::relay_secret::{self, RelaySecret};
use super::url::{Url, UrlKind};
use crate::health::definition::DependencyKind;
use crate::id::pattern::{ChannelPattern, PATTERNS_MAX};
use crate::id::{PERSONAL_PREFIX, UserName};
use crate::net::target::Target;
use crate::relay::route::{AnswerMode, ChannelOrder, RelayRoute, RelayedKind, RelayedKinds};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

/// Authors that a route may leave out, and claims that it may forward; every relayed publication is compared with the former.
const SKIP_USERS_MAX: usize = 64;
const CLAIMS_MAX: usize = 16;
const CLAIM_BYTES_MAX: usize = 64;
/// Each request that is being answered has a thread with a small stack.
const CONCURRENCY_MAX: u64 = 512;
const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

const NAME: &str = "1 to 32 letters, digits, dots, dashes and underscores";
const PATTERN: &str = "a channel name, or the beginning of one and \"*\", as in tokens";

/// The fields of a route, for the reference.
pub const FIELDS: [(&str, &str); 16] = [
    (
        "name",
        "A unique name of 1 to 32 letters, digits, dots, dashes and underscores, for metrics, logs and commands. Required.",
    ),
    (
        "pattern",
        "The channels: a name, or the beginning of one and `*`, as in tokens. The first route that matches a channel has it. Required.",
    ),
    (
        "url",
        "The address that requests are posted to: `https://…`, or `http://…` where every network on the way is trusted. Required.",
    ),
    (
        "secrets",
        "1 to 4 secrets; each signs every request, so that a backend can move from one to the next. `\"env:VARIABLE\"` and `\"file:PATH\"` name a secret, which is `whsec_` and 24 to 64 random bytes in base64. Required.",
    ),
    ("user", "The author of answers. Its own publications are not relayed. Required."),
    (
        "answers",
        "`true`: an answer begins together with each question, in one transaction. `false`: the backend begins streams itself, or does not answer. Default: `true`.",
    ),
    ("kinds", "The publications that are relayed: `original`, `edit`, `delete`. Default: `[\"original\"]`."),
    ("skip_users", "Up to 64 authors whose publications are not relayed. Default: none."),
    ("claims", "Up to 16 claims of the author's token that requests carry, if it has them. Default: none."),
    (
        "publish",
        "Patterns of other channels that a response may publish to. Default: none, so only the channel of the question.",
    ),
    (
        "dependency",
        "The dependency whose breaker stops requests while the backend is down, and whose `lost` clients are sent. Without a `[[dependency]]` of that name, one is made: a TCP probe of the host in `url`, optional, with `lost = [\"replies\"]`. Default: the name of the route.",
    ),
    (
        "timeout_ms",
        "The time from the begin of a request to the head of its response, 100 to 60000 ms. Default: `10000`.",
    ),
    (
        "concurrency",
        "Requests at once of this instance, 1 to 512; a response that is being read counts as one. At most 1024 for all routes. The questions of one user have at most as many as are free, so half of them if no other user asks. Default: `32`.",
    ),
    (
        "serial",
        "`true`: the next question of a channel waits until the answer to the one before has ended. Default: `false`.",
    ),
    (
        "give_up_ms",
        "The time after which a question that no backend has taken is given up, 1000 to 604800000 ms. Its answer ends as `failed`. Default: `3600000`.",
    ),
    (
        "answer_ms",
        "The time that a question which the backend has taken may wait for a sign of its answer, 1000 to 3600000 ms. Then the answer ends as `interrupted`. Default: `120000`.",
    ),
];

/// One table of `[[relay]]`.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    pub route: RelayRoute,
    /// The text of its pattern.
    pub pattern: String,
    /// The texts of the patterns in `publish`.
    pub publish: Vec<String>,
    pub url: Url,
    /// Where each secret is.
    pub secrets: Vec<RelaySecret>,
    pub origin: ValueOrigin,
    /// The parsed address.
    pub target: Target,
}

/// Reads one table. `None` if it has a mistake, which is then reported.
pub(super) fn read(
    reader: &mut TableReader<'_>,
    variables: &[(OsString, OsString)],
    earlier: &[RelayConfig],
) -> Option<RelayConfig> {
    reader.unknown_fields(&FIELDS);
    let name = reader.required("name", NAME, |raw| dependency_name(raw.text()?));
    let pattern = reader.required("pattern", PATTERN, |raw| pattern(raw.text()?));
    let address = address(reader);
    let secrets = relay_secret::read(reader, variables);
    let user = reader.required("user", &format!("a user: {}", UserName::RULE), |raw| user(raw.text()?));
    let answers = switch(reader, "answers").unwrap_or(true);
    let serial = switch(reader, "serial").unwrap_or(false);
    let chosen = chosen(reader);
    let publish = reader.take("publish", &format!("a list of up to {PATTERNS_MAX} patterns"), |raw| {
        texts(raw, PATTERNS_MAX)?.into_iter().map(self::pattern).collect::<Option<Vec<_>>>()
    });
    let dependency = reader.take("dependency", NAME, |raw| dependency_name(raw.text()?));
    let timeout = milliseconds(reader, "timeout_ms", 100, 60_000, 10_000);
    let concurrency = reader.number("concurrency", 1..=CONCURRENCY_MAX).unwrap_or(32);
    let give_up = milliseconds(reader, "give_up_ms", 1_000, WEEK_MS, 3_600_000);
    let answer = milliseconds(reader, "answer_ms", 1_000, 3_600_000, 120_000);
    if serial && !answers {
        relay_fault(reader, "serial", RelayFault::SerialWithoutAnswers);
    }
    if let Some(name) = &name
        && earlier.iter().any(|other| *other.route.name == **name)
    {
        relay_fault(reader, "name", RelayFault::SameName { name: name.clone() });
    }
    if let Some((text, _)) = &pattern
        && let Some(other) = earlier.iter().find(|other| covers(&other.pattern, text))
    {
        let (by, pattern) = (other.route.name.to_string(), other.pattern.clone());
        relay_fault(reader, "pattern", RelayFault::Covered { by, pattern });
    }
    let (name, (pattern, matched), (url, target), (secrets, keys)) = (name?, pattern?, address?, secrets?);
    let (publish, allowed) = publish.unwrap_or_default().into_iter().unzip();
    let dependency = dependency.as_deref().unwrap_or(&name);
    let route = RelayRoute {
        pattern: matched,
        url: Arc::from(url.whole()),
        user: user?,
        answers: if answers { AnswerMode::Stored } else { AnswerMode::None },
        kinds: chosen.kinds,
        skip_users: chosen.skip_users,
        claims: chosen.claims,
        publish: allowed,
        dependency: Some(Arc::from(dependency)),
        secrets: keys,
        timeout,
        concurrency,
        order: if serial { ChannelOrder::Answered } else { ChannelOrder::Taken },
        give_up,
        answer,
        name: Arc::from(name.as_str()),
    };
    let origin = reader.origin.clone();
    (reader.problems == 0).then_some(RelayConfig { route, pattern, publish, url, secrets, origin, target })
}

/// The publications that a route takes, and the claims that it forwards.
struct RelayChoice {
    kinds: RelayedKinds,
    skip_users: Vec<UserName>,
    claims: Vec<Arc<str>>,
}

fn chosen(reader: &mut TableReader<'_>) -> RelayChoice {
    let words = one_of(&RelayedKind::ALL.map(RelayedKind::name));
    let kinds = reader.take("kinds", &format!("a list of {words}, not empty"), |raw| {
        let words = texts(raw, RelayedKind::ALL.len()).filter(|words| !words.is_empty())?;
        let add = |kinds: RelayedKinds, word: &str| Some(kinds.with(RelayedKind::parse(word)?));
        words.into_iter().try_fold(RelayedKinds::NONE, add)
    });
    let users = format!("a list of up to {SKIP_USERS_MAX} users, each {}", UserName::RULE);
    let skip_users = reader.take("skip_users", &users, |raw| {
        texts(raw, SKIP_USERS_MAX)?.into_iter().map(user).collect::<Option<Vec<_>>>()
    });
    let claims = format!("a list of up to {CLAIMS_MAX} names of 1 to {CLAIM_BYTES_MAX} bytes");
    let claims = reader.take("claims", &claims, |raw| {
        let is_claim =
            |text: &&str| (1..=CLAIM_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
        let claim = |text: &str| Some(text).filter(is_claim).map(Arc::from);
        texts(raw, CLAIMS_MAX)?.into_iter().map(claim).collect::<Option<Vec<Arc<str>>>>()
    });
    RelayChoice {
        kinds: kinds.unwrap_or(RelayedKinds::NONE.with(RelayedKind::Original)),
        skip_users: skip_users.unwrap_or_default(),
        claims: claims.unwrap_or_default(),
    }
}

/// The field `url`, and what it leads to.
fn address(reader: &mut TableReader<'_>) -> Option<(Url, Target)> {
    let url =
        reader.required("url", UrlKind::Http.expected(), |raw| Url::read(raw.text()?, UrlKind::Http))?;
    if url.has_user() {
        relay_fault(reader, "url", RelayFault::UserInUrl);
        return None;
    }
    match Target::parse(DependencyKind::Http, url.whole()) {
        Ok(target) => Some((url, target)),
        Err(fault) => {
            reader.fault(reader.origin_of("url"), "url", ConfigFault::Address(fault));
            None
        }
    }
}

fn relay_fault(reader: &mut TableReader<'_>, field: &str, fault: RelayFault) {
    reader.fault(reader.origin_of(field), field, ConfigFault::Relay(fault));
}

fn pattern(text: &str) -> Option<(String, ChannelPattern)> {
    ChannelPattern::parse(text).ok().map(|pattern| (text.to_owned(), pattern))
}

fn user(text: &str) -> Option<UserName> {
    UserName::parse(text).ok()
}

fn switch(reader: &mut TableReader<'_>, field: &'static str) -> Option<bool> {
    reader.take(field, "true or false", |raw| match raw {
        RawValue::Switch(value) => Some(*value),
        _ => None,
    })
}

fn milliseconds(
    reader: &mut TableReader<'_>,
    field: &'static str,
    least: u64,
    most: u64,
    default: u64,
) -> Duration {
    Duration::from_millis(reader.number(field, least..=most).unwrap_or(default))
}

fn texts(raw: &RawValue, most: usize) -> Option<Vec<&str>> {
    let RawValue::List(items) = raw else { return None };
    let texts: Option<Vec<&str>> = items.iter().map(RawValue::text).collect();
    texts.filter(|texts| texts.len() <= most)
}

/// True exactly if the first pattern matches every channel that the second matches.
fn covers(first: &str, second: &str) -> bool {
    match first.strip_suffix('*') {
        Some("") => !second.starts_with(PERSONAL_PREFIX),
        Some(prefix) => second.strip_suffix('*').unwrap_or(second).starts_with(prefix),
        None => first == second,
    }
}

/// A route as a listing shows it: with every value, so that nothing depends on a default. Secrets in the file itself are missing.
pub(super) fn lines(relay: &RelayConfig) -> Vec<(&'static str, String)> {
    let RelayConfig { route, pattern, publish, url, secrets, origin: _, target: _ } = relay;
    let texts =
        |texts: &mut dyn Iterator<Item = String>| format!("[{}]", texts.collect::<Vec<_>>().join(", "));
    let kinds = RelayedKind::ALL.into_iter().filter(|kind| route.kinds.has(*kind));
    vec![
        ("name", quoted(&route.name)),
        ("pattern", quoted(pattern)),
        ("url", quoted(&url.to_string())),
        ("secrets", texts(&mut secrets.iter().map(|secret| quoted(&secret.to_string())))),
        ("user", quoted(route.user.as_str())),
        ("answers", (route.answers == AnswerMode::Stored).to_string()),
        ("kinds", texts(&mut kinds.map(|kind| quoted(kind.name())))),
        ("skip_users", texts(&mut route.skip_users.iter().map(|user| quoted(user.as_str())))),
        ("claims", texts(&mut route.claims.iter().map(|claim| quoted(claim)))),
        ("publish", texts(&mut publish.iter().map(|pattern| quoted(pattern)))),
        ("dependency", quoted(route.dependency.as_deref().unwrap_or_default())),
        ("timeout_ms", route.timeout.as_millis().to_string()),
        ("concurrency", route.concurrency.to_string()),
        ("serial", (route.order == ChannelOrder::Answered).to_string()),
        ("give_up_ms", route.give_up.as_millis().to_string()),
        ("answer_ms", route.answer.as_millis().to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::relay_check::routes;
    use super::super::reload::reread;
    use super::super::sections::Config;
    use super::super::show::listing;
    use super::super::sources::{ConfigSources, FileSource, load, load_text};
    use super::*;
    use crate::health::definition::Criticality;
    use crate::relay::route::ROUTES_MAX;
    use std::path::Path;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    /// A route with all that is required, and further lines.
    fn table(name: &str, pattern: &str, more: &str) -> String {
        let url = if more.contains("url = ") { "" } else { "url = \"https://agents.example/seawall\"\n" };
        let secrets =
            if more.contains("secrets = ") { String::new() } else { format!("secrets = [\"{SECRET}\"]\n") };
        format!(
            "[[relay]]\nname = \"{name}\"\npattern = \"{pattern}\"\n{url}{secrets}user = \"assistant\"\n{more}\n"
        )
    }

    fn read(text: &str) -> Result<Config, String> {
        load_text(Path::new("seawall.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn route_has_all_that_its_table_gives_and_defaults_for_the_rest() {
        let more = "answers = true\nkinds = [\"original\", \"edit\"]\nskip_users = [\"monitor\"]\nclaims = [\"tenant\"]\n\
                    publish = [\"log.*\"]\ntimeout_ms = 500\nconcurrency = 4\nserial = true\ngive_up_ms = 60000\nanswer_ms = 5000";
        let text = table("assistant", "thread.*", more) + &table("other", "room.1", "");
        let config = read(&text).expect("valid");
        let routes = routes(&config);
        let route = routes.named("assistant").expect("read");
        assert_eq!(
            (route.timeout, route.concurrency, route.order),
            (Duration::from_millis(500), 4, ChannelOrder::Answered)
        );
        assert_eq!((route.give_up, route.answer), (Duration::from_secs(60), Duration::from_secs(5)));
        assert!(route.kinds.has(RelayedKind::Edit) && !route.kinds.has(RelayedKind::Delete));
        assert_eq!((route.skip_users.len(), &*route.claims[0], route.publish.len()), (1, "tenant", 1));
        let other = routes.named("other").expect("read");
        assert_eq!(
            (other.timeout, other.concurrency, other.order),
            (Duration::from_secs(10), 32, ChannelOrder::Taken)
        );
        assert_eq!((other.answers, other.dependency.as_deref()), (AnswerMode::Stored, Some("other")));
    }

    #[test]
    fn dependency_is_made_unless_a_table_declares_it() {
        let made = read(&table("assistant", "thread.*", "")).expect("valid").dependencies;
        let lost = made[0].definition.lost.iter().map(|item| &**item).collect::<Vec<_>>();
        let shown = (&*made[0].definition.name, made[0].definition.kind, &*made[0].definition.address);
        assert_eq!(shown, ("assistant", DependencyKind::Tcp, "agents.example:443"));
        assert_eq!((lost, made[0].definition.criticality), (vec!["replies"], Criticality::Optional));
        let declared =
            "[[dependency]]\nname = \"agents\"\nkind = \"http\"\nurl = \"https://agents.example/health\"\n";
        let two =
            table("a", "a.*", "dependency = \"agents\"") + &table("b", "b.*", "dependency = \"agents\"");
        let config = read(&format!("{declared}{two}")).expect("valid");
        assert_eq!(config.dependencies.len(), 1);
        let warnings: String = config.warnings.iter().map(|warning| format!("{warning}\n")).collect();
        assert!(warnings.contains("relay.dependency: the dependency agents has no `lost`"), "{warnings}");
        assert_eq!(read(&two).expect("valid").dependencies.len(), 1, "one host, one dependency");
    }

    #[test]
    fn wrong_routes_are_refused_all_at_once_and_show_no_secret() {
        let here = |more: &str| table("a", "a.*", more);
        let health = "[[dependency]]\nname = \"shop\"\nkind = \"redis\"\nurl = \"redis://127.0.0.1\"\n";
        for (text, says) in [
            (
                "[[relay]]\npattern = \"a.*\"\n".to_owned(),
                vec!["relay.name: is missing", "relay.url: is missing", "relay.user: is missing"],
            ),
            (here("url = \"ftp://agents.example/hunter2\""), vec!["relay.url = \"ftp://…\": must be"]),
            (
                here("url = \"https://chat:hunter2@agents.example/\""),
                vec!["relay.url: has a user or a password"],
            ),
            (here("secrets = []"), vec!["relay.secrets = (hidden): must be a list of 1 to 4 secrets"]),
            (
                here("secrets = [\"hunter2\", \"env:NO_SUCH\", \"file:/no/such\"]"),
                vec!["element 1 must be \"whsec_\"", "NO_SUCH is not set", "cannot read /no/such"],
            ),
            (here(&format!("secrets = [\"{SECRET}\", \"{SECRET}\"]")), vec!["element 2 is the same secret"]),
            (here("kinds = [\"delte\"]"), vec!["\"original\" or \"edit\" or \"delete\""]),
            (here("kinds = []"), vec!["relay.kinds"]),
            (
                here("timeout_ms = 60001\nconcurrency = 0\ngive_up_ms = 1\nanswer_ms = 1"),
                vec!["100 to 60000", "1 to 512", "1000 to 604800000", "1000 to 3600000"],
            ),
            (here("serial = true\nanswers = false"), vec!["relay.serial: waits for the end of answers"]),
            (here("anwser_ms = 1000"), vec!["did you mean answer_ms?"]),
            (
                here("") + &table("a", "a.b", ""),
                vec![
                    "relay.name: another route is already named \"a\"",
                    "relay.pattern: no channel reaches this route",
                ],
            ),
            (
                format!(
                    "[streams]\nenabled = false\nlife_ms = 60000\n[retention]\nage_ms = 60000\n{}",
                    here("")
                ),
                vec![
                    "relay.answers: needs streams",
                    "relay.answer_ms: must be at most 60000",
                    "relay.give_up_ms: must be at most 60000",
                ],
            ),
            (here("dependency = \"store\""), vec!["\"store\" cannot be the dependency of a route"]),
            (
                format!("{health}{}", here("dependency = \"shop\"")),
                vec!["\"shop\" cannot be the dependency of a route"],
            ),
            (
                here("dependency = \"x\"")
                    + &table("b", "b.*", "dependency = \"x\"\nurl = \"https://b.example/\""),
                vec!["\"x\" has no table, and route \"a\""],
            ),
            (
                here("concurrency = 512")
                    + &table("b", "b.*", "concurrency = 512")
                    + &table("c", "c.*", "concurrency = 1"),
                vec!["more than 1024 requests at once"],
            ),
            (
                (0..=ROUTES_MAX).map(|n| table(&format!("r{n}"), &format!("r{n}"), "")).collect(),
                vec!["at most 16 routes"],
            ),
            ("relay = 3\n".to_owned(), vec!["write [[relay]]"]),
        ] {
            let error = read(&text).expect_err(&text);
            assert!(says.iter().all(|part| error.contains(part)), "{says:?} {error}");
            assert!(!error.contains("hunter2") && !error.contains(SECRET), "{error}");
        }
    }

    #[test]
    fn pattern_covers_what_no_later_route_can_match() {
        for (first, second, expected) in [
            ("thread.*", "thread.1", true),
            ("thread.*", "thread.vip.*", true),
            ("thread.*", "thread*", false),
            ("thread.1", "thread.1", true),
            ("thread.1", "thread.*", false),
            ("*", "room.1", true),
            ("*", "*", true),
            ("*", "$user:ann", false),
            ("a*", "*", false),
        ] {
            assert_eq!(covers(first, second), expected, "{first} {second}");
        }
    }

    #[test]
    fn secret_is_read_from_a_variable_or_a_file_and_a_reload_lists_its_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, secret) = (folder.path().join("seawall.toml"), folder.path().join("secret"));
        let secrets = format!("secrets = [\"env:RELAY_SECRET\", \"file:{}\"]", secret.display());
        std::fs::write(&path, table("assistant", "thread.*", &secrets)).expect("written");
        std::fs::write(&secret, format!("{OTHER}\n")).expect("written");
        let variables = vec![("RELAY_SECRET".into(), SECRET.into())];
        let sources = ConfigSources { file: FileSource::Named(path.clone()), variables, flags: Vec::new() };
        let config = load(&sources).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(routes(&config).named("assistant").expect("read").secrets.len(), 2);
        let shown = listing(&config);
        assert!(
            shown.contains("env:RELAY_SECRET") && !shown.contains(SECRET) && !shown.contains(OTHER),
            "{shown}"
        );
        assert_eq!(reread(&sources, &config).expect("valid").taken, []);
        std::fs::write(&secret, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n").expect("written");
        let reload = reread(&sources, &config).expect("valid");
        assert_eq!(reload.taken[0].to, "[assistant], with other values");
        assert!(reload.waiting.is_empty());
        // A listing can be used as a file.
        std::fs::write(&path, shown).expect("written");
        let again = load(&sources).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again.dependencies.len(), 1);
        std::fs::write(&path, table("assistant", "room.*", &secrets)).expect("written");
        assert_eq!(reread(&sources, &config).expect("valid").taken[0].key, "relay");
    }

    #[test]
    fn route_over_an_unencrypted_network_is_warned_of_and_one_with_its_secret_is_a_comment_in_the_listing() {
        let config = read(&table("a", "a.*", "url = \"http://agents.example/\"")).expect("valid");
        let warnings: String = config.warnings.iter().map(|warning| format!("{warning}\n")).collect();
        assert!(
            warnings.contains("relay.url: publications and answers cross the network unencrypted"),
            "{warnings}"
        );
        let shown = listing(&config);
        assert!(shown.contains("#[[relay]]") && !shown.contains(SECRET), "{shown}");
    }
}
