//! The routes: which publications go to which backend.

use crate::id::pattern::ChannelPattern;
use crate::id::{ChannelName, UserName};
use crate::wire::publication::Change;
use crate::wire::stream::StreamMark;
use crate::wire::webhook::WebhookKey;
use std::sync::Arc;
use std::time::Duration;

/// The bound on routes. An append searches them once for its channel.
pub const ROUTES_MAX: usize = 16;

/// The use of placeholders: the begin of an answer that is stored together with its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerMode {
    /// `answers = true`: an original is stored together with the begin of its answer.
    Stored,
    /// `answers = false`: the backend begins streams itself, or does not answer.
    None,
}

/// The order of the requests for one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// `serial = false`: the next publication is sent once the backend has taken the one before.
    Taken,
    /// `serial = true`: the next publication also waits until the answer to the one before has ended.
    Answered,
}

/// A kind of publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayedKind {
    Original,
    Edit,
    Delete,
}

impl RelayedKind {
    pub const ALL: [RelayedKind; 3] = [RelayedKind::Original, RelayedKind::Edit, RelayedKind::Delete];

    /// The word in `kinds`.
    pub const fn name(self) -> &'static str {
        match self {
            RelayedKind::Original => "original",
            RelayedKind::Edit => "edit",
            RelayedKind::Delete => "delete",
        }
    }

    pub fn parse(name: &str) -> Option<RelayedKind> {
        RelayedKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    const fn of(change: Change) -> RelayedKind {
        match change {
            Change::None => RelayedKind::Original,
            Change::Edits(_) => RelayedKind::Edit,
            Change::Deletes(_) => RelayedKind::Delete,
        }
    }

    const fn bit(self) -> u8 {
        match self {
            RelayedKind::Original => 1,
            RelayedKind::Edit => 2,
            RelayedKind::Delete => 4,
        }
    }
}

/// The kinds of publications that a route relays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayedKinds(u8);

impl RelayedKinds {
    /// No kind.
    pub const NONE: RelayedKinds = RelayedKinds(0);

    pub const fn with(self, kind: RelayedKind) -> RelayedKinds {
        RelayedKinds(self.0 | kind.bit())
    }

    pub const fn has(self, kind: RelayedKind) -> bool {
        self.0 & kind.bit() != 0
    }
}

/// One `[[relay]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayRoute {
    /// The name in metrics, logs and requests.
    pub name: Arc<str>,
    /// The channels. The first route that matches a channel has it.
    pub pattern: ChannelPattern,
    /// The address of the backend: `http` or `https`, without user and password.
    pub url: Arc<str>,
    /// The author of answers. Publications of this user are not relayed.
    pub user: UserName,
    pub answers: AnswerMode,
    pub kinds: RelayedKinds,
    /// Authors whose publications are not relayed.
    pub skip_users: Vec<UserName>,
    /// The claims of the author's token that requests carry.
    pub claims: Vec<Arc<str>>,
    /// Other channels that a response may publish to.
    pub publish: Vec<ChannelPattern>,
    /// The dependency whose breaker stops requests; `None`: there is no breaker.
    pub dependency: Option<Arc<str>>,
    /// All of them sign each request, so that a backend can move from one to the next. At least one.
    pub secrets: Vec<WebhookKey>,
    /// From the begin of a request to the head of its response.
    pub timeout: Duration,
    /// Simultaneous requests of this instance. A response that is being read counts as one. At least 1.
    pub concurrency: u16,
    pub order: ChannelOrder,
    /// The time after a question's commit at which it is given up if the backend has not taken it.
    pub give_up: Duration,
    /// The time that a taken question may wait for a sign of its answer.
    pub answer: Duration,
}

impl RelayRoute {
    /// Returns whether a publication of one of its channels is relayed. Begins and ends of streams are not.
    pub fn relays(&self, user: &str, change: Change, mark: StreamMark) -> bool {
        mark == StreamMark::None
            && self.kinds.has(RelayedKind::of(change))
            && user != self.user.as_str()
            && self.skip_users.iter().all(|skipped| skipped.as_str() != user)
    }

    /// Returns whether the begin of an answer is stored together with such a publication: only a new question is answered.
    pub fn is_answered(&self, user: &str, change: Change, mark: StreamMark) -> bool {
        self.answers == AnswerMode::Stored && change == Change::None && self.relays(user, change, mark)
    }

    /// Returns whether a response may publish to `channel`, while it answers a publication of `own`.
    pub fn may_publish(&self, own: &ChannelName, channel: &ChannelName) -> bool {
        channel == own || self.publish.iter().any(|pattern| pattern.matches(channel))
    }
}

/// All routes, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable(Arc<[RelayRoute]>);

impl RouteTable {
    /// The names differ from each other, and there are at most [`ROUTES_MAX`].
    pub fn new(routes: Vec<RelayRoute>) -> RouteTable {
        debug_assert!(routes.len() <= ROUTES_MAX, "the configuration bounds routes");
        RouteTable(Arc::from(routes))
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The route of a channel: the first that matches.
    pub fn of(&self, channel: &ChannelName) -> Option<&RelayRoute> {
        self.0.iter().find(|route| route.pattern.matches(channel))
    }

    pub fn named(&self, name: &str) -> Option<&RelayRoute> {
        self.0.iter().find(|route| &*route.name == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &RelayRoute> {
        self.0.iter()
    }

    /// The names of the claims that any route forwards, each once.
    pub fn claims(&self) -> Arc<[Arc<str>]> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for name in self.0.iter().flat_map(|route| &route.claims) {
            if !names.contains(name) {
                names.push(Arc::clone(name));
            }
        }
        names.into()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::Offset;
    use crate::wire::stream::StreamEnd;

    /// A route that answers in channels of a pattern.
    pub(crate) fn route(name: &str, pattern: &str) -> RelayRoute {
        RelayRoute {
            name: name.into(),
            pattern: ChannelPattern::parse(pattern).expect("a pattern"),
            url: "http://127.0.0.1:9/seawall".into(),
            user: UserName::parse("assistant").expect("a user"),
            answers: AnswerMode::Stored,
            kinds: RelayedKinds::NONE.with(RelayedKind::Original),
            skip_users: vec![UserName::parse("monitor").expect("a user")],
            claims: Vec::new(),
            publish: vec![ChannelPattern::parse("log.*").expect("a pattern")],
            dependency: None,
            secrets: Vec::new(),
            timeout: Duration::from_secs(10),
            concurrency: 32,
            order: ChannelOrder::Taken,
            give_up: Duration::from_secs(3_600),
            answer: Duration::from_secs(120),
        }
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).expect("a channel")
    }

    #[test]
    fn first_route_that_matches_a_channel_has_it() {
        let table = RouteTable::new(vec![route("one", "thread.vip"), route("rest", "thread.*")]);
        let name = |at: &str| table.of(&channel(at)).map(|route| &*route.name);
        assert_eq!(name("thread.vip"), Some("one"));
        assert_eq!(name("thread.vip2"), Some("rest"));
        assert_eq!(name("room.1"), None);
        assert_eq!(table.named("rest").map(|route| &*route.name), Some("rest"));
        assert!(RouteTable::default().is_empty() && !table.is_empty());
    }

    #[test]
    fn claim_that_several_routes_forward_is_named_once() {
        let with = |claims: &[&str]| {
            let claims = claims.iter().map(|name| Arc::from(*name)).collect();
            RelayRoute { claims, ..route("one", "*") }
        };
        let table = RouteTable::new(vec![with(&["tenant", "plan"]), with(&["plan", "team"])]);
        assert_eq!(*table.claims(), ["tenant", "plan", "team"].map(Arc::from));
        assert!(RouteTable::default().claims().is_empty());
    }

    #[test]
    fn own_answers_skipped_users_and_marks_of_streams_are_not_relayed() {
        let mut route = route("assistant", "thread.*");
        let (edit, delete) = (Change::Edits(Offset(1)), Change::Deletes(Offset(1)));
        assert!(route.relays("ann", Change::None, StreamMark::None));
        for (user, change, mark) in [
            ("assistant", Change::None, StreamMark::None),
            ("monitor", Change::None, StreamMark::None),
            ("ann", Change::None, StreamMark::Begun),
            ("ann", edit, StreamMark::Ended(StreamEnd::Replaced)),
            ("ann", edit, StreamMark::None),
            ("ann", delete, StreamMark::None),
        ] {
            assert!(!route.relays(user, change, mark), "{user} {change:?} {mark:?}");
        }
        route.kinds = route.kinds.with(RelayedKind::Edit).with(RelayedKind::Delete);
        assert!(route.relays("ann", edit, StreamMark::None) && route.relays("ann", delete, StreamMark::None));
        assert!(route.is_answered("ann", Change::None, StreamMark::None));
        assert!(!route.is_answered("ann", edit, StreamMark::None), "an edit asks nothing new");
        route.answers = AnswerMode::None;
        assert!(!route.is_answered("ann", Change::None, StreamMark::None));
    }

    #[test]
    fn response_publishes_to_its_own_channel_and_to_those_that_are_listed() {
        let route = route("assistant", "thread.*");
        let own = channel("thread.1");
        assert!(route.may_publish(&own, &own) && route.may_publish(&own, &channel("log.1")));
        assert!(!route.may_publish(&own, &channel("thread.2")));
    }
}
