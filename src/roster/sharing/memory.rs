//! The memory that all views take together.

use super::SharedRosters;
use crate::id::ChannelName;

impl SharedRosters {
    /// The number of views, and the memory of their members in bytes.
    pub(in super::super) fn sizes(&self) -> (usize, usize) {
        (self.views.len(), self.views.values().map(|view| view.view.bytes()).sum())
    }

    /// The memory of members that views which keep numbers alone may take up again, in bytes: a fifth of the bound stays free.
    pub(in super::super) fn room(&self) -> usize {
        let bound = usize::try_from(self.bounds.views_bytes / 5 * 4).unwrap_or(usize::MAX);
        bound.saturating_sub(self.sizes().1)
    }

    /// The view with the most memory, if all of them have more than the bound.
    pub(in super::super) fn excess(&self) -> Option<ChannelName> {
        if self.sizes().1 as u64 <= self.bounds.views_bytes {
            return None;
        }
        let largest = self.views.iter().max_by_key(|(_, view)| view.view.bytes())?;
        (largest.1.view.bytes() > 0).then(|| largest.0.clone())
    }
}
