//! The rows: each breaks one thing that one kind of call needs.

use super::rig::Rig;

/// The calls made before, during and after the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Publications to the store, in PostgreSQL.
    Publish,
    /// Publications and subscriptions to new channels, with Redis as the bus.
    PublishAndSubscribe,
    /// Tokens that an auth service is asked about.
    Introspect,
    /// Tokens signed with a key that is not in the key set.
    UnknownKey,
}

pub struct Row {
    pub name: &'static str,
    pub calls: Calls,
    /// Calls per second meanwhile.
    pub rate: u64,
    pub fault: Step,
    pub repair: Step,
    /// The fault as the log names it.
    pub named: &'static str,
}

#[derive(Clone, Copy)]
pub enum Step {
    /// Statements of a superuser of PostgreSQL.
    Sql(&'static str),
    /// A dump made before the fault is restored.
    Restore,
    /// The commands and channels that Redis permits to the gateways' user from now on.
    Permit(&'static [&'static str]),
    /// A change of the auth service's answers.
    Answer(fn(&Rig)),
}

const DROP_TABLE: Step = Step::Sql("DROP TABLE seawall.publications");
const DROP_SCHEMA: Step = Step::Sql("DROP SCHEMA seawall CASCADE");
const NEWER: Step = Step::Sql("UPDATE seawall.meta SET value = value + 95 WHERE name = 'version'");
const NEWER_AND_CUT: Step = Step::Sql(
    "UPDATE seawall.meta SET value = value + 95 WHERE name = 'version';
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'seawall'",
);
const NOT_NEWER: Step = Step::Sql("UPDATE seawall.meta SET value = value - 95 WHERE name = 'version'");
const NO_APPEND: Step = Step::Sql("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA seawall FROM seawall, PUBLIC");
const APPEND: Step = Step::Sql("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA seawall TO seawall, PUBLIC");
const NO_INSERT: Step = Step::Sql("REVOKE INSERT ON seawall.publications FROM seawall");
const INSERT: Step = Step::Sql("GRANT INSERT ON seawall.publications TO seawall");
const NO_HEADS: Step = Step::Sql("ALTER FUNCTION seawall.heads RENAME TO away");
const HEADS: Step = Step::Sql("ALTER FUNCTION seawall.away RENAME TO heads");
const NO_CHANNELS: Step = Step::Sql("REVOKE INSERT ON seawall.channels FROM seawall");
const CHANNELS: Step = Step::Sql("GRANT INSERT ON seawall.channels TO seawall");
const NO_KEYS: Step = Step::Sql("REVOKE DELETE ON seawall.keys FROM seawall");
const KEYS: Step = Step::Sql("GRANT DELETE ON seawall.keys TO seawall");
const NO_CANARY: Step = Step::Sql("REVOKE UPDATE ON seawall.canaries FROM seawall");
const CANARY: Step = Step::Sql("GRANT UPDATE ON seawall.canaries TO seawall");

const NO_PUBLISH: Step = Step::Permit(&["-publish"]);
const NO_SUBSCRIBE: Step = Step::Permit(&["-subscribe"]);
/// Canaries pass, and so does what a user of another channel does.
const NO_CHAT: Step = Step::Permit(&["resetchannels", "&seawall:canary", "&seawall:probe:*"]);
const ALL: Step = Step::Permit(&["+@all", "allchannels"]);

const ONLY_PROBES: Step = Step::Answer(Rig::answer_only_made_up_tokens);
const GARBAGE: Step = Step::Answer(Rig::answer_garbage_to_real_tokens);
const ANSWERS: Step = Step::Answer(Rig::answer_all_tokens);
const NO_KEY_SET: Step = Step::Answer(Rig::garble_key_set);
const KEY_SET: Step = Step::Answer(Rig::publish_next_key);

const fn store(name: &'static str, rate: u64, fault: Step, repair: Step, named: &'static str) -> Row {
    Row { name, calls: Calls::Publish, rate, fault, repair, named }
}

const fn bus(name: &'static str, rate: u64, fault: Step, named: &'static str) -> Row {
    Row { name, calls: Calls::PublishAndSubscribe, rate, fault, repair: ALL, named }
}

const fn tokens(name: &'static str, rate: u64, fault: Step, named: &'static str) -> Row {
    Row { name, calls: Calls::Introspect, rate, fault, repair: ANSWERS, named }
}

const fn keys(rate: u64) -> Row {
    Row {
        name: "key set",
        calls: Calls::UnknownKey,
        rate,
        fault: NO_KEY_SET,
        repair: KEY_SET,
        named: "field",
    }
}

pub const ROWS: [Row; 34] = [
    store("table", 0, DROP_TABLE, Step::Restore, "schema"),
    store("table", 1, DROP_TABLE, Step::Restore, "schema"),
    store("table", 10, DROP_TABLE, Step::Restore, "schema"),
    store("schema", 0, DROP_SCHEMA, Step::Restore, "schema"),
    store("schema", 10, DROP_SCHEMA, Step::Restore, "schema"),
    store("newer", 0, NEWER, NOT_NEWER, "version"),
    store("newer-cut", 0, NEWER_AND_CUT, NOT_NEWER, "version"),
    store("newer-cut", 1, NEWER_AND_CUT, NOT_NEWER, "version"),
    store("newer-cut", 10, NEWER_AND_CUT, NOT_NEWER, "version"),
    store("execute", 0, NO_APPEND, APPEND, "schema"),
    store("execute", 1, NO_APPEND, APPEND, "schema"),
    store("execute", 10, NO_APPEND, APPEND, "schema"),
    store("insert", 0, NO_INSERT, INSERT, "schema"),
    store("insert", 1, NO_INSERT, INSERT, "schema"),
    store("insert", 10, NO_INSERT, INSERT, "schema"),
    store("heads", 0, NO_HEADS, HEADS, "schema"),
    store("channels", 10, NO_CHANNELS, CHANNELS, "schema"),
    store("keys", 0, NO_KEYS, KEYS, "schema"),
    store("canary", 0, NO_CANARY, CANARY, "schema"),
    bus("bus publish", 0, NO_PUBLISH, "schema"),
    bus("bus publish", 1, NO_PUBLISH, "schema"),
    bus("bus publish", 10, NO_PUBLISH, "schema"),
    bus("bus subscribe", 0, NO_SUBSCRIBE, "schema"),
    bus("bus subscribe", 1, NO_SUBSCRIBE, "schema"),
    bus("bus subscribe", 10, NO_SUBSCRIBE, "schema"),
    bus("bus channels", 0, NO_CHAT, "schema"),
    bus("bus channels", 10, NO_CHAT, "schema"),
    tokens("introspection", 0, ONLY_PROBES, "status"),
    tokens("introspection", 1, ONLY_PROBES, "status"),
    tokens("introspection", 10, ONLY_PROBES, "status"),
    tokens("introspection garbage", 1, GARBAGE, "field"),
    keys(0),
    keys(1),
    keys(10),
];
