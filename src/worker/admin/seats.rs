//! Who is served at once: few, each on a thread, and nobody can keep a place by saying nothing.
//!
//! When all places are taken, the one who has been asking for longest is shown out: a request is one packet, and who needs
//! longer than seven others are here is slow or silent. Who is being answered stays: that ends by a deadline of ours.

use parking_lot::{Condvar, Mutex};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

/// Connections at once.
pub(super) const SEATS: usize = 8;

/// All places.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<Taken>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    /// In the order in which they came.
    places: Vec<Place>,
    numbers: u64,
}

#[derive(Debug)]
struct Place {
    number: u64,
    stream: Arc<TcpStream>,
    doing: Doing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// The peer has to say or do something.
    Waiting,
    /// We have.
    Answering,
    /// It was shown out; its thread is about to see that.
    Leaving,
}

/// One place; dropping it frees it.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    stream: Arc<TcpStream>,
}

impl Seats {
    /// Gives a connection a place, and says how many were shown out for it. Waits where all are being answered.
    pub(super) fn take(seats: &Arc<Seats>, stream: TcpStream) -> (Seat, u64) {
        let stream = Arc::new(stream);
        let mut turned_out = 0;
        let mut taken = seats.taken.lock();
        while taken.places.len() >= SEATS {
            let leaves = taken.places.iter().any(|place| place.doing == Doing::Leaving);
            let waits = taken.places.iter_mut().find(|place| place.doing == Doing::Waiting);
            if let (false, Some(place)) = (leaves, waits) {
                place.doing = Doing::Leaving;
                turned_out += 1;
                // Fails where the peer has gone by itself: its thread sees that as well.
                let _ = place.stream.shutdown(Shutdown::Both);
            }
            seats.left.wait(&mut taken);
        }
        let number = taken.numbers;
        taken.numbers += 1;
        taken.places.push(Place { number, stream: Arc::clone(&stream), doing: Doing::Waiting });
        (Seat { seats: Arc::clone(seats), number, stream }, turned_out)
    }
}

impl Seat {
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The request is there, or will not come.
    pub(super) fn answers(&self) {
        self.now(Doing::Answering);
    }

    /// The answer is on its way; the peer is to end the connection.
    pub(super) fn lingers(&self) {
        self.now(Doing::Waiting);
    }

    fn now(&self, doing: Doing) {
        let mut taken = self.seats.taken.lock();
        if let Some(place) = taken.places.iter_mut().find(|place| place.number == self.number)
            && place.doing != Doing::Leaving
        {
            place.doing = doing;
        }
        // Who waits for a place may now have somebody to show out.
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

    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        (client, listener.accept().expect("it came").0)
    }

    #[test]
    fn who_asks_for_longest_is_shown_out_and_who_is_answered_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let seats = Arc::new(Seats::default());
        let (mut clients, mut held) = (Vec::new(), Vec::new());
        for _ in 0..SEATS {
            let (client, server) = pair(&listener);
            let (seat, turned_out) = Seats::take(&seats, server);
            assert_eq!(turned_out, 0);
            clients.push(client);
            held.push(seat);
        }
        held[0].answers();
        // The thread of the second one: it reads, and leaves when it is shown out.
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
        let (_seat, turned_out) = taken.recv_timeout(Duration::from_secs(10)).expect("a place in time");
        assert_eq!(turned_out, 1);
        assert!(leaves.recv_timeout(Duration::from_secs(10)).expect("it left"));
        assert_eq!(clients[1].read_to_end(&mut Vec::new()).expect("an end"), 0);
        clients[0].set_nonblocking(true).expect("a mode can be set");
        assert!(clients[0].read(&mut [0]).is_err(), "the one who is answered is still there");
    }
}
