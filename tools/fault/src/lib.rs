//! Faults for tests: a TCP proxy that fails on command, and ports that stay reserved.
//!
//! A [`Proxy`] sits between a client and a server and passes bytes on until it is ordered to refuse, cut, reset,
//! stall, slow down, garble or swallow. It has one thread, one poll and bounds on everything. It is a library for tests,
//! which start it on a free port, and a program with a line protocol on stdin.
//!
//! ```no_run
//! use seawall_fault::{Mode, Proxy};
//!
//! let proxy = Proxy::start("127.0.0.1:5432".parse().unwrap()).unwrap();
//! println!("dial {}", proxy.address());
//! proxy.set(Mode::Stall);
//! println!("{}", proxy.stats());
//! ```

mod connection;
mod engine;
mod mode;
mod order;
mod pipe;
mod port;
mod proxy;
mod schedule;
mod stats;

pub use mode::{Direction, Garble, Mode, Pace};
pub use order::{ORDERS, Order};
pub use port::HeldPort;
pub use proxy::Proxy;
pub use schedule::{Schedule, Step};
pub use stats::Stats;
