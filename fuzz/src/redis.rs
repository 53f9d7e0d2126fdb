//! Replies of Redis to a connection that subscribes, whose codec is the crate `redis`.
//!
//! Checked properties: how the bytes were split never changes the values before the first garbage; each value is a message, a confirmation, garbage,
//! or an error with a text; a reply that announces more than it brings costs no memory.

use redis::{Parser, Value};
use seawall::bus::BusReply;
use std::io::{self, ErrorKind, Read};

/// The maximum number of reads that an input is split into.
const READS_MAX: usize = 64;

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let (whole, end) = values(bytes, usize::MAX);
    let (split, split_end) = values(bytes, bytes.len() / READS_MAX + 1);
    // A number that is none does not equal itself.
    let (whole_text, split_text) = (format!("{whole:?}"), format!("{split:?}"));
    match end {
        End::Open => assert_eq!((whole_text, end), (split_text, split_end)),
        // The crate passes over a garbage byte at the end of a read, and may find values behind it.
        End::Garbled => assert!(split_text.starts_with(whole_text.trim_end_matches(']'))),
    }
    for value in &whole {
        check_value(value);
    }
}

/// The end of a stream.
#[derive(Debug, PartialEq)]
enum End {
    /// More could follow.
    Open,
    /// The bytes are no reply.
    Garbled,
}

/// The complete values in `bytes`, of which each read brings at most `chunk`.
fn values(bytes: &[u8], chunk: usize) -> (Vec<Value>, End) {
    let (mut parser, mut values) = (Parser::new(), Vec::new());
    let mut socket = Socket { rest: bytes, chunk, reads_left: 1, has_blocked: false };
    loop {
        match parser.parse_value(&mut socket) {
            Ok(value) => values.push(value),
            // The gateway judges by the socket too: the crate reports some garbage as the end of the stream.
            Err(_) if !std::mem::take(&mut socket.has_blocked) => return (values, End::Garbled),
            Err(_) if socket.rest.is_empty() => return (values, End::Open),
            Err(_) => socket.reads_left = 1,
        }
    }
}

/// Blocks after each read, as a socket does that is read before the next packet has arrived.
struct Socket<'a> {
    rest: &'a [u8],
    chunk: usize,
    reads_left: usize,
    has_blocked: bool,
}

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.reads_left == 0 || self.rest.is_empty() {
            self.has_blocked = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        self.reads_left -= 1;
        let count = self.rest.len().min(self.chunk).min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

fn check_value(value: &Value) {
    match BusReply::read(value, "h:1") {
        Ok(BusReply::Message { name, message }) => {
            let Value::Array(parts) = value else { panic!("a message in {value:?}") };
            assert_eq!(parts[1..], [Value::BulkString(name.to_vec()), Value::BulkString(message.to_vec())]);
        }
        Ok(BusReply::Moved(partition, _)) => assert!(partition.index() < 256),
        Ok(BusReply::Subscribed(_) | BusReply::Unsubscribed(_) | BusReply::Confirmed | BusReply::Garbled) => {
        }
        Err(trouble) => assert!(trouble.text.starts_with("Redis reports ")),
    }
}
