//! One connection: its socket, its pending commands and what arrives from its channel.

use super::roster::View;
use crate::clock::Micros;
use crate::ledger::Arrivals;
use mio::net::TcpStream;
use seawall_load::frame;
use std::io::{ErrorKind, Read as _, Write as _};

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The upgrade was sent, or waits for the socket to open.
    Upgrading,
    Connecting,
    /// Connected; the channel's replay has not ended.
    Joining,
    /// The replay has ended.
    Live,
    /// We sent a close frame and read until the server answers.
    Leaving,
}

/// The kind of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Connect,
    Subscribe,
    /// `publish` of the publication with this number.
    Publish(u32),
    History,
    Presence,
}

impl Command {
    pub fn name(self) -> &'static str {
        match self {
            Command::Connect => "connect",
            Command::Subscribe => "subscribe",
            Command::Publish(_) => "publish",
            Command::History => "history",
            Command::Presence => "presence",
        }
    }
}

/// A command that awaits its answer.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub id: u64,
    pub what: Command,
    pub sent: Micros,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    /// The number of its client.
    pub client: u32,
    /// A number that is never reused.
    pub number: u32,
    /// The place of its gateway.
    pub slot: u8,
    /// The number of the gateway process.
    pub life: u16,
    pub stage: Stage,
    /// The accept key that the answer to the upgrade must contain.
    pub accept: String,
    /// When it was dialled.
    pub dialled: Micros,
    /// When `connected` arrived.
    pub connected: Micros,
    /// When anything last arrived.
    pub heard: Micros,
    /// The server's ping interval: the longest silence to expect.
    pub ping: Micros,
    /// Connected time after which the backoff is reset.
    pub stable: Micros,
    /// Commands without an answer.
    pub pending: Vec<Pending>,
    pub next_id: u64,
    /// The publications received since the subscription.
    pub arrivals: Option<Arrivals>,
    /// The last head that only a beat announced, and when.
    pub beat_head: Option<(u64, Micros)>,
    /// The `retry_ms` of `bye`, once `bye` has arrived.
    pub bye: Option<Option<u64>>,
    /// True once `drain` has arrived: the client is to move.
    pub draining: bool,
    /// The roster of its channel, if it watches it and a frame has arrived.
    pub roster: Option<View>,
    /// The start of an incomplete frame or HTTP head.
    pub partial: Vec<u8>,
    /// True exactly while it is on the list of connections to flush.
    pub dirty: bool,
    /// Until when a slow reader reads nothing.
    pub paused_until: Micros,
    stream: TcpStream,
    out: Vec<u8>,
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the socket is empty.
    Drained,
    /// The peer has closed: read to the end of the stream.
    TheEnd,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// This number of bytes, and the socket is empty.
    Drained(usize),
    /// The buffer is full.
    Full,
    /// The stream has ended.
    Over,
}

impl Link {
    /// Creates a connection that is being dialled.
    pub fn new(
        (client, number): (u32, u32),
        (slot, life): (u8, u16),
        stream: TcpStream,
        now: Micros,
    ) -> Link {
        Link {
            client,
            number,
            slot,
            life,
            stage: Stage::Upgrading,
            accept: String::new(),
            dialled: now,
            connected: 0,
            heard: now,
            ping: 25_000_000,
            stable: 10_000_000,
            pending: Vec::new(),
            next_id: 1,
            arrivals: None,
            beat_head: None,
            bye: None,
            draining: false,
            roster: None,
            partial: Vec::new(),
            dirty: false,
            paused_until: 0,
            stream,
            out: Vec::new(),
        }
    }

    /// The socket, for registration.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Queues raw bytes.
    pub fn queue_bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub fn queue(&mut self, opcode: u8, payload: &[u8]) {
        frame::write(&mut self.out, opcode, payload, fastrand::u32(..));
    }

    /// Writes queued bytes until the kernel takes no more. Errors are left to the next read, which may first return bytes
    /// that say why.
    pub fn flush(&mut self) {
        let mut sent = 0;
        while let Some(rest) = self.out.get(sent..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(bytes) => sent += bytes,
                Err(_) => break,
            }
        }
        self.out.drain(..sent);
        if self.out.is_empty() && self.out.capacity() > 4_096 {
            self.out = Vec::new();
        }
    }

    /// Reads once into `buffer`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Got {
        match self.stream.read(buffer) {
            Ok(0) => Got::Over,
            Ok(bytes) if bytes == buffer.len() => Got::Full,
            Ok(bytes) => Got::Drained(bytes),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                Got::Drained(0)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Got::Drained(0),
            Err(_) => Got::Over,
        }
    }

    /// Removes the command with this id from the pending ones.
    pub fn answered(&mut self, id: u64) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.id == id)?;
        Some(self.pending.swap_remove(at))
    }
}
