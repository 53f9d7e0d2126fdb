//! Commands about one stream that are answered by a commit.

use super::flush::EndFate;
use super::output::StreamOutput;
use super::settings::{RETRY_MS, WAITING_MAX};
use crate::id::ProducerId;
use crate::wire::stream::{
    Generation, Position, ProducerNotice, StreamEnd, StreamFault, StreamId, StreamOutcome, StreamState,
};

/// The event that a command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The commit of everything below this position.
    Append(Generation, Position),
    /// The commit of this generation.
    Restart(Generation),
    /// The commit of a cancel.
    Cancel,
    /// The commit of a later state of an answer than its first.
    Process,
    /// The end that this command asked for.
    End,
    /// The same end, asked for again.
    EndAgain(StreamEnd),
    /// An append after the end that is not committed yet.
    Late,
}

/// A command that waits. Without a ticket it is answered by a notice, and only if it is refused.
#[derive(Clone, Copy, Debug)]
struct WaitingCommand<T> {
    ticket: Option<T>,
    producer: ProducerId,
    wish: Wish,
}

/// The state of a stream after a commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) generation: Generation,
    pub(super) next: Position,
    pub(super) state: StreamState,
}

/// The commands that are refused with pieces that cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// The restart before them is stored, or there was none.
    Pieces,
    WithRestarts,
}

/// Says if pieces wait after a commit: the ones that were taken while it was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PiecesLeft {
    None,
    Some,
}

/// The end of a stream, with the generation and position that it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct FinalState {
    pub(super) generation: Generation,
    pub(super) next: Position,
    pub(super) fate: EndFate,
}

/// The commands that wait, and the producers that have pieces without a ticket.
#[derive(Debug)]
pub(super) struct WaitingList<T> {
    commands: Vec<WaitingCommand<T>>,
    /// To be notified at the next commit.
    unacknowledged: Vec<ProducerId>,
}

impl<T> Default for WaitingList<T> {
    fn default() -> WaitingList<T> {
        WaitingList { commands: Vec::new(), unacknowledged: Vec::new() }
    }
}

impl<T: Copy> WaitingList<T> {
    pub(super) fn has_room(&self) -> bool {
        self.commands.len() < WAITING_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.unacknowledged.is_empty()
    }

    pub(super) fn push(&mut self, ticket: Option<T>, producer: ProducerId, wish: Wish) {
        match (ticket, wish) {
            (None, Wish::Append(..)) => {
                if !self.unacknowledged.contains(&producer) {
                    self.unacknowledged.push(producer);
                }
            }
            // It is refused its next piece anyway.
            (None, Wish::Late) if !self.has_room() => {}
            (None, Wish::Late) if self.commands.iter().any(|known| known.is_same_late(producer)) => {}
            _ => self.commands.push(WaitingCommand { ticket, producer, wish }),
        }
    }

    /// The connection is no producer of the stream any more: it is answered, but not notified.
    pub(super) fn forget_pieces(&mut self, producer: ProducerId) {
        self.unacknowledged.retain(|known| *known != producer);
    }

    /// The connection ended, and with it everything that it waits for.
    pub(super) fn forget(&mut self, producer: ProducerId) {
        self.commands.retain(|waiting| waiting.producer != producer);
        self.forget_pieces(producer);
    }

    /// The generation of what waits was given up: nothing of it will be committed.
    pub(super) fn refuse_stale(
        &mut self,
        id: &StreamId,
        newest: Generation,
        by: ProducerId,
        out: &mut StreamOutput<T>,
    ) {
        let fault = StreamFault::Stale { generation: newest };
        self.commands.retain(|waiting| {
            let is_stale = matches!(waiting.wish, Wish::Append(generation, _) if generation < newest);
            if is_stale {
                out.refuse(waiting.ticket, waiting.producer, id, fault);
            }
            !is_stale
        });
        for producer in self.unacknowledged.drain(..).filter(|producer| *producer != by) {
            out.refuse(None, producer, id, fault);
        }
    }

    /// Refuses the commands that wait, except cancels, because the store has something else.
    pub(super) fn give_up(
        &mut self,
        id: &StreamId,
        fault: StreamFault,
        restarts: GivenUp,
        out: &mut StreamOutput<T>,
    ) {
        self.commands.retain(|waiting| {
            let is_given_up = match waiting.wish {
                Wish::Append(..) | Wish::End | Wish::EndAgain(_) | Wish::Late => true,
                Wish::Restart(_) => restarts == GivenUp::WithRestarts,
                Wish::Cancel | Wish::Process => false,
            };
            if is_given_up {
                out.refuse(waiting.ticket, waiting.producer, id, fault);
            }
            !is_given_up
        });
        for producer in self.unacknowledged.drain(..) {
            out.refuse(None, producer, id, fault);
        }
    }

    /// The end that was asked for is not at the end of the text any more.
    pub(super) fn refuse_end(&mut self, id: &StreamId, fault: StreamFault, out: &mut StreamOutput<T>) {
        self.commands.retain(|waiting| {
            let is_end = matches!(waiting.wish, Wish::End);
            if is_end {
                out.refuse(waiting.ticket, waiting.producer, id, fault);
            }
            !is_end
        });
    }

    /// Answers what a commit has fulfilled.
    pub(super) fn committed(
        &mut self,
        id: &StreamId,
        reached: Reached,
        left: PiecesLeft,
        out: &mut StreamOutput<T>,
    ) {
        let Reached { generation, next, state } = reached;
        self.commands.retain(|waiting| {
            let outcome = match waiting.wish {
                Wish::Append(of, at) if of == generation && at <= next => {
                    StreamOutcome::Appended { generation, next }
                }
                Wish::Restart(of) if of <= generation => {
                    StreamOutcome::Restarted { generation, next: Position::ZERO }
                }
                Wish::Cancel | Wish::Process if state == StreamState::Cancelling => StreamOutcome::Cancelling,
                Wish::Process if state != StreamState::Accepted => StreamOutcome::Processing { generation },
                Wish::Append(..)
                | Wish::Restart(_)
                | Wish::Cancel
                | Wish::Process
                | Wish::End
                | Wish::EndAgain(_)
                | Wish::Late => return true,
            };
            out.replies.extend(waiting.ticket.map(|ticket| (ticket, outcome)));
            false
        });
        self.acknowledge(id, generation, next, out);
        if left == PiecesLeft::None {
            self.unacknowledged.clear();
        }
    }

    /// Notifies the producers of pieces without a ticket.
    fn acknowledge(&self, id: &StreamId, generation: Generation, next: Position, out: &mut StreamOutput<T>) {
        let notices = self
            .unacknowledged
            .iter()
            .map(|producer| (*producer, ProducerNotice::Appended { id: id.clone(), generation, next }));
        out.notices.extend(notices);
    }

    /// The stream has ended as its last order asked; everything below `next` is in the end.
    pub(super) fn ended(self, id: &StreamId, ended: FinalState, out: &mut StreamOutput<T>) {
        let FinalState { generation, next, fate } = ended;
        let EndFate { end, edit } = fate;
        self.acknowledge(id, generation, next, out);
        for waiting in self.commands {
            let outcome = match waiting.wish {
                Wish::Append(of, _) if of == generation => StreamOutcome::Appended { generation, next },
                Wish::Restart(_) => StreamOutcome::Restarted { generation, next: Position::ZERO },
                Wish::End => StreamOutcome::Ended { edit, end, duplicate: false },
                Wish::Append(..) | Wish::Cancel | Wish::Process | Wish::EndAgain(_) | Wish::Late => {
                    waiting.after_end(id, fate, out);
                    continue;
                }
            };
            out.replies.extend(waiting.ticket.map(|ticket| (ticket, outcome)));
        }
    }

    /// The end that was asked for here was not the first: the same one is as good.
    pub(super) fn end_again(&mut self, end: StreamEnd) {
        for waiting in &mut self.commands {
            if waiting.wish == Wish::End {
                waiting.wish = Wish::EndAgain(end);
            }
        }
    }

    /// The stream has ended in another way, without what waits. Its producers are notified.
    pub(super) fn cut_off(
        self,
        id: &StreamId,
        fate: EndFate,
        producers: &[ProducerId],
        out: &mut StreamOutput<T>,
    ) {
        let fault = StreamFault::AlreadyEnded { end: fate.end, edit: fate.edit };
        for producer in producers {
            out.refuse(None, *producer, id, fault);
        }
        for waiting in self.commands {
            waiting.after_end(id, fate, out);
        }
    }

    /// The end that these commands found was not committed, and will not be: they are to be sent again.
    pub(super) fn refuse_after_end(&mut self, id: &StreamId, state: StreamState, out: &mut StreamOutput<T>) {
        self.commands.retain(|waiting| {
            let is_after_end = match waiting.wish {
                Wish::EndAgain(_) | Wish::Late => true,
                // It came while the stream was ending anyway, so nothing else carries it out.
                Wish::Cancel => state != StreamState::Cancelling,
                Wish::Process => state == StreamState::Accepted,
                Wish::Append(..) | Wish::Restart(_) | Wish::End => false,
            };
            if is_after_end {
                let fault = StreamFault::Overloaded { retry_ms: RETRY_MS };
                out.refuse(waiting.ticket, waiting.producer, id, fault);
            }
            !is_after_end
        });
    }
}

impl<T: Copy> WaitingCommand<T> {
    fn is_same_late(&self, producer: ProducerId) -> bool {
        self.producer == producer && self.ticket.is_none() && self.wish == Wish::Late
    }

    /// Answers a command that the end was faster than.
    fn after_end(self, id: &StreamId, fate: EndFate, out: &mut StreamOutput<T>) {
        let EndFate { end, edit } = fate;
        let is_fulfilled = match self.wish {
            Wish::Cancel => true,
            Wish::EndAgain(asked) => asked == end,
            Wish::Append(..) | Wish::Restart(_) | Wish::Process | Wish::End | Wish::Late => false,
        };
        match (is_fulfilled, self.ticket) {
            (true, Some(ticket)) => {
                out.replies.push((ticket, StreamOutcome::Ended { edit, end, duplicate: true }));
            }
            (true, None) => {}
            (false, ticket) => {
                out.refuse(ticket, self.producer, id, StreamFault::AlreadyEnded { end, edit });
            }
        }
    }
}
