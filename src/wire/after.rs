//! The state of a connection after an HTTP answer.

/// The state of the connection after an answer (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another request may follow.
    KeepAlive,
    /// The server closes it.
    Close,
}
