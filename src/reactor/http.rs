//! HTTP on a connection: plain requests are answered, upgrades are checked and completed.

use super::connection::{
    Admission, Arrival, Chat, CheckedUpgrade, Closing, Expects, HeadStage, Peer, Replays, Role, Stage, Wants,
    WebSocket,
};
use super::pending::Request;
use super::slots::SlotId;
use super::{Addresses, Echo, Hosts, Reactor};
use crate::close::CloseReason;
use crate::health::admission::{Capacity, Verdict};
use crate::health::drain::Phase;
use crate::health::handshakes::{Done, Passage};
use crate::health::report::{Readings, Report};
use crate::health::snapshot::Availability;
use crate::job::{AddressDenied, Admit};
use crate::limits::CLOSE_TIMEOUT;
use crate::rate::Meter;
use crate::session::Session;
use crate::session::heartbeat::{Heartbeat, Periods};
use crate::wire::frames::Decoder;
use crate::wire::origin::{HostRule, Scheme};
use crate::wire::outbox::Outbox;
use crate::wire::page;
use crate::wire::proxy::forwarded_for;
use crate::wire::request::{After, Head, HttpFault, Malformed, Method, Parsed, Route, parse};
use crate::wire::response::{self, ResponseOptions};
use crate::wire::upgrade::{self, Offered, UpgradePolicy};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const HEALTH_TYPE: &str = "application/health+json";
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The bound that an upgrade over capacity meets.
const ADMISSIONS: &str = "limits.admissions_per_s";

/// What became of one head.
enum Answered {
    /// It was answered; the next may follow after so many bytes.
    Next(usize),
    /// It is a good upgrade; what follows after so many bytes are frames.
    Upgrade(usize, CheckedUpgrade, IpAddr),
    /// The connection ends.
    Last,
}

/// What an upgrade is for. An echo needs no dependency, and is for looking at this process alone.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Chat,
    Echo,
}

impl Reactor {
    /// Bytes came while a head is awaited.
    pub(super) fn head_bytes(&mut self, id: SlotId, bytes: &mut [u8]) {
        let Some(stage) = self.head_stage(id) else { return };
        if stage.bytes.is_empty() {
            self.heads(id, bytes);
        } else {
            let mut all = std::mem::take(&mut stage.bytes);
            all.extend_from_slice(bytes);
            self.heads(id, &mut all);
        }
    }

    pub(super) fn head_stage(&mut self, id: SlotId) -> Option<&mut HeadStage> {
        match &mut self.slots.get_mut(id)?.stage {
            Stage::Head(stage) => Some(stage),
            Stage::Address(_) | Stage::WebSocket(_) | Stage::Closing(_) | Stage::Lingering { .. } => None,
        }
    }

    /// Reads all whole heads, and keeps what is left.
    fn heads(&mut self, id: SlotId, bytes: &mut [u8]) {
        let mut at = 0;
        while let Some(stage) = self.head_stage(id) {
            let rest = bytes.get(at..).unwrap_or_default();
            if stage.expects == Expects::ProxyHeader {
                let Some(length) = self.proxy_header(id, rest) else { return };
                at += length;
                continue;
            }
            if rest.is_empty() {
                return self.keep_head(id, rest);
            }
            let (method, peer) = (Method::Get, stage.peer);
            let answered = match parse(rest, self.head_limits) {
                Parsed::Partial => return self.keep_head(id, rest),
                Parsed::Refused(HttpFault::Malformed(Malformed::Tls)) if self.is_plain(id) => {
                    self.refuse_hello(id);
                    return self.end_http(id);
                }
                Parsed::Refused(fault) => self.refuse_request(id, fault, method, After::Close, 0),
                Parsed::Complete(head) => self.answer(id, &head, peer),
            };
            match answered {
                Answered::Next(_) if self.is_over_hard_bound(id) => return self.end_http(id),
                Answered::Next(length) => at += length,
                Answered::Last => return self.end_http(id),
                Answered::Upgrade(length, upgrade, address) => {
                    let frames = bytes.get_mut(at + length..).unwrap_or_default();
                    return self.admit(id, upgrade, address, frames);
                }
            }
        }
    }

    /// Whoever speaks plain HTTP where TLS is spoken is told so, in plain.
    pub(super) fn refuse_plain(&mut self, id: SlotId) {
        self.refuse_request(id, HttpFault::Malformed(Malformed::Plain), Method::Get, After::Close, 0);
        self.end_http(id);
    }

    pub(super) fn is_plain(&mut self, id: SlotId) -> bool {
        self.slots.get_mut(id).is_some_and(|connection| connection.tls.is_none())
    }

    /// True exactly when a peer asks again and again and takes no answer: what it asked for beyond is not
    /// made, and it may ask on a new connection (RFC 9112 section 9.3.2).
    fn is_over_hard_bound(&mut self, id: SlotId) -> bool {
        let bytes_max = self.setup.policy.limits.outbox_bytes_hard as usize;
        self.slots.get_mut(id).is_some_and(|connection| connection.outbox.bytes() > bytes_max)
    }

    pub(super) fn keep_head(&mut self, id: SlotId, rest: &[u8]) {
        let now = self.now.at;
        if let Some(stage) = self.head_stage(id) {
            // The time for a head runs from its first byte; that of the first one, from the accept.
            if stage.expects == Expects::NextHead {
                stage.since = now;
                if !rest.is_empty() {
                    stage.expects = Expects::RestOfHead;
                }
            }
            stage.bytes = rest.to_vec();
        }
        self.schedule(id);
    }

    /// Answers one request, or checks an upgrade.
    fn answer(&mut self, id: SlotId, head: &Head<'_>, peer: IpAddr) -> Answered {
        if let Some(stage) = self.head_stage(id) {
            stage.expects = Expects::NextHead;
        }
        match head.route {
            Route::Ws => self.check_upgrade(id, head, peer),
            Route::Echo if self.setup.echo == Echo::On => self.check_upgrade(id, head, peer),
            Route::Echo => {
                self.refuse_request(id, HttpFault::UnknownPath, head.method, head.after, head.length)
            }
            Route::Page(_)
            | Route::Health
            | Route::Live
            | Route::Ready
            | Route::Dependencies
            | Route::Metrics
            | Route::Unknown => match self.plain(id, head) {
                Ok(()) => {
                    self.counters.requests.add(1);
                    self.note_answer(id, Done::Answered);
                    if let Some(connection) = self.slots.get_mut(id) {
                        // It came to ask, and may ask again.
                        connection.arrival = Arrival::In;
                    }
                    self.next(head.after, head.length)
                }
                Err(fault) => self.refuse_request(id, fault, head.method, head.after, head.length),
            },
        }
    }

    fn next(&self, after: After, length: usize) -> Answered {
        match self.after(after) {
            After::KeepAlive => Answered::Next(length),
            After::Close => Answered::Last,
        }
    }

    /// Once the listener is closed a connection serves one answer more: whoever keeps one asks elsewhere next.
    fn after(&self, asked: After) -> After {
        match self.draining.phase {
            Phase::Serving | Phase::Accepting => asked,
            Phase::Moving | Phase::Closing => After::Close,
        }
    }

    fn refuse_request(
        &mut self,
        id: SlotId,
        fault: HttpFault,
        method: Method,
        after: After,
        length: usize,
    ) -> Answered {
        self.counters.count_refused(fault.status());
        self.note_answer(id, Done::Answered);
        let mut follows = After::Close;
        self.write(id, |out| follows = response::fault(out, fault, method, after));
        self.next(follows, length)
    }

    fn plain(&mut self, id: SlotId, head: &Head<'_>) -> Result<(), HttpFault> {
        head.serve()?;
        let options = ResponseOptions::plain(head.method, self.after(head.after));
        match head.route {
            Route::Page(file) => {
                upgrade::admit_host(head, host_rule(&self.setup.hosts))?;
                self.write(id, |out| page::answer(out, file, head, &options));
            }
            Route::Metrics => {
                let text = self.setup.metrics.text(&self.setup.vitals);
                self.write(id, |out| response::answer(out, 200, METRICS_TYPE, text.as_bytes(), &options));
            }
            Route::Health => self.report(id, &options, |readings| readings.summary()),
            Route::Live => self.report(id, &options, |readings| readings.live()),
            Route::Ready => self.report(id, &options, |readings| readings.ready()),
            Route::Dependencies => {
                let report = self.setup.outlook.report();
                self.write(id, |out| {
                    response::answer(out, report.status, HEALTH_TYPE, report.body.as_bytes(), &options);
                });
            }
            Route::Ws | Route::Echo | Route::Unknown => return Err(HttpFault::UnknownPath),
        }
        Ok(())
    }

    fn report(&mut self, id: SlotId, options: &ResponseOptions<'_>, make: impl Fn(&Readings<'_>) -> Report) {
        let instance = &self.setup.policy.instance.0;
        let readings = self.setup.vitals.readings(self.now.at, &self.snapshot, instance);
        let report = make(&readings);
        self.write(id, |out| {
            response::answer(out, report.status, HEALTH_TYPE, report.body.as_bytes(), options);
        });
    }

    fn check_upgrade(&mut self, id: SlotId, head: &Head<'_>, peer: IpAddr) -> Answered {
        let scheme = if self.is_plain(id) { Scheme::Either } else { Scheme::Https };
        let policy =
            UpgradePolicy { origins: &self.setup.origins, hosts: host_rule(&self.setup.hosts), scheme };
        let upgrade = match upgrade::check(head, &policy) {
            Ok(upgrade) => upgrade,
            Err(HttpFault::UpgradeRequired) if head.route == Route::Ws && self.is_refusing() => {
                return self.report_outage(id, head);
            }
            Err(fault) => return self.refuse_request(id, fault, head.method, head.after, head.length),
        };
        let wants = match (head.route, upgrade.version) {
            (Route::Echo, _) => Wants::Echo,
            (_, Offered::Unsupported(_)) => Wants::UnsupportedVersion,
            // Bytes that were made when the outage began are all it gets.
            (_, Offered::V1Named | Offered::NotNamed) if self.is_refusing() => {
                // The outage may be over by the time that its address is counted.
                Wants::Chat { token: upgrade.token.map(Box::from) }
            }
            (_, Offered::V1Named | Offered::NotNamed) => match self.judge_arrival() {
                Passage::Admit => Wants::Chat { token: upgrade.token.map(Box::from) },
                Passage::Later { retry_ms } => Wants::Later { retry_ms },
                Passage::Refuse { retry_ms } => {
                    let fault = HttpFault::OverCapacity { retry_ms };
                    return self.refuse_request(id, fault, head.method, head.after, head.length);
                }
            },
        };
        let mut response = Vec::with_capacity(192);
        response::switching(&mut response, &upgrade);
        let forwarded = head.values("x-forwarded-for");
        let address = forwarded_for(forwarded, peer, &self.setup.trusted_proxies);
        Answered::Upgrade(head.length, CheckedUpgrade { response, wants }, address)
    }

    pub(super) fn is_refusing(&self) -> bool {
        match self.snapshot.availability {
            Availability::Refuse(_) => true,
            Availability::Admit | Availability::Observe(_) => false,
        }
    }

    /// A plain request for the chat while nobody is let in: whoever looks without a browser learns why from status and body.
    fn report_outage(&mut self, id: SlotId, head: &Head<'_>) -> Answered {
        let Availability::Refuse(outage) = &self.snapshot.availability else {
            return self.next(head.after, head.length);
        };
        let retry_s = outage.retry_ms(self.now.at, self.random.f32()).div_ceil(1_000).to_string();
        let mut options = ResponseOptions::plain(head.method, self.after(head.after));
        let headers = [("Retry-After", retry_s.as_str())];
        options.headers = &headers;
        let report = self.setup.outlook.report();
        self.counters.requests.add(1);
        self.note_answer(id, Done::Answered);
        self.write(id, |out| response::answer(out, 503, HEALTH_TYPE, report.body.as_bytes(), &options));
        self.next(head.after, head.length)
    }

    /// Lets the address in, by the auth worker's count where addresses are counted.
    fn admit(&mut self, id: SlotId, upgrade: CheckedUpgrade, address: IpAddr, frames: &mut [u8]) {
        match (self.setup.addresses, &upgrade.wants) {
            // Who is told to come back is no connection of its address.
            (Addresses::Uncounted, _) | (Addresses::Counted, Wants::Later { .. }) => {
                self.upgrade(id, upgrade, frames);
            }
            (Addresses::Counted, Wants::Chat { .. } | Wants::Echo | Wants::UnsupportedVersion) => {
                let admission = Admission { upgrade, address, rest: frames.to_vec() };
                if let Some(connection) = self.slots.get_mut(id) {
                    connection.stage = Stage::Address(Box::new(admission));
                }
                let asked = self.ask_auth(Request::Address { slot: id }, self.now.at, |ticket| {
                    Admit::Address { ticket, address }
                });
                if !asked {
                    self.address_checked(id, None);
                }
            }
        }
    }

    /// The auth worker answered; `None` when it did not.
    pub(super) fn address_checked(&mut self, id: SlotId, outcome: Option<Result<(), AddressDenied>>) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        if !matches!(connection.stage, Stage::Address(_)) {
            return;
        }
        let closing = Closing { until: self.now.at + CLOSE_TIMEOUT, peer: Peer::Nothing };
        let Stage::Address(mut admission) = std::mem::replace(&mut connection.stage, Stage::Closing(closing))
        else {
            return;
        };
        let limits = &self.setup.policy.limits;
        let fault = match outcome {
            Some(Ok(())) => {
                connection.counted_address = Some(Box::new(admission.address));
                if connection.reading == super::connection::Reading::Paused {
                    connection.reading = super::connection::Reading::Ending;
                    self.mark_ready(id);
                }
                return self.upgrade(id, admission.upgrade, &mut admission.rest);
            }
            Some(Err(AddressDenied::TooMany)) => {
                HttpFault::TooManyConnections { bound: limits.connections_per_address }
            }
            Some(Err(AddressDenied::TooFast { retry_ms })) => HttpFault::TooFast { retry_ms },
            None => HttpFault::Unavailable { retry_ms: 1_000 },
        };
        self.refuse_request(id, fault, Method::Get, After::Close, 0);
        self.end_http(id);
    }

    /// Completes the upgrade; what came after the head is read as frames.
    fn upgrade(&mut self, id: SlotId, upgrade: CheckedUpgrade, frames: &mut [u8]) {
        self.counters.upgrades.add(1);
        self.write(id, |out| out.extend_from_slice(&upgrade.response));
        let limits = &self.setup.policy.limits;
        let connect_by = self.now.at + Duration::from_millis(u64::from(limits.connect_ms));
        let wanted = match upgrade.wants {
            Wants::Echo => Wanted::Echo,
            Wants::Chat { .. } | Wants::Later { .. } | Wants::UnsupportedVersion => Wanted::Chat,
        };
        let (role, refusal) = match upgrade.wants {
            Wants::Echo => (Role::Echo, None),
            Wants::Chat { token } => (self.chat(token, connect_by), None),
            Wants::Later { retry_ms } => {
                let reason = CloseReason::OverCapacity { bound: ADMISSIONS, retry_ms };
                (self.chat(None, connect_by), Some(reason))
            }
            Wants::UnsupportedVersion => (self.chat(None, connect_by), Some(CloseReason::UnsupportedVersion)),
        };
        let heartbeat = Heartbeat::new(self.now.at, self.periods(), self.random.f32());
        let websocket =
            WebSocket { decoder: Decoder::default(), heartbeat, control_frames: Meter::default(), role };
        if let Some(connection) = self.slots.get_mut(id) {
            connection.stage = Stage::WebSocket(websocket);
            connection.arrival = match wanted {
                Wanted::Chat => Arrival::Upgraded,
                Wanted::Echo => Arrival::In,
            };
        }
        self.handshakes.done(if refusal.is_some() { Done::Told } else { Done::Upgraded });
        let vitals = &self.setup.vitals;
        let capacity = Capacity {
            connections: vitals.connections().max(self.slots.len() as u64),
            connections_max: vitals.connections_max(),
            memory_bytes: vitals.memory_bytes(),
            memory_bytes_max: vitals.memory_bytes_max(),
        };
        let outage = match (&self.snapshot.availability, wanted) {
            (Availability::Admit, _) | (_, Wanted::Echo) => None,
            (Availability::Refuse(outage), Wanted::Chat) => Some(Arc::clone(outage)),
            (Availability::Observe(_), Wanted::Chat) => {
                self.counters.observed.add(1);
                None
            }
        };
        match (refusal, outage, capacity.verdict(self.random.f32())) {
            (Some(reason), _, _) | (None, None, Verdict::Refuse(reason)) => self.close(id, reason),
            (None, Some(outage), _) => self.turn_away(id, &outage),
            (None, None, Verdict::Admit) => {
                self.schedule(id);
                if !frames.is_empty() {
                    self.frames(id, frames);
                }
            }
        }
    }

    fn chat(&mut self, token: Option<Box<str>>, connect_by: crate::clock::Moment) -> Role {
        self.names += 1;
        let name =
            u64::from(self.random.u32(..)) << 32 | (self.names << 8 | u64::from(self.id.0)) & 0xFFFF_FFFF;
        Role::Chat(Chat { session: Session::new(token), name, connect_by, replays: Replays::None })
    }

    pub(super) fn periods(&self) -> Periods {
        let limits = &self.setup.policy.limits;
        Periods {
            ping: Duration::from_millis(u64::from(limits.ping_ms)),
            pong: Duration::from_millis(u64::from(limits.pong_ms)),
        }
    }

    /// Queues what `write` appends, for the end of the turn.
    pub(super) fn write(&mut self, id: SlotId, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        let (start, out) = Outbox::mark(&mut self.arena);
        write(out);
        connection.outbox.push_from(&self.arena, start);
        self.mark_dirty(id);
    }

    /// The last answer is queued: the connection ends once it is sent.
    pub(super) fn end_http(&mut self, id: SlotId) {
        if let Some(connection) = self.slots.get_mut(id) {
            let until = self.now.at + CLOSE_TIMEOUT;
            connection.stage = Stage::Closing(Closing { until, peer: Peer::Nothing });
        }
        self.schedule(id);
    }
}

fn host_rule(hosts: &Hosts) -> HostRule<'_> {
    match hosts {
        Hosts::Any => HostRule::Any,
        Hosts::LoopbackOr(names) => HostRule::LoopbackOr(names),
    }
}
