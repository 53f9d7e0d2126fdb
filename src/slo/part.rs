//! Parts of objectives: what is counted as one event, and as what.

use super::objective::Counting;

/// A stream of events of an objective. Reactors count the first [`REACTOR_PARTS`] where they happen, the canary the next ones, and the
/// threads that write the store those of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SloPart {
    /// Well-formed upgrades of `/ws`.
    Attempt,
    /// Milliseconds in which sessions were open, in which refused clients had to wait, and in which returning clients had none.
    Session,
    /// Messages that clients publish; however often a client tries, a message counts once.
    Publish,
    /// Publications on their way to live subscribers, each counted once for each of them: whether they arrive.
    DeliveryFanout,
    /// Replies to `publish`, `subscribe`, `history` and `presence`.
    Command,
    /// The same events as [`SloPart::DeliveryFanout`]: whether they arrive soon.
    LatencyFanout,
    /// Requests for health reports.
    Request,
    /// Ends of sessions that their clients did not begin.
    Endings,
    /// Looks of the canary at the way from the listener to `connected`.
    ConnectionCanary,
    /// Messages of the canary.
    DeliveryCanary,
    /// The same messages, by the time until they are received.
    LatencyCanary,
    /// The canary's requests for `/health/ready`.
    Probe,
    /// Clients that connect again after their connection ended.
    Returns,
    /// Ends of answers to questions of a relay.
    Answer,
    /// First pieces of answers.
    Piece,
}

/// The parts that reactors count.
pub const REACTOR_PARTS: usize = SloPart::ConnectionCanary as usize;

impl SloPart {
    /// All parts, in declaration order.
    pub const ALL: [SloPart; 15] = [
        SloPart::Attempt,
        SloPart::Session,
        SloPart::Publish,
        SloPart::DeliveryFanout,
        SloPart::Command,
        SloPart::LatencyFanout,
        SloPart::Request,
        SloPart::Endings,
        SloPart::ConnectionCanary,
        SloPart::DeliveryCanary,
        SloPart::LatencyCanary,
        SloPart::Probe,
        SloPart::Returns,
        SloPart::Answer,
        SloPart::Piece,
    ];

    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name of its objective.
    pub const fn objective(self) -> &'static str {
        match self {
            SloPart::Attempt | SloPart::Session | SloPart::ConnectionCanary => "connection",
            SloPart::Publish | SloPart::DeliveryFanout | SloPart::DeliveryCanary => "delivery",
            SloPart::Command | SloPart::LatencyFanout | SloPart::LatencyCanary => "latency",
            SloPart::Request | SloPart::Probe => "health",
            SloPart::Endings => "explained",
            SloPart::Returns => "recovery",
            SloPart::Answer => "answers",
            SloPart::Piece => "promptness",
        }
    }

    /// Its name within the objective.
    pub const fn as_str(self) -> &'static str {
        match self {
            SloPart::Attempt => "attempt",
            SloPart::Session => "session",
            SloPart::Publish => "publish",
            SloPart::Command => "command",
            SloPart::DeliveryFanout | SloPart::LatencyFanout => "fanout",
            SloPart::Request => "request",
            SloPart::Endings => "endings",
            SloPart::ConnectionCanary | SloPart::DeliveryCanary | SloPart::LatencyCanary => "canary",
            SloPart::Probe => "probe",
            SloPart::Returns => "returns",
            SloPart::Answer => "answer",
            SloPart::Piece => "piece",
        }
    }

    /// The name that its counts are stored under, which no other part has.
    pub const fn stored_as(self) -> &'static str {
        match self {
            SloPart::DeliveryFanout => "delivery.fanout",
            SloPart::LatencyFanout => "latency.fanout",
            SloPart::ConnectionCanary => "connection.canary",
            SloPart::DeliveryCanary => "delivery.canary",
            SloPart::LatencyCanary => "latency.canary",
            SloPart::Attempt
            | SloPart::Session
            | SloPart::Publish
            | SloPart::Command
            | SloPart::Request
            | SloPart::Endings
            | SloPart::Probe
            | SloPart::Returns
            | SloPart::Answer
            | SloPart::Piece => self.as_str(),
        }
    }

    /// Retries of clients that were cut off would spend the budget of a month within minutes, so attempts are counted by the ten
    /// seconds in which they happen.
    pub const fn counting(self) -> Counting {
        match self {
            SloPart::Attempt | SloPart::ConnectionCanary => Counting::Looks,
            SloPart::Session
            | SloPart::Publish
            | SloPart::DeliveryFanout
            | SloPart::Command
            | SloPart::LatencyFanout
            | SloPart::Request
            | SloPart::Endings
            | SloPart::DeliveryCanary
            | SloPart::LatencyCanary
            | SloPart::Probe
            | SloPart::Returns
            | SloPart::Answer
            | SloPart::Piece => Counting::Events,
        }
    }

    /// The unit of its budget, for people.
    pub const fn unit(self) -> &'static str {
        match self {
            SloPart::Attempt | SloPart::ConnectionCanary => "looks",
            SloPart::Session => "seconds",
            SloPart::Publish | SloPart::DeliveryCanary | SloPart::LatencyCanary => "messages",
            SloPart::DeliveryFanout | SloPart::LatencyFanout => "deliveries",
            SloPart::Command => "replies",
            SloPart::Request => "requests",
            SloPart::Endings => "ends",
            SloPart::Probe => "probes",
            SloPart::Returns => "returns",
            SloPart::Answer | SloPart::Piece => "answers",
        }
    }

    /// The counted units in one of [`unit`](SloPart::unit): millionths of looks, milliseconds, or events.
    pub const fn weight(self) -> u128 {
        match self {
            SloPart::Attempt | SloPart::ConnectionCanary => 1_000_000,
            SloPart::Session => 1_000,
            SloPart::Publish
            | SloPart::DeliveryFanout
            | SloPart::Command
            | SloPart::LatencyFanout
            | SloPart::Request
            | SloPart::Endings
            | SloPart::DeliveryCanary
            | SloPart::LatencyCanary
            | SloPart::Probe
            | SloPart::Returns
            | SloPart::Answer
            | SloPart::Piece => 1,
        }
    }

    /// The counted units that are one event for the judge, because a guard compares events: ten seconds of a session.
    pub const fn judged_as_one(self) -> u64 {
        match self {
            SloPart::Session => 10_000,
            SloPart::Attempt
            | SloPart::Publish
            | SloPart::DeliveryFanout
            | SloPart::Command
            | SloPart::LatencyFanout
            | SloPart::Request
            | SloPart::Endings
            | SloPart::ConnectionCanary
            | SloPart::DeliveryCanary
            | SloPart::LatencyCanary
            | SloPart::Probe
            | SloPart::Returns
            | SloPart::Answer
            | SloPart::Piece => 1,
        }
    }

    /// True of the parts that count answers of a relay: without a route that has answers, there are no events of them.
    pub const fn is_of_answers(self) -> bool {
        matches!(self, SloPart::Answer | SloPart::Piece)
    }

    /// The causes for which its events can be bad.
    pub const fn causes(self) -> &'static [BadCause] {
        match self {
            SloPart::Attempt | SloPart::Session => &[
                BadCause::Late,
                BadCause::Unavailable,
                BadCause::Unjudged,
                BadCause::Capacity,
                BadCause::Fault,
            ],
            SloPart::Publish => &[BadCause::NotStored],
            SloPart::DeliveryFanout
            | SloPart::Command
            | SloPart::LatencyFanout
            | SloPart::Request
            | SloPart::LatencyCanary
            | SloPart::Returns
            | SloPart::Piece => &[BadCause::Late],
            SloPart::ConnectionCanary => {
                &[BadCause::Late, BadCause::Unavailable, BadCause::Capacity, BadCause::Fault]
            }
            SloPart::DeliveryCanary => &[BadCause::Late, BadCause::NotStored],
            SloPart::Probe => &[BadCause::Late, BadCause::Unavailable, BadCause::Fault],
            SloPart::Endings => &[BadCause::Unexplained],
            SloPart::Answer => &[BadCause::Failed, BadCause::NotDelivered, BadCause::Interrupted],
        }
    }

    /// The reasons for which its events can be excluded.
    pub const fn exclusions(self) -> &'static [Exclusion] {
        match self {
            SloPart::Attempt => &[
                Exclusion::Client,
                Exclusion::ClientLimit,
                Exclusion::Left,
                Exclusion::Deferred,
                Exclusion::Drain,
            ],
            SloPart::Session => &[Exclusion::Drain],
            SloPart::Publish | SloPart::Returns | SloPart::Answer => &[Exclusion::Client],
            SloPart::Piece => &[Exclusion::Left],
            SloPart::DeliveryFanout | SloPart::LatencyFanout => &[Exclusion::SlowReader, Exclusion::Clock],
            SloPart::Command | SloPart::Request => &[],
            SloPart::Endings => &[Exclusion::PeerGone],
            SloPart::ConnectionCanary => &[Exclusion::ClientLimit, Exclusion::Drain],
            SloPart::DeliveryCanary | SloPart::LatencyCanary | SloPart::Probe => &[Exclusion::Drain],
        }
    }
}

/// Totals of a part: events, or milliseconds in [`SloPart::Session`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartTotals {
    pub good: u64,
    pub bad: u64,
    pub excluded: u64,
}

impl PartTotals {
    pub fn add(&mut self, other: PartTotals) {
        self.good += other.good;
        self.bad += other.bad;
        self.excluded += other.excluded;
    }

    /// The events since `before`.
    pub fn since(self, before: PartTotals) -> PartTotals {
        PartTotals {
            good: self.good.saturating_sub(before.good),
            bad: self.bad.saturating_sub(before.bad),
            excluded: self.excluded.saturating_sub(before.excluded),
        }
    }
}

/// The way in which an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SloOutcome {
    Good,
    Bad(BadCause),
    /// Neither: the gateway could not have done better.
    Excluded(Exclusion),
}

/// Why an event is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCause {
    /// It took too long.
    Late,
    /// A critical dependency was down.
    Unavailable,
    /// The token could not be checked.
    Unjudged,
    /// The gateway had no room.
    Capacity,
    /// The gateway failed.
    Fault,
    /// A message was not stored in time.
    NotStored,
    /// A connection ended without a reason that its client could read.
    Unexplained,
    /// A backend refused a question, or its answer failed.
    Failed,
    /// No backend took a question in time.
    NotDelivered,
    /// A backend was lost or silent before the end of its answer.
    Interrupted,
}

/// The causes that reactors count.
pub const REACTOR_CAUSES: usize = BadCause::Failed as usize;

impl BadCause {
    /// All causes, in declaration order.
    pub const ALL: [BadCause; 10] = [
        BadCause::Late,
        BadCause::Unavailable,
        BadCause::Unjudged,
        BadCause::Capacity,
        BadCause::Fault,
        BadCause::NotStored,
        BadCause::Unexplained,
        BadCause::Failed,
        BadCause::NotDelivered,
        BadCause::Interrupted,
    ];

    pub const fn index(self) -> usize {
        self as usize
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            BadCause::Late => "late",
            BadCause::Unavailable => "unavailable",
            BadCause::Unjudged => "unjudged",
            BadCause::Capacity => "capacity",
            BadCause::Fault => "fault",
            BadCause::NotStored => "not_stored",
            BadCause::Unexplained => "unexplained",
            BadCause::Failed => "failed",
            BadCause::NotDelivered => "not_delivered",
            BadCause::Interrupted => "interrupted",
        }
    }
}

/// Why an event does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// The client's own fault or choice.
    Client,
    /// A bound of one user or address.
    ClientLimit,
    /// The client left before it had to be answered, or its answer ended before that.
    Left,
    /// The client was given a time to return, within a few seconds.
    Deferred,
    /// The process was asked to end.
    Drain,
    /// The client was gone, or read nothing, so no word could reach it.
    PeerGone,
    /// The client reads slower than its channels speak.
    SlowReader,
    /// The clock of the store is ahead, or the time of the commit is not known.
    Clock,
}

impl Exclusion {
    /// All reasons, in declaration order.
    pub const ALL: [Exclusion; 8] = [
        Exclusion::Client,
        Exclusion::ClientLimit,
        Exclusion::Left,
        Exclusion::Deferred,
        Exclusion::Drain,
        Exclusion::PeerGone,
        Exclusion::SlowReader,
        Exclusion::Clock,
    ];

    pub const fn index(self) -> usize {
        self as usize
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Exclusion::Client => "client",
            Exclusion::ClientLimit => "client_limit",
            Exclusion::Left => "left",
            Exclusion::Deferred => "deferred",
            Exclusion::Drain => "drain",
            Exclusion::PeerGone => "peer_gone",
            Exclusion::SlowReader => "slow_reader",
            Exclusion::Clock => "clock",
        }
    }
}
