//! A client follows its channel, from the subscription to the last publication it lacks.

use super::link::{Command, Link, Stage};
use super::message::{Page, Pushed, Subscribed, channel_name, number_of};
use super::role::Role;
use super::{Crowd, Timer};
use crate::clock::{Micros, SECOND};
use crate::ledger::{Arrivals, Begin};

/// How long a publication may still be on its way after a beat has announced its head.
const ON_ITS_WAY: Micros = SECOND / 2;
/// Publications per history request.
const PAGE: u32 = 300;

/// The members of a subscription by which a user is shown on the roster, and watches it.
fn roster(role: Role) -> &'static str {
    match (role.user, role.watches) {
        (None, _) => "",
        (Some(_), false) => r#","present":{}"#,
        (Some(_), true) => r#","present":{},"watch":"members""#,
    }
}

impl Crowd {
    /// The client's cursor for `connect`; also the start of what this connection receives.
    pub(super) fn cursor(&mut self, index: usize, client: u32) -> Option<String> {
        let it = self.clients.get(client as usize)?;
        let last = it.last?;
        let epoch = self.epoch.as_deref()?;
        let channel = it.channel;
        let who = (self.base + client, self.links.get(index)?.number, channel);
        let (name, roster) = (channel_name(channel), roster(it.role));
        let text = format!("{{\"channel\":\"{name}\",\"epoch\":\"{epoch}\",\"offset\":{last}{roster}}}");
        self.links.get_mut(index)?.arrivals = Some(Arrivals::after(last, Begin::Subscribed, who, self.now));
        Some(text)
    }

    /// Subscribes from the client's position, or for the first time.
    pub(super) fn subscribe_again(&mut self, index: usize, number: u32) {
        let Some(link) = self.links.get_mut(index).filter(|link| link.number == number) else { return };
        if link.stage != Stage::Joining {
            return;
        }
        let client = link.client;
        if let Some(run) = link.arrivals.take() {
            self.ledger.arrived(run);
        }
        let Some((channel, role)) = self.clients.get(client as usize).map(|it| (it.channel, it.role)) else {
            return;
        };
        let (name, roster) = (channel_name(channel), roster(role));
        let last = self.clients.get(client as usize).and_then(|it| it.last);
        self.cursor(index, client);
        let recover = match (last, &self.epoch) {
            (Some(last), Some(epoch)) => format!(",\"recover\":{{\"epoch\":\"{epoch}\",\"offset\":{last}}}"),
            (None | Some(_), _) => String::new(),
        };
        self.command(index, Command::Subscribe, |id| {
            format!("{{\"id\":{id},\"subscribe\":{{\"channel\":\"{name}\"{recover}{roster}}}}}")
        });
    }

    pub(super) fn publication(&mut self, index: usize, pushed: Pushed) {
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
            None => self
                .ledger
                .odd(format!("connection {number}: a publication with a foreign key, at {}", pushed.offset)),
        }
        self.heard_of(pushed.channel, pushed.offset);
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        if it.channel != pushed.channel {
            return self
                .ledger
                .odd(format!("connection {number}: channel {} was not subscribed", pushed.channel));
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

    /// Handles the result of a subscription.
    pub(super) fn placed(&mut self, index: usize, client: u32, place: &Subscribed<'_>) {
        let Some(link) = self.links.get_mut(index) else { return };
        let who =
            (self.base + client, link.number, self.clients.get(client as usize).map_or(0, |it| it.channel));
        let (Some(head), Some(epoch)) = (place.head, place.epoch) else {
            let again = Timer::Subscribe(index, link.number);
            if place.because != Some("unavailable") {
                self.ledger.odd(format!("a subscription returned {place:?}"));
            }
            return self.later(place.retry_ms.map_or(SECOND, |ms| ms * 1_000), again);
        };
        if self.epoch.get_or_insert_with(|| epoch.to_owned()) != epoch {
            self.ledger.odd(format!("the epoch changed from {:?} to {epoch}", self.epoch));
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
                self.ledger.odd(format!("a recovery returned {place:?}"));
            }
            link.arrivals = Some(Arrivals::after(head, Begin::Subscribed, who, self.now));
        }
        self.heard_of(who.2, head);
    }

    pub(super) fn synced(&mut self, index: usize, client: u32, offset: u64) {
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
            self.later(SECOND, Timer::ToggleReading(index, number));
        }
        self.pull(client);
        self.send_what_is_due(client);
        self.settle(client);
    }

    pub(super) fn lagged(&mut self, index: usize, client: u32, (from, head): (u64, u64)) {
        let Some(link) = self.links.get_mut(index) else { return };
        let next = link.arrivals.map(|run| {
            Arrivals::after(head, Begin::Lag { from }, (run.client, run.link, run.channel), self.now)
        });
        let done = std::mem::replace(&mut link.arrivals, next);
        done.into_iter().for_each(|run| self.ledger.arrived(run));
        self.ledger.lags += 1;
        if let Some(it) = self.clients.get_mut(client as usize) {
            it.known = it.known.max(head);
        }
        self.pull(client);
        self.settle(client);
    }

    pub(super) fn beat(&mut self, index: usize, client: u32, head: Option<u64>) {
        let Some(link) = self.links.get_mut(index) else { return };
        let last = self.clients.get(client as usize).and_then(|it| it.last);
        if let (Some(head), Some(last)) = (head, last)
            && head > last
        {
            link.beat_head = Some((head, self.now));
            let timer = Timer::CheckBeat(index, link.number);
            self.later(ON_ITS_WAY, timer);
        }
    }

    /// Pulls history if the head announced by a beat has not arrived: the publication was lost on its way.
    pub(super) fn check_beat(&mut self, index: usize, number: u32) {
        let Some(link) = self.links.get_mut(index).filter(|link| link.number == number) else { return };
        let Some((head, _)) = link.beat_head.take() else { return };
        let client = link.client;
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        it.known = it.known.max(head);
        if it.lacks() {
            self.ledger.found_by_beat += 1;
            self.pull(client);
            self.settle(client);
        }
    }

    /// Requests the missing publications, unless a request or a replay is in progress.
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
        self.command(index, Command::History, |id| {
            format!(
                "{{\"id\":{id},\"history\":{{\"channel\":\"{name}\",\"after\":{last},\"limit\":{PAGE}}}}}"
            )
        });
    }

    pub(super) fn page(&mut self, index: usize, client: u32, page: &Page<'_>) {
        let Some(number) = self.links.get(index).map(|link| link.number) else { return };
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        it.pulling = None;
        let who = (self.base + client, number, it.channel);
        let mut run = Arrivals::after(it.last.unwrap_or(0), Begin::Pulled, who, self.now);
        for entry in &page.publications {
            if it.apply(entry.offset) {
                run.take(entry.offset, self.now);
            }
            match entry.key.and_then(|key| number_of(self.run, key)) {
                Some(n) => self.ledger.saw(who.2, entry.offset, n),
                None => self.ledger.odd(format!("a page has a foreign key, at {}", entry.offset)),
            }
        }
        it.known = it.known.max(page.head);
        if page.publications.is_empty() && it.lacks() {
            self.ledger.odd(format!(
                "client {}: history has nothing after {:?}, but the head is {}",
                who.0, it.last, it.known
            ));
            it.known = it.last.unwrap_or(0);
        }
        if run.last >= run.first {
            self.ledger.arrived(run);
        }
        self.heard_of(who.2, page.head);
        self.pull(client);
        self.settle(client);
    }
}
