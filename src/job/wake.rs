//! Waking a reactor after something was sent to it.

use super::Mailbox;

/// Wakes a reactor. If that fails, the reactor sees what was sent on its next turn.
pub fn wake(mailbox: &Mailbox) {
    if let Err(error) = mailbox.wake() {
        tracing::error!(%error, "reactor could not be woken");
    }
}
