//! Authentication and permissions, as pure decisions. `introspect` runs them on a thread of its own.

pub mod account;
pub mod census;
pub mod inquiry;
pub mod introspection;
pub mod key;
pub mod key_set;
pub mod known;
pub mod permission;
pub mod token;
