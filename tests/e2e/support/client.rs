//! A well-behaved client: one connection, replies by their id, pushes in order of arrival.

use super::gateway::Gateway;
use super::line::Line;
use super::raw::dial;
use super::slow_store::{judged, judged_close};
use super::wait::{LATE, SOON, comes_true, left};
use crate::support_schema::Schemas;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderName, HeaderValue, Response};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

/// The options of a new connection.
#[derive(Clone, Default)]
pub struct Upgrade {
    headers: Vec<(String, String)>,
    source: Option<Ipv4Addr>,
    receive_buffer: Option<usize>,
    path: Option<String>,
}

impl Upgrade {
    pub fn header(mut self, name: &str, value: &str) -> Upgrade {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn subprotocols(self, value: &str) -> Upgrade {
        self.header("Sec-WebSocket-Protocol", value)
    }

    pub fn from(mut self, source: Ipv4Addr) -> Upgrade {
        self.source = Some(source);
        self
    }

    pub fn receive_buffer(mut self, bytes: usize) -> Upgrade {
        self.receive_buffer = Some(bytes);
        self
    }

    pub fn path(mut self, path: &str) -> Upgrade {
        self.path = Some(path.into());
        self
    }
}

/// The end of a connection.
#[derive(Debug, Clone)]
pub struct Closed {
    pub code: u16,
    pub reason: String,
    /// The content of `bye`, if one came.
    pub bye: Option<Value>,
}

impl Closed {
    /// Checks code and reason in both the close frame and the `bye`.
    #[track_caller]
    pub fn is(&self, code: u16, word: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.reason.starts_with(word), "{self:?}");
        let bye = self.bye.as_ref().unwrap_or_else(|| panic!("no bye before {self:?}"));
        assert_eq!((&bye["code"], &bye["reason"]), (&json!(code), &json!(word)), "{self:?}");
        assert_eq!(bye["terminal"], json!(code >= 4500), "{self:?}");
    }
}

/// One WebSocket connection.
pub struct Client {
    socket: WebSocket<Line>,
    pub response: Response<Option<Vec<u8>>>,
    /// The content of `connected`; null before it.
    pub connected: Value,
    pushes: VecDeque<Value>,
    replies: HashMap<u64, Value>,
    closed: Option<(u16, String)>,
    next_id: u64,
    received: usize,
}

/// Frames of each connection that are checked against the schema; more would only repeat them and cost time.
const CHECKED_FRAMES: usize = 64;

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::load);

impl Client {
    /// Opens a connection and sends `connect`.
    #[track_caller]
    pub fn connect(gateway: &Gateway) -> Client {
        Client::open(gateway).with_connect(json!({}))
    }

    #[track_caller]
    pub fn open(gateway: &Gateway) -> Client {
        Client::open_with(gateway.address, &Upgrade::default())
    }

    #[track_caller]
    pub fn open_with(address: SocketAddr, upgrade: &Upgrade) -> Client {
        match Client::try_open(address, upgrade) {
            Ok(client) => client,
            Err(error) => panic!("the upgrade failed: {error}"),
        }
    }

    pub fn try_open(address: SocketAddr, upgrade: &Upgrade) -> Result<Client, Box<dyn std::error::Error>> {
        let stream = dial(address, upgrade.source, upgrade.receive_buffer)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        let path = upgrade.path.as_deref().unwrap_or("/ws");
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        for (name, value) in &upgrade.headers {
            request.headers_mut().insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        let (socket, response) =
            tungstenite::client(request, Line::over(stream)).map_err(|error| match error {
                HandshakeError::Interrupted(_) => format!("{LATE}: the answer to the upgrade"),
                HandshakeError::Failure(error) => error.to_string(),
            })?;
        Ok(Client {
            socket,
            response,
            connected: Value::Null,
            pushes: VecDeque::new(),
            replies: HashMap::new(),
            closed: None,
            next_id: 1,
            received: 0,
        })
    }

    /// Sends `connect` with these arguments; the reply must be `connected`.
    #[track_caller]
    pub fn with_connect(mut self, arguments: Value) -> Client {
        self.connected = self.ask(json!({"connect": arguments}), "connected");
        self
    }

    /// Sends a command with a new id, returns the id, and does not wait for the reply.
    #[track_caller]
    pub fn send(&mut self, mut command: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        command["id"] = json!(id);
        self.send_text(&command.to_string());
        id
    }

    #[track_caller]
    pub fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text));
    }

    #[track_caller]
    pub fn send_message(&mut self, message: Message) {
        self.socket.send(message).expect("the message is sent");
    }

    pub fn try_send(&mut self, mut command: Value) -> Result<u64, Error> {
        let id = self.next_id;
        self.next_id += 1;
        command["id"] = json!(id);
        self.socket.send(Message::text(command.to_string())).map(|()| id)
    }

    /// Sends a command and returns the whole reply; earlier pushes are kept.
    #[track_caller]
    pub fn command(&mut self, command: Value) -> Value {
        let id = self.send(command);
        self.reply(id)
    }

    #[track_caller]
    pub fn reply(&mut self, id: u64) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(reply) = self.replies.remove(&id) {
                return reply;
            }
            if let Some((code, reason)) = &self.closed {
                let fault = judged_close(reason, "closed");
                panic!("{fault}: closed with {code} {reason} before reply {id}");
            }
            assert!(self.receive(deadline), "{}", self.missing(&format!("reply {id}")));
        }
    }

    /// The reply, or `None` if the connection ends first.
    #[track_caller]
    pub fn try_reply(&mut self, id: u64) -> Option<Value> {
        let deadline = Instant::now() + SOON;
        while !self.replies.contains_key(&id) && self.closed.is_none() && self.receive(deadline) {}
        assert!(Instant::now() < deadline, "{LATE}: a reply or the end");
        self.replies.remove(&id)
    }

    /// Sends a command and returns the value of the reply's only key except `id`, which must be `kind`.
    #[track_caller]
    pub fn ask(&mut self, command: Value, kind: &str) -> Value {
        let mut reply = self.command(command);
        let fault = judged(&reply["error"], "wrong reply");
        match reply.get_mut(kind) {
            Some(value) => value.take(),
            None => panic!("{fault}: `{kind}` was expected: {reply}"),
        }
    }

    /// The same for a command that may be sent twice, such as a piece, or a publish with a key: it is sent again while the store
    /// has not answered in time, which a busy machine may cause as well.
    #[track_caller]
    pub fn ask_again(&mut self, command: &Value, kind: &str) -> Value {
        let mut reply = Value::Null;
        let answered = comes_true(SOON, || {
            reply = self.command(command.clone());
            let error = &reply["error"];
            let is_slow = error["dependency"] == "store"
                && matches!(error["code"].as_str(), Some("unavailable" | "unconfirmed"));
            if is_slow {
                println!("sent again: {reply}");
            }
            !is_slow
        });
        assert!(answered, "{LATE}: `{kind}`: {reply}");
        assert!(reply.get(kind).is_some(), "`{kind}` was expected: {reply}");
        reply[kind].take()
    }

    /// Sends a command and returns its error, which must have this code.
    #[track_caller]
    pub fn refused(&mut self, command: Value, code: &str) -> Value {
        let error = self.ask(command, "error");
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        error
    }

    #[track_caller]
    pub fn subscribe(&mut self, channel: &str) -> Value {
        let subscribed = self.ask(json!({"subscribe": {"channel": channel}}), "subscribed");
        let synced = self.next_push("synced");
        assert_eq!(synced["channel"], channel);
        subscribed
    }

    /// Publishes and returns the offset.
    #[track_caller]
    pub fn publish(&mut self, channel: &str, data: Value) -> u64 {
        let published = self.ask(json!({"publish": {"channel": channel, "data": data}}), "published");
        published["offset"].as_u64().expect("an offset")
    }

    /// The next push of this kind; others are kept.
    #[track_caller]
    pub fn next_push(&mut self, kind: &str) -> Value {
        match self.next_push_within(kind, SOON) {
            Some(push) => push,
            None => panic!("{}; waiting {:?}", self.missing(kind), self.pushes),
        }
    }

    /// Reads `status` pushes until one has this level.
    #[track_caller]
    pub fn next_status(&mut self, level: &str, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(push) = self.next_push_within("status", left) else {
                panic!("{}", self.missing(&format!("status {level} within {within:?}")));
            };
            if push["level"] == json!(level) {
                return push;
            }
        }
    }

    pub fn next_push_within(&mut self, kind: &str, within: Duration) -> Option<Value> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(index) = self.pushes.iter().position(|push| push.get(kind).is_some()) {
                return self.pushes.remove(index).map(|mut push| push[kind].take());
            }
            if !self.receive(deadline) {
                return None;
            }
        }
    }

    /// The next push of any kind.
    #[track_caller]
    pub fn next_any_push(&mut self) -> Value {
        let push = self.next_any_push_by(Instant::now() + SOON);
        push.unwrap_or_else(|| panic!("{}", self.missing("a push")))
    }

    /// The next push of any kind, unless the deadline passes or the connection ends.
    pub fn next_any_push_by(&mut self, deadline: Instant) -> Option<Value> {
        while self.pushes.is_empty() && self.receive(deadline) {}
        self.pushes.pop_front()
    }

    /// The offsets of the next `count` publications.
    #[track_caller]
    pub fn offsets(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.next_push("publication")["offset"].as_u64().expect("an offset")).collect()
    }

    /// Fails if a push of this kind has arrived; first waits for all that the gateway has sent so far.
    #[track_caller]
    pub fn expect_no(&mut self, kind: &str) {
        let found = self.find(kind);
        assert!(found.is_none(), "an unexpected {found:?}");
    }

    /// A push of this kind among all that the gateway has sent so far.
    #[track_caller]
    pub fn find(&mut self, kind: &str) -> Option<Value> {
        self.command(json!({"history": {"channel": "barrier", "limit": 1}}));
        self.pushes.iter().find(|push| push.get(kind).is_some()).cloned()
    }

    /// The next raw message, for `/echo`.
    #[track_caller]
    pub fn next_message(&mut self) -> Message {
        self.socket.read().expect("a message in time")
    }

    /// Reads up to the close frame, the `bye` before it, and the end of the connection after it.
    #[track_caller]
    pub fn expect_close(&mut self) -> Closed {
        let deadline = Instant::now() + SOON;
        while self.closed.is_none() {
            assert!(self.receive(deadline), "{}", self.missing("the close frame"));
        }
        while self.receive(deadline) {}
        assert!(Instant::now() < deadline, "{LATE}: the end of the connection after the close frame");
        let (code, reason) = self.closed.clone().expect("just seen");
        let bye = self.pushes.iter().find_map(|push| push.get("bye").cloned());
        Closed { code, reason, bye }
    }

    /// Reads all that has arrived, and returns true if the connection is still open.
    pub fn is_open(&mut self) -> bool {
        while self.closed.is_none() && self.receive(Instant::now()) {}
        self.closed.is_none() && self.socket.can_read()
    }

    /// The transport.
    pub fn line(&mut self) -> &mut Line {
        self.socket.get_mut()
    }

    pub fn close(&mut self) {
        // The peer may have closed first.
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }

    /// Describes what did not arrive: in time, or because the connection ended.
    pub fn missing(&self, what: &str) -> String {
        match &self.closed {
            None => format!("{LATE}: {what}"),
            Some(closed) => format!("closed with {closed:?} before {what}"),
        }
    }

    /// Reads one message; returns `false` at the deadline or the end.
    fn receive(&mut self, deadline: Instant) -> bool {
        self.socket.get_ref().set_read_timeout(Some(left(deadline))).expect("a timeout can be set");
        let read = self.socket.read();
        self.socket.get_ref().set_read_timeout(Some(SOON)).expect("a timeout can be set");
        match read {
            Ok(Message::Text(text)) => self.take(&text),
            Ok(Message::Close(frame)) => {
                let frame = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                self.closed = Some(frame.unwrap_or((1005, String::new())));
            }
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(message) => panic!("an unexpected {message:?}"),
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(error) => {
                self.closed.get_or_insert((1006, error.to_string()));
                return false;
            }
        }
        true
    }

    fn take(&mut self, text: &str) {
        self.received += 1;
        if self.received <= CHECKED_FRAMES {
            SCHEMAS.check_server(text).unwrap_or_else(|fault| panic!("not as documented: {fault}"));
        }
        let frame: Value = serde_json::from_str(text).expect("JSON");
        match frame["id"].as_u64() {
            Some(id) => {
                let earlier = self.replies.insert(id, frame);
                assert!(earlier.is_none(), "a second reply to one id: {earlier:?}");
            }
            None => self.pushes.push_back(frame),
        }
    }
}
