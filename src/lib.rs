//! Seawall: a WebSocket chat gateway that stores what it acknowledges and says what it cannot do.
//!
//! **The pure floors decide, the reactors perform, the workers wait.**
//!
//! A module imports strictly lower floors and its own folder; siblings never import each other, and no files import each other
//! in a circle. `tests/tidy` reads the source and checks this table:
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 8 | `gateway` | composition: configuration, threads, signals |
//! | 7 | `reactor`, `store`, `probe`, `bus`, `watch`, `introspect`, `registry`, `rebalance`, `admin`, `api`, `presence`, `objectives`, `notify`, `canary`, `clients`, `backends` | threads that poll or wait; they meet only in floor 4 |
//! | 6 | `net` | blocking clients with deadlines: sockets, TLS, HTTP, Redis, addresses |
//! | 5 | `engine` | one reactor's decisions, without its sockets |
//! | 4 | `job`, `metrics`, `log` | what crosses threads; what is observed |
//! | 3 | `session` | one connection's life, which asks the floors below |
//! | 2 | `hub`, `follow`, `health`, `auth`, `admission`, `drain`, `roster`, `cluster`, `slo`, `alert`, `flag`, `client_error`, `stream`, `relay` | decisions: no I/O, clock, randomness, logging or counting |
//! | 1 | `wire` | bytes to values and back |
//! | 0 | `limits`, `id`, `close`, `clock`, `random`, `rate`, `backoff` | vocabulary |
//!
//! # One publication's journey
//!
//! Four types long: [`Command`](wire::command::Command) → [`Effect`](session::Effect) → [`Job`](engine::Job) →
//! [`Completion`](job::Completion). Each hop is one function:
//!
//! 1. [`Reactor::turn`](reactor::Reactor::turn) waits, and `read` in [`reactor::transfer`] reads a socket's bytes into the one
//!    buffer of its reactor;
//! 2. [`Engine::handle_bytes`](engine::Engine::handle_bytes) gives them to [`engine::frames`], where a
//!    [`Decoder`](wire::frames::Decoder) unmasks them in place;
//! 3. [`Session::text`](session::Session::text) has [`wire::command::parse()`] make a `Command::Publish` of the text, borrowed
//!    from that buffer; [`session::publish`] checks the rate and the permission and answers with an `Effect::Append`;
//! 4. [`engine::perform`] makes a `Job::Append` of it, with a [`Ticket`](job::Ticket) for the answer, and `send_jobs` in
//!    [`reactor::exchange`] puts it on the store's queue; if that is full, the client is answered `overloaded`;
//! 5. the store's one writer ([`store::sqlite::append`], or [`store::postgres::append`] for the channel) commits a batch;
//!    [`store::answers`] sends a `Completion::Appended` to the reactor that asked and the publications to every reactor, through
//!    its [`Mailbox`](job::lane::Mailbox);
//! 6. [`Engine::handle_completion`](engine::Engine::handle_completion) answers the author with `published`, and
//!    [`Engine::handle_broadcast`](engine::Engine::handle_broadcast) gives the publication to [`Hub::publish`](hub::Hub::publish),
//!    which compares its offset with the channel's head: the next one, a known one, or a hole;
//! 7. [`Engine::deliver`](engine::Engine::deliver) gives the outbox of each live subscriber one reference to the channel's run,
//!    or lets the subscriber fall behind;
//! 8. [`Engine::flush`](engine::Engine::flush) and `flush` in [`reactor::transfer`] write each connection that got something,
//!    once a turn.
//!
//! # Absent on purpose
//!
//! A test or a lint rejects: `unsafe`, async, unbounded queues, locks in `engine` and `reactor`, a clock or randomness below
//! floor 6 (the log's time stamps and the engine's seed come from outside), a panic reachable from the network, `build.rs`.

pub mod admin;
pub mod admission;
pub mod alert;
pub mod api;
pub mod auth;
pub mod backends;
pub mod backoff;
pub mod bus;
pub mod canary;
pub mod client_error;
pub mod clients;
pub mod clock;
pub mod close;
pub mod cluster;
pub mod drain;
pub mod engine;
pub mod flag;
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
pub mod notify;
pub mod objectives;
pub mod presence;
pub mod probe;
pub mod random;
pub mod rate;
pub mod reactor;
pub mod rebalance;
pub mod registry;
pub mod relay;
pub mod roster;
pub mod session;
pub mod slo;
pub mod store;
pub mod stream;
pub mod watch;
pub mod wire;
