//! The PROXY header of a load balancer: in front of everything else, TLS included, and never encrypted.

use super::Engine;
use super::order::Notice;
use super::peer::Expects;
use super::slots::SlotId;
use crate::wire::proxy::{ProxyHead, proxy_v2};

impl Engine {
    /// Reads the PROXY header and returns its length once it is complete. The bytes of an incomplete one are kept.
    pub(super) fn proxy_header(&mut self, id: SlotId, bytes: &[u8]) -> Option<usize> {
        match proxy_v2(bytes) {
            ProxyHead::Partial => {
                self.keep_head(id, bytes);
                None
            }
            ProxyHead::Complete { length, source } => {
                let stage = self.head_stage(id)?;
                stage.expects = Expects::FirstHead;
                stage.address = source.map_or(stage.address, |source| source.ip().to_canonical());
                Some(length)
            }
            // This peer is no proxy of ours, and gets no answer to learn from.
            ProxyHead::Invalid(fault) => {
                self.out.notices.push(Notice::BadProxyHeader(fault));
                self.kill(id);
                None
            }
        }
    }

    /// Takes bytes of an encrypted peer that must begin with a PROXY header. Returns the bytes after it, which belong to TLS;
    /// `None` if there are none yet.
    pub fn strip_proxy_header(&mut self, id: SlotId, bytes: &[u8]) -> Option<Vec<u8>> {
        let stage = self.head_stage(id)?;
        let mut all = std::mem::take(&mut stage.bytes);
        all.extend_from_slice(bytes);
        let length = self.proxy_header(id, &all)?;
        Some(all.split_off(length)).filter(|rest| !rest.is_empty())
    }

    /// True exactly when a PROXY header must come before anything else.
    pub fn expects_proxy_header(&mut self, id: SlotId) -> bool {
        self.head_stage(id).is_some_and(|stage| stage.expects == Expects::ProxyHeader)
    }
}
