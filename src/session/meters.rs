//! The rates that a member uses up: the user's on all connections together, and the connection's own.

use super::address_share::AddressShare;
use super::policy::{Policy, PresencePolicy};
use crate::auth::account::{Account, ChannelShare, RosterPlace};
use crate::clock::Moment;
use crate::limits::PUBLISH_OVERHEAD_BYTES;
use crate::rate::{ByteRate, Meter, Rate, SharedMeter};
use crate::wire::command::{Command, EndStream, Publish, RosterUse, Subscribe};
use crate::wire::push::ReportedLimits;
use crate::wire::stream::Piece;
use std::sync::Arc;
use std::time::Duration;

/// The time between reports of one user, all connections together.
const REPORT_PERIOD: Duration = Duration::from_secs(10);
/// The time between reports of one connection without a user's name: a tenth of the rate. Those of an address have another one.
const REPORT_PERIOD_UNNAMED: Duration = Duration::from_secs(100);
/// Reports at once: as many as a client needs for its full queue of 50 groups.
const REPORT_BURST: u32 = 4;

/// A rate of `[limits]` that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceededRate {
    Publishes,
    PublishBytes,
    Commands,
    Refreshes,
    Signals,
    ReadBytes,
    Channels,
    StreamAppends,
    StreamBytes,
    Rosters,
    /// The same rate, of all clients without a user's name at one address.
    RostersOfAddress,
}

impl ExceededRate {
    /// The setting that bounds it.
    pub fn setting(self) -> &'static str {
        match self {
            ExceededRate::Publishes => "limits.publishes_per_s",
            ExceededRate::PublishBytes => "limits.publish_bytes_per_s",
            ExceededRate::Commands => "limits.commands_per_s",
            ExceededRate::Refreshes => "limits.refreshes_per_minute",
            ExceededRate::Signals => "limits.signals_per_s",
            ExceededRate::ReadBytes => "limits.read_bytes_per_s",
            ExceededRate::Channels => "limits.channels_per_user",
            ExceededRate::StreamAppends => "limits.stream_appends_per_s",
            ExceededRate::StreamBytes => "limits.stream_bytes_per_s",
            ExceededRate::Rosters | ExceededRate::RostersOfAddress => "presence.commands_per_s",
        }
    }
}

/// The rate that refuses a command, and the wait until it would be admitted.
pub(super) type Exceeded = (ExceededRate, Duration);

/// All meters of a member.
#[derive(Debug)]
pub(super) struct Meters {
    account: Owner,
    commands: Meter,
    /// `None`: the connection has sent no piece of a stream.
    pieces: Option<Box<PieceMeters>>,
    /// The publishes per second that the token claims; 0: none.
    claimed: u32,
}

/// The meters of a producer.
#[derive(Debug, Default)]
struct PieceMeters {
    appends: SharedMeter,
    bytes: SharedMeter,
}

/// Whose rates these are.
#[derive(Debug)]
enum Owner {
    /// Auth is off or the user is `anonymous`: any number of people, so the rates are those of the connection.
    Connection(Account),
    User(Arc<Account>),
}

impl Meters {
    pub(super) fn new(account: Option<Arc<Account>>, claimed: u32) -> Meters {
        let account = account.map_or_else(|| Owner::Connection(Account::default()), Owner::User);
        Meters { account, commands: Meter::default(), pieces: None, claimed }
    }

    /// A new token claims another rate.
    pub(super) fn claim(&mut self, publishes_per_s: u32) {
        self.claimed = publishes_per_s;
    }

    /// The limits of this member, for `connected`.
    pub(super) fn reported(&self, policy: &Policy) -> ReportedLimits {
        match policy.lifted(self.claimed) {
            None => policy.reported_limits,
            Some(per_s) => ReportedLimits {
                publishes_per_s: per_s,
                publishes_burst: lifted_burst(per_s, policy),
                ..policy.reported_limits
            },
        }
    }

    /// Counts a command, or refuses it. A refused command is not counted.
    pub(super) fn admit(
        &mut self,
        command: &Command<'_>,
        policy: &Policy,
        now: Moment,
        address: &mut AddressShare<'_>,
    ) -> Result<(), Exceeded> {
        match command {
            Command::Publish(publish) => self.admit_publish(publish, policy, now),
            Command::Signal { .. } => match policy.signals {
                Some(rate) => {
                    self.account().signals.admit(rate, now).map_err(|wait| (ExceededRate::Signals, wait))
                }
                None => Ok(()),
            },
            Command::Subscribe(Subscribe { roster, .. }) => {
                self.check_read(policy, now)?;
                if *roster != RosterUse::default() {
                    self.admit_roster(policy.presence, now, address)?;
                }
                self.admit_other(policy, now)
            }
            Command::History { .. } | Command::ReadStream { .. } => {
                self.check_read(policy, now)?;
                self.admit_other(policy, now)
            }
            Command::Presence { .. } => {
                self.check_read(policy, now)?;
                self.admit_roster(policy.presence, now, address)?;
                self.admit_other(policy, now)
            }
            Command::Present { .. } | Command::Absent { .. } => {
                self.admit_roster(policy.presence, now, address)?;
                self.admit_other(policy, now)
            }
            Command::Refresh { .. } => {
                if let Some(rate) = policy.refreshes {
                    let refresh = self.account().refreshes.admit(rate, now);
                    refresh.map_err(|wait| (ExceededRate::Refreshes, wait))?;
                }
                self.admit_other(policy, now)
            }
            // The rate of reports is another matter, because over it there is no error.
            Command::Connect(_)
            | Command::Unsubscribe { .. }
            | Command::Report(_)
            | Command::Restart { .. }
            | Command::CancelStream { .. } => self.admit_other(policy, now),
            Command::Append(append) => self.admit_piece(&append.piece, policy, now),
            Command::End(end) => self.admit_end(end, policy, now),
        }
    }

    fn check_read(&self, policy: &Policy, now: Moment) -> Result<(), Exceeded> {
        let Some(rate) = policy.read_bytes else { return Ok(()) };
        self.account().read_bytes.check_bytes(rate, now).map_err(|wait| (ExceededRate::ReadBytes, wait))
    }

    /// Counts a command that changes or reads a roster: each is an event for the thread that all rosters have in common.
    #[cold]
    fn admit_roster(
        &self,
        presence: PresencePolicy,
        now: Moment,
        address: &mut AddressShare<'_>,
    ) -> Result<(), Exceeded> {
        let Some(rate) = presence.commands() else { return Ok(()) };
        self.account().rosters.admit(rate, now).map_err(|wait| (ExceededRate::Rosters, wait))?;
        match &self.account {
            Owner::User(_) => Ok(()),
            Owner::Connection(_) => {
                let of_address = address.admit_roster(presence.commands_per_s, now);
                of_address.map_err(|wait| {
                    self.account().rosters.give_back(rate);
                    (ExceededRate::RostersOfAddress, wait)
                })
            }
        }
    }

    /// Counts a report, or returns the wait.
    pub(super) fn admit_report(&self, now: Moment) -> Result<(), Duration> {
        self.account().reports.admit(self.report_rate(), now)
    }

    /// The wait until the next report is admitted.
    pub(super) fn next_report(&self, now: Moment) -> Duration {
        self.account().reports.wait(self.report_rate(), now)
    }

    fn report_rate(&self) -> Rate {
        match &self.account {
            Owner::User(_) => Rate::every(REPORT_PERIOD, REPORT_BURST),
            Owner::Connection(_) => Rate::every(REPORT_PERIOD_UNNAMED, REPORT_BURST),
        }
    }

    /// Counts a command by the rate of the connection's commands alone.
    pub(super) fn admit_other(&mut self, policy: &Policy, now: Moment) -> Result<(), Exceeded> {
        match policy.commands {
            Some(rate) => self.commands.admit(rate, now).map_err(|wait| (ExceededRate::Commands, wait)),
            None => Ok(()),
        }
    }

    /// Counts a piece of a stream, or refuses it. Pieces have rates of their own, which are far above those of other commands.
    #[cold]
    fn admit_piece(&mut self, piece: &Piece, policy: &Policy, now: Moment) -> Result<(), Exceeded> {
        let meters = self.pieces.get_or_insert_default();
        if let Some(rate) = policy.stream_appends {
            meters.appends.admit(rate, now).map_err(|wait| (ExceededRate::StreamAppends, wait))?;
        }
        let bytes = match piece {
            Piece::Text(text) => text.len(),
            Piece::Event { kind, data } => kind.as_str().len() + data.len(),
            Piece::Alive => 0,
        };
        match policy.stream_bytes {
            Some(rate) => {
                meters.bytes.admit_bytes(rate, bytes, now).map_err(|wait| (ExceededRate::StreamBytes, wait))
            }
            None => Ok(()),
        }
    }

    /// Counts an end, and its data as that of a publication. Without data an end has the text, which was counted piece by piece.
    #[cold]
    fn admit_end(&mut self, end: &EndStream<'_>, policy: &Policy, now: Moment) -> Result<(), Exceeded> {
        let data = match &self.account {
            Owner::User(account) => end.data.map(|data| (Arc::clone(account), data)),
            Owner::Connection(_) => None,
        };
        let Some(((account, data), rate)) = data.zip(self.publish_rates(policy).1) else {
            return self.admit_other(policy, now);
        };
        let too_much = |wait| (ExceededRate::PublishBytes, wait);
        account.publish_bytes.check_bytes(rate, now).map_err(too_much)?;
        self.admit_other(policy, now)?;
        account.publish_bytes.spend_bytes(rate, data.len() + PUBLISH_OVERHEAD_BYTES, now);
        Ok(())
    }

    /// The rates of a user's publications, and of their bytes.
    fn publish_rates(&self, policy: &Policy) -> (Option<Rate>, Option<ByteRate>) {
        match self.claimed {
            0 => (policy.publishes, policy.publish_bytes),
            claimed => lifted_rates(claimed, policy),
        }
    }

    /// Counts the bytes of a history page or of replayed publications, which were sent already.
    pub(super) fn read(&self, bytes: usize, policy: &Policy, now: Moment) {
        if let Some(rate) = policy.read_bytes {
            self.account().read_bytes.spend_bytes(rate, bytes, now);
        }
    }

    fn admit_publish(&self, publish: &Publish<'_>, policy: &Policy, now: Moment) -> Result<(), Exceeded> {
        let too_fast = |wait| (ExceededRate::Publishes, wait);
        match (&self.account, policy.publishes) {
            (Owner::Connection(account), Some(rate)) => account.publishes.admit(rate, now).map_err(too_fast),
            (Owner::Connection(_), None) => Ok(()),
            (Owner::User(account), _) => {
                let (rate, bytes_rate) = self.publish_rates(policy);
                let too_much = |wait| (ExceededRate::PublishBytes, wait);
                // Checked before the rate counts the publish, because a refused publish uses up nothing.
                if let Some(bytes) = bytes_rate {
                    account.publish_bytes.check_bytes(bytes, now).map_err(too_much)?;
                }
                if let Some(rate) = rate {
                    account.publishes.admit(rate, now).map_err(too_fast)?;
                }
                let Some(rate) = bytes_rate else { return Ok(()) };
                let bytes = publish.content.data().len() + PUBLISH_OVERHEAD_BYTES;
                account.publish_bytes.admit_bytes(rate, bytes, now).map_err(too_much)
            }
        }
    }

    /// The user's share of new channels; `None` if these are the meters of a connection.
    pub(super) fn channel_share(&self, policy: &Policy, now: Moment) -> Option<ChannelShare> {
        match &self.account {
            Owner::Connection(_) => None,
            Owner::User(account) => Some(ChannelShare::new(Arc::clone(account), policy.channels, now)),
        }
    }

    /// Counts a subscription of the user, or returns false if the user has the most.
    pub(super) fn subscribe(&self, policy: &Policy) -> bool {
        match &self.account {
            Owner::Connection(_) => true,
            Owner::User(account) => account.subscribe(policy.limits.subscriptions_per_user()),
        }
    }

    /// Releases counted subscriptions.
    pub(super) fn unsubscribe(&self, count: usize) {
        match &self.account {
            Owner::Connection(_) => {}
            Owner::User(account) => account.unsubscribe(u32::try_from(count).unwrap_or(u32::MAX)),
        }
    }

    /// A place of the user on one more roster; `None` if these are the meters of a connection, or the user has the most.
    pub(super) fn roster_place(&self, policy: &Policy) -> Option<RosterPlace> {
        match &self.account {
            Owner::Connection(_) => None,
            Owner::User(account) => RosterPlace::take(account, policy.presence.channels_of_user()),
        }
    }

    /// True exactly if these are the meters of a user, on all of the user's connections.
    pub(super) fn belong_to_user(&self) -> bool {
        match &self.account {
            Owner::Connection(_) => false,
            Owner::User(_) => true,
        }
    }

    fn account(&self) -> &Account {
        match &self.account {
            Owner::Connection(account) => account,
            Owner::User(account) => account,
        }
    }
}

/// The rates of a user whose token claims some.
#[cold]
fn lifted_rates(claimed: u32, policy: &Policy) -> (Option<Rate>, Option<ByteRate>) {
    match policy.lifted(claimed) {
        None => (policy.publishes, policy.publish_bytes),
        Some(per_s) => (Rate::new(per_s, lifted_burst(per_s, policy)), lifted_bytes(per_s, policy)),
    }
}

/// The burst of a rate that a token lifted: two seconds of it, or that of everybody.
fn lifted_burst(per_s: u32, policy: &Policy) -> u32 {
    per_s.saturating_mul(2).max(policy.limits.publishes_burst)
}

/// The bytes of a rate that a token lifted, in the proportion of the rates.
fn lifted_bytes(per_s: u32, policy: &Policy) -> Option<ByteRate> {
    let limits = &policy.limits;
    let lift = |bytes: u32| {
        let lifted = u64::from(bytes) * u64::from(per_s) / u64::from(limits.publishes_per_s.max(1));
        u32::try_from(lifted).unwrap_or(u32::MAX)
    };
    ByteRate::new(lift(limits.publish_bytes_per_s), lift(limits.publish_bytes_burst))
}
