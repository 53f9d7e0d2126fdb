//! The ledger: every attempt, answer, arrival and end, each with its time.
//!
//! It only records what the clients observed. [`check`] judges it against the final contents of the store.

pub mod check;
mod journal;
mod run;
#[cfg(test)]
mod tests;

pub use journal::Journal;
pub use run::{Arrivals, Begin};

use crate::clock::Micros;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The history of one publication, over all its attempts.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    pub channel: u16,
    /// When it was first sent.
    pub sent: Micros,
    /// The number of attempts.
    pub sends: u32,
    /// Attempts with an unknown outcome: no answer before the connection ended, or `unconfirmed`.
    pub doubts: u32,
    /// Attempts that were certainly refused.
    pub refusals: u32,
    /// True while an attempt awaits its answer.
    pub is_open: bool,
    /// The offset of the first acknowledgement.
    pub offset: Option<u64>,
    /// True if it was acknowledged as a duplicate although every earlier attempt had been certainly refused.
    pub was_known: bool,
    /// Another offset that a later acknowledgement gave.
    pub other_offset: Option<u64>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With our own close frame.
    Ours,
    /// From our side without a close frame: a storm, or silence.
    Dropped,
    /// With the server's close frame.
    Server {
        code: u16,
        /// True if `bye` came before.
        bye: bool,
    },
    /// The stream ended without a close frame.
    Vanished,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// When it was noticed.
    pub at: Micros,
    /// The earliest time it can have happened: a slow reader notices late.
    pub since: Micros,
    pub link: u32,
    pub client: u32,
    /// The place of its gateway.
    pub slot: u8,
    pub end: End,
}

/// A command that was not answered within five seconds.
#[derive(Clone, Copy, Debug)]
pub struct Late {
    pub link: u32,
    /// The place of its gateway.
    pub slot: u8,
    /// The command's name.
    pub what: &'static str,
    pub sent: Micros,
    /// When it was answered, or when the connection or the run ended.
    pub until: Micros,
}

/// The effects that a fault excuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// Connections end without a close frame.
    Vanish,
    Late,
    Both,
}

/// A time in which certain effects are excused.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from: Micros,
    pub to: Micros,
    /// The place it applies to; `None` for all.
    pub slot: Option<u8>,
    pub excuse: Excuse,
}

/// The clients' view of one process, in terms of `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Sockets dialled.
    pub dialled: u64,
    /// Upgrades accepted.
    pub upgraded: u64,
    /// Upgrades answered with another status than 101, or not at all.
    pub refused_upgrades: u64,
    pub commands: u64,
    /// Commands answered.
    pub answered: u64,
    /// `published` received.
    pub published: u64,
    /// `error` received, by code.
    pub errors: BTreeMap<String, u64>,
    /// Publications received live.
    pub deliveries: u64,
    /// Publications received between a subscription and its `synced`.
    pub replayed: u64,
    /// Close frames received, by code, including answers to ours.
    pub closes: BTreeMap<u16, u64>,
    /// `bye` received, by code.
    pub byes: BTreeMap<u16, u64>,
    /// `drain` received.
    pub drains: u64,
    /// Connections that ended without the server's close frame, so that messages may have been lost.
    pub lost: u64,
    /// Commands whose answers were lost with these connections.
    pub unanswered: u64,
}

/// The contents of `published`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub offset: u64,
    /// True if it was already stored.
    pub duplicate: bool,
}

/// A connection from its `connected` on.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub link: u32,
    pub client: u32,
    pub at: Micros,
}

/// The time of one acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// When the acknowledged attempt was sent.
    pub sent: Micros,
    /// Microseconds until the answer.
    pub took: u32,
}

/// The records of one crowd.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Publications, by number.
    pub publications: Vec<Publication>,
    /// By channel and offset: the number of the publication seen there, plus one.
    pub seen: Vec<Vec<u32>>,
    /// The publications received, as unbroken runs; those of one connection are in order.
    pub runs: Vec<Arrivals>,
    /// The channel and offset after which each client listens; `None` if it has not subscribed yet.
    pub starts: Vec<Option<(u16, u64)>>,
    pub closes: Vec<Close>,
    /// Answers that came late or never.
    pub lates: Vec<Late>,
    /// Descriptions of everything the protocol does not allow.
    pub oddities: Vec<String>,
    /// Counters by process, in the order of their starts.
    pub lives: Vec<Counts>,
    /// Acknowledged publishes.
    pub answers: Vec<Answered>,
    /// Each `connected` of a client that had been connected before.
    pub returns: Vec<(Micros, u32)>,
    /// Publications that did not arrive by themselves and were discovered by a beat.
    pub found_by_beat: u64,
    /// Pages of history requested to fill holes.
    pub pages: u64,
    /// `lag` messages received.
    pub lags: u64,
    /// Each `connected`: connection, client, time.
    pub sessions: Vec<Session>,
    /// Clients that are away at the end, because the scenario wants it.
    pub away: BTreeSet<u32>,
    /// Leaves that a watcher was sent although the user was connected all the time.
    pub false_leaves: Vec<String>,
    journal: Journal,
}

impl Ledger {
    /// Creates an empty ledger that also writes each event to the journal.
    pub fn new(journal: Journal) -> Ledger {
        Ledger { journal, ..Ledger::default() }
    }

    /// The counters of this process.
    pub fn life(&mut self, life: u16) -> &mut Counts {
        let life = usize::from(life);
        if self.lives.len() <= life {
            self.lives.resize_with(life + 1, Counts::default);
        }
        self.lives.get_mut(life).expect("just created")
    }

    /// Creates a publication and returns its number.
    pub fn new_publication(&mut self, channel: u16, at: Micros) -> u32 {
        self.publications.push(Publication { channel, sent: at, ..Publication::default() });
        self.publications.len() as u32 - 1
    }

    /// Records an attempt.
    pub fn sent(&mut self, n: u32, link: u32, at: Micros) {
        let Some(it) = self.publications.get_mut(n as usize) else { return };
        it.sends += 1;
        it.is_open = true;
        let channel = it.channel;
        self.journal.line(at, || json!({ "send": n, "channel": channel, "link": link }));
    }

    /// Records an acknowledgement.
    pub fn stored(&mut self, n: u32, Acknowledged { offset, duplicate }: Acknowledged, at: Micros) {
        let Some(it) = self.publications.get_mut(n as usize) else { return };
        it.is_open = false;
        match it.offset {
            None => {
                it.was_known = duplicate && it.doubts == 0;
                it.offset = Some(offset);
            }
            Some(first) if first == offset && duplicate => {}
            Some(_) => it.other_offset = Some(offset),
        }
        let channel = it.channel;
        self.saw(channel, offset, n);
        self.journal.line(at, || json!({ "published": n, "offset": offset, "duplicate": duplicate }));
    }

    /// Records a certain refusal.
    pub fn refused(&mut self, n: u32, code: &str, at: Micros) {
        let Some(it) = self.publications.get_mut(n as usize) else { return };
        it.is_open = false;
        it.refusals += 1;
        self.journal.line(at, || json!({ "refused": n, "code": code }));
    }

    /// Records an attempt with an unknown outcome.
    pub fn doubted(&mut self, n: u32, why: &str, at: Micros) {
        let Some(it) = self.publications.get_mut(n as usize) else { return };
        it.is_open = false;
        it.doubts += 1;
        self.journal.line(at, || json!({ "unknown": n, "because": why }));
    }

    /// Records that a publication was seen at this offset, in an answer, a push or a page.
    pub fn saw(&mut self, channel: u16, offset: u64, n: u32) {
        let channel = usize::from(channel);
        if self.seen.len() <= channel {
            self.seen.resize_with(channel + 1, Vec::new);
        }
        let Some(places) = self.seen.get_mut(channel) else { return };
        let Ok(at) = usize::try_from(offset) else { return };
        if places.len() <= at {
            places.resize(at + 1, 0);
        }
        let Some(place) = places.get_mut(at) else { return };
        if *place == 0 {
            *place = n + 1;
        } else if *place != n + 1 {
            let first = *place - 1;
            self.odd(format!(
                "channel {channel}, offset {offset}: publication {first} for one, {n} for another"
            ));
        }
    }

    /// Records a completed run.
    pub fn arrived(&mut self, run: Arrivals) {
        self.journal.line(run.to, || run.json());
        self.runs.push(run);
    }

    /// Records that a client listens from this head on.
    pub fn listens(&mut self, client: u32, channel: u16, head: u64) {
        let client = client as usize;
        if self.starts.len() <= client {
            self.starts.resize(client + 1, None);
        }
        if let Some(start) = self.starts.get_mut(client) {
            start.get_or_insert((channel, head));
        }
    }

    /// Records an accepted connection.
    pub fn opened(&mut self, link: u32, client: u32, life: u16, at: Micros) {
        self.journal.line(at, || json!({ "open": link, "client": client, "life": life }));
    }

    /// Records that a connection became a session.
    pub fn began(&mut self, link: u32, client: u32, at: Micros) {
        self.sessions.push(Session { link, client, at });
    }

    /// Records a leave that is not true.
    pub fn false_leave(&mut self, what: String) {
        if self.false_leaves.len() < 1_000 {
            self.false_leaves.push(what);
        }
    }

    /// Records the end of a connection.
    pub fn closed(&mut self, close: Close) {
        self.journal.line(close.at, || {
            json!({ "close": close.link, "client": close.client, "slot": close.slot, "end": format!("{:?}", close.end) })
        });
        self.closes.push(close);
    }

    /// Records a command that waited too long.
    pub fn late(&mut self, late: Late) {
        self.journal.line(
            late.until,
            || json!({ "late": late.what, "link": late.link, "us": late.until.saturating_sub(late.sent) }),
        );
        self.lates.push(late);
    }

    /// Records something the protocol does not allow.
    pub fn odd(&mut self, what: String) {
        if self.oddities.len() < 1_000 {
            self.oddities.push(what);
        }
    }

    /// Writes a remark to the journal.
    pub fn remark(&mut self, at: Micros, what: &str) {
        self.journal.line(at, || json!({ "remark": what }));
    }

    /// Adds the records of another crowd, whose clients have other numbers and publish nothing.
    pub fn absorb(&mut self, other: Ledger) {
        for (channel, places) in other.seen.iter().enumerate() {
            for (offset, place) in places.iter().enumerate().filter(|(_, place)| **place > 0) {
                self.saw(channel as u16, offset as u64, place - 1);
            }
        }
        self.runs.extend(other.runs);
        let most = self.starts.len().max(other.starts.len());
        self.starts.resize(most, None);
        for (own, start) in self.starts.iter_mut().zip(other.starts) {
            *own = own.or(start);
        }
        self.closes.extend(other.closes);
        self.lates.extend(other.lates);
        self.oddities.extend(other.oddities);
        self.returns.extend(other.returns);
        self.found_by_beat += other.found_by_beat;
        self.pages += other.pages;
        self.lags += other.lags;
        self.sessions.extend(other.sessions);
        self.away.extend(other.away);
        self.false_leaves.extend(other.false_leaves);
        for (life, counts) in other.lives.into_iter().enumerate() {
            self.life(life as u16).absorb(counts);
        }
    }

    /// Flushes the journal.
    ///
    /// # Errors
    ///
    /// Returns the file's error.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.journal.flush()
    }
}

impl Counts {
    /// Adds another crowd's counters of the same process.
    pub fn absorb(&mut self, other: Counts) {
        self.dialled += other.dialled;
        self.upgraded += other.upgraded;
        self.refused_upgrades += other.refused_upgrades;
        self.commands += other.commands;
        self.answered += other.answered;
        self.published += other.published;
        self.deliveries += other.deliveries;
        self.replayed += other.replayed;
        self.drains += other.drains;
        self.lost += other.lost;
        self.unanswered += other.unanswered;
        other.errors.into_iter().for_each(|(code, count)| *self.errors.entry(code).or_default() += count);
        other.closes.into_iter().for_each(|(code, count)| *self.closes.entry(code).or_default() += count);
        other.byes.into_iter().for_each(|(code, count)| *self.byes.entry(code).or_default() += count);
    }
}
