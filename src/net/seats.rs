//! The bounded number of connections served at once, each on a thread. A silent peer cannot keep its seat.
//!
//! When all seats are taken, the peer that has been sending its request for longest is disconnected: a request is a packet or two,
//! so a peer that needs longer than the arrival of all others is slow, idle or silent. A peer that is being answered stays; its
//! answer has a deadline.

use parking_lot::{Condvar, Mutex};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

#[derive(Debug)]
pub struct Seats {
    bound: usize,
    taken: Mutex<Taken>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    /// In the order in which they arrived or began to wait again. No two have the same index.
    places: Vec<TakenSeat>,
    numbers: u64,
}

#[derive(Debug)]
struct TakenSeat {
    number: u64,
    index: usize,
    stream: Arc<TcpStream>,
    doing: Doing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// The peer has to send or close.
    Waiting,
    /// The gateway has to answer.
    Answering,
    /// It was disconnected; its thread is about to notice.
    Leaving,
}

/// One seat; dropping it frees it.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    number: u64,
    index: usize,
    stream: Arc<TcpStream>,
}

impl Seats {
    /// This many seats, at least one.
    pub fn new(bound: usize) -> Arc<Seats> {
        Arc::new(Seats { bound: bound.max(1), taken: Mutex::default(), left: Condvar::new() })
    }

    /// Gives a connection a seat, and returns how many peers were disconnected for it. Waits while all are being answered.
    pub fn take(seats: &Arc<Seats>, stream: TcpStream) -> (Seat, u64) {
        let stream = Arc::new(stream);
        let mut turned_out = 0;
        let mut taken = seats.taken.lock();
        while taken.places.len() >= seats.bound {
            let leaves = taken.places.iter().any(|place| place.doing == Doing::Leaving);
            let waits = taken.places.iter_mut().find(|place| place.doing == Doing::Waiting);
            if let (false, Some(place)) = (leaves, waits) {
                place.doing = Doing::Leaving;
                turned_out += 1;
                // Fails if the peer left by itself, which its thread notices as well.
                let _ = place.stream.shutdown(Shutdown::Both);
            }
            seats.left.wait(&mut taken);
        }
        let number = taken.numbers;
        taken.numbers += 1;
        let is_free = |index: &usize| taken.places.iter().all(|place| place.index != *index);
        let index = (0..seats.bound).find(is_free).unwrap_or_default();
        taken.places.push(TakenSeat { number, index, stream: Arc::clone(&stream), doing: Doing::Waiting });
        (Seat { seats: Arc::clone(seats), number, index, stream }, turned_out)
    }
}

impl Seat {
    /// Less than the number of seats; no other taken seat has it.
    pub fn index(&self) -> usize {
        self.index
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The request is complete, or will not come.
    pub fn answers(&self) {
        self.now(Doing::Answering);
    }

    /// The answer is sent; the peer should close the connection or send the next request.
    pub fn waits(&self) {
        self.now(Doing::Waiting);
    }

    fn now(&self, doing: Doing) {
        let mut taken = self.seats.taken.lock();
        let mine = |place: &TakenSeat| place.number == self.number && place.doing != Doing::Leaving;
        if let Some(at) = taken.places.iter().position(mine) {
            let place = taken.places.remove(at);
            taken.places.push(TakenSeat { doing, ..place });
        }
        // A connection that waits for a seat may now have a peer to disconnect.
        self.seats.left.notify_one();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().places.retain(|place| place.number != self.number);
        self.seats.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const SEATS: usize = 8;

    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        (client, listener.accept().expect("it came").0)
    }

    #[test]
    fn peer_that_was_just_answered_is_not_the_one_that_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let seats = Seats::new(2);
        let (_busy, server) = pair(&listener);
        let (busy, _) = Seats::take(&seats, server);
        let (mut idle, server) = pair(&listener);
        let (seat, _) = Seats::take(&seats, server);
        busy.answers();
        busy.waits();
        let (given, taken) = channel();
        let (_client, server) = pair(&listener);
        std::thread::spawn(move || given.send(Seats::take(&seats, server).1).expect("the test waits"));
        assert_eq!(idle.read(&mut [0]).expect("its end"), 0, "it waits for longer");
        drop(seat);
        assert_eq!(taken.recv_timeout(Duration::from_secs(10)), Ok(1));
        assert!(busy.stream().peer_addr().is_ok(), "the busy one is still there");
    }

    #[test]
    fn slowest_peer_is_disconnected_and_answered_peer_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let seats = Seats::new(SEATS);
        let (mut clients, mut held) = (Vec::new(), Vec::new());
        for _ in 0..SEATS {
            let (client, server) = pair(&listener);
            let (seat, turned_out) = Seats::take(&seats, server);
            assert_eq!((turned_out, seat.index()), (0, clients.len()));
            clients.push(client);
            held.push(seat);
        }
        held[0].answers();
        // The thread of the second peer: it reads, and leaves when it is disconnected.
        let silent = held.remove(1);
        let (done, leaves) = channel();
        std::thread::spawn(move || {
            let read = silent.stream().read(&mut [0]);
            done.send(matches!(read, Ok(0))).expect("the test waits");
            drop(silent);
        });
        let (_client, server) = pair(&listener);
        let (given, taken) = channel();
        std::thread::spawn(move || given.send(Seats::take(&seats, server)).expect("the test waits"));
        let (seat, turned_out) = taken.recv_timeout(Duration::from_secs(10)).expect("a place in time");
        assert_eq!((turned_out, seat.index()), (1, 1), "it has the place of the peer that left");
        assert!(leaves.recv_timeout(Duration::from_secs(10)).expect("it left"));
        assert_eq!(clients[1].read_to_end(&mut Vec::new()).expect("an end"), 0);
        clients[0].set_nonblocking(true).expect("a mode can be set");
        assert!(clients[0].read(&mut [0]).is_err(), "the answered peer is still there");
    }
}
