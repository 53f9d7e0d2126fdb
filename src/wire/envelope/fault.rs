//! The faults of messages on the bus.

/// The reason why bytes are not a valid message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeFault {
    /// The message is shorter or longer than it declares.
    Length,
    /// The version is unknown.
    Version,
    /// The kind is not expected here.
    Kind,
    /// The seal is right and the kind unknown: a newer version sent it.
    Unknown,
    /// The seal is not that of an instance of this store.
    Seal,
    /// A frame is not one whole text frame of this channel and offset.
    Frame,
}
