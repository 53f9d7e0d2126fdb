//! A raw socket: sends any bytes in any pieces, and reads what comes back.

use super::client::Closed;
use super::frame::{CLOSE, Frame, PING, Received, TEXT};
use super::gateway::Gateway;
use super::line::Line;
use super::wait::{SOON, arrived, left, named, resumed};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The head of an upgrade that every gateway accepts.
pub const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An HTTP response.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Opens a TCP connection. Different values of `source` save ports when thousands of connections are opened; a small
/// `receive_buffer` limits what the kernel buffers.
pub fn dial(
    to: SocketAddr,
    source: Option<Ipv4Addr>,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect_timeout(&to.into(), SOON).map_err(named)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

fn with_deadlines(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    stream.set_write_timeout(Some(SOON)).expect("a timeout can be set");
    stream
}

/// A TCP connection with deadlines.
pub struct RawClient {
    pub stream: Line,
}

impl RawClient {
    #[track_caller]
    pub fn to(gateway: &Gateway) -> RawClient {
        RawClient::from(dial(gateway.address, None, None).expect("the gateway accepts"))
    }

    /// Over TLS if a gateway of this process serves the peer's address with TLS.
    pub fn from(stream: TcpStream) -> RawClient {
        RawClient { stream: Line::over(with_deadlines(stream)) }
    }

    /// Without TLS, for a listener that never has it: its port may have been that of a gateway with TLS.
    pub fn plain(stream: TcpStream) -> RawClient {
        RawClient { stream: Line::Plain(with_deadlines(stream)) }
    }

    /// Opens a connection and upgrades it at `path`.
    #[track_caller]
    pub fn upgraded(gateway: &Gateway, path: &str) -> RawClient {
        let mut client = RawClient::to(gateway);
        client.upgrade(path);
        client
    }

    /// Opens an upgraded connection and sends `connect`.
    #[track_caller]
    pub fn connected(gateway: &Gateway) -> RawClient {
        let mut client = RawClient::upgraded(gateway, "/ws");
        client.send(&Frame::text(r#"{"id":1,"connect":{}}"#));
        assert_eq!(client.next_json()["id"], 1);
        client
    }

    #[track_caller]
    pub fn upgrade(&mut self, path: &str) {
        self.write(UPGRADE.replace("/ws", path).as_bytes());
        let response = self.response();
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        arrived(self.stream.write_all(bytes), "the bytes are written");
    }

    /// Writes to a peer that may have closed the connection.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    #[track_caller]
    pub fn send(&mut self, frame: &Frame) {
        self.write(&frame.bytes());
    }

    /// Sends a plain request and reads its response.
    #[track_caller]
    pub fn fetch(&mut self, method: &str, path: &str) -> Response {
        self.write(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        if method == "HEAD" { self.head() } else { self.response() }
    }

    /// Reads the head of a response and nothing after it.
    #[track_caller]
    pub fn head(&mut self) -> Response {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let read = arrived(self.stream.read(&mut byte), "a response");
            assert_ne!(read, 0, "the connection ended within a head: {:?}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        let text = String::from_utf8(head).expect("a head is text");
        let mut lines = text.trim_end().split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let headers = lines.map(|line| line.split_once(": ").expect("a header has a colon"));
        Response {
            status: status.unwrap_or_else(|| panic!("a status line: {first:?}")),
            headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
            body: String::new(),
        }
    }

    /// Reads a response with its body.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        if response.status == 101 || response.status == 204 {
            return response;
        }
        let length = response.header("content-length").map(|text| text.parse().expect("a length"));
        let mut body = vec![0; length.unwrap_or_else(|| panic!("no length: {response:?}"))];
        arrived(self.stream.read_exact(&mut body), "the whole body");
        response.body = String::from_utf8(body).expect("a body is text");
        response
    }

    /// The next frame of any kind.
    #[track_caller]
    pub fn next_frame(&mut self) -> Received {
        arrived(Received::read(&mut self.stream), "a frame")
    }

    /// The next text frame as JSON. Pings are skipped and not answered.
    #[track_caller]
    pub fn next_json(&mut self) -> Value {
        loop {
            let frame = self.next_frame();
            match frame.opcode {
                TEXT => return serde_json::from_slice(&frame.payload).expect("JSON"),
                PING => {}
                _ => panic!(
                    "a text frame was expected: {:?} {:?}",
                    frame,
                    (frame.opcode == CLOSE).then(|| frame.close())
                ),
            }
        }
    }

    /// Reads to the end of the connection; a close frame must come last.
    #[track_caller]
    pub fn expect_close(&mut self) -> Closed {
        let mut bye = None;
        loop {
            let frame = self.next_frame();
            match frame.opcode {
                CLOSE => {
                    let (code, reason) = frame.close();
                    self.expect_end();
                    return Closed { code, reason, bye };
                }
                TEXT => {
                    let text: Value = serde_json::from_slice(&frame.payload).expect("JSON");
                    bye = text.get("bye").cloned().or(bye);
                }
                _ => {}
            }
        }
    }

    /// Checks that the gateway closes the connection in time and sends nothing more.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = [0; 64];
        match self.stream.read(&mut rest) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            read => match arrived(read, "the end") {
                0 => {}
                count => panic!("bytes after the end: {:02x?}", &rest[..count]),
            },
        }
    }

    /// Returns true if nothing arrives within `period` and the connection stays open.
    pub fn is_quiet_for(&mut self, period: Duration) -> bool {
        let deadline = Instant::now() + period;
        let came = resumed(|| {
            self.stream.set_read_timeout(Some(left(deadline)))?;
            self.stream.tcp().peek(&mut [0])
        });
        let quiet = matches!(
            came,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        );
        self.stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        quiet
    }

    /// Reads everything up to the end of the connection.
    pub fn drain(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        // A reset after the last byte also ends the reading.
        let _ = self.stream.read_to_end(&mut all);
        all
    }

    pub fn stop_sending(&self) {
        SockRef::from(self.stream.tcp()).shutdown(Shutdown::Write).expect("an open socket");
    }
}
