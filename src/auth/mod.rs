//! Authentication and permissions, as pure decisions. `introspect` runs them on a thread of its own.

pub mod account;
pub mod api_key;
pub mod api_meters;
pub mod backend_token;
pub mod backend_tokens;
pub mod canary_pass;
pub mod census;
pub mod check_queue;
pub mod fair_queue;
pub mod inquiry;
pub mod introspection;
pub mod key;
pub mod key_set;
pub mod known;
pub mod party;
pub mod permission;
mod recent;
pub mod token;
mod token_hash;
pub mod token_pattern;
pub mod token_trace;
mod token_type;
pub mod trust;
