//! The newest changes that an operator looks for next to a curve: a dependency, an incident, a drain, a reload, an action.

use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;

/// The changes that are kept.
pub const CHANGES_MAX: usize = 200;
/// Characters of a text that are kept.
const TEXT_MAX: usize = 120;

/// The part of the gateway that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Dependency,
    Alert,
    Drain,
    Reload,
    /// An operator's order.
    Action,
    /// The process started.
    Start,
    /// Many clients returned at once.
    Storm,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotedChange {
    /// Counts from 1.
    pub id: u64,
    /// Unix milliseconds.
    pub time: u64,
    pub kind: ChangeKind,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// The newest [`CHANGES_MAX`] changes. Several threads add to it, seldom.
#[derive(Debug, Default)]
pub struct ChangeLog(Mutex<VecDeque<NotedChange>>);

impl ChangeLog {
    /// Adds a change; the oldest goes if there are too many.
    pub fn add(&self, time: u64, kind: ChangeKind, text: &str, reference: Option<String>) {
        let mut kept = self.0.lock();
        let id = kept.back().map_or(1, |newest| newest.id + 1);
        if kept.len() >= CHANGES_MAX {
            kept.pop_front();
        }
        kept.push_back(NotedChange {
            id,
            time,
            kind,
            text: text.chars().take(TEXT_MAX).collect(),
            reference,
        });
    }

    /// The changes after this one, the oldest first.
    pub fn after(&self, id: u64) -> Vec<NotedChange> {
        self.0.lock().iter().filter(|change| change.id > id).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_changes_are_kept_and_numbered_without_a_gap() {
        let log = ChangeLog::default();
        for number in 1..=250 {
            log.add(number, ChangeKind::Action, &"x".repeat(300), None);
        }
        let kept = log.after(0);
        assert_eq!((kept.len(), kept[0].id, kept[199].id), (CHANGES_MAX, 51, 250));
        assert!(kept.iter().all(|change| change.text.len() == TEXT_MAX));
        assert_eq!(log.after(249).len(), 1);
    }
}
