//! Upgrades: their check, their admission by capacity and by the count of their address, and their completion.

use super::Engine;
use super::address_state::{AddressCount, AddressOwner};
use super::attempt_clock::AttemptClock;
use super::clients::versions::VersionPlace;
use super::http::Answered;
use super::order::{Job, Notice, RefusedSite, SiteRule};
use super::peer::{
    Admission, Arrival, Awaited, Chat, CheckedUpgrade, Closing, Peer, Reading, Replays, Role, Stage, Wants,
    WebSocket,
};
use super::pending::Request;
use super::setup::Addresses;
use super::slots::SlotId;
use crate::admission::handshakes::{Done, HandshakeDecision};
use crate::admission::{AdmissionDecision, Capacity};
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::health::snapshot::Availability;
use crate::job::{AddressDenied, AuthJob};
use crate::limits::CLOSE_TIMEOUT;
use crate::rate::Meter;
use crate::session::heartbeat::Heartbeat;
use crate::session::{AuthMode, Session};
use crate::slo::attempt::ADMISSIONS;
use crate::slo::{BadCause, Exclusion, SloOutcome};
use crate::wire::frames::Decoder;
use crate::wire::hint::Hint;
use crate::wire::origin::{Scheme, shown_origin};
use crate::wire::proxy::forwarded_for;
use crate::wire::request::{Head, HttpFault, Route};
use crate::wire::response;
use crate::wire::upgrade::{self, OfferedVersion, Site, Upgrade, UpgradePolicy};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    pub(super) fn check_upgrade(&mut self, id: SlotId, head: &Head<'_>, peer: IpAddr) -> Answered {
        let scheme = if self.is_plain(id) { Scheme::Either } else { Scheme::Https };
        let policy = UpgradePolicy { origins: &self.setup.origins, hosts: self.setup.hosts.rule(), scheme };
        let upgrade = match upgrade::check(head, &policy) {
            Ok(upgrade) => upgrade,
            Err(HttpFault::UpgradeRequired) if head.route == Route::Ws && self.is_refusing() => {
                return self.report_outage(id, head);
            }
            Err(fault) => return self.refuse_request(id, fault, head),
        };
        let forwarded = head.values("x-forwarded-for");
        let address = forwarded_for(forwarded, peer, &self.setup.trusted_proxies);
        if upgrade.site != Site::Admitted {
            return self.refuse_site(id, head, &upgrade, address);
        }
        let is_canary = self.setup.policy.is_canary(upgrade.token, address);
        let attempt = if is_canary { None } else { self.begin_attempt(head.route) };
        let token = upgrade.token.filter(|_| is_canary || self.setup.policy.auth == AuthMode::Required);
        let wants = match (head.route, upgrade.version) {
            (Route::Echo, _) => Wants::Echo,
            (_, OfferedVersion::Unsupported(_)) => Wants::UnsupportedVersion,
            (_, OfferedVersion::V1Named | OfferedVersion::NotNamed) if self.is_refusing() => {
                // The outage may be over once the address is counted. If not, the client gets bytes prepared for the outage.
                Wants::Chat { token: token.map(Box::from) }
            }
            (_, OfferedVersion::V1Named | OfferedVersion::NotNamed) => {
                match self.judge_arrival(id, address, peer) {
                    HandshakeDecision::Admit => Wants::Chat { token: token.map(Box::from) },
                    HandshakeDecision::Defer { retry_ms } => Wants::Later { retry_ms },
                    HandshakeDecision::Refuse { retry_ms } => {
                        self.decide_attempt(attempt, SloOutcome::Bad(BadCause::Capacity), Some(retry_ms));
                        let fault = HttpFault::OverCapacity { retry_ms };
                        return self.refuse_request(id, fault, head);
                    }
                }
            }
        };
        let mut response = Vec::with_capacity(192);
        response::switching(&mut response, &upgrade);
        let hint = Hint::read(head.query, &self.setup.policy.instance.0);
        Answered::Upgrade(head.length, CheckedUpgrade { response, wants, hint, attempt }, address)
    }

    /// Refuses the site of a valid handshake: after the upgrade, because a browser shows nothing of a refused one. While the
    /// connections that are not `connected` use up their share, the answer is the cheaper 403.
    fn refuse_site(
        &mut self,
        id: SlotId,
        head: &Head<'_>,
        upgrade: &Upgrade<'_>,
        address: IpAddr,
    ) -> Answered {
        let (fault, rule, origin) = match upgrade.site {
            Site::ForeignOrigin(origin) => {
                (HttpFault::OriginForbidden, SiteRule::Origin, shown_origin(origin))
            }
            Site::ForeignHost | Site::Admitted => (HttpFault::HostForbidden, SiteRule::Host, None),
        };
        let attempt = self.begin_attempt(head.route);
        let host = head.host.map(|host| host.to_string()).unwrap_or_default();
        let site = RefusedSite { origin: origin.map(String::from), host, address, rule };
        self.out.notices.push(Notice::SiteRefused(Box::new(site)));
        if self.strangers_are_full() {
            self.decide_attempt(attempt, SloOutcome::Excluded(Exclusion::Client), None);
            return self.refuse_request(id, fault, head);
        }
        self.tally.count_refused(fault);
        let reason = match rule {
            SiteRule::Origin => {
                let named = origin.unwrap_or("the page's origin");
                CloseReason::OriginForbidden(format!("{named} is not in server.origins"))
            }
            SiteRule::Host => CloseReason::HostForbidden,
        };
        let mut response = Vec::with_capacity(192);
        response::switching(&mut response, upgrade);
        let upgrade =
            CheckedUpgrade { response, wants: Wants::Foreign { reason }, hint: Hint::None, attempt };
        Answered::Upgrade(head.length, upgrade, address)
    }

    pub(super) fn is_refusing(&self) -> bool {
        match self.rounds.health.snapshot.availability {
            Availability::Refuse(_) => true,
            Availability::Admit | Availability::Observe(_) => false,
        }
    }

    /// Admits an upgrade, after the auth worker has counted its address where addresses are counted.
    pub(super) fn admit(&mut self, id: SlotId, upgrade: CheckedUpgrade, address: IpAddr, frames: &mut [u8]) {
        match (self.setup.addresses, &upgrade.wants) {
            // A client that is refused at once does not count as a connection of its address.
            (Addresses::Uncounted, _) | (Addresses::Counted, Wants::Later { .. } | Wants::Foreign { .. }) => {
                self.upgrade(id, upgrade, address, frames);
            }
            (Addresses::Counted, Wants::Chat { .. } | Wants::Echo | Wants::UnsupportedVersion) => {
                let admission = Admission { upgrade, address, rest: frames.to_vec() };
                if let Some(peer) = self.peers.get_mut(id) {
                    peer.stage = Stage::Address(Box::new(admission));
                }
                self.ask(Request::Address { slot: id }, self.now.at, |ticket| {
                    Job::Admit(AuthJob::AdmitAddress { ticket, address })
                });
            }
        }
    }

    /// Takes the auth worker's answer about an address; `None` if there is none.
    pub(super) fn address_checked(&mut self, id: SlotId, outcome: Option<Result<(), AddressDenied>>) {
        let is_address = |peer: &&mut Peer| matches!(peer.stage, Stage::Address(_));
        let Some(peer) = self.peers.get_mut(id).filter(is_address) else { return };
        let closing = Closing { until: self.now.at + CLOSE_TIMEOUT, awaited: Awaited::Nothing };
        let Stage::Address(mut admission) = std::mem::replace(&mut peer.stage, Stage::Closing(closing))
        else {
            return;
        };
        let limits = &self.setup.policy.limits;
        let fault = match outcome {
            Some(Ok(())) => {
                peer.count = AddressCount::Counted;
                peer.address = admission.address;
                if peer.reading == Reading::Paused {
                    peer.reading = Reading::Ending;
                    self.mark_ready(id);
                }
                return self.upgrade(id, admission.upgrade, admission.address, &mut admission.rest);
            }
            Some(Err(AddressDenied::TooMany)) => {
                HttpFault::TooManyConnections { bound: limits.connections_per_address }
            }
            Some(Err(AddressDenied::TooFast { retry_ms })) => HttpFault::TooFast { retry_ms },
            None => HttpFault::Unavailable { retry_ms: 1_000 },
        };
        let refusal = match outcome {
            Some(_) => SloOutcome::Excluded(Exclusion::ClientLimit),
            None => SloOutcome::Bad(BadCause::Unjudged),
        };
        self.decide_attempt(admission.upgrade.attempt, refusal, None);
        self.refuse_and_end(id, fault);
    }

    /// Completes the upgrade. `frames` are the bytes that arrived after the head.
    fn upgrade(&mut self, id: SlotId, upgrade: CheckedUpgrade, address: IpAddr, frames: &mut [u8]) {
        self.tally.upgrades.add(1);
        match upgrade.hint {
            Hint::None => {}
            Hint::Here => self.tally.returns_hinted.add(1),
            Hint::Elsewhere => {
                self.tally.returns_other.add(1);
                self.count_sent_elsewhere();
            }
        }
        self.write(id, |out| out.extend_from_slice(&upgrade.response));
        let limits = &self.setup.policy.limits;
        let connect_by = self.now.at + Duration::from_millis(u64::from(limits.connect_ms));
        let attempt = upgrade.attempt;
        let (role, refusal) = match upgrade.wants {
            Wants::Echo => {
                self.admit_stranger(id);
                (Role::Echo, None)
            }
            Wants::Chat { token } => (self.chat(token, connect_by, attempt), None),
            Wants::Later { retry_ms } => {
                let reason = CloseReason::OverCapacity { bound: ADMISSIONS, retry_ms };
                (self.chat(None, connect_by, attempt), Some(reason))
            }
            Wants::UnsupportedVersion => {
                (self.chat(None, connect_by, attempt), Some(CloseReason::UnsupportedVersion))
            }
            Wants::Foreign { reason } => (self.chat(None, connect_by, attempt), Some(reason)),
        };
        // An echo needs no dependency: it measures this process alone.
        let (arrival, outage) = match (&role, &self.rounds.health.snapshot.availability) {
            (Role::Echo, _) => (Arrival::In, None),
            (Role::Chat(_), Availability::Admit) => (Arrival::Upgraded, None),
            (Role::Chat(_), Availability::Refuse(outage)) => (Arrival::Upgraded, Some(Arc::clone(outage))),
            (Role::Chat(_), Availability::Observe(_)) => {
                self.tally.observed.add(1);
                (Arrival::Upgraded, None)
            }
        };
        let heartbeat = Heartbeat::new(self.now.at, self.periods(), self.random.f32());
        let websocket =
            WebSocket { decoder: Decoder::default(), heartbeat, control_frames: Meter::default(), role };
        let owner = match self.sharing_address(address) {
            Some(_) => AddressOwner::Client,
            None => AddressOwner::Proxy,
        };
        if let Some(peer) = self.peers.get_mut(id) {
            peer.stage = Stage::WebSocket(websocket);
            (peer.address, peer.owner) = (address, owner);
            peer.arrival = arrival;
        }
        self.arrivals.handshakes.done(if refusal.is_some() { Done::Deferred } else { Done::Upgraded });
        let vitals = &self.setup.vitals;
        let capacity = Capacity {
            connections: self.connections(),
            connections_max: vitals.connections_max(),
            memory_bytes: vitals.memory_bytes(),
            memory_bytes_max: vitals.memory_bytes_max(),
        };
        match (refusal, outage, capacity.verdict(self.random.f32())) {
            (Some(reason), _, _) => self.end_with(id, reason),
            (None, None, AdmissionDecision::Refuse(reason)) => self.close(id, reason),
            (None, Some(outage), _) => self.turn_away(id, &outage),
            (None, None, AdmissionDecision::Admit) => {
                self.hold_attempt(id);
                self.schedule(id);
                if !frames.is_empty() {
                    self.frames(id, frames);
                }
            }
        }
    }

    fn chat(&mut self, token: Option<Box<str>>, connect_by: Moment, attempt: Option<AttemptClock>) -> Role {
        self.arrivals.named += 1;
        let name = u64::from(self.basis.tag) << 48
            | u64::from(self.random.u64() as u16) << 32
            | (self.arrivals.named << 8 | u64::from(self.basis.id.0)) & 0xFFFF_FFFF;
        let session = Session::new(token);
        let (replays, version) = (Replays::None, VersionPlace::Absent);
        Role::Chat(Chat { session, name, connect_by, replays, attempt, version })
    }
}
