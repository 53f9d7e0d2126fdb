//! Replies and pushes: encoding values to frames.

use super::Path;
use seawall::health::snapshot::Snapshot;
use seawall::id::{ChannelName, CommandId, Epoch, Offset};
use seawall::wire::publication::{Change, Stored};
use seawall::wire::push::{self, Connected, PublishedReply, ReportedLimits};
use seawall::wire::stream::StreamMark;
use std::hint::black_box;

const KEY: &str = "01J9ZK5M7Q8R3S6T4V2W1X0Y9Z";
const TIME_MS: u64 = 1_763_770_000_123;

/// Parses a channel name.
pub fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a channel's name")
}

/// A typical chat publication.
pub const STORED: Stored<'static> = Stored {
    offset: Offset(123_456),
    key: Some(KEY),
    user: "alice",
    time_ms: TIME_MS,
    change: Change::None,
    stream: StreamMark::None,
    deleted_by: None,
    data: r#"{"text":"The quick brown fox jumps over the lazy dog."}"#,
};

/// The output buffers that all paths here share.
struct Page {
    channel: ChannelName,
    out: Vec<u8>,
}

impl Page {
    fn blank() -> Page {
        Page { channel: channel("room:lobby"), out: Vec::with_capacity(4 << 10) }
    }
}

/// Encodes the push `publication`.
pub struct EncodePublication(Page);

impl Path for EncodePublication {
    fn prepare() -> EncodePublication {
        EncodePublication(Page::blank())
    }

    fn once(&mut self) {
        self.0.out.clear();
        push::publication(&mut self.0.out, &self.0.channel, black_box(&STORED));
        black_box(&self.0.out);
    }
}

/// Encodes the reply `published`.
pub struct EncodePublished(Page);

impl Path for EncodePublished {
    fn prepare() -> EncodePublished {
        EncodePublished(Page::blank())
    }

    fn once(&mut self) {
        let Page { channel, out } = &mut self.0;
        out.clear();
        let reply = PublishedReply {
            channel,
            key: Some(KEY),
            epoch: Epoch(46_656),
            offset: Offset(123_456),
            time_ms: TIME_MS,
            duplicate: false,
            stream: None,
            answer: None,
        };
        push::published(out, CommandId(4), black_box(&reply));
        black_box(out);
    }
}

/// Encodes the reply `connected`.
pub struct EncodeConnected(Page, Snapshot);

impl Path for EncodeConnected {
    fn prepare() -> EncodeConnected {
        EncodeConnected(Page::blank(), Snapshot::ok())
    }

    fn once(&mut self) {
        self.0.out.clear();
        let connected = Connected {
            connection: "5f3a9c01000100",
            instance: "gw-1",
            user: "alice",
            personal: None,
            ping_ms: 25_000,
            stable_ms: 10_000,
            limits: ReportedLimits {
                frame_bytes: 65_536,
                publishes_per_s: 20,
                publishes_burst: 40,
                subscriptions: 128,
            },
            expires: None,
            status: &self.1.status,
            flags: None,
            recovered: &[],
        };
        push::connected(&mut self.0.out, CommandId(1), black_box(&connected));
        black_box(&self.0.out);
    }
}
