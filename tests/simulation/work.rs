//! The workers' side: jobs that wait for the store and the auth worker, and their completions.

use super::schedule::{Reads, Writes, chance};
use super::store::Origin;
use super::world::World;
use seawall::clock::Moment;
use seawall::id::Offset;
use seawall::job::{
    Append, AppendError, Appended, Attempt, Broadcast, Completion, Read, ReadError, StreamRequest,
};
use seawall::wire::publication::Published;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Places in the store's queues.
const APPENDS: usize = 12;
const READS: usize = 6;

/// An instance and which of its lives.
type Asker = (usize, u32);

#[derive(Debug, Default)]
pub struct StoreQueue {
    appends: VecDeque<(Asker, Append, Origin)>,
    reads: VecDeque<(Asker, Read)>,
}

impl StoreQueue {
    pub fn rooms(&self) -> (usize, usize) {
        (APPENDS.saturating_sub(self.appends.len()), READS.saturating_sub(self.reads.len()))
    }

    pub fn append(&mut self, asker: Asker, append: Append, origin: Origin) {
        self.appends.push_back((asker, append, origin));
    }

    pub fn read(&mut self, asker: Asker, read: Read) {
        self.reads.push_back((asker, read));
    }

    pub fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.reads.is_empty()
    }

    /// A process died: its appends may be committed all the same.
    pub fn forget(&mut self, index: usize, mut stays: impl FnMut() -> bool) {
        self.appends.retain(|((instance, _), _, _)| *instance != index || stays());
        self.reads.retain(|((instance, _), _)| *instance != index);
    }

    pub fn forget_all(&mut self) {
        self.appends.clear();
        self.reads.clear();
    }
}

impl World {
    pub fn work(&mut self) {
        let most = self.rng.usize(1..16);
        match self.weather.writes {
            Writes::Stuck => {}
            Writes::Work | Writes::Refuse | Writes::Doubt => self.commit(most),
        }
        match self.weather.reads {
            Reads::Stuck => {}
            Reads::Work | Reads::Fail => self.read(most),
        }
        self.check_tokens();
    }

    /// One batch: all of it is stored or nothing.
    fn commit(&mut self, most: usize) {
        let most = most.min(self.queue.appends.len());
        let batch: Vec<_> = self.queue.appends.drain(..most).collect();
        let stores = match self.weather.writes {
            Writes::Work => true,
            Writes::Doubt => self.rng.bool(),
            Writes::Refuse | Writes::Stuck => false,
        };
        let mut published: Vec<Published> = Vec::new();
        for (asker, append, origin) in batch {
            let stored = stores.then(|| self.store.append(&append, origin, self.now.unix_ms));
            let outcome = match (self.weather.writes, stored) {
                (Writes::Work, Some(outcome)) => {
                    if let Ok(Appended { attempt: Attempt::First, offset, .. }) = &outcome {
                        published.push(self.store.published(&append.channel, Offset(offset.0)));
                    }
                    outcome
                }
                (Writes::Doubt, _) => Err(AppendError::Unconfirmed { retry_ms: 700 }),
                (Writes::Work | Writes::Refuse | Writes::Stuck, _) => {
                    Err(AppendError::Unavailable { retry_ms: 700 })
                }
            };
            self.trace.note(self.now, || {
                format!("store {} {:?} of {origin:?}: {outcome:?}", append.channel, append.change)
            });
            let ticket = append.ticket;
            self.answer(asker, ticket.reactor.0, Completion::Appended { ticket, outcome });
        }
        if !published.is_empty() {
            self.announce(&Arc::from(published));
        }
    }

    /// Sends a batch to every reactor's lane; a full lane misses it, and some batches are lost or doubled on the way.
    fn announce(&mut self, batch: &Arc<[Published]>) {
        for index in 0..self.instances.len() {
            for which in 0..self.instances[index].shells.len() {
                let weather = self.weather.clone();
                let shell = &mut self.instances[index].shells[which];
                if chance(&mut self.rng, weather.lost) {
                    continue;
                }
                if shell.live.len() >= weather.lane {
                    shell.missed = true;
                    continue;
                }
                for _ in 0..=usize::from(chance(&mut self.rng, weather.doubled)) {
                    let at = self.now.at + Duration::from_millis(weather.delay_ms(&mut self.rng));
                    shell.live.push((at, Broadcast::Published(Arc::clone(batch))));
                }
            }
        }
    }

    fn read(&mut self, most: usize) {
        let most = most.min(self.queue.reads.len());
        let reads: Vec<_> = self.queue.reads.drain(..most).collect();
        for (asker, read) in reads {
            let fails = self.weather.reads == Reads::Fail;
            let (ticket, completion) = match read {
                Read::Page(request) => {
                    let ticket = request.ticket;
                    let page = self.store.page(&request);
                    let outcome = if fails { Err(ReadError { retry_ms: 700 }) } else { Ok(page) };
                    (ticket, Completion::Page { ticket, outcome })
                }
                Read::Stream(StreamRequest { ticket, .. }) => {
                    (ticket, Completion::StreamRead { ticket, outcome: Ok(Vec::new()) })
                }
                Read::Survey(_) => continue,
                Read::Contradicted(contradiction) => panic!("{contradiction:?}"),
                Read::Heads { ticket, channels } => {
                    let heads = channels.into_iter().map(|(name, _)| {
                        let position = self.store.position(super::store::number(&name));
                        (name, position)
                    });
                    let outcome = if fails { Err(ReadError { retry_ms: 700 }) } else { Ok(heads.collect()) };
                    (ticket, Completion::Heads { ticket, outcome })
                }
            };
            self.answer(asker, ticket.reactor.0, completion);
        }
    }

    fn check_tokens(&mut self) {
        if self.weather.tokens == Reads::Stuck {
            return;
        }
        let now: Moment = self.now.at;
        for index in 0..self.instances.len() {
            let life = self.instances[index].life;
            let auth = &mut self.instances[index].auth;
            let due: Vec<_> = auth.queue.extract_if(.., |(at, _)| *at <= now).collect();
            for (_, admit) in due {
                let ends = chance(&mut self.rng, 10).then(|| self.now.unix_ms + self.rng.u64(..8_000));
                let expires = ends.filter(|_| self.weather.is_foul());
                let Some((which, completion)) = self.instances[index].auth.work(admit, expires) else {
                    continue;
                };
                self.answer((index, life), which, completion);
            }
        }
    }
}
