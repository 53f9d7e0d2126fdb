//! The durable log of every channel, in SQLite inside the data folder or in a PostgreSQL database.
//!
//! Each database has a module of its own. The files next to them are what both share: answers to the reactors, pages, outcomes,
//! idempotency and the encoding of columns.

mod answer_column;
pub(crate) mod answers;
mod clock_trust;
mod columns;
mod emptied;
mod ended_streams;
mod ends;
mod erased;
mod erasure_turns;
mod fullness;
mod idempotency;
mod large_cuts;
mod late_share;
mod loaded_orders;
mod open_streams;
mod outcome;
mod pace;
mod page_body;
pub mod postgres;
mod relay;
mod relay_ends;
mod retention;
mod schema_version;
mod selection;
pub mod sqlite;
mod stream_ends;
mod stream_frame;
mod stream_orders;
mod thread;
mod wall_clock;

pub use ends::{OrderEnds, StoreEnds};
pub use relay_ends::RelayEnds;
pub use retention::Retention;
pub use schema_version::{Fit, StoreSchema};
pub use selection::{Dropped, Selection};
pub use stream_ends::StreamEnds;
