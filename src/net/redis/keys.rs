//! Commands on keys, wherever they are: on the one server, or on the master of their partition.

use super::address::RedisTarget;
use super::cluster::{RedirectKind, SlotReader, redirect};
use super::connection::RedisConnection;
use super::key_answer::{KeyAnswer, NoAnswers};
use super::redirected::{CommandGroups, PlacedCommand, ask_groups};
use crate::follow::slot_map::{NodeAddress, SlotMap};
use crate::health::finding::Fault;
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crate::wire::slot::Partition;
use ::redis::{Cmd, cmd};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// From the first packet to a connection that is ready, without the search for a server.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);

/// A master that fails is not asked again for this time, at first and at most; each failure doubles it. Others are asked meanwhile.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(3);

/// The shortest time between two readings of the slots.
const SLOTS_EVERY: Duration = Duration::from_millis(500);

/// The bytes that the answers to one call may have: a thousand instances alone have 1.4 MB of leases and stats.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Connections to all servers that keys are on.
pub(crate) struct RedisKeys {
    target: Target,
    dialer: Dialer,
    slots: SlotReader,
    map: SlotMap,
    /// A master failed, so its slots may have another one by now.
    is_doubted: bool,
    /// The end of the last reading of the slots, and the trouble with it.
    read: Option<(Instant, Option<Trouble>)>,
    /// Masters that failed last.
    resting: BTreeMap<NodeAddress, MasterRest>,
    /// By master; `None`: the one server, or the one that Sentinels name.
    links: BTreeMap<Option<NodeAddress>, RedisConnection>,
}

/// The rest of a master that failed.
struct MasterRest {
    until: Instant,
    length: Duration,
    trouble: Trouble,
}

impl RedisKeys {
    /// Opens nothing yet.
    pub(crate) fn new(target: Target) -> RedisKeys {
        let (dialer, map) = (target.dialer(), SlotMap::empty());
        RedisKeys {
            target,
            dialer,
            slots: SlotReader::new(),
            map,
            is_doubted: false,
            read: None,
            resting: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Closes the connection to the server of a partition: it may be the wrong one.
    pub(crate) fn forget(&mut self, partition: Partition) {
        self.links.remove(&self.map.master_of(partition).cloned());
        self.is_doubted = true;
    }

    /// Sends commands on keys of one partition at once, and reads all answers. Follows `MOVED` and `ASK` once.
    ///
    /// # Errors
    ///
    /// The trouble of the connection or of the search for the master; the last one, without asking, while the master rests after it. It
    /// is not known which commands were carried out.
    pub(crate) fn ask(
        &mut self,
        partition: Partition,
        commands: &[Cmd],
        timeout: Duration,
    ) -> Result<Vec<KeyAnswer>, Trouble> {
        self.ask_at_place(partition, commands, timeout).map_err(NoAnswers::into_trouble)
    }

    fn ask_at_place(
        &mut self,
        partition: Partition,
        commands: &[Cmd],
        timeout: Duration,
    ) -> Result<Vec<KeyAnswer>, NoAnswers> {
        let place = self.place(partition)?;
        let mut answers = self.exchange(&place, commands, timeout)?;
        if let Some(moved) = self.moved(&place, &answers) {
            self.note_moved(partition, moved.clone());
            answers = self.exchange(&Some(moved), commands, timeout)?;
        }
        self.follow_asks(&place, commands, &mut answers, timeout)?;
        Ok(answers)
    }

    /// Sends commands, each on a key of its partition, in one round trip for each master, and in one more for each that masters redirect
    /// to. The answers are in the order of the commands.
    pub(crate) fn ask_each(
        &mut self,
        commands: Vec<(Partition, Cmd)>,
        timeout: Duration,
    ) -> Vec<Result<KeyAnswer, NoAnswers>> {
        let none = || Err(NoAnswers::Failed(Trouble::new(Fault::Protocol, "answers are missing")));
        let mut answered: Vec<_> = commands.iter().map(|_| none()).collect();
        let mut groups = CommandGroups::new();
        for (number, (partition, command)) in commands.into_iter().enumerate() {
            match self.place(partition) {
                Ok(place) => {
                    groups.entry(place).or_default().push(PlacedCommand { number, partition, command })
                }
                Err(trouble) => put(&mut answered, number, Err(trouble.into())),
            }
        }
        let moved =
            ask_groups(groups, &mut answered, |place, commands| self.exchange(place, commands, timeout));
        for (partition, master) in moved {
            self.note_moved(partition, master);
        }
        answered
    }

    /// Notes that a partition moved. Other ones may have moved with it.
    fn note_moved(&mut self, partition: Partition, master: NodeAddress) {
        self.map = self.map.with(partition, master);
        self.is_doubted = true;
    }

    /// The server of a partition.
    fn place(&mut self, partition: Partition) -> Result<Option<NodeAddress>, Trouble> {
        if !self.target.is_cluster() {
            return Ok(None);
        }
        let is_wanted = self.is_doubted || self.map.master_of(partition).is_none();
        if is_wanted && self.read.as_ref().is_none_or(|(read, _)| now() >= *read + SLOTS_EVERY) {
            self.read_slots();
        }
        if let Some(master) = self.map.master_of(partition) {
            return Ok(Some(master.clone()));
        }
        let tag = partition.tag();
        let none = || Trouble::new(Fault::NotReady, format!("no master has the slot of {{{tag}}}"));
        Err(self.read.as_ref().and_then(|(_, trouble)| trouble.clone()).unwrap_or_else(none))
    }

    /// Reads the slots. If that fails, the masters of before are asked further on.
    fn read_slots(&mut self) {
        let RedisKeys { target, dialer, slots, map, links, resting, .. } = self;
        let Some(target) = target.redis() else { return };
        let trouble = match slots.read(dialer, target, map, deadline(target)) {
            Ok(found) => {
                let masters = found.masters();
                links.retain(|place, _| place.as_ref().is_some_and(|node| masters.contains(node)));
                resting.retain(|node, _| masters.contains(node));
                (*map, self.is_doubted) = (found, false);
                None
            }
            Err(trouble) => Some(trouble),
        };
        self.read = Some((now(), trouble));
    }

    fn exchange(
        &mut self,
        place: &Option<NodeAddress>,
        commands: &[Cmd],
        timeout: Duration,
    ) -> Result<Vec<KeyAnswer>, NoAnswers> {
        let rest = place.as_ref().and_then(|node| self.resting.get(node));
        if let Some(rest) = rest.filter(|rest| now() < rest.until) {
            return Err(rest.trouble.clone().into());
        }
        let answers = self.attempt(place, commands, timeout);
        if let Some(node) = place {
            match &answers {
                // It answers, although more than is read.
                Ok(_) | Err(NoAnswers::TooLong(_)) => drop(self.resting.remove(node)),
                Err(NoAnswers::Failed(trouble)) => self.rest(node, trouble),
            }
        }
        answers
    }

    /// Lets a master rest that failed: one that is silent must not delay what the others do.
    fn rest(&mut self, node: &NodeAddress, trouble: &Trouble) {
        let before = self.resting.get(node).map(|rest| rest.length);
        let length = before.map_or(REST_MIN, |length| (length * 2).min(REST_MAX));
        let rest = MasterRest { until: now() + length, length, trouble: trouble.clone() };
        self.resting.insert(node.clone(), rest);
        self.is_doubted = true;
    }

    fn attempt(
        &mut self,
        place: &Option<NodeAddress>,
        commands: &[Cmd],
        timeout: Duration,
    ) -> Result<Vec<KeyAnswer>, NoAnswers> {
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
        match link.ask(commands) {
            Ok(answers) => {
                self.links.insert(place.clone(), link);
                Ok(answers)
            }
            Err(trouble) if link.is_exhausted() => Err(NoAnswers::TooLong(trouble)),
            Err(trouble) => Err(NoAnswers::Failed(trouble)),
        }
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
    ) -> Result<(), NoAnswers> {
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

fn put<T>(places: &mut [T], number: usize, value: T) {
    if let Some(place) = places.get_mut(number) {
        *place = value;
    }
}

fn deadline(target: &RedisTarget) -> Instant {
    now() + DIAL_TIMEOUT + target.search_max()
}
