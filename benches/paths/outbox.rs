//! The outbox: frames that wait for a socket.

use super::Path;
use seawall::wire::outbox::{Arena, Offer, Outbox};
use std::hint::black_box;
use std::io::IoSlice;
use std::rc::Rc;

const BYTES_MAX: usize = 256 << 10;
const RUN_BYTES: usize = 200;

fn run() -> Rc<[u8]> {
    Rc::from([b'x'; RUN_BYTES].as_slice())
}

/// Queues one run that the kernel takes whole: the usual delivery.
pub struct OfferAndAdvance {
    outbox: Outbox,
    arena: Arena,
    run: Rc<[u8]>,
}

impl Path for OfferAndAdvance {
    fn prepare() -> OfferAndAdvance {
        OfferAndAdvance { outbox: Outbox::default(), arena: Arena::default(), run: run() }
    }

    fn once(&mut self) {
        assert_eq!(black_box(&mut self.outbox).offer(&self.run, BYTES_MAX), Offer::Taken);
        let taken = self.outbox.single(&self.arena).map_or(0, <[u8]>::len);
        self.outbox.advance(black_box(taken));
    }
}

/// Queues a reply and four runs that the kernel takes in two pieces, as a socket does that fills up.
pub struct PartialWrite {
    outbox: Outbox,
    arena: Arena,
    run: Rc<[u8]>,
}

impl Path for PartialWrite {
    fn prepare() -> PartialWrite {
        let mut path = PartialWrite { outbox: Outbox::default(), arena: Arena::default(), run: run() };
        path.once();
        path
    }

    fn once(&mut self) {
        self.outbox.push(&mut self.arena, |out| out.extend_from_slice(&[b'r'; 100]));
        for _ in 0..4 {
            assert_eq!(self.outbox.offer(&self.run, BYTES_MAX), Offer::Taken);
        }
        for taken in [50, 50 + 4 * RUN_BYTES] {
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = self.outbox.fill(&self.arena, &mut slices);
            black_box(&slices[..filled]);
            self.outbox.advance(black_box(taken));
            self.outbox.settle(&self.arena);
            self.arena.clear(64 << 10);
        }
        assert!(self.outbox.is_empty());
    }
}
