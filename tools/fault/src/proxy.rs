//! The handle of a running proxy.

use crate::connection::Ending;
use crate::engine::{Asked, Engine, WAKER, Wish};
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

/// A running proxy. Its port stays its own, listening or not, until it is dropped; then every connection is
/// reset and its thread has ended.
///
/// Every method that changes something returns once that holds: after `set(Mode::Stall)` not one more byte goes on.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wishes: Sender<Asked>,
    waker: Waker,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Proxy {
    /// Starts one on a free port of loopback that passes everything on to `upstream`, which need not be up.
    ///
    /// # Errors
    ///
    /// The kernel's: no port, descriptor or thread is left.
    pub fn start(upstream: SocketAddr) -> io::Result<Proxy> {
        Proxy::start_at((Ipv4Addr::LOCALHOST, 0).into(), upstream)
    }

    /// Starts one on this address; on any free port of it when the port is 0.
    ///
    /// # Errors
    ///
    /// As [`Proxy::start`], and that the address is taken or not of this machine.
    pub fn start_at(listen: SocketAddr, upstream: SocketAddr) -> io::Result<Proxy> {
        let port = HeldPort::at(listen)?;
        let address = port.address();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (wishes, received) = bounded(16);
        let counters = Arc::new(Counters::default());
        let engine = Engine::new(poll, port, upstream, received, Arc::clone(&counters))?;
        let thread = std::thread::Builder::new().name("fault-proxy".into()).spawn(move || engine.run())?;
        Ok(Proxy { address, wishes, waker, counters, thread: Some(thread) })
    }

    /// Where clients dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behaves so from now on.
    pub fn set(&self, mode: Mode) {
        self.ask(Wish::Set(mode));
    }

    /// Ends every open connection in order, once. New ones meet the mode.
    pub fn cut(&self) {
        self.ask(Wish::End(Ending::Cut));
    }

    /// Resets every open connection, once. New ones meet the mode.
    pub fn reset(&self) {
        self.ask(Wish::End(Ending::Reset));
    }

    /// Does what an order changes; [`Order::Stats`] and [`Order::Quit`] change nothing here.
    pub fn obey(&self, order: Order) {
        match order {
            Order::Set(mode) => self.set(mode),
            Order::CutNow => self.cut(),
            Order::ResetNow => self.reset(),
            Order::Stats | Order::Quit => {}
        }
    }

    /// The counts so far. Bytes are counted just after they went on, so a client may have them first; what went
    /// before a method that changes something is counted when that returns.
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// # Panics
    ///
    /// When the proxy's thread met an error of the kernel and ended: a test that goes on would prove nothing.
    fn ask(&self, wish: Wish) {
        let (answer, answered) = bounded(1);
        let asked = self.wishes.send((wish, answer)).is_ok() && self.waker.wake().is_ok();
        assert!(asked && answered.recv().is_ok(), "the proxy's thread has ended");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let (answer, _) = bounded(1);
        // A thread that ended needs no telling.
        let _ = self.wishes.send((Wish::Stop, answer));
        let _ = self.waker.wake();
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            eprintln!("seawall-fault: the proxy ended early: {error}");
        }
    }
}
