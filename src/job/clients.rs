//! Ends and returns of clients on their way from the reactors to the thread `clients`.

use crate::slo::returns::ClientReturn;
use crossbeam_channel::{Receiver, Sender, bounded};

/// Events that wait. The thread takes them four times a second.
const CLIENT_EVENTS_MAX: usize = 16_384;

/// One event.
#[derive(Debug)]
pub enum ClientEvent {
    /// A connection that was `connected` ended with this close code; 1006 if there was no close frame.
    Ended { connection: u64, code: u16 },
    /// A client that had a connection before is connected again.
    Returned(Box<ClientReturn>),
}

/// The queue of events. What does not fit is dropped and counted: it only makes a return unproven.
pub fn client_events() -> (Sender<ClientEvent>, Receiver<ClientEvent>) {
    bounded(CLIENT_EVENTS_MAX)
}
