//! Reads of open streams, which the hub needs.

use super::Engine;
use super::order::Job;
use super::pending::Request;
use super::recover::Retry;
use crate::hub::ChannelId;
use crate::job::stream::WholeStream;
use crate::job::{Read, ReadError, StreamRequest, Ticket};

impl Engine {
    /// Reads a channel's open streams, whole.
    pub(super) fn read_streams(&mut self, id: ChannelId) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        self.ask(Request::Streams(id), self.now.at, |ticket| {
            Job::Read(Read::Stream(StreamRequest { ticket, channel, offset: None, known: None }))
        });
    }

    /// Takes open streams that were read.
    pub(super) fn streams_read(&mut self, ticket: Ticket, outcome: Result<Vec<WholeStream>, ReadError>) {
        if let Some(Request::Streams(channel)) = self.pending.take(ticket) {
            self.open_streams(channel, outcome.ok());
        }
    }

    /// Gives a channel its open streams; without them it is asked again a little later.
    pub(super) fn open_streams(&mut self, channel: ChannelId, read: Option<Vec<WholeStream>>) {
        if read.is_none() {
            self.reads.retry(Retry::Streams(channel), self.now.at);
        }
        self.hub.streams_read(channel, read);
    }

    /// Reads the open streams of all channels after the lane of broadcasts was full.
    pub fn handle_missed_streams(&mut self) {
        self.hub.streams_missed();
    }
}
