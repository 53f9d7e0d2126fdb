//! A bounded map of tokens that evicts the least recently used one.

use super::token_hash::TokenHash;
use std::collections::{BTreeMap, HashMap};

/// A map with bounds that evicts the least recently used entry.
#[derive(Debug)]
pub(super) struct Recent<T> {
    entries: HashMap<TokenHash, (u64, usize, T)>,
    /// The tokens in order of their last use.
    order: BTreeMap<u64, TokenHash>,
    looks: u64,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
}

impl<T> Recent<T> {
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> Recent<T> {
        let (entries, order) = (HashMap::new(), BTreeMap::new());
        Recent { entries, order, looks: 0, bytes: 0, entries_max, bytes_max }
    }

    pub(super) fn find(&mut self, token: &TokenHash) -> Option<&T> {
        let (look, _, value) = self.entries.get_mut(token)?;
        self.order.remove(look);
        self.looks += 1;
        *look = self.looks;
        self.order.insert(self.looks, *token);
        Some(value)
    }

    pub(super) fn remove(&mut self, token: &TokenHash) {
        if let Some((look, bytes, _)) = self.entries.remove(token) {
            self.order.remove(&look);
            self.bytes -= bytes;
        }
    }

    /// Inserts an entry. An entry larger than the whole bound is not kept.
    pub(super) fn insert(&mut self, token: TokenHash, value: T, bytes: usize) {
        self.remove(&token);
        self.looks += 1;
        self.order.insert(self.looks, token);
        self.entries.insert(token, (self.looks, bytes, value));
        self.bytes = self.bytes.saturating_add(bytes);
        while self.entries.len() > self.entries_max || self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.order.first_key_value() else { return };
            let oldest = *oldest;
            self.remove(&oldest);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The approximate size of all entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
        self.bytes = 0;
    }

    /// Panics if the order or the size differs from the entries.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.order.len(), self.entries.len());
        assert_eq!(self.entries.values().map(|entry| entry.1).sum::<usize>(), self.bytes);
    }
}
