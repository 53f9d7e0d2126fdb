//! What one reactor counts.

use super::Cell;
use super::tls::{HANDSHAKE_KINDS, TlsFault};
use crate::wire::push::ErrorCode;

/// Close codes that are counted by themselves, in the order of [`ReactorCounters::closes`].
pub const CLOSE_CODES: [u16; 14] =
    [1000, 1001, 1002, 1007, 1009, 1011, 1012, 1013, 4408, 4429, 4500, 4501, 4503, 4505];

/// Totals since the start, and sizes as they are now.
#[derive(Debug, Default)]
pub struct ReactorCounters {
    /// Turns of the loop.
    pub turns: Cell,
    /// Turns that took longer than 10 ms.
    pub slow_turns: Cell,
    /// Connections accepted.
    pub accepted: Cell,
    /// Connections that exist.
    pub connections: Cell,
    /// Accepts that failed for want of descriptors.
    pub accept_failures: Cell,
    /// Handshakes let in by admission.
    pub handshakes_admitted: Cell,
    /// Upgrades completed to tell a client when to come back.
    pub handshakes_deferred: Cell,
    /// Upgrades refused with 503, since there were too many even to be told.
    pub handshakes_refused: Cell,
    /// What a handshake costs this reactor, microseconds.
    pub handshake_cost_us: Cell,
    /// Handshakes a second that this reactor measured that it can do.
    pub admissions_per_s: Cell,
    /// Upgrades completed.
    pub upgrades: Cell,
    /// Sessions that reached `connected`.
    pub connected: Cell,
    /// Plain HTTP requests served; a health report of 503 is one.
    pub requests: Cell,
    /// HTTP requests refused, by hundreds: 4xx and 5xx.
    pub requests_refused: [Cell; 2],
    /// Text, binary and control frames received, as messages.
    pub messages_received: Cell,
    /// Commands received.
    pub commands: Cell,
    /// Bytes received.
    pub bytes_received: Cell,
    /// Bytes sent.
    pub bytes_sent: Cell,
    /// Publications accepted for the store's queue.
    pub publishes: Cell,
    /// Publications answered with `published`.
    pub published: Cell,
    /// Publications given to subscribers: one each.
    pub deliveries: Cell,
    /// Runs given to subscribers: what a channel got in a turn is one.
    pub runs: Cell,
    /// Subscribers that fell behind.
    pub lagged: Cell,
    /// Pages read for replays.
    pub replay_pages: Cell,
    /// Reads made for recoveries: positions, tails and pages of replays.
    pub recovery_reads: Cell,
    /// The same that found no room, and were answered as failed.
    pub recoveries_refused: Cell,
    /// The same that wait for their turn.
    pub recoveries_waiting: Cell,
    /// Signals taken.
    pub signals: Cell,
    /// Pings sent.
    pub pings: Cell,
    /// Beats sent.
    pub beats: Cell,
    /// Pushes of `status`.
    pub statuses: Cell,
    /// Upgrades that were completed to say that a critical dependency is down.
    pub turned_away: Cell,
    /// Upgrades that were let in because verdicts are only observed.
    pub observed: Cell,
    /// Requests answered at their deadline instead of by a worker.
    pub late: Cell,
    /// Times the lane of publications was full.
    pub live_missed: Cell,
    /// TLS handshakes completed, by [`HANDSHAKE_KINDS`].
    pub tls_handshakes: [Cell; HANDSHAKE_KINDS.len()],
    /// TLS connections that failed, by [`TlsFault`].
    pub tls_faults: [Cell; TlsFault::ALL.len()],
    /// Microseconds spent in TLS handshakes.
    pub tls_handshake_us: Cell,
    /// TLS connections whose peer ended without a close_notify.
    pub tls_truncated: Cell,
    /// Requests that wait for a worker.
    pub pending: Cell,
    /// Bytes that wait for all sockets.
    pub outbox_bytes: Cell,
    /// Bytes of recent publications.
    pub tail_bytes: Cell,
    /// Channels followed.
    pub channels: Cell,
    /// Subscriptions.
    pub subscriptions: Cell,
    /// Errors told, by [`ErrorCode`].
    pub errors: [Cell; ErrorCode::ALL.len()],
    /// Closes by us, by [`CLOSE_CODES`]; the last is any other code.
    pub closes: [Cell; CLOSE_CODES.len() + 1],
}

impl ReactorCounters {
    /// Counts an `error`.
    pub fn count_error(&self, code: ErrorCode) {
        if let Some(cell) = self.errors.get(code.index()) {
            cell.add(1);
        }
    }

    /// Counts a TLS connection that failed.
    pub fn count_tls_fault(&self, fault: TlsFault) {
        if let Some(cell) = self.tls_faults.get(fault.index()) {
            cell.add(1);
        }
    }

    /// Counts a refused request by its status, 400 to 599.
    pub fn count_refused(&self, status: u16) {
        if let Some(cell) = self.requests_refused.get(usize::from(status >= 500)) {
            cell.add(1);
        }
    }

    /// Counts a close frame of ours.
    pub fn count_close(&self, code: u16) {
        let index = CLOSE_CODES.iter().position(|known| *known == code).unwrap_or(CLOSE_CODES.len());
        if let Some(cell) = self.closes.get(index) {
            cell.add(1);
        }
    }
}
