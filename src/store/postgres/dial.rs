//! Connecting to a server: name resolution, a socket from the configured address, TLS and the driver's greeting, each with a
//! deadline.
//!
//! The driver could connect by itself, but not from a given source address, and its own time limit covers only TCP: a server
//! frozen in the middle of a handshake would cost the next hosts their turn.

use super::fault::{CallFault, cause, cause_of_trouble, cause_with, silence};
use super::secure::{Secured, Security, Socket};
use super::timing::{GLANCE, monotonic};
use crate::health::finding::{Cause, Fault};
use crate::net::peer::PeerAddress;
use crate::net::postgres::PostgresAddress;
use crate::net::tls::TlsTrust;
use crate::net::trouble::Trouble;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, Connection};

/// From the first packet to a connection that is ready, for all hosts together.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The least time that one of several hosts gets.
const SHARE_MIN: Duration = Duration::from_millis(400);
/// Bytes unacknowledged for this long end a connection.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

/// The possible locations of the store, and how to reach them.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) config: Config,
    stops: Vec<(PeerAddress, String)>,
    source: Option<IpAddr>,
    trust: Arc<TlsTrust>,
}

/// The exact address that a connection reached, which may be one of many: a cancel request must go to the same server.
#[derive(Clone, Debug)]
pub(super) enum Reached {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connection whose driver does not run yet, and the means to open another one to the same server.
pub(super) struct Dialled {
    pub(super) client: Client,
    pub(super) driver: Connection<Socket, Secured>,
    pub(super) again: Again,
}

/// The means to reach the same server again.
#[derive(Clone, Debug)]
pub(super) struct Again {
    reached: Reached,
    source: Option<IpAddr>,
    pub(super) security: Security,
}

/// Bounded waits during which other work is looked at.
pub(super) struct Patience<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) meanwhile: &'a mut dyn FnMut(),
}

impl Patience<'_> {
    /// The result of the future; `None` if it has none by then.
    pub(super) fn on<T>(&mut self, future: impl Future<Output = T>, end: Instant) -> Option<T> {
        let _inside = self.runtime.enter();
        let mut future = pin!(future);
        loop {
            let left = end.saturating_duration_since(monotonic());
            match self.runtime.block_on(timeout(GLANCE.min(left), &mut future)) {
                Ok(value) => return Some(value),
                Err(_) if left <= GLANCE => return None,
                Err(_) => (self.meanwhile)(),
            }
        }
    }
}

impl Way {
    /// Connects as an address says, from `source`.
    pub(super) fn new(address: &PostgresAddress, source: Option<IpAddr>) -> Way {
        let peers = address.peers().into_iter().enumerate();
        let stops = peers.map(|(place, peer)| (peer, address.name(place).unwrap_or_default())).collect();
        Way { config: address.config.clone(), stops, source, trust: Arc::new(address.trust()) }
    }

    /// Connects to the first host that accepts. Each gets its share of the time, so that a silent host does not block the next.
    pub(super) fn dial(&self, patience: &mut Patience<'_>) -> Result<Dialled, CallFault> {
        let end = monotonic() + DIAL_TIMEOUT;
        let mut last = Cause::new(Fault::Unreachable, "the address names no host", "store.url");
        for (place, (peer, name)) in self.stops.iter().enumerate() {
            let hosts = u32::try_from(self.stops.len() - place).unwrap_or(u32::MAX);
            let share = end.saturating_duration_since(monotonic()) / hosts;
            let share = monotonic() + share.max(SHARE_MIN);
            match self.host(peer, name, share, patience) {
                Ok(dialled) => return Ok(dialled),
                Err(cause) => last = cause,
            }
        }
        Err(CallFault::not_sent(last))
    }

    fn host(
        &self,
        peer: &PeerAddress,
        name: &str,
        end: Instant,
        patience: &mut Patience<'_>,
    ) -> Result<Dialled, Cause> {
        let places = match peer {
            PeerAddress::Unix(path) => vec![Reached::Unix(path.clone())],
            PeerAddress::Tcp { host, port } => self.addresses(host, *port, end, patience)?,
        };
        let count = places.len();
        let mut last = cause_of_trouble(Trouble::no_route(&peer.to_string()));
        for (place, reached) in places.into_iter().enumerate() {
            let others = u32::try_from(count - place).unwrap_or(u32::MAX);
            let until = monotonic() + end.saturating_duration_since(monotonic()) / others;
            let security = Security { trust: Arc::clone(&self.trust), name: name.to_owned() };
            let again = Again { reached, source: self.source, security };
            match self.one(again, until, patience) {
                Ok(dialled) => return Ok(dialled),
                Err(cause) => last = cause,
            }
        }
        Err(last)
    }

    /// The addresses of a host that the source address can reach.
    fn addresses(
        &self,
        host: &str,
        port: u16,
        end: Instant,
        patience: &mut Patience<'_>,
    ) -> Result<Vec<Reached>, Cause> {
        let unreachable = |text: String| Cause::new(Fault::Unreachable, text, "the host name in store.url");
        let host = host.trim_matches(['[', ']']);
        let found = patience
            .on(tokio::net::lookup_host((host, port)), end)
            .ok_or_else(|| unreachable(format!("the name {host} did not resolve in time")))?
            .map_err(|error| unreachable(format!("the name {host} does not resolve: {error}")))?;
        let fits = |address: &SocketAddr| self.source.is_none_or(|own| own.is_ipv4() == address.is_ipv4());
        Ok(found.filter(fits).map(Reached::Tcp).collect())
    }

    fn one(&self, again: Again, end: Instant, patience: &mut Patience<'_>) -> Result<Dialled, Cause> {
        let late = || silence("a new connection", DIAL_TIMEOUT);
        let socket =
            again.socket(end, patience).ok_or_else(late)?.map_err(|error| self.met(&again, &error))?;
        let mut config = self.config.clone();
        if matches!(again.reached, Reached::Unix(_)) {
            // As in libpq: no server listens on a local socket.
            config.ssl_mode(SslMode::Disable);
        }
        let greeted =
            patience.on(config.connect_raw(socket, again.security.clone()), end).ok_or_else(late)?;
        let (client, mut driver) = greeted.map_err(|error| cause_with(&again.security.name, &error))?;
        let wanted = self.config.get_target_session_attrs();
        if wanted != TargetSessionAttrs::Any {
            let asked = attributes(&client, &mut driver, patience, end).ok_or_else(late)?;
            asked.and_then(|found| fits(wanted, found))?;
        }
        Ok(Dialled { client, driver, again })
    }

    /// The reason why a socket could not be opened.
    fn met(&self, again: &Again, error: &io::Error) -> Cause {
        let place = match &again.reached {
            Reached::Tcp(address) => address.to_string(),
            Reached::Unix(path) => path.display().to_string(),
        };
        cause_of_trouble(Trouble::of_io(&place, error))
    }
}

#[derive(Clone, Copy, Debug)]
enum Access {
    Read,
    Write,
}

/// The write access of the server's transactions; checked before anything else.
fn attributes(
    client: &Client,
    driver: &mut Connection<Socket, Secured>,
    patience: &mut Patience<'_>,
    end: Instant,
) -> Option<Result<Access, Cause>> {
    let mut answer = pin!(client.query_typed("SHOW transaction_read_only", &[]));
    let both = std::future::poll_fn(|context| {
        // The driver moves the client's bytes; the client reports when the driver ends.
        let _ = std::pin::Pin::new(&mut *driver).poll(context);
        answer.as_mut().poll(context)
    });
    let rows = patience.on(both, end)?;
    let said = rows.and_then(|rows| rows.first().map(|row| row.try_get::<_, String>(0)).transpose());
    let read =
        |said: Option<String>| if said.as_deref() == Some("on") { Access::Read } else { Access::Write };
    Some(said.map(read).map_err(|error| cause(&error)))
}

fn fits(wanted: TargetSessionAttrs, found: Access) -> Result<(), Cause> {
    let text = match (wanted, found) {
        (TargetSessionAttrs::ReadWrite, Access::Read) => {
            "the server takes no writes (target_session_attrs=read-write)"
        }
        (TargetSessionAttrs::ReadOnly, Access::Write) => {
            "the server takes writes (target_session_attrs=read-only)"
        }
        _ => return Ok(()),
    };
    Err(Cause::new(Fault::ReadOnly, text, "where the primary is: store.url must lead there"))
}

impl Again {
    /// Opens a socket to the same server; `None` if that takes too long.
    pub(super) fn socket(&self, end: Instant, patience: &mut Patience<'_>) -> Option<io::Result<Socket>> {
        let address = match &self.reached {
            Reached::Unix(path) => {
                let opened = patience.on(UnixStream::connect(path), end)?;
                return Some(opened.map(|stream| Box::new(stream) as Socket));
            }
            Reached::Tcp(address) => *address,
        };
        let _inside = patience.runtime.enter();
        let opened = match self.bound(address) {
            Ok(socket) => patience.on(socket.connect(address), end)?,
            Err(error) => Err(error),
        };
        Some(opened.and_then(|stream| {
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Socket)
        }))
    }

    fn bound(&self, address: SocketAddr) -> io::Result<TcpSocket> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        let options = SockRef::from(&socket);
        options.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
        let alive = TcpKeepalive::new().with_time(Duration::from_secs(10));
        let alive = alive.with_interval(Duration::from_secs(2)).with_retries(3);
        options.set_tcp_keepalive(&alive)?;
        if let Some(source) = self.source {
            let bound = socket.bind(SocketAddr::new(source, 0));
            bound.map_err(|error| Trouble::of_source(source, &error).into_io())?;
        }
        Ok(socket)
    }
}
