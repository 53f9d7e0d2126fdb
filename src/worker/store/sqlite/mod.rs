//! The log in SQLite: one file, one writing connection, any number of reading ones.
//!
//! Nothing here knows threads, queues or mailboxes: values go in, values come out, and the workers one
//! folder up carry them.

pub(crate) mod batch;
pub(crate) mod connection;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod page;
pub(crate) mod place;
pub(crate) mod retention;
pub(crate) mod rows;
pub(crate) mod schema;
