//! The end of a stream, as the log has it.

use crate::stream::EndFate;

/// An end that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrittenEnd {
    pub(crate) fate: EndFate,
    /// The time of its edit, in Unix milliseconds; `None`: the edit is not this flush's, because the stream had ended before.
    pub(crate) time_ms: Option<u64>,
}
