//! The PROXY protocol header, version 2, which a trusted proxy sends before everything else.
//!
//! Checked properties: a split never changes the outcome; the header's length is the announced one and within the bound;
//! only `PROXY` with an IP family names a source.

use seawall::wire::proxy::{PROXY_BYTES_MAX, ProxyHead, proxy_v2};

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let whole = proxy_v2(bytes);
    for end in 0..bytes.len().min(PROXY_BYTES_MAX + 1) {
        let part = proxy_v2(&bytes[..end]);
        assert!(part == ProxyHead::Partial || part == whole, "cut at {end}: {part:?}, whole: {whole:?}");
    }
    match whole {
        ProxyHead::Partial => assert!(bytes.len() < PROXY_BYTES_MAX, "a complete header must be decided"),
        ProxyHead::Invalid(fault) => assert!(!fault.text().is_empty()),
        ProxyHead::Complete { length, source } => {
            let announced = 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
            assert!(length == announced && length <= bytes.len() && length <= PROXY_BYTES_MAX);
            let names_a_client = bytes[12] == 0x21 && matches!(bytes[13], 0x11 | 0x21);
            assert_eq!(source.is_some(), names_a_client);
        }
    }
}
