//! One connection's two directions: what is under way, how much room the kernel has, and who is gone.
//!
//! What the server says is tapped as it enters the outbox. The bytes that leave the outbox must be the
//! tapped ones, in order; a client reads a frame when its last byte arrived.

use super::frame::{Frame, Push, read_all};
use super::order::Order;
use seawall::clock::Moment;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

pub type Shared = Rc<RefCell<Socket>>;

/// What a client sends.
#[derive(Clone, Debug)]
pub enum Upward {
    Text(Order),
    Pong,
    Close,
}

#[derive(Debug, Default)]
pub struct Socket {
    /// What the server has not read, and when it arrives.
    pub upward: VecDeque<(Moment, Upward)>,
    /// Frames on their way down, each with the stream position of its end.
    downward: VecDeque<(usize, Rc<Frame>)>,
    /// Bytes tapped; those from `untaken` on wait for the kernel.
    tapped: Vec<u8>,
    untaken: usize,
    tapped_end: usize,
    taken: usize,
    delivered: usize,
    /// What the kernel holds at most.
    pub capacity: usize,
    pub server_gone: bool,
    pub client_gone: bool,
}

impl Socket {
    pub fn new(capacity: usize) -> Shared {
        Rc::new(RefCell::new(Socket { capacity, ..Socket::default() }))
    }

    /// Notes what entered the outbox.
    pub fn tap(&mut self, bytes: &[u8]) -> Vec<Rc<Frame>> {
        self.tap_frames(bytes, &parse(bytes))
    }

    /// The same, where the bytes were read before.
    pub fn tap_frames(&mut self, bytes: &[u8], frames: &[(usize, Rc<Frame>)]) -> Vec<Rc<Frame>> {
        self.tapped.extend_from_slice(bytes);
        for (length, frame) in frames {
            self.tapped_end += length;
            self.downward.push_back((self.tapped_end, Rc::clone(frame)));
        }
        frames.iter().map(|(_, frame)| Rc::clone(frame)).collect()
    }

    /// How many bytes the kernel takes now.
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.taken - self.delivered)
    }

    /// The kernel takes what the outbox gives.
    pub fn take(&mut self, bytes: &[u8]) {
        let waiting = &self.tapped[self.untaken..];
        assert!(waiting.starts_with(bytes), "the outbox gives out other bytes than it was given");
        self.untaken += bytes.len();
        if self.untaken == self.tapped.len() {
            self.tapped.clear();
            self.untaken = 0;
        }
        self.taken += bytes.len();
    }

    /// The client reads at most so many bytes; the frames that are whole then.
    pub fn read(&mut self, most: usize) -> Vec<Rc<Frame>> {
        self.delivered += most.min(self.taken - self.delivered);
        let mut frames = Vec::new();
        while let Some((end, _)) = self.downward.front()
            && *end <= self.delivered
        {
            frames.extend(self.downward.pop_front().map(|(_, frame)| frame));
        }
        frames
    }

    /// True exactly when nothing more will come.
    pub fn ended(&self) -> bool {
        self.server_gone && self.delivered == self.taken
    }
}

/// Reads a run of frames once for all who get it.
pub fn parse(bytes: &[u8]) -> Vec<(usize, Rc<Frame>)> {
    read_all(bytes).into_iter().map(|(length, frame)| (length, Rc::new(frame))).collect()
}

/// True exactly for frames that nobody asked for and that need a session.
pub fn is_push(frame: &Frame) -> bool {
    match frame {
        Frame::Push(Push::Bye(_)) => false,
        Frame::Push(_) => true,
        Frame::Reply(..) | Frame::Complaint(_) | Frame::Close(_) | Frame::Ping | Frame::Pong => false,
    }
}
