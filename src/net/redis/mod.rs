//! Redis: its addresses, connections to a server that takes writes, and the masters of a cluster.

pub(crate) mod address;
pub(crate) mod cluster;
mod connection;
mod hosts;
pub(crate) mod key_answer;
pub(crate) mod keys;
mod redirected;
mod sentinel;
mod server;

pub(crate) use address::RedisTarget;
pub(crate) use connection::{RedisConnection, is_text, trouble_of};

use super::dial::Dialer;
use super::trouble::Trouble;
use crate::health::finding::Fault;
use address::RedisPlace;
use std::time::Instant;

impl RedisConnection {
    /// Connects to the server, or to the master that a Sentinel names; authenticates and selects the database. Of a cluster, choose a
    /// node before ([`RedisTarget::at`]).
    ///
    /// # Errors
    ///
    /// The trouble of the server, or that of the Sentinel asked last.
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
                return Err(Trouble::new(
                    Fault::Internal,
                    "a cluster has no server that is the right one for all",
                ));
            }
        };
        connection.select(target.database)?;
        Ok(connection)
    }
}
