//! Responses that are read as they arrive.
//!
//! The head must be there by a deadline, and each read of the body has another. Between them, the thread that reads may wait for as
//! long as it likes, so a slow reader slows its backend and nothing is kept. Another thread may end the call at any time.

use super::deadline::now;
use super::peer::PeerAddress;
use super::trouble::Trouble;
use crate::health::finding::Fault;
use parking_lot::Mutex;
use std::fmt;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How soon a wait notices that its call was ended.
const SLICE: Duration = Duration::from_millis(50);

/// Says if a call is to end.
pub(crate) type CallWatch = Arc<dyn Fn() -> bool + Send + Sync>;

/// The deadline of the present wait of a client, and the wish to end its call.
pub(crate) struct CallControl {
    deadline: Mutex<Instant>,
    is_ended: AtomicBool,
    /// Asked about twenty times a second during a wait.
    watch: Mutex<Option<CallWatch>>,
}

impl fmt::Debug for CallControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallControl").field("is_ended", &self.is_ended).finish_non_exhaustive()
    }
}

impl CallControl {
    pub(crate) fn new() -> CallControl {
        CallControl { deadline: Mutex::new(now()), is_ended: AtomicBool::new(false), watch: Mutex::default() }
    }

    /// Begins a call: the head of its response must be there by then.
    pub(crate) fn begin(&self, deadline: Instant) {
        self.is_ended.store(false, Ordering::Release);
        self.wait_until(deadline);
    }

    /// Sets the deadline of the next waits.
    pub(crate) fn wait_until(&self, deadline: Instant) {
        *self.deadline.lock() = deadline;
    }

    /// Ends the call in progress, if there is one: its waits fail.
    pub(crate) fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Acquire)
            || self.watch.lock().as_ref().is_some_and(|wants_end| wants_end())
    }

    /// Has the call end once `watch` says so; `None`: only [`CallControl::end`] ends it.
    pub(crate) fn watch(&self, watch: Option<CallWatch>) {
        *self.watch.lock() = watch;
    }

    pub(super) fn deadline(&self) -> Instant {
        *self.deadline.lock()
    }

    /// The end of the next part of a wait.
    pub(super) fn slice(&self, until: Instant) -> io::Result<Instant> {
        if self.is_ended() {
            return Err(Trouble::new(Fault::Internal, "the call was ended").into_io());
        }
        Ok(until.min(now() + SLICE))
    }
}

/// A response whose body is read as it arrives.
#[derive(Debug)]
pub(crate) struct HttpReading {
    response: ureq::http::Response<ureq::Body>,
    peer: PeerAddress,
}

impl HttpReading {
    pub(super) fn new(response: ureq::http::Response<ureq::Body>, peer: PeerAddress) -> HttpReading {
        HttpReading { response, peer }
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The text of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// True if the response says where its body ends. Without that, the end of the connection may be a break in the middle.
    pub(crate) fn has_length(&self) -> bool {
        self.header("content-length").is_some()
            || self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    /// Reads what is there, or waits for the next bytes. 0 is the proper end of the body.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Trouble> {
        self.response.body_mut().as_reader().read(buffer).map_err(|error| self.trouble(&error))
    }

    /// Reads and drops at most this many bytes, so that the connection can be kept.
    pub(crate) fn skip(&mut self, bytes_max: usize) {
        let mut dropped = [0; 4_096];
        let mut bytes = 0;
        while bytes < bytes_max
            && let Ok(count @ 1..) = self.read(&mut dropped)
        {
            bytes += count;
        }
    }

    fn trouble(&self, error: &io::Error) -> Trouble {
        match error.get_ref().and_then(|inside| inside.downcast_ref::<ureq::Error>()) {
            Some(inside) => trouble_of(inside, &self.peer),
            None => Trouble::of_io(&self.peer.to_string(), error),
        }
    }
}

pub(super) fn trouble_of(error: &ureq::Error, peer: &PeerAddress) -> Trouble {
    match error {
        ureq::Error::Io(error) => Trouble::of_io(&peer.to_string(), error),
        ureq::Error::Timeout(_) => Trouble::new(Fault::Timeout, format!("no answer from {peer} in time")),
        // The library's text may repeat the address, and with it a secret in its query.
        ureq::Error::BadUri(_) => {
            Trouble::new(Fault::Internal, format!("the address of {peer} cannot be asked for"))
        }
        other => Trouble::new(Fault::Protocol, format!("{peer} does not answer as HTTP: {other}")),
    }
}
