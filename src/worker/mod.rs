//! The second engine: threads that wait, so that reactors need not.

pub mod admin;
pub mod auth;
mod browser;
pub mod bus;
mod line;
pub mod probe;
mod redis;
pub mod store;
pub mod watch;

use crate::job::Mailbox;

/// Wakes a reactor. One that cannot be woken sees what was sent with its next turn.
fn ring(mailbox: &Mailbox) {
    if let Err(error) = mailbox.ring() {
        tracing::error!(%error, "a reactor could not be woken");
    }
}
