//! The arguments of an order as JSON, as the store and the bus have them.

use super::order::{BlockOrder, ClusterOrder, Disconnect, OrderKind, RevokeOrder, RevokedTokens};
use crate::close::Comeback;
use crate::id::UserName;
use crate::wire::json;
use serde_json::Value;
use std::sync::Arc;

impl ClusterOrder {
    /// The arguments, a JSON object.
    pub fn args(&self) -> String {
        let mut out = Vec::with_capacity(160);
        json::object(&mut out, |out| self.members(out));
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Appends the members of the arguments.
    pub fn members(&self, out: &mut Vec<u8>) {
        match self {
            ClusterOrder::Disconnect(Disconnect { user, connection, except, reason, comeback }) => {
                json::text(out, "user", user.as_str());
                if let Some(connection) = connection {
                    json::text(out, "connection", &format!("{connection:016x}"));
                }
                json::key(out, "except");
                out.push(b'[');
                for (at, connection) in except.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    json::string(out, &format!("{connection:016x}"));
                }
                out.push(b']');
                json::text(out, "reason", reason);
                json::truth(out, "reconnect", *comeback == Comeback::Welcome);
            }
            ClusterOrder::Block(BlockOrder { user, until_unix_ms, reason }) => {
                json::text(out, "user", user.as_str());
                if let Some(until_unix_ms) = until_unix_ms {
                    json::integer(out, "until", *until_unix_ms);
                }
                json::text(out, "reason", reason);
            }
            ClusterOrder::Unblock(user) | ClusterOrder::Erase(user) => json::text(out, "user", user.as_str()),
            ClusterOrder::Erased => {}
            ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms }) => {
                match tokens {
                    RevokedTokens::One(jti) => json::text(out, "jti", jti),
                    RevokedTokens::IssuedBefore(user, unix_ms) => {
                        json::text(out, "user", user.as_str());
                        json::integer(out, "issued_before", *unix_ms);
                    }
                }
                json::integer(out, "until", *until_unix_ms);
            }
        }
    }

    /// Reads an order that [`ClusterOrder::args`] wrote; `None` if a later version wrote another.
    pub fn stored(kind: &str, args: &str) -> Option<ClusterOrder> {
        let args: Value = serde_json::from_str(args).ok()?;
        let user = || UserName::parse(args["user"].as_str()?).ok();
        let kind = OrderKind::ALL.into_iter().find(|known| known.word() == kind)?;
        Some(match kind {
            OrderKind::Disconnect => ClusterOrder::Disconnect(Disconnect {
                user: user()?,
                connection: match &args["connection"] {
                    Value::Null => None,
                    name => Some(connection(name)?),
                },
                except: args["except"].as_array()?.iter().map(connection).collect::<Option<_>>()?,
                reason: Arc::from(args["reason"].as_str()?),
                comeback: match args["reconnect"].as_bool()? {
                    true => Comeback::Welcome,
                    false => Comeback::Unwanted,
                },
            }),
            OrderKind::Block => ClusterOrder::Block(BlockOrder {
                user: user()?,
                until_unix_ms: match &args["until"] {
                    Value::Null => None,
                    until => Some(until.as_u64()?),
                },
                reason: args["reason"].as_str()?.into(),
            }),
            OrderKind::Unblock => ClusterOrder::Unblock(user()?),
            OrderKind::Erase => ClusterOrder::Erase(user()?),
            OrderKind::Erased => ClusterOrder::Erased,
            OrderKind::Revoke => ClusterOrder::Revoke(RevokeOrder {
                tokens: match args["jti"].as_str() {
                    Some(jti) => RevokedTokens::One(jti.into()),
                    None => RevokedTokens::IssuedBefore(user()?, args["issued_before"].as_u64()?),
                },
                until_unix_ms: args["until"].as_u64()?,
            }),
        })
    }
}

fn connection(name: &Value) -> Option<u64> {
    u64::from_str_radix(name.as_str()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_reads_back_as_it_was_written() {
        let ann = UserName::parse("ann \"b\" c").expect("a user name");
        let disconnect = |connection, except: &[u64], comeback| {
            let (user, except, reason) = (ann.clone(), except.to_vec(), Arc::from("pass\"word"));
            ClusterOrder::Disconnect(Disconnect { user, connection, except, reason, comeback })
        };
        let block = |until_unix_ms| {
            ClusterOrder::Block(BlockOrder { user: ann.clone(), until_unix_ms, reason: "spam".into() })
        };
        let revoke = |tokens| ClusterOrder::Revoke(RevokeOrder { tokens, until_unix_ms: 7 });
        for order in [
            disconnect(None, &[], Comeback::Welcome),
            disconnect(Some(1), &[u64::MAX, 255], Comeback::Unwanted),
            block(None),
            block(Some(1_795_344_253_115)),
            ClusterOrder::Unblock(ann.clone()),
            ClusterOrder::Erase(ann.clone()),
            ClusterOrder::Erased,
            revoke(RevokedTokens::One("a b".into())),
            revoke(RevokedTokens::IssuedBefore(ann.clone(), 5)),
        ] {
            let args = order.args();
            assert_eq!(ClusterOrder::stored(order.kind().word(), &args), Some(order), "{args}");
        }
        assert_eq!(ClusterOrder::stored("rebalance", "{}"), None);
        assert_eq!(ClusterOrder::stored("block", r#"{"user":""}"#), None);
    }
}
