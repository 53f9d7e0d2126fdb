//! The gateway with an auth service: introspection, a key set, and what clients see during an outage.

mod answers;
pub mod issuer;
mod key_set;
mod outage;
mod recheck;
mod shares;
