//! The second engine: threads that wait, so that reactors need not.

pub mod auth;
mod line;
pub mod probe;
pub mod store;
pub mod watch;
