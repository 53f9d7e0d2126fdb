//! The second engine: threads that wait, so that reactors need not.

pub mod admin;
pub mod auth;
pub mod bus;
mod line;
pub mod probe;
mod redis;
pub mod store;
pub mod watch;
