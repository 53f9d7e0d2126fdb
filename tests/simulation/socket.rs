//! One connection's two directions: the bytes under way, the room in the kernel, and the ends that are gone.
//!
//! The server's bytes are tapped as they enter the outbox. The bytes that leave the outbox must be the tapped ones, in order; a
//! client reads a frame when its last byte has arrived.

use super::frame::{Frame, Push, read_all};
use super::order::Order;
use seawall::clock::Moment;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

pub type Shared = Rc<RefCell<Socket>>;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A message of a client.
#[derive(Clone, Debug)]
pub enum Upward {
    Upgrade,
    Text(Order),
    Pong,
    Close,
}

impl Upward {
    /// As it is sent: a head, or a frame whose mask is zero (RFC 6455 section 5.2).
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Upward::Upgrade => UPGRADE.into(),
            Upward::Pong => vec![0x8A, 0x80, 0, 0, 0, 0],
            Upward::Close => vec![0x88, 0x82, 0, 0, 0, 0, 3, 0xE8],
            Upward::Text(order) => {
                let text = order.text.as_bytes();
                let mut frame = vec![0x81];
                match text.len() {
                    length @ ..126 => frame.push(0x80 | length as u8),
                    length @ ..65_536 => {
                        frame.push(0x80 | 126);
                        frame.extend((length as u16).to_be_bytes());
                    }
                    length => {
                        frame.push(0x80 | 127);
                        frame.extend((length as u64).to_be_bytes());
                    }
                }
                frame.extend([0; 4]);
                frame.extend(text);
                frame
            }
        }
    }
}

#[derive(Debug, Default)]
pub struct Socket {
    /// Messages that the server has not read, and when they arrive.
    pub upward: VecDeque<(Moment, Upward)>,
    /// Frames on their way down, each with the stream position of its end.
    downward: VecDeque<(usize, Rc<Frame>)>,
    /// Bytes tapped; those from `untaken` on wait for the kernel.
    tapped: Vec<u8>,
    untaken: usize,
    tapped_end: usize,
    taken: usize,
    delivered: usize,
    /// The bytes that the kernel holds at most.
    pub capacity: usize,
    pub server_gone: bool,
    pub client_gone: bool,
}

impl Socket {
    pub fn new(capacity: usize) -> Shared {
        Rc::new(RefCell::new(Socket { capacity, ..Socket::default() }))
    }

    /// Bytes that entered the outbox and wait for the kernel.
    pub fn waiting(&self) -> &[u8] {
        &self.tapped[self.untaken..]
    }

    /// Notes bytes that entered the outbox and are no frames.
    pub fn tap_other(&mut self, bytes: &[u8]) {
        self.tapped.extend_from_slice(bytes);
        self.tapped_end += bytes.len();
    }

    /// Notes frames that entered the outbox.
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

    /// The client reads at most this many bytes; returns the frames that are complete then.
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

/// Parses frames.
pub fn parse(bytes: &[u8]) -> Vec<(usize, Rc<Frame>)> {
    read_all(bytes).into_iter().map(|(length, frame)| (length, Rc::new(frame))).collect()
}

/// True exactly for unsolicited frames that need a session.
pub fn is_push(frame: &Frame) -> bool {
    match frame {
        Frame::Push(Push::Bye(_)) => false,
        Frame::Push(_) => true,
        Frame::Reply(..) | Frame::Complaint(_) | Frame::Close(_) | Frame::Ping | Frame::Pong => false,
    }
}
