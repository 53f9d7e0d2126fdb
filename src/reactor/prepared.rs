//! What of a reactor is made before its thread: all that can fail for an operator's reason.

use super::{LISTENER, WAKER};
use crate::job::{Inbox, Mailbox, inbox};
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use std::io;

/// A reactor before its thread: what must not fail later is done here.
pub struct Prepared {
    pub(super) poll: Poll,
    pub(super) listener: TcpListener,
    pub(super) inbox: Inbox,
}

impl Prepared {
    /// Makes the poll and the inbox of a reactor, and registers its listener.
    pub fn new(mut listener: TcpListener) -> io::Result<(Mailbox, Prepared)> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (mailbox, inbox) = inbox(Waker::new(poll.registry(), WAKER)?);
        Ok((mailbox, Prepared { poll, listener, inbox }))
    }
}
