//! HTTP of a peer: reads heads, answers plain requests, and hands upgrades on. Before the first head there may be the PROXY
//! header of a load balancer, which precedes TLS and is never encrypted.

use super::Engine;
use super::order::Notice;
use super::peer::{Arrival, CheckedUpgrade, Expects, HeadStage, Stage, Transport};
use super::setup::{Echo, LinkTokens};
use super::slots::SlotId;
use crate::admission::handshakes::Done;
use crate::drain::DrainPhase;
use crate::health::report::{Readings, Report};
use crate::health::snapshot::Availability;
use crate::limits::CLOSE_TIMEOUT;
use crate::metrics::scrape::MetricsFormat;
use crate::session::heartbeat::Periods;
use crate::wire::outbox::Outbox;
use crate::wire::page;
use crate::wire::proxy::{ProxyHead, proxy_v2};
use crate::wire::request::{After, Head, HttpFault, Malformed, Method, Parsed, Route, parse};
use crate::wire::response::{self, ResponseOptions};
use crate::wire::upgrade;
use std::net::IpAddr;
use std::time::Duration;

const HEALTH_TYPE: &str = "application/health+json";
/// A fatal alert, protocol_version (RFC 8446 section 6): this listener supports no version of TLS.
const NO_TLS_HERE: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46];

/// The result of one head.
pub(super) enum Answered {
    /// Answered; the next head may follow after this many bytes.
    Next(usize),
    /// A valid upgrade; frames follow after this many bytes.
    Upgrade(usize, CheckedUpgrade, IpAddr),
    /// Answered, and the connection ends.
    Last,
}

impl Engine {
    /// Takes bytes while a head is awaited.
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
        match &mut self.peers.get_mut(id)?.stage {
            Stage::Head(stage) => Some(stage),
            Stage::Address(_) | Stage::WebSocket(_) | Stage::Closing(_) | Stage::Lingering { .. } => None,
        }
    }

    /// Reads all complete heads, and keeps the rest.
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
            let address = stage.address;
            let answered = match parse(rest, self.basis.heads) {
                Parsed::Partial => return self.keep_head(id, rest),
                Parsed::Refused(HttpFault::Malformed(Malformed::Tls)) if self.is_plain(id) => {
                    // A TLS client understands no other answer.
                    self.out.notices.push(Notice::TlsOnPlain);
                    self.write(id, |out| out.extend_from_slice(&NO_TLS_HERE));
                    return self.end_when_sent(id);
                }
                Parsed::Refused(fault) => return self.refuse_and_end(id, fault),
                Parsed::Complete(head) => self.answer(id, &head, address),
            };
            match answered {
                Answered::Next(_) if self.is_over_hard_bound(id) => return self.end_when_sent(id),
                Answered::Next(length) => at += length,
                Answered::Last => return self.end_when_sent(id),
                Answered::Upgrade(length, upgrade, address) => {
                    let frames = bytes.get_mut(at + length..).unwrap_or_default();
                    return self.admit(id, upgrade, address, frames);
                }
            }
        }
    }

    /// Answers a peer that speaks plain HTTP to a TLS listener, in plain HTTP.
    pub fn handle_plain_on_tls(&mut self, id: SlotId) {
        self.out.notices.push(Notice::PlainOnTls);
        if let Some(peer) = self.peers.get_mut(id) {
            peer.transport = Transport::Plain;
        }
        self.refuse_and_end(id, HttpFault::Malformed(Malformed::Plain));
    }

    pub(super) fn is_plain(&mut self, id: SlotId) -> bool {
        self.peers.get_mut(id).is_some_and(|peer| peer.transport == Transport::Plain)
    }

    /// True exactly when a peer keeps sending requests without reading responses: further requests are not served, and may
    /// be sent again on a new connection (RFC 9112 section 9.3.2).
    fn is_over_hard_bound(&mut self, id: SlotId) -> bool {
        let bytes_max = self.setup.policy.limits.outbox_bytes_hard as usize;
        self.peers.get_mut(id).is_some_and(|peer| peer.outbox.bytes() > bytes_max)
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
    fn answer(&mut self, id: SlotId, head: &Head<'_>, address: IpAddr) -> Answered {
        if let Some(stage) = self.head_stage(id) {
            stage.expects = Expects::NextHead;
        }
        match head.route {
            Route::Ws => self.check_upgrade(id, head, address),
            Route::Echo if self.setup.echo == Echo::On => self.check_upgrade(id, head, address),
            Route::Echo => self.refuse_request(id, HttpFault::UnknownPath, head),
            Route::Page(_)
            | Route::Health
            | Route::Live
            | Route::Ready
            | Route::Dependencies
            | Route::Metrics
            | Route::Unknown => match self.plain(id, head) {
                Ok(()) => {
                    self.tally.requests.add(1);
                    self.note_answer(id, Done::Answered);
                    let is_report = matches!(
                        head.route,
                        Route::Health | Route::Live | Route::Ready | Route::Dependencies
                    );
                    if is_report && !self.setup.policy.is_canary(upgrade::bearer_of(head), address) {
                        self.note_health_report();
                    }
                    if let Some(peer) = self.peers.get_mut(id) {
                        // The client came for plain requests, and may send more.
                        peer.arrival = Arrival::In;
                    }
                    self.next(head.after, head.length)
                }
                Err(fault) => self.refuse_request(id, fault, head),
            },
        }
    }

    pub(super) fn next(&self, after: After, length: usize) -> Answered {
        match self.after(after) {
            After::KeepAlive => Answered::Next(length),
            After::Close => Answered::Last,
        }
    }

    /// Once the listener is closed, a connection gets one more answer; the client then connects elsewhere.
    fn after(&self, asked: After) -> After {
        match self.rounds.draining.phase {
            DrainPhase::Serving | DrainPhase::Accepting => asked,
            DrainPhase::Moving | DrainPhase::Closing => After::Close,
        }
    }

    pub(super) fn refuse_request(&mut self, id: SlotId, fault: HttpFault, head: &Head<'_>) -> Answered {
        self.note_answer(id, Done::Answered);
        let follows = self.write_fault(id, fault, head.method, head.after);
        self.next(follows, head.length)
    }

    /// Refuses a request after which nothing can be read, and ends the connection.
    pub(super) fn refuse_and_end(&mut self, id: SlotId, fault: HttpFault) {
        self.note_answer(id, Done::Answered);
        self.write_fault(id, fault, Method::Get, After::Close);
        self.end_when_sent(id);
    }

    /// Queues the answer to a refused request, and returns what follows it.
    pub(super) fn write_fault(
        &mut self,
        id: SlotId,
        fault: HttpFault,
        method: Method,
        after: After,
    ) -> After {
        self.tally.count_refused(fault);
        let mut follows = After::Close;
        self.write(id, |out| follows = response::fault(out, fault, method, after));
        follows
    }

    fn plain(&mut self, id: SlotId, head: &Head<'_>) -> Result<(), HttpFault> {
        head.serve()?;
        // Only a browser can be made to come by another name, and it sends a host. Probes with HTTP/1.0 send none.
        if head.host.is_some() || matches!(head.route, Route::Page(_)) {
            upgrade::admit_host(head, self.setup.hosts.rule())?;
        }
        let hsts = self.setup.hsts.clone();
        let headers = hsts.as_deref().map(|value| ("Strict-Transport-Security", value));
        let options = ResponseOptions {
            headers: headers.as_slice(),
            ..ResponseOptions::plain(head.method, self.after(head.after))
        };
        match head.route {
            Route::Page(file) => {
                let file = match self.setup.link_tokens {
                    LinkTokens::Accepted => file,
                    LinkTokens::Ignored => page::without_link_tokens(file),
                };
                self.write(id, |out| page::answer(out, file, head, &options));
            }
            Route::Metrics => {
                let format = MetricsFormat::accepted(head.values("accept"));
                let text = self.setup.metrics.text(&self.setup.vitals, self.now.unix_ms, format);
                self.write(id, |out| {
                    response::answer(out, 200, format.content_type(), text.as_bytes(), &options);
                });
            }
            Route::Health => self.report(id, &options, |readings| readings.summary()),
            Route::Live => self.report(id, &options, |readings| readings.live()),
            Route::Ready => self.report(id, &options, |readings| readings.ready()),
            Route::Dependencies => {
                let report = self.setup.outlook.report();
                self.write_report(id, &report, &options);
            }
            Route::Ws | Route::Echo | Route::Unknown => return Err(HttpFault::UnknownPath),
        }
        Ok(())
    }

    fn report(&mut self, id: SlotId, options: &ResponseOptions<'_>, make: impl Fn(&Readings<'_>) -> Report) {
        let instance = &self.setup.policy.instance.0;
        let readings = self.setup.vitals.readings(self.now.at, &self.rounds.health.snapshot, instance);
        let report = make(&readings);
        self.write_report(id, &report, options);
    }

    fn write_report(&mut self, id: SlotId, report: &Report, options: &ResponseOptions<'_>) {
        self.write(id, |out| {
            response::answer(out, report.status, HEALTH_TYPE, report.body.as_bytes(), options);
        });
    }

    /// Answers a plain request for the chat while a critical dependency is down: status and body give the reason to clients
    /// that are not browsers.
    pub(super) fn report_outage(&mut self, id: SlotId, head: &Head<'_>) -> Answered {
        let Availability::Refuse(outage) = &self.rounds.health.snapshot.availability else {
            return self.next(head.after, head.length);
        };
        let retry_s = outage.retry_ms(self.now.at, self.random.f32()).div_ceil(1_000).to_string();
        let mut options = ResponseOptions::plain(head.method, self.after(head.after));
        let headers = [("Retry-After", retry_s.as_str())];
        options.headers = &headers;
        let report = self.setup.outlook.report();
        self.tally.requests.add(1);
        self.note_answer(id, Done::Answered);
        self.write(id, |out| response::answer(out, 503, HEALTH_TYPE, report.body.as_bytes(), &options));
        self.next(head.after, head.length)
    }

    pub(super) fn periods(&self) -> Periods {
        let limits = &self.setup.policy.limits;
        Periods {
            ping: Duration::from_millis(u64::from(limits.ping_ms)),
            pong: Duration::from_millis(u64::from(limits.pong_ms)),
        }
    }

    /// Queues the bytes that `write` appends, for the end of the turn.
    pub(super) fn write(&mut self, id: SlotId, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let (start, out) = Outbox::mark(&mut self.scratch.arena);
        write(out);
        peer.outbox.push_from(&self.scratch.arena, start);
        self.mark_dirty(id);
    }

    /// Ends the connection once its last answer is sent.
    pub(super) fn end_when_sent(&mut self, id: SlotId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.end(self.now.at + CLOSE_TIMEOUT);
        }
        self.schedule(id);
    }

    /// Reads the PROXY header and returns its length once it is complete. The bytes of an incomplete one are kept.
    pub(super) fn proxy_header(&mut self, id: SlotId, bytes: &[u8]) -> Option<usize> {
        match proxy_v2(bytes) {
            ProxyHead::Partial => {
                self.keep_head(id, bytes);
                None
            }
            ProxyHead::Complete { length, source } => {
                let stage = self.head_stage(id)?;
                stage.expects = Expects::FirstHead;
                stage.address = source.map_or(stage.address, |source| source.ip().to_canonical());
                Some(length)
            }
            // The peer is no proxy of ours, and gets no answer that it could learn from.
            ProxyHead::Invalid(fault) => {
                if let Some(stage) = self.head_stage(id) {
                    let address = stage.address;
                    self.out.notices.push(Notice::ProxyHeaderRefused { fault, address });
                }
                self.kill(id);
                None
            }
        }
    }

    /// Takes bytes of an encrypted peer that must begin with a PROXY header. Returns the bytes after it, which belong to TLS;
    /// `None` if there are none yet.
    pub fn strip_proxy_header(&mut self, id: SlotId, bytes: &[u8]) -> Option<Vec<u8>> {
        let stage = self.head_stage(id)?;
        let mut all = std::mem::take(&mut stage.bytes);
        all.extend_from_slice(bytes);
        let length = self.proxy_header(id, &all)?;
        Some(all.split_off(length)).filter(|rest| !rest.is_empty())
    }

    /// True exactly when a PROXY header must come before anything else.
    pub fn expects_proxy_header(&mut self, id: SlotId) -> bool {
        self.head_stage(id).is_some_and(|stage| stage.expects == Expects::ProxyHeader)
    }
}
