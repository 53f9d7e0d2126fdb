//! Dials many connections from many addresses.

use ipnet::Ipv4Net;
use mio::net::TcpStream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// Source addresses, used in turn, because one address has too few ports for a large crowd.
#[derive(Debug)]
pub struct Sources {
    net: Option<Ipv4Net>,
    next: u32,
}

impl Sources {
    /// Uses the addresses of this network in turn; `None` leaves the choice to the system.
    pub fn new(net: Option<Ipv4Net>) -> Sources {
        Sources { net, next: 0 }
    }

    /// Uses 127.0.1.0/24 if the target is on loopback; otherwise leaves the choice to the system.
    pub fn usual(target: SocketAddr) -> Sources {
        let loopback = match target {
            SocketAddr::V4(target) => target.ip().is_loopback(),
            SocketAddr::V6(_) => false,
        };
        Sources::new(Ipv4Net::new(Ipv4Addr::new(127, 0, 1, 0), 24).ok().filter(|_| loopback))
    }

    /// Starts to dial from the next address. The connection is open once the socket is writable.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: no descriptor or port is left, or the connection was refused at once.
    pub fn dial(&mut self, target: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.take() {
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                Err(error)
            }
            Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
        }
    }

    fn take(&mut self) -> Option<Ipv4Addr> {
        let net = self.net?;
        let first = u32::from(net.network());
        let hosts = (u32::from(net.broadcast()) - first).saturating_sub(1).max(1);
        let host = if net.prefix_len() < 31 { 1 + self.next % hosts } else { 0 };
        self.next = self.next.wrapping_add(1);
        Some(Ipv4Addr::from(first + host))
    }
}

/// Raises this process's descriptor limit as far as allowed and returns it.
pub fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    // The descriptor table is grown now: while threads run, growing it would stop each of them for tens of milliseconds,
    // which would distort their times.
    if let (Some(now), Ok(any)) = (now, std::fs::File::open("/dev/null")) {
        let last = i32::try_from(now.min(1 << 20).saturating_sub(1)).unwrap_or(0);
        let _grown = rustix::io::fcntl_dupfd_cloexec(&any, last);
    }
    now.unwrap_or(u64::MAX)
}
