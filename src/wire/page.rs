//! The files of the page at `/`, and the one that holds the client library: embedded, found by path.
//!
//! `web/dist` is built from `web/` and committed, so that this crate builds without Node. The table in it gives each
//! file's path, type and validator; nothing is computed when a request comes, and a file's bytes are never copied
//! but into the answer.

use crate::wire::request::Head;
use crate::wire::response::{self, ResponseOptions};

/// One file as it is served.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// The path of a request for it, byte for byte.
    pub path: &'static str,
    /// `Content-Type`
    pub media_type: &'static str,
    /// A strong validator with its quotes (RFC 9110 section 8.8.3): a digest of the bytes.
    pub etag: &'static str,
    /// How long a cache may serve it without asking.
    pub freshness: Freshness,
    /// What is sent.
    pub bytes: &'static [u8],
}

/// How long a cache may serve a file without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// For good: its name has a digest of its bytes, so other bytes have another name (RFC 8246).
    Immutable,
    /// Never: it is asked for each time, and answered 304 while it is the same.
    Revalidated,
}

impl Freshness {
    const fn cache_control(self) -> &'static str {
        match self {
            Freshness::Immutable => "public, max-age=31536000, immutable",
            Freshness::Revalidated => "no-cache",
        }
    }
}

/// In the order of their paths.
static FILES: &[File] = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist/files.rs"));

/// What the page may do: load its own files and speak with its own gateway. It runs no script and no style that stands in
/// the page itself, makes no markup of text, and stands in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The file at that path, if there is one.
pub fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// Appends the answer to a `GET` or `HEAD` of a file: the file, or 304 to whoever has it. Of `options` the method and what
/// becomes of the connection count; the header lines are the file's.
pub fn answer(out: &mut Vec<u8>, file: &File, head: &Head<'_>, options: &ResponseOptions<'_>) {
    let headers = [
        ("ETag", file.etag),
        ("Content-Security-Policy", POLICY),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
    ];
    let options =
        ResponseOptions { cache_control: file.freshness.cache_control(), headers: &headers, ..*options };
    let status = if has(head, file.etag) { 304 } else { 200 };
    response::answer(out, status, file.media_type, file.bytes, &options);
}

/// Whether the peer says that it has a file with this validator (RFC 9110 section 13.1.2, by the weak comparison).
fn has(head: &Head<'_>, etag: &str) -> bool {
    head.values("if-none-match").flat_map(|line| line.split(|byte| *byte == b',')).any(|member| {
        let member = member.trim_ascii();
        member == b"*" || member.strip_prefix(b"W/").unwrap_or(member) == etag.as_bytes()
    })
}

#[cfg(test)]
mod tests;
