//! Connections that we end ourselves, in the ways in which clients go.
//!
//! What the server had sent when it noticed is read to the end wherever that is possible: only then do both sides count
//! the same.

use crate::crowd::{Crowd, Mode};
use crate::frame;
use crate::member::Stage;
use std::io::ErrorKind;

/// How a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// A close frame with 1000; what comes is read until the server has closed.
    Close,
    /// The end of the stream without a close frame, as when a program dies; what comes is read to the end.
    Drop,
    /// A reset. What was under way to us is lost, so only a connection that waits for nothing may be left so.
    Reset,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It stays: something of ours is not sent yet, or the system refused.
    Not,
    /// [`Mode::left`] says when it is gone.
    UnderWay,
    /// It is gone.
    Done,
}

impl Crowd {
    /// Leaves one that is ready.
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

    /// A close frame came; whether it is the answer to ours.
    pub(crate) fn farewell(&mut self, member: usize, code: u16) -> bool {
        let Some(it) = self.members.get_mut(member) else { return false };
        let Stage::Leaving { how: Leave::Close, answered } = &mut it.stage else { return false };
        if code != 1000 || std::mem::replace(answered, true) {
            return false;
        }
        self.counts.closes_answered += 1;
        true
    }

    /// The stream of one that leaves is over.
    pub(crate) fn gone(&mut self, mode: &mut impl Mode, member: usize, error: Option<ErrorKind>) {
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
