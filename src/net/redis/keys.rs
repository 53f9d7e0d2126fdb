//! Commands on keys, wherever they are: on the one server, or on the master of their partition.

use super::address::RedisTarget;
use super::cluster::{RedirectKind, SlotReader, redirect};
use super::connection::RedisConnection;
use crate::follow::slot_map::{NodeAddress, SlotMap};
use crate::health::finding::Fault;
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crate::wire::slot::Partition;
use ::redis::{Cmd, ServerError, Value, cmd};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// From the first packet to a connection that is ready, without the search for a server.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);

/// The bytes that the answers to one call may have: a thousand instances alone have 1.4 MB of leases and stats.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The answer to one command.
pub(crate) type KeyAnswer = Result<Value, ServerError>;

/// Connections to all servers that keys are on.
pub(crate) struct RedisKeys {
    target: Target,
    dialer: Dialer,
    slots: SlotReader,
    map: SlotMap,
    /// By master; `None`: the one server, or the one that Sentinels name.
    links: BTreeMap<Option<NodeAddress>, RedisConnection>,
}

impl RedisKeys {
    /// Opens nothing yet.
    pub(crate) fn new(target: Target) -> RedisKeys {
        let (dialer, map) = (target.dialer(), SlotMap::empty());
        RedisKeys { target, dialer, slots: SlotReader::new(), map, links: BTreeMap::new() }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Closes all connections: the servers may be the wrong ones.
    pub(crate) fn forget(&mut self) {
        self.links.clear();
        self.map = SlotMap::empty();
    }

    /// Sends commands on keys of one partition at once, and reads all answers. Follows `MOVED` and `ASK` once.
    ///
    /// # Errors
    ///
    /// The trouble of the connection or of the search for the master. It is not known which commands were carried out.
    pub(crate) fn ask(
        &mut self,
        partition: Partition,
        commands: &[Cmd],
        timeout: Duration,
    ) -> Result<Vec<KeyAnswer>, Trouble> {
        let answers = self.attempt(partition, commands, timeout);
        if answers.is_err() {
            // The slots may have another master by now.
            self.map = SlotMap::empty();
        }
        answers
    }

    fn attempt(
        &mut self,
        partition: Partition,
        commands: &[Cmd],
        timeout: Duration,
    ) -> Result<Vec<KeyAnswer>, Trouble> {
        let place = self.place(partition)?;
        let mut answers = self.exchange(&place, commands, timeout)?;
        if let Some(moved) = self.moved(&place, &answers) {
            self.map = self.map.with(partition, moved.clone());
            answers = self.exchange(&Some(moved), commands, timeout)?;
        }
        self.follow_asks(&place, commands, &mut answers, timeout)?;
        Ok(answers)
    }

    /// The server of a partition.
    fn place(&mut self, partition: Partition) -> Result<Option<NodeAddress>, Trouble> {
        let RedisKeys { target, dialer, slots, map, links } = self;
        let Some(target) = target.redis().filter(|target| target.cluster_nodes().is_some()) else {
            return Ok(None);
        };
        if map.master_of(partition).is_none() {
            *map = slots.read(dialer, target, map, deadline(target))?;
            let masters = map.masters();
            links.retain(|place, _| place.as_ref().is_some_and(|node| masters.contains(node)));
        }
        match map.master_of(partition) {
            Some(master) => Ok(Some(master.clone())),
            None => {
                let tag = partition.tag();
                Err(Trouble::new(Fault::NotReady, format!("no master has the slot of {{{tag}}}")))
            }
        }
    }

    fn exchange(
        &mut self,
        place: &Option<NodeAddress>,
        commands: &[Cmd],
        timeout: Duration,
    ) -> Result<Vec<KeyAnswer>, Trouble> {
        let mut link = match self.links.remove(place) {
            Some(link) => link,
            None => {
                let none = || Trouble::new(Fault::Internal, "no Redis");
                let target = self.target.redis().ok_or_else(none)?;
                let server = place.as_ref().map_or_else(|| target.clone(), |node| target.at(node));
                let mut link = RedisConnection::open(&mut self.dialer, &server, deadline(&server))?;
                link.set_bytes_max(ANSWER_BYTES_MAX);
                link
            }
        };
        link.begin(now() + timeout);
        let answers = link.ask(commands)?;
        self.links.insert(place.clone(), link);
        Ok(answers)
    }

    /// The master that the first `MOVED` names.
    fn moved(&self, place: &Option<NodeAddress>, answers: &[KeyAnswer]) -> Option<NodeAddress> {
        let asked = place.as_ref()?.to_string();
        let errors = answers.iter().filter_map(|answer| answer.as_ref().err());
        let mut redirects = errors.filter_map(|error| redirect(error, &asked));
        redirects.find(|redirect| redirect.kind == RedirectKind::Moved).map(|redirect| redirect.to)
    }

    /// Repeats the commands that `ASK` sends elsewhere, one by one: a moving slot is rare.
    fn follow_asks(
        &mut self,
        place: &Option<NodeAddress>,
        commands: &[Cmd],
        answers: &mut [KeyAnswer],
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let Some(asked) = place.as_ref().map(NodeAddress::to_string) else { return Ok(()) };
        for (answer, command) in answers.iter_mut().zip(commands) {
            let Some(to) = answer.as_ref().err().and_then(|error| redirect(error, &asked)) else { continue };
            if to.kind == RedirectKind::Ask {
                let repeated = self.exchange(&Some(to.to), &[cmd("ASKING"), command.clone()], timeout)?;
                if let Some(there) = repeated.into_iter().nth(1) {
                    *answer = there;
                }
            }
        }
        Ok(())
    }
}

fn deadline(target: &RedisTarget) -> Instant {
    now() + DIAL_TIMEOUT + target.search_max()
}
