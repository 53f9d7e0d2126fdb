//! Asks for what the hub lacks: positions and pages from the store, and channels from the bus.

use super::Engine;
use super::order::{Follows, Job};
use super::pending::Request;
use super::recover::Recovery;
use crate::clock::Moment;
use crate::hub::{ChannelId, Need};
use crate::id::Offset;
use crate::job::bus::Interest;
use crate::job::{Form, PageRequest, Read, Span};
use crate::limits::{HEADS_CHANNELS_MAX, HEADS_PERIOD, REPLAY_PAGE_BYTES_MAX, REPLAY_PUBLICATIONS_MAX};

/// The progress of the round over all channels' heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadsRound {
    /// The next round begins at this moment.
    Rests(Moment),
    /// The next slice begins at this channel.
    Runs(usize),
    /// The same, and something was missed since the round began, so another round follows at once. (A round that
    /// restarted at each miss would never reach the last channels.)
    RunsAndAgain(usize),
}

impl HeadsRound {
    pub(super) fn starting(now: Moment) -> HeadsRound {
        HeadsRound::Rests(now + HEADS_PERIOD)
    }
}

impl Engine {
    /// The lane of broadcasts was full: the heads of all channels are read, so that holes show.
    pub fn handle_missed(&mut self) {
        self.tally.live_missed.add(1);
        self.reads.heads = match self.reads.heads {
            HeadsRound::Rests(_) | HeadsRound::Runs(0) => HeadsRound::Runs(0),
            HeadsRound::Runs(from) | HeadsRound::RunsAndAgain(from) => HeadsRound::RunsAndAgain(from),
        };
    }

    /// Asks for what the hub lacks. Where a channel is new, the bus is asked before the store.
    pub(super) fn ask_needs(&mut self) {
        self.send_unfollowed();
        while self.hub.has_needs() {
            for need in self.hub.take_needs() {
                match need {
                    Need::Position(id) if self.out.follows == Follows::ByBus && self.hub.ask_follow(id) => {
                        self.follow(id);
                    }
                    Need::Position(id) => self.recover(Recovery::Position(id)),
                    Need::Older(id) => self.recover(Recovery::Older(id)),
                    Need::Fill(id, after) => self.ask_fill(id, after),
                }
            }
            self.recover_waiting();
        }
        self.recover_waiting();
    }

    /// The fill of a hole does not queue behind recoveries: subscribers that are live already miss it.
    fn ask_fill(&mut self, id: ChannelId, after: Offset) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        let asked = self.ask_store(Request::Fill(id), self.now.at, |ticket| {
            let (span, form) = (Span::After(after), Form::Frames);
            let (limit, bytes_max) = (REPLAY_PUBLICATIONS_MAX as u32, REPLAY_PAGE_BYTES_MAX);
            Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form })
        });
        if !asked {
            self.fill(id, None);
        }
    }

    /// Has the bus bring a channel. The position of its log is read after that, so what is published in between comes by the
    /// bus.
    fn follow(&mut self, id: ChannelId) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        // Channels that wait to be left go first, or one that is followed again would end up left.
        let room = self.out.unfollowing.is_empty();
        let ticket = room.then(|| self.pending.insert(Request::Follow(id), self.now.at).ok()).flatten();
        match ticket {
            Some(ticket) => self.out.jobs.push(Job::Interest(Interest::Follow { ticket, channel })),
            None => self.not_followed(id),
        }
    }

    /// The bus does not bring the channel: its subscriptions are refused, and the next one asks again.
    pub(super) fn not_followed(&mut self, id: ChannelId) {
        self.hub.not_asked(id);
        self.position(id, None);
    }

    /// Tells the bus of channels without subscribers. They wait here while its queue is full.
    pub(super) fn send_unfollowed(&mut self) {
        self.out.unfollowing.extend(self.hub.take_unfollowed());
        let unfollowed = self.out.unfollowing.drain(..);
        match self.out.follows {
            Follows::Alone => drop(unfollowed),
            Follows::ByBus => {
                self.out.jobs.extend(unfollowed.map(|channel| Job::Interest(Interest::Leave { channel })));
            }
        }
    }

    /// Reads the heads of the followed logs once a period, a slice a turn: a publication that was lost on its way here then
    /// shows as a hole.
    pub(super) fn read_heads(&mut self) {
        let from = match self.reads.heads {
            HeadsRound::Rests(until) if until > self.now.at => return,
            HeadsRound::Rests(_) => 0,
            HeadsRound::Runs(from) | HeadsRound::RunsAndAgain(from) => from,
        };
        let (channels, next) = self.hub.names_from(from, HEADS_CHANNELS_MAX);
        self.reads.heads = match (next, self.reads.heads) {
            (Some(next), HeadsRound::RunsAndAgain(_)) => HeadsRound::RunsAndAgain(next),
            (Some(next), HeadsRound::Runs(_) | HeadsRound::Rests(_)) => HeadsRound::Runs(next),
            (None, HeadsRound::RunsAndAgain(_)) => HeadsRound::Runs(0),
            (None, HeadsRound::Runs(_) | HeadsRound::Rests(_)) => HeadsRound::starting(self.now.at),
        };
        if !channels.is_empty() {
            self.ask_store(Request::Heads, self.now.at, |ticket| Read::Heads { ticket, channels });
        }
    }
}
