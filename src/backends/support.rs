//! A relay without threads, for tests of its parts.

use super::shared::{RelayParts, RelayShared};
use crate::clock::{Moment, Now};
use crate::health::report::Report;
use crate::health::snapshot::Snapshot;
use crate::id::UserName;
use crate::id::pattern::ChannelPattern;
use crate::job::Outlook;
use crate::job::mailbox::ThreadMailboxes;
use crate::job::relay::{RelayNotices, RelayQueue, Routes};
use crate::metrics::relay::RelayMeters;
use crate::metrics::vitals::Vitals;
use crate::relay::route::{AnswerMode, ChannelOrder, RelayRoute, RelayedKinds, RouteTable};
use crossbeam_channel::bounded;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn route(port: u16) -> RelayRoute {
    RelayRoute {
        name: "assistant".into(),
        pattern: ChannelPattern::parse("t*").expect("a pattern"),
        url: format!("http://127.0.0.1:{port}/").into(),
        user: UserName::parse("assistant").expect("a user"),
        answers: AnswerMode::Stored,
        kinds: RelayedKinds::NONE,
        skip_users: Vec::new(),
        claims: Vec::new(),
        publish: Vec::new(),
        dependency: None,
        secrets: Vec::new(),
        timeout: PATIENCE,
        concurrency: 1,
        order: ChannelOrder::Taken,
        give_up: PATIENCE,
        answer: PATIENCE,
    }
}

/// The shared part of a relay with one route, and a clock of its own.
pub(super) fn relay(
    port: u16,
    mailboxes: Arc<ThreadMailboxes>,
    clock: impl Fn() -> Now + Send + Sync + 'static,
) -> Arc<RelayShared> {
    let route = route(port);
    let meters = Arc::new(RelayMeters::default());
    meters.renew(std::iter::once(&route.name));
    let report = Report { status: 200, body: "{}".into() };
    let parts = RelayParts {
        routes: Arc::new(Routes::new(RouteTable::new(vec![route]))),
        queue: RelayQueue::new().0,
        notices: RelayNotices::new().1,
        mailboxes,
        appends: bounded(1).0,
        outlook: Arc::new(Outlook::new(Arc::new(Snapshot::ok()), report)),
        evidence: Arc::default(),
        meters,
        vitals: Arc::new(Vitals::new(1, 10, 10, 10, Moment::ZERO)),
        source: None,
        idle: PATIENCE,
        message_bytes: 64 << 10,
        life: PATIENCE,
    };
    RelayShared::new(parts, Arc::new(clock)).0
}
