//! The flags of this instance, which a reload replaces and an operator switches, and the clients that have them.

use crate::flag::{FlagSet, Flags, Switch};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The current flags. A reader compares one number to know whether they have changed.
#[derive(Debug, Default)]
pub struct FlagBoard {
    current: ArcSwap<Flags>,
    revision: AtomicU64,
}

impl FlagBoard {
    /// Changes with every change of the flags.
    #[inline]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub fn load(&self) -> Arc<Flags> {
        self.current.load_full()
    }

    /// Replaces the flags by those of a configuration, and ends all switches. Wake the reactors afterwards.
    pub fn revise(&self, configured: &Flags) {
        self.change(|flags| flags.revised(configured));
    }

    /// Switches one flag; `None` if there is none with this name. Wake the reactors afterwards.
    pub fn switch(&self, name: &str, switch: Switch) -> Option<Arc<Flags>> {
        self.load().with(name, switch)?;
        self.change(|flags| flags.with(name, switch));
        Some(self.load())
    }

    /// `next` is called again if another thread changes the flags at the same time.
    fn change(&self, next: impl Fn(&Flags) -> Option<Flags>) {
        self.current.rcu(|flags| next(flags).map_or_else(|| Arc::clone(flags), Arc::new));
        self.revision.fetch_max(self.current.load().revision(), Ordering::Release);
    }
}

/// The clients of one reactor that know a flag to be on, by its place in the [`Flags`] with the same revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagClients {
    revision: u64,
    clients: Vec<u64>,
}

impl FlagClients {
    pub fn of(flags: &Flags) -> FlagClients {
        let places = if flags.is_empty() { 0 } else { flags.all().len() };
        FlagClients { revision: flags.revision(), clients: vec![0; places] }
    }

    /// Counts a client that was sent these flags.
    pub fn enter(&mut self, set: FlagSet) {
        self.each(set, |clients| *clients += 1);
    }

    /// Counts a client that left, or was sent other flags. It is not counted if it knows flags of an earlier revision only.
    pub fn leave(&mut self, set: FlagSet) {
        self.each(set, |clients| *clients = clients.saturating_sub(1));
    }

    fn each(&mut self, set: FlagSet, count: impl Fn(&mut u64)) {
        if set.revision == self.revision && !self.clients.is_empty() {
            set.places().for_each(|place| self.clients.get_mut(place).into_iter().for_each(&count));
        }
    }
}

/// The newest numbers of a reactor, which it publishes about once a second.
#[derive(Debug, Default)]
pub struct FlagClientsBoard(ArcSwap<FlagClients>);

impl FlagClientsBoard {
    pub fn publish(&self, clients: FlagClients) {
        self.0.store(Arc::new(clients));
    }
}

/// The clients of all reactors by flag; none if clients are not notified of flags. A reactor that has not published numbers of
/// this revision is left out.
pub fn merge<'f, 'b>(
    flags: &'f Flags,
    boards: impl Iterator<Item = &'b FlagClientsBoard>,
) -> Vec<(&'f str, u64)> {
    let mut total = FlagClients::of(flags);
    for board in boards {
        let counts = board.0.load();
        if counts.revision == total.revision {
            total.clients.iter_mut().zip(&counts.clients).for_each(|(sum, clients)| *sum += clients);
        }
    }
    flags.all().iter().map(|one| &*one.flag.name).zip(total.clients).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::{Flag, FlagKey};

    fn markdown() -> Flags {
        let flag = Flag { name: "markdown".into(), rollout: 100, users: Vec::new(), clients: Vec::new() };
        Flags::new(vec![flag])
    }

    #[test]
    fn switch_lasts_until_the_next_revision() {
        let board = FlagBoard::default();
        let is_on = || {
            let flags = board.load();
            flags.names(flags.on(FlagKey::Anonymous, "")).any(|name| name == "markdown")
        };
        board.revise(&markdown());
        assert!(is_on());
        assert!(board.switch("markdown", Switch::Off).is_some());
        assert_eq!((is_on(), board.revision()), (false, 2));
        assert!(board.switch("other", Switch::Off).is_none());
        board.revise(&markdown());
        assert_eq!((is_on(), board.revision()), (true, 3));
        board.revise(&markdown());
        assert_eq!((board.revision(), board.load().revision()), (3, 3), "nothing has changed");
    }

    #[test]
    fn clients_are_counted_by_the_flags_of_the_current_revision() {
        let flags = markdown();
        let set = flags.on(FlagKey::Anonymous, "");
        let mut counts = FlagClients::of(&flags);
        counts.enter(set);
        counts.enter(set);
        counts.leave(set);
        let later = flags.with("markdown", Switch::AsConfigured).expect("known");
        counts.leave(later.on(FlagKey::Anonymous, ""));
        let boards = [FlagClientsBoard::default(), FlagClientsBoard::default(), FlagClientsBoard::default()];
        boards[0].publish(counts.clone());
        boards[1].publish(counts);
        let clients = merge(&flags, boards.iter());
        assert_eq!((clients.len(), clients[0]), (7, ("markdown", 2)));
        assert!(merge(&Flags::default(), boards.iter()).is_empty(), "clients are not notified");
    }
}
