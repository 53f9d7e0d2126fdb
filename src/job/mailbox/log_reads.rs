//! Reads of logs by threads that outlive the store, such as those of the admin listener. They hold no sender of the store's queue,
//! which ends when the last one is dropped.

use super::{MailboxItem, ThreadMailboxes};
use crate::id::ChannelName;
use crate::job::message::{Completion, Form, Page, PageRequest, Read, Span};
use crate::limits::HISTORY_PAGE_BYTES_MAX;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::time::Instant;

impl ThreadMailboxes {
    /// Connects the threads with the reads of the store, until [`ThreadMailboxes::stop`].
    pub fn read_from(&self, queue: Sender<Read>) {
        self.reads.store(Some(Arc::new(queue)));
    }

    /// Reads a part of a log, in [`Form::Json`]. `None` if the store did not answer until the deadline.
    pub fn page(
        self: &Arc<ThreadMailboxes>,
        channel: ChannelName,
        span: Span,
        limit: u32,
        deadline: Instant,
    ) -> Option<Page> {
        let producer = self.open();
        let ticket = producer.ticket()?;
        let (bytes_max, form) = (HISTORY_PAGE_BYTES_MAX, Form::Json);
        let request = PageRequest { ticket, channel, span, limit, bytes_max, form };
        self.reads.load_full()?.send_deadline(Read::Page(request), deadline).ok()?;
        loop {
            match producer.receive(deadline)? {
                MailboxItem::Answer { completion: Completion::Page { outcome, .. }, .. } => {
                    return outcome.ok();
                }
                MailboxItem::Answer { .. } | MailboxItem::Outcome { .. } | MailboxItem::Notice(_) => {}
            }
        }
    }
}
