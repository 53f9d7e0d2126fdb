//! The values that cross threads: jobs to the workers, completions and broadcasts back. [`lane`] and [`bus`] have the queues
//! between them.

pub mod admin;
pub mod alerts;
pub mod bus;
pub mod callers;
pub mod client_errors;
pub mod clients;
pub mod delivery;
pub mod directory;
mod instance_orders;
pub mod issuer_keys;
pub mod known_token;
pub mod lane;
pub mod lookup;
pub mod mailbox;
mod message;
mod order_gap;
mod order_log;
mod order_report;
mod order_request;
pub mod orders;
pub mod places;
pub mod presence;
pub mod probing;
pub mod registry;
pub mod relay;
pub mod segments;
pub mod shared_alerts;
pub mod shared_counts;
pub mod shared_questions;
pub mod slo;
pub mod stream;
pub mod users;
pub mod wake;

pub use crate::session::outcome::*;
pub use lane::{EvidenceSender, Inbox, Mailbox, Offered, Outlook, Queues, SnapshotReader, inbox};
pub use message::*;
