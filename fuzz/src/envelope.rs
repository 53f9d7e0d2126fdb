//! A message of the bus, as another instance or anybody else may have sent it.
//!
//! Checked: as it came, and with its checksum mended, so that what is behind it is reached. What is read is written as the same
//! bytes again; whatever else it is, it is refused.

use seawall::id::ChannelName;
use seawall::wire::envelope::{self, Message};

/// See the module.
pub fn check(bytes: &[u8]) {
    read(bytes);
    let mut mended = bytes.to_vec();
    if let Some((head, body)) = bytes.split_at_checked(14) {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head[..10]);
        sum.update(body);
        sum.update(b"c1");
        mended[10..14].copy_from_slice(&sum.finalize().to_le_bytes());
    }
    read(&mended);
}

fn read(bytes: &[u8]) {
    let channel = ChannelName::parse("c1").expect("a valid name");
    let origin = envelope::origin(bytes);
    let mut again = Vec::new();
    match (envelope::read(bytes, &channel), envelope::read_canary(bytes, "c1"), origin) {
        (Ok(Message::Publications(list)), Err(_), Some(origin)) => {
            assert!(list.iter().all(|published| published.channel == channel));
            envelope::publications(&mut again, origin, "c1", &list);
        }
        (Ok(Message::Signal(frame)), Err(_), Some(origin)) => {
            envelope::signal(&mut again, origin, "c1", &frame);
        }
        (Err(_), Ok(note), Some(origin)) => envelope::canary(&mut again, origin, "c1", note),
        (Err(_), Err(_), _) => return,
        other => panic!("{other:?}"),
    }
    // The target of an original is not looked at: it is written as zero.
    assert_eq!(again.len(), bytes.len());
    if !matches!(envelope::read(bytes, &channel), Ok(Message::Publications(_))) {
        assert_eq!(again, bytes);
    }
}
