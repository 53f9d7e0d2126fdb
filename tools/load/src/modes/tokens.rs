//! Streams, open loop: the cost of a token for each of its readers, and the time until it is shown and acknowledged.
//!
//! Each stream grows by one token at a time. A token contains its number, so every reader's text can be checked byte for byte: each
//! frame as it comes, and the end. Latencies count from the time at which a token was to be sent.

use super::{FIRST_ID, drive};
use crate::arguments::{Common, Tokens};
use crate::crowd::{Crowd, Mode, Turn, channel_name, is_channel};
use crate::faults::excerpt;
use crate::frame;
use crate::member::Role;
use crate::message::{self, Message};
use crate::process::Process;
use crate::report::{Report, Times};
use crate::window::{Edge, Measured, Window};
use serde::Deserialize;
use serde_json::json;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// The bytes of a token: its number and a space.
const TOKEN_BYTES: usize = 8;
/// Tokens of one stream, which then ends: a publication has at most 64 KiB.
const TOKENS_MAX: usize = 6_000;
/// The ids of the commands `end` begin here.
const END_ID: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamStage {
    Open,
    /// `end` was sent.
    Ending,
    /// It was answered.
    Ended,
    /// It has no successor.
    Over,
}

/// One stream, and its successors in the same place.
struct Writing {
    channel: u32,
    /// The begin of the one that is open.
    offset: Option<u64>,
    /// The intended time of each token.
    sent: Vec<Instant>,
    acknowledged: usize,
    /// The tokens that each reader of the channel has; `None` once it has the end.
    shown: Vec<Option<usize>>,
    due: Instant,
    stage: StreamStage,
}

struct Streams {
    window: Window,
    period: Duration,
    producers: usize,
    readers: usize,
    streams: Vec<Writing>,
    /// By channel and begin.
    places: HashMap<(u32, u64), usize>,
    /// The open streams by the times of their next tokens.
    order: BinaryHeap<Reverse<(Instant, usize)>>,
    ready: usize,
    is_stopping: bool,
    frames: u64,
    tokens: u64,
    shown: Times,
    acknowledged: Times,
    measured: Measured,
}

/// Writes until the window closes, ends all streams, and checks their ends.
pub(crate) fn run(common: &Common, arguments: &Tokens, process: Option<Process>) -> Result<Report, String> {
    let channels = arguments.streams.div_ceil(arguments.per_channel);
    let producers = arguments.producers.min(arguments.streams) as usize;
    let readers = (0..channels)
        .flat_map(|channel| std::iter::repeat_n(Role::Subscriber(channel), arguments.readers as usize));
    let mut crowd = Crowd::new(common, (0..producers).map(|_| Role::Publisher).chain(readers))?;
    let writing = |number: u32| Writing {
        channel: number / arguments.per_channel,
        offset: None,
        sent: Vec::new(),
        acknowledged: 0,
        shown: vec![Some(0); arguments.readers as usize],
        due: crowd.now,
        stage: StreamStage::Open,
    };
    let mut mode = Streams {
        window: Window::new(process, common.warmup, common.duration),
        period: Duration::from_secs_f64(1.0 / arguments.rate),
        producers,
        readers: arguments.readers as usize,
        streams: (0..arguments.streams).map(writing).collect(),
        places: HashMap::new(),
        order: BinaryHeap::new(),
        ready: 0,
        is_stopping: false,
        frames: 0,
        tokens: 0,
        shown: Times::new(),
        acknowledged: Times::new(),
        measured: Measured::default(),
    };
    crowd.dialer.enqueue(0..crowd.members.len());
    drive(&mut crowd, &mut mode)?;
    let parameters = json!({
        "streams": arguments.streams, "per_channel": arguments.per_channel, "rate": arguments.rate,
        "producers": producers, "readers": arguments.readers,
    });
    Ok(Report::new("tokens", common, parameters, &crowd)
        .operations("token", mode.tokens, mode.measured)
        .latency("shown", &mode.shown)
        .latency("acknowledged", &mode.acknowledged)
        .value("frames", mode.frames))
}

/// Token `n`.
fn token(n: usize) -> String {
    format!("{n:07} ")
}

/// The text of the first `n` tokens.
fn text(n: usize) -> String {
    (0..n).map(token).collect()
}

#[derive(Deserialize)]
struct EndData<'a> {
    text: &'a str,
}

impl Streams {
    fn producer(&self, place: usize) -> usize {
        place % self.producers
    }

    fn begin(&mut self, crowd: &mut Crowd, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        stream.stage = StreamStage::Open;
        stream.acknowledged = 0;
        stream.sent.clear();
        let (id, channel) = (FIRST_ID + place as u64, channel_name(stream.channel));
        let command = format!(
            "{{\"id\":{id},\"publish\":{{\"channel\":\"{channel}\",\"data\":{{}},\"stream\":{{}}}}}}"
        );
        crowd.send(self.producer(place), frame::TEXT, command.as_bytes());
    }

    fn append(&mut self, crowd: &mut Crowd, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        let Some(offset) = stream.offset else { return };
        let (n, channel) = (stream.sent.len(), channel_name(stream.channel));
        stream.sent.push(stream.due);
        stream.due += self.period;
        let (at, token) = (n * TOKEN_BYTES, token(n));
        let command = format!(
            "{{\"append\":{{\"channel\":\"{channel}\",\"offset\":{offset},\"gen\":1,\"at\":{at},\"text\":\"{token}\"}}}}"
        );
        crowd.send(self.producer(place), frame::TEXT, command.as_bytes());
    }

    fn end(&mut self, crowd: &mut Crowd, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        let Some(offset) = stream.offset else { return };
        stream.stage = StreamStage::Ending;
        let (id, channel) = (END_ID + place as u64, channel_name(stream.channel));
        let at = stream.sent.len() * TOKEN_BYTES;
        let command = format!(
            "{{\"id\":{id},\"end\":{{\"channel\":\"{channel}\",\"offset\":{offset},\"gen\":1,\"at\":{at},\"state\":\"completed\"}}}}"
        );
        crowd.send(self.producer(place), frame::TEXT, command.as_bytes());
    }

    /// Sends the tokens that are due.
    fn write(&mut self, crowd: &mut Crowd) {
        while let Some(Reverse((due, place))) = self.order.peek().copied()
            && due <= crowd.now
        {
            self.order.pop();
            self.append(crowd, place);
            match self.streams.get(place) {
                Some(stream) if stream.sent.len() < TOKENS_MAX => {
                    self.order.push(Reverse((stream.due, place)))
                }
                Some(_) | None => self.end(crowd, place),
            }
        }
    }

    /// A message for a producer; `None` if it is not one expected.
    fn reply(&mut self, now: Instant, member: usize, message: &Message<'_>) -> Option<()> {
        match message {
            Message::Published { id, channel, offset, duplicate: false, .. } => {
                let place = usize::try_from(id.checked_sub(FIRST_ID)?).ok()?;
                let producer = self.producer(place);
                // Begins are answered in bursts, and tokens are to be spread over the period.
                let phase = self.period.mul_f64(place as f64 / self.streams.len() as f64);
                let stream = self.streams.get_mut(place)?;
                if !is_channel(channel, stream.channel) || stream.offset.is_some() || producer != member {
                    return None;
                }
                stream.offset = Some(*offset);
                stream.due = now + phase;
                self.places.insert((stream.channel, *offset), place);
                self.order.push(Reverse((stream.due, place)));
                Some(())
            }
            Message::Appended { channel, offset, next } => {
                // The end of a stream may be answered before its last pieces are.
                let Some(place) = self.place(channel, *offset) else { return Some(()) };
                let stream = self.streams.get_mut(place)?;
                let reached = usize::try_from(*next).ok()? / TOKEN_BYTES;
                let tokens = stream.sent.get(stream.acknowledged..reached)?;
                if self.window.is_open() {
                    tokens
                        .iter()
                        .for_each(|sent| self.acknowledged.add(now.saturating_duration_since(*sent)));
                }
                stream.acknowledged = reached;
                Some(())
            }
            Message::Ended { id } => {
                let place = usize::try_from(id.checked_sub(END_ID)?).ok()?;
                self.streams.get_mut(place)?.stage = StreamStage::Ended;
                Some(())
            }
            _ => None,
        }
    }

    fn place(&self, channel: &str, offset: u64) -> Option<usize> {
        let number = channel.strip_prefix("load-")?.parse().ok()?;
        self.places.get(&(number, offset)).copied()
    }

    /// A message for a reader; `None` if it is not one expected.
    fn delivery(&mut self, now: Instant, member: usize, message: &Message<'_>) -> Option<()> {
        let reader = member.checked_sub(self.producers)?;
        let (channel, reader) = (reader / self.readers, reader % self.readers);
        match message {
            // The begin may be shown before the producer has its answer.
            Message::Publication { channel: name, data: "{}", .. } => {
                is_channel(name, channel as u32).then_some(())
            }
            Message::Stream { channel, offset, at, text, next } => {
                let place = self.place(channel, *offset)?;
                let stream = self.streams.get_mut(place)?;
                let known = stream.shown.get_mut(reader)?.as_mut()?;
                let (from, to) = (usize::try_from(*at).ok()?, usize::try_from(*next).ok()?);
                let is_next = from == *known * TOKEN_BYTES && to == from + text.len();
                let (first, last) = (*known, to / TOKEN_BYTES);
                let tokens = stream.sent.get(first..last)?;
                if !is_next || !(first..last).map(token).collect::<String>().eq(text.as_ref()) {
                    return None;
                }
                *known = last;
                if self.window.is_open() {
                    self.frames += 1;
                    self.tokens += tokens.len() as u64;
                    tokens.iter().for_each(|sent| self.shown.add(now.saturating_duration_since(*sent)));
                }
                Some(())
            }
            Message::StreamEnd { channel, begin, data } => {
                let place = self.place(channel, *begin)?;
                let stream = self.streams.get_mut(place)?;
                let end: EndData<'_> = serde_json::from_str(data).ok()?;
                if stream.stage == StreamStage::Open || end.text != text(stream.sent.len()) {
                    return None;
                }
                stream.shown.get_mut(reader)?.take().map(|_| ())
            }
            _ => None,
        }
    }

    /// Begins the successor of a stream that has ended for its producer and every reader.
    fn follow_up(&mut self, crowd: &mut Crowd, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        let is_shown = stream.shown.iter().all(Option::is_none);
        let is_ended = stream.stage == StreamStage::Ended && is_shown;
        let Some(offset) = stream.offset.filter(|_| is_ended) else { return };
        stream.offset = None;
        self.places.remove(&(stream.channel, offset));
        if self.is_stopping {
            stream.stage = StreamStage::Over;
        } else {
            stream.shown.fill(Some(0));
            self.begin(crowd, place);
        }
    }
}

impl Mode for Streams {
    fn ready(&mut self, crowd: &mut Crowd, _member: usize) {
        self.ready += 1;
        if self.ready == crowd.members.len() {
            self.window.start(crowd.now);
            (0..self.streams.len()).for_each(|place| self.begin(crowd, place));
        }
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        let Some(message) = message::read(payload) else {
            return crowd.faults.add("unreadable", || excerpt(payload));
        };
        let known = match member < self.producers {
            true => self.reply(crowd.now, member, &message),
            false => self.delivery(crowd.now, member, &message),
        };
        if known.is_none() {
            return crowd.other(member, &message, payload);
        }
        crowd.move_on();
        let ended = match message {
            Message::StreamEnd { channel, begin, .. } => self.place(channel, begin),
            Message::Ended { id } => id.checked_sub(END_ID).and_then(|place| usize::try_from(place).ok()),
            _ => None,
        };
        if let Some(place) = ended {
            self.follow_up(crowd, place);
        }
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        let is_over = self.is_stopping && self.streams.iter().all(|stream| stream.stage == StreamStage::Over);
        if !crowd.faults.none() || is_over {
            return Turn::Over;
        }
        if let Edge::Shut(measured) = self.window.turn(crowd.now) {
            self.measured = measured;
            self.is_stopping = true;
            let open = std::mem::take(&mut self.order);
            open.into_iter().for_each(|Reverse((_, place))| self.end(crowd, place));
        }
        self.write(crowd);
        self.order.peek().map_or(Turn::On, |Reverse((due, _))| Turn::Until(*due))
    }

    fn progress(&self) -> String {
        format!("{} ready, {} tokens, {} frames", self.ready, self.tokens, self.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// One stream of three tokens, of which one reader has one.
    fn one_open() -> Streams {
        let now = clock::now();
        let stream = Writing {
            channel: 0,
            offset: Some(7),
            sent: vec![now; 3],
            acknowledged: 0,
            shown: vec![Some(1)],
            due: now,
            stage: StreamStage::Open,
        };
        Streams {
            window: Window::new(None, Duration::ZERO, Duration::ZERO),
            period: Duration::from_millis(20),
            producers: 1,
            readers: 1,
            streams: vec![stream],
            places: HashMap::from([((0, 7), 0)]),
            order: BinaryHeap::new(),
            ready: 2,
            is_stopping: false,
            frames: 0,
            tokens: 0,
            shown: Times::new(),
            acknowledged: Times::new(),
            measured: Measured::default(),
        }
    }

    fn delivered(mode: &mut Streams, text: &str) -> bool {
        let message = message::read(text.as_bytes()).expect("a message");
        mode.delivery(clock::now(), 1, &message).is_some()
    }

    fn piece(at: usize, text: &str) -> String {
        let next = at + text.len();
        format!(
            "{{\"stream\":{{\"channel\":\"load-0\",\"offset\":7,\"gen\":1,\"at\":{at},\"text\":\"{text}\",\"next\":{next}}}}}"
        )
    }

    #[test]
    fn reader_must_get_each_token_once_in_order_and_then_the_whole_text() {
        let mut mode = one_open();
        let rest = token(1) + &token(2);
        for wrong in [
            piece(0, &token(0)),
            piece(16, &token(2)),
            piece(8, &token(2)),
            piece(8, &(rest.clone() + &token(3))),
        ] {
            assert!(!delivered(&mut mode, &wrong), "{wrong}");
        }
        assert!(delivered(&mut mode, &piece(8, &rest)));
        assert!(!delivered(&mut mode, &piece(8, &rest)), "again");
        let end = |text: &str| {
            format!(
                "{{\"publication\":{{\"channel\":\"load-0\",\"offset\":9,\"edits\":7,\"stream\":\"completed\",\"data\":{{\"text\":\"{text}\"}}}}}}"
            )
        };
        assert!(!delivered(&mut mode, &end(&text(3))), "it was not ended");
        mode.streams[0].stage = StreamStage::Ending;
        assert!(!delivered(&mut mode, &end(&text(2))));
        assert!(delivered(&mut mode, &end(&text(3))));
    }
}
