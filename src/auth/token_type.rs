//! The kinds of tokens, as media types.

use serde_json::value::RawValue;

/// Returns whether a `typ` in JSON is the `expected` one.
pub(super) fn is_type(typ: &RawValue, expected: &str) -> bool {
    let typ: Option<String> = serde_json::from_str(typ.get()).ok();
    typ.is_some_and(|typ| bare_type(&typ).eq_ignore_ascii_case(bare_type(expected)))
}

/// A media type without the `application/` that may be left out (RFC 7515 section 4.1.9).
fn bare_type(typ: &str) -> &str {
    match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        Some(_) | None => typ,
    }
}
