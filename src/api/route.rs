//! Routing: a method and a path become an endpoint, or a problem.

use crate::auth::api_key::ApiRight;
use crate::id::{ChannelName, OrderId, UserName};
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
    Rebalance,
    User,
    UsersLookup,
    Disconnect,
    Block,
    ShowBlock,
    Unblock,
    Revoke,
    Erase,
    Order,
    OpenApi,
    Commands,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteRow {
    pub(super) endpoint: ApiEndpoint,
    pub(super) method: Method,
    /// A segment in braces is a name.
    pub(super) path: &'static str,
    /// One of these is needed; if there are none, no key is.
    pub(super) rights: &'static [ApiRight],
}

/// All paths.
pub(super) const TABLE: [RouteRow; 22] = [
    row(ApiEndpoint::Publish, Method::Post, "/v1/publish", &[ApiRight::Publish]),
    row(ApiEndpoint::Batch, Method::Post, "/v1/batch", &[ApiRight::Publish]),
    row(ApiEndpoint::Broadcast, Method::Post, "/v1/broadcast", &[ApiRight::Publish]),
    row(ApiEndpoint::Signal, Method::Post, "/v1/signal", &[ApiRight::Signal]),
    row(ApiEndpoint::UserPublish, Method::Post, "/v1/users/{user}/publish", &[ApiRight::Publish]),
    row(ApiEndpoint::UserSignal, Method::Post, "/v1/users/{user}/signal", &[ApiRight::Signal]),
    row(ApiEndpoint::Channel, Method::Get, "/v1/channels/{channel}", &[ApiRight::History]),
    row(ApiEndpoint::History, Method::Get, "/v1/channels/{channel}/history", &[ApiRight::History]),
    row(ApiEndpoint::Presence, Method::Get, "/v1/channels/{channel}/presence", &[ApiRight::Presence]),
    row(ApiEndpoint::Cluster, Method::Get, "/v1/cluster", &[ApiRight::Cluster]),
    row(ApiEndpoint::Rebalance, Method::Post, "/v1/cluster/rebalance", &[ApiRight::Rebalance]),
    row(ApiEndpoint::User, Method::Get, "/v1/users/{user}", &[ApiRight::Users]),
    row(ApiEndpoint::UsersLookup, Method::Post, "/v1/users/lookup", &[ApiRight::Users]),
    row(ApiEndpoint::Disconnect, Method::Post, "/v1/users/{user}/disconnect", &[ApiRight::Disconnect]),
    row(ApiEndpoint::Block, Method::Put, "/v1/users/{user}/block", &[ApiRight::Block]),
    row(ApiEndpoint::ShowBlock, Method::Get, "/v1/users/{user}/block", &[ApiRight::Block]),
    row(ApiEndpoint::Unblock, Method::Delete, "/v1/users/{user}/block", &[ApiRight::Block]),
    row(ApiEndpoint::Revoke, Method::Post, "/v1/tokens/revoke", &[ApiRight::Block]),
    row(ApiEndpoint::Erase, Method::Post, "/v1/users/{user}/erase", &[ApiRight::Erase]),
    row(
        ApiEndpoint::Order,
        Method::Get,
        "/v1/orders/{order}",
        &[ApiRight::Disconnect, ApiRight::Block, ApiRight::Erase],
    ),
    row(ApiEndpoint::OpenApi, Method::Get, "/v1/openapi.json", &[]),
    row(
        ApiEndpoint::Commands,
        Method::Post,
        "/v1/commands",
        &[ApiRight::Stream, ApiRight::Publish, ApiRight::History],
    ),
];

const fn row(
    endpoint: ApiEndpoint,
    method: Method,
    path: &'static str,
    rights: &'static [ApiRight],
) -> RouteRow {
    RouteRow { endpoint, method, path, rights }
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
            ApiEndpoint::Rebalance => "rebalance",
            ApiEndpoint::User => "user",
            ApiEndpoint::UsersLookup => "users_lookup",
            ApiEndpoint::Disconnect => "disconnect",
            ApiEndpoint::Block => "block",
            ApiEndpoint::ShowBlock => "block_show",
            ApiEndpoint::Unblock => "unblock",
            ApiEndpoint::Revoke => "revoke",
            ApiEndpoint::Erase => "erase",
            ApiEndpoint::Order => "order",
            ApiEndpoint::OpenApi => "openapi",
            ApiEndpoint::Commands => "commands",
        }
    }
}

/// A request that was routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Routed {
    pub(super) endpoint: ApiEndpoint,
    pub(super) rights: &'static [ApiRight],
    pub(super) named: Named,
}

/// The name in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Nothing,
    Channel(ChannelName),
    /// The personal channel of a user, and the user.
    Personal(ChannelName, UserName),
    User(UserName),
    Order(OrderId),
}

impl Named {
    /// The channel that the path names.
    pub(super) fn channel(&self) -> Option<ChannelName> {
        match self {
            Named::Channel(channel) | Named::Personal(channel, _) => Some(channel.clone()),
            Named::Nothing | Named::User(_) | Named::Order(_) => None,
        }
    }

    /// The user that the path names.
    pub(super) fn user(&self) -> Option<UserName> {
        match self {
            Named::User(user) | Named::Personal(_, user) => Some(user.clone()),
            Named::Nothing | Named::Channel(_) | Named::Order(_) => None,
        }
    }
}

/// A path that is not served, with the methods that are.
pub(super) type Unrouted = (ApiProblem, Option<String>);

/// Finds the endpoint.
pub(super) fn route(method: Method, path: &str) -> Result<Routed, Unrouted> {
    let mut allowed = Allowed::default();
    for row in &TABLE {
        let found = compare(row.path, path);
        if matches!(found, PathMatch::No) {
            continue;
        }
        if row.method != method {
            allowed.add(row.method);
            continue;
        }
        let named = match found {
            PathMatch::No | PathMatch::Whole => Named::Nothing,
            PathMatch::Named(name) => named(row.endpoint, name)?,
        };
        return Ok(Routed { endpoint: row.endpoint, rights: row.rights, named });
    }
    Err(match allowed.text() {
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

/// The methods of a path.
#[derive(Default)]
struct Allowed(Vec<&'static str>);

impl Allowed {
    fn add(&mut self, method: Method) {
        self.0.push(match method {
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Post => "POST",
            Method::Get | Method::Head | Method::Options | Method::Other | Method::Unknown => "GET",
        });
    }

    fn text(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(", "))
    }
}

/// Reads the name in a path.
fn named(endpoint: ApiEndpoint, name: &str) -> Result<Named, Unrouted> {
    match endpoint {
        ApiEndpoint::UserPublish | ApiEndpoint::UserSignal => personal_channel(name),
        ApiEndpoint::User
        | ApiEndpoint::Disconnect
        | ApiEndpoint::Block
        | ApiEndpoint::ShowBlock
        | ApiEndpoint::Unblock
        | ApiEndpoint::Erase => user(name).map(Named::User),
        ApiEndpoint::Order => {
            let number = name.parse().ok().filter(|_| name.bytes().all(|byte| byte.is_ascii_digit()));
            number.map(|number| Named::Order(OrderId(number))).ok_or_else(|| {
                let detail = "the order in the path must be a number, as order in the answer to the request";
                (ApiProblem::lasting(ProblemCode::Malformed, detail), None)
            })
        }
        ApiEndpoint::Publish
        | ApiEndpoint::Batch
        | ApiEndpoint::Broadcast
        | ApiEndpoint::Signal
        | ApiEndpoint::Channel
        | ApiEndpoint::History
        | ApiEndpoint::Revoke
        | ApiEndpoint::Presence
        | ApiEndpoint::Cluster
        | ApiEndpoint::Rebalance
        | ApiEndpoint::UsersLookup
        | ApiEndpoint::OpenApi
        | ApiEndpoint::Commands => {
            let channel = channel_name("the path", &decoded(name)?).map_err(|problem| (problem, None))?;
            Ok(Named::Channel(channel))
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

fn personal_channel(name: &str) -> Result<Named, Unrouted> {
    let user = user(name)?;
    let channel = ChannelName::parse(personal::channel_of(&user).as_str()).map_err(|_| no_user())?;
    Ok(Named::Personal(channel, user))
}

fn user(name: &str) -> Result<UserName, Unrouted> {
    UserName::parse(&decoded(name)?).map_err(|_| no_user())
}

fn no_user() -> Unrouted {
    let detail = format!("the user in the path must be {}; it is sub of the user's token", UserName::RULE);
    (ApiProblem::lasting(ProblemCode::Malformed, detail), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::api::ENDPOINTS;

    #[test]
    fn path_becomes_an_endpoint_and_its_name_a_channel() {
        let channel =
            |path| route(Method::Get, path).map(|routed| routed.named.channel().map(|name| name.to_string()));
        assert_eq!(channel("/v1/channels/room.7"), Ok(Some("room.7".into())));
        assert_eq!(channel("/v1/channels/room%2E7/history"), Ok(Some("room.7".into())));
        assert_eq!(channel("/v1/channels/%24user%3Aann"), Ok(Some("$user:ann".into())));
        let routed = route(Method::Post, "/v1/users/ann%40example.com/publish").expect("a path");
        assert_eq!(routed.endpoint, ApiEndpoint::UserPublish);
        assert_eq!(routed.named.channel().expect("a channel").as_str(), "$user:ann:40example.com");
        let named = |method, path| route(method, path).expect("a path").named;
        let ann = UserName::parse("ann b").expect("a user name");
        assert_eq!(named(Method::Put, "/v1/users/ann%20b/block"), Named::User(ann));
        assert_eq!(named(Method::Get, "/v1/orders/8812"), Named::Order(OrderId(8812)));
        assert_eq!(named(Method::Post, "/v1/users/lookup"), Named::Nothing);
        let lookup = UserName::parse("lookup").expect("a user name");
        assert_eq!(named(Method::Get, "/v1/users/lookup"), Named::User(lookup), "a user may be named so");
    }

    #[test]
    fn unknown_path_method_and_name_are_refused() {
        let code = |method, path| route(method, path).expect_err("refused").0.code;
        for path in
            ["/", "/v1", "/v1/", "/v2/publish", "/v1/publish/", "/v1/channels/a/b", "/v1/users/ann/other"]
        {
            assert_eq!(code(Method::Post, path), ProblemCode::NotFound, "{path}");
        }
        assert_eq!(code(Method::Get, "/v1/publish"), ProblemCode::MethodNotAllowed);
        assert_eq!(code(Method::Head, "/v1/channels/a"), ProblemCode::MethodNotAllowed);
        for path in ["/v1/channels/", "/v1/channels/%FF", "/v1/channels/a%20b", "/v1/channels/%24status"] {
            assert_eq!(code(Method::Get, path), ProblemCode::Malformed, "{path}");
        }
        assert_eq!(code(Method::Post, "/v1/users/%0A/signal"), ProblemCode::Malformed);
        assert_eq!(code(Method::Get, "/v1/orders/+1"), ProblemCode::Malformed);
        let allowed = route(Method::Post, "/v1/users/ann/block").expect_err("refused").1;
        assert_eq!(allowed.as_deref(), Some("PUT, GET, DELETE"));
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
        let method = |row: &RouteRow| match row.method {
            Method::Get => "get",
            Method::Put => "put",
            Method::Delete => "delete",
            _ => "post",
        };
        let mut served: Vec<String> =
            TABLE.iter().map(|row| format!("{} {}", method(row), row.path)).collect();
        described.sort();
        served.sort();
        assert_eq!(served, described);
        let words: Vec<&str> = TABLE.iter().map(|row| row.endpoint.word()).collect();
        assert_eq!(words, ENDPOINTS[..TABLE.len()]);
    }
}
