//! The effective configuration as operators see it.

use arc_swap::ArcSwap;
use std::sync::Arc;

/// The settings with their values and origins, as JSON without secrets. A reload replaces it.
#[derive(Debug, Default)]
pub struct SettingsBoard(ArcSwap<String>);

impl SettingsBoard {
    pub fn publish(&self, json: String) {
        self.0.store(Arc::new(json));
    }

    /// Empty before the first publication.
    pub fn read(&self) -> Arc<String> {
        self.0.load_full()
    }
}
