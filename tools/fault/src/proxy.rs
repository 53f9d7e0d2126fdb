//! The handle of a running proxy.

use crate::connection::Ending;
use crate::engine::{Acknowledged, Engine, Request, WAKER};
use crate::mode::Mode;
use crate::order::Order;
use crate::port::HeldPort;
use crate::stats::{Counters, Stats};
use crossbeam_channel::{Sender, bounded};
use mio::{Poll, Waker};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A running proxy. Its port stays reserved, listening or not, until it is dropped; then every connection is reset and
/// its thread ends.
///
/// Every method that changes something returns once the change is in effect: after `set(Mode::Stall)` not one more byte
/// is passed on.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    requests: Sender<Acknowledged>,
    waker: Waker,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Proxy {
    /// Starts a proxy on a free port of loopback that passes everything on to `upstream`, which need not be up.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error if no port, descriptor or thread is left.
    pub fn start(upstream: SocketAddr) -> io::Result<Proxy> {
        Proxy::start_at((Ipv4Addr::LOCALHOST, 0).into(), upstream)
    }

    /// Starts a proxy on this address, on any free port if the port is 0.
    ///
    /// # Errors
    ///
    /// Like [`Proxy::start`]; also if the address is taken or not of this machine.
    pub fn start_at(listen: SocketAddr, upstream: SocketAddr) -> io::Result<Proxy> {
        let port = HeldPort::at(listen)?;
        let address = port.address();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (requests, received) = bounded(16);
        let counters = Arc::new(Counters::default());
        let engine = Engine::new(poll, port, upstream, received, Arc::clone(&counters))?;
        let thread = std::thread::Builder::new().name("fault-proxy".into()).spawn(move || engine.run())?;
        Ok(Proxy { address, requests, waker, counters, thread: Some(thread) })
    }

    /// The address that clients dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Switches to this mode.
    pub fn set(&self, mode: Mode) {
        self.ask(Request::Set(mode));
    }

    /// Closes every open connection in order, once. The mode applies to new ones.
    pub fn cut(&self) {
        self.ask(Request::End(Ending::Cut));
    }

    /// Resets every open connection, once. The mode applies to new ones.
    pub fn reset(&self) {
        self.ask(Request::End(Ending::Reset));
    }

    /// Executes an order. [`Order::Stats`] and [`Order::Quit`] change nothing here.
    pub fn execute(&self, order: Order) {
        match order {
            Order::Set(mode) => self.set(mode),
            Order::CutNow => self.cut(),
            Order::ResetNow => self.reset(),
            Order::Stats | Order::Quit => {}
        }
    }

    /// The counters so far. Bytes are counted just after they were passed on, so a client may receive them first. Bytes
    /// passed on before a call that changes something are counted when that call returns.
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// # Panics
    ///
    /// Panics if the proxy's thread ended with a kernel error, because a test that continued would prove nothing.
    fn ask(&self, request: Request) {
        let (answer, answered) = bounded(1);
        let asked = self.requests.send((request, answer)).is_ok() && self.waker.wake().is_ok();
        assert!(asked && answered.recv().is_ok(), "the proxy's thread has ended");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let (answer, _) = bounded(1);
        // An error means that the thread has already ended.
        let _ = self.requests.send((Request::Stop, answer));
        let _ = self.waker.wake();
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            eprintln!("seawall-fault: the proxy ended early: {error}");
        }
    }
}
