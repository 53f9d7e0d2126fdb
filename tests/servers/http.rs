//! A small scripted HTTP service, in place of auth services and backends.

use super::wait::SOON;
use seawall_fault::HeldPort;
use socket2::SockRef;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests kept for [`Http::requests`]; older ones are only counted.
const KEPT: usize = 1_000;
/// Connections served at once; more are closed.
const CONNECTIONS: usize = 256;
/// The longest body of a request.
const BODY_MAX: usize = 1 << 20;

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status, a type and a body, after a delay.
    With { status: u16, content_type: String, body: String, after: Duration },
    /// No answer; the connection stays open.
    Hang,
    /// A reset.
    Reset,
    /// Half of an [`Answer::With`], then a reset.
    HalfThenReset { body: String },
    /// The result of a script for each request.
    By(Script),
}

/// Computes the answer from the request.
#[derive(Clone)]
pub struct Script(Arc<dyn Fn(&Request) -> Answer + Send + Sync>);

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Answer {
    pub fn by(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Answer {
        Answer::By(Script(Arc::new(script)))
    }

    pub fn json(status: u16, body: &str) -> Answer {
        let content_type = "application/json".into();
        Answer::With { status, content_type, body: body.into(), after: Duration::ZERO }
    }

    /// A refusal that asks for another try after some seconds.
    pub fn retry_after(status: u16, seconds: u32) -> Answer {
        let content_type = format!("text/plain\r\nRetry-After: {seconds}");
        Answer::With { status, content_type, body: "later".into(), after: Duration::ZERO }
    }

    /// The same answer after a delay.
    pub fn after(self, delay: Duration) -> Answer {
        match self {
            Answer::With { status, content_type, body, .. } => {
                Answer::With { status, content_type, body, after: delay }
            }
            other @ (Answer::Hang | Answer::Reset | Answer::HalfThenReset { .. } | Answer::By(_)) => other,
        }
    }
}

/// A received request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names are in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// A running service; dropping it stops it.
pub struct Http {
    port: HeldPort,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By path without query; the empty path is the default.
    answers: HashMap<String, Answer>,
    requests: Vec<Request>,
    count: u64,
    stopped: bool,
    open: HashMap<u64, TcpStream>,
}

impl Http {
    /// Starts a service that answers every request with 200 and `{}`.
    #[track_caller]
    pub fn start() -> Http {
        let mut http = Http {
            port: HeldPort::loopback().expect("a free port"),
            shared: Arc::default(),
            accepting: None,
        };
        http.start_again();
        http
    }

    /// Starts it again on the same port, with its answers and requests kept.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.accepting.is_none(), "the service runs already");
        let listener = self.port.listen().expect("the port is ours");
        self.shared.lock().stopped = false;
        let shared = Arc::clone(&self.shared);
        self.accepting = Some(std::thread::spawn(move || {
            for (number, stream) in (0..).zip(listener.incoming()) {
                if shared.lock().stopped {
                    // A child process that is being spawned may have inherited the socket; this closes it for both.
                    let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
                    return;
                }
                if let Ok(stream) = stream {
                    spawn_serve(&shared, number, stream);
                }
            }
        }));
    }

    /// Closes the listener and every connection.
    pub fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        // Wakes the accepting thread, which checks `stopped` first.
        let woken = TcpStream::connect(self.address());
        accepting.join().expect("accepting never panics");
        drop(woken);
        self.shared.end_connections();
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Sets the answer to requests for `path` (without query); `""` sets the default.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.shared.lock().answers.insert(path.into(), answer);
        self.shared.changed.notify_all();
    }

    /// The requests so far, at most the first thousand.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// The number of requests so far.
    pub fn count(&self) -> u64 {
        self.shared.lock().count
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn end_connections(&self) {
        for stream in self.lock().open.values() {
            // Its peer may have closed it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Records a request and returns its answer.
    fn take(&self, request: Request) -> Answer {
        let mut state = self.lock();
        let path = request.path.split('?').next().unwrap_or_default();
        let answer = state.answers.get(path).or_else(|| state.answers.get("")).cloned();
        let answer = match answer {
            Some(Answer::By(Script(script))) => Some(script(&request)),
            answer => answer,
        };
        state.count += 1;
        if state.requests.len() < KEPT {
            state.requests.push(request);
        }
        answer.unwrap_or_else(|| Answer::json(200, "{}"))
    }

    /// Waits for a delay to pass; returns `false` if the service stopped first.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut state = self.lock();
        while !state.stopped {
            let left = until.map_or(SOON, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).expect("no holder panics").0;
        }
        false
    }
}

fn spawn_serve(shared: &Arc<Shared>, number: u64, stream: TcpStream) {
    let Ok(kept) = stream.try_clone() else { return };
    let mut state = shared.lock();
    if state.open.len() >= CONNECTIONS {
        return;
    }
    state.open.insert(number, kept);
    drop(state);
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let end = serve(&shared, &stream);
        let kept = shared.lock().open.remove(&number);
        if matches!(end, Ok(End::Reset)) {
            // Both descriptors are closed after this, with a reset instead of the end of the stream.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        drop((kept, stream));
    });
}

enum End {
    Closed,
    Reset,
}

fn serve(shared: &Shared, stream: &TcpStream) -> io::Result<End> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(request) = read_request(&mut reader)? else { return Ok(End::Closed) };
        let mut writer = stream;
        match shared.take(request) {
            Answer::With { status, content_type, body, after } => {
                if !shared.wait(Some(Instant::now() + after)) {
                    return Ok(End::Closed);
                }
                writer.write_all(response(status, &content_type, &body).as_bytes())?;
            }
            Answer::Hang => {
                // A client that gives up is noticed only when the service stops.
                shared.wait(None);
                return Ok(End::Closed);
            }
            // A script must not answer with a script.
            Answer::Reset | Answer::By(_) => return Ok(End::Reset),
            Answer::HalfThenReset { body } => {
                let whole = response(200, "application/json", &body);
                let half = whole.len() - body.len().div_ceil(2);
                writer.write_all(&whole.as_bytes()[..half])?;
                return Ok(End::Reset);
            }
        }
    }
}

fn response(status: u16, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The next request, or `None` at the end of the stream.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.by_ref().take(8_192).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(String::from);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.by_ref().take(8_192).read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if headers.len() < 100 => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
            }
            _ => break,
        }
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; usize::min(length, BODY_MAX)];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}
