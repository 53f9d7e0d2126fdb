//! Publishing: a fixed rate over all clients, one unanswered publication per client, each retried until acknowledged.

use super::client::{Kind, Outgoing};
use super::link::{Command, Pending, Stage};
use super::message::{channel_name, key};
use super::{Crowd, Seen, Timer};
use crate::clock::{Micros, SECOND};
use crate::ledger::Acknowledged;
use seawall_load::frame;

/// How many times longer publications of channel 0 are.
const LOUD: usize = 30;
/// One in this many certainly refused publications is given up by its author; it must never be stored.
const DROPPED: u32 = 4;
/// The maximum number of publishes to catch up after a pause.
const CREDIT_MAX: f64 = 200.0;

impl Crowd {
    /// Publishes at the given rate, with clients taking turns.
    pub(super) fn publish_what_is_due(&mut self) {
        let since = self.now - std::mem::replace(&mut self.paid, self.now).min(self.now);
        self.credit = (self.credit + self.rate * since as f64 / SECOND as f64).min(CREDIT_MAX);
        while self.credit >= 1.0 {
            self.credit -= 1.0;
            if !self.publish_from_a_free_client() {
                self.seen.skipped.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
            }
        }
    }

    /// Publishes from one free client. False if many clients were tried and none was free.
    fn publish_from_a_free_client(&mut self) -> bool {
        for _ in 0..self.clients.len().min(64) {
            let author = self.next_author;
            self.next_author = (author + 1) % self.clients.len();
            let Some(it) = self.clients.get_mut(author) else { continue };
            let is_free = it.role.kind != Kind::Slow && it.outgoing.is_none() && it.last.is_some();
            let is_live =
                it.current.and_then(|index| self.links.get(index)).is_some_and(|it| it.stage == Stage::Live);
            if !is_free || !is_live {
                continue;
            }
            let n = self.ledger.new_publication(it.channel, self.now);
            it.outgoing = Some((n, Outgoing::Due(self.now)));
            self.unresolved += 1;
            self.send_what_is_due(author as u32);
            return true;
        }
        false
    }

    /// Sends a client's publication if it is due and there is a connection.
    pub(super) fn send_what_is_due(&mut self, client: u32) {
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        let Some((n, Outgoing::Due(at))) = it.outgoing else { return };
        let Some(index) = it.current else { return };
        let Some(link) = self.links.get(index) else { return };
        if at > self.now || !matches!(link.stage, Stage::Live | Stage::Joining) {
            return;
        }
        it.outgoing = Some((n, Outgoing::Sent));
        let channel = it.channel;
        let bytes = if channel == 0 { self.payload * LOUD } else { self.payload };
        let (name, key) = (channel_name(channel), key(self.run, n));
        let filling = "x".repeat(bytes);
        let number = link.number;
        self.ledger.sent(n, number, self.now);
        self.command(index, Command::Publish(n), |id| {
            format!(
                "{{\"id\":{id},\"publish\":{{\"channel\":\"{name}\",\"key\":\"{key}\",\"data\":{{\"n\":{n},\"text\":\"{filling}\"}}}}}}"
            )
        });
    }

    /// Sends a command and registers it as pending.
    pub(super) fn command(&mut self, index: usize, what: Command, text: impl FnOnce(u64) -> String) {
        let Some(link) = self.links.get_mut(index) else { return };
        let id = link.next_id;
        link.next_id += 1;
        link.pending.push(Pending { id, what, sent: self.now });
        link.queue(frame::TEXT, text(id).as_bytes());
        let life = link.life;
        self.ledger.life(life).commands += 1;
        self.mark_dirty(index);
    }

    /// Handles the acknowledgement of a publication.
    pub(super) fn acknowledged(&mut self, client: u32, n: u32, answer: Acknowledged) {
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        let channel = it.channel;
        if it.outgoing.is_some_and(|(own, _)| own == n) {
            it.outgoing = None;
            self.unresolved -= 1;
        }
        self.ledger.stored(n, answer, self.now);
        self.heard_of(channel, answer.offset);
        self.seen.stored.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        Seen::write(&self.seen.unresolved, self.unresolved);
    }

    /// Handles an error reply: a certain refusal, or an unknown outcome.
    pub(super) fn refused(&mut self, client: u32, n: u32, code: &str, retry: Option<Micros>) {
        let is_certain = match code {
            "unavailable" | "overloaded" | "draining" | "rate_limited" => true,
            "unconfirmed" => false,
            _ => {
                self.ledger.odd(format!("publication {n} was answered {code}"));
                true
            }
        };
        if is_certain {
            self.ledger.refused(n, code, self.now);
        } else {
            self.ledger.doubted(n, code, self.now);
        }
        let had_doubts = self.ledger.publications.get(n as usize).is_some_and(|it| it.doubts > 0);
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        if it.outgoing.is_none_or(|(own, _)| own != n) {
            return;
        }
        if !had_doubts && n.is_multiple_of(DROPPED) {
            it.outgoing = None;
            self.unresolved -= 1;
            return;
        }
        let wait = retry.unwrap_or(SECOND);
        it.outgoing = Some((n, Outgoing::Due(self.now + wait)));
        self.later(wait, Timer::Send(client));
    }

    /// Handles a connection that ended without an answer: the same key is sent again on the next one.
    pub(super) fn unanswered(&mut self, client: u32, n: u32) {
        self.ledger.doubted(n, "the connection ended", self.now);
        if let Some(it) = self.clients.get_mut(client as usize)
            && it.outgoing.is_some_and(|(own, _)| own == n)
        {
            it.outgoing = Some((n, Outgoing::Due(self.now)));
            self.later(0, Timer::Send(client));
        }
    }
}
