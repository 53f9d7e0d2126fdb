//! Incidents that pass from one leader to the next. One that only one instance knows stays with it until the store has it.

use super::channel::AlertChannel;
use super::incident::Incident;
use super::incidents::Incidents;
use super::key::AlertKind;
use std::collections::BTreeMap;

/// An incident that has another number now, or has become a part of another one, for one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedIncident {
    pub channel: AlertChannel,
    pub from: u64,
    pub to: u64,
}

impl Incidents {
    /// The numbers of the incidents of which notices were sent without the store.
    pub fn unshared(&self) -> impl Iterator<Item = u64> {
        let all = self.open.values().chain(&self.ends);
        all.filter(|incident| incident.is_unshared).map(|incident| incident.number)
    }

    /// Marks incidents that began by this time and were sent to no channel: another instance may have sent them without the store. The file
    /// of another instance is another one.
    pub fn mark_perhaps_sent(&mut self, until_ms: u64) {
        let of = |incident: &&mut Incident| {
            let is_sure = incident.key.kind == AlertKind::Disk || !incident.notified.is_empty();
            incident.began_ms <= until_ms && !is_sure && !incident.is_perhaps_sent
        };
        for incident in self.open.values_mut().filter(of) {
            incident.is_perhaps_sent = true;
            self.dirty.push(incident.number);
        }
    }

    /// Marks incidents of which notices are sent without the store: only this instance can end them.
    pub fn mark_unshared(&mut self, numbers: &[u64]) {
        for incident in self.open.values_mut().filter(|it| numbers.contains(&it.number) && !it.is_unshared) {
            incident.is_unshared = true;
            self.dirty.push(incident.number);
        }
    }

    /// Takes that the store has all incidents.
    pub fn mark_shared(&mut self) {
        for incident in self.open.values_mut().filter(|incident| incident.is_unshared) {
            incident.is_unshared = false;
            self.dirty.push(incident.number);
        }
    }

    /// Leaves the incidents to another instance, apart from any that only this one knows.
    pub fn hand_over(&mut self) {
        self.open.retain(|_, incident| incident.is_unshared);
        self.ends.retain(|incident| incident.is_unshared);
        self.stormed.clear();
    }

    /// Takes over the incidents that this instance had before it led, and gives them numbers after the shared ones. What channels were
    /// sent of them ends with the shared incident of the same alert. `closed` are over, the newest first, and the store does not have them. Returns the
    /// incidents, and channels, whose notices are still to be sent.
    pub fn take_over(&mut self, before: Incidents, closed: &mut [Incident]) -> Vec<MovedIncident> {
        let Incidents { pending, open, mut ends, cause_ms, .. } = before;
        (self.pending, self.cause_ms) = (pending, cause_ms);
        ends.retain(|incident| !incident.notified.is_empty());
        let mut moved = self.number_ended(ends.iter_mut().chain(closed.iter_mut().rev()));
        self.ends.extend(ends);
        for (key, mut incident) in open {
            let from = incident.number;
            let (to, news) = match self.open.get_mut(&key) {
                Some(known) => {
                    let news = incident.notified.iter().filter(|it| !known.was_sent_to(it.channel));
                    let news: Vec<_> = news.copied().collect();
                    known.notified.extend_from_slice(&news);
                    (known.number, news)
                }
                None => {
                    self.number += 1;
                    incident.number = self.number;
                    let notified = incident.notified.clone();
                    self.open.insert(key, incident);
                    (self.number, notified)
                }
            };
            moved.extend(news.iter().map(|it| MovedIncident { channel: it.channel, from, to }));
            self.dirty.push(to);
        }
        moved
    }

    /// Gives incidents that are over other numbers. A channel that knows of a shared incident of the same alert is left out: it is sent
    /// the end of that one.
    fn number_ended<'a>(&mut self, ended: impl Iterator<Item = &'a mut Incident>) -> Vec<MovedIncident> {
        let (mut numbers, mut moved) = (BTreeMap::new(), Vec::new());
        for incident in ended {
            let from = incident.number;
            let to = *numbers.entry(from).or_insert_with(|| {
                self.number += 1;
                self.number
            });
            if let Some(known) = self.open.get(&incident.key) {
                incident.notified.retain(|it| !known.was_sent_to(it.channel));
            }
            incident.number = to;
            let channels = incident.notified.iter().map(|it| it.channel);
            moved.extend(channels.map(|channel| MovedIncident { channel, from, to }));
        }
        moved
    }
}
