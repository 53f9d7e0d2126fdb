//! Answers requests for the embedded files: the page at `/` and the client library. A file's bytes are copied only
//! into the answer.

pub use crate::wire::files::{File, FileForm, FileKind, find, without_link_tokens};

use crate::wire::coding::Coding;
use crate::wire::request::Head;
use crate::wire::response::{self, ResponseOptions};

/// The page may load its own files and connect to its own gateway. It may not run inline scripts or styles, turn text
/// into markup, or be framed by another page.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Appends the answer to a `GET` or `HEAD` of a file: the file, or 304 if the client has it. `options` may have further
/// header lines; how long it may be cached is the file's.
pub fn answer(out: &mut Vec<u8>, file: &File, head: &Head<'_>, options: &ResponseOptions<'_>) {
    let (sites, more): (&str, &[(&str, &str)]) = match file.kind {
        // Pages of other sites that opened this one, or that it opens, get no reference to its window.
        FileKind::Page => ("same-origin", &[("Cross-Origin-Opener-Policy", "same-origin")]),
        FileKind::Part => ("same-origin", &[]),
        FileKind::Module => ("cross-origin", &[("Access-Control-Allow-Origin", "*")]),
    };
    let (form, coding) = file.form(Coding::accepted(head.values("accept-encoding")));
    let common = [
        ("ETag", form.etag),
        ("Content-Security-Policy", POLICY),
        ("Cross-Origin-Resource-Policy", sites),
        ("Referrer-Policy", "no-referrer"),
    ];
    let headers = [&common, coding, more, options.headers].concat();
    let options = ResponseOptions { cache_control: file.kind.cache_control(), headers: &headers, ..*options };
    let status = if has(head, form.etag) { 304 } else { 200 };
    response::answer(out, status, file.media_type, form.bytes, &options);
}

/// True exactly when `If-None-Match` names this validator (RFC 9110 section 13.1.2, weak comparison).
fn has(head: &Head<'_>, etag: &str) -> bool {
    head.values("if-none-match").flat_map(|line| line.split(|byte| *byte == b',')).any(|member| {
        let member = member.trim_ascii();
        member == b"*" || member.strip_prefix(b"W/").unwrap_or(member) == etag.as_bytes()
    })
}

#[cfg(test)]
mod tests;
