//! The ledger: what was tried, what was answered, what arrived and what ended, each with its time.
//!
//! It only takes down what the clients saw and decides nothing. What it means is [`check`]'s, which is given what the
//! store has at the end.

pub mod check;
mod journal;
mod run;
#[cfg(test)]
mod tests;

pub use journal::Journal;
pub use run::{Begin, Run};

use crate::clock::Micros;
use serde_json::json;
use std::collections::BTreeMap;

/// What happened to one publication, over all its tries.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// Its channel.
    pub channel: u16,
    /// When it was first sent.
    pub sent: Micros,
    /// How often it was sent.
    pub sends: u32,
    /// Of these, how many came to no known end: no answer before the connection ended, or `unconfirmed`.
    pub doubts: u32,
    /// Of these, how many were refused for certain.
    pub refusals: u32,
    /// A try of it waits for its answer.
    pub is_open: bool,
    /// Where it was acknowledged first.
    pub offset: Option<u64>,
    /// It was acknowledged as one that had been there, although every try before had been refused for certain.
    pub was_known: bool,
    /// It was acknowledged again somewhere else.
    pub other_offset: Option<u64>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By our own close frame.
    Ours,
    /// By us, without a close frame: a storm, or silence.
    Dropped,
    /// By the server's close frame, with or without a `bye` before it.
    Server {
        /// Its code.
        code: u16,
        /// Whether `bye` came before.
        bye: bool,
    },
    /// The stream was over without a close frame.
    Vanished,
}

/// A connection that ended.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// When it was noticed.
    pub at: Micros,
    /// When it happened at the earliest: a slow reader notices late.
    pub since: Micros,
    /// Which connection.
    pub link: u32,
    /// Whose.
    pub client: u32,
    /// At which of the places for gateways.
    pub slot: u8,
    /// How.
    pub end: End,
}

/// A command that was not answered within the promised five seconds.
#[derive(Clone, Copy, Debug)]
pub struct Late {
    /// Which connection.
    pub link: u32,
    /// At which of the places for gateways.
    pub slot: u8,
    /// What it was.
    pub what: &'static str,
    /// When it was sent.
    pub sent: Micros,
    /// When it was answered, or the connection ended, or the run.
    pub until: Micros,
}

/// What a fault excuses while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// Connections end without a word.
    Vanish,
    /// Answers are late.
    Late,
    /// Both.
    Both,
}

/// A time in which something is excused.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// From when.
    pub from: Micros,
    /// Until when.
    pub to: Micros,
    /// At which place; at all of them without one.
    pub slot: Option<u8>,
    /// What.
    pub excuse: Excuse,
}

/// What the clients saw of one process, in the words of `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Sockets that were dialled.
    pub dialled: u64,
    /// Upgrades that were accepted.
    pub upgraded: u64,
    /// Upgrades that were answered with another status than 101, or not at all.
    pub turned_away: u64,
    /// Commands sent.
    pub commands: u64,
    /// Commands that were answered.
    pub answered: u64,
    /// `published` that came.
    pub published: u64,
    /// `error` that came, by code.
    pub errors: BTreeMap<String, u64>,
    /// Publications that were pushed to us when they came.
    pub deliveries: u64,
    /// Publications that were pushed to us between a subscription and its `synced`.
    pub replayed: u64,
    /// Close frames that came, answers to ours included, by code.
    pub closes: BTreeMap<u16, u64>,
    /// `bye` that came, by code.
    pub byes: BTreeMap<u16, u64>,
    /// `drain` that came.
    pub drains: u64,
    /// Connections that ended without the server's close frame: something may have been lost on them.
    pub lost: u64,
    /// Commands whose answers were lost with them.
    pub unanswered: u64,
}

/// What `published` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Where it is.
    pub offset: u64,
    /// Whether it had been there.
    pub duplicate: bool,
}

/// An answer `published`: when its publish was sent, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// When the try that was answered was sent.
    pub sent: Micros,
    /// Microseconds until the answer.
    pub took: u32,
}

/// What one crowd saw.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By number.
    pub publications: Vec<Publication>,
    /// By channel and offset: the number of the publication that was seen there, plus one.
    pub seen: Vec<Vec<u32>>,
    /// What arrived, in unbroken runs; the runs of one connection in their order.
    pub runs: Vec<Run>,
    /// From which offset on each client listens, by its number; `None`: it never came so far.
    pub starts: Vec<Option<(u16, u64)>>,
    /// Ends of connections.
    pub closes: Vec<Close>,
    /// Answers that came late or never.
    pub lates: Vec<Late>,
    /// What no honest gateway says, described.
    pub oddities: Vec<String>,
    /// By process, in the order of their starts.
    pub lives: Vec<Counts>,
    /// Acknowledged publishes.
    pub answers: Vec<Answered>,
    /// Each `connected` of a client that had been connected before.
    pub returns: Vec<(Micros, u32)>,
    /// Heads that only a beat told: publications that did not come by themselves.
    pub told_by_beat: u64,
    /// Pages of history that clients asked for to fill holes.
    pub pages: u64,
    /// Times a client was told that it lagged.
    pub lags: u64,
    journal: Journal,
}

impl Ledger {
    /// An empty one, that writes each event to the journal as well.
    pub fn new(journal: Journal) -> Ledger {
        Ledger { journal, ..Ledger::default() }
    }

    /// What the clients saw of this process.
    pub fn life(&mut self, life: u16) -> &mut Counts {
        let life = usize::from(life);
        if self.lives.len() <= life {
            self.lives.resize_with(life + 1, Counts::default);
        }
        self.lives.get_mut(life).expect("just made")
    }

    /// A new publication; its number.
    pub fn new_publication(&mut self, channel: u16, at: Micros) -> u32 {
        self.publications.push(Publication { channel, sent: at, ..Publication::default() });
        self.publications.len() as u32 - 1
    }

    /// It is sent, the first time or again.
    pub fn sent(&mut self, n: u32, link: u32, at: Micros) {
        let Some(it) = self.publications.get_mut(n as usize) else { return };
        it.sends += 1;
        it.is_open = true;
        let channel = it.channel;
        self.journal.line(at, || json!({ "send": n, "channel": channel, "link": link }));
    }

    /// It was acknowledged.
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

    /// It was refused for certain.
    pub fn refused(&mut self, n: u32, code: &str, at: Micros) {
        let Some(it) = self.publications.get_mut(n as usize) else { return };
        it.is_open = false;
        it.refusals += 1;
        self.journal.line(at, || json!({ "refused": n, "code": code }));
    }

    /// It is not known what became of this try.
    pub fn doubted(&mut self, n: u32, why: &str, at: Micros) {
        let Some(it) = self.publications.get_mut(n as usize) else { return };
        it.is_open = false;
        it.doubts += 1;
        self.journal.line(at, || json!({ "unknown": n, "because": why }));
    }

    /// A publication was seen at this place, by an answer, a push or a page.
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

    /// A run that is over.
    pub fn arrived(&mut self, run: Run) {
        self.journal.line(run.to, || run.json());
        self.runs.push(run);
    }

    /// A client listens from here on.
    pub fn listens(&mut self, client: u32, channel: u16, head: u64) {
        let client = client as usize;
        if self.starts.len() <= client {
            self.starts.resize(client + 1, None);
        }
        if let Some(start) = self.starts.get_mut(client) {
            start.get_or_insert((channel, head));
        }
    }

    /// A connection was accepted.
    pub fn opened(&mut self, link: u32, client: u32, life: u16, at: Micros) {
        self.journal.line(at, || json!({ "open": link, "client": client, "life": life }));
    }

    /// A connection ended.
    pub fn closed(&mut self, close: Close) {
        self.journal.line(close.at, || {
            json!({ "close": close.link, "client": close.client, "slot": close.slot, "end": format!("{:?}", close.end) })
        });
        self.closes.push(close);
    }

    /// A command that waited too long.
    pub fn late(&mut self, late: Late) {
        self.journal.line(
            late.until,
            || json!({ "late": late.what, "link": late.link, "us": late.until.saturating_sub(late.sent) }),
        );
        self.lates.push(late);
    }

    /// What no honest gateway says.
    pub fn odd(&mut self, what: String) {
        if self.oddities.len() < 1_000 {
            self.oddities.push(what);
        }
    }

    /// Something that somebody who reads the journal should know.
    pub fn remark(&mut self, at: Micros, what: &str) {
        self.journal.line(at, || json!({ "remark": what }));
    }

    /// Takes in what another crowd saw, whose clients have other numbers and publish nothing.
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
        self.told_by_beat += other.told_by_beat;
        self.pages += other.pages;
        self.lags += other.lags;
        for (life, counts) in other.lives.into_iter().enumerate() {
            self.life(life as u16).absorb(counts);
        }
    }

    /// Writes out what the journal holds.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.journal.flush()
    }
}

impl Counts {
    /// Adds what another crowd saw of the same process.
    pub fn absorb(&mut self, other: Counts) {
        self.dialled += other.dialled;
        self.upgraded += other.upgraded;
        self.turned_away += other.turned_away;
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
