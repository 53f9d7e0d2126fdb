//! Seawall: a WebSocket chat gateway that stores what it acknowledges and says what it cannot do.
//!
//! **The pure floors decide, the reactor performs, the workers wait.**
//!
//! A module imports strictly lower floors and its own folder; siblings never import each other.
//! `tests/tidy.rs` reads the source and holds this table:
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 8 | `gateway` | composition: configuration, threads, signals |
//! | 7 | `reactor`, `store`, `probe`, `bus`, `watch`, `introspect`, `admin` | threads that poll or wait; they meet only in floor 4 |
//! | 6 | `net` | blocking clients with deadlines: sockets, TLS, HTTP, Redis, addresses |
//! | 5 | `engine` | one reactor's decisions, without its sockets |
//! | 4 | `job`, `metrics`, `log` | what crosses threads; what is observed |
//! | 3 | `session` | one connection's life, which asks the floors below |
//! | 2 | `hub`, `follow`, `health`, `auth`, `admission`, `drain` | decisions: no I/O, clock, randomness, logging or counting |
//! | 1 | `wire` | bytes to values and back |
//! | 0 | `limits`, `id`, `close`, `clock`, `random`, `rate`, `backoff` | vocabulary |
//!
//! One publication's journey, four types long, **`Command` → `Effect` → `Job` → `Completion`**:
//!
//! 1. `reactor::connection` reads bytes into the reactor's one read buffer;
//! 2. `wire::frames` and `wire::command` make a `Command::Publish` of them;
//! 3. `session` answers with an `Effect::Append`;
//! 4. `reactor::perform` puts a `job::Append` on the store's queue, or answers `overloaded`;
//! 5. `store` commits a batch, then answers with a `Completion::Appended` and announces the
//!    publications to every reactor;
//! 6. `hub` gives each subscriber of the channel one reference to the same bytes;
//! 7. `reactor` writes each dirty connection once a turn.
//!
//! Absent on purpose, and checked by a test or a lint: `unsafe`, async, unbounded queues, locks in
//! `reactor`, a clock or randomness below floor 4, a panic reachable from the network, `build.rs`.

pub mod admin;
pub mod admission;
pub mod auth;
pub mod backoff;
pub mod bus;
pub mod clock;
pub mod close;
pub mod drain;
pub mod engine;
pub mod follow;
pub mod gateway;
pub mod health;
pub mod hub;
pub mod id;
pub mod introspect;
pub mod job;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod net;
pub mod probe;
pub mod random;
pub mod rate;
pub mod reactor;
pub mod session;
pub mod store;
pub mod watch;
pub mod wire;
