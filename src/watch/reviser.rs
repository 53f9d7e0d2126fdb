//! The sender on which a reload passes a revision to the watch thread.

use super::news::{Asked, WatchNews};
use super::revision::{Revision, Unrevised, Watched};
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use std::time::Duration;

/// The longest wait for the watch thread, which waits for nothing but messages.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A sender of revisions.
#[derive(Clone, Debug)]
pub struct Reviser {
    news: Sender<WatchNews>,
}

impl Reviser {
    pub(super) fn new(news: Sender<WatchNews>) -> Reviser {
        Reviser { news }
    }

    /// Has these dependencies watched, and returns them.
    pub fn revise(&self, revision: Revision) -> Result<Watched, Unrevised> {
        let (reply, answer) = bounded(1);
        let asked = Asked { revision, news: self.news.clone(), reply };
        let sent = self.news.send_timeout(WatchNews::Revised(Box::new(asked)), ANSWER_TIMEOUT);
        sent.map_err(|_| Unrevised::Refused)?;
        answer.recv_timeout(ANSWER_TIMEOUT).map_err(|error| match error {
            RecvTimeoutError::Disconnected => Unrevised::Refused,
            RecvTimeoutError::Timeout => Unrevised::Unanswered,
        })
    }
}
