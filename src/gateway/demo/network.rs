//! The network between the page and the gateway: a relay that can be cut.

use super::plug::Plug;
use parking_lot::Mutex;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Connections at once. A page has one or two; further ones are closed.
const CONNECTIONS_MAX: usize = 64;

pub(super) struct Network {
    address: SocketAddr,
    gateway: SocketAddr,
    state: Mutex<NetworkState>,
}

#[derive(Default)]
struct NetworkState {
    out: bool,
    next: u64,
    /// Both ends of each connection.
    open: Vec<(u64, [TcpStream; 2])>,
}

impl Network {
    pub(super) fn start(at: SocketAddr, gateway: u16) -> io::Result<Arc<Network>> {
        let listener = TcpListener::bind(at)?;
        let network = Arc::new(Network {
            address: listener.local_addr()?,
            gateway: SocketAddr::from((Ipv4Addr::LOCALHOST, gateway)),
            state: Mutex::new(NetworkState::default()),
        });
        let own = Arc::clone(&network);
        let accept = move || {
            for stream in listener.incoming().flatten() {
                // A connection that cannot be relayed is closed by its end.
                let _ = own.relay(stream);
            }
        };
        std::thread::Builder::new().name("demo-network".into()).spawn(accept)?;
        Ok(network)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_out(&self) -> bool {
        self.state.lock().out
    }

    /// Cuts all connections and refuses new ones, or accepts them again.
    pub(super) fn set(&self, plug: Plug) {
        let mut state = self.state.lock();
        state.out = plug == Plug::Out;
        if state.out {
            for (_, ends) in state.open.drain(..) {
                close(&ends);
            }
        }
    }

    fn relay(self: &Arc<Network>, page: TcpStream) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.out || state.open.len() >= CONNECTIONS_MAX {
            return Ok(());
        }
        let gateway = TcpStream::connect(self.gateway)?;
        // Frames are small, and each is waited for.
        page.set_nodelay(true)?;
        gateway.set_nodelay(true)?;
        let ends = [page.try_clone()?, gateway.try_clone()?];
        let id = state.next;
        state.next += 1;
        state.open.push((id, ends));
        drop(state);
        self.copy(id, page.try_clone()?, gateway.try_clone()?)?;
        self.copy(id, gateway, page)
    }

    fn copy(self: &Arc<Network>, id: u64, mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
        let own = Arc::clone(self);
        let copy = move || {
            let _ = io::copy(&mut from, &mut to);
            own.end(id);
        };
        std::thread::Builder::new().name("demo-relay".into()).spawn(copy).map(|_| ())
    }

    /// Either direction that ends, ends both.
    fn end(&self, id: u64) {
        let mut state = self.state.lock();
        if let Some(at) = state.open.iter().position(|(one, _)| *one == id) {
            close(&state.open.swap_remove(at).1);
        }
    }
}

fn close(ends: &[TcpStream; 2]) {
    for end in ends {
        // It may be closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}
