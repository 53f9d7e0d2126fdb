//! Conversion between bytes and values: HTTP heads, WebSocket frames, commands, pushes, and the outbox.
//!
//! Everything here is pure: bytes in, values or bytes out. A fuzzer can call all of it.

mod after;
pub mod api;
pub mod claims;
pub mod coding;
pub mod command;
pub mod envelope;
pub mod fault;
pub mod fields;
mod files;
pub mod frames;
pub mod hint;
pub mod json;
pub mod lease;
pub mod lines;
pub mod origin;
pub mod outbox;
pub mod page;
pub mod partitions;
pub mod personal;
mod plain;
pub mod presence;
pub mod proxy;
pub mod publication;
pub mod push;
pub mod reported;
pub mod request;
pub mod response;
pub mod scan;
pub mod segment;
pub mod server_frame;
pub mod short_text;
pub mod slot;
pub mod stats;
pub mod stream;
pub mod upgrade;
pub mod user_fields;
pub mod webhook;
