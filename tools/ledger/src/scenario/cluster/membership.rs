//! The members of the cluster, as each gateway names them.

use crate::gateway::Place;
use serde_json::Value;
use std::collections::BTreeSet;

/// The untrue parts of the answers of the gateways.
pub fn wrong(places: &[Place]) -> Vec<String> {
    let living: BTreeSet<String> = places.iter().filter_map(Place::instance).collect();
    let mut leaders = BTreeSet::new();
    let mut found = Vec::new();
    for place in places {
        match place.admin().get("/cluster") {
            Ok(report) => {
                leaders.insert(report["leader"].as_str().unwrap_or("none").to_owned());
                found.extend(untrue(&report, &living).map(|text| format!("gateway {}: {text}", place.slot)));
            }
            Err(error) => found.push(format!("gateway {}: {error}", place.slot)),
        }
    }
    if leaders.len() > 1 || !leaders.is_subset(&living) {
        found.push(format!("the leader is {leaders:?}"));
    }
    found
}

/// The untrue part of one answer.
fn untrue(report: &Value, living: &BTreeSet<String>) -> Option<String> {
    let instances = report["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = |is: fn(&str) -> bool| -> BTreeSet<String> {
        let such = instances.iter().filter(|instance| instance["state"].as_str().is_some_and(is));
        such.filter_map(|instance| Some(instance["name"].as_str()?.to_owned())).collect()
    };
    let alive = named(|state| state == "alive");
    if alive != *living {
        let (missing, ghosts) =
            (living.difference(&alive).collect::<Vec<_>>(), alive.difference(living).collect::<Vec<_>>());
        return Some(format!("not named as alive: {missing:?}; named and not alive: {ghosts:?}"));
    }
    let others = named(|state| !matches!(state, "alive" | "gone" | "left"));
    if !others.is_empty() || report["complete"] != true {
        return Some(format!("complete is {}, and these are in doubt: {others:?}", report["complete"]));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(instances: Value, complete: Value) -> Option<String> {
        let living = ["a", "b"].map(str::to_owned).into();
        untrue(&json!({ "complete": complete, "instances": instances }), &living)
    }

    #[test]
    fn those_that_live_are_named_and_no_others() {
        let both = json!([{"name": "a", "state": "alive"}, {"name": "b", "state": "alive"}, {"name": "c", "state": "gone"}]);
        assert_eq!(of(both.clone(), json!(true)), None);
        assert!(of(both, json!(false)).is_some());
        assert!(
            of(json!([{"name": "a", "state": "alive"}, {"name": "b", "state": "gone"}]), json!(true))
                .is_some()
        );
        let three = ["a", "b", "c"].map(|name| json!({"name": name, "state": "alive"}));
        assert!(of(json!(three), json!(true)).is_some_and(|text| text.contains("not alive: [\"c\"]")));
        let isolated = json!([{"name": "a", "state": "alive"}, {"name": "b", "state": "alive"}, {"name": "c", "state": "isolated"}]);
        assert!(of(isolated, json!(true)).is_some());
    }
}
