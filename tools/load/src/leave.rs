//! Ends connections from this side, in the ways clients do.
//!
//! Wherever possible, everything the server sent before it noticed is read to the end, because only then do the counters
//! of both sides agree.

use crate::crowd::{Crowd, Mode};
use crate::frame;
use crate::member::Stage;
use std::io::ErrorKind;

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// A close frame with code 1000, then reading until the server has closed.
    Close,
    /// The end of the stream without a close frame, as when a program dies; then reading to the end.
    Drop,
    /// A reset. Bytes on the way to us are lost, so use it only for a connection that awaits nothing.
    Reset,
}

/// The result of leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The connection stays: we have unsent bytes, or the system refused.
    Not,
    /// The connection is closing; [`Mode::left`] is called when it is gone.
    UnderWay,
    /// The connection is gone.
    Done,
}

impl Crowd {
    /// Ends the connection of a ready member.
    pub(crate) fn leave(&mut self, member: usize, how: Leave) -> Leaving {
        self.flush_one(member);
        let Some(it) = self.members.get_mut(member) else { return Leaving::Not };
        if it.stage != Stage::Ready || !it.has_sent_all() {
            return Leaving::Not;
        }
        match how {
            Leave::Close => {
                self.counts.closes_sent += 1;
                self.send(member, frame::CLOSE, &1000u16.to_be_bytes());
            }
            Leave::Drop if it.end_half().is_err() => return Leaving::Not,
            Leave::Drop => self.counts.dropped += 1,
            Leave::Reset if it.reset().is_err() => return Leaving::Not,
            Leave::Reset => {
                self.counts.reset += 1;
                return Leaving::Done;
            }
        }
        if let Some(it) = self.members.get_mut(member) {
            it.stage = Stage::Leaving { how, answered: false };
        }
        Leaving::UnderWay
    }

    /// Handles a close frame. True if it answers ours.
    pub(crate) fn close_received(&mut self, member: usize, code: u16) -> bool {
        let Some(it) = self.members.get_mut(member) else { return false };
        let Stage::Leaving { how: Leave::Close, answered } = &mut it.stage else { return false };
        if code != 1000 || std::mem::replace(answered, true) {
            return false;
        }
        self.counts.closes_answered += 1;
        true
    }

    /// Handles the end of the stream of a leaving member.
    pub(crate) fn stream_ended(&mut self, mode: &mut impl Mode, member: usize, error: Option<ErrorKind>) {
        let Some(it) = self.members.get_mut(member) else { return };
        let owed = it.stage == Stage::Leaving { how: Leave::Close, answered: false };
        it.drop_socket();
        if let Some(kind) = error {
            self.faults.add("leave", || format!("{kind} instead of the end of the stream"));
        } else if owed {
            self.faults.add("leave", || "the end of the stream instead of a close frame".to_owned());
        }
        self.move_on();
        mode.left(self, member);
    }
}
