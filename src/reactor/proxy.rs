//! The PROXY header of a load balancer: before everything else, TLS included, and always in plain.

use super::Reactor;
use super::connection::Expects;
use super::slots::SlotId;
use crate::wire::proxy::{ProxyHead, proxy_v2};

impl Reactor {
    /// Reads the PROXY header in front of everything else; its length once it is complete. The bytes of one that is not
    /// are kept.
    pub(super) fn proxy_header(&mut self, id: SlotId, bytes: &[u8]) -> Option<usize> {
        match proxy_v2(bytes) {
            ProxyHead::Partial => {
                self.keep_head(id, bytes);
                None
            }
            ProxyHead::Complete { length, source } => {
                let stage = self.head_stage(id)?;
                stage.expects = Expects::FirstHead;
                stage.peer = source.map_or(stage.peer, |source| source.ip().to_canonical());
                Some(length)
            }
            // Whoever speaks here is no proxy of ours; it gets no answer to learn from.
            ProxyHead::Invalid(fault) => {
                tracing::warn!(fault = fault.text(), "a connection without a good PROXY header is dropped");
                self.kill(id);
                None
            }
        }
    }

    /// What was kept of a head.
    pub(super) fn take_head_bytes(&mut self, id: SlotId) -> Vec<u8> {
        self.head_stage(id).map(|stage| std::mem::take(&mut stage.bytes)).unwrap_or_default()
    }
}
