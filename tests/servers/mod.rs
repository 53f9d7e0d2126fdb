//! Real servers for tests: PostgreSQL, Redis, an HTTP service of ours, and a disk that can be filled.
//!
//! Each is on a port that stays its own while it is down, keeps its data in a temporary folder, and ends with its
//! value, whether a test passed, panicked or was killed. A test target takes the module in by its path:
//!
//! ```ignore
//! #[path = "../servers/mod.rs"]
//! mod servers;
//! ```
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every server")]

pub mod disk;
pub mod http;
pub mod postgres;
pub mod process;
pub mod redis;
#[path = "../e2e/support/wait.rs"]
mod wait;

pub use disk::Disk;
pub use http::{Answer, Http};
pub use postgres::Postgres;
pub use redis::{Redis, Reply};
