//! The division of a commit's changes among the masters. Pure.

use crate::follow::routing::partition_of;
use crate::id::ChannelName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Divides a batch by the places of its partitions, and keeps its order within each. A batch of one place is not copied.
pub(super) fn divide<T: Clone>(
    batch: &Arc<[T]>,
    channel: fn(&T) -> &ChannelName,
    by_partition: &[usize],
) -> Vec<(usize, Arc<[T]>)> {
    let place = |one: &T| by_partition.get(usize::from(partition_of(channel(one)).index())).copied();
    let Some(first) = batch.first().and_then(place) else { return Vec::new() };
    if batch.iter().all(|one| place(one) == Some(first)) {
        return vec![(first, Arc::clone(batch))];
    }
    let mut parts: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for one in batch.iter() {
        if let Some(place) = place(one) {
            parts.entry(place).or_default().push(one.clone());
        }
    }
    parts.into_iter().map(|(place, part)| (place, Arc::from(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Offset;
    use crate::wire::publication::{Change, Published};
    use crate::wire::stream::StreamMark;

    fn published(channel: usize, offset: u64) -> Published {
        let channel = ChannelName::parse(&format!("c{channel}")).expect("valid");
        let (offset, change, frame) = (Offset(offset), Change::None, Arc::from(&b"x"[..]));
        Published { channel, offset, change, stream: StreamMark::None, time_ms: 1, frame }
    }

    fn channel_of(published: &Published) -> &ChannelName {
        &published.channel
    }

    /// Thirds of the partitions.
    fn thirds() -> Vec<usize> {
        (0..256).map(|partition| partition * 3 / 256).collect()
    }

    #[test]
    fn each_publication_goes_to_the_place_of_its_partition_in_order() {
        let batch: Arc<[Published]> =
            (0..300).map(|number| published(number % 30, number as u64)).collect::<Vec<_>>().into();
        let parts = divide(&batch, channel_of, &thirds());
        assert_eq!(parts.iter().map(|(_, part)| part.len()).sum::<usize>(), 300);
        for (place, part) in parts {
            for published in part.iter() {
                let partition = usize::from(partition_of(&published.channel).index());
                assert_eq!(partition * 3 / 256, place);
            }
            let offsets: Vec<u64> = part.iter().map(|published| published.offset.0).collect();
            assert!(offsets.is_sorted());
        }
    }

    #[test]
    fn batch_of_one_place_is_shared_and_not_copied() {
        let batch: Arc<[Published]> = vec![published(1, 1), published(1, 2)].into();
        let parts = divide(&batch, channel_of, &thirds());
        assert!(Arc::ptr_eq(&parts[0].1, &batch));
        assert!(divide(&batch, channel_of, &[]).is_empty());
        assert!(divide(&Arc::from([]), channel_of, &thirds()).is_empty());
    }
}
