//! The embedded files of the page at `/` and of the client library, found by path.
//!
//! `web/dist` is built from `web/` and committed, so that this crate builds without Node. Its table gives each file's
//! path, type and validator, so that nothing is computed at request time.

#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// The request path, compared byte for byte.
    pub path: &'static str,
    pub media_type: &'static str,
    /// A strong validator with its quotes (RFC 9110 section 8.8.3): a digest of the bytes.
    pub etag: &'static str,
    pub freshness: Freshness,
    pub bytes: &'static [u8],
}

/// How long a cache may serve a file without revalidating it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Forever: the name contains a digest of the bytes, so other bytes have another name (RFC 8246).
    Immutable,
    /// Never: the client asks each time and gets 304 while the file is unchanged.
    Revalidated,
}

impl Freshness {
    pub(super) const fn cache_control(self) -> &'static str {
        match self {
            Freshness::Immutable => "public, max-age=31536000, immutable",
            Freshness::Revalidated => "no-cache",
        }
    }
}

/// All files, sorted by path.
pub(super) static FILES: &[File] = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist/files.rs"));

/// The file at `path`.
pub fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}
