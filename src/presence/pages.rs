//! Pages that wait for the first reading of their roster.

use crate::clock::Moment;
use crate::job::presence::PageReply;
use crate::roster::PageWish;
use std::collections::VecDeque;
use std::time::Duration;

/// The longest wait of a page. Threads that asked for one give up after a second.
const WAIT_MAX: Duration = Duration::from_millis(700);
/// Pages that wait. Further ones are answered with what is known.
const PAGES_MAX: usize = 1_024;

/// A page that was asked for.
#[derive(Debug)]
pub(super) struct WaitingPage {
    pub(super) wish: PageWish,
    pub(super) reply: PageReply,
    /// It is answered then at the latest.
    pub(super) until: Moment,
}

/// The pages that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct WaitingPages(VecDeque<WaitingPage>);

impl WaitingPages {
    /// Lets a page wait; it is returned if too many do.
    pub(super) fn push(&mut self, mut page: WaitingPage, now: Moment) -> Option<WaitingPage> {
        page.until = page.until.min(now + WAIT_MAX);
        if self.0.len() >= PAGES_MAX {
            return Some(page);
        }
        self.0.push_back(page);
        None
    }

    /// The moment at which the first one is answered at the latest.
    pub(super) fn due(&self) -> Option<Moment> {
        self.0.iter().map(|page| page.until).min()
    }

    /// Takes the pages that are late, or that need not wait any more.
    pub(super) fn take(&mut self, now: Moment, mut waits: impl FnMut(&PageWish) -> bool) -> Vec<WaitingPage> {
        let mut ready = Vec::new();
        for page in std::mem::take(&mut self.0) {
            if page.until > now && waits(&page.wish) {
                self.0.push_back(page);
            } else {
                ready.push(page);
            }
        }
        ready
    }
}
