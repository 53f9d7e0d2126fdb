//! Tests of the calls on a real PostgreSQL.

mod changes;
mod deadlines;
mod ends;
mod fence;
mod races;
#[path = "../../../../../tests/servers/mod.rs"]
mod servers;
mod support;
