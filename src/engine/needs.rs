//! Requests for the hub's needs: positions and pages from the store, and channels from the bus.

use super::Engine;
use super::order::{FollowMode, Job};
use super::pending::Request;
use super::recover::{HeadsRound, Recovery};
use crate::hub::{ChannelId, Need, PageWanted};
use crate::id::Offset;
use crate::job::Read;
use crate::job::bus::Interest;
use crate::limits::{HEADS_CHANNELS_MAX, REPLAY_PAGE_BYTES_MAX, REPLAY_PUBLICATIONS_MAX};
use crate::wire::command::HistoryRange;

impl Engine {
    /// Reads the heads of all channels after the lane of broadcasts was full, so that holes show.
    pub fn handle_missed(&mut self) {
        self.tally.live_missed.add(1);
        self.reads.heads = match self.reads.heads {
            HeadsRound::Rests(_) | HeadsRound::Runs(0) => HeadsRound::Runs(0),
            HeadsRound::Runs(from) | HeadsRound::RunsAndAgain(from) => HeadsRound::RunsAndAgain(from),
        };
    }

    /// Makes the requests that the hub needs. For a new channel, the bus is asked before the store.
    pub(super) fn ask_needs(&mut self) {
        self.send_unfollowed();
        if let Some(contradiction) = self.hub.take_contradiction() {
            self.hand_out(Job::Read(Read::Contradicted(contradiction)));
        }
        while self.hub.has_needs() {
            for need in self.hub.take_needs() {
                match need {
                    Need::Position(id)
                        if self.out.follows == FollowMode::ByBus && self.hub.ask_follow(id) =>
                    {
                        self.follow(id);
                    }
                    Need::Position(id) => self.recover(Recovery::Position(id)),
                    Need::Older(id) => self.recover(Recovery::Older(id)),
                    Need::Streams(id) => self.recover(Recovery::Streams(id)),
                    Need::Fill(id, after) => self.ask_fill(id, after),
                }
            }
            self.recover_waiting();
        }
        self.recover_waiting();
    }

    /// Reads the publications that a channel missed. The read does not queue behind recoveries, because live subscribers
    /// already wait for it.
    fn ask_fill(&mut self, id: ChannelId, after: Offset) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        let wanted = PageWanted { range: HistoryRange::After(after), limit: REPLAY_PUBLICATIONS_MAX as u32 };
        self.ask_log(Request::Fill(id), channel, wanted, REPLAY_PAGE_BYTES_MAX);
    }

    /// Subscribes the bus to a channel. The position of its log is read after that, so that the bus delivers what is
    /// published in between.
    fn follow(&mut self, id: ChannelId) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        // Channels that wait to be left were handed out before, so one that is followed again does not end up left.
        self.ask(Request::Follow(id), self.now.at, |ticket| {
            Job::Interest(Interest::Follow { ticket, channel })
        });
    }

    /// Unsubscribes the bus from channels without subscribers. They wait here while its queue is full.
    pub(super) fn send_unfollowed(&mut self) {
        self.out.unfollowing.extend(self.hub.take_unfollowed());
        let unfollowed = self.out.unfollowing.drain(..);
        if self.out.follows == FollowMode::ByBus {
            self.out.jobs.extend(unfollowed.map(|channel| Job::Interest(Interest::Leave { channel })));
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
        let (channels, next) = self.hub.heads_from(from, HEADS_CHANNELS_MAX);
        self.reads.heads = match (next, self.reads.heads) {
            (Some(next), HeadsRound::RunsAndAgain(_)) => HeadsRound::RunsAndAgain(next),
            (Some(next), HeadsRound::Runs(_) | HeadsRound::Rests(_)) => HeadsRound::Runs(next),
            (None, HeadsRound::RunsAndAgain(_)) => HeadsRound::Runs(0),
            (None, HeadsRound::Runs(_) | HeadsRound::Rests(_)) => HeadsRound::starting(self.now.at),
        };
        if !channels.is_empty() {
            self.ask(Request::Heads, self.now.at, |ticket| Job::Read(Read::Heads { ticket, channels }));
        }
    }
}
