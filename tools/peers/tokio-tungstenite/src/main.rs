//! A chat server on tokio-tungstenite, written as someone experienced with both would: a peer to compare Seawall with.
//!
//! It speaks the same subset as `seawall-floor` and shares its file: `/echo` sends each message back, `/ws` has canned
//! answers, and nothing is stored. One thread, one task per connection. A channel is a `broadcast` of text encoded
//! once; a subscriber's clone of it costs a reference count. Everything ready is fed, then flushed once.

// Shared, so that the peer and the floor cannot differ in their answers.
#[path = "../../../floor/src/command.rs"]
mod command;

use command::Command;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use std::collections::HashMap;
use std::future::pending;
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio_tungstenite::tungstenite::handshake::server::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// The size that the library's documentation recommends for many connections; its default of 128 KiB is allocated for each.
const READ_BYTES: usize = 4 << 10;
/// Publications a subscriber may lag before it is disconnected; there is no log to catch up from.
const BEHIND: usize = 1_024;

type Socket = WebSocketStream<TcpStream>;

/// A channel: the number of its publications, and the sender to its subscribers.
struct Channel {
    published: u64,
    listeners: Sender<Utf8Bytes>,
}

/// All channels. Only one thread takes the lock, so it is never contended.
#[derive(Clone, Default)]
struct Channels(Arc<Mutex<HashMap<String, Channel>>>);

fn main() -> ExitCode {
    let Some(address) = listen_argument() else {
        eprintln!("seawall-peer-tokio-tungstenite --listen ADDR:PORT; port 0 takes a free one");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    match runtime.and_then(|runtime| runtime.block_on(run(address))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seawall-peer-tokio-tungstenite: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn listen_argument() -> Option<SocketAddr> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != "--listen" {
        return None;
    }
    arguments.next()?.parse().ok().filter(|_| arguments.next().is_none())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(4_096)
}

async fn run(address: SocketAddr) -> io::Result<()> {
    let listener = listen(address)?;
    println!("listening on ws://{}/ws", listener.local_addr()?);
    io::stdout().flush()?;
    let channels = Channels::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, channels.clone()))),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Serves one connection from its upgrade to its end. The reason for the end is not reported.
async fn serve(stream: TcpStream, channels: Channels) {
    let mut echoes = false;
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let path = |request: &Request, response| {
        echoes = request.uri().path() == "/echo";
        Ok(response)
    };
    let Ok(socket) = accept_hdr_async_with_config(stream, path, Some(config)).await else { return };
    let _ = if echoes { echo(socket).await } else { chat(socket, channels).await };
}

async fn echo(mut socket: Socket) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let mut ready = Some(message);
        while let Some(message) = ready {
            let message = message?;
            if message.is_text() || message.is_binary() {
                socket.feed(message).await?;
            }
            ready = socket.next().now_or_never().flatten();
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn chat(mut socket: Socket, channels: Channels) -> Result<(), Error> {
    let mut subscription = None;
    loop {
        tokio::select! {
            biased;
            message = socket.next() => {
                let Some(message) = message else { return Ok(()) };
                let mut ready = Some(message);
                while let Some(message) = ready {
                    if let Message::Text(text) = message? {
                        for reply in channels.execute(&text, &mut subscription).into_iter().flatten() {
                            socket.feed(Message::text(reply)).await?;
                        }
                    }
                    ready = socket.next().now_or_never().flatten();
                }
            }
            pushed = push(&mut subscription) => match pushed {
                Some(text) => socket.feed(Message::Text(text)).await?,
                None => return Ok(()),
            },
        }
        while let Some(pushes) = &mut subscription {
            match pushes.try_recv() {
                Ok(text) => socket.feed(Message::Text(text)).await?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return Ok(()),
            }
        }
        socket.flush().await?;
    }
}

/// The next publication of a subscription; `None` if some were missed.
async fn push(subscription: &mut Option<Receiver<Utf8Bytes>>) -> Option<Utf8Bytes> {
    match subscription {
        Some(pushes) => pushes.recv().await.ok(),
        None => pending().await,
    }
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Executes a command and returns its answers.
    fn execute(&self, text: &str, subscription: &mut Option<Receiver<Utf8Bytes>>) -> [Option<String>; 2] {
        match command::cut(text) {
            Some(Command::Connect { id }) => [Some(command::connected(id)), None],
            Some(Command::Subscribe { id, channel: name }) => {
                let mut channels = self.lock();
                let channel = open(&mut channels, name);
                *subscription = Some(channel.listeners.subscribe());
                let head = command::HEAD + channel.published;
                [Some(command::subscribed(id, name, head)), Some(command::synced(name, head))]
            }
            Some(Command::Publish { id, channel: name, key, data }) => {
                let mut channels = self.lock();
                let channel = open(&mut channels, name);
                channel.published += 1;
                let offset = command::HEAD + channel.published;
                // An error means only that there are no subscribers.
                let _ = channel.listeners.send(command::publication(name, key, data, offset).into());
                [Some(command::published(id, name, key, offset)), None]
            }
            Some(Command::Signal { channel: name, data }) => {
                let mut channels = self.lock();
                let _ = open(&mut channels, name).listeners.send(command::signal(name, data).into());
                [None, None]
            }
            None => [None, None],
        }
    }
}

fn open<'a>(channels: &'a mut HashMap<String, Channel>, name: &str) -> &'a mut Channel {
    channels
        .entry(name.to_owned())
        .or_insert_with(|| Channel { published: 0, listeners: broadcast::channel(BEHIND).0 })
}
