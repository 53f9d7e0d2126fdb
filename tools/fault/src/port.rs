//! Free ports that stay reserved, whether or not their owner listens.
//!
//! A server that is stopped and restarted must find its port free. A port that was merely free a moment ago is not
//! enough: another test may get it, an outgoing connection may use it as its source, and a client that dials an
//! unused port of the ephemeral range may even connect to itself.

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// A port of an address, held by a socket that is bound and does not listen.
///
/// While no socket listens, the kernel refuses connections at once. Linux lets another socket bind the port and listen
/// if both have `SO_REUSEADDR`, which PostgreSQL, Redis and the standard library set. The kernel does not assign the
/// port to any socket while it is held.
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
    /// Returns the kernel's error if no socket or port is left.
    pub fn loopback() -> io::Result<HeldPort> {
        HeldPort::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Holds this port, or any free one if it is 0.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: the port is taken, or the address is not of this machine.
    pub fn at(address: SocketAddr) -> io::Result<HeldPort> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.port() != 0 {
            // Connections of an earlier owner may still be closing.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&address.into())?;
        // Set only now, because a port chosen with it might be shared with another holder.
        socket.set_reuse_address(true)?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a TCP socket was bound to no IP address"))?;
        Ok(HeldPort { _held: socket, address })
    }

    /// The address and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port number.
    pub fn number(&self) -> u16 {
        self.address.port()
    }

    /// Returns a socket that listens there. The port stays held when that is closed.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error if another socket already listens there.
    pub fn listen(&self) -> io::Result<TcpListener> {
        self.listen_for(1_024)
    }

    /// Listens without answering: the accept queue is full, so the kernel drops every SYN. Both sockets maintain this
    /// state; clients that keep dialing connect after they are closed.
    pub(crate) fn listen_full(&self) -> io::Result<(TcpListener, TcpStream)> {
        // The queue holds one more than its backlog (listen(2)).
        let listener = self.listen_for(0)?;
        let waiting = TcpStream::connect(self.address)?;
        Ok((listener, waiting))
    }

    fn listen_for(&self, backlog: i32) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&self.address.into())?;
        socket.listen(backlog)?;
        Ok(socket.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn held_port_refuses_except_while_its_owner_listens() {
        let port = HeldPort::loopback().expect("a port");
        let refused = || TcpStream::connect(port.address()).expect_err("no listener").kind();
        assert_eq!(refused(), ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind(port.address()).expect("the owner may listen");
        let client = TcpStream::connect(port.address()).expect("a listener");
        let (served, _) = listener.accept().expect("a client");
        drop(listener);
        assert_eq!(refused(), ErrorKind::ConnectionRefused);
        let listener = port.listen().expect("a connection that is still open does not block the port");
        drop((listener, client, served));
    }

    #[test]
    fn held_port_is_given_to_no_other_socket() {
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
