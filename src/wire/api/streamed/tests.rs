//! Bodies in all cuts, and bodies that must be refused.

use super::*;

/// Reads a body that comes in pieces of `cut` bytes: its content, the end state, and what was left.
fn read(
    mut reader: BodyReader,
    bytes: &[u8],
    cut: usize,
) -> (Vec<u8>, Result<BodyProgress, BodyFault>, Vec<u8>) {
    let (mut received, mut content, mut progress) = (Vec::new(), Vec::new(), Ok(BodyProgress::Partial));
    for piece in bytes.chunks(cut) {
        received.extend_from_slice(piece);
        if progress == Ok(BodyProgress::Partial) {
            progress = reader.read(&mut received, &mut content);
        }
    }
    (content, progress, received)
}

#[test]
fn chunked_body_is_the_same_in_any_cut() {
    let body = b"5\r\nhello\r\n00a ;a=\"b\"\r\n, the rest\r\n0\r\nA: b\r\nC: d\r\n\r\nGET / HTTP/1.1\r\n";
    for cut in 1..=body.len() {
        let (content, progress, left) = read(BodyReader::chunked(), body, cut);
        assert_eq!(content, b"hello, the rest", "{cut}");
        assert_eq!((progress, &left[..]), (Ok(BodyProgress::Complete), &b"GET / HTTP/1.1\r\n"[..]), "{cut}");
    }
}

#[test]
fn counted_body_ends_with_its_last_byte() {
    for cut in 1..=8 {
        let (content, progress, left) = read(BodyReader::counted(5), b"helloGET", cut);
        assert_eq!((&content[..], progress), (&b"hello"[..], Ok(BodyProgress::Complete)), "{cut}");
        assert_eq!(left, b"GET", "{cut}");
    }
    assert_eq!(read(BodyReader::counted(9), b"hello", 2).1, Ok(BodyProgress::Partial));
    assert_eq!(BodyReader::counted(0).read(&mut Vec::new(), &mut Vec::new()), Ok(BodyProgress::Complete));
}

#[test]
fn chunks_that_two_readers_may_take_differently_are_refused() {
    let long = format!("1;{}\r\na\r\n", "x".repeat(SIZE_LINE_BYTES_MAX));
    let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1));
    for (body, fault) in [
        ("\r\n", BodyFault::ChunkSize),
        ("x\r\n", BodyFault::ChunkSize),
        ("+1\r\na\r\n", BodyFault::ChunkSize),
        ("-1\r\na\r\n", BodyFault::ChunkSize),
        (" 1\r\na\r\n", BodyFault::ChunkSize),
        ("1 \r\na\r\n", BodyFault::ChunkSize),
        ("0x1\r\na\r\n", BodyFault::ChunkSize),
        ("1_0\r\na\r\n", BodyFault::ChunkSize),
        ("1\na\r\n", BodyFault::ChunkSize),
        ("1\ra\r\n", BodyFault::ChunkSize),
        ("1;a\x00b\r\na\r\n", BodyFault::ChunkSize),
        ("1;a\nb\r\na\r\n", BodyFault::ChunkSize),
        ("000000001\r\na\r\n", BodyFault::ChunkSize),
        ("fffffffff\r\n", BodyFault::ChunkSize),
        (&long, BodyFault::ChunkSize),
        ("1\r\nab\r\n", BodyFault::ChunkEnd),
        ("1\r\na\n", BodyFault::ChunkEnd),
        ("1\r\na\r\r\n", BodyFault::ChunkEnd),
        ("2\r\na\r\n0\r\n\r\n", BodyFault::ChunkEnd),
        ("0\r\n\n", BodyFault::Trailers),
        ("0\r\nA: b\nC: d\r\n\r\n", BodyFault::Trailers),
        (&trailers, BodyFault::Trailers),
    ] {
        for cut in [1, 2, 3, body.len()] {
            assert_eq!(read(BodyReader::chunked(), body.as_bytes(), cut).1, Err(fault), "{body:?} by {cut}");
        }
    }
}

#[test]
fn content_is_split_into_lines_and_a_broken_line_is_none() {
    let mut lines = BodyLines::default();
    lines.content.extend_from_slice(b"one\r\n\n  \ntwo\nthr");
    let next = |lines: &mut BodyLines, progress| lines.next(progress).expect("no fault");
    assert_eq!(next(&mut lines, BodyProgress::Partial), Some(b"one\r".to_vec()));
    assert_eq!(next(&mut lines, BodyProgress::Partial), Some(b"two".to_vec()));
    assert_eq!(next(&mut lines, BodyProgress::Partial), None);
    lines.content.extend_from_slice(b"ee");
    assert_eq!(next(&mut lines, BodyProgress::Partial), None);
    assert_eq!(next(&mut lines, BodyProgress::Complete), Some(b"three".to_vec()));
    assert_eq!(next(&mut lines, BodyProgress::Complete), None);
}

#[test]
fn line_is_bounded_with_and_without_its_end() {
    let mut lines = BodyLines { content: vec![b'a'; LINE_BYTES_MAX], looked: 0 };
    assert_eq!(lines.next(BodyProgress::Partial), Ok(None));
    lines.content.extend_from_slice(b"\nb");
    assert_eq!(
        lines.next(BodyProgress::Partial).map(|line| line.map(|line| line.len())),
        Ok(Some(LINE_BYTES_MAX))
    );
    for end in [&b""[..], b"\n"] {
        let mut lines = BodyLines { content: vec![b'a'; LINE_BYTES_MAX + 1], looked: 0 };
        lines.content.extend_from_slice(end);
        assert_eq!(lines.next(BodyProgress::Partial), Err(BodyFault::LineTooLong));
    }
}
