//! Counters of one reactor.

use super::Cell;
use super::clients::VersionBoard;
use super::flags::FlagClientsBoard;
use super::slo::SloCells;
use super::tls::{HANDSHAKE_KINDS, TlsFault};
use crate::wire::fault::HttpFault;
use crate::wire::proxy::ProxyFault;
use crate::wire::push::ErrorCode;

/// The close codes that are counted separately, in the order of [`ReactorCounters::closes`].
pub const CLOSE_CODES: [u16; 19] = [
    1000, 1001, 1002, 1007, 1009, 1011, 1012, 1013, 4403, 4408, 4410, 4425, 4429, 4500, 4501, 4503, 4504,
    4505, 4506,
];

/// Totals since the start, and current sizes.
#[derive(Debug, Default)]
pub struct ReactorCounters {
    pub turns: Cell,
    /// Turns that took longer than 10 ms.
    pub slow_turns: Cell,
    pub accepted: Cell,
    pub connections: Cell,
    /// Accepts that failed because no descriptor was free.
    pub accept_failures: Cell,
    /// Handshakes that admission control let in.
    pub handshakes_admitted: Cell,
    /// Upgrades completed only to send the client a retry time.
    pub handshakes_deferred: Cell,
    /// Upgrades refused with 503 because there were too many even to send retry times.
    pub handshakes_refused: Cell,
    /// The measured cost of a handshake on this reactor, in microseconds.
    pub handshake_cost_us: Cell,
    /// Handshakes per second that this reactor can admit, by its own measurement.
    pub admissions_per_s: Cell,
    pub upgrades: Cell,
    /// Upgrades that asked for this instance with `?to=NAME`.
    pub returns_hinted: Cell,
    /// Upgrades that asked for another instance.
    pub returns_other: Cell,
    /// Sessions that reached `connected`.
    pub connected: Cell,
    /// Sessions whose connection broke, or whose client left without a close frame.
    pub lost: Cell,
    /// Plain HTTP requests served, including health reports with status 503.
    pub requests: Cell,
    /// HTTP requests refused, indexed like [`HttpFault::REASONS`].
    pub requests_refused: [Cell; HttpFault::REASONS.len()],
    /// Text and binary messages and control frames received.
    pub messages_received: Cell,
    pub commands: Cell,
    pub bytes_received: Cell,
    pub bytes_sent: Cell,
    /// Publications put into the store's queue.
    pub publishes: Cell,
    /// Publications acknowledged with `published`.
    pub published: Cell,
    /// Publications delivered, counted once for each subscriber.
    pub deliveries: Cell,
    /// Runs delivered, counted once for each subscriber. A run holds what one channel received in one turn.
    pub runs: Cell,
    /// Subscribers that fell behind.
    pub lagged: Cell,
    pub replay_pages: Cell,
    /// Store reads for recoveries: positions, tails and pages of replays.
    pub recovery_reads: Cell,
    /// Recovery reads that were answered as failed because too many were waiting.
    pub recoveries_refused: Cell,
    /// Recovery reads that are waiting.
    pub recoveries_waiting: Cell,
    /// Appends and history pages that wait for the turn of their user.
    pub turns_waiting: Cell,
    pub signals: Cell,
    pub pings: Cell,
    pub beats: Cell,
    pub statuses: Cell,
    /// Frames about rosters sent to watchers.
    pub presence_frames: Cell,
    /// Frames about rosters that watchers missed because their outboxes were full.
    pub presence_missed: Cell,
    /// Upgrades completed only to report that a critical dependency is down.
    pub turned_away: Cell,
    /// Upgrades admitted only because admission is in `observe` mode.
    pub observed: Cell,
    /// Connections that are not `connected`.
    pub unconnected: Cell,
    /// Connections ended because unconnected ones used up their share.
    pub unconnected_displaced: Cell,
    /// Accepts and upgrades of addresses over their share of the handshakes.
    pub arrivals_over_share: Cell,
    /// Connections of such addresses that were dropped at the accept.
    pub arrivals_dropped: Cell,
    /// Requests answered at their deadline because no worker had answered.
    pub late: Cell,
    /// Times the reactor found that its live lane had been full.
    pub live_missed: Cell,
    /// Connections dropped at the PROXY header, indexed by [`ProxyFault`].
    pub proxy_faults: [Cell; ProxyFault::ALL.len()],
    /// TLS handshakes completed, indexed like [`HANDSHAKE_KINDS`].
    pub tls_handshakes: [Cell; HANDSHAKE_KINDS.len()],
    /// TLS connections that failed, indexed by [`TlsFault`].
    pub tls_faults: [Cell; TlsFault::ALL.len()],
    pub tls_handshake_us: Cell,
    /// TLS connections that the peer closed without `close_notify`.
    pub tls_truncated: Cell,
    /// Requests waiting for a worker.
    pub pending: Cell,
    /// Bytes waiting to be written, over all sockets.
    pub outbox_bytes: Cell,
    /// Bytes of recent publications kept in memory.
    /// Bytes of unfinished requests and messages.
    pub inbound_bytes: Cell,
    /// Connections that were ended because these exceeded their bound.
    pub inbound_displaced: Cell,
    pub tail_bytes: Cell,
    /// Channels with subscribers on this reactor.
    pub channels: Cell,
    pub subscriptions: Cell,
    /// Error replies sent, indexed by [`ErrorCode`].
    pub errors: [Cell; ErrorCode::ALL.len()],
    /// Close frames sent, indexed like [`CLOSE_CODES`]. The last cell counts all other codes.
    pub closes: [Cell; CLOSE_CODES.len() + 1],
    /// Events that objectives count.
    pub slo: SloCells,
    /// The clients by version.
    pub versions: VersionBoard,
    /// The clients by flag.
    pub flag_clients: FlagClientsBoard,
    /// Ends and returns of clients that the thread `clients` had no room for.
    pub client_events_dropped: Cell,
}

impl ReactorCounters {
    /// Counts an `error` reply.
    pub fn count_error(&self, code: ErrorCode) {
        if let Some(cell) = self.errors.get(code.index()) {
            cell.add(1);
        }
    }

    /// Counts a connection that was dropped at the PROXY header.
    pub fn count_proxy_fault(&self, fault: ProxyFault) {
        if let Some(cell) = self.proxy_faults.get(fault.index()) {
            cell.add(1);
        }
    }

    /// Counts a TLS connection that failed.
    pub fn count_tls_fault(&self, fault: TlsFault) {
        if let Some(cell) = self.tls_faults.get(fault.index()) {
            cell.add(1);
        }
    }

    /// Counts a close frame that was sent.
    pub fn count_close(&self, code: u16) {
        let index = CLOSE_CODES.iter().position(|known| *known == code).unwrap_or(CLOSE_CODES.len());
        if let Some(cell) = self.closes.get(index) {
            cell.add(1);
        }
    }
}
