//! Publications over the server API, one request in flight per connection: rate and latency.
//!
//! Its connections are few and carry large bodies, so each has a thread that blocks, unlike the connections of the other modes.

use super::{data, key, run_number};
use crate::arguments::{Api, Common};
use crate::clock;
use crate::crowd::Crowd;
use crate::faults::excerpt;
use crate::process::Process;
use crate::report::{Report, Times};
use crate::window::{Edge, Window};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// The time between two looks at the window.
const TICK: Duration = Duration::from_millis(5);
/// Bytes of an answer that are read at once.
const READ_BYTES: usize = 256 << 10;

/// The state that the threads share.
struct Shared<'a> {
    arguments: &'a Api,
    patience: Duration,
    run: u64,
    next: AtomicU64,
    phase: AtomicU8,
}

/// Values of [`Shared::phase`], in order.
const WARMING: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

/// The result of one connection.
struct Sent {
    all: u64,
    counted: u64,
    times: Times,
}

/// Publishes until the window closes, and checks that every publication was stored once.
pub(crate) fn run(common: &Common, arguments: &Api, process: Option<Process>) -> Result<Report, String> {
    let mut crowd = Crowd::new(common, std::iter::empty())?;
    let mut window = Window::new(process, common.warmup, common.duration);
    let shared = Shared {
        arguments,
        patience: common.patience,
        run: run_number(),
        next: AtomicU64::new(0),
        phase: AtomicU8::new(WARMING),
    };
    let (sent, measured) = std::thread::scope(|scope| {
        let senders: Vec<_> =
            (0..arguments.connections).map(|_| scope.spawn(|| Sender::dial(&shared)?.send_all())).collect();
        window.start(clock::now());
        let measured = loop {
            match window.turn(clock::now()) {
                Edge::None => std::thread::park_timeout(TICK),
                Edge::Opened => shared.phase.store(MEASURED, Ordering::Relaxed),
                Edge::Shut(measured) => break measured,
            }
        };
        shared.phase.store(OVER, Ordering::Relaxed);
        let sent: Vec<Result<Sent, String>> = senders
            .into_iter()
            .map(|sender| sender.join().unwrap_or_else(|_| Err("a sender panicked".into())))
            .collect();
        (sent, measured)
    });
    let mut total = Sent { all: 0, counted: 0, times: Times::new() };
    for one in sent {
        match one {
            Ok(one) => {
                total.all += one.all;
                total.counted += one.counted;
                total.times.merge(&one.times);
            }
            Err(fault) => crowd.faults.add("request", || fault),
        }
    }
    let parameters = json!({
        "connections": arguments.connections, "batch": arguments.batch, "channels": arguments.channels,
        "payload": arguments.payload,
    });
    Ok(Report::new("api", common, parameters, &crowd)
        .operations("publish", total.counted, measured)
        .latency("request", &total.times)
        .value("all", total.all))
}

/// One connection.
struct Sender<'a> {
    shared: &'a Shared<'a>,
    stream: TcpStream,
    body: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl<'a> Sender<'a> {
    fn dial(shared: &'a Shared<'a>) -> Result<Sender<'a>, String> {
        let address = shared.arguments.api;
        let failed = |error| format!("{address}: {error}");
        let stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(shared.patience)).map_err(failed)?;
        let (body, request, answer) = (String::new(), Vec::new(), vec![0; READ_BYTES]);
        Ok(Sender { shared, stream, body, request, answer })
    }

    fn send_all(mut self) -> Result<Sent, String> {
        let mut sent = Sent { all: 0, counted: 0, times: Times::new() };
        let batch = u64::from(self.shared.arguments.batch);
        loop {
            let phase = self.shared.phase.load(Ordering::Relaxed);
            if phase == OVER {
                return Ok(sent);
            }
            self.prepare();
            let begun = clock::now();
            self.exchange()?;
            sent.all += batch;
            if phase == MEASURED && self.shared.phase.load(Ordering::Relaxed) == MEASURED {
                sent.counted += batch;
                sent.times.add(begun.elapsed());
            }
        }
    }

    /// Writes the next request into the buffer.
    fn prepare(&mut self) {
        let Shared { arguments, run, next, .. } = self.shared;
        let (batch, bytes) = (u64::from(arguments.batch), arguments.payload as usize);
        let first = next.fetch_add(batch, Ordering::Relaxed);
        let (body, path) = (&mut self.body, if batch == 1 { "publish" } else { "batch" });
        body.clear();
        body.push_str(if batch == 1 { "" } else { "{\"items\":[" });
        for n in first..first + batch {
            // Not those of the other modes, which expect nothing from a backend there.
            let channel = n % u64::from(arguments.channels);
            let (comma, key, data) = (if n == first { "" } else { "," }, key(*run, n), data(n, bytes));
            let item = write!(
                body,
                "{comma}{{\"channel\":\"backend-{channel}\",\"key\":\"{key}\",\"data\":{data}}}"
            );
            debug_assert!(item.is_ok(), "a string takes everything");
        }
        body.push_str(if batch == 1 { "" } else { "]}" });
        self.request.clear();
        let head = format!(
            "POST /v1/{path} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            arguments.secret,
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body.as_bytes());
    }

    /// Sends the request and checks its answer.
    fn exchange(&mut self) -> Result<(), String> {
        self.stream.write_all(&self.request).map_err(|error| format!("sending: {error}"))?;
        let mut filled = 0;
        let whole = loop {
            if filled == self.answer.len() {
                self.answer.resize(2 * filled, 0);
            }
            let room = self.answer.get_mut(filled..).unwrap_or_default();
            match self.stream.read(room).map_err(|error| format!("reading: {error}"))? {
                0 => return Err("the connection ended within an answer".into()),
                count => filled += count,
            }
            let got = self.answer.get(..filled).unwrap_or_default();
            if let Some(whole) = length(got)?
                && filled >= whole
            {
                break whole;
            }
        };
        let got = self.answer.get(..whole).unwrap_or_default();
        let stored = match self.shared.arguments.batch {
            1 => "\"duplicate\":false".to_owned(),
            batch => format!("\"stored\":{batch},\"duplicates\":0,\"failed\":0"),
        };
        let tail = got.get(got.len().saturating_sub(200)..).unwrap_or_default();
        let is_stored = String::from_utf8_lossy(tail).contains(&stored);
        if got.starts_with(b"HTTP/1.1 200 ") && is_stored { Ok(()) } else { Err(excerpt(got)) }
    }
}

/// The length of the answer that begins here, with its head; `None` until the head is complete.
fn length(answer: &[u8]) -> Result<Option<usize>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(answer).map_err(|error| format!("{error}: {}", excerpt(answer)))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    length.map(|body| Some(head + body)).ok_or_else(|| "an answer without a length".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_an_answer_is_that_of_its_head_and_body() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(length(answer), Ok(Some(answer.len())));
        assert_eq!(length(&answer[..20]), Ok(None));
        assert!(length(b"HTTP/1.1 200 OK\r\n\r\n").is_err() && length(b"nonsense\r\n\r\n").is_err());
    }
}
