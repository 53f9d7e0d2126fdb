//! What a gateway stands on in these tests.

use crate::servers::{Http, Postgres, Redis};
use seawall_fault::Proxy;
use std::net::SocketAddr;

/// A server, and the way to it that can fail.
pub struct Behind<S> {
    pub server: S,
    pub proxy: Proxy,
}

impl<S> Behind<S> {
    #[track_caller]
    fn new(server: S, address: SocketAddr) -> Behind<S> {
        Behind { server, proxy: way_to(address) }
    }

    /// Where the gateway dials.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }
}

/// Another way to a server: for a second gateway, whose way fails alone.
#[track_caller]
pub fn way_to(address: SocketAddr) -> Proxy {
    Proxy::start(address).expect("a port and a thread are left")
}

#[track_caller]
pub fn postgres() -> Behind<Postgres> {
    let server = Postgres::start();
    let address = server.address();
    Behind::new(server, address)
}

#[track_caller]
pub fn redis() -> Behind<Redis> {
    let server = Redis::start();
    let address = server.address();
    Behind::new(server, address)
}

#[track_caller]
pub fn http() -> Behind<Http> {
    let server = Http::start();
    let address = server.address();
    Behind::new(server, address)
}
