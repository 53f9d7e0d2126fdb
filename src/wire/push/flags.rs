//! The flags that are on, in `connected` and as a push.

use crate::wire::json;
use crate::wire::server_frame::{self, Opcode};

/// Appends the push that replaces the flags of a client. The names need no escapes.
pub fn flags(out: &mut Vec<u8>, on: &[&str]) {
    server_frame::write_with(out, Opcode::Text, |out| {
        json::object(out, |out| {
            json::key(out, "flags");
            json::object(out, |out| names(out, "on", on));
        });
    });
}

/// Appends the member `flags` of `connected`; nothing if no flags are configured.
pub(super) fn member(out: &mut Vec<u8>, on: Option<&[&str]>) {
    if let Some(on) = on {
        names(out, "flags", on);
    }
}

fn names(out: &mut Vec<u8>, key: &'static str, on: &[&str]) {
    json::key(out, key);
    out.push(b'[');
    for (place, name) in on.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}
