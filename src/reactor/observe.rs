//! The end of a turn: publishes the engine's counts and logs its notices.

use super::Reactor;
use super::secure::Warned;
use crate::drain::DrainPhase;
use crate::engine::{Notice, RefusedSite, SiteRule, Subject};
use crate::job::clients::ClientEvent;
use crate::job::lookup::SessionRecord;
use crate::log;
use crate::log::audit::AuditEvent;
use crate::metrics::tls::TlsFault;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A turn longer than this counts as slow.
const SLOW_TURN: Duration = Duration::from_millis(10);
/// Between two looks for the users with sessions, on which shares depend.
const LOOK_AROUND_PERIOD: Duration = Duration::from_secs(1);

impl Reactor {
    pub(super) fn observe(&mut self) {
        for notice in self.engine.take_notices() {
            self.note(notice);
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.log_sessions();
        }
        self.report_clients();
        self.logged_ends = self.engine.ended().count();
        let (began, end) = (self.engine.now().at, self.setup.clock.moment());
        let busy = end.since(began);
        self.engine.end_turn(busy);
        let counters = &self.counters;
        self.engine.tally().publish(counters);
        counters.turns.add(1);
        if busy > SLOW_TURN {
            counters.slow_turns.add(1);
        }
        if let Some(vitals) = self.setup.engine.vitals.reactors.get(usize::from(self.id.0)) {
            vitals.note_turn(began, end);
            vitals.connections.set(self.engine.len() as u64);
            if end >= self.look_around_at {
                self.look_around_at = end + LOOK_AROUND_PERIOD;
                vitals.crowd.set(self.engine.look_around().to_cell());
                self.publish_clients();
            }
        }
    }

    /// Publishes the numbers of clients that have changed.
    fn publish_clients(&mut self) {
        if let Some(counts) = self.engine.take_versions() {
            self.counters.versions.publish(counts);
        }
        if let Some(clients) = self.engine.take_flag_clients() {
            self.counters.flag_clients.publish(clients);
        }
    }

    /// Hands the clients that left or returned in this turn to the thread that counts them.
    fn report_clients(&mut self) {
        let send = |event| {
            if self.queues.clients.try_send(event).is_err() {
                self.counters.client_events_dropped.add(1);
            }
        };
        for session in self.engine.ended().since(self.logged_ends) {
            send(ClientEvent::Ended { connection: session.connection, code: session.code });
        }
        for client in self.engine.take_returns() {
            send(ClientEvent::Returned(Box::new(client)));
        }
    }

    /// Logs the sessions that opened and ended in this turn.
    fn log_sessions(&self) {
        for session in self.engine.opened().iter().filter_map(|id| self.engine.session_of(*id)) {
            let connection = format_args!("{:016x}", session.connection);
            let SessionRecord { user, client, address, .. } = &session;
            let (user, client) = (&**user, &**client);
            tracing::debug!(%connection, user, client, %address, "session opened");
        }
        for session in self.engine.ended().since(self.logged_ends) {
            let connection = format_args!("{:016x}", session.connection);
            let (user, client, address) = (session.user(), session.client(), session.address());
            let (code, reason, reference) = (session.code, session.reason, session.reference());
            let duration_ms = session.duration_ms;
            tracing::debug!(
                %connection, user, client, %address, code, reason, reference, duration_ms, "session closed"
            );
        }
    }

    /// Announces that this reactor accepts no further connections. Its present ones are counted first, because the gateway ends
    /// once every reactor has announced this and none has connections.
    pub(super) fn announce_closed(&self, phase: DrainPhase) {
        let closed = match phase {
            DrainPhase::Serving | DrainPhase::Accepting => return,
            DrainPhase::Moving | DrainPhase::Closing => phase != self.engine.phase(),
        };
        let (vitals, place) = (&self.setup.engine.vitals, usize::from(self.id.0));
        if closed
            && let (Some(own), Some(drain)) = (vitals.reactors.get(place), vitals.drain.reactors.get(place))
        {
            own.connections.set(self.engine.len() as u64);
            drain.closed.store(true, Ordering::Release);
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::ProxyHeaderRefused { fault, address } => {
                self.counters.count_proxy_fault(fault);
                log::report(AuditEvent::ProxyHeaderRefused { fault: fault.text(), address });
            }
            Notice::SiteRefused(site) => {
                let RefusedSite { origin, host, address, rule } = *site;
                let origin = origin.unwrap_or_else(|| "other".into());
                log::report(match rule {
                    SiteRule::Origin => AuditEvent::OriginRefused { origin, host, address },
                    SiteRule::Host => AuditEvent::HostRefused { host, address },
                });
            }
            Notice::OverLimit(bound, subject) => {
                let Subject { user, address } = *subject;
                log::report(AuditEvent::OverLimit { bound, user, address });
            }
            Notice::SessionEnded(reason, subject) => {
                let Subject { user, address } = *subject;
                log::report(AuditEvent::SessionEnded { reason, user, address });
            }
            Notice::PlainOnTls => self.counters.count_tls_fault(TlsFault::PlainHttp),
            Notice::TlsTimeout => self.counters.count_tls_fault(TlsFault::Timeout),
            Notice::TlsOnPlain => {
                self.counters.count_tls_fault(TlsFault::HelloOnPlain);
                if self.secrecy.warned == Warned::No {
                    self.secrecy.warned = Warned::Yes;
                    tracing::warn!(
                        advice = "use ws:// or http:// at this address, or configure [tls]; further ones are only counted in \
                                  tls_failures_total",
                        "TLS handshake on plain listener"
                    );
                }
            }
        }
    }
}
