//! A client that follows the client duties of the protocol.

use super::frame::{Beginning, Channel, Frame, History, Publication, Push, Reply};
use super::order::{Ask, Begin, Content, Order};
use super::schedule::chance;
use super::socket::{Shared, Upward};
use fastrand::Rng;
use seawall::clock::Moment;
use seawall::id::{Epoch, Offset};
use seawall::wire::publication::Change;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two rounds of life that nothing was received: twice the simulation's ping period.
const SILENCE: Duration = Duration::from_secs(10);
const CONNECT_PATIENCE: Duration = Duration::from_secs(12);

pub struct Client {
    pub user: String,
    name: String,
    pub link: Option<Link>,
    /// The connection it moves away from, read until the new one serves.
    old: Option<Link>,
    /// When its place is elsewhere.
    move_at: Option<Moment>,
    /// Some know no `drain`.
    moves: bool,
    pub connect_at: Moment,
    attempts: u32,
    tracks: BTreeMap<Channel, Track>,
    drafts: Vec<Draft>,
    next_id: u64,
    next_key: u64,
    asked: BTreeMap<u64, Ask>,
    /// Bytes it reads at a time.
    pub pace: usize,
    stalled_until: Moment,
    data_bytes: usize,
}

pub struct Link {
    pub socket: Shared,
    connected: bool,
    heard: Moment,
    /// Nothing is sent before this.
    latency: Duration,
}

/// A client's knowledge of one channel.
#[derive(Debug, Default)]
struct Track {
    epoch: Option<Epoch>,
    last: u64,
    subscription: Subscription,
    /// A page is asked for.
    fetching: bool,
    /// It lacks something, and asks for it then.
    fetch_at: Option<Moment>,
    seen: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Subscription {
    #[default]
    None,
    Wanted(Moment),
    Asked,
    Held,
}

/// A publication that the client wants stored.
#[derive(Debug)]
struct Draft {
    content: Content,
    asked: Option<u64>,
    retry_at: Moment,
}

impl Client {
    pub fn new(number: usize, user: String, channels: &[Channel], rng: &mut Rng) -> Client {
        Client {
            user,
            name: format!("k{number}"),
            link: None,
            old: None,
            move_at: None,
            moves: rng.u8(..5) > 0,
            connect_at: Moment::from_micros(rng.u64(0..1_000_000) + 1),
            attempts: 0,
            tracks: channels.iter().map(|channel| (*channel, Track::default())).collect(),
            drafts: Vec::new(),
            next_id: 0,
            next_key: 0,
            asked: BTreeMap::new(),
            pace: [600, 4_000, 100_000][rng.usize(..3)],
            stalled_until: Moment::ZERO,
            data_bytes: [10, 100, 900][rng.usize(..3)],
        }
    }

    /// The connection is made: `connect` goes first.
    pub fn connected_to(&mut self, socket: Shared, now: Moment, rng: &mut Rng) {
        let latency = Duration::from_millis(rng.u64(0..60));
        self.leave_old();
        self.move_at = None;
        self.old = self.link.replace(Link { socket, connected: false, heard: now, latency });
        self.asked.clear();
        let mut recover = Vec::new();
        for (channel, track) in &mut self.tracks {
            track.fetching = false;
            track.subscription = match track.epoch {
                Some(epoch) => {
                    recover.push((*channel, epoch, track.last));
                    Subscription::Asked
                }
                None => Subscription::Wanted(now),
            };
        }
        for draft in &mut self.drafts {
            draft.asked = None;
        }
        if let Some(link) = &self.link {
            link.socket.borrow_mut().upward.push_back((now + link.latency, Upward::Upgrade));
        }
        let token = format!("user-{}", self.user);
        let id = self.id();
        self.send(Order::connect(id, &token, recover), now);
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn send(&mut self, order: Order, now: Moment) {
        let Some(link) = &self.link else { return };
        if let Some(id) = order.id {
            self.asked.insert(id, order.ask.clone());
        }
        let at = now + link.latency;
        link.socket.borrow_mut().upward.push_back((at, Upward::Text(order)));
    }

    /// True exactly when it opens a connection now: it has none, or has to move.
    pub fn comes(&self, now: Moment) -> bool {
        match &self.link {
            None => self.connect_at <= now,
            Some(_) => self.move_at.is_some_and(|at| at <= now),
        }
    }

    /// No process accepted it. While it moves, it keeps its old connection.
    pub fn refused(&mut self, now: Moment, rng: &mut Rng) {
        match &self.link {
            None => self.lost(now, rng),
            Some(_) => self.move_at = Some(now + Duration::from_millis(rng.u64(100..500))),
        }
    }

    fn leave_old(&mut self) {
        if let Some(old) = self.old.take() {
            old.socket.borrow_mut().client_gone = true;
        }
    }

    /// Publications that still arrive on the old connection count; replies are those of the new one.
    fn read_old(&mut self, now: Moment) {
        let Some(old) = &self.old else { return };
        let frames = old.socket.borrow_mut().read(self.pace);
        let ended = old.socket.borrow().ended();
        for frame in frames {
            match &*frame {
                Frame::Push(Push::Drain { .. }) => {}
                Frame::Push(push) => self.push(push, now),
                Frame::Reply(..) | Frame::Complaint(_) | Frame::Close(_) | Frame::Ping | Frame::Pong => {}
            }
        }
        if ended {
            self.old = None;
        }
    }

    /// The connection is over: another one is tried a little later.
    pub fn lost(&mut self, now: Moment, rng: &mut Rng) {
        if let Some(link) = self.link.take() {
            link.socket.borrow_mut().client_gone = true;
        }
        self.leave_old();
        self.move_at = None;
        self.attempts += 1;
        let cap_ms = (500u64 << self.attempts.min(5)).min(15_000);
        self.connect_at = now + Duration::from_millis(rng.u64(0..=cap_ms).max(100));
    }

    /// Reads and sends what is due.
    pub fn act(&mut self, now: Moment, rng: &mut Rng) {
        if self.stalled_until <= now {
            self.read_old(now);
        }
        let Some(link) = &mut self.link else { return };
        if self.stalled_until <= now {
            let frames = link.socket.borrow_mut().read(self.pace);
            if !frames.is_empty() {
                link.heard = now;
            }
            for frame in frames {
                self.hear(&frame, now);
            }
        }
        let Some(link) = &self.link else { return };
        let patience = if link.connected { SILENCE } else { CONNECT_PATIENCE };
        if link.socket.borrow().ended() || (self.stalled_until <= now && link.heard + patience <= now) {
            return self.lost(now, rng);
        }
        if link.connected {
            self.pursue(now);
        }
    }

    /// Does something of its own accord.
    pub fn live(&mut self, now: Moment, rng: &mut Rng) {
        if self.drafts.len() < 6 && chance(rng, 12) {
            self.draft(rng);
        }
        match rng.u16(..1_500) {
            0..4 => self.stalled_until = now + Duration::from_millis(rng.u64(0..20_000)),
            4 => self.lost(now, rng),
            5 if self.link.as_ref().is_some_and(|link| link.connected) => {
                let socket = self.link.as_ref().map(|link| link.socket.clone());
                socket.inspect(|socket| socket.borrow_mut().upward.push_back((now, Upward::Close)));
            }
            6..9 => self.drop_one(now, rng),
            9 if self.link.as_ref().is_some_and(|link| link.connected) => {
                let (id, token) = (self.id(), format!("user-{}", self.user));
                self.send(Order::refresh(id, &token), now);
            }
            10..20 if self.link.as_ref().is_some_and(|link| link.connected) => {
                let held = self.tracks.iter().find(|(_, track)| track.subscription == Subscription::Held);
                if let Some((channel, _)) = held {
                    let order = Order::signal(*channel);
                    self.send(order, now);
                }
            }
            _ => {}
        }
    }

    /// Faults are over: it reads at once, and begins nothing new.
    pub fn calm(&mut self) {
        self.stalled_until = Moment::ZERO;
        self.pace = self.pace.max(20_000);
    }

    fn drop_one(&mut self, now: Moment, rng: &mut Rng) {
        let chosen = rng.usize(..self.tracks.len());
        let Some((channel, track)) = self.tracks.iter_mut().nth(chosen) else { return };
        if track.subscription == Subscription::Held {
            track.subscription = Subscription::Wanted(now + Duration::from_millis(rng.u64(0..3_000)));
            let (channel, id) = (*channel, self.id());
            self.send(Order::unsubscribe(id, channel), now);
        }
    }

    fn draft(&mut self, rng: &mut Rng) {
        let chosen = rng.usize(..self.tracks.len());
        let Some((channel, track)) = self.tracks.iter().nth(chosen) else { return };
        self.next_key += 1;
        let key = format!("{}-{}", self.name, self.next_key);
        let change = match rng.u8(..12) {
            0 => Change::Edits(Offset(rng.u64(0..=track.last) + 1)),
            1 => Change::Deletes(Offset(rng.u64(0..=track.last) + 1)),
            _ => Change::None,
        };
        let data = match change {
            Change::Deletes(_) => "null".into(),
            Change::None | Change::Edits(_) => format!("\"{key}{}\"", "x".repeat(self.data_bytes)),
        };
        let content = Content { channel: *channel, key: Some(key), change, data };
        self.drafts.push(Draft { content, asked: None, retry_at: Moment::ZERO });
    }

    /// Sends what is due: subscriptions, pages, and one publication a channel.
    fn pursue(&mut self, now: Moment) {
        let mut orders = Vec::new();
        let mut next_id = self.next_id;
        let mut id = || {
            next_id += 1;
            next_id
        };
        for (channel, track) in &mut self.tracks {
            if let Subscription::Wanted(at) = track.subscription
                && at <= now
            {
                track.subscription = Subscription::Asked;
                let from = track.epoch.map_or(Begin::Last(20), |epoch| Begin::After(epoch, track.last));
                orders.push(Order::subscribe(id(), *channel, from));
            }
            if !track.fetching && track.fetch_at.is_some_and(|at| at <= now) {
                track.fetching = true;
                track.fetch_at = None;
                orders.push(Order::history(id(), *channel, Some(track.last), 100));
            }
        }
        let mut busy = Vec::new();
        for draft in &mut self.drafts {
            if draft.asked.is_none() && !busy.contains(&draft.content.channel) && draft.retry_at <= now {
                let id = id();
                draft.asked = Some(id);
                orders.push(Order::publish(id, &draft.content));
            }
            busy.push(draft.content.channel);
        }
        self.next_id = next_id;
        orders.into_iter().for_each(|order| self.send(order, now));
    }

    fn hear(&mut self, frame: &Frame, now: Moment) {
        match frame {
            Frame::Reply(id, reply) => {
                if let Some(ask) = self.asked.remove(id) {
                    self.reply(*id, ask, reply, now);
                }
            }
            Frame::Push(push) => self.push(push, now),
            Frame::Ping => {
                if let Some(link) = &self.link {
                    let at = now + link.latency;
                    link.socket.borrow_mut().upward.push_back((at, Upward::Pong));
                }
            }
            Frame::Close(_) => {
                if let Some(link) = &self.link {
                    link.socket.borrow_mut().upward.push_back((now + link.latency, Upward::Close));
                }
            }
            Frame::Complaint(_) | Frame::Pong => {}
        }
    }

    fn reply(&mut self, id: u64, ask: Ask, reply: &Reply, now: Moment) {
        match (ask, reply) {
            (_, Reply::Connected(entries)) => {
                if let Some(link) = &mut self.link {
                    link.connected = true;
                }
                if let Some(old) = &self.old {
                    old.socket.borrow_mut().upward.push_back((now, Upward::Close));
                }
                self.attempts = 0;
                entries.iter().for_each(|entry| self.begun(entry, now));
            }
            (_, Reply::Subscribed(entry)) => self.begun(entry, now),
            (Ask::Publish(_), Reply::Published(_)) => self.drafts.retain(|draft| draft.asked != Some(id)),
            (Ask::Publish(_), Reply::Error { code, retry_ms }) => {
                let draft = self.drafts.iter().position(|draft| draft.asked == Some(id));
                let Some(index) = draft else { return };
                match retry_ms {
                    Some(ms) => {
                        self.drafts[index].asked = None;
                        self.drafts[index].retry_at = now + Duration::from_millis(*ms);
                    }
                    None => {
                        assert!(code == "not_found" || code == "forbidden", "{code} for an honest client");
                        self.drafts.remove(index);
                    }
                }
            }
            (_, Reply::History(page)) => self.page(page, now),
            (Ask::History { channel, .. }, Reply::Error { retry_ms, .. }) => {
                let track = self.tracks.entry(channel).or_default();
                track.fetching = false;
                track.fetch_at = Some(now + Duration::from_millis(retry_ms.unwrap_or(1_000)));
            }
            (Ask::Subscribe { channel, .. }, Reply::Error { retry_ms, .. }) => {
                let at = now + Duration::from_millis(retry_ms.unwrap_or(1_000));
                self.tracks.entry(channel).or_default().subscription = Subscription::Wanted(at);
            }
            (_, Reply::Unsubscribed(_) | Reply::Published(_) | Reply::Refreshed | Reply::Error { .. }) => {}
        }
    }

    fn begun(&mut self, entry: &Beginning, now: Moment) {
        let track = self.tracks.entry(entry.channel).or_default();
        let Some((epoch, head, floor)) = entry.log else {
            track.subscription = Subscription::Wanted(now + Duration::from_secs(2));
            return;
        };
        track.subscription = Subscription::Held;
        track.seen = track.seen.max(head);
        match (entry.recovered, entry.because.as_deref()) {
            (None, _) => {
                track.epoch = Some(epoch);
                track.last = head.saturating_sub(20).max(floor - 1);
            }
            (Some(true), _) => {}
            (Some(false), Some("epoch_changed")) => {
                *track = Track { subscription: Subscription::Held, epoch: Some(epoch), ..Track::default() };
                track.seen = head;
                track.last = floor - 1;
                track.fetch_at = Some(now);
            }
            (Some(false), _) => track.fetch_at = Some(now),
        }
    }

    fn page(&mut self, page: &History, now: Moment) {
        let track = self.tracks.entry(page.channel).or_default();
        track.fetching = false;
        if track.epoch != Some(page.epoch) {
            return;
        }
        // A hole below the floor is accepted and shown.
        track.last = track.last.max(page.floor - 1);
        page.publications.iter().for_each(|publication| track.apply(publication, now));
        track.lacks(page.head, now);
    }

    fn push(&mut self, push: &Push, now: Moment) {
        match push {
            Push::Publication(publication) => {
                self.tracks.entry(publication.channel).or_default().apply(publication, now);
            }
            Push::Synced { channel, offset } | Push::Lag { channel, head: offset, .. } => {
                self.tracks.entry(*channel).or_default().lacks(*offset, now);
            }
            Push::Beat(heads) => {
                for (channel, head) in heads {
                    self.tracks.entry(*channel).or_default().lacks(*head, now);
                }
            }
            Push::Drain { slot_ms, .. } => {
                self.move_at = self.moves.then(|| now + Duration::from_millis(*slot_ms));
            }
            Push::Signal(_) | Push::Unsubscribed(_) | Push::Bye(_) => {}
        }
    }

    /// True exactly when nothing is left to be sent or fetched, and it has the log up to `head`.
    pub fn has_all(&self, epoch: Epoch, head: impl Fn(Channel) -> u64) -> bool {
        self.link.as_ref().is_some_and(|link| link.connected)
            && self.drafts.is_empty()
            && self.tracks.iter().all(|(channel, track)| {
                track.epoch == Some(epoch)
                    && track.last == head(*channel)
                    && track.subscription == Subscription::Held
            })
    }

    pub fn describe(&self) -> String {
        let link = self.link.as_ref().map(|link| link.connected);
        format!("{} connected {link:?} {:?} drafts {:?}", self.name, self.tracks, self.drafts)
    }
}

impl Track {
    fn apply(&mut self, publication: &Publication, now: Moment) {
        if publication.offset == self.last + 1 {
            self.last = publication.offset;
        } else {
            self.lacks(publication.offset, now);
        }
    }

    fn lacks(&mut self, head: u64, now: Moment) {
        self.seen = self.seen.max(head);
        if self.seen > self.last && !self.fetching && self.fetch_at.is_none() {
            self.fetch_at = Some(now);
        }
    }
}
