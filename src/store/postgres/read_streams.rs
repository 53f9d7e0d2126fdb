//! Reads of open streams. They are always answered from the store, because another instance may be ahead of what this one has of a stream.

use super::connection::StoreConnection;
use super::epoch::KnownEpoch;
use super::fault::CallFault;
use super::streams;
use crate::job::{Completion, ReadError, StreamRequest};
use crate::metrics::store::bump;
use crate::metrics::streams::StreamCounters;
use crate::store::stream_frame;
use crate::stream::{EndFate, Loaded, LoadedStream};
use crate::wire::stream::StreamId;

/// The result of a read.
pub(super) enum FoundStreams {
    Open(Vec<LoadedStream>),
    /// The only stream that was asked for has ended.
    Ended(EndFate),
}

pub(super) fn read(
    connection: &mut StoreConnection,
    epoch: &KnownEpoch,
    at_once: usize,
    request: &StreamRequest,
) -> Result<FoundStreams, CallFault> {
    let Some(offset) = request.offset else {
        return streams::read_open(connection, epoch, &request.channel, at_once).map(FoundStreams::Open);
    };
    let id = StreamId { channel: request.channel.clone(), offset };
    Ok(match streams::read_one(connection, epoch, &id)? {
        Some(Loaded::Open(stream)) => FoundStreams::Open(vec![*stream]),
        Some(Loaded::Ended(fate, _)) => FoundStreams::Ended(fate),
        Some(Loaded::Absent) | None => FoundStreams::Open(Vec::new()),
    })
}

/// The answer to a request. A stream with a part that cannot be read is not in it.
pub(super) fn completion(
    request: &StreamRequest,
    found: Result<FoundStreams, ReadError>,
    counters: &StreamCounters,
) -> Completion {
    let ticket = request.ticket;
    let open = match found {
        Ok(FoundStreams::Open(open)) => open,
        Ok(FoundStreams::Ended(EndFate { end, edit })) => {
            return Completion::StreamEnded { ticket, end, edit };
        }
        Err(error) => return Completion::StreamRead { ticket, outcome: Err(error) },
    };
    let frame = |loaded: LoadedStream| {
        let id = loaded.stream.id.clone();
        let shared = loaded.shared().inspect_err(|fault| {
            tracing::error!(channel = %id.channel, begin = id.offset.0, ?fault, "part of a stream not read");
        });
        let whole = stream_frame::whole(id, &shared.ok()?, request.known);
        bump(if whole.is_from_beginning { &counters.whole_frames } else { &counters.holes });
        Some(whole.stream)
    };
    Completion::StreamRead { ticket, outcome: Ok(open.into_iter().filter_map(frame).collect()) }
}
