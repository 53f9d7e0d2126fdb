//! Slots, partitions and tags: where Redis Cluster keeps a key, and how names keep what belongs together on one node.
//!
//! Redis Cluster maps each key to one of 16,384 slots: CRC-16 of the key, or of the text in its first braces, the tag
//! (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>, "Key distribution model"). Seawall divides the slots
//! into 256 partitions of 64 consecutive ones and gives each partition a tag. A node has whole ranges of slots, so each node of an
//! evenly divided cluster has 256 divided by the number of nodes, give or take one. One server has the same names, so that moving to
//! a cluster changes no key.

/// Slots of a Redis Cluster.
pub const SLOTS: u16 = 16_384;
/// Partitions, each of [`SLOTS_PER_PARTITION`] consecutive slots.
pub const PARTITIONS: u16 = 256;
/// Slots of a partition.
pub const SLOTS_PER_PARTITION: u16 = SLOTS / PARTITIONS;

/// CRC-16 of Redis Cluster, bit by bit: XMODEM, polynomial 0x1021, initial value 0.
const fn crc16(bytes: &[u8]) -> u16 {
    let (mut crc, mut at) = (0_u16, 0);
    while at < bytes.len() {
        crc = next_crc(crc, bytes[at]);
        at += 1;
    }
    crc
}

const fn next_crc(crc: u16, byte: u8) -> u16 {
    let (mut crc, mut bit) = (crc ^ ((byte as u16) << 8), 0);
    while bit < 8 {
        crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        bit += 1;
    }
    crc
}

/// The slot of a name that has no braces, such as a channel or a tag.
pub const fn slot(name: &[u8]) -> u16 {
    crc16(name) % SLOTS
}

/// One of the 256 partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// The partition of what belongs to no name: leases, stats, orders.
    pub const FIRST: Partition = Partition(0);

    /// The partition of a slot; slots from [`SLOTS`] on do not exist and count from 0 again.
    pub const fn of_slot(slot: u16) -> Partition {
        Partition((slot % SLOTS / SLOTS_PER_PARTITION) as u8)
    }

    /// The partition of a name, such as a channel or a user.
    pub const fn of(name: &str) -> Partition {
        Partition::of_slot(slot(name.as_bytes()))
    }

    /// The partition of this number.
    pub const fn at(number: u8) -> Partition {
        Partition(number)
    }

    /// All partitions, in order.
    pub fn all() -> impl Iterator<Item = Partition> {
        (0..=u8::MAX).map(Partition)
    }

    /// The text between the braces of a key of this partition: the smallest number whose slot is in it.
    pub const fn tag(self) -> u16 {
        TAGS[self.0 as usize]
    }

    /// The number of the partition, 0 to 255.
    pub const fn index(self) -> u16 {
        self.0 as u16
    }
}

/// The largest tag.
const TAG_MAX: u16 = 477;

/// The tags, by partition.
const TAGS: [u16; PARTITIONS as usize] = {
    let mut tags = [u16::MAX; PARTITIONS as usize];
    let mut number = TAG_MAX + 1;
    while number > 0 {
        number -= 1;
        let partition = slot_of_number(number) / SLOTS_PER_PARTITION;
        tags[partition as usize] = number;
    }
    tags
};

/// The slot of the decimal text of a number of at most three digits.
const fn slot_of_number(number: u16) -> u16 {
    let digits = [b'0' + (number / 100) as u8, b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
    match number {
        0..10 => slot(&[digits[2]]),
        10..100 => slot(&[digits[1], digits[2]]),
        _ => slot(&digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12_182);
    }

    #[test]
    fn tag_is_the_smallest_number_in_the_slots_of_its_partition() {
        for partition in Partition::all() {
            let first = partition.index() * SLOTS_PER_PARTITION;
            let range = first..first + SLOTS_PER_PARTITION;
            let smallest = (0..).find(|number: &u16| range.contains(&slot(number.to_string().as_bytes())));
            assert_eq!(smallest, Some(partition.tag()), "{partition:?}");
            assert_eq!(Partition::of(&partition.tag().to_string()), partition);
        }
        assert_eq!(Partition::all().map(Partition::tag).max(), Some(TAG_MAX));
    }

    #[test]
    fn every_even_division_of_the_slots_divides_the_tags_evenly() {
        for nodes in 1..=256_u32 {
            let node = |slot: u16| u32::from(slot) * nodes / u32::from(SLOTS);
            let mut counts = vec![0; nodes as usize];
            for partition in Partition::all() {
                counts[node(slot(partition.tag().to_string().as_bytes())) as usize] += 1;
            }
            let (fewest, most) = (256 / nodes as i32 - 1, 256_u32.div_ceil(nodes) as i32 + 1);
            assert!(counts.iter().all(|count| (fewest..=most).contains(count)), "{nodes} nodes: {counts:?}");
        }
    }

    #[test]
    fn each_slot_has_its_partition() {
        for slot in 0..SLOTS {
            assert_eq!(Partition::of_slot(slot).index(), slot / SLOTS_PER_PARTITION);
        }
        assert_eq!(Partition::of_slot(SLOTS), Partition::FIRST);
        assert_eq!(Partition::FIRST.tag(), 460);
    }
}
