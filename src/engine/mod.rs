//! One reactor's decisions: bytes, completions, a health snapshot and the time go in; frames, jobs and socket orders come out.
//!
//! The engine has no socket, clock, channel, log or randomness of its own (its [`Random`] is seeded by the shell), so the
//! same inputs give the same outputs: `tests/simulation` and `fuzz` drive it as `src/reactor` does.
//!
//! The methods are of three kinds:
//!
//! - `handle_*` take one input: bytes, an accepted connection, a completion, a broadcast, a refused job;
//! - `take_*` and `next_*` hand out work for the shell: jobs, orders, notices, peers to read, to flush or to remove;
//! - the steps of a turn do what has become due.
//!
//! A turn calls them in this order, and sends [`take_jobs`](Engine::take_jobs) after each step that may create jobs:
//!
//! 1. [`begin_turn`](Engine::begin_turn), [`handle_setup`](Engine::handle_setup),
//!    [`handle_snapshot`](Engine::handle_snapshot) and [`handle_orders`](Engine::handle_orders) if there are new ones;
//! 2. [`handle_accepted`](Engine::handle_accepted) for as many as [`accept_quota`](Engine::accept_quota) allows;
//! 3. [`handle_bytes`](Engine::handle_bytes) for each [`next_ready`](Engine::next_ready), then for each
//!    [`next_arrival`](Engine::next_arrival) within the [`arrival_slice`](Engine::arrival_slice);
//! 4. unless it [`gathers`](Engine::gathers): [`handle_broadcast`](Engine::handle_broadcast) for each,
//!    [`finish_broadcasts`](Engine::finish_broadcasts), [`handle_completion`](Engine::handle_completion) for each,
//!    [`finish_completions`](Engine::finish_completions);
//! 5. [`expire`](Engine::expire), [`carry_out_orders`](Engine::carry_out_orders),
//!    [`push_status`](Engine::push_status), [`drain`](Engine::drain), [`catch_up_rooms`](Engine::catch_up_rooms);
//! 6. [`flush`](Engine::flush), [`flush_arrivals`](Engine::flush_arrivals), [`finish_flush`](Engine::finish_flush);
//! 7. [`reap`](Engine::reap), [`end_turn`](Engine::end_turn).
//!
//! Invariants of a turn:
//!
//! - a peer is written at most once, at the end, with everything queued for it;
//! - a slot is freed only at the very end, so an event of the turn never reaches the next peer in that slot.

mod address_state;
mod arrival_lane;
mod arrive;
mod attempt_clock;
mod attempts;
mod clients;
mod cluster_order;
mod complete;
mod count;
mod deliver;
mod drain;
mod ended;
mod expire;
mod flush;
pub(crate) mod frames;
mod gather;
mod holders;
mod http;
mod inbound;
mod inspect;
mod lookup;
mod needs;
mod observe;
mod order;
mod peer;
mod pending;
pub(crate) mod perform;
mod promises;
mod read;
mod rebalance;
mod recover;
mod rosters;
mod setup;
mod slo_tally;
mod slots;
mod stall;
mod strangers;
mod stream;
mod tally;
mod tell;
#[cfg(test)]
mod tests;
mod timers;
mod turns;
mod upgrade;
mod watchers;

pub use arrive::AcceptQuota;
pub use ended::{ENDED_MAX, Ended, EndedSession};
pub use flush::Written;
pub use order::{FollowMode, Job, Notice, Order, RefusedSite, SiteRule, Subject};
pub use peer::{Flushed, Transport};
pub use read::{ReadExtent, Readiness};
pub use setup::{Addresses, Echo, Hosts, LinkTokens, ProxyHeader, Setup};
pub use slots::SlotId;
pub use tally::Tally;

use crate::clock::Now;
use crate::health::snapshot::Snapshot;
use crate::hub::Hub;
use crate::id::{InstanceName, ReactorId};
use crate::job::AuthJob;
use crate::random::Random;
use crate::session::Effect;
use crate::slo::ending::ReasonFate;
use crate::wire::frames::FrameLimits;
use crate::wire::outbox::Arena;
use crate::wire::proxy::ProxyFault;
use crate::wire::push::ErrorCode;
use crate::wire::request::HeadLimits;
use address_state::AddressCount;
use ended::SessionEnding;
use order::Output;
use peer::{Arrival, Chat, Listed, Peer, Queued, Reading, Role};
use pending::Pending;
use slots::Slots;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use timers::Timers;

/// The longest wait without work, so that the vitals show a living reactor.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// One reactor's decisions and state.
pub struct Engine {
    basis: Basis,
    setup: Arc<Setup>,
    now: Now,
    random: Random,
    peers: Slots<Peer>,
    hub: Hub,
    pending: Pending,
    timers: Timers,
    scratch: Scratch,
    due: DuePeers,
    arrivals: arrive::Arrivals,
    gathering: gather::Gathering,
    turns: turns::Turns,
    reads: recover::Reads,
    memory: HeldMemory,
    rounds: Rounds,
    promises: promises::Promises,
    streams: stream::StreamSide,
    ended: Ended,
    out: Output,
    tally: Tally,
}

/// Work on many peers, some of them each turn.
struct Rounds {
    health: tell::StatusRound,
    rosters: rosters::RosterSide,
    ordering: cluster_order::OrderRound,
    rebalancing: rebalance::Rebalancing,
    draining: drain::Draining,
    clients: clients::ClientSide,
}

/// Peers that need something done.
#[derive(Default)]
struct DuePeers {
    /// To be read: their sockets became ready, or a quota left bytes behind.
    ready: VecDeque<SlotId>,
    /// To be written at the end of the turn.
    dirty: Vec<SlotId>,
    /// To have their sessions compared with a changed trust, some of them each turn.
    rejudging: Vec<SlotId>,
}

/// The memory that all peers hold together.
struct HeldMemory {
    relief: flush::Relief,
    /// Bytes of unfinished requests and messages.
    inbound_bytes: u64,
}

/// Values that only a reload changes: the reactor's number, limits in the form that the parsers take, and a part of the names of
/// connections.
struct Basis {
    id: ReactorId,
    frames: FrameLimits,
    /// For a chat that has not sent `connect`.
    first_frames: FrameLimits,
    heads: HeadLimits,
    /// The first bits of connection names.
    tag: u16,
    /// The share of an address here, as a multiple of that of a connection.
    address_times: u32,
}

/// The share of an address on all reactors, as a multiple of that of a connection: several people may be behind it.
const ADDRESS_TIMES: usize = 8;

impl Basis {
    fn of(id: ReactorId, setup: &Setup) -> Basis {
        let limits = &setup.policy.limits;
        let frames = FrameLimits::from(limits);
        Basis {
            id,
            frames,
            first_frames: frames.before_connect(limits),
            heads: HeadLimits::from(limits),
            tag: InstanceName::tag(&setup.policy.instance.0),
            address_times: (ADDRESS_TIMES / setup.reactors.max(1)).max(1) as u32,
        }
    }

    fn frames_of(&self, role: &Role, arrival: Arrival) -> FrameLimits {
        if arrival == Arrival::Upgraded && role.awaits_connect() { self.first_frames } else { self.frames }
    }
}

/// Memory that each turn uses.
#[derive(Default)]
struct Scratch {
    arena: Arena,
    sharing: deliver::Sharing,
    effects: Vec<Effect>,
    refused: Vec<ErrorCode>,
}

impl Engine {
    /// An engine without peers. `seed` determines every later random choice.
    pub fn new(
        id: ReactorId,
        setup: Arc<Setup>,
        snapshot: Arc<Snapshot>,
        now: Now,
        follows: FollowMode,
        seed: u64,
    ) -> Engine {
        let mut random = Random::seeded(seed);
        let limits = &setup.policy.limits;
        let hasher = ahash::RandomState::with_seeds(random.u64(), random.u64(), random.u64(), random.u64());
        Engine {
            basis: Basis::of(id, &setup),
            now,
            peers: Slots::new(),
            promises: promises::Promises::new(hasher.clone(), now.at),
            hub: Hub::new(limits.channels as usize, tail_bytes(&setup), hasher),
            pending: Pending::new(id),
            timers: Timers::new(now.at),
            scratch: Scratch::default(),
            due: DuePeers::default(),
            arrivals: arrive::Arrivals::new(now.at),
            gathering: gather::Gathering::default(),
            turns: turns::Turns::default(),
            reads: recover::Reads::new(now.at),
            memory: HeldMemory { relief: flush::Relief::new(now.at), inbound_bytes: 0 },
            rounds: Rounds {
                health: tell::StatusRound::new(snapshot),
                rosters: rosters::RosterSide::default(),
                ordering: cluster_order::OrderRound::default(),
                rebalancing: rebalance::Rebalancing::default(),
                draining: drain::Draining::default(),
                clients: clients::ClientSide::default(),
            },
            streams: stream::StreamSide::default(),
            ended: Ended::new(),
            out: Output { follows, ..Output::default() },
            tally: Tally::default(),
            random,
            setup,
        }
    }

    /// Begins a turn: everything until the next call happens at `now`.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
        self.out.opened.clear();
    }

    pub fn now(&self) -> Now {
        self.now
    }

    /// Applies new settings. Existing connections come under the new limits with their next frame, command or deadline. A
    /// limit below the present use takes nothing away; there is no more until there is room.
    pub fn handle_setup(&mut self, setup: Arc<Setup>) {
        self.basis = Basis::of(self.basis.id, &setup);
        self.hub.bound_tails(tail_bytes(&setup));
        if self.setup.policy.trust != setup.policy.trust {
            self.due.rejudging = self.peers.ids();
        }
        self.setup = setup;
    }

    /// Takes an accepted connection; `None` if it must be dropped because only trusted proxies may connect, or because too many
    /// of its address wait.
    pub fn handle_accepted(&mut self, address: IpAddr, transport: Transport) -> Option<SlotId> {
        let address = address.to_canonical();
        let expects = match self.setup.proxy_header {
            ProxyHeader::Off => peer::Expects::FirstHead,
            ProxyHeader::Required => {
                if !self.setup.trusted_proxies.iter().any(|network| network.contains(&address)) {
                    let fault = ProxyFault::UntrustedPeer;
                    self.out.notices.push(Notice::ProxyHeaderRefused { fault, address });
                    self.note_drop();
                    return None;
                }
                peer::Expects::ProxyHeader
            }
        };
        let sharing = self.sharing_address(address);
        let share = self.share_accept(address, sharing)?;
        let id = self.peers.insert(Peer { share, ..Peer::new(address, expects, transport, self.now.at) });
        self.list_stranger(id, sharing);
        self.schedule(id);
        Some(id)
    }

    /// Takes the report that a connection is broken: it is neither read nor written any more.
    pub fn handle_broken(&mut self, id: SlotId) {
        self.settle_reason(id, ReasonFate::PeerGone);
        self.kill(id);
    }

    /// The time until something is due; zero while a list has work left.
    pub fn patience(&self) -> Duration {
        let idle = self.due.ready.is_empty()
            && (self.arrivals.is_idle() || self.arrivals.patience().is_some())
            && self.reads.rooms.is_empty()
            && self.due.dirty.is_empty()
            && self.arrivals.dirty.is_empty()
            && self.out.jobs.is_empty()
            && self.out.orders.is_empty()
            && self.has_told()
            && self.rounds.rosters.is_idle()
            && self.rounds.ordering.is_done()
            && self.due.rejudging.is_empty()
            && self.rounds.draining.is_idle()
            && self.gathering.is_done();
        if !idle {
            return Duration::ZERO;
        }
        let dues = [
            self.pending.deadline(),
            self.reads.retry_due(),
            self.drain_due(),
            self.gathering.due(),
            self.rounds.rosters.due(),
            self.rounds.clients.due(),
            self.streams.due(self.now.at),
        ];
        let rest = dues.into_iter().flatten().map(|due| due.since(self.now.at));
        rest.chain(self.arrivals.patience()).fold(self.timers.rest(self.now.at).min(SLEEP_MAX), Duration::min)
    }

    /// Takes the jobs since the last call, in order, into `into`, which must be empty.
    pub fn take_jobs(&mut self, into: &mut Vec<Job>) {
        debug_assert!(into.is_empty(), "jobs would be lost");
        std::mem::swap(&mut self.out.jobs, into);
    }

    /// Takes the orders since the last call, in order.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.out.orders)
    }

    /// Takes the notices since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.out.notices)
    }

    /// The peers whose session opened in this turn.
    pub fn opened(&self) -> &[SlotId] {
        &self.out.opened
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.rounds.health.snapshot
    }

    /// The counts so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    pub fn len(&self) -> usize {
        self.peers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    fn chat_mut(&mut self, id: SlotId) -> Option<&mut Chat> {
        self.peers.get_mut(id)?.chat_mut()
    }

    /// True exactly when the peer's session is `connected`.
    fn is_open(&mut self, id: SlotId) -> bool {
        self.peers.get_mut(id).is_some_and(|peer| peer.is_open())
    }

    /// Removes the peer at the end of the turn.
    fn kill(&mut self, id: SlotId) {
        if let Some(peer) = self.peers.get_mut(id)
            && peer.reading != Reading::Dead
        {
            peer.reading = Reading::Dead;
            self.out.dead.push(id);
        }
    }

    /// Frees the slots of dead peers, and returns them; the shell then closes their sockets.
    pub fn reap(&mut self) -> Vec<SlotId> {
        let dead = std::mem::take(&mut self.out.dead);
        for &id in &dead {
            self.end_session(id, SessionEnding::LOST);
            self.drop_reason(id);
            self.admit_stranger(id);
            self.forget_inbound(id);
            let Some(peer) = self.peers.remove(id) else { continue };
            self.count_left(id);
            self.count_moved(id);
            self.memory.relief.waiting_bytes -= u64::from(peer.counted_bytes);
            if peer.count == AddressCount::Counted {
                self.release(AuthJob::ReleaseAddress { address: peer.address });
            }
        }
        dead
    }

    fn mark_ready(&mut self, id: SlotId) {
        if let Some(peer) = self.peers.get_mut(id)
            && peer.listed == Listed::No
        {
            peer.listed = Listed::Ready;
            if !self.arrivals.list(id, &mut peer.arrival, peer.share) {
                self.due.ready.push_back(id);
            }
        }
    }

    fn mark_dirty(&mut self, id: SlotId) {
        if let Some(peer) = self.peers.get_mut(id)
            && peer.queued == Queued::No
            && peer.wants_flush()
        {
            peer.queued = Queued::Dirty;
            match peer.arrival {
                Arrival::Settling | Arrival::In => self.due.dirty.push(id),
                Arrival::Head | Arrival::Upgraded => {
                    self.arrivals.lane(peer.share).served += 1;
                    self.arrivals.dirty.push(id);
                }
            }
        }
    }
}

/// This reactor's share of `limits.tail_bytes_total`.
fn tail_bytes(setup: &Setup) -> usize {
    setup.policy.limits.tail_bytes_total as usize / setup.reactors.max(1)
}
