//! Support for the tests: the real binary, a WebSocket client, a raw socket, tokens, and waiting.

pub mod admin;
pub mod backend;
pub mod client;
pub mod commands;
pub mod frame;
pub mod gateway;
pub mod line;
pub mod publisher;
pub mod raw;
pub mod relay;
pub mod slow_store;
pub mod stream;
pub mod token;
pub mod wait;

pub use admin::Operator;
pub use client::{Client, Closed, Upgrade};
pub use frame::Frame;
pub use gateway::{Gateway, Setup, has_named_binary};
pub use line::{Certificate, Line};
pub use raw::RawClient;
pub use relay::RelayBackend;
pub use wait::{SOON, until};
