//! Redis: its addresses, and connections to a server that takes writes.

pub(crate) mod address;
mod connection;
mod sentinel;

pub(crate) use address::RedisTarget;
pub(crate) use connection::{RedisConnection, is_text, trouble_of};

use super::dial::Dialer;
use super::trouble::Trouble;
use address::RedisPlace;
use std::time::Instant;

impl RedisConnection {
    /// Connects to the server, or to the master that a Sentinel names; authenticates and selects the database.
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
        };
        connection.select(target.database)?;
        Ok(connection)
    }
}
