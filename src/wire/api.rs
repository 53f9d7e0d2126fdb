//! The server API's bytes: bodies to values, and outcomes to JSON (`docs/api.md`).

pub mod answer;
pub mod body;
pub mod problem;
pub mod streamed;
pub mod users;
