//! Blocking network clients for the workers: sockets with deadlines, TLS, addresses, and HTTP, Redis and PostgreSQL over them.
//!
//! This module knows none of the workers. All bytes go through [`mod@line`], which bounds every wait by the deadline of the whole
//! call.

pub(crate) mod address;
pub mod auth_endpoint;
pub(crate) mod binding;
pub(crate) mod deadline;
pub(crate) mod dial;
pub(crate) mod http_client;
pub(crate) mod http_reading;
pub(crate) mod line;
pub(crate) mod listener;
pub(crate) mod peer;
pub mod postgres;
pub mod redis;
pub(crate) mod resolve;
pub(crate) mod seats;
pub(crate) mod secured;
pub(crate) mod served;
pub mod target;
pub(crate) mod tls;
pub(crate) mod trouble;
