//! Signals: data for the live subscribers of a channel, here and on all instances.

use super::server::ApiServer;
use crate::auth::api_key::ApiKey;
use crate::auth::api_meters::ApiUse;
use crate::clock::Now;
use crate::job::Broadcast;
use crate::job::wake::wake;
use crate::wire::api::body::ApiSignal;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::push;
use std::sync::Arc;

impl<C: Fn() -> Now> ApiServer<C> {
    /// Sends a signal.
    pub(super) fn signal(&self, key: &ApiKey, signal: ApiSignal<'_>) -> Result<(), ApiProblem> {
        let ApiSignal { channel, user, data } = signal;
        let forbidden = |detail: String| ApiProblem::lasting(ProblemCode::Forbidden, detail);
        if !key.covers(&channel) {
            return Err(forbidden(format!("the key {:?} has no pattern that matches {channel}", key.name())));
        }
        let author = key.author(user).ok_or_else(|| {
            forbidden(format!("the key {:?} may not name an author; set as_user = true for it", key.name()))
        })?;
        let queues = self.queues()?;
        self.admit(key, ApiUse::Signal)?;
        let mut frame = Vec::with_capacity(data.len() + 96);
        push::signal(&mut frame, &channel, author.as_str(), data);
        let frame: Arc<[u8]> = Arc::from(frame);
        if let Some(bus) = &queues.bus {
            bus.signal(&channel, &frame);
        }
        for mailbox in self.mailboxes.iter() {
            mailbox.offer(Broadcast::Signal { channel: channel.clone(), frame: Arc::clone(&frame) });
            wake(mailbox);
        }
        Ok(())
    }
}
