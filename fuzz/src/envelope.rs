//! A message of the bus, from another instance or from any other sender.
//!
//! Checked properties: the input as it is, and with the seal of the key, so that the code after the seal is reached. An
//! accepted message is written as the same bytes again; everything else is rejected.

use seawall::id::ChannelName;
use seawall::wire::envelope::{self, BusKey, InstanceMessage, Message};

fn key() -> BusKey {
    BusKey::new(&[7; BusKey::BYTES])
}

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    read(bytes);
    let mut sealed = bytes.to_vec();
    envelope::seal(&mut sealed, &key(), "c1");
    read(&sealed);
}

fn read(bytes: &[u8]) {
    let key = key();
    let channel = ChannelName::parse("c1").expect("a valid name");
    let origin = envelope::origin(bytes);
    let mut again = Vec::new();
    let message = envelope::read(bytes, &key, &channel);
    if let (Ok(InstanceMessage::StreamHint(id)), Some(origin)) =
        (envelope::read_note(bytes, &key, "c1"), origin)
    {
        envelope::stream_hint(&mut again, &key, origin, "c1", &id);
        assert!(message.is_err());
        return assert_eq!(again, bytes);
    }
    match (&message, envelope::read_canary(bytes, &key, "c1"), origin) {
        (Ok(Message::Publications(list)), Err(_), Some(origin)) => {
            for published in list {
                assert_eq!(published.channel, channel);
                assert!(published.frame.starts_with(&[0x81]), "no text frame");
            }
            envelope::publications(&mut again, &key, origin, "c1", list);
        }
        (Ok(Message::Signal(frame)), Err(_), Some(origin)) => {
            assert!(frame.starts_with(&[0x81]), "no text frame");
            envelope::signal(&mut again, &key, origin, "c1", frame);
        }
        (Ok(Message::Streamed(news)), Err(_), Some(origin)) => {
            for one in news {
                assert_eq!(one.id.channel, channel);
                assert!(one.news.frames().starts_with(&[0x81]), "no text frame");
            }
            envelope::streamed(&mut again, &key, origin, "c1", news);
        }
        (Err(_), Ok(note), Some(origin)) => envelope::canary(&mut again, &key, origin, "c1", note),
        (Err(_), Err(_), _) => return,
        other => panic!("{other:?}"),
    }
    // The target of an original is not checked; it is written as zero.
    assert_eq!(again.len(), bytes.len());
    if !matches!(message, Ok(Message::Publications(_))) {
        assert_eq!(again, bytes);
    }
}
