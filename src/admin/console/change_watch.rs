//! Finds changes by comparing what is known each second. No clock and no thread.
//!
//! Comparing cannot fall behind: however much happens, a second costs one comparison. What begins and ends within a second is
//! in the log, and an outage also in the list that its dependency keeps.

use crate::metrics::changes::ChangeKind;
use crate::metrics::reload::OUTCOMES;
use std::iter;
use std::sync::Arc;

/// The known facts of one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Name, state, and the reference of the outage.
    pub dependencies: Vec<(Arc<str>, &'static str, Option<String>)>,
    /// Number, title and reference of each open incident.
    pub incidents: Vec<(u64, String, Option<String>)>,
    pub drain: &'static str,
    /// Reloads so far, by outcome, in the order of [`OUTCOMES`].
    pub reloads: [u64; OUTCOMES.len()],
}

/// A change that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundChange {
    pub kind: ChangeKind,
    pub text: String,
    pub reference: Option<String>,
}

/// The facts of the last second.
#[derive(Debug, Default)]
pub struct ChangeWatch(Option<Facts>);

impl ChangeWatch {
    /// Compares with the second before. The first one is the start, and an outage that it finds began before it.
    pub fn look(&mut self, now: Facts) -> Vec<FoundChange> {
        let change = |kind, text: String, reference| FoundChange { kind, text, reference };
        let Some(before) = self.0.replace(now.clone()) else {
            let start = change(ChangeKind::Start, "gateway started".into(), None);
            let is_out = |state: &str| !matches!(state, "ok" | "unknown");
            let out = now.dependencies.into_iter().filter(|(_, state, _)| is_out(state)).map(
                |(name, state, reference)| {
                    change(ChangeKind::Dependency, format!("{name} is {state}"), reference)
                },
            );
            return iter::once(start).chain(out).collect();
        };
        let mut found = Vec::new();
        for (name, state, reference) in &now.dependencies {
            let earlier = before.dependencies.iter().find(|(known, ..)| known == name);
            match earlier {
                Some((_, was, old)) if was != state => {
                    let reference = reference.clone().or_else(|| old.clone());
                    found.push(change(ChangeKind::Dependency, format!("{name} is {state}"), reference));
                }
                Some(_) | None => {}
            }
        }
        let is_in =
            |number, list: &[(u64, String, Option<String>)]| list.iter().any(|(one, ..)| *one == number);
        for (number, title, reference) in &now.incidents {
            if !is_in(*number, &before.incidents) {
                found.push(change(ChangeKind::Alert, format!("began: {title}"), reference.clone()));
            }
        }
        for (number, title, reference) in &before.incidents {
            if !is_in(*number, &now.incidents) {
                found.push(change(ChangeKind::Alert, format!("over: {title}"), reference.clone()));
            }
        }
        if now.drain != before.drain {
            found.push(change(ChangeKind::Drain, format!("drain: {}", now.drain), None));
        }
        for ((outcome, total), earlier) in OUTCOMES.iter().zip(now.reloads).zip(before.reloads) {
            if total != earlier {
                found.push(change(ChangeKind::Reload, format!("reload {}", outcome.as_str()), None));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_one_change_and_no_difference_is_none() {
        let mut watch = ChangeWatch::default();
        let calm = Facts {
            dependencies: vec![(Arc::from("store"), "ok", None)],
            drain: "serving",
            ..Facts::default()
        };
        let texts = |found: Vec<FoundChange>| found.into_iter().map(|one| one.text).collect::<Vec<_>>();
        assert_eq!(texts(watch.look(calm.clone())), ["gateway started"]);
        assert_eq!(watch.look(calm.clone()), []);
        let bad = Facts {
            dependencies: vec![
                (Arc::from("store"), "down", Some("k3f9".into())),
                (Arc::from("new"), "ok", None),
            ],
            incidents: vec![(4, "the store is down".into(), None)],
            drain: "moving",
            reloads: [0, 0, 1, 0],
        };
        assert_eq!(
            texts(watch.look(bad.clone())),
            ["store is down", "began: the store is down", "drain: moving", "reload refused"]
        );
        let over = watch.look(Facts { drain: "moving", reloads: [0, 0, 1, 0], ..calm });
        assert_eq!(over[0].reference.as_deref(), Some("k3f9"), "the end names the outage that ended");
        assert_eq!(texts(over), ["store is ok", "over: the store is down"]);

        // An outage of the first second is none of a later one.
        let mut late = ChangeWatch::default();
        assert_eq!(texts(late.look(bad.clone())), ["gateway started", "store is down"]);
        assert_eq!(late.look(bad), []);
    }
}
