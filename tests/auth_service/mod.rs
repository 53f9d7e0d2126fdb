//! The gateway beside a real auth service: introspection, a key set, and what people see when it is gone.

mod answers;
mod issuer;
mod key_set;
mod outage;
