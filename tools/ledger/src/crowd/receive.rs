//! What comes from the server, and what an SDK makes of it.

use super::link::{Got, Link, Stage, Until, What};
use super::message::{
    self, Message, Page, Place, Published, Pushed, channel_name, channel_number, number_of,
};
use super::{Crowd, Kind, Timer};
use crate::clock::{Micros, SECOND};
use crate::ledger::{Acknowledged, Begin, Run};
use seawall_load::frame::{self, Next};
use seawall_load::upgrade::{self, Answer};

/// A publication whose head a beat told may still be on its way for so long.
const ON_ITS_WAY: Micros = SECOND / 2;
/// Publications asked for at once.
const PAGE: u32 = 300;

impl Crowd {
    /// Reads what there is.
    pub(super) fn readable(&mut self, index: usize, buffer: &mut [u8], until: Until) {
        self.now = crate::clock::now();
        let Some(number) = self.links.get(index).map(|link| link.number) else { return };
        while let Some(link) = self.links.get_mut(index)
            && link.number == number
            && link.deaf_until <= self.now
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
                Answer::Refused(_) => return self.turned_away(index),
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
        self.command(index, What::Connect, |id| {
            format!("{{\"id\":{id},\"connect\":{{\"client\":\"seawall-ledger\"{cursor}}}}}")
        });
    }

    /// Where the client is, as `connect` takes it, and remembered as where this connection begins.
    fn cursor(&mut self, index: usize, client: u32) -> Option<String> {
        let it = self.clients.get(client as usize)?;
        let last = it.last?;
        let epoch = self.epoch.as_deref()?;
        let channel = it.channel;
        let who = (self.base + client, self.links.get(index)?.number, channel);
        let text =
            format!("{{\"channel\":\"{}\",\"epoch\":\"{epoch}\",\"offset\":{last}}}", channel_name(channel));
        self.links.get_mut(index)?.arrivals = Some(Run::after(last, Begin::Subscribed, who, self.now));
        Some(text)
    }

    /// Subscribes with what the client has, or for the first time.
    pub(super) fn subscribe_again(&mut self, index: usize, number: u32) {
        let Some(link) = self.links.get_mut(index).filter(|link| link.number == number) else { return };
        if link.stage != Stage::Joining {
            return;
        }
        let client = link.client;
        if let Some(run) = link.arrivals.take() {
            self.ledger.arrived(run);
        }
        let Some(channel) = self.clients.get(client as usize).map(|it| it.channel) else { return };
        let name = channel_name(channel);
        let last = self.clients.get(client as usize).and_then(|it| it.last);
        self.cursor(index, client);
        let recover = match (last, &self.epoch) {
            (Some(last), Some(epoch)) => format!(",\"recover\":{{\"epoch\":\"{epoch}\",\"offset\":{last}}}"),
            (None | Some(_), _) => String::new(),
        };
        self.command(index, What::Subscribe, |id| {
            format!("{{\"id\":{id},\"subscribe\":{{\"channel\":\"{name}\"{recover}}}}}")
        });
    }

    fn text(&mut self, index: usize, text: &[u8]) {
        if let Some(pushed) = message::pushed(text, self.run) {
            return self.publication(index, pushed);
        }
        match message::read(text) {
            Some(message) => self.message(index, message, text),
            None => self.ledger.odd(format!("no message: {}", String::from_utf8_lossy(text))),
        }
    }

    fn publication(&mut self, index: usize, pushed: Pushed) {
        let Some(link) = self.links.get_mut(index) else { return };
        let (client, number, life, stage) = (link.client, link.number, link.life, link.stage.clone());
        let done = match &mut link.arrivals {
            Some(run) => run.take(pushed.offset, self.now),
            None => {
                self.ledger.odd(format!("connection {number}: a publication without a subscription"));
                None
            }
        };
        done.into_iter().for_each(|run| self.ledger.arrived(run));
        let counts = self.ledger.life(life);
        *(if stage == Stage::Joining { &mut counts.replayed } else { &mut counts.deliveries }) += 1;
        match pushed.n {
            Some(n) => self.ledger.saw(pushed.channel, pushed.offset, n),
            None => {
                self.ledger.odd(format!("connection {number}: a publication of nobody, at {}", pushed.offset))
            }
        }
        self.heard_of(pushed.channel, pushed.offset);
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        if it.channel != pushed.channel {
            return self
                .ledger
                .odd(format!("connection {number}: channel {} was not asked for", pushed.channel));
        }
        it.apply(pushed.offset);
        let (lacks, was_settled) = (it.lacks(), it.is_settled);
        if lacks && stage == Stage::Live {
            self.pull(client);
        }
        if lacks || !was_settled {
            self.settle(client);
        }
    }

    pub(super) fn heard_of(&mut self, channel: u16, offset: u64) {
        if let Some(head) = self.heads.get_mut(usize::from(channel)) {
            *head = offset.max(*head);
        }
    }

    fn message(&mut self, index: usize, message: Message<'_>, text: &[u8]) {
        let Some(link) = self.links.get_mut(index) else { return };
        let client = link.client;
        let own = self.clients.get(client as usize).map(|it| it.channel);
        if message.channel().is_some_and(|name| channel_number(name) != own) {
            return self
                .ledger
                .odd(format!("not of a channel that was asked for: {}", String::from_utf8_lossy(text)));
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
            self.drain_came(index, client, drain.slot_ms * 1_000);
        } else if let Some(bye) = message.bye {
            link.bye = Some(bye.retry_ms);
            let life = link.life;
            *self.ledger.life(life).byes.entry(bye.code).or_default() += 1;
            if bye.terminal {
                self.ledger.odd(format!("a terminal `bye` with {}", bye.code));
            }
        } else if message.status.is_none() {
            self.ledger.odd(format!("an unknown message: {}", String::from_utf8_lossy(text)));
        }
    }

    fn reply(&mut self, index: usize, client: u32, id: u64, message: Message<'_>) {
        let Some(link) = self.links.get_mut(index) else { return };
        let Some(pending) = link.answered(id) else {
            return self.ledger.odd(format!("an answer to nothing that was asked: {message:?}"));
        };
        let life = link.life;
        let late = Crowd::lateness(link, pending, self.now);
        self.ledger.life(life).answered += 1;
        if let Some(late) = late.filter(|_| !self.is_slow(client)) {
            self.ledger.late(late);
        }
        match (pending.what, message) {
            (What::Connect, Message { connected: Some(connected), .. }) => {
                self.connected(index, client, (connected.ping_ms, connected.stable_ms));
                match connected.recovered.first() {
                    Some(place) => self.placed(index, client, place),
                    None => self.subscribe_first(index),
                }
            }
            (What::Subscribe, Message { subscribed: Some(place), .. }) => self.placed(index, client, &place),
            (What::Publish(n), Message { published: Some(published), .. }) => {
                self.ledger.life(life).published += 1;
                if published.key.and_then(|key| number_of(self.run, key)) != Some(n) {
                    self.ledger.odd(format!("publication {n} was answered with another key"));
                }
                let took = u32::try_from(self.now - pending.sent).unwrap_or(u32::MAX);
                self.ledger.answers.push(crate::ledger::Answered { sent: pending.sent, took });
                let Published { offset, duplicate, .. } = published;
                self.acknowledged(client, n, Acknowledged { offset, duplicate });
            }
            (What::History, Message { history: Some(page), .. }) => self.page(index, client, &page),
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
        link.stage = Stage::Joining;
        link.connected = self.now;
        link.ping = ping_ms * 1_000;
        link.stable = stable_ms * 1_000;
        let slot = link.slot;
        if let Some(it) = self.clients.get_mut(client as usize) {
            it.slot = slot;
            if std::mem::replace(&mut it.was_there, true) {
                self.ledger.returns.push((self.now, self.base + client));
            } else {
                self.seen.known.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
            }
        }
    }

    /// What became of a subscription.
    fn placed(&mut self, index: usize, client: u32, place: &Place<'_>) {
        let Some(link) = self.links.get_mut(index) else { return };
        let who =
            (self.base + client, link.number, self.clients.get(client as usize).map_or(0, |it| it.channel));
        let (Some(head), Some(epoch)) = (place.head, place.epoch) else {
            let again = Timer::Subscribe(index, link.number);
            if place.because != Some("unavailable") {
                self.ledger.odd(format!("a subscription came to {place:?}"));
            }
            return self.later(place.retry_ms.map_or(SECOND, |ms| ms * 1_000), again);
        };
        if self.epoch.get_or_insert_with(|| epoch.to_owned()) != epoch {
            self.ledger.odd(format!("the epoch is {epoch}, and was {:?}", self.epoch));
            self.epoch = Some(epoch.to_owned());
        }
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        let is_first = it.last.is_none();
        if is_first {
            it.last = Some(head);
            self.ledger.listens(who.0, who.2, head);
        }
        it.known = it.known.max(head);
        if is_first || place.recovered == Some(false) {
            if matches!(place.because, Some("epoch_changed" | "expired" | "forbidden")) {
                self.ledger.odd(format!("a recovery came to {place:?}"));
            }
            link.arrivals = Some(Run::after(head, Begin::Subscribed, who, self.now));
        }
        self.heard_of(who.2, head);
    }

    fn synced(&mut self, index: usize, client: u32, offset: u64) {
        let Some(link) = self.links.get_mut(index) else { return };
        let number = link.number;
        if link.stage == Stage::Leaving {
            return;
        }
        link.stage = Stage::Live;
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        it.known = it.known.max(offset);
        if it.next == Some(index) {
            self.promote(client);
        }
        if self.is_slow(client) {
            self.later(SECOND, Timer::Doze(index, number));
        }
        self.pull(client);
        self.send_what_is_due(client);
        self.settle(client);
    }

    fn lagged(&mut self, index: usize, client: u32, (from, head): (u64, u64)) {
        let Some(link) = self.links.get_mut(index) else { return };
        let next = link
            .arrivals
            .map(|run| Run::after(head, Begin::Lag { from }, (run.client, run.link, run.channel), self.now));
        let done = std::mem::replace(&mut link.arrivals, next);
        done.into_iter().for_each(|run| self.ledger.arrived(run));
        self.ledger.lags += 1;
        if let Some(it) = self.clients.get_mut(client as usize) {
            it.known = it.known.max(head);
        }
        self.pull(client);
        self.settle(client);
    }

    fn beat(&mut self, index: usize, client: u32, head: Option<u64>) {
        let Some(link) = self.links.get_mut(index) else { return };
        let last = self.clients.get(client as usize).and_then(|it| it.last);
        if let (Some(head), Some(last)) = (head, last)
            && head > last
        {
            link.beaten = Some((head, self.now));
            let timer = Timer::Beaten(index, link.number);
            self.later(ON_ITS_WAY, timer);
        }
    }

    /// A head that a beat told is not there yet: it was lost on its way.
    pub(super) fn beaten(&mut self, index: usize, number: u32) {
        let Some(link) = self.links.get_mut(index).filter(|link| link.number == number) else { return };
        let Some((head, _)) = link.beaten.take() else { return };
        let client = link.client;
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        it.known = it.known.max(head);
        if it.lacks() {
            self.ledger.told_by_beat += 1;
            self.pull(client);
            self.settle(client);
        }
    }

    /// Asks for what is missing, unless that is under way or a replay is.
    pub(super) fn pull(&mut self, client: u32) {
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        let (Some(index), Some(last)) = (it.current, it.last) else { return };
        let is_live = self.links.get(index).is_some_and(|link: &Link| link.stage == Stage::Live);
        if it.pulling.is_some() || !is_live || !it.lacks() {
            return;
        }
        it.pulling = Some(index);
        let name = channel_name(it.channel);
        self.ledger.pages += 1;
        self.command(index, What::History, |id| {
            format!(
                "{{\"id\":{id},\"history\":{{\"channel\":\"{name}\",\"after\":{last},\"limit\":{PAGE}}}}}"
            )
        });
    }

    fn page(&mut self, index: usize, client: u32, page: &Page<'_>) {
        let Some(number) = self.links.get(index).map(|link| link.number) else { return };
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        it.pulling = None;
        let who = (self.base + client, number, it.channel);
        let mut run = Run::after(it.last.unwrap_or(0), Begin::Pulled, who, self.now);
        for entry in &page.publications {
            if it.apply(entry.offset) {
                run.take(entry.offset, self.now);
            }
            match entry.key.and_then(|key| number_of(self.run, key)) {
                Some(n) => self.ledger.saw(who.2, entry.offset, n),
                None => self.ledger.odd(format!("a page has a publication of nobody, at {}", entry.offset)),
            }
        }
        it.known = it.known.max(page.head);
        if page.publications.is_empty() && it.lacks() {
            self.ledger
                .odd(format!("client {}: nothing after {:?}, and the head is {}", who.0, it.last, it.known));
            it.known = it.last.unwrap_or(0);
        }
        if run.last >= run.first {
            self.ledger.arrived(run);
        }
        self.heard_of(who.2, page.head);
        self.pull(client);
        self.settle(client);
    }

    fn refusal(&mut self, index: usize, client: u32, what: What, (code, retry): (&str, Option<Micros>)) {
        let Some(number) = self.links.get(index).map(|link| link.number) else { return };
        let wait = retry.unwrap_or(SECOND);
        match what {
            What::Publish(n) => self.refused(client, n, code, retry),
            What::Subscribe => self.later(wait, Timer::Subscribe(index, number)),
            What::History => {
                if let Some(it) = self.clients.get_mut(client as usize) {
                    it.pulling = None;
                }
                self.later(wait, Timer::Pull(client));
            }
            What::Connect => self.ledger.odd(format!("`connect` was answered {code}")),
        }
    }

    pub(super) fn is_slow(&self, client: u32) -> bool {
        self.clients.get(client as usize).is_some_and(|it| it.kind == Kind::Slow)
    }
}
