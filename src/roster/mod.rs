//! Rosters: the users that are present in each channel, and the frames for the watchers of a channel.
//!
//! A roster lists users, each with a set of connections. All connections of a user are one member: the user joins with the first
//! and leaves with the last. Connections that end stay for a while ([`Departure`]), so that a client that comes back, or that
//! enters again, is never seen to leave.
//!
//! [`Rosters`] takes events and the time, and returns frames. Watchers get the *difference* between what they were sent last
//! and what is true when a frame is due. So a doubled or late event may delay a frame, but in the end the roster is right, and a storm of joins
//! is a few frames ([`pace`]).

mod connections;
mod event;
mod members;
mod pace;
mod page;
mod reactors;
mod reading;
mod recount;
mod segment;
mod service;
mod share;
mod sharing;
mod single;
#[cfg(test)]
mod tests;
mod view;
mod watching;
mod whole;
mod writes;

pub use event::{ConnectionId, Departure, RosterEvent, Shown, WatchNumber};
pub use page::PageWish;
pub use reactors::ReactorSet;
pub use reading::RosterReading;
pub use segment::{SegmentChange, SegmentContent};
pub use service::{InstanceStanding, RosterInstance, ServiceState, SharingBounds, TopicWish, WayState, Ways};
pub use watching::{PushAudience, RosterPush, WatchOf};
pub use whole::shared::{DeltaFate, WriteOutcome};
pub use whole::{RosterRules, RosterSizes, Rosters};
pub use writes::RosterWrite;
