//! Changing the dependencies while they are watched: some are added, some removed, some probed differently.
//!
//! A dependency that stays keeps its history, and its thread if the probe stays the same. The thread of a removed one ends
//! after its current look, whose result is dropped.

use super::looker::looker;
use super::news::Asked;
use super::revision::Revised;
use super::thread::Watch;
use crate::clock::Now;
use crate::health::board::{DependencyId, DueProbe, Place};
use crossbeam_channel::Sender;
use std::sync::Arc;

impl<C: Fn() -> Now + Send + 'static> Watch<C> {
    pub(super) fn revise(&mut self, asked: Asked) {
        let Asked { revision, news, reply } = asked;
        let now = (self.clock)();
        let mut definitions = Vec::new();
        let mut newcomers: Vec<(Arc<str>, Sender<DueProbe>)> = Vec::new();
        for Revised { definition, probe } in revision.dependencies {
            let place = if probe.is_some() { Place::Other } else { Place::Same };
            if let Some(probe) = probe {
                match looker(probe, &definition.name, news.clone()) {
                    Ok(looker) => newcomers.push((Arc::clone(&definition.name), looker)),
                    // The asker gets no reply: its channel closes with this call.
                    Err(error) => return tracing::error!(%error, "probe thread could not start"),
                }
            }
            definitions.push((definition, place));
        }
        let mode = revision.mode.unwrap_or(self.board.mode());
        let changes = self.board.revise(definitions, mode, now);
        self.take_lookers(newcomers);
        self.counters.revise(self.board.dependencies());
        self.counters.admission(mode);
        self.apply(changes);
        self.show();
        self.report();
        let name = |name: Arc<str>| self.board.id(&name).map(|id| (name, id));
        let names = self.board.dependencies().map(|each| Arc::clone(&each.definition().name));
        // The asker may have given up.
        let _ = reply.send(names.filter_map(name).collect());
    }

    /// Replaces the threads of changed dependencies, and drops those of removed ones.
    fn take_lookers(&mut self, newcomers: Vec<(Arc<str>, Sender<DueProbe>)>) {
        let board = &self.board;
        let mut lookers: Vec<(DependencyId, Sender<DueProbe>)> = newcomers
            .into_iter()
            .filter_map(|(name, looker)| board.id(&name).map(|id| (id, looker)))
            .collect();
        let stays = |(id, looker): (DependencyId, Sender<DueProbe>)| {
            let replaced = lookers.iter().any(|(newer, _)| *newer == id);
            (!replaced && board.holds(id)).then_some((id, looker))
        };
        let kept: Vec<_> = std::mem::take(&mut self.lookers).into_iter().filter_map(stays).collect();
        lookers.extend(kept);
        self.lookers = lookers;
    }
}
