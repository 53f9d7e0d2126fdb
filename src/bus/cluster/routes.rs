//! The thread that starts and ends links, and sends each interest to the link of its partition.

use super::super::ends::{RouteHint, RoutedInterest};
use super::super::timing::monotonic;
use super::links::{LinkParts, RunningLink, SendRoutes};
use super::verdict::WholeVerdict;
use crate::follow::routing::{RouteChange, Routing};
use crate::follow::slot_map::{BusLink, NodeAddress, SlotMap};
use crate::job::bus::Interest;
use crate::job::delivery::MonitorPart;
use crate::wire::slot::Partition;
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, never, select};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The time between two looks at the links.
const TICK: Duration = Duration::from_millis(200);
/// The shortest time between two changes by hints: masters that name each other must not keep the routes busy.
const HINTS_EVERY: Duration = Duration::from_millis(50);
/// Interests taken before other work is done.
const INTERESTS_MAX: usize = 1_024;
/// Channels in one message to a link.
const ADOPTED_MAX: usize = 1_024;

pub(super) struct RouteWorker {
    parts: LinkParts,
    interests: Receiver<Interest>,
    send: Arc<ArcSwap<SendRoutes>>,
    routing: Routing,
    links: BTreeMap<BusLink, RunningLink>,
    ending: Vec<JoinHandle<()>>,
    /// The number of links started so far.
    started: u32,
    /// Hints that are not used yet.
    hints: BTreeMap<Partition, NodeAddress>,
    hinted: Instant,
    looked: Instant,
    verdict: WholeVerdict,
    /// The counter of dropped messages, and the flag for sooner canaries, of the whole bus.
    dropped: Arc<AtomicU64>,
    hurried: Arc<AtomicBool>,
}

impl RouteWorker {
    /// Starts nothing yet.
    pub(super) fn new(
        parts: LinkParts,
        interests: Receiver<Interest>,
        send: Arc<ArcSwap<SendRoutes>>,
        (dropped, hurried): (Arc<AtomicU64>, Arc<AtomicBool>),
    ) -> RouteWorker {
        let now = monotonic();
        RouteWorker {
            parts,
            interests,
            send,
            routing: Routing::new(),
            links: BTreeMap::new(),
            ending: Vec::new(),
            started: 0,
            hints: BTreeMap::new(),
            hinted: now,
            looked: now,
            verdict: WholeVerdict::new(now),
            dropped,
            hurried,
        }
    }

    /// Runs until the bus stops receiving.
    pub(super) fn run(
        mut self,
        stopping: &AtomicBool,
        maps: &Receiver<SlotMap>,
        hints: &Receiver<RouteHint>,
    ) {
        // Until the slots are known, one link surveys all logs.
        self.change(SlotMap::empty());
        let (mut interests, mut maps) = (self.interests.clone(), maps.clone());
        while !stopping.load(Ordering::Acquire) {
            select! {
                recv(interests) -> interest => match interest {
                    Ok(interest) => self.route(interest),
                    Err(_) => interests = never(),
                },
                recv(maps) -> map => match map {
                    Ok(map) => self.change(map),
                    Err(_) => maps = never(),
                },
                recv(hints) -> hint => self.hints.extend(hint.ok().map(|hint| (hint.partition, hint.to))),
                default(TICK) => {}
            }
            self.use_hints();
            if self.looked.elapsed() >= TICK {
                self.look_at_links();
            }
        }
        for (_, link) in std::mem::take(&mut self.links) {
            self.ending.push(link.end());
        }
        for receiver in self.ending {
            if receiver.join().is_err() {
                tracing::error!("bus-receive panicked");
            }
        }
    }

    /// Sends this interest and all that wait behind it to their links.
    fn route(&mut self, first: Interest) {
        let waiting: Vec<Interest> = self.interests.try_iter().take(INTERESTS_MAX - 1).collect();
        for interest in std::iter::once(first).chain(waiting) {
            let link = match &interest {
                Interest::Follow { channel, .. } => self.routing.follow(channel),
                Interest::Leave { channel } => self.routing.leave(channel),
            };
            if let Some(link) = link.and_then(|link| self.links.get(link)) {
                link.want(RoutedInterest::Of(interest));
            }
        }
        self.links.values().for_each(RunningLink::wake);
    }

    /// Moves partitions to the masters that other masters named.
    fn use_hints(&mut self) {
        if self.hints.is_empty() || self.hinted.elapsed() < HINTS_EVERY {
            return;
        }
        self.hinted = monotonic();
        let mut map = self.routing.map().clone();
        for (partition, master) in std::mem::take(&mut self.hints) {
            if map.master_of(partition) != Some(&master) {
                map = map.with(partition, master);
            }
        }
        self.change(map);
        self.parts.routes.ask();
    }

    /// Routes by another map. Channels are adopted before the links that had them end.
    fn change(&mut self, map: SlotMap) {
        let (wanted, by_partition) = map.links();
        for link in &wanted {
            if !self.links.contains_key(link) {
                self.started = self.started.wrapping_add(1);
                match RunningLink::start(link, self.started, &self.parts) {
                    Ok(running) => drop(self.links.insert(link.clone(), running)),
                    // The routes stay as they are; the next reading of the slots tries again.
                    Err(error) => return tracing::error!(%link, %error, "bus link not started"),
                }
            }
        }
        self.parts.settings.slots.store(Arc::new(map.clone()));
        let RouteChange { ended, forgotten, adopted } = self.routing.change(map);
        for (link, partitions) in forgotten {
            self.tell(&link, RoutedInterest::Forget(partitions));
        }
        for (link, channels) in adopted {
            for channels in channels.chunks(ADOPTED_MAX) {
                self.tell(&link, RoutedInterest::Adopt(channels.to_vec()));
            }
        }
        let links: Vec<&BusLink> = wanted.iter().collect();
        let place = |link: &BusLink| links.binary_search(&link).unwrap_or_default();
        self.send.store(Arc::new(SendRoutes {
            senders: links.iter().filter_map(|link| Some(self.links.get(link)?.sender.clone())).collect(),
            by_partition: by_partition.iter().map(place).collect(),
        }));
        for link in ended {
            if let Some(running) = self.links.remove(&link) {
                self.count_dropped(&running);
                self.ending.push(running.end());
            }
        }
        self.report_masters();
    }

    fn tell(&self, link: &BusLink, interest: RoutedInterest) {
        if let Some(running) = self.links.get(link) {
            running.want(interest);
            running.wake();
        }
    }

    fn report_masters(&self) {
        let part = |(link, running): (&BusLink, &RunningLink)| MonitorPart {
            name: link.to_string().into(),
            monitor: Arc::clone(&running.monitor),
        };
        self.parts.settings.monitor.set_parts(self.links.iter().map(part).collect());
        let masters = self.links.keys().filter(|link| link.master.is_some()).count();
        self.parts.settings.counters.masters.store(masters as u64, Ordering::Relaxed);
    }

    fn count_dropped(&self, link: &RunningLink) {
        let dropped = link.sender.dropped.load(Ordering::Relaxed);
        self.dropped.fetch_add(dropped.saturating_sub(link.counted), Ordering::Relaxed);
    }

    /// Sums up the states of the links.
    fn look_at_links(&mut self) {
        self.looked = monotonic();
        self.ending.retain(|receiver| !receiver.is_finished());
        let (mut channels, mut delivering, mut hurried) = (0, 0, false);
        for link in self.links.values() {
            self.count_dropped(link);
            channels += link.gauges.channels.load(Ordering::Relaxed);
            delivering += link.gauges.delivering.load(Ordering::Relaxed);
            hurried |= link.hurried.load(Ordering::Relaxed);
        }
        for link in self.links.values_mut() {
            link.counted = link.sender.dropped.load(Ordering::Relaxed);
        }
        let settings = &self.parts.settings;
        let is_whole = delivering == self.links.len() as u64;
        settings.counters.gauges.channels.store(channels, Ordering::Relaxed);
        settings.counters.gauges.delivering.store(u64::from(is_whole), Ordering::Relaxed);
        settings.counters.masters_delivering.store(delivering, Ordering::Relaxed);
        self.hurried.store(hurried, Ordering::Relaxed);
        if let Some(evidence) = &settings.evidence {
            let news = self.verdict.evidence(settings.monitor.whole_verdict(), self.looked);
            news.into_iter().for_each(|each| evidence.tell(each));
        }
    }
}
