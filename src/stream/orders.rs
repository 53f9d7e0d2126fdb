//! Orders about a stream: pieces, restarts, ends and cancels. Each is answered when it is committed, or refused at once.

use super::flush::EndFate;
use super::grid::FlushUrgency;
use super::ledger::Ledger;
use super::open::{Examined, FlushList, PendingEnd, StreamEnder};
use super::order::{CancelRight, Known, StreamAppend, StreamFinish, StreamSender};
use super::output::StreamOutput;
use super::settings::{EVENT_BYTES, RETRY_MS};
use super::waiting::Wish;
use crate::clock::Moment;
use crate::id::ProducerId;
use crate::wire::stream::{
    Generation, Piece, Position, ProducerNotice, StreamFault, StreamId, StreamOutcome, StreamState,
};

impl<T: Copy> Ledger<T> {
    /// Takes a piece. What is there already is dropped, and an overlap is cut.
    pub fn take(
        &mut self,
        id: &StreamId,
        sender: StreamSender<'_, T>,
        append: StreamAppend,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) -> Known {
        let Some(stream) = self.streams.get_mut(id) else { return Known::No };
        let StreamSender { producer, ticket, .. } = sender;
        let had_text = !matches!(stream.state, StreamState::Accepted | StreamState::Processing);
        let examined = stream.admit(&sender).and_then(|()| stream.examine(append));
        let taken = match examined {
            Err(fault) => Err(fault),
            Ok(Examined::Late) => {
                stream.waiting.push(ticket, producer, Wish::Late);
                Ok(())
            }
            Ok(Examined::Known(end)) => {
                self.greet(id, producer, now, out);
                self.touch_in_time(id, now);
                self.acknowledge_known(id, end, producer, ticket, out);
                Ok(())
            }
            Ok(Examined::New(piece)) => {
                if stream.producers.contains(&producer) {
                    stream.clocks.sign = now;
                } else {
                    self.greet(id, producer, now, out);
                }
                self.add(id, piece, (producer, ticket), now, out).map(|()| {
                    if !had_text {
                        self.note_text(id, now);
                    }
                })
            }
        };
        if let Err(fault) = taken {
            out.refuse(ticket, producer, id, fault);
        }
        Known::Open
    }

    /// Adds a piece, has its commit answered, and its producer pause if too much waits. It is the path of each token, so it looks the stream
    /// up once.
    fn add(
        &mut self,
        id: &StreamId,
        piece: Piece,
        (producer, ticket): (ProducerId, Option<T>),
        now: Moment,
        out: &mut StreamOutput<T>,
    ) -> Result<(), StreamFault> {
        let Ledger { streams, shares, settings, grid, list, urgency, producers, .. } = self;
        let overloaded = StreamFault::Overloaded { retry_ms: RETRY_MS };
        let stream = streams.get_mut(id).ok_or(StreamFault::NotFound)?;
        let bytes = match &piece {
            Piece::Text(text) => text.len(),
            Piece::Event { data, .. } => data.len() + EVENT_BYTES,
            Piece::Alive => 0,
        };
        // Its socket pauses at the window, but what was read from it may arrive still.
        let waiting = stream.counted.waiting;
        let fits = waiting == 0 || waiting + bytes <= settings.window_bytes * 2;
        if !fits || !shares.admits_piece(stream.payer(), bytes, settings) {
            return Err(overloaded);
        }
        stream.push(piece, settings)?;
        stream.recount(shares);
        if stream.listed != FlushList::Later {
            let was_quiet = stream.cut_at.is_none_or(|cut_at| now.since(cut_at) >= grid.window());
            *urgency = (*urgency).max(if was_quiet { FlushUrgency::Early } else { FlushUrgency::Window });
            stream.join_list(id, list);
        }
        stream.waiting.push(ticket, producer, Wish::Append(stream.head, stream.next()));
        let is_full =
            stream.counted.waiting > settings.window_bytes || shares.is_full(stream.payer(), settings);
        if is_full && producers.pause(producer) {
            out.notices.push((producer, ProducerNotice::Pause));
        }
        Ok(())
    }

    /// Answers a repeat: at once if it is committed, but without a ticket only once in a flush.
    fn acknowledge_known(
        &mut self,
        id: &StreamId,
        end: Position,
        producer: ProducerId,
        ticket: Option<T>,
        out: &mut StreamOutput<T>,
    ) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (generation, next) = (stream.head, stream.committed_next());
        let is_committed = stream.generation == generation && end <= next;
        match ticket {
            Some(ticket) if is_committed => {
                out.replies.push((ticket, StreamOutcome::Appended { generation, next }));
            }
            ticket => {
                stream.waiting.push(ticket, producer, Wish::Append(generation, end));
                self.list(id, FlushUrgency::Window);
            }
        }
    }

    /// Begins the next generation. What waits of the newest one is given up. Refused if too much was given up already.
    pub fn restart(
        &mut self,
        id: &StreamId,
        sender: StreamSender<'_, T>,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) -> Known {
        let Some(stream) = self.streams.get_mut(id) else { return Known::No };
        let StreamSender { producer, ticket, .. } = sender;
        if let Err(fault) = stream.admit(&sender) {
            out.refuse(ticket, producer, id, fault);
            return Known::Open;
        }
        if stream.ending.is_some() {
            stream.waiting.push(ticket, producer, Wish::Late);
            return Known::Open;
        }
        if let Err(fault) = stream.restart(&self.settings) {
            out.refuse(ticket, producer, id, fault);
            return Known::Open;
        }
        let newest: Generation = stream.head;
        stream.waiting.refuse_stale(id, newest, producer, out);
        stream.waiting.push(ticket, producer, Wish::Restart(newest));
        // The relay does so before it repeats a request, and writes nothing.
        if !matches!(stream.state, StreamState::Accepted | StreamState::Processing) {
            self.greet(id, producer, now, out);
        }
        self.recount(id);
        self.list(id, FlushUrgency::Early);
        Known::Open
    }

    /// Ends a stream, at the end of its text.
    pub fn end(
        &mut self,
        id: &StreamId,
        sender: StreamSender<'_, T>,
        finish: StreamFinish,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) -> Known {
        let Some(stream) = self.streams.get_mut(id) else { return Known::No };
        let StreamSender { producer, ticket, .. } = sender;
        let bound = self.settings.message_bytes;
        let checked = stream.admit(&sender).and_then(|()| match &finish.data {
            _ if stream.ending.is_some() => Ok(()),
            Some(data) if data.len() > bound => Err(StreamFault::TooLarge),
            Some(_) | None => {
                stream.check_generation(finish.generation).and_then(|()| stream.check_end(finish.at))
            }
        });
        match checked {
            Err(fault) => out.refuse(ticket, producer, id, fault),
            Ok(()) if stream.ending.is_some() => {
                stream.waiting.push(ticket, producer, Wish::EndAgain(finish.end));
            }
            Ok(()) => {
                let StreamFinish { at, end, data, .. } = finish;
                stream.ending = Some(PendingEnd { end, at, by: StreamEnder::Producer(data) });
                stream.waiting.push(ticket, producer, Wish::End);
                self.greet(id, producer, now, out);
                self.list(id, FlushUrgency::Early);
            }
        }
        Known::Open
    }

    /// Asks the producer to end a stream. The gateway ends it if the producer does not.
    pub fn cancel(
        &mut self,
        id: &StreamId,
        sender: StreamSender<'_, T>,
        right: CancelRight,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) -> Known {
        let Some(stream) = self.streams.get_mut(id) else { return Known::No };
        let StreamSender { producer, user, ticket } = sender;
        let is_own = *user == stream.author || stream.options.asker.as_ref() == Some(user);
        let checked = match is_own || right == CancelRight::All {
            true => stream.admit_waiting(&sender),
            false => Err(StreamFault::NotAuthor),
        };
        if let Err(fault) = checked {
            out.refuse(ticket, producer, id, fault);
            return Known::Open;
        }
        if stream.committed_state == StreamState::Cancelling && stream.ending.is_none() {
            out.replies.extend(ticket.map(|ticket| (ticket, StreamOutcome::Cancelling)));
            return Known::Open;
        }
        stream.waiting.push(ticket, producer, Wish::Cancel);
        if stream.ending.is_none() && stream.clocks.cancel_end.is_none() {
            self.stop(id, user, now);
        }
        Known::Open
    }

    /// An edit or delete of the begin, which is committed, has ended a stream. What waits is lost.
    pub fn ended(&mut self, id: &StreamId, fate: EndFate, out: &mut StreamOutput<T>) -> Known {
        if !self.has(id) {
            return Known::No;
        }
        self.cut_off(id, fate, out);
        // Perhaps nothing else waits, and so no commit follows.
        self.resume(out);
        Known::Open
    }
}
