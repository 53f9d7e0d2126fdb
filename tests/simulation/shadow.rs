//! The promises to one connection, checked with every frame as it enters the outbox.

use super::drain::Drain;
use super::frame::{Beginning, Channel, Frame, Publication, Published, Push, Reply};
use super::order::{Ask, Begin, Content, Order};
use super::shell::Event;
use super::socket::is_push;
use super::store::{Entry, Store};
use seawall::clock::Moment;
use seawall::drain::DrainPhase;
use seawall::limits::REPLAY_PUBLICATIONS_MAX;
use seawall::wire::publication::Change;
use std::collections::BTreeMap;
use std::time::Duration;

/// The promise of `docs/protocol.md`.
const REPLY_MAX: Duration = Duration::from_secs(5);

/// One connection.
#[derive(Debug)]
pub struct Shadow {
    serial: u64,
    user: String,
    /// The turn that is judged.
    now: Moment,
    /// When it was connected.
    since: Option<Moment>,
    /// Its process, once that drains.
    pub process: Option<Drain>,
    has_slot: bool,
    connected: bool,
    /// Commands that were read and not answered.
    unanswered: BTreeMap<u64, (Moment, Ask)>,
    /// For commands that begin subscriptions: the store's heads when they were read, in the order of the command.
    heads: BTreeMap<u64, Vec<u64>>,
    complaints_due: usize,
    subscriptions: BTreeMap<Channel, Followed>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    None,
    ByeSaid(u16),
    Over,
}

#[derive(Debug)]
struct Followed {
    /// The last publication that it was sent, or knows that it lacks.
    last: u64,
    /// The newest head that it knows.
    known: u64,
    /// It must not be called synced before this one.
    until: u64,
    synced: bool,
}

impl Shadow {
    pub fn new(serial: u64, user: String) -> Shadow {
        Shadow {
            serial,
            user,
            now: Moment::ZERO,
            since: None,
            process: None,
            has_slot: false,
            connected: false,
            unanswered: BTreeMap::new(),
            heads: BTreeMap::new(),
            complaints_due: 0,
            subscriptions: BTreeMap::new(),
            ending: Ending::None,
        }
    }

    pub fn judge(&mut self, event: &Event, now: Moment, store: &mut Store) {
        self.now = now;
        match event {
            Event::Received(now, order) => self.received(*now, order, store),
            Event::Refused(status) => {
                assert!(matches!(status, 429 | 503), "an upgrade refused with {status}");
                assert_eq!(self.ending, Ending::None, "refused once");
                self.ending = Ending::Over;
            }
            Event::Said(frame) => {
                let connected = self.connected;
                self.said(frame, store);
                if self.connected != connected {
                    self.since = Some(now);
                    // Held commands are served from now on.
                    self.unanswered.values_mut().for_each(|(at, _)| *at = now);
                }
            }
        }
    }

    fn received(&mut self, now: Moment, order: &Order, store: &Store) {
        match order.id {
            Some(id) => {
                let channels: Vec<Channel> = match &order.ask {
                    Ask::Connect { recover } => recover.iter().map(|(channel, _, _)| *channel).collect(),
                    Ask::Subscribe { channel, .. } => vec![*channel],
                    Ask::Unsubscribe { .. }
                    | Ask::Publish(_)
                    | Ask::History { .. }
                    | Ask::Refresh
                    | Ask::Signal
                    | Ask::Nonsense => Vec::new(),
                };
                if !channels.is_empty() {
                    self.heads.insert(id, channels.into_iter().map(|channel| store.head(channel)).collect());
                }
                let earlier = self.unanswered.insert(id, (now, order.ask.clone()));
                assert!(earlier.is_none(), "clients of the simulation use an id once");
            }
            // A signal may be refused, and nonsense is.
            None => self.complaints_due += 1,
        }
    }

    fn said(&mut self, frame: &Frame, store: &mut Store) {
        assert!(self.connected || !is_push(frame), "before `connected`: {frame:?}");
        match (self.ending, frame) {
            (Ending::None, Frame::Push(Push::Bye(code))) => {
                if *code == 1012 {
                    self.check_restart();
                }
                self.ending = Ending::ByeSaid(*code);
            }
            // Only a close frame of the client is answered without a `bye`.
            (Ending::None, Frame::Close(code)) => {
                assert_eq!(*code, 1000, "closed without a bye");
                self.ending = Ending::Over;
            }
            (Ending::None, _) => {}
            (Ending::ByeSaid(said), Frame::Close(code)) => {
                assert_eq!(said, *code, "bye and the close frame agree");
                self.ending = Ending::Over;
            }
            (Ending::ByeSaid(_) | Ending::Over, _) => panic!("{frame:?} after the end"),
        }
        match frame {
            Frame::Reply(id, reply) => self.reply(*id, reply, store),
            Frame::Complaint(code) => {
                assert!(self.complaints_due > 0, "{code}, and no command caused it");
                self.complaints_due -= 1;
            }
            Frame::Push(push) => self.push(push, store),
            Frame::Close(_) | Frame::Ping | Frame::Pong => {}
        }
    }

    fn reply(&mut self, id: u64, reply: &Reply, store: &mut Store) {
        let (_, ask) = self.unanswered.remove(&id).unwrap_or_else(|| panic!("{reply:?} answers nothing"));
        let heads = self.heads.remove(&id).unwrap_or_default();
        match (ask, reply) {
            (Ask::Connect { recover }, Reply::Connected(entries)) => {
                assert!(!std::mem::replace(&mut self.connected, true), "connected once");
                assert_eq!(recover.len(), entries.len());
                for (((channel, epoch, offset), entry), head) in recover.into_iter().zip(entries).zip(heads) {
                    assert_eq!(channel, entry.channel);
                    self.begin(Begin::After(epoch, offset), entry, head, store);
                }
            }
            (Ask::Subscribe { channel, from }, Reply::Subscribed(entry)) => {
                assert_eq!(channel, entry.channel);
                assert!(entry.log.is_some(), "a subscription begins somewhere");
                self.begin(from, entry, heads[0], store);
            }
            (Ask::Unsubscribe { channel }, Reply::Unsubscribed(reported)) => {
                assert_eq!(channel, *reported);
                // None where the `subscribe` it ends was not answered yet.
                self.subscriptions.remove(&channel);
            }
            (Ask::Publish(content), Reply::Published(reported)) => {
                self.published(id, &content, reported, store)
            }
            (Ask::History { channel, after }, Reply::History(page)) => {
                assert_eq!(channel, page.channel);
                let log = store.position(channel);
                assert_eq!(page.epoch, log.epoch);
                assert!(page.head <= log.head.0 && page.floor <= log.floor.0, "{page:?} of {log:?}");
                let first = page.publications.first().map_or(0, |first| first.offset);
                assert!(
                    first == 0 || after.is_none_or(|after| first == (after + 1).max(page.floor)),
                    "{page:?}"
                );
                for (offset, publication) in (first..).zip(&page.publications) {
                    assert_eq!(publication.offset, offset, "a page without gaps");
                    check_content(publication, store);
                }
            }
            (Ask::Refresh, Reply::Refreshed) => {}
            (ask, Reply::Error { code, retry_ms }) => self.error(id, &ask, code, *retry_ms, store),
            (ask, reply) => panic!("{reply:?} answers {ask:?}"),
        }
    }

    /// `earlier` is the store's head when the command was read: the log's position was read after that.
    fn begin(&mut self, from: Begin, entry: &Beginning, earlier: u64, store: &Store) {
        let Some((epoch, head, floor)) = entry.log else {
            assert_eq!(entry.because.as_deref(), Some("unavailable"));
            return;
        };
        let truth = store.position(entry.channel);
        assert_eq!(epoch, truth.epoch);
        assert!(head <= truth.head.0 && floor <= truth.floor.0 && floor <= head + 1, "{entry:?}, {truth:?}");
        let last = match from {
            Begin::Now => head,
            Begin::Last(count) => head.saturating_sub(count).max(floor - 1),
            Begin::After(of, offset) => {
                assert!(
                    of != epoch || offset > earlier || offset <= head,
                    "a position from before: {entry:?}"
                );
                let why = if of != epoch || offset > head {
                    Some("epoch_changed")
                } else if offset < head && offset + 1 < floor {
                    Some("expired")
                } else if head - offset > REPLAY_PUBLICATIONS_MAX {
                    Some("too_far")
                } else {
                    None
                };
                assert_eq!(entry.because.as_deref(), why, "{entry:?} for {from:?}");
                assert_eq!(entry.recovered, Some(why.is_none()));
                if why.is_none() { offset } else { head }
            }
        };
        self.subscriptions.insert(entry.channel, Followed { last, known: head, until: head, synced: false });
    }

    fn published(&self, id: u64, content: &Content, reported: &Published, store: &Store) {
        assert_eq!((content.channel, &content.key), (reported.channel, &reported.key));
        let log = store.log(reported.epoch, reported.channel).expect("published in a log that exists");
        let entry = log.at(reported.offset).unwrap_or_else(|| panic!("{reported:?} is not stored"));
        assert_eq!(entry.user, self.user);
        assert_eq!((&entry.key, entry.change, &entry.data), (&content.key, content.change, &content.data));
        assert_eq!(reported.duplicate, entry.origin != (self.serial, id), "{reported:?} for {entry:?}");
        if let Some(key) = &content.key {
            let same = |other: &&Entry| other.user == self.user && other.key.as_ref() == Some(key);
            assert_eq!(log.entries.iter().filter(same).count(), 1, "stored once");
        }
    }

    fn error(&self, id: u64, ask: &Ask, code: &str, retry_ms: Option<u64>, store: &mut Store) {
        let retries =
            matches!(code, "rate_limited" | "unavailable" | "overloaded" | "draining" | "unconfirmed");
        assert!(retries == retry_ms.is_some() || code == "overloaded", "{code} and its retry_ms");
        let Ask::Publish(content) = ask else {
            assert!(!matches!(code, "unconfirmed" | "key_conflict"), "{code} for {ask:?}");
            return;
        };
        match code {
            "unavailable" | "overloaded" | "draining" | "rate_limited" | "too_large" | "forbidden" => {
                let origin = (self.serial, id);
                let stored = store.logs.get(&content.channel);
                let found = stored.is_some_and(|log| log.entries.iter().any(|entry| entry.origin == origin));
                assert!(!found, "{code} for what is stored");
                store.refused.insert(origin);
            }
            "key_conflict" => {
                let key = content.key.as_deref().expect("a key");
                let offset = store.key(content.channel, &self.user, key).expect("the key is known");
                let entry = store.logs[&content.channel].at(offset).expect("it is stored");
                assert_ne!((entry.change, &entry.data), (content.change, &content.data), "the same content");
            }
            "not_found" => assert_ne!(content.change, Change::None),
            "unconfirmed" | "malformed" => {}
            other => panic!("{other} for {content:?}"),
        }
    }

    fn push(&mut self, push: &Push, store: &Store) {
        match push {
            Push::Publication(publication) => {
                check_content(publication, store);
                let followed = self.followed(publication.channel);
                assert_eq!(publication.offset, followed.last + 1, "a gap or a duplicate: {publication:?}");
                followed.last = publication.offset;
            }
            Push::Signal(channel) => {
                assert!(self.followed(*channel).synced, "a signal before synced");
            }
            Push::Synced { channel, offset } => {
                let followed = self.followed(*channel);
                assert!(!std::mem::replace(&mut followed.synced, true), "synced once");
                assert_eq!(*offset, followed.last, "synced at the last one");
                assert!(*offset >= followed.until, "synced at {offset}, before the known head: {followed:?}");
            }
            Push::Unsubscribed(channel) => panic!("every token grants {channel:?}"),
            Push::Lag { channel, from, head } => {
                let truth = store.head(*channel);
                let followed = self.followed(*channel);
                assert_eq!(*from, followed.last + 1, "lag names the first it lacks");
                assert!(from <= head && *head <= truth, "lag {from}…{head} of {truth}");
                followed.last = *head;
            }
            Push::Beat(heads) => {
                for (channel, head) in heads {
                    let truth = store.head(*channel);
                    let followed = self.followed(*channel);
                    assert!(*head > followed.known, "a head that did not move");
                    assert!(*head <= truth, "a head above the store's");
                    followed.known = *head;
                }
            }
            Push::Drain { slot_ms, deadline_ms } => self.slot(*slot_ms, *deadline_ms),
            Push::Bye(_) => {}
        }
    }

    /// Once, with a slot that is over before the close.
    fn slot(&mut self, slot_ms: u64, deadline_ms: u64) {
        let Drain { phase, timetable, .. } = self.process.expect("its process goes");
        assert_eq!(phase, DrainPhase::Moving);
        assert!(!std::mem::replace(&mut self.has_slot, true), "one slot a connection");
        let at = |ms| self.now + Duration::from_millis(ms);
        assert!(slot_ms <= deadline_ms, "a slot in {slot_ms} ms, of {deadline_ms}");
        // A client that is notified late moves at once.
        assert!(slot_ms == 0 || at(slot_ms) <= timetable.slots_until(), "a slot in {slot_ms} ms");
        // Notified in the very moment in which the time is over: nothing is left.
        let left = timetable.close_at().since(self.now);
        assert_eq!(Duration::from_millis(deadline_ms), left, "what is left until the close");
    }

    /// Closed because the process ends: not before that is due, and what was taken is answered.
    fn check_restart(&self) {
        let process = self.process.expect("its process goes");
        assert_eq!(process.phase, DrainPhase::Closing);
        assert!(!self.connected || self.unanswered.is_empty(), "closed over {:?}", self.unanswered);
    }

    pub fn has_slot(&self) -> bool {
        self.has_slot
    }

    /// The moment from which it could get a slot: the listener closes `accept` after the beginning, it is connected, and it is
    /// not closed.
    pub fn moves_since(&self, accept: Duration) -> Option<Moment> {
        if self.ending != Ending::None {
            return None;
        }
        let process = self.process?;
        self.since.map(|since| since.max(process.timetable.since + accept))
    }

    /// Its process is gone: it had a `bye`, or went by itself.
    pub fn check_left(&self) {
        assert_ne!(self.ending, Ending::None, "#{} was left without a bye", self.serial);
    }

    fn followed(&mut self, channel: Channel) -> &mut Followed {
        self.subscriptions.get_mut(&channel).unwrap_or_else(|| panic!("c{channel} is not subscribed"))
    }

    /// Every command is answered in time, or its connection ends.
    pub fn check_time(&self, now: Moment) {
        if self.ending != Ending::None {
            return;
        }
        for (id, (at, ask)) in &self.unanswered {
            assert!(
                *at + REPLY_MAX >= now,
                "{id} of {} waits for {:?}: {ask:?}",
                self.serial,
                now.since(*at)
            );
        }
    }

    /// No fault is left: everything is answered and every replay came to its end.
    pub fn check_settled(&self) {
        if self.ending == Ending::None {
            assert!(self.unanswered.is_empty(), "unanswered: {:?}", self.unanswered);
            for (channel, followed) in &self.subscriptions {
                assert!(followed.synced, "c{channel} never synced: {followed:?}");
            }
        }
    }
}

/// A publication says what the store says, or that it was erased.
fn check_content(publication: &Publication, store: &Store) {
    let entry = store.logs.get(&publication.channel).and_then(|log| log.at(publication.offset));
    let entry = entry.unwrap_or_else(|| panic!("{publication:?} is not stored"));
    let change = match (publication.edits, publication.deletes) {
        (Some(target), None) => Change::Edits(seawall::id::Offset(target)),
        (None, Some(target)) => Change::Deletes(seawall::id::Offset(target)),
        (None, None) => Change::None,
        (Some(_), Some(_)) => panic!("edits and deletes: {publication:?}"),
    };
    assert_eq!((&publication.key, change), (&entry.key, entry.change));
    match &publication.data {
        Some(data) => {
            assert_eq!(data, &entry.data, "other content at {publication:?}");
            assert_eq!(publication.deleted_by, None);
        }
        None => assert!(
            entry.data == "null"
                || (publication.deleted_by.is_some() && publication.deleted_by == entry.deleted_by),
            "{publication:?} lost its content"
        ),
    }
}
