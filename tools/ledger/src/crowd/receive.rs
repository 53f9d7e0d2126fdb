//! Handles the server's messages as an SDK does.

use super::link::{Command, Got, Stage, Until};
use super::message::{self, Message, Published, Pushed, channel_number, number_of};
use super::role::{token, unix_s};
use super::{Crowd, Kind, Timer};
use crate::clock::{Micros, SECOND};
use crate::gateway::slot_of;
use crate::ledger::Acknowledged;
use seawall_load::frame::{self, Next};
use seawall_load::upgrade::{self, Answer};

impl Crowd {
    /// Reads what is available.
    pub(super) fn readable(&mut self, index: usize, buffer: &mut [u8], until: Until) {
        self.now = crate::clock::now();
        let Some(number) = self.links.get(index).map(|link| link.number) else { return };
        while let Some(link) = self.links.get_mut(index)
            && link.number == number
            && link.paused_until <= self.now
        {
            let (bytes, more) = match link.read(buffer) {
                Got::Over => return self.over(index),
                Got::Drained(0) => return,
                Got::Drained(bytes) => (bytes, until == Until::TheEnd),
                Got::Full => (buffer.len(), true),
            };
            link.heard = self.now;
            let Some(read) = buffer.get(..bytes) else { return };
            if link.partial.is_empty() {
                self.bytes(index, number, read);
            } else {
                let mut all = std::mem::take(&mut link.partial);
                all.extend_from_slice(read);
                self.bytes(index, number, &all);
            }
            if !more {
                return;
            }
        }
    }

    fn bytes(&mut self, index: usize, number: u32, mut bytes: &[u8]) {
        let Some(link) = self.links.get_mut(index) else { return };
        if link.stage == Stage::Upgrading {
            match upgrade::answer(bytes, &link.accept) {
                Answer::Partial => {
                    link.partial = bytes.to_vec();
                    return;
                }
                Answer::Open(length) => {
                    bytes = bytes.get(length..).unwrap_or_default();
                    self.upgraded(index);
                }
                Answer::Refused(_) => return self.upgrade_failed(index),
            }
        }
        while let Some(link) = self.links.get_mut(index)
            && link.number == number
        {
            match frame::next(bytes) {
                Next::Partial => {
                    link.partial = bytes.to_vec();
                    return;
                }
                Next::Broken(why) => {
                    self.ledger.odd(format!("connection {number}: {why}"));
                    return self.drop_link(index);
                }
                Next::Frame(frame) => {
                    bytes = bytes.get(frame.length..).unwrap_or_default();
                    match frame.opcode {
                        frame::TEXT => self.text(index, frame.payload),
                        frame::PING => {
                            link.queue(frame::PONG, frame.payload);
                            self.mark_dirty(index);
                        }
                        frame::CLOSE => self.close_came(index, frame.payload),
                        other => self.ledger.odd(format!("connection {number}: opcode {other}")),
                    }
                }
            }
        }
    }

    fn upgraded(&mut self, index: usize) {
        let Some(link) = self.links.get_mut(index) else { return };
        link.stage = Stage::Connecting;
        link.accept = String::new();
        let (client, number, life) = (link.client, link.number, link.life);
        self.ledger.life(life).upgraded += 1;
        self.ledger.opened(number, self.base + client, life, self.now);
        let cursor =
            self.cursor(index, client).map_or(String::new(), |cursor| format!(",\"recover\":[{cursor}]"));
        let user = self.clients.get(client as usize).and_then(|it| it.role.user);
        let token = user.map_or(String::new(), |user| format!(",\"token\":\"{}\"", token(user, unix_s())));
        self.command(index, Command::Connect, |id| {
            format!("{{\"id\":{id},\"connect\":{{\"client\":\"seawall-ledger\"{token}{cursor}}}}}")
        });
    }

    fn text(&mut self, index: usize, text: &[u8]) {
        if let Some(pushed) = message::pushed(text, self.run) {
            return self.publication(index, pushed);
        }
        match message::read(text) {
            Some(message) => self.message(index, message, text),
            None => self.ledger.odd(format!("not a message: {}", String::from_utf8_lossy(text))),
        }
    }

    fn message(&mut self, index: usize, message: Message<'_>, text: &[u8]) {
        let Some(link) = self.links.get_mut(index) else { return };
        let client = link.client;
        let own = self.clients.get(client as usize).map(|it| it.channel);
        if message.channel().is_some_and(|name| channel_number(name) != own) {
            return self
                .ledger
                .odd(format!("a message of a channel not subscribed: {}", String::from_utf8_lossy(text)));
        }
        if let Some(id) = message.id {
            return self.reply(index, client, id, message);
        }
        if let Some(entry) = &message.publication {
            let n = entry.key.and_then(|key| number_of(self.run, key));
            if let Some(channel) = channel_number(entry.channel) {
                self.publication(index, Pushed { channel, offset: entry.offset, n });
            }
        } else if let Some(synced) = message.synced {
            self.synced(index, client, synced.offset);
        } else if let Some(lag) = message.lag {
            self.lagged(index, client, (lag.from, lag.head));
        } else if let Some(beat) = message.beat {
            self.beat(index, client, beat.heads.into_values().max());
        } else if let Some(drain) = message.drain {
            if let Some(it) = self.clients.get_mut(client as usize) {
                it.hint = drain.to.and_then(slot_of);
            }
            self.drain_came(index, client, drain.slot_ms * 1_000);
        } else if let Some(frame) = &message.presence {
            self.roster(index, client, frame);
        } else if let Some(bye) = message.bye {
            link.bye = Some(bye.retry_ms);
            let life = link.life;
            *self.ledger.life(life).byes.entry(bye.code).or_default() += 1;
            let is_meant = self.clients.get(client as usize).is_some_and(|it| it.role.kind == Kind::ShutOut);
            if bye.terminal && !is_meant {
                self.ledger.odd(format!("a terminal `bye` with {}", bye.code));
            }
        } else if message.status.is_none() {
            self.ledger.odd(format!("an unknown message: {}", String::from_utf8_lossy(text)));
        }
    }

    fn reply(&mut self, index: usize, client: u32, id: u64, message: Message<'_>) {
        let Some(link) = self.links.get_mut(index) else { return };
        let Some(pending) = link.answered(id) else {
            return self.ledger.odd(format!("an answer without a command: {message:?}"));
        };
        let life = link.life;
        let late = Crowd::lateness(link, pending, self.now);
        self.ledger.life(life).answered += 1;
        if let Some(late) = late.filter(|_| !self.is_slow(client)) {
            self.ledger.late(late);
        }
        match (pending.what, message) {
            (Command::Connect, Message { connected: Some(connected), .. }) => {
                self.connected(index, client, (connected.ping_ms, connected.stable_ms));
                match connected.recovered.first() {
                    Some(place) => self.placed(index, client, place),
                    None => self.subscribe_first(index),
                }
            }
            (Command::Subscribe, Message { subscribed: Some(place), .. }) => {
                self.placed(index, client, &place)
            }
            (Command::Publish(n), Message { published: Some(published), .. }) => {
                self.ledger.life(life).published += 1;
                if published.key.and_then(|key| number_of(self.run, key)) != Some(n) {
                    self.ledger.odd(format!("publication {n} was answered with another key"));
                }
                let took = u32::try_from(self.now - pending.sent).unwrap_or(u32::MAX);
                self.ledger.answers.push(crate::ledger::Answered { sent: pending.sent, took });
                let Published { offset, duplicate, .. } = published;
                self.acknowledged(client, n, Acknowledged { offset, duplicate });
            }
            (Command::History, Message { history: Some(page), .. }) => self.page(index, client, &page),
            (Command::Presence, Message { presence: Some(page), .. }) => self.roster_read(index, &page),
            (what, Message { error: Some(error), .. }) => {
                *self.ledger.life(life).errors.entry(error.code.to_owned()).or_default() += 1;
                self.refusal(index, client, what, (error.code, error.retry_ms.map(|ms| ms * 1_000)));
            }
            (what, other) => self.ledger.odd(format!("{}: answered with {other:?}", what.name())),
        }
    }

    fn subscribe_first(&mut self, index: usize) {
        if let Some(link) = self.links.get(index) {
            self.subscribe_again(index, link.number);
        }
    }

    fn connected(&mut self, index: usize, client: u32, (ping_ms, stable_ms): (u64, u64)) {
        let Some(link) = self.links.get_mut(index) else { return };
        // It may have asked to close meanwhile.
        if link.stage != Stage::Leaving {
            link.stage = Stage::Joining;
        }
        link.connected = self.now;
        link.ping = ping_ms * 1_000;
        link.stable = stable_ms * 1_000;
        let (slot, number) = (link.slot, link.number);
        self.ledger.began(number, self.base + client, self.now);
        if let Some(it) = self.clients.get_mut(client as usize) {
            it.slot = slot;
            if std::mem::replace(&mut it.was_there, true) {
                self.ledger.returns.push((self.now, self.base + client));
            }
        }
    }

    fn refusal(&mut self, index: usize, client: u32, what: Command, (code, retry): (&str, Option<Micros>)) {
        let Some(number) = self.links.get(index).map(|link| link.number) else { return };
        let wait = retry.unwrap_or(SECOND);
        match what {
            Command::Publish(n) => self.refused(client, n, code, retry),
            Command::Subscribe => self.later(wait, Timer::Subscribe(index, number)),
            Command::Presence => self.later(wait, Timer::Roster(index, number)),
            Command::History => {
                if let Some(it) = self.clients.get_mut(client as usize) {
                    it.pulling = None;
                }
                self.later(wait, Timer::Pull(client));
            }
            Command::Connect => self.ledger.odd(format!("`connect` was answered {code}")),
        }
    }

    pub(super) fn is_slow(&self, client: u32) -> bool {
        self.clients.get(client as usize).is_some_and(|it| it.role.kind == Kind::Slow)
    }
}
