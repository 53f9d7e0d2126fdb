//! A producer and a reader of one stream, which check each frame against the rules of `docs/protocol.md`.

use super::client::Client;
use super::gateway::{Gateway, Setup};
use super::token::{SECRET, claims, token};
use super::wait::SOON;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The channel of all streams.
pub const CHANNEL: &str = "c";

/// A gateway with auth and with windows as short as they may be.
pub fn setup() -> Setup {
    with_streams(Setup::new())
}

/// The same for a gateway that is one of several.
pub fn with_streams(setup: Setup) -> Setup {
    setup.env("SEAWALL_AUTH_SECRET", SECRET).env("SEAWALL_STREAMS_ROLLUP_MS", "20").unlimited()
}

/// A connection of a user with these rights.
#[track_caller]
pub fn user(gateway: &Gateway, name: &str, rights: &[&str]) -> Client {
    let mut claims = claims(name);
    claims["channels"][0]["rights"] = json!(rights);
    Client::open(gateway).with_connect(json!({"token": token(&claims)}))
}

/// A connection that may produce and read.
#[track_caller]
pub fn bot(gateway: &Gateway) -> Client {
    user(gateway, "bot", &["subscribe", "publish", "stream"])
}

/// A stream that a connection produces.
pub struct Producer {
    pub client: Client,
    /// The begin.
    pub offset: u64,
    pub generation: u64,
    /// The end of what was acknowledged.
    pub next: u64,
}

impl Producer {
    /// Begins a stream with this key for the user `ann`, or takes it up again.
    #[track_caller]
    pub fn begin(mut client: Client, key: &str, options: Value) -> Producer {
        let mut stream = json!({"for": "ann"});
        for (name, value) in options.as_object().expect("an object") {
            stream[name] = value.clone();
        }
        let publish =
            json!({"publish": {"channel": CHANNEL, "key": key, "data": {"agent": key}, "stream": stream}});
        let published = client.ask_again(&publish, "published");
        let begun = &published["stream"];
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number in {published}"));
        let (offset, generation, next) =
            (number(&published["offset"]), number(&begun["gen"]), number(&begun["next"]));
        Producer { client, offset, generation, next }
    }

    /// `append` with these members.
    pub fn piece(&self, members: Value) -> Value {
        self.about("append", members)
    }

    /// A command about the stream.
    pub fn about(&self, command: &str, mut members: Value) -> Value {
        members["channel"] = json!(CHANNEL);
        members["offset"] = json!(self.offset);
        let mut frame = json!({});
        frame[command] = members;
        frame
    }

    /// Appends a text at its position, and waits for its commit.
    #[track_caller]
    pub fn append(&mut self, text: &str) {
        let piece = self.piece(json!({"gen": self.generation, "at": self.next, "text": text}));
        let appended = self.client.ask_again(&piece, "appended");
        self.next += text.len() as u64;
        assert_eq!(appended["next"], self.next, "{appended}");
    }

    /// Waits until everything up to `next` is acknowledged in sums.
    #[track_caller]
    pub fn acknowledged(&mut self, next: u64) {
        loop {
            let appended = self.client.next_push("appended");
            assert_eq!(appended["offset"], self.offset);
            if appended["next"].as_u64() >= Some(next) {
                self.next = next;
                return;
            }
        }
    }

    /// Ends the stream with the text that it has.
    #[track_caller]
    pub fn end(&mut self, state: &str) -> Value {
        let end = self.about("end", json!({"gen": self.generation, "at": self.next, "state": state}));
        self.client.ask_again(&end, "ended")
    }
}

/// A stream as a reader shows it.
#[derive(Debug, Default, PartialEq)]
pub struct View {
    pub channel: String,
    /// The begin.
    pub offset: u64,
    pub generation: u64,
    pub next: u64,
    pub text: String,
    /// Position, type and data.
    pub events: Vec<Value>,
    pub state: String,
    /// The states that were pushed, in order.
    pub states: Vec<String>,
    /// Whole frames that arrived: one more whenever the reader was behind.
    pub wholes: usize,
    /// The publication that ended it.
    pub end: Option<Value>,
}

impl View {
    pub fn of(offset: u64) -> View {
        View { channel: CHANNEL.to_owned(), offset, ..View::default() }
    }

    /// Of the stream that began with this `published`.
    #[track_caller]
    pub fn begun(published: &Value) -> View {
        let channel = published["channel"].as_str().expect("a channel").to_owned();
        View { channel, offset: published["offset"].as_u64().expect("an offset"), ..View::default() }
    }

    /// Applies a push. Panics if it neither adjoins nor replaces what is shown.
    #[track_caller]
    pub fn take(&mut self, push: &Value) {
        if let Some(frame) = push.get("stream").filter(|frame| self.is_named_by(frame)) {
            assert!(self.end.is_none(), "after the end: {frame}");
            self.take_frame(frame);
        }
        if let Some(publication) = push.get("publication") {
            let target = publication["edits"].as_u64().or(publication["deletes"].as_u64());
            let is_here = publication["channel"] == *self.channel && target == Some(self.offset);
            if is_here && publication.get("stream").is_some() {
                assert!(self.end.is_none(), "a second end: {publication}");
                self.end = Some(publication.clone());
            }
        }
    }

    fn is_named_by(&self, frame: &Value) -> bool {
        frame["channel"] == *self.channel && frame["offset"] == self.offset
    }

    #[track_caller]
    fn take_frame(&mut self, frame: &Value) {
        let generation = frame["gen"].as_u64().expect("a generation");
        assert!(generation >= self.generation, "{frame} after {self:?}");
        let (at, state) = (frame["at"].as_u64(), frame["state"].as_str());
        if let Some(state) = state {
            self.state = state.to_owned();
            self.states.push(state.to_owned());
        }
        let Some(at) = at else { return };
        let text = frame["text"].as_str().unwrap_or_default();
        let next = frame["next"].as_u64().expect("a position");
        if state.is_some() && at == 0 {
            self.wholes += 1;
            self.generation = generation;
            (self.text, self.next) = (text.to_owned(), next);
            self.events = frame["events"].as_array().cloned().unwrap_or_default();
        } else if next > self.next || generation > self.generation {
            // The first frame of a generation is whole, unless the stream has just begun.
            assert!(generation == self.generation || (self.generation == 0 && generation == 1), "{frame}");
            assert_eq!(at, self.next, "a hole: {frame} after {self:?}");
            self.generation = generation;
            self.text.push_str(text);
            if let Some(event) = frame.get("event") {
                self.events.push(json!([at, event["type"], event["data"]]));
            }
            self.events.extend(frame["events"].as_array().cloned().unwrap_or_default());
            self.next = next;
        }
        assert_eq!(self.next, (self.text.len() + self.events.len()) as u64, "{frame}");
    }

    /// Reads pushes until this holds.
    #[track_caller]
    pub fn read(&mut self, client: &mut Client, what: &str, holds: impl Fn(&View) -> bool) {
        self.read_within(SOON, client, what, holds);
    }

    /// The same with a bound of its own.
    #[track_caller]
    pub fn read_within(
        &mut self,
        within: Duration,
        client: &mut Client,
        what: &str,
        holds: impl Fn(&View) -> bool,
    ) {
        let deadline = Instant::now() + within;
        while !holds(self) {
            let push = client.next_any_push_by(deadline);
            let push = push.unwrap_or_else(|| {
                panic!("{}", client.missing(&format!("{what}, after {within:?}; {self:?}")))
            });
            self.take(&push);
        }
    }

    /// Reads up to the end, which must have this state, and a text that begins with what is shown. Returns the end. It replaces what is
    /// shown, so it may come before pieces that the reader's gateway had to read from the store.
    #[track_caller]
    pub fn read_to_end(&mut self, client: &mut Client, state: &str) -> Value {
        self.read(client, "the end", |view| view.end.is_some());
        let end = self.end.clone().expect("just read");
        assert_eq!(end["stream"], state, "{end}");
        let text = end["data"]["text"].as_str().expect("a text");
        assert!(text.starts_with(&self.text), "{end} after {self:?}");
        end
    }
}
