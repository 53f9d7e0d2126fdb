//! The condition of a write to a stream that several instances write.

use crate::wire::stream::{Generation, Position};

/// The time of the last sign of life that is not a piece, in milliseconds of the store's clock. It is only compared for equality,
/// and a stream begins with the time of its publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched(pub u64);

/// The stream as its writer knows it. A write is refused if the store has it otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFence {
    /// The stored generation, which is below that of the write if the write begins one.
    pub generation: Generation,
    /// The position after the last row of that generation.
    pub next: Position,
    /// `None`: it does not matter.
    pub touched: Option<Touched>,
}
