//! Several gateways on one real PostgreSQL and one real Redis: which of them live, which one leads, and what operators see.

mod alerts;
mod alone;
mod cancel;
mod leader;
mod namespace;
mod objectives;
mod one_way;
mod operators;
mod presence;
mod rebalance;
mod relay;
mod relay_faults;
mod restarts;
pub mod rig;
mod segment_keys;
mod segments;
mod signs;
mod streams;
mod users;
