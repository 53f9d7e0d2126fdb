//! Who is it, and what may they do: decisions only. `worker::auth` calls them on a thread of its own.

pub mod census;
pub mod key;
pub mod permission;
pub mod token;
