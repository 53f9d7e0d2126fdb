//! The frames of a roster for its watchers.

use super::super::members::SentMember;
use super::super::pace::REFRESH_MS;
use super::super::page::{self, MEMBERS_BYTES};
use super::super::reactors::ReactorSet;
use super::super::watching::{PushAudience, RosterChanges, RosterPush, WatchOf, Watching};
use super::{Changed, Roster};
use crate::clock::Moment;
use crate::id::UserName;
use crate::limits::ROSTER_PAGE_MEMBERS;
use crate::wire::presence::{self, Listing, RosterHead, RosterKnowledge};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The frame of a difference, or the reason that there is none.
enum Difference {
    None,
    Frame(Vec<u8>),
    /// The difference does not fit into a frame.
    TooLarge,
}

impl Roster {
    /// Appends the frames that are due.
    pub(in crate::roster) fn push(
        &mut self,
        knowledge: RosterKnowledge,
        now: Moment,
        into: &mut Vec<RosterPush>,
    ) {
        let Some(mut watching) = self.watching.take() else { return self.pace.skipped() };
        let before = into.len();
        let is_counted = self.listing == Listing::Counted && self.changed != Changed::Listing;
        let is_early = is_counted && self.pace.counted_at(self.sent, self.numbers()) > now;
        if !is_early || self.is_news(knowledge) {
            self.push_changes(&mut watching, knowledge, into);
            if into.len() > before {
                self.pace.sent_to_all(now);
            }
        }
        self.announced = Some(knowledge);
        let waiting = std::mem::take(&mut watching.waiting);
        if !waiting.is_empty() {
            let object = page::write(&self.head(knowledge), &self.members, None, ROSTER_PAGE_MEMBERS);
            into.push(self.answer(PushAudience::Waiting, &waiting, &object));
        }
        let waiting = std::mem::take(&mut watching.waiting_count);
        if !waiting.is_empty() {
            let object = presence::numbers(&self.head(knowledge), None);
            into.push(self.answer(PushAudience::WaitingCount, &waiting, &object));
        }
        self.watching = Some(watching);
        if into.len() > before {
            self.pace.sent(now)
        } else {
            self.pace.skipped()
        }
        if is_early && self.numbers() != self.sent {
            self.pace.plan_counted(self.sent, self.numbers(), now);
        }
    }

    /// True if watchers were sent another knowledge than this.
    fn is_news(&self, knowledge: RosterKnowledge) -> bool {
        self.announced.is_some_and(|announced| announced != knowledge)
    }

    fn push_changes(
        &mut self,
        watching: &mut Watching,
        knowledge: RosterKnowledge,
        into: &mut Vec<RosterPush>,
    ) {
        let changes = std::mem::take(&mut watching.changes);
        let is_news = self.is_news(knowledge);
        // The numbers alone say as well whether the roster is complete.
        let moved = self.numbers() != self.sent || is_news;
        let changed = std::mem::replace(&mut self.changed, Changed::No);
        self.revision += 1;
        let head = self.head(knowledge);
        let members = match (self.listing, changed, changes) {
            (Listing::Counted, Changed::Listing, _) => Some(presence::numbers(&head, None)),
            (Listing::Counted, _, _) => moved.then(|| presence::numbers(&head, None)),
            (Listing::Listed, Changed::Listing, _) => {
                Some(page::write(&head, &self.members, None, ROSTER_PAGE_MEMBERS))
            }
            (Listing::Listed, _, RosterChanges::Many) => Some(presence::numbers(&head, Some(REFRESH_MS))),
            (Listing::Listed, _, RosterChanges::Few(few)) => match self.difference(&head, &few) {
                Difference::None => is_news.then(|| presence::numbers(&head, None)),
                Difference::Frame(object) => Some(object),
                Difference::TooLarge => Some(presence::numbers(&head, Some(REFRESH_MS))),
            },
        };
        let is_counting = moved && !watching.count.is_empty();
        let has_members = !watching.members.is_empty();
        match members.filter(|_| has_members) {
            Some(object) => into.push(self.of(PushAudience::Current, watching.members, &object)),
            None if is_counting => {}
            None => self.revision -= 1,
        }
        if is_counting {
            into.push(self.of(
                PushAudience::Count,
                watching.count,
                &presence::numbers(&self.head(knowledge), None),
            ));
        }
        self.sent = self.numbers();
    }

    fn difference(&self, head: &RosterHead<'_>, few: &BTreeMap<UserName, Option<SentMember>>) -> Difference {
        let (mut joined, mut changed, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (user, before) in few {
            match (before, self.members.get(user)) {
                (None, Some(member)) => presence::member(&mut joined, &member.as_shown()),
                (Some(before), Some(member)) if *before != member.sent() => {
                    presence::member(&mut changed, &member.as_shown());
                }
                (Some(_), None) => presence::left(&mut left, user.as_str()),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        match joined.len() + changed.len() + left.len() {
            0 => Difference::None,
            bytes if bytes > MEMBERS_BYTES => Difference::TooLarge,
            _ => Difference::Frame(presence::difference(head, &joined, &changed, &left)),
        }
    }

    fn of(&self, audience: PushAudience, reactors: ReactorSet, object: &[u8]) -> RosterPush {
        let frame = Arc::from(presence::push(object));
        RosterPush { channel: self.channel.clone(), audience, reactors, answers: Arc::default(), frame }
    }

    /// A snapshot for these watches.
    fn answer(&self, audience: PushAudience, watches: &[WatchOf], object: &[u8]) -> RosterPush {
        let mut reactors = ReactorSet::default();
        for watch in watches {
            reactors.insert(watch.reactor);
        }
        RosterPush { answers: watches.into(), ..self.of(audience, reactors, object) }
    }
}
