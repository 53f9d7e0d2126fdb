//! A database, instances that claim its channels, and a route.

use super::super::super::batch::{self, AppendBounds, SettledAppend};
use super::super::super::connection::{ConnectionRole, ServerTarget, StoreConnection};
use super::super::group::Group;
use super::super::reads::DuePlace;
use super::servers::Postgres;
use super::wait::{SOON, until};
use crate::id::pattern::ChannelPattern;
use crate::id::{ChannelName, Key, ReactorId, UserName};
use crate::job::relay::{
    ClaimOutcome, Claimed, DeadLetter, Fence, RelayAnswer, RelayDue, RelayOutcome, RelayWork, SettleOutcome,
};
use crate::job::{Append, AppendChange, Appended, Authority, Creation, Ticket};
use crate::relay::route::{AnswerMode, ChannelOrder, RelayRoute, RelayedKind, RelayedKinds, RouteTable};
use std::sync::Arc;
use std::time::Duration;

const BOUNDS: AppendBounds = AppendBounds { channels_max: 1_000, edits_max: 100, streams_max: 8 };

/// The time of all publications.
pub(super) const NOW_MS: u64 = 1_000_000;

/// A route with answers for channels that begin with `t`.
pub(super) fn route() -> RelayRoute {
    RelayRoute {
        name: "assistant".into(),
        pattern: ChannelPattern::parse("t*").expect("a pattern"),
        url: "http://127.0.0.1:9/".into(),
        user: UserName::parse("assistant").expect("a user"),
        answers: AnswerMode::Stored,
        kinds: RelayedKinds::NONE.with(RelayedKind::Original),
        skip_users: Vec::new(),
        claims: vec!["tenant".into()],
        publish: Vec::new(),
        dependency: None,
        secrets: Vec::new(),
        timeout: Duration::from_secs(10),
        concurrency: 32,
        order: ChannelOrder::Taken,
        give_up: Duration::from_secs(3_600),
        answer: Duration::from_secs(120),
    }
}

/// The same without answers.
pub(super) fn silent() -> RelayRoute {
    RelayRoute { answers: AnswerMode::None, ..route() }
}

pub(super) fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).expect("a channel name")
}

pub(super) fn question(channel: &str, key: Option<&str>, data: &str) -> Append {
    Append {
        ticket: Ticket { reactor: ReactorId(0), request: 0 },
        channel: name(channel),
        user: UserName::parse("ann").expect("a user name"),
        key: key.map(|key| Key::parse(key).expect("a key")),
        change: AppendChange::Original,
        creation: Creation::Free,
        stream: None,
        claims: None,
        data: data.into(),
    }
}

pub(super) fn delete(channel: &str, target: u64) -> Append {
    let change = AppendChange::Delete(crate::id::Offset(target), Authority::Author);
    Append { change, ..question(channel, None, "null") }
}

/// A database.
pub(super) struct Store {
    pub(super) server: Postgres,
    pub(super) appends: StoreConnection,
    pub(super) table: RouteTable,
}

/// One instance.
pub(super) struct Instance {
    pub(super) connection: StoreConnection,
    pub(super) table: RouteTable,
    by: i64,
    due_after: DuePlace,
}

impl Store {
    pub(super) fn start(routes: Vec<RelayRoute>) -> Store {
        let server = Postgres::start_with(&[]);
        let appends = connect(&server);
        Store { server, appends, table: RouteTable::new(routes) }
    }

    pub(super) fn instance(&self, by: i64) -> Instance {
        Instance {
            connection: connect(&self.server),
            table: self.table.clone(),
            by,
            due_after: DuePlace::default(),
        }
    }

    pub(super) fn sql(&self, text: &str) -> String {
        self.server.sql(text)
    }

    pub(super) fn commit(&mut self, jobs: &[Append]) -> Vec<SettledAppend> {
        commit(&mut self.appends, jobs, &self.table)
    }

    /// Stores one publication.
    pub(super) fn ask(&mut self, job: Append) -> Appended {
        let settled = self.commit(&[job]);
        settled[0].outcome.clone().expect("stored")
    }

    /// Ends all claims by the clock of the database.
    pub(super) fn expire_claims(&self) {
        self.sql("UPDATE seawall.relays SET taken_until = 1 WHERE taken_by IS NOT NULL");
    }
}

pub(super) fn commit(
    connection: &mut StoreConnection,
    jobs: &[Append],
    table: &RouteTable,
) -> Vec<SettledAppend> {
    let jobs: Vec<&Append> = jobs.iter().collect();
    batch::commit(connection, &jobs, NOW_MS, BOUNDS, Some(table)).expect("the batch commits")
}

fn connect(server: &Postgres) -> StoreConnection {
    let target = ServerTarget::parse(&server.url(), None).expect("an address");
    let mut connection = StoreConnection::new(&target, ConnectionRole::Relay, Arc::default(), None);
    until(SOON, "it is connected", || connection.advance(|| {}).is_ok() && connection.is_up());
    connection
}

impl Instance {
    pub(super) fn calls(&mut self, works: &[RelayWork]) -> Vec<RelayAnswer> {
        Group {
            connection: &mut self.connection,
            table: &self.table,
            by: self.by,
            due_after: &mut self.due_after,
        }
        .run(works)
    }

    pub(super) fn call(&mut self, work: RelayWork) -> RelayAnswer {
        self.calls(&[work]).pop().expect("an answer")
    }

    /// The answer to a request that a server which nothing disturbs is only too slow to give: calls have time limits.
    pub(super) fn answered(&mut self, work: RelayWork) -> RelayAnswer {
        match self.call(work) {
            RelayAnswer::Unavailable => {
                panic!("not in time: an answer; is connected: {}", self.connection.is_up())
            }
            answer => answer,
        }
    }

    pub(super) fn claim(&mut self, channel: &str) -> ClaimOutcome {
        match self.answered(RelayWork::Claim { channel: name(channel) }) {
            RelayAnswer::Claim(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn claimed(&mut self, channel: &str) -> Claimed {
        claimed(self.claim(channel))
    }

    pub(super) fn settle(&mut self, channel: &str, fence: Fence, outcome: RelayOutcome) -> SettleOutcome {
        match self.answered(RelayWork::Settle { channel: name(channel), fence, outcome }) {
            RelayAnswer::Settle(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Settles a claim, and returns what is next.
    pub(super) fn settled(&mut self, channel: &str, fence: Fence, outcome: RelayOutcome) -> ClaimOutcome {
        match self.settle(channel, fence, outcome) {
            SettleOutcome::Settled(next) => next,
            SettleOutcome::Lost => panic!("lost"),
        }
    }

    pub(super) fn dead(&mut self) -> Vec<DeadLetter> {
        match self.answered(RelayWork::Dead { route: None, after: 0, limit: 100 }) {
            RelayAnswer::Dead(letters) => letters,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn due(&mut self) -> RelayDue {
        match self.answered(RelayWork::Due { limit: 100 }) {
            RelayAnswer::Due(due) => due,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn claimed(outcome: ClaimOutcome) -> Claimed {
    match outcome {
        ClaimOutcome::Claimed(claimed) => *claimed,
        other => panic!("{other:?}"),
    }
}
