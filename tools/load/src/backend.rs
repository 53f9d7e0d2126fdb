//! The backend of a relayed route: a small HTTP/1.1 server with kept connections.
//!
//! Each connection has a thread that blocks, so the time of a request is that of the read that completed it, whatever the crowd's
//! thread does meanwhile. Signatures are not checked, because their cost would be measured as well.

use crate::clock;
use crate::faults::excerpt;
use mio::Waker;
use serde::Deserialize;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The whole answer to each question.
pub(crate) const WORD: &str = "answered";
/// Requests that wait for the crowd's thread; then connections wait.
const WAITING_MAX: usize = 65_536;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// Bytes of one request, above those of any question.
const REQUEST_BYTES_MAX: usize = 1 << 20;
const NOTHING: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The response to a question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// 204 at once.
    Nothing,
    /// [`WORD`] at once.
    Word,
    /// 204 after this time, or as soon as the gate is open.
    Held(Duration, Arc<Gate>),
}

/// Holds requests back while it is closed.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn set(&self, is_open: bool) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = is_open;
        self.changed.notify_all();
    }

    fn wait(&self, longest: Duration) {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        // Open, or the time has passed.
        let _ = self.changed.wait_timeout_while(is_open, longest, |is_open| !*is_open);
    }
}

/// A request for a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) channel: String,
    pub(crate) offset: u64,
    pub(crate) attempt: u32,
    /// The begin of its answer, if the route has answers.
    pub(crate) answer: Option<u64>,
    /// The run that published it.
    pub(crate) run: u64,
    /// The number of the question in its channel.
    pub(crate) n: u64,
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// When its last byte was read.
    pub(crate) at: Instant,
    /// `Err`: it was none for a question, or the server failed; with the reason.
    pub(crate) request: Result<Asked, String>,
}

/// Listens, and answers on threads of its own until the process ends.
pub(crate) struct Backend {
    arrivals: Receiver<Arrival>,
}

impl Backend {
    /// Listens on this address. The waker is used after each request.
    pub(crate) fn start(address: SocketAddr, reply: Reply, waker: Arc<Waker>) -> Result<Backend, String> {
        let failed = |error: io::Error| format!("--backend {address}: {error}");
        let listener = TcpListener::bind(address).map_err(failed)?;
        let (sender, arrivals) = sync_channel(WAITING_MAX);
        let connection = Connection { sender, waker, reply };
        Builder::new()
            .name("backend".into())
            .spawn(move || accept(&listener, &connection))
            .map_err(failed)?;
        Ok(Backend { arrivals })
    }

    /// The next request that has arrived.
    pub(crate) fn next(&self) -> Option<Arrival> {
        self.arrivals.try_recv().ok()
    }
}

fn accept(listener: &TcpListener, connection: &Connection) {
    for stream in listener.incoming() {
        let of_stream = connection.clone();
        let served = stream.and_then(|stream| {
            stream.set_nodelay(true)?;
            Builder::new().name("backend".into()).spawn(move || of_stream.serve(stream))
        });
        if let Err(error) = served {
            connection.arrived(clock::now(), Err(format!("accepting: {error}")));
        }
    }
}

/// The parts that each connection has.
#[derive(Clone)]
struct Connection {
    sender: SyncSender<Arrival>,
    waker: Arc<Waker>,
    reply: Reply,
}

impl Connection {
    fn arrived(&self, at: Instant, request: Result<Asked, String>) {
        // The run has ended if there is no receiver. Without a wake, the crowd's next turn finds it.
        let _ = self.sender.send(Arrival { at, request });
        let _ = self.waker.wake();
    }

    fn serve(&self, mut stream: TcpStream) {
        let (mut buffer, mut filled) = (vec![0; READ_BYTES], 0);
        loop {
            let got = buffer.get(..filled).unwrap_or_default();
            match request(got) {
                Ok(Some((length, body))) => {
                    let at = clock::now();
                    let asked = question(body);
                    let is_good = asked.is_ok();
                    self.arrived(at, asked);
                    if self.respond(&mut stream, is_good).is_err() || !is_good {
                        return;
                    }
                    buffer.copy_within(length..filled, 0);
                    filled -= length;
                    continue;
                }
                Ok(None) => {}
                Err(reason) => return self.arrived(clock::now(), Err(reason)),
            }
            if filled == buffer.len() {
                buffer.resize(2 * filled, 0);
            }
            // The gateway may end a connection at any time; a request that was cut off is repeated or missing.
            match stream.read(buffer.get_mut(filled..).unwrap_or_default()) {
                Ok(count @ 1..) => filled += count,
                Ok(0) | Err(_) => return,
            }
        }
    }

    fn respond(&self, stream: &mut TcpStream, is_good: bool) -> io::Result<()> {
        if !is_good {
            return stream.write_all(BAD);
        }
        match &self.reply {
            Reply::Nothing => stream.write_all(NOTHING),
            Reply::Word => stream.write_all(
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{WORD}",
                    WORD.len()
                )
                .as_bytes(),
            ),
            Reply::Held(longest, gate) => {
                gate.wait(*longest);
                stream.write_all(NOTHING)
            }
        }
    }
}

/// The length of the request that begins here, and its body; `None` until it is complete.
fn request(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes).map_err(|error| format!("{error}: {}", excerpt(bytes)))?;
    let head = match parsed {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial if bytes.len() > REQUEST_BYTES_MAX => return Err("an endless head".into()),
        httparse::Status::Partial => return Ok(None),
    };
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let length = length.filter(|length| *length <= REQUEST_BYTES_MAX).ok_or("a request without a length")?;
    Ok(bytes.get(head..head + length).map(|body| (head + length, body)))
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    attempt: u32,
    #[serde(borrow)]
    publication: Publication<'a>,
    answer: Option<Answer>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    channel: &'a str,
    offset: u64,
    data: Question,
}

#[derive(Deserialize)]
struct Question {
    run: u64,
    n: u64,
}

#[derive(Deserialize)]
struct Answer {
    offset: u64,
}

/// The question of a request.
fn question(body: &[u8]) -> Result<Asked, String> {
    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|error| format!("no question of this program ({error}): {}", excerpt(body)))?;
    let Data { attempt, publication, answer } = body.data;
    let Publication { channel, offset, data: Question { run, n } } = publication;
    let answer = answer.map(|answer| answer.offset);
    Ok(Asked { channel: channel.to_owned(), offset, attempt, answer, run, n })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"type":"publication","timestamp":"t","data":{"route":"load","attempt":1,"epoch":"e","publication":{"channel":"load-3","offset":58,"user":"u","time":1,"data":{"run":7,"n":4,"pad":""}},"answer":{"channel":"load-3","offset":59,"gen":1}}}"#;

    fn asked() -> Asked {
        Asked { channel: "load-3".into(), offset: 58, attempt: 1, answer: Some(59), run: 7, n: 4 }
    }

    #[test]
    fn request_is_complete_with_the_last_byte_of_its_body() {
        let whole = format!("POST /load HTTP/1.1\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        for cut in [0, 10, whole.len() - BODY.len(), whole.len() - 1] {
            assert_eq!(request(&whole.as_bytes()[..cut]), Ok(None), "{cut}");
        }
        let two = whole.repeat(2);
        let (length, body) = request(two.as_bytes()).expect("a request").expect("complete");
        assert_eq!((length, question(body)), (whole.len(), Ok(asked())));
        assert!(request(b"POST / HTTP/1.1\r\n\r\n").is_err() && request(b"nonsense\r\n\r\n").is_err());
        assert!(question(br#"{"type":"test","data":{"route":"load"}}"#).is_err());
    }

    #[test]
    fn connection_is_kept_until_a_request_that_is_no_question() {
        let poll = mio::Poll::new().expect("epoll");
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).expect("a waker"));
        let (sender, arrivals) = sync_channel(8);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let connection = Connection { sender, waker, reply: Reply::Word };
        std::thread::spawn(move || accept(&listener, &connection));
        let mut stream = TcpStream::connect(address).expect("it listens");
        let whole = format!("POST /load HTTP/1.1\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
        stream
            .write_all((whole.repeat(2) + "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}").as_bytes())
            .expect("sent");
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("it closes");
        assert_eq!((answers.matches(WORD).count(), answers.matches(" 400 ").count()), (2, 1), "{answers}");
        let arrived: Vec<bool> = arrivals.try_iter().map(|arrival| arrival.request == Ok(asked())).collect();
        assert_eq!(arrived, [true, true, false]);
    }

    #[test]
    fn open_gate_holds_nothing_back() {
        let gate = Arc::new(Gate::default());
        let waits = Arc::clone(&gate);
        let held = std::thread::spawn(move || waits.wait(Duration::from_secs(3_600)));
        gate.set(true);
        held.join().expect("it goes on");
        gate.set(false);
        gate.wait(Duration::ZERO);
    }
}
