//! The embedded files of the page at `/` and of the client library, found by path.
//!
//! `web/dist` is built from `web/` and committed, so that this crate builds without Node. Its table gives each file's
//! path, type and validators, so that nothing is computed at request time.

use crate::wire::coding::Coding;

#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// The request path, compared byte for byte.
    pub path: &'static str,
    pub media_type: &'static str,
    pub kind: FileKind,
    pub plain: FileForm,
    /// The same compressed. Absent if the file is small.
    pub gzip: Option<FileForm>,
}

/// One form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileForm {
    /// A strong validator with its quotes (RFC 9110 section 8.8.3): a digest of the bytes.
    pub etag: &'static str,
    pub bytes: &'static [u8],
}

impl File {
    /// The form for a client that accepts this coding, with the headers that name it. A cache must not give one client's form to another.
    pub fn form(&self, coding: Coding) -> (FileForm, &'static [(&'static str, &'static str)]) {
        match (self.gzip, coding) {
            (None, Coding::Identity | Coding::Gzip) => (self.plain, &[]),
            (Some(_), Coding::Identity) => (self.plain, &[("Vary", "Accept-Encoding")]),
            (Some(gzip), Coding::Gzip) => {
                (gzip, &[("Vary", "Accept-Encoding"), ("Content-Encoding", "gzip")])
            }
        }
    }
}

/// The role of a file. It decides how long a cache may serve it without revalidating it, and which sites may load it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// The page: the client asks for it each time and gets 304 while it is unchanged.
    Page,
    /// A file that the page loads. A cache keeps it forever: its name contains a digest of the bytes, so other bytes have
    /// another name (RFC 8246).
    Part,
    /// A module of the client library, revalidated like the page. Pages of every site may import it: it holds no data.
    Module,
}

impl FileKind {
    pub const fn cache_control(self) -> &'static str {
        match self {
            FileKind::Part => "public, max-age=31536000, immutable",
            FileKind::Page | FileKind::Module => "no-cache",
        }
    }
}

/// All files, sorted by path.
pub(super) static FILES: &[File] = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist/files.rs"));

/// The file at `path`.
pub fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// The file to serve in place of `file` if the page must ignore tokens in links: the page of that kind, else `file`.
pub fn without_link_tokens(file: &'static File) -> &'static File {
    match file.kind {
        FileKind::Page => find("/?link_tokens=off").unwrap_or(file),
        FileKind::Part | FileKind::Module => file,
    }
}
