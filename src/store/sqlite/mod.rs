//! The store in SQLite: a file in the data folder.
//!
//! One thread appends, a few read, and one copies the write-ahead log into the database file. They share only the file: appends
//! and reads never wait for each other.
//!
//! A publication is acknowledged after its transaction is committed and synced, and announced after that. While the disk
//! refuses writes, appends are answered `unavailable` and pages are still served. The next batch tries again, so no restart is
//! needed.

pub(crate) mod append;
mod attempt;
mod backup;
mod batch;
mod batch_fault;
mod batch_relay;
mod batch_streams;
mod checkpoint;
mod checkpoints;
mod connection;
mod copy;
mod drop_channels;
mod erasures;
mod fault;
mod keys;
mod last_use;
mod lock;
mod log;
mod log_streams;
mod orders;
mod overfull;
mod page;
mod place;
mod read;
mod relay_batch;
mod relay_desk;
mod relay_rows;
mod relay_sweep;
mod relay_turn;
mod relay_views;
mod removal;
mod restore;
mod retention;
mod room;
mod round;
mod rows;
mod schema;
mod space;
mod store;
mod stream_batch;
mod stream_end;
mod stream_log;
mod stream_writer;
mod streams;
#[cfg(test)]
mod tests;
mod user_erasures;
mod user_search;
mod user_searches;

pub use backup::{Backup, backup};
pub use copy::StoreContent;
pub use drop_channels::drop_channels;
pub use fault::SqliteOpenError;
pub use restore::{Restored, restore};
pub use schema::VERSION;
pub use store::{RunningSqlite, SqliteConfig, SqliteRoom, SqliteStore, new_epoch, noted_schema};
