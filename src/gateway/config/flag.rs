//! `[[flag]]`: names that are on for some clients.

use super::error::ConfigFault;
use super::origin::ValueOrigin;
use super::raw::{RawValue, TableReader};
use crate::flag::{BUILT_IN, BUILT_IN_PREFIX, ClientGate, FLAG_GATES_MAX, FLAG_USERS_MAX, FLAGS_MAX, Flag};
use crate::id::UserName;

/// The fields of a flag, for the reference.
pub const FIELDS: [(&str, &str); 4] = [
    (
        "name",
        "1 to 40 of `a-z 0-9 _ .`. `seawall.` begins the flags of the browser library: `seawall.durable`, `seawall.hurry`, `seawall.move`, `seawall.previous`, `seawall.probe`, `seawall.report`. Required.",
    ),
    (
        "rollout",
        "The share of users for whom it is on, in percent. `0` is off, `100` is every client. Required.",
    ),
    ("users", "Up to 64 users for whom it is on in any case."),
    (
        "clients",
        "Up to 8 words of `client` in `connect`, each with the lowest version: `\"web >=1.4.0\"`. It is off for all other clients. Default: all clients.",
    ),
];

/// One table of `[[flag]]`.
#[derive(Clone, Debug)]
pub struct FlagConfig {
    pub flag: Flag,
    pub origin: ValueOrigin,
}

/// Reads one table. `None` if it has a mistake, which is then reported.
pub(super) fn read(reader: &mut TableReader<'_>, earlier: &[FlagConfig]) -> Option<FlagConfig> {
    reader.unknown_fields(&FIELDS);
    let is_known = |name: &str| !name.starts_with(BUILT_IN_PREFIX) || BUILT_IN.contains(&name);
    let expected = format!("{}; with {BUILT_IN_PREFIX} one of {}", Flag::NAME_RULE, BUILT_IN.join(", "));
    let name = reader.required("name", &expected, |raw| {
        raw.text().filter(|text| Flag::is_name(text) && is_known(text)).map(Box::<str>::from)
    });
    let rollout = reader.required("rollout", "a whole number from 0 to 100", |raw| {
        u8::try_from(raw.integer()?).ok().filter(|percent| *percent <= 100)
    });
    let named = format!("a list of up to {FLAG_USERS_MAX} users, each {}", UserName::RULE);
    let users = reader.take("users", &named, |raw| {
        let is_user = |text: &str| UserName::parse(text).ok().map(|_| Box::from(text));
        texts(raw, FLAG_USERS_MAX)?.into_iter().map(is_user).collect::<Option<Vec<Box<str>>>>()
    });
    let gates = format!("a list of up to {FLAG_GATES_MAX} of these: {}", ClientGate::RULE);
    let clients = reader.take("clients", &gates, |raw| {
        texts(raw, FLAG_GATES_MAX)?.into_iter().map(ClientGate::parse).collect::<Result<_, _>>().ok()
    });
    let name = name?;
    let fault = |value: &str, expected: &str| ConfigFault::NotAccepted {
        value: value.to_owned(),
        expected: expected.to_owned(),
    };
    if earlier.iter().any(|other| other.flag.name == name) {
        let origin = reader.origin_of("name");
        reader.fault(origin, "name", fault(&format!("{name:?}"), "a name that no other flag has"));
    } else if earlier.len() >= FLAGS_MAX {
        let origin = reader.origin.clone();
        reader.fault(origin, "", fault("another flag", &format!("at most {FLAGS_MAX} flags")));
    }
    let flag = Flag {
        name,
        rollout: rollout?,
        users: users.unwrap_or_default(),
        clients: clients.unwrap_or_default(),
    };
    let origin = reader.origin.clone();
    (reader.problems == 0).then_some(FlagConfig { flag, origin })
}

fn texts(raw: &RawValue, most: usize) -> Option<Vec<&str>> {
    let RawValue::List(items) = raw else { return None };
    let texts: Option<Vec<&str>> = items.iter().map(RawValue::text).collect();
    texts.filter(|texts| texts.len() <= most)
}

#[cfg(test)]
mod tests {
    use super::super::sources::load_text;
    use super::*;
    use std::path::Path;

    fn load(text: &str) -> Result<Vec<Flag>, String> {
        let config = load_text(Path::new("seawall.toml"), text).map_err(|error| error.to_string())?;
        Ok(config.flags.into_iter().map(|flag| flag.flag).collect())
    }

    #[test]
    fn flag_has_all_that_its_table_gives() {
        let text =
            "[[flag]]\nname = \"markdown\"\nrollout = 25\nusers = [\"ada\"]\nclients = [\"web >=1.4.0\"]\n";
        let flags = load(text).expect("valid");
        assert_eq!((&*flags[0].name, flags[0].rollout, &*flags[0].users[0]), ("markdown", 25, "ada"));
        assert_eq!(flags[0].clients[0].to_string(), "web >=1.4.0");
        let built_in = "[[flag]]\nname = \"seawall.move\"\nrollout = 0\n";
        assert_eq!(load(built_in).expect("valid").len(), 1);
    }

    #[test]
    fn wrong_flag_is_refused_with_what_is_accepted() {
        for (table, says) in [
            ("rollout = 1", "flag.name"),
            ("name = \"Big\"\nrollout = 1", "1 to 40 of a-z"),
            ("name = \"seawall.other\"\nrollout = 1", "seawall.durable"),
            ("name = \"a\"", "flag.rollout"),
            ("name = \"a\"\nrollout = 101", "0 to 100"),
            ("name = \"a\"\nrollout = 1\nclients = [\"web <2\"]", "web >=1.4.0"),
            ("name = \"a\"\nrollout = 1\n[[flag]]\nname = \"a\"\nrollout = 2", "no other flag"),
        ] {
            let error = load(&format!("[[flag]]\n{table}\n")).expect_err(table);
            assert!(error.contains(says), "{table}: {error}");
        }
        let many: String =
            (0..=FLAGS_MAX).map(|n| format!("[[flag]]\nname = \"f{n}\"\nrollout = 1\n")).collect();
        assert!(load(&many).expect_err("too many").contains("at most 32 flags"));
    }
}
