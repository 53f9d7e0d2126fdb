//! The key that seals the messages of the bus. It is in the store, because only instances can read that: Redis is not trusted.
//!
//! Rows `bus_key_0` to `bus_key_3` of `seawall.meta` hold its 32 bytes. The first instance draws it, and a new epoch removes it.

use super::connection::StoreConnection;
use super::fault::CallFault;
use crate::health::finding::{Cause, Fault};
use crate::net::trouble::Trouble;
use crate::wire::envelope::BusKey;
use postgres_types::Type;

const WORDS: usize = BusKey::BYTES / 8;

/// Reads the key; draws one if there is none. Of instances that draw at once, one wins and all read the same.
pub(super) fn fetch(connection: &mut StoreConnection) -> Result<BusKey, CallFault> {
    if let Some(key) = read(connection)? {
        return Ok(key);
    }
    let mut drawn = [0; BusKey::BYTES];
    getrandom::fill(&mut drawn).map_err(|error| broken(format!("no random number: {error}")))?;
    let (words, _) = drawn.as_chunks::<8>();
    let words: Vec<i64> = words.iter().map(|word| i64::from_le_bytes(*word)).collect();
    let [a, b, c, d] = words.as_slice() else { return Err(broken("a key has four words".into())) };
    connection.query(
        "INSERT INTO seawall.meta (name, value)
         VALUES ('bus_key_0', $1), ('bus_key_1', $2), ('bus_key_2', $3), ('bus_key_3', $4) ON CONFLICT DO NOTHING",
        &[(a, Type::INT8), (b, Type::INT8), (c, Type::INT8), (d, Type::INT8)],
    )?;
    read(connection)?.ok_or_else(|| broken("the key of the bus was removed while it was read".into()))
}

fn read(connection: &mut StoreConnection) -> Result<Option<BusKey>, CallFault> {
    let rows =
        connection.query("SELECT value FROM seawall.meta WHERE name LIKE 'bus_key__' ORDER BY name", &[])?;
    let words: Result<Vec<i64>, Trouble> = rows.iter().map(|row| row.try_get(0)).collect();
    let words = words.map_err(|error| CallFault::garbled(&error))?;
    if words.len() != WORDS {
        return Ok(None);
    }
    let mut bytes = [0; BusKey::BYTES];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    Ok(Some(BusKey::new(&bytes)))
}

fn broken(text: String) -> CallFault {
    CallFault::not_sent(Cause::new(Fault::Internal, text, "the log of the store"))
}
