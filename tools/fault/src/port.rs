//! A free port that nobody else takes, whether or not its owner listens.
//!
//! A server that is stopped and started again must find its port free. A port that was merely free a moment ago
//! does not do: another test may be given it, an outgoing connection may use it as its source, and a client that
//! dials a silent port of the ephemeral range may even meet itself.

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// A port of an address, held by a socket that is bound and does not listen.
///
/// While nobody listens there, the kernel refuses connections at once. Linux lets another socket bind and listen
/// beside it if both have `SO_REUSEADDR`, which PostgreSQL, Redis and the standard library set; no port is given
/// out by the kernel while it is held.
#[derive(Debug)]
pub struct HeldPort {
    _held: Socket,
    address: SocketAddr,
}

impl HeldPort {
    /// Holds a free port of loopback.
    ///
    /// # Errors
    ///
    /// The kernel's, when no socket or port is left.
    pub fn loopback() -> io::Result<HeldPort> {
        HeldPort::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Holds this port; any free one when it is 0.
    ///
    /// # Errors
    ///
    /// The kernel's: the port is taken, or the address is not of this machine.
    pub fn at(address: SocketAddr) -> io::Result<HeldPort> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.port() != 0 {
            // Connections of an earlier owner may still be on their way out.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&address.into())?;
        // Only now: a port chosen with it might be one that another holder shares.
        socket.set_reuse_address(true)?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a TCP socket was bound to no IP address"))?;
        Ok(HeldPort { _held: socket, address })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number alone.
    pub fn number(&self) -> u16 {
        self.address.port()
    }

    /// A socket that listens there; the port stays held when that is closed.
    ///
    /// # Errors
    ///
    /// The kernel's: somebody listens there already.
    pub fn listen(&self) -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&self.address.into())?;
        socket.listen(1_024)?;
        Ok(socket.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_held_port_refuses_until_somebody_listens_and_again_afterwards() {
        let port = HeldPort::loopback().expect("a port");
        let refused = || TcpStream::connect(port.address()).expect_err("nobody listens").kind();
        assert_eq!(refused(), ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind(port.address()).expect("the owner may listen");
        let client = TcpStream::connect(port.address()).expect("somebody listens");
        let (served, _) = listener.accept().expect("a client");
        drop(listener);
        assert_eq!(refused(), ErrorKind::ConnectionRefused);
        let listener = port.listen().expect("a connection that is still there takes no port");
        drop((listener, client, served));
    }

    #[test]
    fn no_other_socket_is_given_a_held_port() {
        let port = HeldPort::loopback().expect("a port");
        let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        assert_eq!(stranger.bind(&port.address().into()).expect_err("taken").kind(), ErrorKind::AddrInUse);
        let others: Vec<HeldPort> = (0..200).map(|_| HeldPort::loopback().expect("a port")).collect();
        let mut numbers: Vec<u16> = others.iter().chain([&port]).map(HeldPort::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 201);
    }
}
