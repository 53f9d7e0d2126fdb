//! Redis: its addresses, connections to a server that takes writes, and the masters of a cluster.

pub(crate) mod address;
pub(crate) mod cluster;
mod connection;
mod hosts;
pub(crate) mod keys;
mod sentinel;
mod server;

pub(crate) use address::RedisTarget;
pub(crate) use connection::{RedisConnection, is_text, trouble_of};

use super::deadline::first_of;
use super::dial::Dialer;
use super::trouble::Trouble;
use crate::follow::slot_map::SlotMap;
use crate::health::finding::Fault;
use address::RedisPlace;
use cluster::SlotReader;
use std::time::Instant;

impl RedisConnection {
    /// Connects to the server, to the master that a Sentinel names, or to any master of a cluster; authenticates and selects the
    /// database.
    ///
    /// # Errors
    ///
    /// The trouble of the server, or that of the Sentinel or node asked last.
    pub(crate) fn open(
        dialer: &mut Dialer,
        target: &RedisTarget,
        deadline: Instant,
    ) -> Result<RedisConnection, Trouble> {
        let mut connection = match &target.place {
            RedisPlace::Server(server) => RedisConnection::connect(dialer, server, &target.login, deadline)?,
            RedisPlace::Sentinels(sentinels) => {
                sentinel::open_master(dialer, sentinels, &target.login, deadline)?
            }
            RedisPlace::Cluster(_) => {
                let map = SlotReader::new().read(dialer, target, &SlotMap::empty(), deadline)?;
                let masters = map.masters().into_iter().collect();
                let none = Trouble::new(Fault::NotReady, "no slot of the cluster has a master");
                return first_of(masters, deadline, none, |master, until| {
                    RedisConnection::open(dialer, &target.at(master), until)
                });
            }
        };
        connection.select(target.database)?;
        Ok(connection)
    }
}
