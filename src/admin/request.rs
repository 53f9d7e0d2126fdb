//! A request out of the bytes that have arrived. No socket and no clock.

use super::access::AdminAccess;
use super::refusal::AdminRefusal;
use crate::metrics::scrape::MetricsFormat;
use crate::wire::coding::Coding;
use crate::wire::request::{Body, Head, HeadLimits, HttpFault, Method, Parsed, parse};

/// The longest body, in bytes. A disconnect that spares a hundred connections has about 2,000.
pub const BODY_BYTES_MAX: usize = 4_096;

/// An authorized request.
#[derive(Debug, PartialEq, Eq)]
pub struct ReceivedRequest {
    pub method: Method,
    /// With its query.
    pub path: String,
    pub body: Vec<u8>,
    /// The format in which it reads metrics.
    pub metrics: MetricsFormat,
    /// The form in which it takes files.
    pub coding: Coding,
    pub access: AdminAccess,
}

impl ReceivedRequest {
    /// The path, and the query without `?`.
    pub fn parts(&self) -> (&str, Option<&str>) {
        self.path.split_once('?').map_or((self.path.as_str(), None), |(path, query)| (path, Some(query)))
    }
}

/// A request as far as it has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestStep {
    /// The head is not complete.
    Head,
    /// The body is not complete.
    Body(BodyWait),
    /// Nothing more is read.
    Complete(ReceivedRequest),
    /// The head is malformed; nothing more is read.
    Malformed(HttpFault),
    /// The head is refused, whatever it asks for.
    Refused(Method, AdminRefusal),
}

/// The go-ahead that the peer waits for before it sends the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyWait {
    Nothing,
    /// `100 Continue`.
    Continue,
}

/// Reads one request. `authorize` judges its head: one that it refuses is refused before its body has arrived.
pub fn read(
    bytes: &[u8],
    limits: HeadLimits,
    authorize: impl FnOnce(&Head<'_>) -> Result<AdminAccess, AdminRefusal>,
) -> RequestStep {
    let head = match parse(bytes, limits) {
        Parsed::Refused(fault) => return RequestStep::Malformed(fault),
        Parsed::Partial => return RequestStep::Head,
        Parsed::Complete(head) => head,
    };
    let method = head.method;
    let access = match authorize(&head) {
        Ok(access) => access,
        Err(refusal) => return RequestStep::Refused(method, refusal),
    };
    let wanted = match body_bytes(&head) {
        Ok(bytes) => head.length + bytes,
        Err(refusal) => return RequestStep::Refused(method, refusal),
    };
    let Some(body) = bytes.get(head.length..wanted) else {
        let expects = head.values("expect").next().is_some();
        return RequestStep::Body(if expects { BodyWait::Continue } else { BodyWait::Nothing });
    };
    let metrics = MetricsFormat::accepted(head.values("accept"));
    let query = head.query.map_or_else(String::new, |query| format!("?{query}"));
    RequestStep::Complete(ReceivedRequest {
        method,
        path: format!("{}{query}", head.path),
        body: body.to_vec(),
        metrics,
        coding: Coding::accepted(head.values("accept-encoding")),
        access,
    })
}

/// The length of the body that follows.
fn body_bytes(head: &Head<'_>) -> Result<usize, AdminRefusal> {
    match head.body {
        Body::None => Ok(0),
        Body::Declared => {
            let digits = head.values("content-length").next().ok_or_else(AdminRefusal::no_length)?;
            let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<usize>().ok());
            length
                .filter(|length| *length <= BODY_BYTES_MAX)
                .ok_or_else(|| AdminRefusal::body_too_large(BODY_BYTES_MAX))
        }
    }
}
