//! The gateway's own channel, to which its probe and its trial calls publish.
//!
//! A channel whose name begins with `$` cannot be subscribed to, so nothing of it is delivered. Its row is inserted here and not
//! by `seawall.append`, so it does not count towards `limits.channels`. Retention removes the channels of instances that ended.

use super::batch::APPEND;
use super::fault::CallFault;
use crate::id::CHANNEL_BYTES_MAX;
use crate::net::postgres::{Param, Row};
use crate::net::trouble::Trouble;
use crate::store::columns::integer;
use postgres_types::Type;
use std::sync::Arc;

/// The beginning of the names of these channels.
pub(super) const PREFIX: &str = "$probe:";
/// The status of an append to a channel that does not exist and must not be created.
const NO_CHANNEL: i16 = 5;
/// The author of what is published.
const AUTHOR: &str = "seawall";

/// The channel of one instance.
#[derive(Clone, Debug)]
pub(super) struct ProbeChannel {
    name: Arc<str>,
}

impl ProbeChannel {
    /// `instance` names this process. Characters that channel names cannot have are replaced.
    pub(super) fn of(instance: &str) -> ProbeChannel {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.:-".contains(c) { c } else { '_' };
        let name: String =
            PREFIX.chars().chain(instance.chars().map(plain)).take(CHANNEL_BYTES_MAX).collect();
        ProbeChannel { name: Arc::from(name) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Publishes once, with the statement of the append workers, and returns the offset. `query` runs one statement.
    pub(super) fn publish(
        &self,
        now_ms: u64,
        mut query: impl FnMut(&str, &[Param<'_>]) -> Result<Vec<Row>, CallFault>,
    ) -> Result<i64, CallFault> {
        match self.append(now_ms, &mut query)? {
            Some(offset) => Ok(offset),
            None => {
                query(
                    "INSERT INTO seawall.channels (name) VALUES ($1) ON CONFLICT (name) DO NOTHING",
                    &[(&self.name(), Type::TEXT)],
                )?;
                self.append(now_ms, &mut query)?.ok_or_else(CallFault::incomplete)
            }
        }
    }

    /// `None`: there is no such channel.
    fn append(
        &self,
        now_ms: u64,
        query: &mut impl FnMut(&str, &[Param<'_>]) -> Result<Vec<Row>, CallFault>,
    ) -> Result<Option<i64>, CallFault> {
        let rows = query(
            APPEND,
            &[
                (&integer(now_ms), Type::INT8),
                // Not even one channel may be created.
                (&0_i64, Type::INT8),
                (&[self.name()].as_slice(), Type::TEXT_ARRAY),
                (&[AUTHOR].as_slice(), Type::TEXT_ARRAY),
                (&[None::<&str>].as_slice(), Type::TEXT_ARRAY),
                (&[0_i16].as_slice(), Type::INT2_ARRAY),
                (&[None::<i64>].as_slice(), Type::INT8_ARRAY),
                (&[false].as_slice(), Type::BOOL_ARRAY),
                (&[None::<Vec<u8>>].as_slice(), Type::BYTEA_ARRAY),
                (&["null"].as_slice(), Type::TEXT_ARRAY),
                (&0_i64, Type::INT8),
                (&None::<Vec<&str>>, Type::TEXT_ARRAY),
                (&None::<Vec<&str>>, Type::TEXT_ARRAY),
                (&0_i64, Type::INT8),
            ],
        )?;
        let row = rows.first().ok_or_else(CallFault::incomplete)?;
        outcome(row).map_err(|error| CallFault::garbled(&error))
    }
}

fn outcome(row: &Row) -> Result<Option<i64>, Trouble> {
    let status: i16 = row.try_get(0)?;
    if status == NO_CHANNEL { Ok(None) } else { row.try_get(1).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, NameFault};

    #[test]
    fn name_is_one_that_no_client_can_use_and_that_the_store_can() {
        let channel = ProbeChannel::of("höst 1");
        assert_eq!(channel.name(), "$probe:h_st_1");
        assert_eq!(ChannelName::check(channel.name()), Err(NameFault::Reserved));
        assert_eq!(ProbeChannel::of(&"x".repeat(500)).name().len(), CHANNEL_BYTES_MAX);
    }
}
