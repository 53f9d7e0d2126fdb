//! The bounded number of connections served at once, each on a thread. A silent peer cannot keep its seat.
//!
//! When all seats are taken, the peer that has been sending its request for longest is disconnected: a request is a packet or two,
//! so a peer that needs longer than the arrival of all others is slow, idle or silent. If peers are known to belong to parties, one of
//! the party with the most seats leaves. A peer that is being answered stays; its answer has a deadline.

use parking_lot::{Condvar, Mutex};
use std::cmp::Reverse;
use std::collections::BTreeMap;
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
    /// The party of its last request; `None` before the first.
    party: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// The peer has to send or close.
    Waiting,
    /// The gateway has to answer.
    Answering,
    /// The gateway carries out the request of its party.
    Serving,
    /// It was disconnected; its thread is about to notice.
    Leaving,
}

/// The seats of a party whose requests are in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatShare {
    /// Its share has room for this request.
    Room,
    /// Others need the rest.
    UsedUp,
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
            let next = next_to_leave(&taken.places).and_then(|at| taken.places.get_mut(at));
            if let (false, Some(place)) = (leaves, next) {
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
        let (doing, party) = (Doing::Waiting, None);
        taken.places.push(TakenSeat { number, index, stream: Arc::clone(&stream), doing, party });
        (Seat { seats: Arc::clone(seats), number, index, stream }, turned_out)
    }
}

/// The peer that gives way: the first one that waits, of the party with the most seats.
fn next_to_leave(places: &[TakenSeat]) -> Option<usize> {
    let mut seats: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for place in places {
        *seats.entry(place.party.as_deref()).or_default() += 1;
    }
    let waiting = places.iter().enumerate().filter(|(_, place)| place.doing == Doing::Waiting);
    waiting.max_by_key(|(at, place)| (seats.get(&place.party.as_deref()), Reverse(*at))).map(|(at, _)| at)
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

    /// Notes the party of a request that is being answered. Its share is used up if it has `share` in progress.
    pub fn serves(&self, party: &Arc<str>, share: usize) -> SeatShare {
        let mut taken = self.seats.taken.lock();
        let of_party =
            |place: &&TakenSeat| place.doing == Doing::Serving && place.party.as_ref() == Some(party);
        let others = taken.places.iter().filter(of_party).count();
        let verdict = if others < share { SeatShare::Room } else { SeatShare::UsedUp };
        if let Some(own) = taken.places.iter_mut().find(|place| place.number == self.number) {
            own.party = Some(Arc::clone(party));
            if (own.doing, verdict) == (Doing::Answering, SeatShare::Room) {
                own.doing = Doing::Serving;
            }
        }
        verdict
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
    const PATIENCE: Duration = Duration::from_secs(60);

    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
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
        assert_eq!(taken.recv_timeout(PATIENCE), Ok(1));
        assert!(busy.stream().peer_addr().is_ok(), "the busy one is still there");
    }

    #[test]
    fn party_with_the_most_seats_gives_way_and_has_a_share_of_those_in_progress() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let seats = Seats::new(5);
        let mut clients = Vec::new();
        let mut take = || {
            let (client, server) = pair(&listener);
            clients.push(client);
            Seats::take(&seats, server).0
        };
        let (small, large): (Arc<str>, Arc<str>) = (Arc::from("small"), Arc::from("large"));
        let (idle, others) = (take(), [take(), take(), take()]);
        idle.answers();
        assert_eq!(idle.serves(&small, 2), SeatShare::Room);
        idle.waits();
        let shares: Vec<SeatShare> = others
            .iter()
            .map(|seat| {
                seat.answers();
                seat.serves(&large, 2)
            })
            .collect();
        assert_eq!(shares, [SeatShare::Room, SeatShare::Room, SeatShare::UsedUp]);
        let _stranger = take();
        others[2].waits();
        let leaves = next_to_leave(&seats.taken.lock().places).expect("one that waits");
        let number = seats.taken.lock().places[leaves].number;
        assert_eq!(number, others[2].number, "not the one that waits for longest");
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
        let (seat, turned_out) = taken.recv_timeout(PATIENCE).expect("a place in time");
        assert_eq!((turned_out, seat.index()), (1, 1), "it has the place of the peer that left");
        assert!(leaves.recv_timeout(PATIENCE).expect("it left"));
        assert_eq!(clients[1].read_to_end(&mut Vec::new()).expect("an end"), 0);
        clients[0].set_nonblocking(true).expect("a mode can be set");
        assert!(clients[0].read(&mut [0]).is_err(), "the answered peer is still there");
    }
}
