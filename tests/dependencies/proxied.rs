//! The dependencies of a gateway in these tests, each behind a proxy.

use crate::servers::{Http, Postgres, Redis};
use seawall_fault::Proxy;
use std::net::SocketAddr;

/// A server behind a proxy that can fail.
pub struct Proxied<S> {
    pub server: S,
    pub proxy: Proxy,
}

impl<S> Proxied<S> {
    #[track_caller]
    fn new(server: S, address: SocketAddr) -> Proxied<S> {
        Proxied { server, proxy: proxy_to(address) }
    }

    /// The address that the gateway dials.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }
}

/// Another proxy to a server, for a second gateway whose path fails alone.
#[track_caller]
pub fn proxy_to(address: SocketAddr) -> Proxy {
    Proxy::start(address).expect("the proxy starts")
}

#[track_caller]
pub fn postgres() -> Proxied<Postgres> {
    let server = Postgres::start();
    let address = server.address();
    Proxied::new(server, address)
}

#[track_caller]
pub fn redis() -> Proxied<Redis> {
    let server = Redis::start();
    let address = server.address();
    Proxied::new(server, address)
}

#[track_caller]
pub fn http() -> Proxied<Http> {
    let server = Http::start();
    let address = server.address();
    Proxied::new(server, address)
}
