//! The proxy's thread: a poll over the listener and every connection.

use crate::connection::{Connection, Ending, Look, Turn};
use crate::mode::{Mode, Treatment};
use crate::port::HeldPort;
use crate::stats::{Counters, add};
use crossbeam_channel::{Receiver, Sender};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The maximum number of open connections; more are reset.
pub(crate) const CONNECTIONS_MAX: usize = 1_024;
/// Bytes moved by one system call.
const BUFFER_BYTES: usize = 64 << 10;

const LISTENER: Token = Token(0);
pub(crate) const WAKER: Token = Token(1);
/// The number of the first connection; connection `n` has the tokens `2 n` and `2 n + 1`.
const FIRST: u64 = 1;

/// A request from the handle. Each is acknowledged once it is in effect.
#[derive(Debug)]
pub(crate) enum Request {
    Set(Mode),
    End(Ending),
    Stop,
}

/// A request and the sender for its acknowledgement.
pub(crate) type Acknowledged = (Request, Sender<()>);

pub(crate) struct Engine {
    poll: Poll,
    port: HeldPort,
    listener: Option<TcpListener>,
    /// Holds the port in a state in which the kernel answers no SYN.
    full_listener: Option<(std::net::TcpListener, std::net::TcpStream)>,
    to: SocketAddr,
    mode: Mode,
    requests: Receiver<Acknowledged>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    counters: Arc<Counters>,
    buffer: Vec<u8>,
}

impl Engine {
    pub(crate) fn new(
        poll: Poll,
        port: HeldPort,
        to: SocketAddr,
        requests: Receiver<Acknowledged>,
        counters: Arc<Counters>,
    ) -> io::Result<Engine> {
        let mut engine = Engine {
            poll,
            port,
            listener: None,
            full_listener: None,
            to,
            mode: Mode::Pass,
            requests,
            connections: BTreeMap::new(),
            next: FIRST,
            counters,
            buffer: vec![0; BUFFER_BYTES],
        };
        engine.listen()?;
        Ok(engine)
    }

    /// Runs until it is asked to stop or the handle is gone.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            let due = self.connections.values().filter_map(|connection| connection.due).min();
            let wait = due.map(|due| due.saturating_duration_since(now()).max(Duration::from_millis(1)));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let mut touched: Vec<u64> = events
                .iter()
                .filter(|event| ![LISTENER, WAKER].contains(&event.token()))
                .map(|event| event.token().0 as u64 / 2)
                .collect();
            touched.extend(self.due(now()));
            touched.sort_unstable();
            touched.dedup();
            if !self.handle_requests()? {
                return Ok(());
            }
            self.accept()?;
            for number in touched {
                self.look(number);
            }
        }
    }

    fn due(&self, now: Instant) -> impl Iterator<Item = u64> {
        let due = self
            .connections
            .iter()
            .filter(move |(_, connection)| connection.due.is_some_and(|due| due <= now));
        due.map(|(number, _)| *number)
    }

    /// Handles pending requests; false if the proxy must stop.
    fn handle_requests(&mut self) -> io::Result<bool> {
        loop {
            let (request, answer) = match self.requests.try_recv() {
                Ok(asked) => asked,
                Err(crossbeam_channel::TryRecvError::Empty) => return Ok(true),
                Err(crossbeam_channel::TryRecvError::Disconnected) => return Ok(false),
            };
            match request {
                Request::Set(mode) => self.set(mode)?,
                Request::End(ending) => self.end_all(ending),
                Request::Stop => {
                    self.end_all(Ending::Reset);
                    return Ok(false);
                }
            }
            // The caller may have given up.
            let _ = answer.try_send(());
        }
    }

    fn set(&mut self, mode: Mode) -> io::Result<()> {
        // Connections that arrived before the request belong to the previous mode.
        self.accept()?;
        self.mode = mode;
        if let Some((listener, _)) = self.full_listener.take() {
            end_listening(&listener);
        }
        match mode {
            Mode::Refuse => self.end_listening(),
            Mode::Unanswered => {
                self.end_listening();
                self.full_listener = Some(self.port.listen_full()?);
            }
            Mode::Pass | Mode::Cut | Mode::Reset | Mode::Stall | Mode::HalfOpen(_) | Mode::Slow(_) => {
                self.listen()?
            }
            Mode::ResetOnce(_) | Mode::ResetEach(_) | Mode::Garble(_) | Mode::BlackHole => self.listen()?,
        }
        match mode.treatment() {
            Treatment::Cut => self.end_all(Ending::Cut),
            Treatment::Reset => self.end_all(Ending::Reset),
            Treatment::Serve | Treatment::Wait | Treatment::Swallow => self.apply_mode(),
        }
        Ok(())
    }

    fn apply_mode(&mut self) {
        for number in self.numbers() {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.apply(self.mode);
            }
            self.look(number);
        }
    }

    fn numbers(&self) -> Vec<u64> {
        self.connections.keys().copied().collect()
    }

    fn end_all(&mut self, ending: Ending) {
        for number in self.numbers() {
            self.end(number, ending);
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        if self.listener.is_none() {
            let listener = self.port.listen()?;
            listener.set_nonblocking(true)?;
            let mut listener = TcpListener::from_std(listener);
            self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
            self.listener = Some(listener);
        }
        Ok(())
    }

    fn end_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            end_listening(&listener);
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Some(listener) = &self.listener {
            match listener.accept() {
                Ok((stream, _)) => self.adopt(stream)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn adopt(&mut self, client: TcpStream) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        add(&self.counters.accepted, 1);
        add(&self.counters.open, 1);
        let mut connection = Connection::new(number, client, self.mode);
        connection.client().set_nodelay(true)?;
        self.poll.registry().register(
            connection.client(),
            Token(number as usize * 2),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let over_bound = self.connections.len() >= CONNECTIONS_MAX;
        self.connections.insert(number, connection);
        if over_bound {
            add(&self.counters.over_bound, 1);
            self.end(number, Ending::Reset);
            return Ok(());
        }
        match self.mode.treatment() {
            Treatment::Cut => self.end(number, Ending::Cut),
            Treatment::Reset => self.end(number, Ending::Reset),
            Treatment::Swallow => {
                add(&self.counters.swallowed, 1);
                self.look(number);
            }
            Treatment::Serve | Treatment::Wait => self.look(number),
        }
        Ok(())
    }

    fn look(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let dialed = connection.dial(self.mode, self.to).and_then(|stream| match stream {
            Some(stream) => self.poll.registry().register(
                stream,
                Token(number as usize * 2 + 1),
                Interest::READABLE | Interest::WRITABLE,
            ),
            None => Ok(()),
        });
        if dialed.is_err() {
            self.end(number, Ending::Unreachable);
            return;
        }
        let mut turn =
            Turn { mode: self.mode, now: now(), buffer: &mut self.buffer, counters: &self.counters };
        match connection.look(&mut turn) {
            Look::Alive(due) => connection.due = due,
            Look::Ended(ending) => self.end(number, ending),
        }
    }

    fn end(&mut self, number: u64, ending: Ending) {
        let Some(connection) = self.connections.remove(&number) else { return };
        connection.end(ending, &mut self.buffer);
        self.counters.open.fetch_sub(1, Ordering::Release);
        let counter = match ending {
            Ending::Own => &self.counters.ended,
            Ending::Cut => &self.counters.cut,
            Ending::Reset | Ending::ResetOnce => &self.counters.reset,
            Ending::Unreachable => &self.counters.unreachable,
        };
        add(counter, 1);
        if ending == Ending::ResetOnce {
            self.mode = Mode::Pass;
            self.apply_mode();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop reads the clock and passes it down")]
fn now() -> Instant {
    Instant::now()
}

/// Stops listening with `shutdown`. A child process that has been forked but has not yet executed its program shares the
/// socket, so closing ours alone would leave it listening for that moment, and the port taken.
fn end_listening<'a>(listener: impl Into<SockRef<'a>>) {
    // An error means that it was not listening any more, which is fine.
    let _ = listener.into().shutdown(Shutdown::Both);
}
