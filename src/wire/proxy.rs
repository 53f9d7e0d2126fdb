//! The client's address behind a proxy: PROXY protocol version 2 and `X-Forwarded-For`.
//!
//! Both are unverified claims. They count only if the operator declares that a trusted proxy makes them.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::from_utf8;

/// The twelve bytes before the header, chosen so that no other protocol begins with them.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;
/// The longest header: one that fits in one TCP segment on any path (specification section 2.2).
pub const PROXY_BYTES_MAX: usize = 536;

/// The result of reading the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHead {
    /// The beginning of a header; more bytes are needed.
    Partial,
    Complete {
        /// The number of its bytes; the client's bytes follow.
        length: usize,
        /// The client's address. `None` if the connection is the proxy's own (`LOCAL`, for health checks) or the
        /// header names no IP address; then the peer's own address counts.
        source: Option<SocketAddr>,
    },
    /// Not a valid header; close without an answer.
    Invalid(ProxyFault),
}

/// The reason to drop a connection that must begin with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// The peer's address is none of a trusted proxy, so its bytes are not read.
    UntrustedPeer,
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
    /// All faults, in counting order.
    pub const ALL: [ProxyFault; 7] = [
        ProxyFault::UntrustedPeer,
        ProxyFault::Signature,
        ProxyFault::Version,
        ProxyFault::Command,
        ProxyFault::Family,
        ProxyFault::TooShort,
        ProxyFault::TooLong,
    ];

    /// The label `cause` of `proxy_header_refused_total`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProxyFault::UntrustedPeer => "untrusted_peer",
            ProxyFault::Signature => "signature",
            ProxyFault::Version => "version",
            ProxyFault::Command => "command",
            ProxyFault::Family => "family",
            ProxyFault::TooShort => "too_short",
            ProxyFault::TooLong => "too_long",
        }
    }

    /// The index in [`ProxyFault::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The text for the operator's log.
    pub const fn text(self) -> &'static str {
        match self {
            ProxyFault::UntrustedPeer => {
                "the peer is in no network of server.trusted_proxies; add its network if it is a proxy of yours"
            }
            ProxyFault::Signature => {
                "the PROXY protocol version 2 header is missing; make the proxy send it (HAProxy: send-proxy-v2), \
                or turn server.proxy_protocol off"
            }
            ProxyFault::Version => "the PROXY header's version is not 2; make the proxy send version 2",
            ProxyFault::Command => "the PROXY header's command is neither LOCAL nor PROXY",
            ProxyFault::Family => {
                "the PROXY header's address family is not one that a TCP connection can have"
            }
            ProxyFault::TooShort => "the PROXY header's length is too short for its addresses",
            ProxyFault::TooLong => {
                "the PROXY header is longer than 536 bytes; make the proxy send fewer TLVs"
            }
        }
    }
}

/// The subject of a PROXY header.
#[derive(Clone, Copy)]
enum HeaderCommand {
    Local,
    Proxy,
}

impl HeaderCommand {
    fn of(byte: u8) -> Result<HeaderCommand, ProxyFault> {
        match (byte >> 4, byte & 0xF) {
            (2, 0) => Ok(HeaderCommand::Local),
            (2, 1) => Ok(HeaderCommand::Proxy),
            (2, _) => Err(ProxyFault::Command),
            _ => Err(ProxyFault::Version),
        }
    }
}

/// The contents of the address block.
#[derive(Clone, Copy)]
enum AddressBlock {
    /// Skipped unread.
    Skipped,
    V4,
    V6,
    Unix,
}

impl AddressBlock {
    fn of(family: u8) -> Option<AddressBlock> {
        match family {
            0x00 => Some(AddressBlock::Skipped),
            0x11 => Some(AddressBlock::V4),
            0x21 => Some(AddressBlock::V6),
            0x31 => Some(AddressBlock::Unix),
            _ => None,
        }
    }

    const fn bytes(self) -> usize {
        match self {
            AddressBlock::Skipped => 0,
            AddressBlock::V4 => 12,
            AddressBlock::V6 => 36,
            AddressBlock::Unix => 216,
        }
    }

    fn source(self, block: &[u8]) -> Option<SocketAddr> {
        match self {
            AddressBlock::Skipped | AddressBlock::Unix => None,
            AddressBlock::V4 => {
                let [a, b, c, d, _, _, _, _, p, q] = *block.first_chunk()?;
                Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p, q])).into())
            }
            AddressBlock::V6 => {
                let address = Ipv6Addr::from(*block.first_chunk::<16>()?).to_canonical();
                let port = u16::from_be_bytes(*block.get(32..)?.first_chunk()?);
                Some((address, port).into())
            }
        }
    }
}

/// Reads a PROXY protocol header, version 2 (haproxy.org, `proxy-protocol.txt`, section 2.2), from all bytes received
/// so far. The TLVs after the addresses are skipped.
///
/// A wrong byte is refused as soon as it arrives, so that a client without a header is not waited for.
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
    let command = HeaderCommand::of(*command)?;
    let Some(family) = bytes.get(13) else { return Ok(None) };
    let addresses = match command {
        // The specification says to ignore its family and addresses.
        HeaderCommand::Local => AddressBlock::Skipped,
        HeaderCommand::Proxy => AddressBlock::of(*family).ok_or(ProxyFault::Family)?,
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

/// The client's address according to `X-Forwarded-For`: the rightmost one that is not a trusted proxy's.
///
/// `values` are the lines in order, [`Head::values`](crate::wire::request::Head::values). The search goes from right
/// to left, because each proxy appends the address of its peer and a client can write anything on the left. It starts
/// with `peer`, continues while the address is trusted, and ends at the last valid address before any text that is
/// not an address.
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

/// Parses an address as proxies write it: bare, in brackets, or with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = from_utf8(text).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
