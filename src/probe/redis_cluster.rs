//! A look at all masters of a Redis Cluster, each as a server of its own; or at the one server.
//!
//! A master that fails is a warning while another one works: the bus then loses instant delivery in a part of its channels alone.

use super::redis::{RedisNames, RedisSession, look as look_at_server};
use crate::follow::slot_map::{NodeAddress, SlotMap};
use crate::health::finding::Fault;
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::redis::RedisTarget;
use crate::net::redis::cluster::SlotReader;
use crate::net::trouble::Trouble;
use std::collections::BTreeMap;
use std::time::Instant;

/// The connections kept between two looks: by master, or those to the one server.
#[derive(Debug)]
pub(super) struct RedisSessions {
    slots: SlotReader,
    map: SlotMap,
    servers: BTreeMap<Option<NodeAddress>, Box<RedisSession>>,
}

impl RedisSessions {
    fn new() -> RedisSessions {
        RedisSessions { slots: SlotReader::new(), map: SlotMap::empty(), servers: BTreeMap::new() }
    }
}

/// One look. Returns the connections for the next one.
pub(super) fn look(
    dialer: &mut Dialer,
    target: &RedisTarget,
    names: &RedisNames,
    kept: Option<Box<RedisSessions>>,
    deadline: Instant,
) -> Result<(Option<String>, Box<RedisSessions>), Trouble> {
    let mut sessions = kept.unwrap_or_else(|| Box::new(RedisSessions::new()));
    if target.cluster_nodes().is_none() {
        let session = sessions.servers.remove(&None);
        let (warning, session) = look_at_server(dialer, target, &names.plain(), session, deadline)?;
        sessions.servers.insert(None, session);
        return Ok((warning, sessions));
    }
    let RedisSessions { slots, map, servers } = &mut *sessions;
    *map = slots.read(dialer, target, map, deadline)?;
    let (links, _) = map.links();
    let (mut before, mut warnings) = (std::mem::take(servers), Vec::new());
    let (mut troubles, mut left, count) = (Vec::new(), links.len(), links.len());
    for link in links {
        let Some(master) = &link.master else {
            warnings.push("some slots have no master: their channels are not delivered at once".to_owned());
            left -= 1;
            continue;
        };
        // A silent master must not use up the time of the next.
        let begun = now();
        let share = deadline.saturating_duration_since(begun) / u32::try_from(left).unwrap_or(1).max(1);
        left -= 1;
        let names = names.of_partition(link.canary);
        let session = before.remove(&link.master);
        let (is_kept, server) = (session.is_some(), target.at(master));
        let mut found = look_at_server(dialer, &server, &names, session, begun + share);
        if is_kept && matches!(found, Err(Trouble { fault: Fault::Reset, .. })) {
            // It ended between two looks, which is no fault.
            found = look_at_server(dialer, &server, &names, None, begun + share);
        }
        match found {
            Ok((warning, session)) => {
                servers.insert(link.master.clone(), session);
                warnings.extend(warning.map(|warning| format!("{master}: {warning}")));
            }
            Err(trouble) => troubles.push((master.clone(), trouble)),
        }
    }
    if servers.is_empty() {
        let none = || Trouble::new(Fault::NotReady, "no slot of the cluster has a master");
        return Err(troubles.into_iter().next().map_or_else(none, |(_, trouble)| trouble));
    }
    if !troubles.is_empty() {
        let texts: Vec<String> =
            troubles.iter().map(|(master, trouble)| format!("{master}: {}", trouble.text)).collect();
        let (failing, texts) = (troubles.len(), texts.join("; "));
        warnings.push(format!(
            "{failing} of the {count} masters fail, and publications in their channels arrive through the store: {texts}"
        ));
    }
    Ok(((!warnings.is_empty()).then(|| warnings.join("; ")), sessions))
}
