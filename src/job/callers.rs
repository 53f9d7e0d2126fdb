//! Threads that wait for answers to their jobs, as the server API's do. Reactors never wait.
//!
//! Each such thread has a seat. Its tickets name the seat, the call and the place of the answer in it, so an answer finds its way
//! without a map. A call that was given up has another number, and its late answers are dropped, as in a reactor.

use super::message::{Completion, Page, Ticket};
use crate::id::ReactorId;
use crate::session::outcome::{AppendError, Appended, ReadError};
use parking_lot::{Condvar, Mutex};
use std::time::Instant;

/// In the tickets of these threads; no reactor has this number.
const CALLERS: ReactorId = ReactorId(u16::MAX);
/// The places of one call: the bits of its number in a ticket.
pub const PLACES_MAX: usize = 1 << 16;

/// The seats.
#[derive(Debug)]
pub struct Callers {
    seats: Box<[CallSeat]>,
}

#[derive(Debug, Default)]
struct CallSeat {
    call: Mutex<SeatCall>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct SeatCall {
    number: u32,
    answers: Vec<Option<CallAnswer>>,
    /// Answers that have not come.
    left: usize,
}

/// An answer to a thread that waits.
#[derive(Debug)]
pub enum CallAnswer {
    Appended(Result<Appended, AppendError>),
    Page(Result<Page, ReadError>),
}

/// A call in progress: jobs of one thread whose answers it waits for.
#[derive(Debug)]
pub struct CallInProgress<'a> {
    seat: &'a CallSeat,
    /// The ticket of the first place.
    first: u64,
}

impl Callers {
    /// Seats for this many threads, at most 65,536.
    pub fn new(seats: usize) -> Callers {
        Callers { seats: (0..seats.min(1 << 16)).map(|_| CallSeat::default()).collect() }
    }

    /// Begins a call of the thread at `seat` with this many answers, at most [`PLACES_MAX`]. Ends the call before it. `None` if there
    /// is no such seat.
    pub fn begin(&self, seat: usize, answers: usize) -> Option<CallInProgress<'_>> {
        let here = self.seats.get(seat)?;
        let mut call = here.call.lock();
        call.number = call.number.wrapping_add(1);
        call.answers.clear();
        call.answers.resize_with(answers.min(PLACES_MAX), || None);
        call.left = call.answers.len();
        let first = (seat as u64) << 48 | u64::from(call.number) << 16;
        Some(CallInProgress { seat: here, first })
    }

    /// Takes an answer to a ticket of [`CallInProgress::ticket`]; others are dropped.
    pub fn answer(&self, completion: Completion) {
        let (ticket, answer) = match completion {
            Completion::Appended { ticket, outcome } => (ticket, CallAnswer::Appended(outcome)),
            Completion::Page { ticket, outcome } => (ticket, CallAnswer::Page(outcome)),
            Completion::Heads { .. }
            | Completion::Followed { .. }
            | Completion::TokenChecked { .. }
            | Completion::AddressChecked { .. } => return,
        };
        let request = ticket.request;
        let Some(seat) = self.seats.get((request >> 48) as usize) else { return };
        let mut call = seat.call.lock();
        if ticket.reactor != CALLERS || call.number != (request >> 16) as u32 {
            return;
        }
        let place = (request & 0xFFFF) as usize;
        if let Some(slot) = call.answers.get_mut(place)
            && slot.replace(answer).is_none()
        {
            call.left -= 1;
            if call.left == 0 {
                seat.settled.notify_one();
            }
        }
    }
}

impl CallInProgress<'_> {
    /// The ticket of the answer at this place.
    pub fn ticket(&self, place: usize) -> Ticket {
        Ticket { reactor: CALLERS, request: self.first | (place as u64 & 0xFFFF) }
    }

    /// Notes that no answer will come at this place.
    pub fn withdraw(&self, place: usize) {
        let mut call = self.seat.call.lock();
        if call.answers.get(place).is_some_and(Option::is_none) {
            call.left = call.left.saturating_sub(1);
        }
    }

    /// Waits until all answers are there, or until the deadline. What is missing then is `None`.
    pub fn wait(self, deadline: Instant) -> Vec<Option<CallAnswer>> {
        let mut call = self.seat.call.lock();
        while call.left > 0 {
            if self.seat.settled.wait_until(&mut call, deadline).timed_out() {
                break;
            }
        }
        // Later answers find another number.
        call.number = call.number.wrapping_add(1);
        call.left = 0;
        std::mem::take(&mut call.answers)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test waits on a clock")]
mod tests {
    use super::*;
    use crate::id::{Epoch, Offset};
    use crate::session::outcome::Attempt;
    use std::sync::Arc;
    use std::time::Duration;

    fn stored(offset: u64) -> Result<Appended, AppendError> {
        Ok(Appended { epoch: Epoch(1), offset: Offset(offset), time_ms: 0, attempt: Attempt::First })
    }

    fn offsets(answers: &[Option<CallAnswer>]) -> Vec<Option<u64>> {
        let offset = |answer: &Option<CallAnswer>| match answer {
            Some(CallAnswer::Appended(Ok(appended))) => Some(appended.offset.0),
            Some(CallAnswer::Appended(Err(_)) | CallAnswer::Page(_)) | None => None,
        };
        answers.iter().map(offset).collect()
    }

    #[test]
    fn answers_reach_their_places_in_any_order() {
        let callers = Arc::new(Callers::new(2));
        let call = callers.begin(1, 3).expect("a seat");
        let tickets: Vec<Ticket> = (0..3).map(|place| call.ticket(place)).collect();
        let others = Arc::clone(&callers);
        let answering = std::thread::spawn(move || {
            for (place, ticket) in tickets.into_iter().enumerate().rev() {
                others.answer(Completion::Appended { ticket, outcome: stored(place as u64) });
            }
        });
        let answers = call.wait(Instant::now() + Duration::from_secs(10));
        answering.join().expect("no panic");
        assert_eq!(offsets(&answers), [Some(0), Some(1), Some(2)]);
        assert!(callers.begin(2, 1).is_none());
    }

    #[test]
    fn late_and_repeated_answers_are_dropped() {
        let callers = Callers::new(1);
        let call = callers.begin(0, 2).expect("a seat");
        let (first, late) = (call.ticket(0), call.ticket(1));
        callers.answer(Completion::Appended { ticket: first, outcome: stored(1) });
        callers.answer(Completion::Appended { ticket: first, outcome: stored(9) });
        let answers = call.wait(Instant::now());
        assert_eq!(answers.len(), 2);
        assert!(answers[1].is_none());
        let call = callers.begin(0, 2).expect("a seat");
        callers.answer(Completion::Appended { ticket: late, outcome: stored(2) });
        callers.answer(Completion::Appended { ticket: call.ticket(1), outcome: stored(3) });
        call.withdraw(0);
        assert_eq!(offsets(&call.wait(Instant::now() + Duration::from_secs(10))), [None, Some(3)]);
    }
}
