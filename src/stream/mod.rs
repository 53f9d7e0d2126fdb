//! Open streams: publications that grow piece by piece until an edit ends them.
//!
//! The [`Ledger`] belongs to the store's writer. It decides; the writer commits. Its methods are of three kinds:
//!
//! - **orders** of producers and users: [`begin`](Ledger::begin), [`attach`](Ledger::attach), [`detach`](Ledger::detach),
//!   [`take`](Ledger::take), [`restart`](Ledger::restart), [`end`](Ledger::end), [`cancel`](Ledger::cancel);
//! - **orders** of the relay about [answers](Ledger::process);
//! - **flushes**: at [`due`](Ledger::due) the writer calls [`cut`](Ledger::cut), commits what it gets, and returns it to
//!   [`settled`](Ledger::settled) or [`failed`](Ledger::failed);
//! - **the store's own news**: [`restore`](Ledger::restore) and [`restore_part`](Ledger::restore_part) after a start,
//!   [`ended`](Ledger::ended) for an edit or delete of the begin, [`forget`](Ledger::forget) for a begin that was not committed.
//!
//! A store of [several instances](Ledger::of_several) may refuse what a flush has, because another instance was first. The stream is
//! then [behind](Ledger::behind): the writer loads it and gives it to [`loaded`](Ledger::loaded), which shows what is new, and keeps what
//! waits if it still adjoins. A stream that is not open here is taken over only if there is [room](Ledger::has_room_for) for it. [`looked`](Ledger::looked) finds what others did while nothing was written here.
//!
//! Replies, notices and pushes go into a [`StreamOutput`] of the caller. Nothing about a piece goes there before its commit, so
//! readers see only the beginning of the stored text, and an acknowledged piece is stored (`docs/streams.md`).
//!
//! Nothing here reads a clock. The bounds are in [`StreamSettings`], each with a share for one user.

mod adoption;
mod answer;
mod channel_share;
mod deadline;
mod divide;
mod elsewhere;
mod ending;
mod facts;
mod fate;
mod fence;
mod flush;
mod flushing;
mod frames;
mod grid;
mod ledger;
mod open;
mod order;
mod orders;
mod output;
mod part;
mod pieces;
mod producers;
mod reconcile;
mod reload;
mod restore;
mod settings;
mod share;
mod silence;
mod size;
#[cfg(test)]
mod tests;
mod text;
mod waiting;

pub use adoption::Adoption;
pub use facts::AnswerFact;
pub use fate::{
    FlushFates, Loaded, LoadedStream, RestartFate, RowFate, StateFate, StoredEndFate, StreamFence,
    StreamLook, Touched,
};
pub use flush::{EndFate, EndRow, Flush, RestartRow, StateRow};
pub use ledger::{Ledger, SharedStream};
pub use order::{CancelRight, Known, StoredStream, StreamAppend, StreamBegin, StreamFinish, StreamSender};
pub use output::{CancelledAnswer, CancelledBy, StreamOutput};
pub use part::{PartFault, PartRow, decode};
pub use pieces::{PieceEntry, Pieces, StreamEvent};
pub use settings::StreamSettings;
pub use silence::{OverdueStream, SilenceWatch, SilentPart, SilentStream};
pub use text::StreamText;
