//! Real servers for tests: PostgreSQL, Redis, its Sentinels and its cluster, an HTTP service, and a disk that can be filled.
//!
//! Each keeps its port while it is down, keeps its data in a temporary folder, and ends when its value is dropped,
//! whether a test passed, panicked or was killed. A test target includes the module by its path:
//!
//! ```ignore
//! #[path = "../servers/mod.rs"]
//! mod servers;
//! ```
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every server")]

pub mod cluster;
pub mod disk;
pub mod http;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod sentinel;
pub mod skipped;
#[allow(clippy::duplicate_mod, reason = "a test target may include it twice, and it has no state")]
#[path = "../e2e/support/wait.rs"]
mod wait;

pub use cluster::RedisCluster;
pub use disk::Disk;
pub use http::{Answer, Http};
pub use postgres::Postgres;
pub use redis::{Redis, Reply};
pub use sentinel::Watched;
