//! One connection: its socket, its commands that wait for answers, and what arrives from its channel.

use crate::clock::Micros;
use crate::ledger::Run;
use mio::net::TcpStream;
use seawall_load::frame;
use std::io::{ErrorKind, Read as _, Write as _};

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The upgrade was sent, or waits for the socket to open.
    Upgrading,
    /// `connect` was sent.
    Connecting,
    /// It is connected; its channel's replay is not over, or not begun.
    Joining,
    /// Its replay is over.
    Live,
    /// We sent a close frame, and read until the server answers.
    Leaving,
}

/// What a command was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// `connect`
    Connect,
    /// `subscribe`
    Subscribe,
    /// `publish`, of the publication with this number.
    Publish(u32),
    /// `history`
    History,
}

impl What {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            What::Connect => "connect",
            What::Subscribe => "subscribe",
            What::Publish(_) => "publish",
            What::History => "history",
        }
    }
}

/// A command that waits.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Its id.
    pub id: u64,
    /// What it was.
    pub what: What,
    /// When it was sent.
    pub sent: Micros,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    /// Whose.
    pub client: u32,
    /// Never used again.
    pub number: u32,
    /// To which place for gateways.
    pub slot: u8,
    /// To which process there.
    pub life: u16,
    /// How far it is.
    pub stage: Stage,
    /// What the upgrade's answer must accept.
    pub accept: String,
    /// When it was dialled, and since when it is connected.
    pub dialled: Micros,
    /// When `connected` came.
    pub connected: Micros,
    /// When something last came.
    pub heard: Micros,
    /// The silence the server allows itself.
    pub ping: Micros,
    /// Time online after which the backoff begins anew.
    pub stable: Micros,
    /// Commands without an answer.
    pub pending: Vec<Pending>,
    /// The id of the next command.
    pub next_id: u64,
    /// What arrives since the subscription.
    pub arrivals: Option<Run>,
    /// The last head that only a beat told, and when.
    pub beaten: Option<(u64, Micros)>,
    /// `bye` came, with this hint.
    pub bye: Option<Option<u64>>,
    /// `drain` came: it is to be left.
    pub draining: bool,
    /// The beginning of a frame or a head.
    pub partial: Vec<u8>,
    /// True exactly when it is on the list of those to flush.
    pub dirty: bool,
    /// A slow reader reads nothing until then.
    pub deaf_until: Micros,
    stream: TcpStream,
    out: Vec<u8>,
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the socket is empty.
    Drained,
    /// The peer is gone: until the end of the stream.
    TheEnd,
}

/// What one read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes, and the socket is empty.
    Drained(usize),
    /// The whole buffer.
    Full,
    /// The stream is over.
    Over,
}

impl Link {
    /// A connection that is being dialled.
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
            beaten: None,
            bye: None,
            draining: false,
            partial: Vec::new(),
            dirty: false,
            deaf_until: 0,
            stream,
            out: Vec::new(),
        }
    }

    /// Its socket, to be registered.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Bytes to send as they are.
    pub fn queue_bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A frame to send.
    pub fn queue(&mut self, opcode: u8, payload: &[u8]) {
        frame::write(&mut self.out, opcode, payload, fastrand::u32(..));
    }

    /// Sends what waits, as far as the kernel takes it. An error is left to the read that follows, before which there
    /// may be bytes that say why.
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

    /// One read.
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

    /// Takes the command with this id from those that wait.
    pub fn answered(&mut self, id: u64) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.id == id)?;
        Some(self.pending.swap_remove(at))
    }
}
