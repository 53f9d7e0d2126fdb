use super::*;
use crate::wire::publication::Stored;
use crate::wire::push;
use crate::wire::stream::{Generation, News, Position, StreamId, StreamMark, StreamNews, StreamState};
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
        let _ = read_note(&bytes, &key(), "x");
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
    bytes[1] = 99;
    assert_eq!(read(&bytes, &key(), &channel()).err(), Some(EnvelopeFault::Seal));
    seal(&mut bytes, &key(), "c1");
    assert_eq!(read(&bytes, &key(), &channel()).err(), Some(EnvelopeFault::Unknown));
}

fn stream_frame(members: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    let text = format!(r#"{{"stream":{{{members}}}}}"#);
    server_frame::write(&mut frame, server_frame::Opcode::Text, text.as_bytes());
    frame
}

fn place(offset: u64, generation: u32) -> String {
    format!(r#""channel":"c1","offset":{offset},"gen":{generation}"#)
}

fn piece(offset: u64, generation: u32, at: u32, next: u32) -> Vec<u8> {
    let text = "x".repeat((next - at) as usize);
    stream_frame(&format!(r#"{},"at":{at},"text":"{text}","next":{next}"#, place(offset, generation)))
}

fn stream_news(offset: u64, generation: u32, news: News) -> StreamNews {
    StreamNews {
        id: StreamId { channel: channel(), offset: Offset(offset) },
        generation: Generation(generation),
        news,
    }
}

fn pieces_of(at: u32, next: u32, frames: Vec<u8>) -> News {
    News::Pieces { at: Position(at), next: Position(next), frames: frames.into() }
}

fn state_of(state: StreamState, frame: &[u8]) -> News {
    News::State(state, Arc::from(frame))
}

fn sealed_news(news: &[StreamNews]) -> Vec<u8> {
    let mut bytes = Vec::new();
    streamed(&mut bytes, &key(), ORIGIN, "c1", news);
    bytes
}

fn any_news() -> impl Strategy<Value = StreamNews> {
    let lengths = prop::collection::vec(1_u32..20, 1..4);
    (any::<u64>(), any::<u32>(), 0_u32..1_000, lengths, 0_usize..5).prop_map(
        |(offset, generation, at, lengths, kind)| {
            let state = StreamState::ALL[kind % StreamState::ALL.len()];
            let news = match kind {
                0 => {
                    let frame = format!(
                        r#"{},"at":0,"text":"","next":0,"state":"paused""#,
                        place(offset, generation)
                    );
                    News::Restarted(stream_frame(&frame).into())
                }
                1 => {
                    let frame = format!(r#"{},"state":"{}""#, place(offset, generation), state.word());
                    state_of(state, &stream_frame(&frame))
                }
                _ => {
                    let (mut reached, mut frames) = (at, Vec::new());
                    for length in lengths {
                        frames.extend(piece(offset, generation, reached, reached + length));
                        reached += length;
                    }
                    pieces_of(at, reached, frames)
                }
            };
            stream_news(offset, generation, news)
        },
    )
}

proptest! {
    #[test]
    fn written_changes_of_streams_are_read_back(sent in prop::collection::vec(any_news(), 0..5)) {
        let bytes = sealed_news(&sent);
        let Ok(Message::Streamed(found)) = read(&bytes, &key(), &channel()) else { panic!("not read") };
        prop_assert_eq!(format!("{found:?}"), format!("{sent:?}"));
        prop_assert_eq!(sealed_news(&found), bytes);
    }

    #[test]
    fn hint_is_read_back_and_only_by_instances(offset in any::<u64>()) {
        let (id, mut bytes) = (StreamId { channel: channel(), offset: Offset(offset) }, Vec::new());
        stream_hint(&mut bytes, &key(), ORIGIN, "c1", &id);
        prop_assert_eq!(read_note(&bytes, &key(), "c1"), Ok(InstanceMessage::StreamHint(id)));
        prop_assert_eq!(read(&bytes, &key(), &channel()).err(), Some(EnvelopeFault::Kind));
    }
}

#[test]
fn changes_of_streams_that_differ_from_their_frames_are_refused() {
    let (right, paused) = (piece(7, 2, 3, 5), stream_frame(&format!(r#"{},"state":"paused""#, place(7, 2))));
    assert!(
        read(&sealed_news(&[stream_news(7, 2, pieces_of(3, 5, right.clone()))]), &key(), &channel()).is_ok()
    );
    let two = [right.clone(), piece(7, 2, 5, 6)].concat();
    for wrong in [
        stream_news(8, 2, pieces_of(3, 5, right.clone())),
        stream_news(7, 3, pieces_of(3, 5, right.clone())),
        stream_news(7, 2, pieces_of(2, 5, right.clone())),
        stream_news(7, 2, pieces_of(3, 6, right.clone())),
        stream_news(7, 2, pieces_of(3, 5, two.clone())),
        stream_news(7, 2, pieces_of(3, 6, two[..two.len() - 1].to_vec())),
        stream_news(7, 2, pieces_of(3, 3, Vec::new())),
        stream_news(7, 2, pieces_of(3, 6, [right.clone(), piece(7, 2, 4, 6)].concat())),
        stream_news(7, 2, pieces_of(3, 5, frame("c1", 7, "1"))),
        stream_news(7, 2, News::Restarted(right.into())),
        stream_news(7, 2, state_of(StreamState::Streaming, &paused)),
        stream_news(7, 2, News::Restarted(paused.into())),
    ] {
        let fault = read(&sealed_news(std::slice::from_ref(&wrong)), &key(), &channel()).err();
        assert_eq!(fault, Some(EnvelopeFault::Frame), "{wrong:?}");
    }
}

#[test]
fn part_of_a_publication_in_a_stream_is_read_from_its_frame() {
    for stream in StreamMark::ALL {
        let mut frame = Vec::new();
        let change =
            if matches!(stream, StreamMark::Ended(_)) { Change::Edits(Offset(3)) } else { Change::None };
        let data = r#"{"stream":"begun"}"#;
        let stored = Stored {
            offset: Offset(7),
            key: None,
            user: "ann",
            time_ms: 1,
            change,
            stream,
            deleted_by: None,
            data,
        };
        push::publication(&mut frame, &channel(), &stored);
        let bytes = sealed(&[published(7, change, &frame)]);
        let Ok(Message::Publications(read)) = read(&bytes, &key(), &channel()) else { panic!("not read") };
        assert_eq!(read[0].stream, stream);
    }
}
