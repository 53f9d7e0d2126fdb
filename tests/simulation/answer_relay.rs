//! The relay of one process in the world of answers: the real schedule and the real decisions of an attempt, by virtual time.

use super::answer_backend::AnswerBackend;
use super::answer_instance::{AnswerInstance, StoreFaults};
use super::answer_sender::{AnswerSender, SenderNews};
use super::answer_store::AnswerStore;
use super::trace::Trace;
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::id::ChannelName;
use seawall::job::relay::{Claimed, Fence, RelayAnswer, RelayNotice, RelayOutcome, RelayWork};
use seawall::relay::route::{RelayRoute, RouteTable};
use seawall::relay::schedule::{AfterSettling, RelaySchedule, RoutePlace, later};
use seawall::wire::stream::StreamId;
use std::collections::BTreeMap;
use std::time::Duration;

const POLL: Duration = Duration::from_secs(1);
const RENEW: Duration = Duration::from_secs(10);

/// The things that a relay acts on.
pub struct RelayStage<'a> {
    pub now: Now,
    pub store: &'a AnswerStore,
    pub faults: StoreFaults,
    pub instance: &'a mut AnswerInstance,
    pub backend: &'a mut AnswerBackend,
    pub rng: &'a mut Rng,
    pub trace: &'a Trace,
    /// The last publication of each channel that arrived.
    pub sent: &'a mut BTreeMap<ChannelName, u64>,
}

pub struct AnswerRelay {
    schedule: RelaySchedule,
    routes: Vec<RelayRoute>,
    table: RouteTable,
    senders: Vec<AnswerSender>,
    due: Option<u64>,
    polls: Moment,
    renews: Moment,
    is_draining: bool,
}

impl AnswerRelay {
    pub fn new(table: &RouteTable, now: Now) -> AnswerRelay {
        let routes: Vec<RelayRoute> = table.iter().cloned().collect();
        AnswerRelay {
            schedule: RelaySchedule::new(routes.iter().map(|route| route.concurrency)),
            routes,
            table: table.clone(),
            senders: Vec::new(),
            due: None,
            polls: now.at,
            renews: now.at,
            is_draining: false,
        }
    }

    /// Gives its claims to others, and sends nothing new.
    pub fn drain(&mut self, instance: &mut AnswerInstance) {
        self.is_draining = true;
        if self.senders.is_empty() {
            instance.ask_store(RelayWork::ReleaseAll);
        }
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    pub fn turn(&mut self, stage: &mut RelayStage<'_>) {
        while let Some(notice) = stage.instance.notices.pop_front() {
            self.noticed(notice, stage);
        }
        self.look(stage);
        while !self.is_draining
            && let Some((place, channel)) = self.schedule.next(stage.now.at, |_| true)
        {
            self.send(place, channel, None, stage);
        }
        for mut sender in std::mem::take(&mut self.senders) {
            let news = sender.turn(stage);
            self.reported(sender, news, stage);
        }
        for (place, route) in self.routes.iter().enumerate() {
            let taken = self.schedule.taken(RoutePlace(place));
            assert!(taken <= usize::from(route.concurrency), "S6: {taken} requests of {}", route.name);
        }
        let mut channels: Vec<&ChannelName> =
            self.senders.iter().filter(|sender| !sender.reads()).map(|sender| &sender.channel).collect();
        channels.sort();
        assert!(channels.is_sorted_by(|one, other| one < other), "R2: two senders have one of {channels:?}");
    }

    fn place_of(&self, channel: &ChannelName) -> RoutePlace {
        let name = &self.table.of(channel).expect("a route").name;
        let place = self.routes.iter().position(|route| route.name == *name);
        RoutePlace(place.expect("a route"))
    }

    fn noticed(&mut self, notice: RelayNotice, stage: &mut RelayStage<'_>) {
        match notice {
            RelayNotice::Waiting { channel } => {
                // It may be lost.
                if stage.rng.u8(..10) > 0 {
                    let place = self.place_of(&channel);
                    self.schedule.noticed(channel, place);
                }
            }
            RelayNotice::Cancelled { id, .. } => {
                stage.backend.cancels += 1;
                self.close(&id);
            }
            RelayNotice::Over { id } => self.close(&id),
        }
    }

    /// Closes the response with an answer, if it is being read.
    fn close(&mut self, id: &StreamId) {
        self.senders.iter_mut().for_each(|sender| sender.close(id));
    }

    fn look(&mut self, stage: &mut RelayStage<'_>) {
        let now = stage.now.at;
        if let Some(RelayAnswer::Due(due)) = self.due.and_then(|due| stage.instance.answers.remove(&due)) {
            self.due = None;
            for row in due.channels {
                let place = self.place_of(&row.channel);
                self.schedule.due(row.channel, place);
            }
        }
        if now >= self.polls {
            self.polls = now + POLL;
            // The answer may have been lost.
            self.due = Some(stage.instance.ask_store(RelayWork::Due { limit: 1_000 }));
        }
        if now >= self.renews {
            self.renews = now + RENEW;
            let claims: Vec<(ChannelName, Fence)> =
                self.senders.iter().filter_map(AnswerSender::claim).collect();
            if !claims.is_empty() {
                stage.instance.ask_store(RelayWork::Renew { claims });
            }
        }
    }

    fn send(
        &mut self,
        place: RoutePlace,
        channel: ChannelName,
        claim: Option<(Box<Claimed>, Moment)>,
        stage: &mut RelayStage<'_>,
    ) {
        let route = self.routes[place.0].clone();
        self.senders.push(AnswerSender::new(place, route, channel, claim, stage));
    }

    fn reported(&mut self, sender: AnswerSender, news: SenderNews, stage: &mut RelayStage<'_>) {
        let place = sender.place;
        match news {
            SenderNews::Goes => self.senders.push(sender),
            SenderNews::Settled(after) => {
                let channel = sender.channel.clone();
                self.settled(&channel, after, stage);
                if sender.reads() {
                    self.senders.push(sender);
                } else {
                    self.schedule.freed(place);
                }
            }
            SenderNews::Next(claimed, asked) => {
                self.senders.push(sender);
                let channel = claimed.channel.clone();
                if !self.is_draining && self.schedule.take_over(&channel) {
                    return self.send(place, channel, Some((claimed, asked)), stage);
                }
                let (fence, outcome) = (claimed.fence, RelayOutcome::Release);
                stage.instance.ask_store(RelayWork::Settle { channel: channel.clone(), fence, outcome });
                self.settled(&channel, Some(Duration::ZERO), stage);
            }
            SenderNews::Freed => self.schedule.freed(place),
        }
    }

    /// `None`: nothing is to be sent, as far as it is known.
    fn settled(&mut self, channel: &ChannelName, after: Option<Duration>, stage: &RelayStage<'_>) {
        let after = match after {
            None => AfterSettling::Rest,
            Some(Duration::ZERO) => AfterSettling::Ready,
            Some(delay) => later(stage.now.at, delay),
        };
        let place = self.place_of(channel);
        self.schedule.settled(channel, after, Some(place));
    }

    /// The process is killed: the backend's connections break.
    pub fn crash(&mut self, backend: &mut AnswerBackend) {
        self.senders.iter().filter_map(AnswerSender::call).for_each(|call| backend.close(call));
    }
}
