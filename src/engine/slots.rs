//! A slab of connections whose keys carry a generation, so that an event, a timer or an answer for a closed connection never
//! reaches the next one in its place.

use slab::Slab;

/// The name of one connection of one reactor. It is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId {
    /// The connection's place. The hub knows a connection by this alone.
    pub index: u32,
    /// Differs for each connection in this place.
    pub generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: T,
}

/// Connections by name.
#[derive(Debug)]
pub struct Slots<T> {
    slab: Slab<Entry<T>>,
    /// Never `u32::MAX`: the tokens of the listener and the waker have that generation.
    generation: u32,
}

impl<T> Slots<T> {
    pub fn new() -> Slots<T> {
        Slots { slab: Slab::new(), generation: 0 }
    }

    pub fn insert(&mut self, value: T) -> SlotId {
        self.generation = (self.generation + 1) % (u32::MAX - 1);
        let index = self.slab.insert(Entry { generation: self.generation, value });
        SlotId { index: index as u32, generation: self.generation }
    }

    /// The connection of that name, unless it was removed.
    #[inline]
    pub fn get_mut(&mut self, id: SlotId) -> Option<&mut T> {
        let entry = self.slab.get_mut(id.index as usize)?;
        (entry.generation == id.generation).then_some(&mut entry.value)
    }

    /// The connection in that place. The hub may use it, because subscriptions end with their peer.
    #[inline]
    pub fn at_mut(&mut self, index: u32) -> Option<(SlotId, &mut T)> {
        let entry = self.slab.get_mut(index as usize)?;
        Some((SlotId { index, generation: entry.generation }, &mut entry.value))
    }

    /// The connection of that name, to look at.
    pub fn get(&self, id: SlotId) -> Option<&T> {
        let entry = self.slab.get(id.index as usize)?;
        (entry.generation == id.generation).then_some(&entry.value)
    }

    /// The connection in that place, to look at.
    pub fn at(&self, index: u32) -> Option<&T> {
        self.slab.get(index as usize).map(|entry| &entry.value)
    }

    pub fn contains(&self, id: SlotId) -> bool {
        self.get(id).is_some()
    }

    /// Removes the connection of that name, and frees its place.
    pub fn remove(&mut self, id: SlotId) -> Option<T> {
        self.get_mut(id)?;
        let removed = self.slab.remove(id.index as usize).value;
        if self.slab.is_empty() {
            // The memory of a storm is given back.
            self.slab.shrink_to_fit();
        }
        Some(removed)
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub fn ids(&self) -> Vec<SlotId> {
        self.iter().map(|(id, _)| id).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (SlotId, &T)> {
        self.slab.iter().map(|(index, entry)| {
            (SlotId { index: index as u32, generation: entry.generation }, &entry.value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_does_not_reach_the_next_connection_in_its_place() {
        let mut slots = Slots::new();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut "second"));
    }
}
