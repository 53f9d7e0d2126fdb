//! The thin shell of an engine: moves bytes between it and sockets in memory, and jobs between it and the workers.

use super::view::{Timing, View};
use super::workers::Workers;
use seawall::clock::{Moment, Now};
use seawall::drain::DrainPhase;
use seawall::engine::{
    AcceptQuota, Engine, Flushed, FollowMode, Job, Order, ReadExtent, Readiness, Setup, SlotId, Transport,
    Written,
};
use seawall::id::ReactorId;
use seawall::job::{AuthJob, Broadcast, Completion};
use seawall::limits::READS_PER_TURN;
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Encrypted bytes of a close_notify.
const DONE_BYTES: u32 = 24;

/// One connection: its socket, and its client at the other end.
#[derive(Debug, Default)]
pub struct Line {
    /// The engine's name for it, from the accept until it is removed.
    pub id: Option<SlotId>,
    pub sent: Vec<u8>,
    /// Bytes that the socket took and the client has not read.
    pub unread: Vec<u8>,
    /// The client closed its half.
    pub ended: bool,
    /// The client reset the connection.
    pub reset: bool,
    /// Something changed that the poll will report.
    pub edge: Readiness,
    sealed_bytes: u32,
    is_full: bool,
    /// The server's half is closed.
    is_shut: bool,
    was_upgraded: bool,
    pub is_over: bool,
    pub view: View,
}

impl Line {
    /// True exactly when no bytes are on their way.
    pub fn is_idle(&self) -> bool {
        self.unread.is_empty() && self.sent.is_empty() && !self.edge.writable
    }
}

/// The sizes that an input chooses.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes that a socket holds for its client.
    pub socket: usize,
    /// Bytes of one read.
    pub read: usize,
}

/// See the module.
pub struct Shell {
    pub engine: Engine,
    pub setup: Arc<Setup>,
    pub lines: Vec<Line>,
    pub workers: Workers,
    pub completions: VecDeque<Completion>,
    pub broadcasts: VecDeque<Broadcast>,
    /// The lane of broadcasts was full.
    pub missed: bool,
    /// Jobs that did not fit, by kind.
    pub refused: BTreeMap<&'static str, u64>,
    /// The time that each turn takes.
    pub busy: Duration,
    pub sizes: Sizes,
    transport: Transport,
}

impl Shell {
    pub fn new(
        setup: Arc<Setup>,
        now: Now,
        follows: FollowMode,
        workers: Workers,
        sizes: Sizes,
        transport: Transport,
    ) -> Shell {
        let snapshot = setup.outlook.snapshot();
        Shell {
            engine: Engine::new(ReactorId(0), Arc::clone(&setup), snapshot, now, follows, 7),
            setup,
            lines: Vec::new(),
            workers,
            completions: VecDeque::new(),
            broadcasts: VecDeque::new(),
            missed: false,
            refused: BTreeMap::new(),
            busy: Duration::ZERO,
            sizes,
            transport,
        }
    }

    /// One turn, `pause` after the last one, in the order that the engine prescribes. At most `broadcasts` of the lane arrive;
    /// the bits of `lost` and `doubled` drop or double them.
    pub fn turn(&mut self, pause: Duration, broadcasts: usize, lost: u8, doubled: u8) {
        let now = self.engine.now();
        let at = now.at + pause + self.busy + Duration::from_micros(10);
        let whole_ms = |moment: Moment| moment.micros() / 1_000;
        self.engine.begin_turn(Now { at, unix_ms: now.unix_ms + whole_ms(at) - whole_ms(now.at) });
        let snapshot = self.setup.outlook.snapshot();
        if !Arc::ptr_eq(&snapshot, self.engine.snapshot()) {
            self.engine.handle_snapshot(snapshot);
        }
        self.accept();
        self.read();
        self.exchange(broadcasts, lost, doubled);
        // An address that was counted completes an upgrade without a read.
        for line in &mut self.lines {
            line.was_upgraded |= line.id.is_some_and(|id| self.engine.is_upgraded(id));
        }
        self.engine.expire();
        self.send_jobs();
        self.engine.push_status();
        self.engine.drain(self.setup.vitals.drain.phase());
        self.send_jobs();
        self.engine.catch_up_rooms();
        self.send_jobs();
        self.flush();
        for id in self.engine.reap() {
            let line = self.lines.iter_mut().find(|line| line.id == Some(id)).expect("removed once");
            (line.id, line.is_over) = (None, true);
        }
        self.send_jobs();
        self.engine.end_turn(self.busy);
        self.engine.check_invariants();
    }

    /// Accepts waiting connections while the listener is open.
    fn accept(&mut self) {
        let AcceptQuota::Now(most) = self.engine.accept_quota() else { return };
        let is_listening = self.setup.vitals.drain.phase() < DrainPhase::Moving;
        for line in self.lines.iter_mut().filter(|line| line.id.is_none() && !line.is_over).take(most) {
            line.id = None;
            if is_listening {
                line.id = self.engine.handle_accepted(IpAddr::from([127, 0, 0, 1]), self.transport);
            }
            line.is_over = line.id.is_none();
        }
    }

    fn read(&mut self) {
        for line in &mut self.lines {
            if let Some(id) = line.id {
                self.engine.handle_readiness(id, std::mem::take(&mut line.edge));
            }
        }
        let mut left = self.engine.ready();
        while let Some(id) = self.engine.next_ready(&mut left) {
            self.read_line(id);
        }
        if self.engine.arrival_slice().is_some() {
            while let Some(id) = self.engine.next_arrival() {
                self.read_line(id);
            }
        }
        self.send_jobs();
    }

    fn read_line(&mut self, id: SlotId) {
        let line = self.lines.iter_mut().find(|line| line.id == Some(id)).expect("a peer has a socket");
        for _ in 0..READS_PER_TURN {
            let reads = self.engine.reads(id);
            if reads == ReadExtent::Nothing {
                return;
            }
            if line.reset {
                return self.engine.handle_broken(id);
            }
            if line.sent.is_empty() {
                return if line.ended {
                    self.engine.handle_end(id)
                };
            }
            let rest = line.sent.split_off(self.sizes.read.min(line.sent.len()));
            let mut bytes = std::mem::replace(&mut line.sent, rest);
            let is_short = bytes.len() < self.sizes.read;
            let late = line.was_upgraded && !self.engine.is_upgraded(id);
            line.view.is_read(bytes.len(), if late { Timing::AfterBye } else { Timing::InTime });
            self.engine.handle_bytes(id, &mut bytes);
            line.was_upgraded |= self.engine.is_upgraded(id);
            if is_short && reads == ReadExtent::UntilShort {
                return;
            }
        }
        self.engine.handle_more(id);
    }

    fn exchange(&mut self, broadcasts: usize, lost: u8, doubled: u8) {
        let broadcasts = broadcasts.min(self.broadcasts.len());
        if self.engine.gathers(self.completions.len(), broadcasts) {
            return;
        }
        for number in 0..broadcasts {
            if !self.engine.wants_broadcast() {
                break;
            }
            let Some(broadcast) = self.broadcasts.pop_front() else { break };
            let bit = number % 8;
            let times = usize::from(lost >> bit & 1 == 0) + usize::from(doubled >> bit & 1);
            (0..times).for_each(|_| self.engine.handle_broadcast(broadcast.clone()));
        }
        if std::mem::take(&mut self.missed) {
            self.engine.handle_missed();
        }
        self.engine.finish_broadcasts();
        while self.engine.wants_completion()
            && let Some(completion) = self.completions.pop_front()
        {
            self.engine.handle_completion(completion);
        }
        self.engine.set_read_room(self.workers.read_room());
        self.engine.finish_completions(usize::MAX);
        self.send_jobs();
    }

    fn send_jobs(&mut self) {
        let mut jobs = Vec::new();
        loop {
            self.engine.take_jobs(&mut jobs);
            if jobs.is_empty() {
                break;
            }
            let mut bus_is_full = false;
            for job in jobs.drain(..) {
                let is_interest = matches!(job, Job::Interest(_));
                let sent = if is_interest && bus_is_full { Err(job) } else { self.workers.send(job) };
                if let Err(refused) = sent {
                    *self.refused.entry(name(&refused)).or_default() += 1;
                    bus_is_full |= is_interest;
                    self.engine.handle_refused(refused);
                }
            }
            self.engine.set_read_room(self.workers.read_room());
        }
    }

    fn flush(&mut self) {
        self.obey();
        let waiting_max = self.waiting_max();
        let mut written = Vec::new();
        let lines = &mut self.lines;
        let mut write = |id, outbox: &mut seawall::wire::outbox::Outbox, arena: &_| {
            let line = lines.iter_mut().find(|line| line.id == Some(id)).expect("a peer has a socket");
            assert!(!written.contains(&id), "a peer is written once a turn");
            written.push(id);
            assert!(outbox.bytes() <= waiting_max, "{} bytes wait, {waiting_max} may", outbox.bytes());
            assert!(outbox.is_empty() || !line.is_shut, "bytes after the server's half was closed");
            if line.reset {
                return Written { bytes: 0, flushed: Flushed::Broken, sealed_bytes: 0 };
            }
            let mut bytes = 0;
            while !outbox.is_empty() && line.unread.len() < self.sizes.socket {
                let mut slices = [IoSlice::new(&[])];
                outbox.fill(arena, &mut slices);
                let taken = slices[0].len().min(self.sizes.socket - line.unread.len());
                line.unread.extend_from_slice(&slices[0][..taken]);
                outbox.advance(taken);
                bytes += taken;
            }
            line.is_full = !outbox.is_empty();
            if !line.is_full {
                line.sealed_bytes = 0;
            }
            let flushed = if line.is_full { Flushed::Blocked } else { Flushed::Empty };
            Written { bytes, flushed, sealed_bytes: line.sealed_bytes }
        };
        self.engine.flush(&mut write);
        self.engine.flush_arrivals(&mut write);
        self.obey();
        self.engine.finish_flush();
    }

    /// The most bytes that may wait for one client: its responses until it is no longer read, one read's responses more, the
    /// histories it may have asked for, and publications up to the bound of its outbox or of a replay.
    fn waiting_max(&self) -> usize {
        let limits = &self.setup.policy.limits;
        let histories = limits.pending as usize * self.workers.history_bytes;
        let page = seawall::limits::REPLAY_PAGE_BYTES_MAX;
        let publications = (limits.outbox_bytes as usize).max(page + self.workers.page_bytes.min(page));
        limits.outbox_bytes_hard as usize + 20 * self.sizes.read + histories + publications + (4 << 10)
    }

    fn obey(&mut self) {
        for order in self.engine.take_orders() {
            let (Order::SayDone(id) | Order::Shutdown(id)) = order;
            let line = self.lines.iter_mut().find(|line| line.id == Some(id)).expect("a peer has a socket");
            match order {
                Order::SayDone(_) => {
                    line.sealed_bytes = DONE_BYTES;
                    self.engine.handle_transport(id, Transport::Done, DONE_BYTES);
                }
                Order::Shutdown(_) if line.reset => self.engine.handle_broken(id),
                Order::Shutdown(_) => line.is_shut = true,
            }
        }
    }

    /// The client reads everything that its socket holds.
    pub fn take_unread(&mut self, index: usize) -> Vec<u8> {
        let line = &mut self.lines[index];
        line.edge.writable |= std::mem::take(&mut line.is_full);
        std::mem::take(&mut line.unread)
    }
}

fn name(job: &Job) -> &'static str {
    match job {
        Job::Append(_) => "append",
        Job::Read(_) => "read",
        Job::Admit(AuthJob::CheckToken { .. } | AuthJob::AdmitAddress { .. }) => "admission",
        Job::Admit(AuthJob::ReleaseUser { .. } | AuthJob::ReleaseAddress { .. }) => "release",
        Job::Admit(AuthJob::LookUpUsers(_) | AuthJob::ReportAllUsers) => "users",
        Job::Interest(_) => "interest",
        Job::Signal { .. } => "signal",
        Job::Presence(_) => "presence",
        Job::Report(_) => "report",
        Job::Stream(_) => "stream",
    }
}
