//! Messages to the watch thread.

use super::revision::{Revision, Watched};
use crate::health::board::DueProbe;
use crate::health::finding::Finding;
use crossbeam_channel::Sender;

/// A message to the watch thread.
#[derive(Debug)]
pub(super) enum WatchNews {
    /// A probe returned.
    Found(DueProbe, Finding),
    Revised(Box<Asked>),
    Stop,
}

/// A revision on its way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) revision: Revision,
    pub(super) news: Sender<WatchNews>,
    pub(super) reply: Sender<Watched>,
}
