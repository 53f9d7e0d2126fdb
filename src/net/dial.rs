//! Opening a connection, from a configured source address if there is one.

use super::deadline::{LEAST_WAIT, left, now};
use super::line::Line;
use super::peer::PeerAddress;
use super::resolve::Resolver;
use super::tls::TlsTrust;
use super::trouble::Trouble;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Opens connections for one thread.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) source: Option<IpAddr>,
    pub(crate) trust: TlsTrust,
    pub(crate) resolver: Resolver,
}

impl Dialer {
    /// Connects. With several addresses, each gets its share of the time left.
    pub(crate) fn dial(&mut self, peer: &PeerAddress, deadline: Instant) -> Result<Line, Trouble> {
        let (host, port) = match peer {
            PeerAddress::Unix(path) => return dial_unix(peer, path, deadline),
            PeerAddress::Tcp { host, port } => (host, *port),
        };
        let addresses = self.resolver.resolve(host, port, deadline)?;
        let fitting: Vec<SocketAddr> = addresses
            .into_iter()
            .filter(|address| self.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4()))
            .collect();
        let mut trouble = Trouble::no_route(&peer.to_string());
        let count = fitting.len();
        for (index, address) in fitting.into_iter().enumerate() {
            let share = left(deadline, now()) / u32::try_from(count - index).unwrap_or(u32::MAX);
            match self.connect(address, share.max(LEAST_WAIT)) {
                Ok(socket) => return Ok(Line::new(socket, peer, deadline)),
                Err(error) => trouble = Trouble::of_io(&peer.to_string(), &error),
            }
        }
        Err(trouble)
    }

    fn connect(&self, address: SocketAddr, timeout: Duration) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.source {
            socket
                .bind(&SocketAddr::new(source, 0).into())
                .map_err(|error| Trouble::of_source(source, &error).into_io())?;
        }
        socket.connect_timeout(&address.into(), timeout)?;
        Ok(socket)
    }
}

fn dial_unix(peer: &PeerAddress, path: &PathBuf, deadline: Instant) -> Result<Line, Trouble> {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.connect_timeout(&SockAddr::unix(path)?, left(deadline, now()).max(LEAST_WAIT))?;
        Ok(socket)
    };
    let socket = connect().map_err(|error: io::Error| Trouble::of_io(&peer.to_string(), &error))?;
    Ok(Line::new(socket, peer, deadline))
}
