//! Opening a connection, from a configured source address if there is one.

use super::deadline::{LEAST_WAIT, first_of, left, now};
use super::line::Line;
use super::peer::PeerAddress;
use super::resolve::Resolver;
use super::tls::TlsTrust;
use super::trouble::Trouble;
use socket2::{SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Opens connections for one thread.
#[derive(Debug)]
pub(crate) struct Dialer {
    source: Option<IpAddr>,
    pub(crate) trust: Arc<TlsTrust>,
    resolver: Resolver,
}

impl Dialer {
    pub(crate) fn new(source: Option<IpAddr>, trust: impl Into<Arc<TlsTrust>>) -> Dialer {
        Dialer { source, trust: trust.into(), resolver: Resolver::default() }
    }

    /// A dialer with the same source address and trust.
    pub(crate) fn another(&self) -> Dialer {
        Dialer::new(self.source, Arc::clone(&self.trust))
    }

    /// Connects; with several addresses each gets its share of the time that is left.
    pub(crate) fn dial(&mut self, peer: &PeerAddress, deadline: Instant) -> Result<Line, Trouble> {
        let addresses = self.addresses(peer, deadline)?;
        let none = Trouble::no_route(&peer.to_string());
        let mut line = first_of(addresses, deadline, none, |at, until| self.connect(peer, &at, until))?;
        line.set_deadline(deadline);
        Ok(line)
    }

    /// The addresses of a peer in the family of the source address; possibly none.
    pub(crate) fn addresses(
        &mut self,
        peer: &PeerAddress,
        deadline: Instant,
    ) -> Result<Vec<SockAddr>, Trouble> {
        match peer {
            PeerAddress::Unix(path) => {
                let address = SockAddr::unix(path);
                Ok(vec![address.map_err(|error| Trouble::of_io(&peer.to_string(), &error))?])
            }
            PeerAddress::Tcp { host, port } => {
                let found = self.resolver.resolve(host, *port, deadline)?.into_iter();
                let fits = |at: &SocketAddr| self.source.is_none_or(|own| own.is_ipv4() == at.is_ipv4());
                Ok(found.filter(fits).map(SockAddr::from).collect())
            }
        }
    }

    /// Connects to one of the addresses of a peer.
    pub(crate) fn connect(
        &self,
        peer: &PeerAddress,
        address: &SockAddr,
        deadline: Instant,
    ) -> Result<Line, Trouble> {
        let connect = || {
            let socket = Socket::new(address.domain(), Type::STREAM, None)?;
            if !address.is_unix() {
                socket.set_tcp_nodelay(true)?;
                if let Some(source) = self.source {
                    let bound = socket.bind(&SocketAddr::new(source, 0).into());
                    bound.map_err(|error| Trouble::of_source(source, &error).into_io())?;
                }
            }
            socket.connect_timeout(address, left(deadline, now()).max(LEAST_WAIT))?;
            Ok(socket)
        };
        let socket = connect().map_err(|error: io::Error| Trouble::of_io(&peer.to_string(), &error))?;
        Ok(Line::new(socket, peer, deadline))
    }
}
