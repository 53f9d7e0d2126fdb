//! Counters of a proxy's traffic.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
            /// The counters since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $($(#[$doc])* pub $name: u64),+ }

            /// The counters as the engine keeps them.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),+ }

        impl Counters {
            pub(crate) fn stats(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Acquire)),+ }
            }
        }

        impl fmt::Display for Stats {
                        /// Writes one line: each name with its count.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let all = [$((stringify!($name), self.$name)),+];
                for (index, (name, count)) in all.into_iter().enumerate() {
                    let gap = if index == 0 { "" } else { " " };
                    write!(f, "{gap}{name}={count}")?;
                }
                Ok(())
            }
        }
    };
}

counts! {
        /// Connections accepted.
    accepted,
        /// Connections currently open.
    open,
        /// Connections ended by one of their sides.
    ended,
        /// Connections closed in order by a fault.
    cut,
    /// Connections reset by a fault.
    reset,
    /// Connections accepted and never answered.
    swallowed,
    /// Connections reset because the server could not be reached.
    unreachable,
        /// Connections reset because the bound was reached.
    over_bound,
    /// Bytes passed on from clients.
    request_bytes,
    /// Bytes passed on from the server.
    answer_bytes,
    /// Bits flipped.
    garbled,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Release);
}
