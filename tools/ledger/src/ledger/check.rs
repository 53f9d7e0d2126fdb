//! What the ledger and the store say together: every broken promise, one by one.

use super::{Begin, End, Excuse, Ledger, Publication, Run, Window};
use crate::clock::{Micros, SECOND, seconds};
use std::collections::HashSet;

/// Within this every command is answered; half a second more is what the way and a busy machine may take.
pub const ANSWER_WITHIN: Micros = 5 * SECOND + SECOND / 2;
/// What a fault did may be seen for so long after it.
const AFTER: Micros = SECOND;

/// A promise that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// An acknowledged publication is in the store, where it was said to be.
    Kept,
    /// No publication is stored twice.
    Once,
    /// What was refused is not stored.
    Refused,
    /// Nothing is stored that nobody sent, and offsets have no gap.
    Sound,
    /// No subscriber is skipped without being told.
    NoGap,
    /// No subscriber gets one twice, or out of order, on one connection.
    InOrder,
    /// Every subscriber has everything in the end.
    Complete,
    /// Everybody sees the same publication at the same place.
    Same,
    /// Every command is answered in time.
    Answered,
    /// A close by the server comes after `bye`.
    Bye,
    /// A connection ends without a close frame only by a fault.
    Stays,
    /// Answers are what the protocol allows.
    Sane,
    /// Nothing is unknown in the end.
    Resolved,
}

impl Promise {
    /// All of them.
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

    /// What is counted when it is broken.
    pub fn measure(self) -> &'static str {
        match self {
            Promise::Kept => "acknowledged but missing",
            Promise::Once => "stored twice",
            Promise::Refused => "refused but stored",
            Promise::Sound => "stored and never sent, or a gap in the log",
            Promise::NoGap => "gaps seen by a subscriber",
            Promise::InOrder => "doubles and reorderings seen by a subscriber",
            Promise::Complete => "publications a subscriber never got",
            Promise::Same => "places where two saw different publications",
            Promise::Answered => "commands unanswered after 5 s",
            Promise::Bye => "closes by the server without `bye`",
            Promise::Stays => "connections that vanished without a fault",
            Promise::Sane => "answers the protocol does not allow",
            Promise::Resolved => "publications whose fate nobody knows",
        }
    }
}

/// One that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub promise: Promise,
    /// How often, where one finding stands for several.
    pub count: u64,
    /// What was seen.
    pub text: String,
}

/// One channel as the store has it at the end.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The oldest that is retained.
    pub floor: u64,
    /// The newest.
    pub head: u64,
    /// Offsets with the number of the publication; `None`: a key that is none of ours.
    pub entries: Vec<(u64, Option<u32>)>,
}

/// Everything that does not hold. `logs` are by channel.
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

    /// The logs themselves, and against what was seen at their places.
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
                        format!("channel {channel}, offset {offset}: nobody sent that")
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
                        format!(
                            "channel {channel}, offset {offset}: {n} in the store, another was seen there"
                        )
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

    /// Every publication against where it is.
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
                format!("publication {n}: refused {} times, and then known already", it.refusals)
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

    /// What each connection got, run by run.
    fn order(&mut self, runs: &[Run]) {
        let mut pushed: Vec<&Run> = runs.iter().filter(|run| run.begin != Begin::Pulled).collect();
        // Stable: those of one connection stay in their order.
        pushed.sort_by_key(|run| (run.link, run.channel));
        let mut before: Vec<&Run> = Vec::new();
        for run in pushed {
            if before.first().is_some_and(|first| (first.link, first.channel) != (run.link, run.channel)) {
                before.clear();
            }
            let most = before.iter().map(|run| run.last).max().unwrap_or(0);
            let who = || format!("client {}, connection {}, channel {}", run.client, run.link, run.channel);
            match run.begin {
                // A subscription begins anew, from where the client is.
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

    /// All that a client got by any way, from its start to the head.
    fn complete(&mut self, ledger: &Ledger, logs: &[Log]) {
        let mut runs: Vec<&Run> = ledger.runs.iter().filter(|run| run.last >= run.first).collect();
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
            lacks += log.head.saturating_sub(have);
            self.add(Promise::Complete, lacks, || {
                format!(
                    "client {client}, channel {channel}: {lacks} of those after {start}, the head is {}",
                    log.head
                )
            });
        }
    }

    /// Ends of connections and late answers, less what a fault excuses.
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
                // A violation of RFC 6455, and a socket that takes nothing, are not told.
                End::Ours | End::Dropped | End::Server { bye: true, .. } => {}
                End::Server { code, bye: false } => {
                    self.add(Promise::Bye, 1, || format!("{}: code {code}", what()));
                }
                End::Vanished if excused(close.slot, (close.since, close.at), Excuse::Vanish, 0) => {}
                End::Vanished => self.add(Promise::Stays, 1, what),
            }
        }
        for late in &ledger.lates {
            // A fault delays an answer to five seconds after its end, and no further.
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
