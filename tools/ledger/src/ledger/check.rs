//! Compares the ledger with the store and lists every broken promise.

use super::{Arrivals, Begin, End, Excuse, Ledger, Publication, Window};
use crate::clock::{Micros, SECOND, seconds};
use std::collections::HashSet;

/// The time limit for the answer to a command, with half a second added for transport and a busy machine.
pub const ANSWER_WITHIN: Micros = 5 * SECOND + SECOND / 2;
/// How long after its end a fault may still show effects.
const AFTER: Micros = SECOND;

/// A promise of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Every acknowledged publication is in the store, at the offset it was acknowledged with.
    Kept,
    /// No publication is stored twice.
    Once,
    /// No refused publication is stored.
    Refused,
    /// Everything stored was sent by a client, and offsets have no gap.
    Sound,
    /// No subscriber misses a publication without `lag`.
    NoGap,
    /// No subscriber gets a publication twice, or out of order, on one connection.
    InOrder,
    /// Every subscriber has everything at the end.
    Complete,
    /// All clients see the same publication at the same offset.
    Same,
    /// Every command is answered in time.
    Answered,
    /// The server sends `bye` before it closes a connection.
    Bye,
    /// A connection ends without a close frame only because of a fault.
    Stays,
    /// Answers conform to the protocol.
    Sane,
    /// Every publication has a known outcome at the end.
    Resolved,
}

impl Promise {
    pub const ALL: [Promise; 13] = [
        Promise::Kept,
        Promise::Once,
        Promise::Refused,
        Promise::Sound,
        Promise::NoGap,
        Promise::InOrder,
        Promise::Complete,
        Promise::Same,
        Promise::Answered,
        Promise::Bye,
        Promise::Stays,
        Promise::Sane,
        Promise::Resolved,
    ];

    /// The report's name for violations of the promise.
    pub fn measure(self) -> &'static str {
        match self {
            Promise::Kept => "acknowledged but missing",
            Promise::Once => "stored twice",
            Promise::Refused => "refused but stored",
            Promise::Sound => "stored and never sent, or a gap in the log",
            Promise::NoGap => "gaps seen by a subscriber",
            Promise::InOrder => "duplicates and reorderings seen by a subscriber",
            Promise::Complete => "publications a subscriber never got",
            Promise::Same => "offsets where two clients saw different publications",
            Promise::Answered => "commands unanswered after 5 s",
            Promise::Bye => "closes by the server without `bye`",
            Promise::Stays => "connections that vanished without a fault",
            Promise::Sane => "answers the protocol does not allow",
            Promise::Resolved => "publications with an unknown outcome",
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub promise: Promise,
    /// The number of violations that this finding covers.
    pub count: u64,
    /// A description for people.
    pub text: String,
}

/// A channel as the store has it at the end.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The oldest offset retained.
    pub floor: u64,
    /// The newest offset.
    pub head: u64,
    /// Offsets with the publication's number; `None` if the key is not ours.
    pub entries: Vec<(u64, Option<u32>)>,
}

/// Returns all broken promises. `logs` are indexed by channel.
pub fn check(ledger: &Ledger, logs: &[Log], windows: &[Window]) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.store(ledger, logs);
    findings.publications(ledger, logs);
    findings.order(&ledger.runs);
    findings.complete(ledger, logs);
    findings.ends(ledger, windows);
    for text in &ledger.oddities {
        findings.add(Promise::Sane, 1, || text.clone());
    }
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, promise: Promise, count: u64, text: impl FnOnce() -> String) {
        if count > 0 {
            self.0.push(Finding { promise, count, text: text() });
        }
    }

    /// Checks the logs themselves, and against what clients saw at their offsets.
    fn store(&mut self, ledger: &Ledger, logs: &[Log]) {
        let mut stored = HashSet::new();
        for (channel, log) in logs.iter().enumerate() {
            let mut wanted = log.floor;
            for (offset, n) in &log.entries {
                if *offset != wanted {
                    self.add(Promise::Sound, 1, || {
                        format!("channel {channel}: {offset} where {wanted} should be")
                    });
                }
                wanted = offset + 1;
                let sent = n.and_then(|n| ledger.publications.get(n as usize));
                if sent.is_none_or(|sent| usize::from(sent.channel) != channel) {
                    self.add(Promise::Sound, 1, || {
                        format!("channel {channel}, offset {offset}: no client sent it")
                    });
                }
                let Some(n) = *n else { continue };
                if !stored.insert(n) {
                    self.add(Promise::Once, 1, || {
                        format!("publication {n}, again at {offset} of channel {channel}")
                    });
                }
                let seen = ledger.seen.get(channel).and_then(|places| places.get(*offset as usize));
                if seen.is_some_and(|seen| *seen != 0 && *seen != n + 1) {
                    self.add(Promise::Same, 1, || {
                        format!("channel {channel}, offset {offset}: {n} is stored, but a client saw another")
                    });
                }
            }
            if wanted != log.head + 1 {
                self.add(Promise::Sound, 1, || {
                    format!("channel {channel}: ends before {wanted}, its head is {}", log.head)
                });
            }
        }
    }

    /// Checks every publication against its place in the store.
    fn publications(&mut self, ledger: &Ledger, logs: &[Log]) {
        let mut places: Vec<Option<u64>> = vec![None; ledger.publications.len()];
        for (offset, n) in logs.iter().flat_map(|log| &log.entries) {
            if let Some(place) = n.and_then(|n| places.get_mut(n as usize)) {
                place.get_or_insert(*offset);
            }
        }
        for (n, (it, place)) in ledger.publications.iter().zip(places).enumerate() {
            let floor = logs.get(usize::from(it.channel)).map_or(1, |log| log.floor);
            self.publication(n, it, place, floor);
        }
    }

    fn publication(&mut self, n: usize, it: &Publication, place: Option<u64>, floor: u64) {
        match (it.offset, place) {
            (Some(offset), _) if offset < floor => {}
            (Some(offset), Some(place)) if offset == place => {}
            (Some(offset), Some(place)) => self.add(Promise::Kept, 1, || {
                format!("publication {n} was acknowledged at {offset} and is stored at {place}")
            }),
            (Some(offset), None) => {
                self.add(Promise::Kept, 1, || format!("publication {n}, acknowledged at {offset}"));
            }
            (None, Some(place)) if it.refusals > 0 && it.doubts == 0 && !it.is_open => {
                self.add(Promise::Refused, 1, || format!("publication {n} is stored at {place}"));
            }
            (None, None | Some(_)) => {}
        }
        if it.was_known {
            self.add(Promise::Refused, 1, || {
                format!("publication {n}: refused {} times, then acknowledged as a duplicate", it.refusals)
            });
        }
        if let Some(other) = it.other_offset {
            self.add(Promise::Once, 1, || {
                format!("publication {n} was acknowledged at {:?} and then at {other}", it.offset)
            });
        }
        if it.is_open {
            self.add(Promise::Resolved, 1, || format!("publication {n}, sent at {:.3} s", seconds(it.sent)));
        }
    }

    /// Checks what each connection received, run by run.
    fn order(&mut self, runs: &[Arrivals]) {
        let mut pushed: Vec<&Arrivals> = runs.iter().filter(|run| run.begin != Begin::Pulled).collect();
        // The sort is stable, so the runs of one connection keep their order.
        pushed.sort_by_key(|run| (run.link, run.channel));
        let mut before: Vec<&Arrivals> = Vec::new();
        for run in pushed {
            if before.first().is_some_and(|first| (first.link, first.channel) != (run.link, run.channel)) {
                before.clear();
            }
            let most = before.iter().map(|run| run.last).max().unwrap_or(0);
            let who = || format!("client {}, connection {}, channel {}", run.client, run.link, run.channel);
            match run.begin {
                // A subscription starts again at the client's position.
                Begin::Subscribed => before.clear(),
                Begin::Lag { from } if from > most + 1 => {
                    self.add(Promise::NoGap, from - most - 1, || {
                        format!("{}: {most}, then lag from {from}", who())
                    });
                }
                Begin::Lag { .. } | Begin::Pulled => {}
                Begin::Broken if run.first > most + 1 => {
                    self.add(Promise::NoGap, run.first - most - 1, || {
                        format!("{}: {} after {most}, at {:.3} s", who(), run.first, seconds(run.from))
                    });
                }
                Begin::Broken => self.add(Promise::InOrder, 1, || {
                    format!("{}: {} after {most}, at {:.3} s", who(), run.first, seconds(run.from))
                }),
            }
            before.push(run);
        }
    }

    /// Checks that everything each client received, by any way, is complete from its start to the head.
    fn complete(&mut self, ledger: &Ledger, logs: &[Log]) {
        let mut runs: Vec<&Arrivals> = ledger.runs.iter().filter(|run| run.last >= run.first).collect();
        runs.sort_by_key(|run| (run.client, run.first));
        for (client, start) in ledger.starts.iter().enumerate() {
            let Some((channel, start)) = *start else { continue };
            let Some(log) = logs.get(usize::from(channel)) else { continue };
            let mut have = start.max(log.floor.saturating_sub(1));
            let mut lacks = 0;
            let first = runs.partition_point(|run| (run.client as usize) < client);
            for run in runs.get(first..).unwrap_or_default() {
                if run.client as usize != client {
                    break;
                }
                lacks += run.first.saturating_sub(have + 1);
                have = have.max(run.last);
            }
            // A client that is away gets the rest when it comes back.
            if !ledger.away.contains(&(client as u32)) {
                lacks += log.head.saturating_sub(have);
            }
            self.add(Promise::Complete, lacks, || {
                format!(
                    "client {client}, channel {channel}: {lacks} of those after {start}, the head is {}",
                    log.head
                )
            });
        }
    }

    /// Checks ends of connections and late answers, except for those excused by a fault.
    fn ends(&mut self, ledger: &Ledger, windows: &[Window]) {
        let excused = |slot: u8, (from, to): (Micros, Micros), excuse: Excuse, until: Micros| {
            windows.iter().any(|window| {
                window.slot.is_none_or(|own| own == slot)
                    && (window.excuse == excuse || window.excuse == Excuse::Both)
                    && window.from <= to
                    && from <= window.to.saturating_add(AFTER)
                    && until <= window.to.saturating_add(ANSWER_WITHIN)
            })
        };
        for close in &ledger.closes {
            let what = || {
                format!("client {}, connection {}, at {:.3} s", close.client, close.link, seconds(close.at))
            };
            match close.end {
                // No `bye` is required after a violation of RFC 6455 or on a socket that accepts no data.
                End::Ours | End::Dropped | End::Server { bye: true, .. } => {}
                End::Server { code, bye: false } => {
                    self.add(Promise::Bye, 1, || format!("{}: code {code}", what()));
                }
                End::Vanished if excused(close.slot, (close.since, close.at), Excuse::Vanish, 0) => {}
                End::Vanished => self.add(Promise::Stays, 1, what),
            }
        }
        for late in &ledger.lates {
            // A fault delays an answer to at most five seconds after the fault's end.
            let due = (late.sent, late.sent + ANSWER_WITHIN);
            if !excused(late.slot, due, Excuse::Late, late.until) {
                self.add(Promise::Answered, 1, || {
                    let waited = seconds(late.until.saturating_sub(late.sent));
                    format!(
                        "{} on connection {}, sent at {:.3} s: {waited:.3} s",
                        late.what,
                        late.link,
                        seconds(late.sent)
                    )
                });
            }
        }
    }
}
