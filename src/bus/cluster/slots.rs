//! The thread that reads which master has which slots: regularly, and when a link doubts it.

use super::super::redial::Redial;
use super::super::timing::{jittered, monotonic};
use crate::follow::slot_map::SlotMap;
use crate::health::advice::look_at;
use crate::health::definition::DependencyKind;
use crate::net::dial::Dialer;
use crate::net::redis::cluster::SlotReader;
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select};
use std::convert::Infallible;
use std::time::Duration;

/// The time between two readings without a doubt. An instance that follows no channel of a moved partition learns of it by this
/// alone, and the others miss its canaries there after 3.5 s.
const PERIOD: Duration = Duration::from_secs(3);
/// The shortest time between two readings.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest time of a reading.
const READ_MAX: Duration = Duration::from_secs(3);

pub(super) struct SlotWorker {
    target: Target,
    dialer: Dialer,
    reader: SlotReader,
    asks: Receiver<()>,
    maps: Sender<SlotMap>,
    map: SlotMap,
    redial: Redial,
}

impl SlotWorker {
    /// Opens nothing yet.
    pub(super) fn new(target: Target, asks: Receiver<()>, maps: Sender<SlotMap>) -> SlotWorker {
        let (dialer, reader, map) = (target.dialer(), SlotReader::new(), SlotMap::empty());
        SlotWorker { target, dialer, reader, asks, maps, map, redial: Redial::new("find the masters of") }
    }

    /// Runs until the bus stops receiving.
    pub(super) fn run(mut self, over: &Receiver<Infallible>) {
        loop {
            let wait = match self.read() {
                Ok(map) => {
                    if self.redial.works() {
                        tracing::info!("cluster slots read");
                    }
                    self.map = map.clone();
                    if self.maps.send(map).is_err() {
                        return;
                    }
                    jittered(PERIOD)
                }
                Err(trouble) => {
                    let look_at = look_at(DependencyKind::Redis, trouble.fault);
                    let cause = trouble.into_cause(look_at, self.target.secrets());
                    self.redial.failed(&cause).saturating_duration_since(monotonic())
                }
            };
            select! {
                recv(self.asks) -> _asked => {},
                recv(over) -> _ended => return,
                default(wait) => {}
            }
            if over.recv_timeout(jittered(PAUSE)) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            let _answered_by_the_next = self.asks.try_recv();
        }
    }

    fn read(&mut self) -> Result<SlotMap, Trouble> {
        let SlotWorker { target, dialer, reader, map, .. } = self;
        let none = || Trouble::new(crate::health::finding::Fault::Internal, "no Redis");
        let target = target.redis().ok_or_else(none)?;
        reader.read(dialer, target, map, monotonic() + READ_MAX)
    }
}
