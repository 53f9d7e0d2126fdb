//! Errors that clients report, in groups: the same error at the same place is one group with counts and two samples.
//!
//! Everything is in memory, and bounded: [`GROUPS_MAX`] groups of [`GROUP_BYTES_MAX`]. Reporters have shares, so that one of them can
//! neither fill the groups nor keep others from making some. A client names no group: the fingerprint is computed here.

mod fingerprint;
mod group;
mod groups;
mod hours;
mod reporter;
mod scrub;

pub use fingerprint::{Fingerprint, fingerprint};
pub use group::{ErrorGroup, ErrorSample, GROUP_BYTES_MAX, Mute, RELEASES_MAX, USERS_MAX};
pub use groups::{ClientErrors, DropCounts, GROUPS_MAX, ReportOutcome, TakenReport, WorthLogging};
pub use hours::HOURS;
pub use reporter::Reporter;
pub use scrub::without_tokens;
