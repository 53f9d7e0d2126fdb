//! The server loop: accept, read, answer, send to every subscriber.

use crate::Sends;
use crate::command::{self, Command};
use crate::connection::{Connection, Got, Stage};
use crate::frame;
use crate::upgrade::{self, Head, Path};
use mio::net::TcpListener;
use mio::{Events, Poll, Token};
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;

/// The listener's token, out of the range of connections.
const LISTENER: Token = Token(usize::MAX);
/// Size of the read buffer that all connections share.
const READ_BYTES: usize = 64 << 10;
/// The first byte of an unfragmented text frame.
const TEXT: u8 = 0x81;

/// A channel's subscribers, its number of publications, and the frames of this turn.
#[derive(Debug, Default)]
struct Channel {
    subscribers: Vec<usize>,
    published: u64,
    turn: Vec<u8>,
}

/// The state of the server, except for the read buffer.
struct Floor {
    poll: Poll,
    listener: TcpListener,
    sends: Sends,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    channels: Vec<Channel>,
    names: HashMap<String, usize>,
    out: Vec<u8>,
}

/// Serves until the process is killed.
pub(crate) fn run(address: SocketAddr, sends: Sends) -> io::Result<()> {
    let (listener, address) = listen(address)?;
    let mut floor = Floor {
        poll: Poll::new()?,
        listener,
        sends,
        connections: Vec::new(),
        free: Vec::new(),
        channels: Vec::new(),
        names: HashMap::new(),
        out: Vec::with_capacity(READ_BYTES),
    };
    floor.poll.registry().register(&mut floor.listener, LISTENER, mio::Interest::READABLE)?;
    println!("listening on ws://{address}/ws");
    io::stdout().flush()?;
    let mut buffer = vec![0; READ_BYTES];
    let mut events = Events::with_capacity(1024);
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                floor.accept()?;
                continue;
            }
            if event.is_writable()
                && let Some(Some(connection)) = floor.connections.get_mut(event.token().0)
            {
                connection.writable();
            }
            if event.is_readable() {
                floor.readable(event.token().0, &mut buffer, event.is_read_closed());
            }
        }
        if floor.sends == Sends::Concatenated {
            floor.flush_channels();
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4_096)?;
    let listener = TcpListener::from_std(socket.into());
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Floor {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let mut connection = Connection::new(stream);
            let at = self.free.pop().unwrap_or(self.connections.len());
            connection.register(self.poll.registry(), Token(at))?;
            match self.connections.get_mut(at) {
                Some(slot) => *slot = Some(connection),
                None => self.connections.push(Some(connection)),
            }
        }
    }

    /// Reads once; again only if the buffer was full or the peer is closing.
    fn readable(&mut self, at: usize, buffer: &mut [u8], closing: bool) {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(at) else { return };
            let (bytes, more) = match connection.read(buffer) {
                Got::Closed => return self.end(at),
                Got::Drained(0) => return,
                Got::Drained(bytes) => (bytes, closing),
                Got::Full(bytes) => (bytes, true),
            };
            let bytes = &mut buffer[..bytes];
            if connection.partial.is_empty() {
                self.bytes(at, bytes);
            } else {
                let mut all = std::mem::take(&mut connection.partial);
                all.extend_from_slice(bytes);
                self.bytes(at, &mut all);
            }
            if !more {
                return;
            }
        }
    }

    fn bytes(&mut self, at: usize, bytes: &mut [u8]) {
        let Some(Some(connection)) = self.connections.get_mut(at) else { return };
        let mut out = std::mem::take(&mut self.out);
        let (path, mut used) = match connection.stage {
            Stage::Frames(path) => (path, 0),
            Stage::Head => match upgrade::answer(bytes, &mut out) {
                Head::Partial => (Path::Chat, 0),
                Head::Foreign => {
                    self.out = out;
                    return self.end(at);
                }
                Head::Whole(path, length) => {
                    connection.stage = Stage::Frames(path);
                    (path, length)
                }
            },
        };
        let mut close = false;
        if connection.stage != Stage::Head {
            while let Some(found) = frame::next(bytes, used) {
                used = found.end;
                let payload = &bytes[found.start..found.end];
                match (found.first & 0x0f, path) {
                    (0x8, _) => close = true,
                    (0x9 | 0xA, _) => {}
                    (_, Path::Echo) => frame::write(&mut out, found.first, payload),
                    (_, Path::Chat) => self.command(at, payload, &mut out),
                }
            }
        }
        if let Some(Some(connection)) = self.connections.get_mut(at) {
            if used < bytes.len() {
                connection.partial = bytes[used..].to_vec();
            }
            if !out.is_empty() {
                connection.send(&out);
            }
        }
        out.clear();
        self.out = out;
        if close {
            self.end(at);
        }
    }

    fn command(&mut self, at: usize, payload: &[u8], out: &mut Vec<u8>) {
        let Some(command) = std::str::from_utf8(payload).ok().and_then(command::cut) else { return };
        match command {
            Command::Connect { id } => frame::write(out, TEXT, command::connected(id).as_bytes()),
            Command::Subscribe { id, channel } => {
                let place = self.channel(channel);
                let Some(Some(connection)) = self.connections.get_mut(at) else { return };
                if connection.subscription.is_some() {
                    return;
                }
                connection.subscription = Some((place, self.channels[place].subscribers.len()));
                self.channels[place].subscribers.push(at);
                let head = command::HEAD + self.channels[place].published;
                frame::write(out, TEXT, command::subscribed(id, channel, head).as_bytes());
                frame::write(out, TEXT, command::synced(channel, head).as_bytes());
            }
            Command::Publish { id, channel, key, data } => {
                let place = self.channel(channel);
                self.channels[place].published += 1;
                let offset = command::HEAD + self.channels[place].published;
                frame::write(out, TEXT, command::published(id, channel, key, offset).as_bytes());
                self.fan_out(place, command::publication(channel, key, data, offset).as_bytes());
            }
            Command::Signal { channel, data } => {
                let place = self.channel(channel);
                self.fan_out(place, command::signal(channel, data).as_bytes());
            }
        }
    }

    fn channel(&mut self, name: &str) -> usize {
        if let Some(place) = self.names.get(name) {
            return *place;
        }
        self.names.insert(name.to_owned(), self.channels.len());
        self.channels.push(Channel::default());
        self.channels.len() - 1
    }

    fn fan_out(&mut self, place: usize, payload: &[u8]) {
        match self.sends {
            Sends::Concatenated => frame::write(&mut self.channels[place].turn, TEXT, payload),
            Sends::Each => {
                let mut encoded = Vec::with_capacity(payload.len() + 10);
                frame::write(&mut encoded, TEXT, payload);
                send_to_all(&mut self.connections, &self.channels[place].subscribers, &encoded);
            }
        }
    }

    fn flush_channels(&mut self) {
        for channel in &mut self.channels {
            if !channel.turn.is_empty() {
                send_to_all(&mut self.connections, &channel.subscribers, &channel.turn);
                channel.turn.clear();
            }
        }
    }

    fn end(&mut self, at: usize) {
        let Some(connection) = self.connections.get_mut(at).and_then(Option::take) else { return };
        self.free.push(at);
        let Some((place, index)) = connection.subscription else { return };
        let subscribers = &mut self.channels[place].subscribers;
        subscribers.swap_remove(index);
        if let Some(moved) = subscribers.get(index)
            && let Some(Some(moved)) = self.connections.get_mut(*moved)
        {
            moved.subscription = Some((place, index));
        }
    }
}

fn send_to_all(connections: &mut [Option<Connection>], subscribers: &[usize], bytes: &[u8]) {
    for at in subscribers {
        if let Some(Some(connection)) = connections.get_mut(*at) {
            connection.send(bytes);
        }
    }
}
