//! The engine's counts, as plain numbers. The shell publishes them once a turn, so a scrape costs the engine nothing.

use super::count::Count;
use super::slo_tally::SloTally;
use crate::metrics::reactor::{CLOSE_CODES, ReactorCounters};
use crate::wire::fault::HttpFault;
use crate::wire::push::ErrorCode;
use std::cell::Cell;

/// Declares the counts that have a cell of the same name in [`ReactorCounters`].
macro_rules! tally {
    ($($name:ident),* $(,)?) => {
        /// Totals since the start, and current sizes. [`ReactorCounters`] documents each one.
        #[derive(Debug, Default)]
        pub struct Tally {
            $(pub $name: Count,)*
            pub requests_refused: [Count; HttpFault::REASONS.len()],
            pub errors: [Count; ErrorCode::ALL.len()],
            pub closes: [Count; CLOSE_CODES.len() + 1],
            pub slo: SloTally,
            /// Set when one of the three arrays above has changed: most turns leave them as they are.
            rare: Cell<bool>,
        }

        impl Tally {
            /// Publishes every number to the cells that scrapes read.
            pub fn publish(&self, counters: &ReactorCounters) {
                $(counters.$name.set(self.$name.read());)*
                self.slo.publish(&counters.slo);
                if self.rare.take() {
                    let pairs = self.requests_refused.iter().zip(&counters.requests_refused);
                    let pairs = pairs.chain(self.errors.iter().zip(&counters.errors));
                    for (count, cell) in pairs.chain(self.closes.iter().zip(&counters.closes)) {
                        cell.set(count.read());
                    }
                }
            }
        }
    };
}

tally! {
    connections, handshakes_admitted, handshakes_deferred, handshakes_refused, handshake_cost_us, admissions_per_s,
    upgrades, returns_hinted, returns_other, connected, lost, requests, messages_received, commands, publishes, published, deliveries, runs, lagged,
    replay_pages, recovery_reads, recoveries_refused, recoveries_waiting, turns_waiting, signals, pings, beats, statuses, presence_frames, presence_missed, turned_away,
    observed, unconnected, unconnected_displaced, arrivals_over_share, arrivals_dropped, late, live_missed, pending, outbox_bytes, inbound_bytes, inbound_displaced, tail_bytes, channels, subscriptions,
}

impl Tally {
    /// Counts an `error` sent to a client.
    pub(super) fn count_error(&self, code: ErrorCode) {
        self.count(self.errors.get(code.index()));
    }

    /// Counts a refused request by its reason.
    pub(super) fn count_refused(&self, fault: HttpFault) {
        self.count(self.requests_refused.get(fault.index()));
    }

    /// Counts a close frame that we sent.
    pub(super) fn count_close(&self, code: u16) {
        let index = CLOSE_CODES.iter().position(|known| *known == code).unwrap_or(CLOSE_CODES.len());
        self.count(self.closes.get(index));
    }

    fn count(&self, count: Option<&Count>) {
        if let Some(count) = count {
            count.add(1);
            self.rare.set(true);
        }
    }
}
