//! Opening a connection, from a configured source address if there is one.

use super::deadline::{LEAST_WAIT, first_of, left, now};
use super::line::Line;
use super::peer::PeerAddress;
use super::resolve::Resolver;
use super::tls::TlsTrust;
use super::trouble::Trouble;
use crate::health::finding::Fault;
use socket2::{SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// The addresses that a name may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressRule {
    Any,
    /// No address of the link alone, where the metadata services of clouds give out credentials.
    NotLinkLocal,
}

impl AddressRule {
    fn allows(self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (AddressRule::Any, _) => true,
            (AddressRule::NotLinkLocal, IpAddr::V4(v4)) => !v4.is_link_local(),
            // fd00:ec2::254 is the metadata service of one cloud over IPv6.
            (AddressRule::NotLinkLocal, IpAddr::V6(v6)) => {
                !v6.is_unicast_link_local() && v6.segments() != [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
            }
        }
    }
}

/// Opens connections for one thread.
#[derive(Debug)]
pub(crate) struct Dialer {
    source: Option<IpAddr>,
    rule: AddressRule,
    pub(crate) trust: Arc<TlsTrust>,
    resolver: Resolver,
}

impl Dialer {
    pub(crate) fn new(source: Option<IpAddr>, trust: impl Into<Arc<TlsTrust>>) -> Dialer {
        Dialer { source, rule: AddressRule::Any, trust: trust.into(), resolver: Resolver::default() }
    }

    /// Refuses addresses that the rule does not allow.
    pub(crate) fn with_rule(self, rule: AddressRule) -> Dialer {
        Dialer { rule, ..self }
    }

    /// A dialer with the same source address and trust.
    pub(crate) fn another(&self) -> Dialer {
        Dialer::new(self.source, Arc::clone(&self.trust)).with_rule(self.rule)
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
                let found = self.resolver.resolve(host, *port, deadline)?;
                if let Some(refused) = found.iter().find(|at| !self.rule.allows(at.ip())) {
                    let text = format!("{peer} leads to {}, an address of this machine's link", refused.ip());
                    return Err(Trouble::new(Fault::Unreachable, text));
                }
                let found = found.into_iter();
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
