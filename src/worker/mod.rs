//! Threads that may wait: for a disk, or for arithmetic too long for a turn.
//!
//! A worker takes jobs from a bounded queue and answers into the mailboxes of `job`. It never waits for a
//! reactor, and no reactor ever waits for it.

pub mod store;
