//! One request over a blocking socket, with a deadline for each step.

use super::access::AdminAccess;
use super::refusal::AdminRefusal;
use super::request::{self, BodyWait, ReceivedRequest, RequestStep};
use crate::clock::Now;
use crate::net::listener::{ReadFailure, read_more};
use crate::wire::request::{Head, HeadLimits, HttpFault, Method};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

/// The reason why there is no request to answer.
#[derive(Debug)]
pub(super) enum Unheard {
    /// The peer is gone.
    Gone,
    /// The head is malformed; nothing more is read.
    Malformed(HttpFault),
    /// The head is refused, whatever it asks for.
    Refused(Method, AdminRefusal),
}

/// Reads one request. `authorize` judges its head: after a refusal nothing more is read.
pub(super) fn receive(
    mut stream: &TcpStream,
    limits: HeadLimits,
    within: Duration,
    clock: &impl Fn() -> Now,
    authorize: impl Fn(&Head<'_>) -> Result<AdminAccess, AdminRefusal>,
) -> Result<ReceivedRequest, Unheard> {
    let deadline = clock().at + within;
    let bound_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(1_024);
    let mut continued = false;
    loop {
        match request::read(&bytes, limits, &authorize) {
            RequestStep::Complete(request) => return Ok(request),
            RequestStep::Malformed(fault) => return Err(Unheard::Malformed(fault)),
            RequestStep::Refused(method, refusal) => return Err(Unheard::Refused(method, refusal)),
            RequestStep::Body(BodyWait::Continue) if !std::mem::replace(&mut continued, true) => {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Unheard::Gone)?;
            }
            RequestStep::Head | RequestStep::Body(_) => {}
        }
        read_more(stream, &mut bytes, deadline, clock)
            .map_err(|failure| Unheard::of(failure, HttpFault::HeadTimeout { bound_ms }))?;
    }
}

impl Unheard {
    fn of(failure: ReadFailure, late: HttpFault) -> Unheard {
        match failure {
            ReadFailure::Ended => Unheard::Gone,
            ReadFailure::TimedOut => Unheard::Malformed(late),
        }
    }
}
