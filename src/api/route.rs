//! Routing: a method and a path become an endpoint, or a problem.

use crate::auth::api_key::ApiRight;
use crate::id::{ChannelName, UserName};
use crate::wire::api::body::channel_name;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::personal;
use crate::wire::request::Method;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The paths, as `docs/openapi.json` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiEndpoint {
    Publish,
    Batch,
    Broadcast,
    Signal,
    UserPublish,
    UserSignal,
    Channel,
    History,
    Presence,
    Cluster,
    OpenApi,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteRow {
    pub(super) endpoint: ApiEndpoint,
    pub(super) method: Method,
    /// A segment in braces is a name.
    pub(super) path: &'static str,
    /// `None`: no key is needed.
    pub(super) right: Option<ApiRight>,
}

/// All paths.
pub(super) const TABLE: [RouteRow; 11] = [
    row(ApiEndpoint::Publish, Method::Post, "/v1/publish", Some(ApiRight::Publish)),
    row(ApiEndpoint::Batch, Method::Post, "/v1/batch", Some(ApiRight::Publish)),
    row(ApiEndpoint::Broadcast, Method::Post, "/v1/broadcast", Some(ApiRight::Publish)),
    row(ApiEndpoint::Signal, Method::Post, "/v1/signal", Some(ApiRight::Signal)),
    row(ApiEndpoint::UserPublish, Method::Post, "/v1/users/{user}/publish", Some(ApiRight::Publish)),
    row(ApiEndpoint::UserSignal, Method::Post, "/v1/users/{user}/signal", Some(ApiRight::Signal)),
    row(ApiEndpoint::Channel, Method::Get, "/v1/channels/{channel}", Some(ApiRight::History)),
    row(ApiEndpoint::History, Method::Get, "/v1/channels/{channel}/history", Some(ApiRight::History)),
    row(ApiEndpoint::Presence, Method::Get, "/v1/channels/{channel}/presence", Some(ApiRight::Presence)),
    row(ApiEndpoint::Cluster, Method::Get, "/v1/cluster", Some(ApiRight::Cluster)),
    row(ApiEndpoint::OpenApi, Method::Get, "/v1/openapi.json", None),
];

const fn row(endpoint: ApiEndpoint, method: Method, path: &'static str, right: Option<ApiRight>) -> RouteRow {
    RouteRow { endpoint, method, path, right }
}

impl ApiEndpoint {
    /// The word in metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            ApiEndpoint::Publish => "publish",
            ApiEndpoint::Batch => "batch",
            ApiEndpoint::Broadcast => "broadcast",
            ApiEndpoint::Signal => "signal",
            ApiEndpoint::UserPublish => "user_publish",
            ApiEndpoint::UserSignal => "user_signal",
            ApiEndpoint::Channel => "channel",
            ApiEndpoint::History => "history",
            ApiEndpoint::Presence => "presence",
            ApiEndpoint::Cluster => "cluster",
            ApiEndpoint::OpenApi => "openapi",
        }
    }
}

/// A request that was routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Routed {
    pub(super) endpoint: ApiEndpoint,
    pub(super) right: Option<ApiRight>,
    /// The channel that the path names, by itself or as a user's.
    pub(super) channel: Option<ChannelName>,
}

/// A path that is not served, with the methods that are.
pub(super) type Unrouted = (ApiProblem, Option<&'static str>);

/// Finds the endpoint.
pub(super) fn route(method: Method, path: &str) -> Result<Routed, Unrouted> {
    let mut allowed = None;
    for row in &TABLE {
        let found = compare(row.path, path);
        if matches!(found, PathMatch::No) {
            continue;
        }
        if row.method != method {
            allowed = Some(if row.method == Method::Get { "GET" } else { "POST" });
            continue;
        }
        let channel = match (found, row.endpoint) {
            (PathMatch::No | PathMatch::Whole, _) => None,
            (PathMatch::Named(name), ApiEndpoint::UserPublish | ApiEndpoint::UserSignal) => {
                Some(personal_channel(name)?)
            }
            (PathMatch::Named(name), _) => {
                Some(channel_name("the path", &decoded(name)?).map_err(|problem| (problem, None))?)
            }
        };
        return Ok(Routed { endpoint: row.endpoint, right: row.right, channel });
    }
    Err(match allowed {
        Some(methods) => {
            let detail = format!("this path takes {methods}");
            (ApiProblem::lasting(ProblemCode::MethodNotAllowed, detail), Some(methods))
        }
        None => (ApiProblem::lasting(ProblemCode::NotFound, "no such path; see /v1/openapi.json"), None),
    })
}

/// A path compared with a template.
enum PathMatch<'a> {
    No,
    /// It matches, and the template has no name.
    Whole,
    /// It matches, with this name.
    Named(&'a str),
}

fn compare<'a>(template: &str, path: &'a str) -> PathMatch<'a> {
    let mut outcome = PathMatch::Whole;
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return outcome,
            (Some(wanted), Some(found)) if wanted.starts_with('{') => outcome = PathMatch::Named(found),
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return PathMatch::No,
        }
    }
}

fn decoded(name: &str) -> Result<Cow<'_, str>, Unrouted> {
    percent_decode_str(name).decode_utf8().map_err(|_| {
        (
            ApiProblem::lasting(ProblemCode::Malformed, "the name in the path is not percent-encoded UTF-8"),
            None,
        )
    })
}

fn personal_channel(name: &str) -> Result<ChannelName, Unrouted> {
    let wrong = || {
        let detail = "the user in the path must be 1 to 128 bytes without control characters";
        (ApiProblem::lasting(ProblemCode::Malformed, detail), None)
    };
    let user = UserName::parse(&decoded(name)?).map_err(|_| wrong())?;
    ChannelName::parse(&personal::channel_of(&user)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::api::ENDPOINTS;

    #[test]
    fn path_becomes_an_endpoint_and_its_name_a_channel() {
        let channel =
            |path| route(Method::Get, path).map(|routed| routed.channel.map(|name| name.to_string()));
        assert_eq!(channel("/v1/channels/room.7"), Ok(Some("room.7".into())));
        assert_eq!(channel("/v1/channels/room%2E7/history"), Ok(Some("room.7".into())));
        assert_eq!(channel("/v1/channels/%24user%3Aann"), Ok(Some("$user:ann".into())));
        let routed = route(Method::Post, "/v1/users/ann%40example.com/publish").expect("a path");
        assert_eq!(routed.endpoint, ApiEndpoint::UserPublish);
        assert_eq!(routed.channel.expect("a channel").as_str(), "$user:ann:40example.com");
    }

    #[test]
    fn unknown_path_method_and_name_are_refused() {
        let code = |method, path| route(method, path).expect_err("refused").0.code;
        for path in ["/", "/v1", "/v1/", "/v2/publish", "/v1/publish/", "/v1/channels/a/b", "/v1/users/ann"] {
            assert_eq!(code(Method::Post, path), ProblemCode::NotFound, "{path}");
        }
        assert_eq!(code(Method::Get, "/v1/publish"), ProblemCode::MethodNotAllowed);
        assert_eq!(code(Method::Head, "/v1/channels/a"), ProblemCode::MethodNotAllowed);
        for path in ["/v1/channels/", "/v1/channels/%FF", "/v1/channels/a%20b", "/v1/channels/%24status"] {
            assert_eq!(code(Method::Get, path), ProblemCode::Malformed, "{path}");
        }
        assert_eq!(code(Method::Post, "/v1/users/%0A/signal"), ProblemCode::Malformed);
    }

    #[test]
    fn table_is_that_of_the_description_and_of_the_metrics() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON");
        let mut described: Vec<String> = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            described.extend(
                methods.as_object().expect("methods").keys().map(|method| format!("{method} {path}")),
            );
        }
        let method = |row: &RouteRow| if row.method == Method::Get { "get" } else { "post" };
        let mut served: Vec<String> =
            TABLE.iter().map(|row| format!("{} {}", method(row), row.path)).collect();
        described.sort();
        served.sort();
        assert_eq!(served, described);
        let words: Vec<&str> = TABLE.iter().map(|row| row.endpoint.word()).collect();
        assert_eq!(words, ENDPOINTS[..TABLE.len()]);
    }
}
