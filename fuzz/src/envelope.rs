//! A message of the bus, from another instance or from any other sender.
//!
//! Checked properties: the input as it is, and with a corrected checksum, so that the code after the checksum is reached. An
//! accepted message is written as the same bytes again; everything else is rejected.

use seawall::id::ChannelName;
use seawall::wire::envelope::{self, Message};

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    read(bytes);
    let mut corrected = bytes.to_vec();
    if let Some((head, body)) = bytes.split_at_checked(14) {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head[..10]);
        sum.update(body);
        sum.update(b"c1");
        corrected[10..14].copy_from_slice(&sum.finalize().to_le_bytes());
    }
    read(&corrected);
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
    // The target of an original is not checked; it is written as zero.
    assert_eq!(again.len(), bytes.len());
    if !matches!(envelope::read(bytes, &channel), Ok(Message::Publications(_))) {
        assert_eq!(again, bytes);
    }
}
