use super::*;
use crate::wire::publication::Stored;
use crate::wire::push;
use crate::wire::stream::StreamMark;
use proptest::prelude::*;

const ORIGIN: Origin = Origin(0x0102_0304_0506_0708);

fn key() -> BusKey {
    BusKey::new(&[7; BusKey::BYTES])
}

fn channel() -> ChannelName {
    ChannelName::parse("c1").expect("valid")
}

/// The frame of a publication as subscribers get it.
fn frame(channel: &str, offset: u64, data: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    server_frame::write_with(&mut frame, server_frame::Opcode::Text, |out| {
        let text = format!(
            r#"{{"publication":{{"channel":"{channel}","offset":{offset},"user":"ann","time":1,"data":{data}}}}}"#
        );
        out.extend_from_slice(text.as_bytes());
    });
    frame
}

fn published(offset: u64, change: Change, frame: &[u8]) -> Published {
    Published {
        channel: channel(),
        offset: Offset(offset),
        change,
        stream: StreamMark::None,
        time_ms: 1,
        frame: Arc::from(frame),
    }
}

fn sealed(entries: &[Published]) -> Vec<u8> {
    let mut bytes = Vec::new();
    publications(&mut bytes, &key(), ORIGIN, "c1", entries);
    bytes
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::None),
        any::<u64>().prop_map(|at| Change::Edits(Offset(at))),
        any::<u64>().prop_map(|at| Change::Deletes(Offset(at))),
    ]
}

proptest! {
    #[test]
    fn written_publications_are_read_back(entries in prop::collection::vec((any::<u64>(), change(), "[a-z]{0,40}"), 0..6)) {
        let sent: Vec<Published> = entries
            .iter()
            .map(|(offset, change, data)| published(*offset, *change, &frame("c1", *offset, &format!("\"{data}\""))))
            .collect();
        let bytes = sealed(&sent);
        prop_assert_eq!(origin(&bytes), Some(ORIGIN));
        let Ok(Message::Publications(read)) = read(&bytes, &key(), &channel()) else { panic!("not read") };
        prop_assert_eq!(read.len(), sent.len());
        for (read, sent) in read.iter().zip(&sent) {
            prop_assert_eq!((read.offset, read.change, &read.frame), (sent.offset, sent.change, &sent.frame));
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, &key(), &channel());
        let _ = read_canary(&bytes, &key(), "x");
        let _ = origin(&bytes);
    }

    #[test]
    fn single_changed_bit_is_detected(at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = sealed(&[published(7, Change::None, &frame("c1", 7, "1"))]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(read(&bytes, &key(), &channel()).is_err());
    }
}

#[test]
fn frame_that_the_gateway_writes_is_accepted() {
    for data in ["null", "{\"publication\":1}", "[1,2]"] {
        let mut frame = Vec::new();
        let stored = Stored {
            offset: Offset(7),
            key: Some("k"),
            user: "ann \"\u{e9}",
            time_ms: 1,
            change: Change::None,
            stream: StreamMark::None,
            deleted_by: None,
            data,
        };
        push::publication(&mut frame, &channel(), &stored);
        assert!(read(&sealed(&[published(7, Change::None, &frame)]), &key(), &channel()).is_ok(), "{data}");
        let (mut signal_frame, mut bytes) = (Vec::new(), Vec::new());
        push::signal(&mut signal_frame, &channel(), "ann", data);
        signal(&mut bytes, &key(), ORIGIN, "c1", &signal_frame);
        assert!(matches!(read(&bytes, &key(), &channel()), Ok(Message::Signal(_))), "{data}");
    }
}

#[test]
fn message_of_another_key_or_under_another_name_is_refused() {
    let other = BusKey::new(&[8; BusKey::BYTES]);
    let bytes = sealed(&[published(1, Change::None, &frame("c1", 1, "1"))]);
    assert_eq!(read(&bytes, &other, &channel()).err(), Some(EnvelopeFault::Seal));
    let mut bytes = Vec::new();
    signal(&mut bytes, &key(), ORIGIN, "c2", b"frame");
    assert_eq!(read(&bytes, &key(), &channel()).err(), Some(EnvelopeFault::Seal));
}

#[test]
fn frame_of_another_place_or_form_is_refused() {
    let right = frame("c1", 7, "1");
    let mut masked = right.clone();
    masked[1] |= 0x80;
    let mut binary = right.clone();
    binary[0] = 0x82;
    let mut part = right.clone();
    part[0] = 0x01;
    for wrong in [
        frame("c1", 8, "1"),
        frame("c2", 7, "1"),
        frame("c1", 7, "broken"),
        [right.clone(), right.clone()].concat(),
        right[..right.len() - 1].to_vec(),
        b"\x81\x02{}".to_vec(),
        b"\x88\x02\x03\xe8".to_vec(),
        b"HTTP/1.1 200 OK".to_vec(),
        Vec::new(),
        masked,
        binary,
        part,
    ] {
        let bytes = sealed(&[published(7, Change::None, &wrong)]);
        let fault = read(&bytes, &key(), &channel()).err();
        assert_eq!(fault, Some(EnvelopeFault::Frame), "{:?}", String::from_utf8_lossy(&wrong));
    }
}

#[test]
fn canary_is_read_only_as_a_canary() {
    let (mut bytes, note) = (Vec::new(), CanaryNote { number: 5, dropped: 9 });
    canary(&mut bytes, &key(), ORIGIN, "c1", note);
    assert_eq!(read_canary(&bytes, &key(), "c1"), Ok(note));
    assert_eq!(read(&bytes, &key(), &channel()).err(), Some(EnvelopeFault::Kind));
    bytes.clear();
    signal(&mut bytes, &key(), ORIGIN, "c1", b"");
    assert_eq!(read_canary(&bytes, &key(), "c1"), Err(EnvelopeFault::Kind));
}

#[test]
fn newer_version_and_unknown_kind_are_distinguished_from_a_forged_message() {
    let mut bytes = sealed(&[]);
    bytes[0] = VERSION + 1;
    assert_eq!(read(&bytes, &key(), &channel()).err(), Some(EnvelopeFault::Version));
    let mut bytes = sealed(&[]);
    bytes[1] = 9;
    assert_eq!(read(&bytes, &key(), &channel()).err(), Some(EnvelopeFault::Seal));
    seal(&mut bytes, &key(), "c1");
    assert_eq!(read(&bytes, &key(), &channel()).err(), Some(EnvelopeFault::Unknown));
}
