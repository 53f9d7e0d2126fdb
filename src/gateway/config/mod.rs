//! The configuration: four sources, each overriding the one before, and one table of settings that drives them all.
//!
//! The sources are defaults, a TOML file, `SEAWALL_*` variables and flags. The [table] also drives the listing of
//! `check-config`, the reference in `docs/configuration.md` and `seawall.example.toml`. All mistakes are reported at once,
//! each with its origin, key, value and bound, so that an operator can correct them in one attempt.
//!
//! No file imports from this one, and the imports between the files have no circle.

pub mod alert;
mod alert_check;
pub mod alert_fault;
pub mod api;
pub mod auth;
pub mod certificate;
mod check;
pub mod dependency;
mod draft;
mod environment;
pub mod error;
pub mod flag;
pub mod origin;
mod plaintext;
pub(in crate::gateway) mod prepare;
mod raw;
mod ready_made;
pub mod relay;
pub mod relay_check;
pub mod relay_fault;
pub mod relay_secret;
pub mod reload;
mod secret_check;
pub(in crate::gateway) mod secret_file;
mod section_list;
pub mod sections;
pub mod setting;
pub mod show;
pub mod sources;
pub mod table;
pub mod url;
pub mod value;
mod words;

pub use sections::{Config, ProxyProtocol};
pub use sources::{load, load_text};
