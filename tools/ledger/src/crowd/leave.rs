//! How connections end and how their clients react: they reconnect when they should, or move before they must.

use super::client::{Kind, backoff};
use super::link::{Command, Link, Pending, Stage, Until};
use super::{Crowd, Timer};
use crate::clock::{Micros, SECOND};
use crate::ledger::check::ANSWER_WITHIN;
use crate::ledger::{Close, End, Late};
use seawall_load::frame;

/// Close code of a gateway that is over capacity.
const OVER_CAPACITY: u16 = 1013;
/// The interval at which a retired connection is checked for outstanding answers.
const RETIRE_INTERVAL: Micros = SECOND / 20;
/// The longest time a slow reader needs to notice the end of its connection.
const READ_PAUSE_MAX: Micros = 10 * SECOND;

/// The purpose of a client's connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It has no connection and reconnects.
    Reconnect,
    /// It has a connection and moves to another.
    Move,
}

impl Crowd {
    /// Handles a close frame.
    pub(super) fn close_came(&mut self, index: usize, payload: &[u8]) {
        let Some(link) = self.links.get_mut(index) else { return };
        let code = match payload {
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => 1005,
        };
        *self.ledger.life(link.life).closes.entry(code).or_default() += 1;
        if link.stage == Stage::Leaving {
            return self.remove(index, End::Ours);
        }
        link.queue(frame::CLOSE, &code.to_be_bytes());
        link.flush();
        let (bye, client) = (link.bye.is_some(), link.client);
        if !self.is_shut_out(client, code) && is_final(code) {
            self.ledger.odd(format!("a well-behaved client was closed with {code}"));
        }
        self.remove(index, End::Server { code, bye });
    }

    /// Handles the end of the stream.
    pub(super) fn over(&mut self, index: usize) {
        match self.links.get(index).map(|link| &link.stage) {
            Some(Stage::Upgrading) => self.upgrade_failed(index),
            Some(Stage::Leaving) => self.remove(index, End::Ours),
            Some(Stage::Connecting | Stage::Joining | Stage::Live) => self.remove(index, End::Vanished),
            None => {}
        }
    }

    /// Handles a failed connection attempt.
    pub(super) fn upgrade_failed(&mut self, index: usize) {
        let Some(link) = self.links.try_remove(index) else { return };
        self.ledger.life(link.life).refused_upgrades += 1;
        self.forget(index, &link, None);
    }

    /// Ends a connection without a close frame.
    pub(super) fn drop_link(&mut self, index: usize) {
        self.remove(index, End::Dropped);
    }

    /// Ends a connection that took too long.
    pub(super) fn give_up(&mut self, index: usize) {
        match self.links.get(index).map(|link| (link.stage.clone(), link.life)) {
            Some((Stage::Upgrading, _)) => self.upgrade_failed(index),
            Some((Stage::Leaving, life)) => {
                // The gateway may have counted a close frame that never came.
                self.ledger.life(life).lost += 1;
                self.remove(index, End::Ours);
            }
            Some((Stage::Connecting | Stage::Joining | Stage::Live, _)) => {
                self.ledger.remark(self.now, "closed a silent connection");
                self.drop_link(index);
            }
            None => {}
        }
    }

    fn remove(&mut self, index: usize, end: End) {
        let Some(mut link) = self.links.try_remove(index) else { return };
        let is_slow = self.is_slow(link.client);
        let since = if is_slow { self.now.saturating_sub(READ_PAUSE_MAX) } else { self.now };
        let client = self.base + link.client;
        self.ledger.closed(Close { at: self.now, since, link: link.number, client, slot: link.slot, end });
        let life = self.ledger.life(link.life);
        if matches!(end, End::Dropped | End::Vanished) {
            life.lost += 1;
        }
        life.unanswered += link.pending.len() as u64;
        if let Some(run) = link.arrivals.take() {
            self.ledger.arrived(run);
        }
        for pending in std::mem::take(&mut link.pending) {
            if let Some(late) = Crowd::lateness(&link, pending, self.now).filter(|_| !is_slow) {
                self.ledger.late(late);
            }
            if let Command::Publish(n) = pending.what {
                self.unanswered(link.client, n);
            }
        }
        let code = if let End::Server { code, .. } = end { Some(code) } else { None };
        self.forget(index, &link, code);
    }

    /// Updates the client of a connection that has ended.
    fn forget(&mut self, index: usize, link: &Link, code: Option<u16>) {
        let client = link.client;
        let hint = link.bye.flatten().map(|ms| ms * 1_000);
        let was_stable = link.connected > 0 && self.now >= link.connected + link.stable;
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        if it.pulling == Some(index) {
            it.pulling = None;
        }
        if code == Some(OVER_CAPACITY) {
            it.attempts += 1;
        }
        if it.next == Some(index) {
            it.next = None;
            self.try_again(client, hint, Attempt::Move);
        } else if it.current == Some(index) {
            if was_stable {
                it.attempts = 0;
            }
            it.current = it.next.take();
            if it.current.is_none() {
                self.try_again(client, hint, Attempt::Reconnect);
            } else {
                self.pull(client);
                self.send_what_is_due(client);
            }
        }
        self.settle(client);
    }

    /// Schedules another attempt: when the server said, else by the backoff.
    pub(super) fn try_again(&mut self, client: u32, hint: Option<Micros>, attempt: Attempt) {
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        if self.finishing.is_some() || !it.is_wanted {
            return;
        }
        let (attempts, timer) = match attempt {
            Attempt::Reconnect => (&mut it.attempts, Timer::Dial(client)),
            Attempt::Move => (&mut it.move_attempts, Timer::Move(client)),
        };
        let wait = hint.unwrap_or_else(|| backoff(*attempts, fastrand::f64()));
        *attempts += 1;
        self.later(wait, timer);
    }

    /// Handles `drain`: a client that knows it moves in its slot.
    pub(super) fn drain_came(&mut self, index: usize, client: u32, slot: Micros) {
        let Some(link) = self.links.get_mut(index) else { return };
        link.draining = true;
        let life = link.life;
        self.ledger.life(life).drains += 1;
        if self.clients.get(client as usize).is_some_and(|it| it.role.kind != Kind::Naive) {
            self.later(slot, Timer::Move(client));
        }
    }

    /// Opens the connection to move to.
    pub(super) fn begin_move(&mut self, client: u32) {
        let Some(it) = self.clients.get(client as usize) else { return };
        let leaves = it.current.and_then(|index| self.links.get(index)).filter(|link| link.draining);
        if let Some(slot) = leaves.map(|link| link.slot)
            && it.is_wanted
            && it.next.is_none()
        {
            self.dial(client, Some(slot));
        }
    }

    /// Makes the new connection current, once it has everything. The old one ends when its answers are complete.
    pub(super) fn promote(&mut self, client: u32) {
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        let Some(next) = it.next.take() else { return };
        it.move_attempts = 0;
        // A page requested on the old connection still counts.
        let old = it.current.replace(next);
        if let Some(old) = old
            && let Some(number) = self.links.get(old).map(|link| link.number)
        {
            self.retire(old, number);
        }
    }

    pub(super) fn retire(&mut self, index: usize, number: u32) {
        let Some(link) = self.links.get(index).filter(|link| link.number == number) else { return };
        let waits = link.pending.iter().any(|pending| self.now < pending.sent + ANSWER_WITHIN);
        if waits {
            return self.later(RETIRE_INTERVAL, Timer::Retire(index, number));
        }
        self.leave(index);
    }

    pub(super) fn leave(&mut self, index: usize) {
        let Some(link) = self.links.get_mut(index) else { return };
        link.stage = Stage::Leaving;
        link.heard = self.now;
        link.paused_until = 0;
        link.queue(frame::CLOSE, &1000u16.to_be_bytes());
        self.mark_dirty(index);
    }

    /// Drops all connections, or all to one place, at once.
    pub(super) fn storm(&mut self, slot: Option<u8>) {
        let lost: Vec<usize> = self
            .links
            .iter()
            .filter(|(_, link)| slot.is_none_or(|slot| slot == link.slot))
            .map(|(index, _)| index)
            .collect();
        lost.into_iter().for_each(|index| match self.links.get(index).map(|link| &link.stage) {
            Some(Stage::Upgrading) | None => {}
            Some(Stage::Connecting | Stage::Joining | Stage::Live | Stage::Leaving) => self.drop_link(index),
        });
    }

    /// Makes a slow reader stop or resume reading.
    pub(super) fn toggle_reading(&mut self, index: usize, number: u32, buffer: &mut [u8]) {
        let Some(link) = self.links.get_mut(index).filter(|link| link.number == number) else { return };
        if self.finishing.is_some() || link.stage == Stage::Leaving {
            return;
        }
        let wait = if link.paused_until > 0 {
            link.paused_until = 0;
            link.heard = self.now;
            self.readable(index, buffer, Until::TheEnd);
            SECOND + fastrand::u64(..SECOND)
        } else {
            let wait = 2 * SECOND + fastrand::u64(..READ_PAUSE_MAX - 3 * SECOND);
            link.paused_until = self.now + wait;
            wait
        };
        self.later(wait, Timer::ToggleReading(index, number));
    }

    /// Makes all clients leave for good.
    pub(super) fn finish(&mut self) {
        if self.finishing.is_some() {
            return;
        }
        self.finishing = Some(self.now);
        self.rate = 0.0;
        self.timers.clear();
        self.leave_all();
    }

    /// Makes all clients leave until they are ordered to connect again.
    pub(super) fn stay_away(&mut self) {
        for it in &mut self.clients {
            (it.is_wanted, it.attempts) = (false, 0);
        }
        self.leave_all();
    }

    fn leave_all(&mut self) {
        let all: Vec<usize> = self.links.iter().map(|(index, _)| index).collect();
        for index in all {
            match self.links.get(index).map(|link| &link.stage) {
                Some(Stage::Upgrading) => self.upgrade_failed(index),
                Some(Stage::Connecting | Stage::Joining | Stage::Live) => self.leave(index),
                Some(Stage::Leaving) | None => {}
            }
        }
    }

    /// Moves the remaining records to the ledger at the end of the run.
    pub(super) fn hand_over(&mut self) {
        self.note_absent();
        let left: Vec<usize> = self.links.iter().map(|(index, _)| index).collect();
        left.into_iter().for_each(|index| self.drop_link(index));
        for (n, _) in self.clients.iter().filter_map(|it| it.outgoing) {
            if let Some(it) = self.ledger.publications.get_mut(n as usize) {
                it.is_open = true;
            }
        }
        self.seen.over.store(true, std::sync::atomic::Ordering::Release);
    }

    /// The record of a command that waited longer than allowed.
    pub(super) fn lateness(link: &Link, pending: Pending, until: Micros) -> Option<Late> {
        let what = pending.what.name();
        let late = Late { link: link.number, slot: link.slot, what, sent: pending.sent, until };
        (until > pending.sent + ANSWER_WITHIN).then_some(late)
    }
}

fn is_final(code: u16) -> bool {
    matches!(code, 1000 | 1002 | 1007 | 1009 | 4500..=4999)
}
