//! Threads that wait for answers to their jobs, as the server API's do. Reactors never wait.
//!
//! Each such thread has a seat. Its tickets name the seat, the call and the place of the answer in it, so an answer finds its way
//! without a map. A call that was given up has another number, and its late answers are dropped, as in a reactor. But the places that
//! its jobs have in a queue are held until each is answered: a job is in the queue as long as its worker does not answer it.

use super::mailbox::{PRODUCERS, ThreadMailboxes};
use super::message::{Completion, Page, Ticket};
use super::places::TakenPlaces;
use crate::id::ReactorId;
use crate::session::outcome::{AppendError, Appended, ReadError};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// In the tickets of these threads; no reactor has this number.
const CALLERS: ReactorId = ReactorId(u16::MAX);
/// The places of one call: the bits of its number in a ticket.
pub const PLACES_MAX: usize = 1 << 16;
/// After this time a job without an answer is lost: its worker ended. Several times as long as a worker keeps a job in doubt.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// The seats.
#[derive(Debug)]
pub struct Callers {
    seats: Box<[CallSeat]>,
    /// The calls that were given up and whose jobs are not all answered. Each holds a place, so there are never more than places.
    late: Mutex<Vec<LateCall>>,
    producers: Arc<ThreadMailboxes>,
}

/// A call that was given up.
#[derive(Debug)]
struct LateCall {
    /// The ticket of its first place.
    first: u64,
    /// One for each job without an answer.
    places: TakenPlaces,
    given_up: Instant,
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
    callers: &'a Callers,
    seat: &'a CallSeat,
    /// The ticket of the first place.
    first: u64,
    /// Those of its jobs in a queue; `None` if they have no bound of their own.
    places: Option<TakenPlaces>,
}

impl Callers {
    /// Seats for this many threads, at most 65,536.
    pub fn new(seats: usize) -> Callers {
        let seats = (0..seats.min(1 << 16)).map(|_| CallSeat::default()).collect();
        Callers { seats, late: Mutex::default(), producers: Arc::default() }
    }

    /// The mailboxes of threads that produce streams.
    pub fn producers(&self) -> &Arc<ThreadMailboxes> {
        &self.producers
    }

    /// Begins a call of the thread at `seat` with this many answers, at most [`PLACES_MAX`], whose jobs have these places in a
    /// queue. Ends the call before it. `None` if there is no such seat.
    pub fn begin(
        &self,
        seat: usize,
        answers: usize,
        places: Option<TakenPlaces>,
    ) -> Option<CallInProgress<'_>> {
        let here = self.seats.get(seat)?;
        let mut call = here.call.lock();
        call.number = call.number.wrapping_add(1);
        call.answers.clear();
        call.answers.resize_with(answers.min(PLACES_MAX), || None);
        call.left = call.answers.len();
        let first = (seat as u64) << 48 | u64::from(call.number) << 16;
        Some(CallInProgress { callers: self, seat: here, first, places })
    }

    /// Frees the places of jobs that will never be answered.
    pub fn forget_lost(&self, now: Instant) {
        self.late.lock().retain(|call| now.saturating_duration_since(call.given_up) < LOST_AFTER);
    }

    /// Takes an answer to a ticket of [`CallInProgress::ticket`] or of a producer; others are dropped.
    pub fn answer(&self, completion: Completion) {
        let completion = match completion.ticket() {
            Some(ticket) if ticket.reactor == PRODUCERS => return self.producers.answer(ticket, completion),
            Some(_) | None => completion,
        };
        let (ticket, answer) = match completion {
            Completion::Appended { ticket, outcome } => (ticket, CallAnswer::Appended(outcome)),
            Completion::Page { ticket, outcome } => (ticket, CallAnswer::Page(outcome)),
            Completion::Heads { .. }
            | Completion::Followed { .. }
            | Completion::TokenChecked { .. }
            | Completion::AddressChecked { .. }
            | Completion::Presence { .. }
            | Completion::Stream { .. }
            | Completion::StreamRead { .. }
            | Completion::StreamEnded { .. }
            | Completion::Producers(_)
            | Completion::ReportTaken { .. } => return,
        };
        let request = ticket.request;
        let Some(seat) = self.seats.get((request >> 48) as usize) else { return };
        let mut call = seat.call.lock();
        if ticket.reactor != CALLERS {
            return;
        }
        let place = (request & 0xFFFF) as usize;
        if call.number != (request >> 16) as u32 {
            drop(call);
            return self.answer_late(request - place as u64);
        }
        if let Some(slot) = call.answers.get_mut(place)
            && slot.replace(answer).is_none()
        {
            call.left -= 1;
            if call.left == 0 {
                seat.settled.notify_one();
            }
        }
    }

    /// Frees one place of a call that was given up.
    fn answer_late(&self, first: u64) {
        let mut late = self.late.lock();
        let Some(at) = late.iter().position(|call| call.first == first) else { return };
        let Some(call) = late.get_mut(at) else { return };
        call.places.keep(call.places.count().saturating_sub(1));
        if call.places.count() == 0 {
            late.swap_remove(at);
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

    /// Waits until all answers are there, or until the deadline. What is missing then is `None`, and keeps its place.
    pub fn wait(self, deadline: Instant) -> Vec<Option<CallAnswer>> {
        let mut call = self.seat.call.lock();
        while call.left > 0 {
            if self.seat.settled.wait_until(&mut call, deadline).timed_out() {
                break;
            }
        }
        // Later answers find another number, and then the late call.
        call.number = call.number.wrapping_add(1);
        let left = std::mem::take(&mut call.left);
        if let Some(mut places) = self.places
            && left > 0
        {
            places.keep(left);
            self.callers.late.lock().push(LateCall { first: self.first, places, given_up: deadline });
        }
        std::mem::take(&mut call.answers)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test waits on a clock")]
mod tests {
    use super::*;
    use crate::id::{Epoch, Offset};
    use crate::job::places::Places;
    use crate::session::outcome::Attempt;
    use std::time::Duration;

    fn stored(offset: u64) -> Result<Appended, AppendError> {
        Ok(Appended {
            epoch: Epoch(1),
            offset: Offset(offset),
            time_ms: 0,
            attempt: Attempt::First,
            stream: None,
            answer: None,
        })
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
        let call = callers.begin(1, 3, None).expect("a seat");
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
        assert!(callers.begin(2, 1, None).is_none());
    }

    #[test]
    fn late_and_repeated_answers_are_dropped() {
        let callers = Callers::new(1);
        let call = callers.begin(0, 2, None).expect("a seat");
        let (first, late) = (call.ticket(0), call.ticket(1));
        callers.answer(Completion::Appended { ticket: first, outcome: stored(1) });
        callers.answer(Completion::Appended { ticket: first, outcome: stored(9) });
        let answers = call.wait(Instant::now());
        assert_eq!(answers.len(), 2);
        assert!(answers[1].is_none());
        let call = callers.begin(0, 2, None).expect("a seat");
        callers.answer(Completion::Appended { ticket: late, outcome: stored(2) });
        callers.answer(Completion::Appended { ticket: call.ticket(1), outcome: stored(3) });
        call.withdraw(0);
        assert_eq!(offsets(&call.wait(Instant::now() + Duration::from_secs(10))), [None, Some(3)]);
    }
    #[test]
    fn places_of_a_call_that_was_given_up_are_held_until_its_answers_come_or_are_lost() {
        let (callers, places) = (Callers::new(1), Places::new(8, Arc::default()));
        let call = |count| {
            let taken = Places::take(&places, &Arc::from("a"), count, Instant::now());
            callers.begin(0, count, taken).expect("a seat")
        };
        let first = call(4);
        let tickets: Vec<Ticket> = (0..4).map(|place| first.ticket(place)).collect();
        callers.answer(Completion::Appended { ticket: tickets[0], outcome: stored(1) });
        first.withdraw(3);
        first.wait(Instant::now());
        assert_eq!(places.in_use(), 2, "one was answered, one never sent");
        let second = call(1);
        callers.answer(Completion::Appended { ticket: tickets[1], outcome: stored(2) });
        assert_eq!(places.in_use(), 2, "one of each call");
        callers.answer(Completion::Appended { ticket: second.ticket(0), outcome: stored(3) });
        second.wait(Instant::now());
        assert_eq!(places.in_use(), 1);
        callers.forget_lost(Instant::now());
        assert_eq!(places.in_use(), 1, "it may still come");
        callers.forget_lost(Instant::now() + LOST_AFTER);
        callers.answer(Completion::Appended { ticket: tickets[2], outcome: stored(4) });
        assert_eq!(places.in_use(), 0);
    }
}
