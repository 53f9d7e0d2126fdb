//! The sweep of streams whose instance may have died.

use super::World;
use crate::stream::tests::several::instance::Instance;
use crate::stream::*;

impl World {
    pub fn sweep(&mut self, at: usize) {
        let mut silent = self.store.silent(&self.settings, self.now + self.jump);
        let Instance { ledger, silence, .. } = &mut self.instances[at];
        silent.retain(|stream| !ledger.has(&stream.id));
        silence.found(silent, SilentPart::All, self.now);
        self.end_overdue(at);
    }

    pub fn end_overdue(&mut self, at: usize) {
        let silence = &mut self.instances[at].silence;
        for overdue in silence.take_due(self.now, usize::MAX) {
            if self.store.look(&overdue.id) == Some(overdue.seen) && self.arrive(at, &overdue.id, |_| true) {
                self.instances[at].ledger.swept(&overdue, self.now);
            }
        }
    }
}
