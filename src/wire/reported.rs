//! The reply to `report`.

use super::json;
use super::server_frame::{self, Opcode};
use crate::id::CommandId;

/// The contents of `reported`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportReply {
    /// Errors that were counted.
    pub accepted: u16,
    /// Errors that were left out for good. If both are 0, nothing was read, and the client keeps the report.
    pub dropped: u16,
    /// The next report is read after this time, in milliseconds.
    pub next_ms: u32,
}

/// Appends the reply.
pub fn reported(out: &mut Vec<u8>, id: CommandId, reported: ReportReply) {
    server_frame::write_with(out, Opcode::Text, |out| {
        json::object(out, |out| {
            json::integer(out, "id", id.0);
            json::key(out, "reported");
            json::object(out, |out| {
                json::integer(out, "accepted", reported.accepted.into());
                json::integer(out, "dropped", reported.dropped.into());
                json::integer(out, "next_ms", reported.next_ms.into());
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_has_the_form_of_the_protocol() {
        let mut out = Vec::new();
        reported(&mut out, CommandId(40), ReportReply { accepted: 1, dropped: 0, next_ms: 10_000 });
        assert_eq!(&out[2..], br#"{"id":40,"reported":{"accepted":1,"dropped":0,"next_ms":10000}}"#);
    }
}
