//! Writes JSON directly into a byte buffer, without a tree and without allocations other than the buffer's growth.
//!
//! The gateway's JSON is flat and its keys are known, so writing a member is one or two copies. [`text`] escapes text
//! from outside; [`raw`] is for JSON that was checked before.

use super::plain::plain_bytes;

/// Appends `{`, what `members` appends, and `}`.
pub fn object(out: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'{');
    members(out);
    out.push(b'}');
}

/// Appends a comma, unless an object was just opened, and `"name":`.
///
/// `name` needs no escape. No complete JSON value ends with `{`, so the last byte shows whether this is the first member.
#[inline]
pub fn key(out: &mut Vec<u8>, name: &'static str) {
    // Comma and quote together, because each append tests the capacity.
    match out.last() {
        Some(b'{') => out.push(b'"'),
        Some(_) | None => out.extend_from_slice(b",\""),
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends the member `name` with JSON text that must be one value.
pub fn raw(out: &mut Vec<u8>, name: &'static str, value: &str) {
    key(out, name);
    out.extend_from_slice(value.as_bytes());
}

/// Appends the member `name` with a string.
pub fn text(out: &mut Vec<u8>, name: &'static str, value: &str) {
    key(out, name);
    string(out, value);
}

/// Appends the member `name` with an integer.
pub fn integer(out: &mut Vec<u8>, name: &'static str, value: u64) {
    key(out, name);
    digits(out, value);
}

/// Appends the member `name` with `true` or `false`.
#[expect(clippy::fn_params_excessive_bools, reason = "it is the value, not a mode")]
pub fn truth(out: &mut Vec<u8>, name: &'static str, value: bool) {
    raw(out, name, if value { "true" } else { "false" });
}

pub fn digits(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the comma between two members of an object, or nothing after its `{`.
pub fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

/// Appends a JSON string (RFC 8259 section 7). Quotes, backslashes and control characters are escaped; all other text
/// is copied.
pub fn string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let mut rest = value.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { break };
        escape(out, *byte);
        rest = after;
    }
    out.push(b'"');
}

/// The bytes that [`string`] appends for this text between its quotes.
pub fn escaped_bytes(value: &str) -> usize {
    let mut rest = value.as_bytes();
    let mut escapes = 0;
    loop {
        let (_, special) = rest.split_at(plain_bytes(rest));
        let Some((byte, after)) = special.split_first() else { return value.len() + escapes };
        escapes += match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 1,
            _ => 5,
        };
        rest = after;
    }
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0C => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_string_is_escaped_as_serde_json_does(value in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &value);
            prop_assert_eq!(out.len(), escaped_bytes(&value) + 2);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&value).unwrap());
        }
    }

    #[test]
    fn every_control_character_reads_back() {
        let value: String = (0u8..=0x7f).map(char::from).collect();
        let mut out = Vec::new();
        string(&mut out, &value);
        assert_eq!(out.len(), escaped_bytes(&value) + 2);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), value);
    }

    #[test]
    fn members_are_separated_by_one_comma() {
        let mut out = Vec::new();
        object(&mut out, |out| {
            text(out, "a", "{");
            object_member(out);
            integer(out, "c", u64::MAX);
            truth(out, "d", true);
        });
        assert_eq!(out, br#"{"a":"{","b":{},"c":18446744073709551615,"d":true}"#);
    }

    fn object_member(out: &mut Vec<u8>) {
        key(out, "b");
        object(out, |_| ());
    }
}
