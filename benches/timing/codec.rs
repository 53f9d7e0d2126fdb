//! Frames, compared with tungstenite's message layer on the same bytes, which `wire::frames` replaces.

use super::paths::frames::{Decode, DecodeSplit, Echo, text};
use super::paths::text_frame;
use super::time;
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use std::hint::black_box;
use std::io::{self, Read, Write};
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

/// A socket with all its bytes in memory.
struct Memory<'a> {
    unread: &'a [u8],
    written: &'a mut Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.unread.read(buffer) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            read => read,
        }
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(64));
    time::<Decode<64>>(&mut group, "decode 64 B");
    time::<DecodeSplit<64>>(&mut group, "decode 64 B in two reads");
    time::<Echo<64>>(&mut group, "echo 64 B");
    machine(&mut group, "tungstenite decode 64 B", 64, Answer::No);
    machine(&mut group, "tungstenite echo 64 B", 64, Answer::Echo);
    group.throughput(Throughput::Bytes(1024));
    time::<Decode<1024>>(&mut group, "decode 1 KiB");
    time::<DecodeSplit<1024>>(&mut group, "decode 1 KiB in two reads");
    time::<Echo<1024>>(&mut group, "echo 1 KiB");
    machine(&mut group, "tungstenite decode 1 KiB", 1024, Answer::No);
    machine(&mut group, "tungstenite echo 1 KiB", 1024, Answer::Echo);
    group.finish();
}

#[derive(Clone, Copy)]
enum Answer {
    No,
    Echo,
}

fn machine(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, bytes: usize, answer: Answer) {
    let frame = text_frame(&text(bytes));
    let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(0);
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut written = Vec::with_capacity(4 << 10);
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            written.clear();
            let mut memory = Memory { unread: black_box(&frame), written: &mut written };
            let message = context.read(&mut memory).expect("a good frame");
            assert!(matches!(&message, Message::Text(text) if text.len() == bytes));
            match answer {
                Answer::No => drop(black_box(message)),
                Answer::Echo => context.write(&mut memory, message).expect("memory takes all"),
            }
        });
    });
}
