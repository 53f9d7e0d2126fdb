//! Who is really there, when a proxy stands in between: PROXY protocol version 2, and `X-Forwarded-For`.
//!
//! Both are claims. They count only where the operator says that a proxy of his own makes them.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::from_utf8;

/// The twelve bytes before the header, chosen to be no beginning of any other protocol.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;
/// The whole header at most: what fits in one TCP segment on any path (specification section 2.2).
pub const PROXY_BYTES_MAX: usize = 536;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHead {
    /// The beginning of a header; more bytes decide.
    Partial,
    /// A whole header.
    Complete {
        /// Its bytes; what follows is the client's.
        length: usize,
        /// The client, or `None` where the proxy speaks for itself (`LOCAL`: its health checks) or names no
        /// IP address: the peer's own address then counts.
        source: Option<SocketAddr>,
    },
    /// No header: close without an answer.
    Invalid(ProxyFault),
}

/// Why the first bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// Another protocol, or version 1 of this one.
    Signature,
    /// A version other than 2.
    Version,
    /// A command other than `LOCAL` and `PROXY`.
    Command,
    /// A family or transport that a TCP connection cannot have.
    Family,
    /// The length has no room for the family's addresses.
    TooShort,
    /// The header is over [`PROXY_BYTES_MAX`].
    TooLong,
}

impl ProxyFault {
    /// For the operator's log.
    pub const fn text(self) -> &'static str {
        match self {
            ProxyFault::Signature => {
                "no PROXY protocol version 2 header; let the proxy send one (HAProxy: send-proxy-v2), \
                 or switch server.proxy_protocol off"
            }
            ProxyFault::Version => "the PROXY header's version is not 2",
            ProxyFault::Command => "the PROXY header's command is neither LOCAL nor PROXY",
            ProxyFault::Family => "the PROXY header's family is not one of a TCP connection",
            ProxyFault::TooShort => "the PROXY header's length has no room for its addresses",
            ProxyFault::TooLong => "the PROXY header is over 536 bytes",
        }
    }
}

/// For whom the proxy speaks.
#[derive(Clone, Copy)]
enum Command {
    /// For itself.
    Local,
    /// For a client.
    Proxy,
}

impl Command {
    fn of(byte: u8) -> Result<Command, ProxyFault> {
        match (byte >> 4, byte & 0xF) {
            (2, 0) => Ok(Command::Local),
            (2, 1) => Ok(Command::Proxy),
            (2, _) => Err(ProxyFault::Command),
            _ => Err(ProxyFault::Version),
        }
    }
}

/// What the address block holds.
#[derive(Clone, Copy)]
enum Addresses {
    /// To be skipped unread.
    Skipped,
    V4,
    V6,
    Unix,
}

impl Addresses {
    fn of(family: u8) -> Option<Addresses> {
        match family {
            0x00 => Some(Addresses::Skipped),
            0x11 => Some(Addresses::V4),
            0x21 => Some(Addresses::V6),
            0x31 => Some(Addresses::Unix),
            _ => None,
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Addresses::Skipped => 0,
            Addresses::V4 => 12,
            Addresses::V6 => 36,
            Addresses::Unix => 216,
        }
    }

    fn source(self, block: &[u8]) -> Option<SocketAddr> {
        match self {
            Addresses::Skipped | Addresses::Unix => None,
            Addresses::V4 => {
                let [a, b, c, d, _, _, _, _, p, q] = *block.first_chunk()?;
                Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p, q])).into())
            }
            Addresses::V6 => {
                let address = Ipv6Addr::from(*block.first_chunk::<16>()?).to_canonical();
                let port = u16::from_be_bytes(*block.get(32..)?.first_chunk()?);
                Some((address, port).into())
            }
        }
    }
}

/// Reads the header of the PROXY protocol, version 2 (haproxy.org, `proxy-protocol.txt`, section 2.2), from
/// all bytes received so far. What follows the addresses (TLVs) is skipped.
///
/// A wrong byte is refused as soon as it is there, so that a client who sends no header is not waited for.
pub fn proxy_v2(bytes: &[u8]) -> ProxyHead {
    match read(bytes) {
        Ok(Some((length, source))) => ProxyHead::Complete { length, source },
        Ok(None) => ProxyHead::Partial,
        Err(fault) => ProxyHead::Invalid(fault),
    }
}

fn read(bytes: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, ProxyFault> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        return Err(ProxyFault::Signature);
    }
    let Some(command) = bytes.get(12) else { return Ok(None) };
    let command = Command::of(*command)?;
    let Some(family) = bytes.get(13) else { return Ok(None) };
    let addresses = match command {
        // Its family is to be ignored, and its addresses with it.
        Command::Local => Addresses::Skipped,
        Command::Proxy => Addresses::of(*family).ok_or(ProxyFault::Family)?,
    };
    let Some(announced) = bytes.get(14..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    let announced = usize::from(u16::from_be_bytes(*announced));
    if announced < addresses.bytes() {
        return Err(ProxyFault::TooShort);
    }
    let length = FIXED_BYTES + announced;
    if length > PROXY_BYTES_MAX {
        return Err(ProxyFault::TooLong);
    }
    Ok(bytes.get(FIXED_BYTES..length).map(|block| (length, addresses.source(block))))
}

/// The client's address by `X-Forwarded-For`: the rightmost one that is not a trusted proxy's.
///
/// `values` are the lines in order, [`Head::values`](crate::wire::request::Head::values). The walk goes from
/// right to left, since each proxy appends whom it saw and a client can write anything on the left. It begins
/// with `peer`, goes on while the address is trusted, and ends at the last good one before anything that is
/// no address.
pub fn forwarded_for<'a>(
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
    peer: IpAddr,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer.to_canonical();
    for hop in values.rev().flat_map(|line| line.rsplit(|b| *b == b',')) {
        let hop = hop.trim_ascii();
        if !is_trusted(&client) {
            break;
        }
        if hop.is_empty() {
            continue;
        }
        match address(hop) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = from_utf8(text).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
