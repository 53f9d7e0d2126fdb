//! Tokens of streams, which the store's writer takes one by one.

use crate::paths::Path;
use seawall::clock::Moment;
use seawall::id::{ChannelName, Offset, ProducerId, ReactorId, UserName};
use seawall::stream::{Known, Ledger, StreamAppend, StreamBegin, StreamOutput, StreamSender, StreamSettings};
use seawall::wire::stream::{Generation, Piece, Position, StreamId, StreamOptions};
use std::hint::black_box;

const NOW: Moment = Moment::from_micros(3_600_000_000);
const TOKEN: &str = "token 7 ";

/// Takes a token of eight bytes at the end of its stream.
pub struct TakeToken {
    ledger: Ledger<u32>,
    id: StreamId,
    user: UserName,
    producer: ProducerId,
    out: StreamOutput<u32>,
    at: u32,
}

impl Path for TakeToken {
    fn prepare() -> TakeToken {
        let settings =
            StreamSettings { window_bytes: 1 << 20, message_bytes: 1 << 20, ..StreamSettings::default() };
        let id = StreamId { channel: ChannelName::parse("thread.7").expect("valid"), offset: Offset(59) };
        let user = UserName::parse("assistant").expect("valid");
        let producer = ProducerId { reactor: ReactorId(0), connection: 1 };
        let mut ledger = Ledger::new(settings, NOW);
        let begin = StreamBegin {
            id: id.clone(),
            author: user.clone(),
            options: StreamOptions::default(),
            begun: "{}".into(),
            producer: Some(producer),
        };
        ledger.begin(begin, NOW).expect("there is room");
        let mut path = TakeToken { ledger, id, user, producer, out: StreamOutput::default(), at: 0 };
        path.once();
        path
    }

    fn once(&mut self) {
        let append = StreamAppend {
            generation: Some(Generation::FIRST),
            at: Some(Position(self.at)),
            piece: Piece::Text(TOKEN.into()),
        };
        let sender = StreamSender { producer: self.producer, user: &self.user, ticket: None };
        let ledger = black_box(&mut self.ledger);
        assert_eq!(ledger.take(&self.id, sender, append, NOW, &mut self.out), Known::Open);
        assert!(self.out.is_empty());
        self.at += TOKEN.len() as u32;
    }
}
