//! Incidents and notices: when an alert begins and ends, and what each channel is sent in which order.
//!
//! Each look gives a reading for every alert: a plain condition, without objectives or dependencies. An [`IncidentMachine`] makes
//! begins and ends of them, each begin with one end. [`Incidents`] decides which channel hears of an incident and when: silences,
//! inhibition by a cause, storms, acknowledgements and repeats. A [`ChannelQueue`] orders the notices of one channel, and
//! [`retry`] reads its answers.
//!
//! Times are Unix milliseconds of a clock that never goes back while the process runs.

pub mod attribution;
pub mod channel;
mod due;
pub mod handover;
pub mod hold;
pub mod incident;
pub mod incidents;
pub mod key;
pub mod machine;
pub mod notice;
pub mod order;
mod pending;
pub mod reading;
pub mod report;
pub mod retry;
pub mod routing;
pub mod silence;
#[cfg(test)]
mod tests;
pub mod text;

pub use channel::AlertChannel;
pub use incident::Incident;
pub use incidents::Incidents;
pub use key::{AlertKey, AlertKind, AlertSeverity};
pub use machine::{AlertCondition, AlertRule, IncidentMachine};
pub use notice::{AlertNotice, NoticeEvent};
pub use order::ChannelQueue;
