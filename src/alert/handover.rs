//! Incidents that pass from one leader to the next. One that only one instance knows stays with it until the store has it.

use super::incidents::Incidents;

impl Incidents {
    /// The numbers of the incidents of which notices were sent without the store.
    pub fn unshared(&self) -> impl Iterator<Item = u64> {
        let all = self.open.values().chain(&self.ends);
        all.filter(|incident| incident.is_unshared).map(|incident| incident.number)
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

    /// Takes over the incidents that this instance had before it led. What channels were sent of them ends with the shared incident of
    /// the same alert.
    pub fn take_over(&mut self, before: Incidents) {
        let Incidents { pending, open, ends, cause_ms, .. } = before;
        (self.pending, self.cause_ms) = (pending, cause_ms);
        self.ends.extend(ends);
        for (key, mut incident) in open {
            let number = match self.open.get_mut(&key) {
                Some(known) => {
                    let news = incident.notified.iter().filter(|it| !known.was_sent_to(it.channel));
                    let news: Vec<_> = news.copied().collect();
                    known.notified.extend(news);
                    known.number
                }
                None => {
                    self.number += 1;
                    incident.number = self.number;
                    self.open.insert(key, incident);
                    self.number
                }
            };
            self.dirty.push(number);
        }
    }
}
